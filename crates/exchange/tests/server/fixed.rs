//! Units by the hour over the edge: offered with a bond, leased, probed, out, paid for, over.

use base::{Digest, LeaseId};
use wire::{
    FixedLeaseState, FixedLeaseView, FixedOfferView, NewFixedLease, NewFixedOffer, ToAgent,
    ToExchange, Wallet,
};

use crate::harness::{Agent, CREDIT, Client, Server, guard};

/// A thousand nanocredits per millisecond.
const PRICE: i64 = 3_600_000_000;
const BOND: i64 = 24 * PRICE;
const TEST_FIXED: &str = "test.fixed";

fn offer(units: u32) -> NewFixedOffer {
    let instrument = TEST_FIXED.to_owned();
    NewFixedOffer { instrument, units, price_nanocredits_per_hour: PRICE }
}

fn lease(id: &str, limit_nanocredits_per_hour: i64) -> NewFixedLease {
    let (client_lease_id, instrument) = (id.to_owned(), TEST_FIXED.to_owned());
    NewFixedLease { client_lease_id, instrument, limit_nanocredits_per_hour }
}

/// What the exchange says to an offer of the agent's.
async fn offered(agent: &mut Agent, units: u32) -> Result<u32, String> {
    let NewFixedOffer { instrument, price_nanocredits_per_hour, .. } = offer(units);
    let offer = ToExchange::OfferFixed { instrument, units, price_nanocredits_per_hour };
    agent.say(&offer).await;
    agent
        .until(|message| match message {
            ToAgent::FixedOffer { units, .. } => Some(Ok(*units)),
            ToAgent::FixedRefused { code, .. } => Some(Err(code.clone())),
            _ => None,
        })
        .await
}

async fn probed(agent: &mut Agent) -> (LeaseId, Digest) {
    agent
        .until(|message| match message {
            ToAgent::Probe { lease, nonce } => Some((*lease, *nonce)),
            _ => None,
        })
        .await
}

async fn seen(client: &Client, lease: LeaseId) -> FixedLeaseView {
    client.get(&format!("/v1/fixed-leases/{lease}")).await
}

