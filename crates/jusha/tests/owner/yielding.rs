//! The owner comes back while strangers' tasks run.

use nix::sys::signal::{Signal, kill};
use provider::control::{Request, ask};
use provider::status::{State, Status};
use wire::JobView;

use super::computer::{Computer, process, workers_of};
use crate::stage::{Pace, Stage, Watch, Work, submit, until};

/// Some seconds each.
const LONG: [u32; 2] = [44497, 44501];
/// A drain takes a slice to the next safepoint and a capture; a hundred ticks are a second.
const DRAIN_TICKS_MAX: u64 = 60;

async fn status(stage: &Stage, machine: &str) -> Status {
    ask(&stage.scene.path(machine), Request::Status).await.unwrap()
}

async fn until_state(stage: &Stage, machine: &str, state: State) -> Status {
    until("another state of the agent", async || {
        let status = status(stage, machine).await;
        (status.state == state && (state != State::Resting || status.tasks.is_empty()))
            .then_some(status)
    })
    .await
}

/// One machine with an owner, a job of two tasks on it, both computed a little.
async fn busy() -> (Stage, Computer, Watch, Vec<Work>, JobView) {
    let mut stage = Stage::new(Pace::QUICK).await;
    let computer = Computer::new(&stage.scene, "ant");
    let owner = stage.operator.open_account("owner of ant").await.unwrap();
    stage.add_machine_with(&owner.token, "ant", 123_456_700, 2, &computer.options()).await;
    let works = Work::job(LONG.map(Work::mersenne));
    let job = stage.job(1, &works, 2);
    let mut watch = Watch::new(&stage.buyer, job.job);
    watch.note(&submit(&stage.buyer, &works, &job).await);
    let view = watch
        .until("both tasks computed", |view| {
            view.tasks.iter().all(|task| task.progress_fuel > 0 && task.usage.fuel > 0)
        })
        .await;
    (stage, computer, watch, works, view)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stops_everything_at_once_and_nothing_of_it_is_lost() {
    let (mut stage, computer, mut watch, works, before) = busy().await;
    let agent = stage.machines[0].process_id();
    let workers = workers_of(agent);
    assert_eq!(workers.len(), 2);
    computer.press();
    until("the frozen workers", async || {
        stage.scene.read("ant.log").contains("resting, 2 attempts frozen: in use").then_some(())
    })
    .await;
    let ticks_then: Vec<u64> =
        workers.iter().map(|id| process(*id).map_or(0, |(_, ticks)| ticks)).collect();
    // The last that is seen of each, until it is gone.
    let mut ticks: Vec<u64> = ticks_then.clone();
    until("the end of the workers", async || {
        for (id, last) in workers.iter().zip(&mut ticks) {
            if let Some((_, now)) = process(*id) {
                *last = now;
            }
        }
        workers_of(agent).is_empty().then_some(())
    })
    .await;
    for (then, last) in ticks_then.iter().zip(&ticks) {
        assert!(last - then <= DRAIN_TICKS_MAX, "{} ticks after the freeze", last - then);
    }
    let resting = until_state(&stage, "ant", State::Resting).await;
    assert!(resting.reasons[0].starts_with("in use"), "{resting:?}");

    // What they had computed when they were frozen is accepted and paid.
    let view = watch
        .until("both attempts over", |view| {
            view.tasks.iter().all(|task| task.attempts.iter().all(|a| a.end.is_some()))
        })
        .await;
    for (task, before) in view.tasks.iter().zip(&before.tasks) {
        assert_eq!(task.attempts.last().unwrap().end.as_deref(), Some("yielded"), "{task:#?}");
        assert!(task.usage.fuel >= before.progress_fuel, "{task:#?}");
    }
    // Nothing is offered while the owner is there.
    let book = stage.operator.book(provider::INSTRUMENT).await.unwrap();
    assert!(book.asks.is_empty(), "{book:?}");

    // Somebody else goes on, and it comes to what it would have come to undisturbed.
    let bee = stage.operator.open_account("owner of bee").await.unwrap();
    let alone = ["--instrument", provider::INSTRUMENT];
    stage.join_machine(&bee.token, "bee", 234_567_800, 2, &alone).await;
    let done = watch.end().await;
    let mut expected = Vec::new();
    for work in &works {
        expected.push(work.exec(&stage.scene).await);
    }
    stage.assert_settled(&done, &expected.iter().collect::<Vec<_>>()).await;
    let earned = status(&stage, "ant").await;
    let paid: i64 = stage
        .buyer
        .leases()
        .await
        .unwrap()
        .iter()
        .filter(|lease| lease.machine == stage.machines[0].id)
        .map(|lease| lease.paid_nanocredits)
        .sum();
    assert_eq!(earned.earned_today_nanocredits, paid, "what its owner is shown");
    assert_eq!(earned.earned_month_nanocredits, paid);

    // And is away again.
    computer.leave();
    until_state(&stage, "ant", State::Working).await;
    stage.all_offered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pausing_holds_over_a_restart_and_a_killed_agent_leaves_no_frozen_worker() {
    let (mut stage, _computer, mut watch, ..) = busy().await;
    let agent = stage.machines[0].process_id();
    let workers = workers_of(agent);
    // Killed in the instant in which its workers are frozen: nobody is left to thaw or end them.
    for worker in &workers {
        kill(*worker, Signal::SIGSTOP).unwrap();
    }
    stage.machines[0].kill().await;
    until("the end of the workers", async || {
        workers.iter().all(|id| process(*id).is_none_or(|(state, _)| state == 'Z')).then_some(())
    })
    .await;

    let data = stage.scene.arg("ant");
    let pause = stage.scene.run(&["provide", "pause", "--data", &data], b"").await;
    assert_eq!(pause.status, 0, "no agent has to run for that: {pause:?}");
    let id = stage.machines[0].id;
    stage.restart(id);
    until("the agent", async || ask(&stage.scene.path("ant"), Request::Status).await.ok()).await;
    let resting = until_state(&stage, "ant", State::Resting).await;
    assert_eq!(resting.reasons, ["paused by its owner"]);
    let shown = stage.scene.run(&["provide", "status", "--data", &data], b"").await;
    assert!(shown.stdout.contains("because    paused by its owner"), "{shown:?}");
    let resume = stage.scene.run(&["provide", "resume", "--data", &data], b"").await;
    assert_eq!(resume.status, 0, "{resume:?}");
    watch.end().await;
    let set = ["provide", "set", "hours", "sometimes", "--data", &data];
    let refused = stage.scene.run(&set, b"").await;
    assert_eq!(refused.status, 125, "{refused:?}");
    assert!(refused.stderr.contains("`sometimes` is no time of day"), "{refused:?}");
    // While it runs: nobody has been away for so long.
    let set = ["provide", "set", "idle_s", "86400", "--data", &data];
    assert_eq!(stage.scene.run(&set, b"").await.status, 0);
    let resting = until_state(&stage, "ant", State::Resting).await;
    assert!(resting.reasons[0].starts_with("in use: "), "{resting:?}");
}
