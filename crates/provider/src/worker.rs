//! A worker process as async code sees it: its blocking pipes are served by threads of their
//! own, so that neither a large task nor a stopped process ever holds up the agent.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runtime::protocol::{FromWorker, Start, ToWorker};
use runtime::worker::Worker;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;

/// A worker that was given its task. Dropping it kills the process.
pub(crate) struct WorkerHandle {
    worker: Worker,
    /// Ends after a final message.
    pub events: UnboundedReceiver<FromWorker>,
}

/// Kills a worker whose task is still being sent to it, when nobody waits for that any more:
/// the sending thread can't be stopped otherwise.
struct Starting {
    process: u32,
    /// Locked and set before the thread lets go of the worker: until then nobody has waited for
    /// the process, so its id belongs to no other.
    sent: Arc<Mutex<bool>>,
}

impl Drop for Starting {
    fn drop(&mut self) {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if !*sent && let Ok(process) = i32::try_from(self.process) {
            // It may have died by itself.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
}

impl WorkerHandle {
    /// Dropping the future kills the process.
    pub(crate) async fn start(
        program: &(PathBuf, Vec<String>),
        start: Start,
    ) -> io::Result<WorkerHandle> {
        let (program, args) = program;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (mut worker, mut blocking) =
            tokio::task::block_in_place(|| Worker::spawn(program, &args))?;
        tracing::debug!("worker process {}", worker.id());
        let (process, sent) = (worker.id(), Arc::new(Mutex::new(false)));
        let told = sent.clone();
        let (give, given) = oneshot::channel();
        // A task may be larger than the pipe: sending it waits for the worker to read. Not a
        // blocking task of tokio's, for which the agent's end would wait.
        std::thread::Builder::new().name("worker-start".to_owned()).spawn(move || {
            let result = worker.send(&ToWorker::Start(Box::new(start)));
            *told.lock().unwrap_or_else(PoisonError::into_inner) = true;
            // If nobody wants it any more, it is dropped, and killed by that.
            let _ = give.send(result.map(|()| worker));
        })?;
        let starting = Starting { process, sent };
        let worker = given.await.map_err(io::Error::other)??;
        drop(starting);
        let (sender, events) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("worker-pipe".to_owned()).spawn(move || {
            loop {
                let message = blocking.next_event();
                let last = message.is_final();
                if sender.send(message).is_err() || last {
                    break;
                }
            }
        })?;
        Ok(WorkerHandle { worker, events })
    }

    /// A small message. That the process is gone shows in `events`.
    pub(crate) fn send(&mut self, message: &ToWorker) {
        if let Err(error) = self.worker.send(message) {
            tracing::debug!("worker {}: {error}", self.worker.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use runtime::task::Task;

    use super::*;

    /// A program that never reads, and a task that doesn't fit into the pipe to it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_start_that_nobody_waits_for_kills_the_worker() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("pid");
        let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", note.display());
        let program = (PathBuf::from("/bin/sh"), vec!["-c".to_owned(), script]);
        let task = Task {
            module: vec![0; 8 << 20],
            args: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            inputs: BTreeMap::new(),
            memory_max_pages: 1,
            output_max_bytes: 1,
            segment_fuel: 1,
            seed: Default::default(),
            clock_start_ms: 0,
        };
        let start = Start {
            base: None,
            until_mark: false,
            task,
            resume: None,
            fuel_max: 1,
            stop_at_fuel: None,
            artefacts: None,
        };
        let process = async {
            loop {
                match std::fs::read_to_string(&note) {
                    Ok(text) => return text.trim().to_owned(),
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let process = tokio::select! {
            _ = WorkerHandle::start(&program, start) => panic!("nobody took the task"),
            process = process => process,
        };
        let begun = Instant::now();
        while Path::new("/proc").join(&process).exists() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{process} lives on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
