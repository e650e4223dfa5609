//! The worker process: the only place where foreign code runs, and the handle by which an agent
//! owns one. The protocol is [`crate::protocol`]'s, over the child's stdin and stdout.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::{Compiler, NATIVE_STACK_BYTES};
use crate::execution::{Execution, RunError};
use crate::protocol::{FromWorker, Start, ToWorker};

/// Longest message: a checkpoint of 4 GiB of memory, its frames and its outputs.
const MESSAGE_BYTES_MAX: u64 = 6 << 30;
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn send<T: Serialize>(out: &mut impl Write, message: &T) -> io::Result<()> {
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = bytes.len() as u64;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message is too long for the pipe"));
    }
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&bytes)?;
    out.flush()
}

pub(crate) fn receive<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message is too long for the pipe"));
    }
    // Grows with what really comes, so that a length alone allocates nothing.
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}

/// A worker process, killed when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    stdin: BufWriter<ChildStdin>,
}

/// What a worker says.
#[derive(Debug)]
pub struct WorkerEvents {
    stdout: BufReader<ChildStdout>,
    over: bool,
}

impl Worker {
    /// Starts `program args…`, which must end up in [`worker_main`].
    pub fn spawn(program: &Path, args: &[&str]) -> io::Result<(Worker, WorkerEvents)> {
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("a worker has no pipe");
        let stdin = BufWriter::new(child.stdin.take().ok_or_else(missing)?);
        let stdout = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        Ok((Worker { child, stdin }, WorkerEvents { stdout, over: false }))
    }

    /// Sends a message. An error means that the worker is gone, which its events tell, too.
    pub fn send(&mut self, message: &ToWorker) -> io::Result<()> {
        send(&mut self.stdin, message)
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl WorkerEvents {
    /// Waits for the next message. A worker that dies or talks nonsense is a
    /// [`FromWorker::Fault`]; so is asking on after the final message.
    pub fn next_event(&mut self) -> FromWorker {
        if self.over {
            return FromWorker::Fault { reason: "the worker has nothing more to say".to_owned() };
        }
        let event = receive(&mut self.stdout).unwrap_or_else(|error| FromWorker::Fault {
            reason: format!("the worker process ended without a result ({error})"),
        });
        self.over = event.is_final();
        event
    }
}

/// The body of the `worker` subcommand: serves one task and ends.
pub fn worker_main() -> ExitCode {
    // Guest frames are on this thread's stack: larger than what the engine lets them take.
    let body = std::thread::Builder::new()
        .name("guest".to_owned())
        .stack_size(NATIVE_STACK_BYTES + (32 << 20))
        .spawn(serve);
    match body.map(|thread| thread.join()) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    let mut input = BufReader::new(io::stdin());
    let mut out = BufWriter::new(io::stdout());
    let ToWorker::Start(start) = receive(&mut input)? else {
        return Err(io::Error::other("the first message is not a start"));
    };
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        loop {
            match receive(&mut input) {
                Ok(order) => {
                    if sender.send(order).is_err() {
                        return;
                    }
                }
                // The agent is gone: nobody wants the work any more.
                Err(_) => std::process::exit(2),
            }
        }
    });
    let last = match run(*start, &orders, &mut out) {
        Ok(last) => last,
        Err(Ended::Run(RunError::Refused(reason))) => FromWorker::Refused { reason },
        Err(Ended::Run(RunError::Fault(reason))) => FromWorker::Fault { reason },
        Err(Ended::Pipe(error)) => return Err(error),
    };
    send(&mut out, &last)
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

fn run(
    start: Start,
    orders: &Receiver<ToWorker>,
    out: &mut impl Write,
) -> Result<FromWorker, Ended> {
    let compiler = Compiler::new(start.artefacts).map_err(RunError::from)?;
    let mut execution = Execution::new(&start.task, &compiler, start.resume).map_err(Ended::Run)?;
    send(out, &FromWorker::Started)?;
    let stop_at = start.stop_at_fuel.unwrap_or(u64::MAX);
    let mut told = Instant::now();
    loop {
        let slice = execution.slice(start.fuel_max, stop_at).map_err(Ended::Run)?;
        if let Some(record) = slice.record {
            send(out, &FromWorker::Record(record))?;
        }
        if let Some(end) = slice.end {
            return Ok(FromWorker::Ended(end));
        }
        if execution.usage().fuel >= stop_at {
            return Ok(FromWorker::Stopped(execution.capture()));
        }
        match orders.try_recv() {
            Ok(ToWorker::Capture) => send(out, &FromWorker::Captured(execution.capture()))?,
            Ok(ToWorker::Stop) => return Ok(FromWorker::Stopped(execution.capture())),
            Ok(ToWorker::Start(_)) | Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            send(out, &FromWorker::Progress { usage: execution.usage() })?;
        }
    }
}
