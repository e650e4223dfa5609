//! A worker process as async code sees it: its blocking pipe is read by a thread of its own.

use std::io;
use std::path::PathBuf;

use runtime::protocol::{FromWorker, Start, ToWorker};
use runtime::worker::Worker;
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// A worker that was given its task. Dropping it kills the process.
pub(crate) struct WorkerHandle {
    worker: Worker,
    /// Ends after a final message.
    pub events: UnboundedReceiver<FromWorker>,
}

impl WorkerHandle {
    pub(crate) async fn start(
        program: &(PathBuf, Vec<String>),
        start: Start,
    ) -> io::Result<WorkerHandle> {
        let (program, args) = program.clone();
        // A task may be larger than the pipe: sending it waits for the worker to read.
        let spawned = tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let (mut worker, events) = Worker::spawn(&program, &args)?;
            worker.send(&ToWorker::Start(Box::new(start)))?;
            Ok::<_, io::Error>((worker, events))
        });
        let (worker, mut blocking) = spawned.await.map_err(io::Error::other)??;
        tracing::debug!("worker process {}", worker.id());
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
