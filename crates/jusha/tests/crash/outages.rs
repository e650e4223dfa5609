//! One machine, one worker or the exchange gone at one known point of a job.

use nix::sys::signal::{Signal, kill};

use wire::JobView;

use super::{ends, long_job, start_long};
use crate::stage::{Pace, Stage, children_of, until};

#[tokio::test]
async fn a_machine_that_drains_hands_over_at_once() {
    let (mut stage, mut watch, executed) = long_job(Pace::PATIENT).await;
    let ant = watch.seen().tasks[0].attempts[0].machine;
    assert_eq!(ant, stage.machines[0].id, "the cheapest");
    let before = watch.seen().tasks[0].usage.fuel;
    stage.machine(ant).drain().await;
    let job = watch.end().await;
    assert_eq!(ends(&job), ["yielded", "finished"]);
    assert!(job.tasks[0].attempts[0].to.fuel > before, "a drain saves what was computed");
    assert_eq!(job.tasks[0].attempts[1].machine, stage.machines[1].id);
    stage.assert_settled(&job, &[&executed]).await;
    // It may come back, and is offered again.
    stage.all_offered().await;
}

#[tokio::test]
async fn a_worker_that_is_killed_is_a_fault_and_the_task_moves() {
    let (mut stage, mut watch, executed) = long_job(Pace::PATIENT).await;
    let ant = watch.seen().tasks[0].attempts[0].machine;
    let agent = stage.machine(ant).process_id();
    let workers = children_of(agent);
    assert_eq!(workers.len(), 1, "a slot, a worker");
    kill(workers[0], Signal::SIGKILL).unwrap();
    let job = watch.end().await;
    let ends = ends(&job);
    assert!(ends[0].starts_with("fault: ") && ends[1..] == ["finished"], "{ends:?}");
    assert_eq!(job.tasks[0].attempts[1].machine, stage.machines[1].id);
    stage.assert_settled(&job, &[&executed]).await;
    assert_eq!(stage.machine(ant).process_id(), agent);
    stage.all_offered().await;
}

#[tokio::test]
async fn a_machine_computes_on_while_the_exchange_is_away() {
    let (mut stage, mut watch, executed) = long_job(Pace::PATIENT).await;
    let ant = watch.seen().tasks[0].attempts[0].machine;
    let agent = stage.machine(ant).process_id();
    watch.note_transfers().await;
    stage.kill_exchange().await;
    // The worker goes once the program has ended, which nobody can be told yet.
    let done = async || children_of(agent).is_empty().then_some(());
    until("the end of the worker", done).await;
    stage.restart_exchange().await;
    watch.restarted();
    watch.note_transfers().await;
    let job = watch.end().await;
    assert_eq!(ends(&job), ["finished"], "one attempt, one lease");
    stage.assert_settled(&job, &[&executed]).await;
}

#[tokio::test]
async fn a_machine_that_is_back_in_time_goes_on_with_its_lease() {
    let (mut stage, mut watch, executed) = long_job(Pace::PATIENT).await;
    let ant = watch.seen().tasks[0].attempts[0].machine;
    stage.machine(ant).kill().await;
    stage.restart(ant);
    let job = watch.end().await;
    assert_eq!(ends(&job), ["finished"], "the same attempt, from its last accepted checkpoint");
    stage.assert_settled(&job, &[&executed]).await;
}

#[tokio::test]
async fn a_machine_that_died_with_the_exchange_lapses_after_it() {
    let pace = Pace { lapse_ms: 5_000, ..Pace::QUICK };
    let (mut stage, mut watch, executed) = long_job(pace).await;
    let ant = watch.seen().tasks[0].attempts[0].machine;
    watch.note_transfers().await;
    stage.kill_exchange().await;
    stage.machine(ant).kill().await;
    stage.restart_exchange().await;
    watch.restarted();
    watch.note_transfers().await;
    let job = watch.end().await;
    assert_eq!(ends(&job), ["lapsed", "finished"], "it never said that it was gone");
    assert!(job.tasks[0].attempts[0].to.fuel > 0, "what was accepted stays paid");
    stage.assert_settled(&job, &[&executed]).await;
}

#[tokio::test]
async fn an_exchange_that_is_stopped_ends_well_and_goes_on() {
    let (mut stage, mut watch, executed) = long_job(Pace::PATIENT).await;
    watch.note_transfers().await;
    stage.stop_exchange().await;
    stage.restart_exchange().await;
    watch.restarted();
    watch.note_transfers().await;
    let job = watch.end().await;
    assert_eq!(ends(&job), ["finished"]);
    stage.assert_settled(&job, &[&executed]).await;
}

#[tokio::test]
async fn a_lone_owners_other_machine_takes_over() {
    let mut stage = Stage::new(Pace::QUICK).await;
    stage.add_machine("ant", 123_456_700, 1).await;
    let owner = stage.machines[0].token.clone();
    stage.add_machine_of(&owner, "bee", 123_456_700, 1).await;
    let (mut watch, executed) = start_long(&stage).await;
    let first = watch.seen().tasks[0].attempts[0].machine;
    stage.machine(first).kill().await;
    let job = watch.end().await;
    assert_eq!(ends(&job), ["lapsed", "finished"]);
    stage.assert_settled(&job, &[&executed]).await;
}

#[tokio::test]
async fn a_lone_machine_that_is_back_too_late_goes_on_all_the_same() {
    let mut stage = Stage::new(Pace::QUICK).await;
    stage.add_machine("ant", 123_456_700, 1).await;
    let (mut watch, executed) = start_long(&stage).await;
    let ant = stage.machines[0].id;
    stage.machine(ant).kill().await;
    let lapsed = |view: &JobView| view.tasks[0].attempts[0].end.is_some();
    let view = watch.until("the lapse", lapsed).await;
    assert!(view.waiting_reason.is_some(), "{view:#?}");
    stage.restart(ant);
    let job = watch.end().await;
    assert_eq!(ends(&job), ["lapsed", "finished"]);
    // The bid rested, but whoever dropped a lease earns no more by it.
    let invoice = stage.buyer.invoice(job.job).await.unwrap();
    let prices = invoice.lines.iter().map(|line| line.price_nanocredits_per_tfuel);
    assert_eq!(prices.collect::<Vec<_>>(), [123_456_700, 123_456_700]);
    stage.assert_settled(&job, &[&executed]).await;
}