/// The lease once it is as wanted, while its agent answers each probe or none.
async fn when(
    client: &Client,
    agent: &mut Agent,
    lease: LeaseId,
    answers: bool,
    wanted: impl Fn(&FixedLeaseView) -> bool,
) -> FixedLeaseView {
    guard(async {
        loop {
            let (probed, nonce) = probed(agent).await;
            assert_eq!(probed, lease);
            if answers {
                agent.say(&ToExchange::ProbeAnswer { lease, nonce }).await;
            }
            let view = seen(client, lease).await;
            if wanted(&view) {
                return view;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_unit_that_answers_no_probe_is_down_though_its_machine_is_not() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.probe_ms = 30).await;
    let (owner_id, owner) = server.account("owner", 0).await;
    let (_, buyer) = server.account("buyer", 100 * CREDIT).await;
    let (_, eve) = server.account("eve", 100 * CREDIT).await;
    let mut agent = Agent::enrol(&server, &owner, "one", 1).await;
    agent.connect(&server, 1).await;

    assert_eq!(offered(&mut agent, 1).await, Err("insufficient_funds".to_owned()));
    server.deposit(owner_id, BOND + CREDIT, "bond").await;
    assert_eq!(offered(&mut agent, 1).await, Ok(1));
    assert_eq!(offered(&mut agent, 1).await, Ok(1), "said again it is answered again");
    let offers: Vec<FixedOfferView> = server.client("").get("/v1/fixed-offers").await;
    assert_eq!(offers.len(), 1);
    assert_eq!((offers[0].machine, offers[0].bond_nanocredits), (agent.machine, BOND));

    let (status, error) = buyer.refused("/v1/fixed-leases", &lease("a", PRICE - 1)).await;
    assert_eq!((status, error.code.as_str()), (422, "no_offer"));
    let opened: FixedLeaseView = buyer.post("/v1/fixed-leases", &lease("a", PRICE)).await;
    let again: FixedLeaseView = buyer.post("/v1/fixed-leases", &lease("a", PRICE)).await;
    assert_eq!(again.lease, opened.lease);
    let (status, error) = buyer.refused("/v1/fixed-leases", &lease("a", PRICE + 1)).await;
    assert_eq!((status, error.code.as_str()), (409, "lease_conflict"));
    assert_eq!((opened.prepaid_nanocredits, opened.bond_nanocredits), (PRICE, BOND));
    let path = format!("/v1/fixed-leases/{}", opened.lease);
    assert_eq!(eve.get_refused(&path).await.0, 404, "somebody else's");
    let all: Vec<FixedLeaseView> = eve.get("/v1/fixed-leases").await;
    assert_eq!(all, []);
    let taken: Vec<FixedOfferView> = server.client("").get("/v1/fixed-offers").await;
    assert_eq!(taken, [], "no unit is free");

    // It answers, says nothing for a while, and answers again; its connection is there all along.
    let id = opened.lease;
    let up = when(&buyer, &mut agent, id, true, |view| view.probes_answered >= 5).await;
    assert_eq!((up.state, up.outage_ms), (FixedLeaseState::Open, 0));
    let down = when(&buyer, &mut agent, id, false, |view| view.down_since_ms.is_some()).await;
    assert_eq!(down.state, FixedLeaseState::Down);
    let back = when(&buyer, &mut agent, id, true, |view| view.down_since_ms.is_none()).await;
    assert!(back.outage_ms > 0);
    assert_eq!(back.compensated_nanocredits, 3 * 1_000 * back.outage_ms, "three times its price");
    let wallet: Wallet = buyer.get("/v1/wallet").await;
    let left = 100 * CREDIT - PRICE + back.compensated_nanocredits;
    assert_eq!((wallet.available_nanocredits, wallet.escrow_nanocredits), (left, PRICE));
    let wallet: Wallet = owner.get("/v1/wallet").await;
    assert_eq!(wallet.bond_nanocredits, BOND - back.compensated_nanocredits);
    server.sound().await;

    // Both sides see it; notice of the buyer's is a minute.
    let sold: Vec<FixedLeaseView> = owner.get("/v1/fixed-leases").await;
    assert_eq!(sold.iter().map(|lease| lease.lease).collect::<Vec<_>>(), [id]);
    let noticed: FixedLeaseView = buyer.delete(&path).await;
    let ends_at_ms = noticed.ends_at_ms.unwrap();
    assert!((60_000..120_000).contains(&(ends_at_ms - noticed.opened_at_ms)), "{noticed:?}");

    // Leaving is an outage of four hours, three times, from the bond; the rest goes back.
    let retired = format!("/v1/machines/{}", agent.machine);
    owner.delete::<wire::MachineView>(&retired).await;
    let over = seen(&buyer, id).await;
    assert_eq!(over.state, FixedLeaseState::Closed);
    assert_eq!(over.compensated_nanocredits, 3 * 1_000 * over.outage_ms);
    assert_eq!(over.prepaid_nanocredits, over.paid_nanocredits + over.refunded_nanocredits);
    assert_eq!(
        over.bond_nanocredits,
        over.compensated_nanocredits + over.bond_returned_nanocredits
    );
    let wallet: Wallet = owner.get("/v1/wallet").await;
    let own = CREDIT + BOND + over.paid_nanocredits - over.compensated_nanocredits;
    assert_eq!((wallet.available_nanocredits, wallet.bond_nanocredits), (own, 0));
    server.sound().await;
    server.stop().await;
}

#[tokio::test]
async fn a_lease_outlives_the_exchange_and_a_machine_that_is_back() {
    let data = tempfile::tempdir().unwrap();
    let quick = |config: &mut exchange::Config| {
        (config.probe_ms, config.start_grace_ms) = (30, 0);
        config.reconnect_grace_ms = 30;
    };
    let server = Server::start_with(data.path(), quick).await;
    let (owner_id, owner) = server.account("owner", 0).await;
    server.deposit(owner_id, 3 * BOND, "bond").await;
    let (_, buyer) = server.account("buyer", 100 * CREDIT).await;
    let mut agent = Agent::enrol(&server, &owner, "one", 1).await;
    agent.connect(&server, 1).await;
    // The owner offers what the agent says nothing of.
    let path = format!("/v1/machines/{}/fixed-offer", agent.machine);
    assert_eq!(buyer.refused(&path, &offer(2)).await.0, 404, "somebody else's machine");
    let view: FixedOfferView = owner.post(&path, &offer(2)).await;
    assert_eq!((view.units, view.units_let), (2, 0));
    let opened: FixedLeaseView = buyer.post("/v1/fixed-leases", &lease("a", PRICE)).await;
    let id = opened.lease;
    when(&buyer, &mut agent, id, true, |view| view.probes_answered >= 2).await;
    server.stop().await;

    let server = Server::start_with(data.path(), quick).await;
    let ToAgent::Welcome { fixed_leases, .. } = agent.connect(&server, 1).await else {
        panic!("no welcome")
    };
    assert_eq!(fixed_leases, [id]);
    let at = |client: &Client| Client::new(server.address, client.token());
    let (buyer, owner) = (at(&buyer), at(&owner));
    when(&buyer, &mut agent, id, true, |view| view.down_since_ms.is_none()).await;

    // Its connection is gone: the machine lapses, its offer leaves, and the lease waits for it.
    agent.die();
    let down = guard(async {
        loop {
            let view = seen(&buyer, id).await;
            let offers: Vec<FixedOfferView> = buyer.get("/v1/fixed-offers").await;
            if view.state == FixedLeaseState::Down && offers.is_empty() {
                return view;
            }
        }
    })
    .await;
    agent.connect(&server, 1).await;
    let up = when(&buyer, &mut agent, id, true, |view| view.down_since_ms.is_none()).await;
    assert!(up.outage_ms > down.outage_ms);
    assert_eq!(up.compensated_nanocredits, 3 * 1_000 * up.outage_ms);
    assert_eq!(owner.post::<FixedOfferView>(&path, &offer(2)).await.units_let, 1);
    server.sound().await;
    server.stop().await;
}
