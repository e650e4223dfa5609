//! What all of the corpus share.

mod a_worker_cannot;
mod compiling;
mod programs;
mod weaker;

use std::path::{Path, PathBuf};

use runtime::artefacts::Artefacts;
use runtime::launch::Launcher;
use runtime::protocol::{End, FromWorker, Outcome, Start};
use runtime::task::Task;

/// Far more than any of these needs.
pub const FUEL_MAX: u64 = 200_000_000;

/// The agent's part, with the real program as its worker.
pub fn launcher() -> Launcher {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-artefacts");
    Launcher::new(PathBuf::from(env!("CARGO_BIN_EXE_jusha")), Artefacts::new(Some(kept)))
}

/// A task of a text module, with short limits.
pub fn task(text: &str) -> Task {
    let module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    Task { memory_max_pages: 64, output_max_bytes: 1 << 20, ..Task::new(module) }
}

/// The last event of a task's worker, after which none of its processes is left.
pub fn last(launcher: &Launcher, task: Task, fuel_max: u64) -> FromWorker {
    let start = Start { fuel_max, ..Start::new(task) };
    let (worker, mut events) = launcher.start(start).unwrap();
    loop {
        let event = events.next_event();
        if event.is_final() {
            assert_eq!(worker.processes(), Vec::<u32>::new(), "a process is left");
            return event;
        }
    }
}

/// It ended by itself or at a limit, and is billed as the runtime bills.
pub fn end(task: Task) -> End {
    let output_max_bytes = task.output_max_bytes;
    match last(&launcher(), task, FUEL_MAX) {
        FromWorker::Ended(end) => {
            assert!(end.usage.fuel < FUEL_MAX + (1 << 20), "{:?}", end.usage);
            assert!(end.usage.memory_page_fuel <= end.usage.fuel * 64, "{:?}", end.usage);
            assert!((end.stdout.len() + end.stderr.len()) as u64 <= output_max_bytes);
            *end
        }
        other => panic!("{other:?}"),
    }
}

/// See [`end`].
pub fn outcome(text: &str) -> Outcome {
    end(task(text)).outcome
}

/// Why it is refused.
pub fn refusal(launcher: &Launcher, task: Task) -> String {
    match last(launcher, task, FUEL_MAX) {
        FromWorker::Refused { reason } => {
            println!("{reason}");
            reason
        }
        other => panic!("{other:?}"),
    }
}
