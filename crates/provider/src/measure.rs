//! Being measured: a published program is made ready, then run on inputs that the exchange tells
//! when its clock begins: one for speed, as many at once as there are slots for memory. Nothing is
//! sold by it, and it takes slots like everything that runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base::Digest;
use futures_util::future::join_all;
use runtime::protocol::{End, FromWorker, Outcome, Start};
use runtime::task::Task;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use wire::{MeasuredEnd, ToAgent, ToExchange};

use crate::attempt::Shared;
use crate::link::Link;
use crate::worker::WorkerHandle;

/// For a run, and for the exchange to ask for one.
const STEP_MAX: Duration = Duration::from_secs(120);
/// The program's, whatever it is asked to do.
const FUEL_MAX: u64 = 1 << 40;

/// What the agent does about being measured: one measurement at a time.
pub(crate) struct Measurer {
    slots: u32,
    at_work: Option<Measuring>,
}

impl Measurer {
    /// Of a machine with so many slots.
    pub(crate) fn new(slots: u32) -> Self {
        Measurer { slots, at_work: None }
    }

    /// Does what the exchange says of a measurement; anything else is nothing.
    pub(crate) fn hear(&mut self, message: ToAgent, shared: &Arc<Shared>, link: &Link) {
        match message {
            ToAgent::Measure { measurement, module, warm_up, slots } => {
                let (shared, say) = (Arc::clone(shared), link.sender());
                let program = (module, warm_up);
                self.at_work = Some(Measuring::start(shared, measurement, program, slots, say));
            }
            ToAgent::MeasureRun { measurement, runs } => {
                if let Some(measuring) = self.at_work.as_ref().filter(|one| one.is(measurement)) {
                    // It may have failed meanwhile, and has said so.
                    let _ = measuring.runs.send(runs);
                }
            }
            ToAgent::MeasureOver { measurement } => {
                self.at_work.take_if(|measuring| measuring.is(measurement));
            }
            _ => {}
        }
    }

    /// Gives a measurement up that needs more slots than the leases leave; to be said.
    pub(crate) fn make_room(&mut self, leases_open: usize) -> Option<ToExchange> {
        let free = (self.slots as usize).saturating_sub(leases_open);
        let measuring = self.at_work.take_if(|measuring| measuring.slots as usize > free)?;
        let reason = "a slot was sold".to_owned();
        Some(ToExchange::MeasureFailed { measurement: measuring.measurement, reason })
    }

    /// Ends what is under way.
    pub(crate) fn stop(&mut self) {
        self.at_work = None;
    }
}

/// A measurement under way; it ends with this.
struct Measuring {
    measurement: Digest,
    slots: u32,
    runs: UnboundedSender<Vec<Vec<String>>>,
    task: AbortHandle,
}

impl Measuring {
    /// Begins to make ready.
    fn start(
        shared: Arc<Shared>,
        measurement: Digest,
        program: (Digest, Vec<String>),
        slots: u32,
        say: UnboundedSender<ToExchange>,
    ) -> Self {
        let (runs, asked) = mpsc::unbounded_channel();
        let task = tokio::spawn(measure(shared, measurement, program, slots, asked, say));
        Measuring { measurement, slots, runs, task: task.abort_handle() }
    }

    fn is(&self, measurement: Digest) -> bool {
        self.measurement == measurement
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
    (module, warm_up): (Digest, Vec<String>),
    slots: u32,
    mut asked: UnboundedReceiver<Vec<Vec<String>>>,
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
    let Ok(_slots) = shared.slots.clone().acquire_many_owned(slots).await else { return };
    // Compiles it: that is nobody's speed.
    if let Err(reason) = run(&shared, &module, &warm_up).await {
        return failed(reason);
    }
    let mut answer = ToExchange::MeasureReady { measurement };
    loop {
        if say.send(answer).is_err() {
            return;
        }
        let Ok(Some(runs)) = timeout(STEP_MAX, asked.recv()).await else { return };
        if runs.len() > slots as usize {
            return failed(format!("{} runs were asked for and {slots} slots", runs.len()));
        }
        let begun = Instant::now();
        let ends = join_all(runs.iter().map(|args| run(&shared, &module, args))).await;
        if let [Ok(end)] = &ends[..] {
            let took_us = begun.elapsed().as_micros().max(1);
            let speed = u32::try_from(u128::from(end.usage.fuel) / took_us);
            shared.mfuel_per_s.fetch_max(speed.unwrap_or(u32::MAX), Ordering::Relaxed);
        }
        let ends = ends.into_iter().map(|end| match end {
            Ok(end) => Some(MeasuredEnd { stdout: Digest::of(&end.stdout), fuel: end.usage.fuel }),
            Err(reason) => {
                tracing::warn!("a known task failed: {reason}");
                None
            }
        });
        answer = ToExchange::Measured { measurement, ends: ends.collect() };
    }
}

async fn run(shared: &Shared, module: &[u8], args: &[String]) -> Result<Box<End>, String> {
    let mut task = Task::new(module.to_vec());
    task.args.extend(args.iter().cloned());
    task.memory_max_pages = shared.slot_pages_max;
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
