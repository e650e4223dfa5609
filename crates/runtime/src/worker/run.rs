//! A run worker: gets one task and its compiled module, runs it, and ends. Once the module is
//! loaded it can't make memory executable any more, so a task that needs another build of its
//! module (a NaN was born, a trap's fuel is wanted) goes on in a new process.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::{Pipe, close, on_large_stack, panic_text, prepare, unexpected};
use crate::engine::Compiler;
use crate::execution::{Execution, RunError, Span};
use crate::measure::thread_cpu;
use crate::pipe::{self, Inbox};
use crate::protocol::{Down, FromWorker, Goal, Job, Reached, Setup, Start, ToWorker, TrapCode, Up};
use crate::sandbox;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

pub(super) fn main(pipe: Pipe, setup: Setup) -> io::Result<()> {
    let Pipe { inbox, mut out } = pipe;
    let Some((compiler, identity, walls)) = prepare(&mut out, &setup)? else { return Ok(()) };
    on_large_stack(move || {
        let (job, jobs) = channel();
        let (order, orders) = channel();
        let (open, opened) = channel();
        // It has to be there before the walls are closed, and reads nothing before they are.
        std::thread::Builder::new().name("orders".to_owned()).spawn(move || {
            if opened.recv().is_ok() {
                // Without its agent nobody wants the work any more.
                let _ = listen(inbox, &job, &order);
                std::process::exit(2);
            }
        })?;
        if !close(&mut out, walls, identity)? {
            return Ok(());
        }
        open.send(()).map_err(io::Error::other)?;
        let (job, artefact) = jobs.recv().map_err(|_| unexpected())?;
        let work = || work(job, artefact, &compiler, &setup, &orders, &mut out);
        let last = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(last)) => last,
            Ok(Err(Ended::Run(RunError::Refused(reason)))) => {
                Up::Said(FromWorker::Refused { reason })
            }
            Ok(Err(Ended::Run(error))) => Up::Said(FromWorker::Fault { reason: error.to_string() }),
            Ok(Err(Ended::Pipe(error))) => return Err(error),
            Err(panic) => Up::Said(FromWorker::Fault { reason: panic_text(&*panic) }),
        };
        pipe::send(&mut out, &last)
    })
}

/// Listens to the agent; ends when that has gone or says what it must not.
fn listen(
    mut inbox: BufReader<Inbox>,
    job: &Sender<(Job, File)>,
    order: &Sender<ToWorker>,
) -> io::Result<()> {
    let Down::Run(first) = pipe::receive(&mut inbox, pipe::MESSAGE_BYTES_MAX)? else {
        return Err(unexpected());
    };
    let artefact = inbox.get_mut().file()?;
    job.send((*first, artefact)).map_err(io::Error::other)?;
    loop {
        let Down::Order(told) = pipe::receive(&mut inbox, pipe::MESSAGE_BYTES_MAX)? else {
            return Err(unexpected());
        };
        // Once the run is over nobody listens, and the process is about to end.
        let _ = order.send(told);
    }
}

enum Ended {
    Run(RunError),
    Pipe(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Ended::Pipe(error)
    }
}

impl<E: Into<RunError>> From<E> for Ended {
    fn from(error: E) -> Self {
        Ended::Run(error.into())
    }
}

fn work(
    job: Job,
    artefact: File,
    compiler: &Compiler,
    setup: &Setup,
    orders: &Receiver<ToWorker>,
    out: &mut UnixStream,
) -> Result<Up, Ended> {
    let build = job.build().map_err(RunError::from)?;
    let loaded = compiler.load(artefact, build).map_err(RunError::from)?.known_as(job.module);
    match sandbox::seal() {
        Err(error) if !setup.weakening.without_syscall_filter => {
            return Err(Ended::Run(RunError::Fault(error)));
        }
        _ => {}
    }
    let Job { start, module, redo } = job;
    let Start { task, base, goal, resume, fuel_max, stop_at_fuel } = start;
    let mut execution = Execution::begin(&task, &loaded, base.as_ref(), goal, resume, redo)?;
    pipe::send(out, &Up::Said(FromWorker::Started))?;
    let replayed = redo.and_then(|redo| redo.trap);
    let last = match goal {
        Goal::Record => span(&mut execution, replayed, fuel_max),
        Goal::End | Goal::Mark => {
            steps(&mut execution, replayed, fuel_max, stop_at_fuel, orders, out)
        }
    };
    match last {
        Err(Ended::Run(RunError::Elsewhere(redo))) => {
            let resume = execution.into_last();
            let start = Start { task, base, goal, resume, fuel_max, stop_at_fuel };
            Ok(Up::Again(Box::new(Job { start, module, redo: Some(redo) })))
        }
        last => Ok(Up::Said(last?)),
    }
}

/// Orders are for runs that go on; a span is over soon, and whoever wants no more ends the process.
fn span(
    execution: &mut Execution<'_>,
    replayed: Option<TrapCode>,
    fuel_max: u64,
) -> Result<FromWorker, Ended> {
    let begun = thread_cpu();
    let Span { record, needed } = execution.span(fuel_max, replayed)?;
    let cpu_ns = (thread_cpu() - begun).as_nanos() as u64;
    Ok(FromWorker::Reached(Box::new(Reached { record, needed, cpu_ns })))
}

fn steps(
    execution: &mut Execution<'_>,
    replayed: Option<TrapCode>,
    fuel_max: u64,
    stop_at_fuel: Option<u64>,
    orders: &Receiver<ToWorker>,
    out: &mut UnixStream,
) -> Result<FromWorker, Ended> {
    let mut tell = |event| pipe::send(out, &Up::Said(event));
    let stop_at = stop_at_fuel.unwrap_or(u64::MAX);
    let mut told = Instant::now();
    loop {
        let slice = match replayed {
            Some(code) => execution.replay(code, fuel_max).map_err(Ended::Run)?,
            None => execution.slice(fuel_max, stop_at).map_err(Ended::Run)?,
        };
        if let Some(record) = slice.record {
            tell(FromWorker::Record(record))?;
        }
        if let Some(end) = slice.end {
            return Ok(FromWorker::Ended(end));
        }
        if execution.usage().fuel >= stop_at || execution.is_at_mark() {
            return Ok(FromWorker::Stopped(execution.capture_new()));
        }
        match orders.try_recv() {
            Ok(ToWorker::Capture) => tell(FromWorker::Captured(execution.capture_new()))?,
            Ok(ToWorker::Stop) => return Ok(FromWorker::Stopped(execution.capture_new())),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            tell(FromWorker::Progress { usage: execution.usage() })?;
        }
    }
}
