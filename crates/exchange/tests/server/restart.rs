//! The exchange stops and starts again on the same data.

use crate::harness::{Agent, CREDIT, Server};
use base::Usage;
use wire::{JobState, ToAgent};

const USAGE: Usage =
    Usage { fuel: 1_000_000_000, memory_page_fuel: 0, state_bytes: 0, traffic_bytes: 8 };

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_a_live_lease_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (account, buyer) = server.account("Ada", 2 * CREDIT).await;
    let (_, owner) = server.account("One", 0).await;
    let mut agent = Agent::enrol(&server, &owner, "one", 1).await;
    agent.connect(&server, 2).await;
    agent.ask(2, 300_000).await;
    let mut job = buyer.job("survivor", 1).await;
    job.slots = 1;
    buyer.submit(&job).await;
    let start = agent.started().await;
    let receipt = agent.checkpoint(&start, 1, USAGE).await;
    let checkpoint = receipt.checkpoint;
    let paid = agent.send(receipt.clone()).await.unwrap();
    let before = server.info().await;
    server.sound().await;
    server.stop().await;
    assert_eq!(agent.next().await, None, "a stopped exchange closes its connections");

    let server = Server::start(data.path()).await;
    assert_eq!(server.info().await, before, "same id, same sequence, same state");
    server.sound().await;
    let welcome = agent.connect(&server, 2).await;
    let ToAgent::Welcome { leases, attempts, asks, .. } = welcome else { panic!("{welcome:?}") };
    assert_eq!(leases, [start.lease]);
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].attempt, attempts[0].epoch), (start.attempt, start.epoch));
    assert_eq!((attempts[0].checkpoint, attempts[0].usage), (checkpoint, USAGE));
    assert_eq!(attempts[0].receipt_sequence, 1);
    assert_eq!((asks.len(), asks[0].leaves_quantity), (1, 1));
    assert_eq!(agent.send(receipt).await, Ok(paid), "a receipt sent again is paid once");

    // Tokens work on.
    let buyer = {
        let mut buyer = buyer;
        buyer.base = format!("http://{}", server.address);
        buyer
    };
    assert_eq!(buyer.submit(&job).await.state, JobState::Running, "submitted once");
    let more = Usage { fuel: 2 * USAGE.fuel, ..USAGE };
    let receipt = agent.finish(&start, 2, more).await;
    agent.send(receipt).await.unwrap();
    let view = buyer.job_until(job.job, |view| view.state == JobState::Done).await;
    assert_eq!(view.tasks[0].attempts.len(), 1);
    let wallet = server.deposit(account, CREDIT, "after").await;
    assert_eq!(wallet.available_nanocredits, 3 * CREDIT - view.paid_nanocredits);
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_come_back_after_a_restart_lapses() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, buyer) = server.account("Ada", 2 * CREDIT).await;
    let (_, owner) = server.account("One", 0).await;
    let mut agent = Agent::enrol(&server, &owner, "one", 1).await;
    agent.connect(&server, 1).await;
    agent.ask(1, 300_000).await;
    let job = buyer.job("left alone", 1).await;
    buyer.submit(&job).await;
    agent.started().await;
    server.stop().await;

    let server = Server::start_with(data.path(), |config| {
        config.lapse_after_ms = 100;
        config.start_grace_ms = 0;
    })
    .await;
    let buyer = {
        let mut buyer = buyer;
        buyer.base = format!("http://{}", server.address);
        buyer
    };
    let view = buyer
        .job_until(job.job, |view| view.tasks[0].attempts.iter().any(|a| a.ended_at_ms.is_some()))
        .await;
    assert_eq!(view.tasks[0].attempts[0].end.as_deref(), Some("lapsed"));
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_start_machines_have_longer_to_come_back() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, mut buyer) = server.account("Ada", 2 * CREDIT).await;
    let (_, owner) = server.account("One", 0).await;
    let mut slow = Agent::enrol(&server, &owner, "slow", 1).await;
    slow.connect(&server, 1).await;
    slow.ask(1, 300_000).await;
    buyer.submit(&buyer.job("patient", 1).await).await;
    let start = slow.started().await;
    let mut silent = Agent::enrol(&server, &owner, "silent", 2).await;
    silent.connect(&server, 1).await;
    silent.ask(1, 300_000).await;
    let job = buyer.job("impatient", 1).await;
    buyer.submit(&job).await;
    silent.started().await;
    server.stop().await;

    let server = Server::start_with(data.path(), |config| {
        config.lapse_after_ms = 100;
        // As if it were for ever: only that it is longer matters.
        config.start_grace_ms = 600_000;
    })
    .await;
    // One comes back at once and is silent then: by the time at which it lapses, the other would
    // have lapsed before it by the same patience.
    silent.connect(&server, 1).await;
    buyer.base = format!("http://{}", server.address);
    buyer
        .job_until(job.job, |view| view.tasks[0].attempts.iter().any(|a| a.ended_at_ms.is_some()))
        .await;
    let welcome = slow.connect(&server, 1).await;
    let ToAgent::Welcome { leases, .. } = welcome else { panic!("{welcome:?}") };
    assert_eq!(leases, [start.lease]);
    server.stop().await;
}
