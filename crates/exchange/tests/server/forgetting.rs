//! What is over leaves memory, and is seen, listed, and answered for as before.

use std::collections::BTreeMap;

use base::{JobId, MachineId, TransferId, Usage};
use reqwest::Method;
use serde_json::Value;
use wire::{
    JobState, JobView, NewDeposit, NewFixedLease, NewFixedOffer, NewOrder, NewPayment,
    PaymentDirection, PaymentView, TimeInForce, TopUp,
};

use crate::harness::{Agent, CREDIT, Client, Server, guard};

const USAGE: Usage =
    Usage { fuel: 1_000_000_000, memory_page_fuel: 0, state_bytes: 0, traffic_bytes: 8 };

/// What memory holds, by kind.
async fn in_memory(server: &Server) -> BTreeMap<String, u64> {
    let answer = server.operator.request(Method::GET, "/metrics").send().await.unwrap();
    let text = answer.text().await.unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("jusha_in_memory{kind=\""));
    let held = lines.map(|line| line.split_once("\"} ").unwrap());
    held.map(|(kind, count)| (kind.to_owned(), count.parse().unwrap())).collect()
}

/// Waits until memory holds so many jobs and nothing else that is over.
async fn forgotten(server: &Server, jobs: u64) -> BTreeMap<String, u64> {
    guard(async {
        loop {
            let held = in_memory(server).await;
            if held["jobs"] == jobs && held["ended"] == 0 {
                return held;
            }
        }
    })
    .await
}

/// A job from its submission to its result.
async fn done(agent: &mut Agent, buyer: &Client, name: &str) -> JobView {
    let mut job = buyer.job(name, 1).await;
    job.slots = 1;
    buyer.submit(&job).await;
    let start = agent.started().await;
    let receipt = agent.finish(&start, 1, USAGE).await;
    agent.send(receipt).await.unwrap();
    buyer.job_until(job.job, |view| view.state == JobState::Done).await
}

/// Everything that an account sees.
async fn everything(client: &Client, jobs: &[JobId]) -> BTreeMap<String, Value> {
    let mut paths: Vec<String> =
        ["wallet", "jobs", "leases", "orders", "payments", "fixed-leases", "transfers"]
            .map(|list| format!("/v1/{list}"))
            .into();
    for job in jobs {
        paths.extend([format!("/v1/jobs/{job}"), format!("/v1/jobs/{job}/invoice")]);
    }
    let mut seen = BTreeMap::new();
    for path in paths {
        let view: Value = client.get(&path).await;
        for order in view.as_array().filter(|_| path == "/v1/orders").into_iter().flatten() {
            let one = format!("/v1/orders/{}", order["order"].as_str().unwrap());
            assert_eq!(client.get::<Value>(&one).await, *order);
        }
        seen.insert(path, view);
    }
    seen
}

