//! Workers that are frozen: they use nothing, lose nothing, and don't outlive their agent.

use std::path::PathBuf;

use nix::unistd::Pid;
use runtime::artefacts::Artefacts;
use runtime::checkpoint::Checkpoint;
use runtime::launch::{Launcher, Worker, WorkerEvents};
use runtime::protocol::{FromWorker, Start, ToWorker};
use runtime::task::Task;

use super::computer::{burn, process};
use crate::stage::guest;

fn launcher() -> Launcher {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_jusha"));
    Launcher::new(program, Artefacts::new(None))
}

/// A Lucas-Lehmer test of some seconds.
fn start() -> Start {
    let module = std::fs::read(guest("mersenne")).unwrap();
    let task = Task { stdin: b"44497\n".to_vec(), ..Task::new(module) };
    Start { fuel_max: base::TASK_FUEL_MAX, ..Start::new(task) }
}

/// Started, and computed a little.
fn running(launcher: &Launcher) -> (Worker, WorkerEvents, Pid) {
    let (worker, mut events) = launcher.start(start()).unwrap();
    while !matches!(events.next_event(), FromWorker::Progress { usage } if usage.fuel > 0) {}
    let [id] = worker.processes()[..] else { panic!("one process runs a task") };
    (worker, events, Pid::from_raw(id.try_into().unwrap()))
}

/// Waits until the kernel has stopped it.
fn stopped_ticks(id: Pid) -> u64 {
    loop {
        match process(id) {
            Some(('T', ticks)) => return ticks,
            Some(_) => std::thread::yield_now(),
            None => panic!("it is gone"),
        }
    }
}

fn stop(worker: &mut Worker, events: &mut WorkerEvents) -> Checkpoint {
    worker.send(ToWorker::Stop);
    worker.thaw();
    loop {
        match events.next_event() {
            FromWorker::Stopped(checkpoint) => return checkpoint,
            FromWorker::Progress { .. } | FromWorker::Record(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn not_a_tick_passes_from_the_freeze_to_the_drain_and_nothing_is_lost() {
    let launcher = launcher();
    let (mut first, mut of_first, first_id) = running(&launcher);
    let (mut second, mut of_second, second_id) = running(&launcher);
    launcher.freezer.freeze();
    let ticks = (stopped_ticks(first_id), stopped_ticks(second_id));
    burn(20);
    assert_eq!((stopped_ticks(first_id), stopped_ticks(second_id)), ticks);
    // Whatever is started now doesn't run either.
    let (third, _of_third) = launcher.start(start()).unwrap();
    let third_id = Pid::from_raw(third.processes()[0].try_into().unwrap());
    let third_ticks = stopped_ticks(third_id);

    // One is thawed to stop; the others stay as they are.
    let checkpoint = stop(&mut first, &mut of_first);
    assert_eq!(stopped_ticks(second_id), ticks.1);
    assert_eq!(stopped_ticks(third_id), third_ticks);
    let second_checkpoint = stop(&mut second, &mut of_second);
    drop(third);
    assert!(process(third_id).is_none(), "what nobody wants ends, frozen or not");

    // Both go on from where they were frozen to the same end.
    launcher.freezer.thaw();
    let (_worker, mut events) = launcher.start(start()).unwrap();
    let whole = end(&mut events);
    for checkpoint in [checkpoint, second_checkpoint] {
        assert!(checkpoint.usage().fuel > 0);
        let (_worker, mut events) =
            launcher.start(Start { resume: Some(checkpoint), ..start() }).unwrap();
        assert_eq!(end(&mut events), whole);
    }
}

fn end(events: &mut WorkerEvents) -> (Vec<u8>, base::Usage, base::Digest) {
    loop {
        match events.next_event() {
            FromWorker::Ended(end) => return (end.stdout, end.usage, end.record.digest),
            FromWorker::Fault { reason } | FromWorker::Refused { reason } => panic!("{reason}"),
            _ => {}
        }
    }
}

#[test]
fn a_worker_has_the_lowest_priority() {
    let launcher = Launcher { lowest_priority: true, ..launcher() };
    let (worker, _events) = launcher.start(start()).unwrap();
    let id = worker.processes()[0];
    // Before it has its task: set up is the first that a worker hears.
    loop {
        let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
        // nice, and the policy: SCHED_IDLE.
        if (fields[16], fields[38]) == ("19", "5") {
            break;
        }
        assert_ne!(fields[0], "Z", "it ended");
        std::thread::yield_now();
    }
}
