//! Being measured: a published program is made ready, then run on inputs that the exchange tells
//! when its clock begins. Nothing is sold by it, and it takes a slot like everything that runs.

use std::sync::Arc;
use std::time::Duration;

use base::Digest;
use runtime::protocol::{End, FromWorker, Outcome, Start};
use runtime::task::Task;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use wire::ToExchange;

use crate::attempt::Shared;
use crate::worker::WorkerHandle;

/// For a run, and for the exchange to ask for one.
const STEP_MAX: Duration = Duration::from_secs(120);
/// The program's, whatever it is asked to do.
const FUEL_MAX: u64 = 1 << 40;

/// A measurement under way; it ends with this.
pub(crate) struct Measuring {
    measurement: Digest,
    runs: UnboundedSender<Vec<String>>,
    task: AbortHandle,
}

impl Measuring {
    /// Begins to make ready.
    pub(crate) fn start(
        shared: Arc<Shared>,
        measurement: Digest,
        module: Digest,
        warm_up: Vec<String>,
        say: UnboundedSender<ToExchange>,
    ) -> Self {
        let (runs, asked) = mpsc::unbounded_channel();
        let task = tokio::spawn(measure(shared, measurement, module, warm_up, asked, say));
        Measuring { measurement, runs, task: task.abort_handle() }
    }

    /// Whether it is this one.
    pub(crate) fn is(&self, measurement: Digest) -> bool {
        self.measurement == measurement
    }

    /// The clock runs, if it is for this one.
    pub(crate) fn run(&self, measurement: Digest, args: Vec<String>) {
        if self.is(measurement) {
            // It may have failed meanwhile, and has said so.
            let _ = self.runs.send(args);
        }
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes ready, runs what it is asked to, until it is dropped or nothing more comes.
async fn measure(
    shared: Arc<Shared>,
    measurement: Digest,
    module: Digest,
    warm_up: Vec<String>,
    mut runs: UnboundedReceiver<Vec<String>>,
    say: UnboundedSender<ToExchange>,
) {
    let failed = |reason: String| {
        tracing::warn!("not measured: {reason}");
        // The exchange, or the agent, is gone.
        let _ = say.send(ToExchange::MeasureFailed { measurement, reason });
    };
    let module = match shared.blobs.fetch(module).await {
        Ok(module) => module,
        Err(error) => return failed(error.to_string()),
    };
    let Ok(_slot) = shared.slots.clone().acquire_owned().await else { return };
    // Compiles it: that is nobody's speed.
    if let Err(reason) = run(&shared, &module, &warm_up).await {
        return failed(reason);
    }
    let mut answer = ToExchange::MeasureReady { measurement };
    loop {
        if say.send(answer).is_err() {
            return;
        }
        let Ok(Some(args)) = timeout(STEP_MAX, runs.recv()).await else { return };
        answer = match run(&shared, &module, &args).await {
            Ok(end) => ToExchange::Measured {
                measurement,
                stdout: Digest::of(&end.stdout),
                fuel: end.usage.fuel,
            },
            Err(reason) => return failed(reason),
        };
    }
}

async fn run(shared: &Shared, module: &[u8], args: &[String]) -> Result<Box<End>, String> {
    let mut task = Task::new(module.to_vec());
    task.args.extend(args.iter().cloned());
    let start = Start { fuel_max: FUEL_MAX, ..Start::new(task) };
    let mut worker =
        WorkerHandle::start(&shared.launcher, start).map_err(|error| error.to_string())?;
    let end = async {
        loop {
            match worker.events.recv().await {
                Some(FromWorker::Ended(end)) if end.outcome == Outcome::Exited(0) => {
                    return Ok(end);
                }
                Some(FromWorker::Ended(end)) => return Err(format!("it ended: {:?}", end.outcome)),
                Some(FromWorker::Refused { reason } | FromWorker::Fault { reason }) => {
                    return Err(reason);
                }
                Some(message) if message.is_final() => return Err("it stopped".to_owned()),
                Some(_) => {}
                None => return Err("the worker fell silent".to_owned()),
            }
        }
    };
    timeout(STEP_MAX, end).await.unwrap_or_else(|_| Err("it takes too long".to_owned()))
}
