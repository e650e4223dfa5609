//! Submitting jobs.

use crate::harness::{Agent, CREDIT, Client, Server};
use base::{Digest, JobId, OrderId, TransferId};
use wire::{JobState, JobView, OrderView, TaskState, TopUp, Wallet};

async fn refused(client: &Client, job: &wire::NewJob) -> (u16, String, String) {
    let (status, error) = client.refused("/v1/jobs", job).await;
    (status, error.code, error.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_seen_to_be_wrong_is_refused_before_money_moves() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, client) = server.account("Ada", 2 * CREDIT).await;
    let job = client.job("good", 1).await;

    let mut spec = client.spec("x").await;
    spec.inputs[0].content = Digest::of(b"lost");
    let lacking = wire::NewJob { tasks: vec![client.put_json(&spec).await], ..job.clone() };
    let (status, code, message) = refused(&client, &lacking).await;
    assert_eq!((status, code.as_str()), (422, "missing_blob"));
    assert!(message.contains("input `data`"), "{message}");
    assert!(message.contains(&Digest::of(b"lost").to_string()), "{message}");

    let no_spec = wire::NewJob { tasks: vec![Digest::of(b"no spec")], ..job.clone() };
    assert_eq!(refused(&client, &no_spec).await.1, "missing_blob");
    let not_json = wire::NewJob { tasks: vec![client.put_blob("{").await], ..job.clone() };
    assert_eq!(refused(&client, &not_json).await.1, "invalid_task");
    let mut spec = client.spec("x").await;
    spec.module = client.put_blob([0, b'a', b's', b'm', 13, 0, 1, 0]).await;
    let component = wire::NewJob { tasks: vec![client.put_json(&spec).await], ..job.clone() };
    let (status, code, message) = refused(&client, &component).await;
    assert_eq!((status, code.as_str()), (422, "invalid_task"));
    assert!(message.contains("components are not supported"), "{message}");

    type Change = fn(&mut wire::NewJob);
    let cases: [(Change, u16, &str); 9] = [
        (|job| job.instrument = "gold".to_owned(), 404, "unknown_instrument"),
        (|job| job.tasks.clear(), 422, "no_tasks"),
        (|job| job.slots = 0, 422, "job_slots_out_of_range"),
        (|job| job.max_price_nanocredits_per_tfuel = 0, 422, "price_out_of_range"),
        (|job| job.max_price_nanocredits_per_tfuel = i64::MAX, 422, "price_out_of_range"),
        (|job| job.budget_nanocredits = -1, 422, "amount_out_of_range"),
        (|job| job.budget_nanocredits = 3 * CREDIT, 402, "insufficient_funds"),
        (|job| job.ask = Some(OrderId(5)), 422, "ask_unusable"),
        (|job| job.name.clear(), 400, "invalid_name"),
    ];
    for (change, status, code) in cases {
        let mut job = job.clone();
        change(&mut job);
        let (found_status, found_code, message) = refused(&client, &job).await;
        assert_eq!((found_status, found_code.as_str()), (status, code), "{message}");
    }
    let wallet: Wallet = client.get("/v1/wallet").await;
    assert_eq!(wallet.available_nanocredits, 2 * CREDIT);
    let jobs: Vec<JobView> = client.get("/v1/jobs").await;
    assert_eq!(jobs, []);
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_submitted_once_topped_up_and_cancelled() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, client) = server.account("Ada", 5 * CREDIT).await;
    let job = client.job("twice", 2).await;
    let first = client.submit(&job).await;
    assert_eq!(first.state, JobState::Waiting);
    assert!(first.waiting_reason.is_some());
    let sequence = server.info().await.journal_sequence;
    let second = client.submit(&job).await;
    assert_eq!(second, first);
    assert_eq!(server.info().await.journal_sequence, sequence);
    let mut other = job.clone();
    other.slots = 1;
    let (status, code, _) = refused(&client, &other).await;
    assert_eq!((status, code.as_str()), (409, "job_conflict"));
    let bids: Vec<OrderView> = client.get("/v1/orders").await;
    assert_eq!((bids.len(), bids[0].side.as_str(), bids[0].job), (1, "bid", Some(job.job)));

    let path = format!("/v1/jobs/{}", job.job);
    let (_, stranger) = server.account("Eve", 0).await;
    assert_eq!(stranger.get_refused(&path).await.0, 404);
    assert_eq!(stranger.refused(&format!("{path}/cancel"), &()).await.0, 404);
    let nobody = format!("/v1/jobs/{}?after=0", JobId(1));
    assert_eq!(client.get_refused(&nobody).await.0, 404, "at once, not after a long poll");
    assert_eq!(client.get_refused(&format!("{path}?after=x")).await.1.code, "invalid_query");

    // A long poll ends with the news.
    let waiting = {
        let (client, job) = (client.clone(), job.job);
        tokio::spawn(async move { client.job_until(job, |v| v.state == JobState::Cancelled).await })
    };
    let more = TopUp { amount_nanocredits: CREDIT, transfer: TransferId(8) };
    let view: JobView = client.post(&format!("{path}/top-up"), &more).await;
    assert_eq!(view.budget_nanocredits, 2 * CREDIT);
    let again: JobView = client.post(&format!("{path}/top-up"), &more).await;
    assert_eq!(again.budget_nanocredits, 2 * CREDIT);
    let wallet: Wallet = client.get("/v1/wallet").await;
    assert_eq!((wallet.available_nanocredits, wallet.escrow_nanocredits), (3 * CREDIT, 2 * CREDIT));
    let view: JobView = client.post(&format!("{path}/cancel"), &()).await;
    assert_eq!(view.state, JobState::Cancelled);
    assert!(view.tasks.iter().all(|task| task.state == TaskState::Cancelled));
    assert_eq!(waiting.await.unwrap().version, view.version);
    let wallet: Wallet = client.get("/v1/wallet").await;
    assert_eq!((wallet.available_nanocredits, wallet.escrow_nanocredits), (5 * CREDIT, 0));
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_place_and_withdraw_asks_over_rest() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, owner) = server.account("Pia", 0).await;
    let mut agent = Agent::enrol(&server, &owner, "pi", 1).await;
    agent.connect(&server, 2).await;
    let order = wire::NewOrder {
        client_order_id: "one".to_owned(),
        machine: agent.machine,
        instrument: "cpu.2g.any".to_owned(),
        quantity: 2,
        price_nanocredits_per_tfuel: Some(400_000),
        time_in_force: wire::TimeInForce::Gtc,
        expires_at_ms: None,
        post_only: false,
    };
    let (_, stranger) = server.account("Eve", 0).await;
    assert_eq!(stranger.refused("/v1/orders", &order).await.0, 404);
    let placed: OrderView = owner.post("/v1/orders", &order).await;
    assert_eq!((placed.status.as_str(), placed.leaves_quantity), ("open", 2));
    let anyone = server.client("");
    let book: wire::BookView = anyone.get("/v1/instruments/cpu.2g.any/book").await;
    assert_eq!((book.asks[0].quantity, book.ask_orders[0].order), (2, placed.order));
    let instruments: Vec<wire::InstrumentView> = anyone.get("/v1/instruments").await;
    let best: Vec<_> =
        instruments.iter().filter_map(|i| i.best_ask_nanocredits_per_tfuel).collect();
    assert_eq!(best, [400_000]);

    let path = format!("/v1/orders/{}", placed.order);
    let response = stranger.request(reqwest::Method::DELETE, &path);
    assert_eq!(crate::harness::refusal(response).await.0, 404);
    let cancelled: OrderView = owner.delete(&path).await;
    assert_eq!((cancelled.status.as_str(), cancelled.leaves_quantity), ("cancelled", 0));
    assert_eq!(cancelled.cancel_reason.as_deref(), Some("cancelled by its owner"));
    assert!(cancelled.ended_at_ms >= Some(cancelled.placed_at_ms));
    let left = agent
        .until(|message| match message {
            wire::ToAgent::AskState(ask) if ask.leaves_quantity == 0 => Some(ask.order),
            _ => None,
        })
        .await;
    assert_eq!(left, placed.order, "the agent is told");

    let short = wire::NewOrder {
        client_order_id: "two".to_owned(),
        time_in_force: wire::TimeInForce::Gtt,
        expires_at_ms: Some(cancelled.ended_at_ms.unwrap() + 500),
        ..order
    };
    let short: OrderView = owner.post("/v1/orders", &short).await;
    assert_eq!(short.status, "open");
    agent
        .until(|message| match message {
            wire::ToAgent::AskState(ask) if ask.order == short.order => {
                (ask.leaves_quantity == 0).then_some(())
            }
            _ => None,
        })
        .await;
    let expired: OrderView = owner.get(&format!("/v1/orders/{}", short.order)).await;
    assert_eq!((expired.status.as_str(), expired.leaves_quantity), ("expired", 0));
    assert!(expired.ended_at_ms >= expired.expires_at_ms);
    server.stop().await;
}
