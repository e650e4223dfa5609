//! A task's worker processes as async code sees them: their blocking pipes are served by a thread
//! of its own, so that neither a large task nor a stopped process ever holds up the agent.

use std::io;

use runtime::launch::{Launcher, Worker};
use runtime::protocol::{FromWorker, Start, ToWorker};
use tokio::sync::mpsc::{self, Receiver};

/// Events that may wait for the agent. A worker that says more waits itself, so that one that
/// never stops talking fills nobody's memory.
const EVENTS_MAX: usize = 4;

/// Worker processes that were given a task. Dropping it kills them, whatever they are doing.
pub(crate) struct WorkerHandle {
    worker: Worker,
    /// Ends after a final message.
    pub events: Receiver<FromWorker>,
}

impl WorkerHandle {
    pub(crate) fn start(launcher: &Launcher, start: Start) -> io::Result<WorkerHandle> {
        let (worker, mut blocking) = tokio::task::block_in_place(|| launcher.start(start))?;
        tracing::debug!("worker process {:?}", worker.processes());
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        // Not a blocking task of tokio's, for which the agent's end would wait.
        std::thread::Builder::new().name("worker-pipe".to_owned()).spawn(move || {
            loop {
                let message = blocking.next_event();
                let last = message.is_final();
                if sender.blocking_send(message).is_err() || last {
                    break;
                }
            }
        })?;
        Ok(WorkerHandle { worker, events })
    }

    /// Lets it go on although all are frozen.
    pub(crate) fn thaw(&mut self) {
        self.worker.thaw();
    }

    /// A small message. That the process is gone shows in `events`.
    pub(crate) fn send(&mut self, order: ToWorker) {
        self.worker.send(order);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use nix::sys::stat::Mode;
    use runtime::artefacts::Artefacts;
    use runtime::task::Task;
    use tokio::io::AsyncReadExt;
    use tokio::net::unix::pipe;

    use super::*;

    /// Nothing here takes this long; whatever does has failed.
    const GUARD: Duration = Duration::from_secs(60);

    /// A program that never says anything.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_start_that_nobody_waits_for_kills_the_worker() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("note");
        nix::unistd::mkfifo(&note, Mode::S_IRWXU).unwrap();
        let mut life = pipe::OpenOptions::new().open_receiver(&note).unwrap();
        // The process has the pipe open for as long as it lives.
        let script = format!("exec 3> {}; echo >&3; exec sleep 600", note.display());
        let launcher = Launcher {
            args: vec!["-c".to_owned(), script],
            ..Launcher::new(PathBuf::from("/bin/sh"), Artefacts::new(None))
        };
        let task = Task::new(vec![0; 8 << 20]);
        let start = Start { fuel_max: 1, ..Start::new(task) };
        let mut handle = WorkerHandle::start(&launcher, start).unwrap();
        let mut said = [0];
        tokio::select! {
            event = handle.events.recv() => panic!("it said {event:?}"),
            read = life.read_exact(&mut said) => assert_eq!(read.unwrap(), 1),
        }
        drop(handle);
        let end = tokio::time::timeout(GUARD, life.read(&mut said)).await;
        assert_eq!(end.expect("the process lives on").unwrap(), 0);
    }
}
