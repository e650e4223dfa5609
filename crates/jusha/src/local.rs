//! Runs a task here, in a worker child process like everywhere else: this process never
//! executes a guest either.

use runtime::artefacts::Artefacts;
use runtime::checkpoint::Checkpoint;
use runtime::launch::Launcher;
use runtime::protocol::{End, FromWorker, Reached, Record, Start};
use runtime::sandbox::Weakening;

use crate::config;
use crate::error::{CliResult, io};

/// How a local run ended.
pub enum LocalEnd {
    /// The program is done.
    Ended(Box<End>),
    /// The record that was its goal is there.
    Reached(Box<Reached>),
    /// It stopped at `stop_at_fuel`, or at its mark.
    Stopped(Checkpoint),
    /// It can't be run.
    Refused(String),
    /// The host failed.
    Fault(String),
}

/// How worker processes are started here.
pub fn launcher(weakening: Weakening) -> CliResult<Launcher> {
    let program = io(std::env::current_exe(), "find this program's own file")?;
    let artefacts = Artefacts::new(config::artefacts_dir());
    Ok(Launcher { weakening, ..Launcher::new(program, artefacts) })
}

/// Runs to the goal of `start`. Every record of the chain is passed
/// to it once, the last one included.
pub fn run(
    launcher: &Launcher,
    start: Start,
    mut on_record: impl FnMut(Record) -> CliResult<()>,
) -> CliResult<LocalEnd> {
    let (_worker, mut events) = io(launcher.start(start), "start a worker")?;
    let mut last = None;
    loop {
        match events.next_event() {
            FromWorker::Started | FromWorker::Progress { .. } | FromWorker::Captured(_) => {}
            FromWorker::Record(record) => {
                last = Some(record);
                on_record(record)?;
            }
            FromWorker::Stopped(checkpoint) => return Ok(LocalEnd::Stopped(checkpoint)),
            FromWorker::Ended(end) => {
                if last != Some(end.record) {
                    on_record(end.record)?;
                }
                return Ok(LocalEnd::Ended(end));
            }
            FromWorker::Reached(reached) => return Ok(LocalEnd::Reached(reached)),
            FromWorker::Refused { reason } => return Ok(LocalEnd::Refused(reason)),
            FromWorker::Fault { reason } => return Ok(LocalEnd::Fault(reason)),
        }
    }
}