fn order(machine: MachineId, quantity: u32) -> NewOrder {
    NewOrder {
        client_order_id: "mine".to_owned(),
        machine,
        instrument: "cpu.2g.any".to_owned(),
        quantity,
        price_nanocredits_per_tfuel: Some(900_000),
        time_in_force: TimeInForce::Gtc,
        expires_at_ms: None,
        post_only: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memory_forgets_is_seen_as_before_and_done_once() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (account, buyer) = server.account("Ada", 20 * CREDIT).await;
    let (seller, owner) = server.account("One", 30 * CREDIT).await;
    let (_, eve) = server.account("Eve", CREDIT).await;
    let mut agent = Agent::enrol(&server, &owner, "one", 1).await;
    agent.connect(&server, 2).await;
    agent.ask(2, 300_000).await;

    // One of each kind, and all of them over.
    let mut jobs = vec![done(&mut agent, &buyer, "first").await.job];
    let mut cancelled = buyer.job("second", 3).await;
    (cancelled.slots, cancelled.max_price_nanocredits_per_tfuel) = (1, 100_000);
    buyer.submit(&cancelled).await;
    let top_up = TopUp { amount_nanocredits: 7, transfer: TransferId(9) };
    let topped = format!("/v1/jobs/{}/top-up", cancelled.job);
    let _: JobView = buyer.post(&topped, &top_up).await;
    let cancel = format!("/v1/jobs/{}/cancel", cancelled.job);
    let _: JobView = buyer.post(&cancel, &()).await;
    jobs.push(cancelled.job);
    let placed: wire::OrderView = owner.post("/v1/orders", &order(agent.machine, 1)).await;
    let _: Vec<wire::OrderView> = owner.delete("/v1/orders").await;
    let payment = |amount_nanocredits| NewPayment {
        client_payment_id: "out".to_owned(),
        direction: PaymentDirection::Withdrawal,
        amount_nanocredits,
    };
    let paid: PaymentView = buyer.post("/v1/payments", &payment(CREDIT)).await;
    let paid_back = format!("/v1/payments/{}/cancel", paid.payment);
    let _: PaymentView = buyer.post(&paid_back, &()).await;
    let offer = |machine, units| {
        let (instrument, price) = ("test.fixed".to_owned(), CREDIT);
        let new = NewFixedOffer { instrument, units, price_nanocredits_per_hour: price };
        (format!("/v1/machines/{machine}/fixed-offer"), new)
    };
    let lease = |limit_nanocredits_per_hour| NewFixedLease {
        client_lease_id: "hour".to_owned(),
        instrument: "test.fixed".to_owned(),
        limit_nanocredits_per_hour,
    };
    let landlord = Agent::enrol(&server, &owner, "landlord", 2).await;
    let (path, new) = offer(landlord.machine, 1);
    let _: Value = owner.post(&path, &new).await;
    let let_: Value = buyer.post("/v1/fixed-leases", &lease(CREDIT)).await;
    let let_path = format!("/v1/fixed-leases/{}", let_["lease"].as_str().unwrap());
    let _: Value = owner.delete(&format!("/v1/machines/{}", landlord.machine)).await;
    let deposit = |amount_nanocredits| NewDeposit {
        account,
        amount_nanocredits,
        transfer: TransferId::derive(&[b"Ada"]),
    };

    let seen = [everything(&buyer, &jobs).await, everything(&owner, &[]).await];
    let hour: Value = buyer.get(&let_path).await;
    let held = in_memory(&server).await;
    assert_eq!((held["jobs"], held["payments"], held["fixed_leases"]), (2, 1, 1), "{held:?}");
    assert!(held["ended"] >= 8, "{held:?}");
    server.stop().await;

    let server = Server::start_with(data.path(), |config| config.keep_ended_ms = -1).await;
    let at = |client: &Client| Client::new(server.address, client.token());
    let (buyer, owner, eve) = (at(&buyer), at(&owner), at(&eve));
    let held = forgotten(&server, 0).await;
    assert!(held.values().all(|count| *count == 0), "{held:?}");
    server.sound().await;
    assert_eq!([everything(&buyer, &jobs).await, everything(&owner, &[]).await], seen);
    assert_eq!(buyer.get::<Value>(&let_path).await, hour);
    let all: Vec<PaymentView> = server.operator.get("/v1/payments").await;
    assert_eq!(all.len(), 1, "operators see everybody's");
    for path in
        [format!("/v1/jobs/{}", jobs[0]), let_path.clone(), paid_back.replace("/cancel", "")]
    {
        assert_eq!(eve.get_refused(&path).await.0, 404, "{path}");
    }
    assert_eq!(eve.get_refused(&format!("/v1/orders/{}", placed.order)).await.0, 404);
    assert_eq!(eve.get_refused(&format!("/v1/jobs/{}/invoice", jobs[0])).await.0, 404);

    // Asked for again, each is what it was; asked for otherwise, it is refused.
    let before = server.info().await;
    buyer.submit(&cancelled).await;
    let _: JobView = buyer.post(&topped, &top_up).await;
    let _: JobView = buyer.post(&cancel, &()).await;
    let _: Value = owner.post("/v1/orders", &order(agent.machine, 1)).await;
    let _: Value = owner.delete(&format!("/v1/orders/{}", placed.order)).await;
    let _: PaymentView = buyer.post("/v1/payments", &payment(CREDIT)).await;
    let _: PaymentView = buyer.post(&paid_back, &()).await;
    let _: Value = buyer.post("/v1/fixed-leases", &lease(CREDIT)).await;
    let _: Value = buyer.delete(&let_path).await;
    let _: Value = server.operator.post("/v1/deposits", &deposit(20 * CREDIT)).await;
    assert_eq!(server.info().await, before, "nothing new happened");
    let other = TopUp { amount_nanocredits: 8, ..top_up.clone() };
    let late = TopUp { transfer: TransferId(10), ..top_up };
    let mut renamed = cancelled.clone();
    renamed.name.push('!');
    for (refused, code) in [
        (buyer.refused("/v1/jobs", &renamed).await, "job_conflict"),
        (buyer.refused(&topped, &other).await, "transfer_conflict"),
        (buyer.refused(&topped, &late).await, "job_over"),
        (eve.refused(&topped, &late).await, "not_found"),
        (eve.refused(&cancel, &()).await, "not_found"),
        (owner.refused("/v1/orders", &order(agent.machine, 2)).await, "client_order_conflict"),
        (buyer.refused("/v1/payments", &payment(2 * CREDIT)).await, "payment_conflict"),
        (buyer.refused("/v1/fixed-leases", &lease(2 * CREDIT)).await, "lease_conflict"),
        (server.operator.refused("/v1/deposits", &deposit(1)).await, "transfer_conflict"),
    ] {
        assert_eq!(refused.1.code, code, "{refused:?}");
    }
    assert_eq!(server.info().await, before);
    assert_eq!(owner.get::<wire::Wallet>("/v1/wallet").await.account, seller);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_leave_memory_as_it_was_and_pages_tile_old_and_new() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.keep_ended_ms = -1).await;
    let (_, buyer) = server.account("Ada", 100 * CREDIT).await;
    let (_, owner) = server.account("One", 0).await;
    let mut agent = Agent::enrol(&server, &owner, "one", 1).await;
    agent.connect(&server, 1).await;
    let mut jobs = Vec::new();
    let mut held = Vec::new();
    for round in 0..3 {
        for job in 0..8 {
            agent.ask(1, 300_000 + 1_000 * (8 * round + job)).await;
            jobs.push(done(&mut agent, &buyer, &format!("{round} {job}")).await);
        }
        held.push(forgotten(&server, 0).await);
    }
    assert!(held.iter().all(|now| *now == held[0]), "{held:?}");
    assert!(held[0].values().all(|count| *count == 0), "{held:?}");

    // Some that live beside them.
    for name in ["waits", "waits, too"] {
        let job = buyer.job(name, 1).await;
        jobs.push(buyer.submit(&job).await);
    }
    let (mut seen, mut path) = (Vec::<JobView>::new(), "/v1/jobs?limit=5".to_owned());
    loop {
        let answer = buyer.request(Method::GET, &path).send().await.unwrap();
        let next = answer.headers().get(wire::NEXT_CURSOR).cloned();
        seen.extend(answer.json::<Vec<JobView>>().await.unwrap());
        let Some(cursor) = next else { break };
        path = format!("/v1/jobs?limit=5&cursor={}", cursor.to_str().unwrap());
    }
    let ids = |views: &[JobView]| views.iter().map(|view| view.job).collect::<Vec<_>>();
    assert_eq!(ids(&seen).len(), 26);
    let (mut listed, mut made) = (ids(&seen), ids(&jobs));
    listed.sort();
    made.sort();
    assert_eq!(listed, made, "each once");
    assert!(seen.is_sorted_by(|a, b| a.submitted_at_ms >= b.submitted_at_ms), "newest first");
    assert!(seen.iter().all(|job| job.tasks.len() == 1), "with their tasks");
    server.sound().await;
    server.stop().await;
}
