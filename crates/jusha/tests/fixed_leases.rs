//! A unit by the hour with the real program in every role: leased, probed, its machine killed, the
//! outage paid from the bond, and every nanocredit accounted for.

mod stage;

use base::{LeaseId, TransferId};
use client::Client;
use stage::{FUNDS, Pace, Stage, until};
use wire::{FixedLeaseEnd, FixedLeaseState, FixedLeaseView, FixedOfferView, NewDeposit};

/// A thousand nanocredits per millisecond.
const PRICE: i64 = 3_600_000_000;
const BOND: i64 = 24 * PRICE;
/// What an outage pays, in prices of its time.
const MULTIPLE: i64 = 3;

async fn json<T: serde::de::DeserializeOwned>(stage: &Stage, args: &[&str]) -> T {
    let ran = stage.scene.finish(stage.buy(args), b"").await;
    assert_eq!(ran.status, 0, "{args:?}: {ran:?}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {ran:?}"))
}

async fn lease_when(
    stage: &Stage,
    lease: LeaseId,
    what: &str,
    wanted: impl Fn(&FixedLeaseView) -> bool,
) -> FixedLeaseView {
    until(what, async || {
        let view = stage.buyer.fixed_lease(lease).await.unwrap();
        wanted(&view).then_some(view)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_killed_pays_its_buyer_from_the_bond() {
    let mut stage = Stage::new(Pace::QUICK).await;
    let opened = stage.operator.open_account("owner").await.unwrap();
    let deposit =
        NewDeposit { account: opened.account, amount_nanocredits: BOND, transfer: TransferId(2) };
    stage.operator.deposit(&deposit).await.unwrap();
    let owner = Client::new(&stage.url, &opened.token).unwrap();
    let price = format!("{PRICE}n");
    let terms = ["--fixed-units", "1", "--fixed-price", &price];
    stage.add_machine_with(&opened.token, "ant", 300_000, 1, &terms).await;
    let offers: Vec<FixedOfferView> = until("an offer", async || {
        let offers: Vec<FixedOfferView> = json(&stage, &["lease", "offers", "--json"]).await;
        (!offers.is_empty()).then_some(offers)
    })
    .await;
    assert_eq!(offers[0].bond_nanocredits, BOND);

    let open = ["lease", "open", "--max-price", &price, "--id", "mine", "--json"];
    let lease: FixedLeaseView = json(&stage, &open).await;
    let again: FixedLeaseView = json(&stage, &open).await;
    assert_eq!(again.lease, lease.lease, "under its own id it is opened once");
    let id = lease.lease;
    let up = lease_when(&stage, id, "heartbeats", |view| view.probes_answered >= 5).await;
    assert_eq!((up.state, up.outage_ms), (FixedLeaseState::Open, 0));

    // SIGKILL, twice: once it is back in time to be let again, once it stays away.
    stage.machines[0].kill().await;
    lease_when(&stage, id, "the outage", |view| view.state == FixedLeaseState::Down).await;
    let machine = stage.machines[0].id;
    stage.restart(machine);
    let back = lease_when(&stage, id, "its end", |view| view.state == FixedLeaseState::Open).await;
    assert!(back.outage_ms > 0);
    assert_eq!(back.compensated_nanocredits, MULTIPLE * 1_000 * back.outage_ms);
    let wallet = stage.buyer.wallet().await.unwrap();
    assert_eq!(
        (wallet.available_nanocredits, wallet.escrow_nanocredits),
        (FUNDS - PRICE + back.compensated_nanocredits, PRICE)
    );
    stage.audit().await;

    // The exchange dies, too: what it didn't see is nobody's outage.
    stage.kill_exchange().await;
    stage.restart_exchange().await;
    let online = async || owner.machine(machine).await.unwrap().online.then_some(());
    until("the machine's return", online).await;
    let same = stage.buyer.fixed_lease(id).await.unwrap();
    assert_eq!((same.outage_ms, same.state), (back.outage_ms, FixedLeaseState::Open));

    stage.machines[0].kill().await;
    lease_when(&stage, id, "the outage", |view| view.state == FixedLeaseState::Down).await;
    let closing: FixedLeaseView =
        json(&stage, &["lease", "close", &id.to_string(), "--json"]).await;
    assert!(closing.ends_at_ms.is_some());
    // Its owner gives the machine up, without the rest of the notice.
    owner.retire_machine(machine).await.unwrap();
    let over = stage.buyer.fixed_lease(id).await.unwrap();
    assert_eq!(
        (over.state, over.end),
        (FixedLeaseState::Closed, Some(FixedLeaseEnd::WithoutNotice))
    );
    let closed_at_ms = over.closed_at_ms.unwrap();
    assert!(over.outage_ms > back.outage_ms);
    assert_eq!(over.compensated_nanocredits, MULTIPLE * 1_000 * over.outage_ms);
    // The notice that was still to run counts as an outage; for time that was up it is paid.
    let unannounced_ms = closing.ends_at_ms.unwrap() - closed_at_ms;
    let down_ms = over.outage_ms - unannounced_ms;
    assert_eq!(over.paid_nanocredits, 1_000 * (closed_at_ms - over.opened_at_ms - down_ms));

    let buyer = stage.buyer.wallet().await.unwrap();
    let spent = over.paid_nanocredits - over.compensated_nanocredits;
    assert_eq!((buyer.available_nanocredits, buyer.escrow_nanocredits), (FUNDS - spent, 0));
    let seller = owner.wallet().await.unwrap();
    assert_eq!((seller.available_nanocredits, seller.bond_nanocredits), (BOND + spent, 0));
    stage.audit().await;
}
