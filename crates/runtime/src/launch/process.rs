//! One worker process and the agent's end of its pipe. Killed when dropped.

use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;

use super::CompileLimits;
use crate::pipe;

/// See the module.
#[derive(Debug)]
pub(crate) struct Process {
    child: Killer,
    stream: UnixStream,
    input: BufReader<UnixStream>,
}

/// Ends a process while another thread waits for its messages.
#[derive(Debug, Clone)]
pub(crate) struct Killer {
    child: Arc<Mutex<Child>>,
    id: u32,
}

impl Killer {
    /// At once. Waiting for it makes the number free for others, so that comes under the lock.
    pub fn kill(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        child.wait().ok()
    }

    /// Sends a signal, unless the process has ended: then the number may be somebody else's.
    pub fn signal(&self, signal: Signal) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(None), Ok(id)) = (child.try_wait(), i32::try_from(self.id)) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal);
        }
    }

    pub fn is_over(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(child.try_wait(), Ok(None))
    }

    pub fn id(&self) -> u32 {
        self.id
    }
}

impl Process {
    /// Starts a process that has one end of a socket and nothing else: no environment, no
    /// directory, no standard error. It is in a process group of its own: what a terminal sends
    /// to the agent's doesn't reach it, and when the agent dies while it is stopped and so can't
    /// notice, the kernel ends it (a group that is orphaned with a stopped process gets SIGHUP).
    pub fn spawn(program: &Path, args: &[String]) -> io::Result<Process> {
        let (stream, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let child = Command::new(program)
            .args(args)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let input = BufReader::new(stream.try_clone()?);
        let id = child.id();
        Ok(Process { child: Killer { child: Arc::new(Mutex::new(child)), id }, stream, input })
    }

    pub fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// What it says, after its messages so far.
    pub fn input(&mut self) -> &mut impl Read {
        &mut self.input
    }

    pub fn receive<T: DeserializeOwned>(&mut self, max: u64) -> io::Result<T> {
        pipe::receive(&mut self.input, max)
    }

    pub fn killer(&self) -> Killer {
        self.child.clone()
    }

    /// Ends it, and says how it ended. One that had ended by itself keeps its own end: a process
    /// closes its pipe only after its fate is fixed.
    pub fn end(self) -> Option<ExitStatus> {
        self.child.kill()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill();
    }
}

/// Why nothing more comes from a process, for people.
pub(super) fn reason(error: &io::Error, end: Option<Option<ExitStatus>>) -> String {
    let signal = end.flatten().and_then(|status| status.signal());
    let why = match signal.and_then(|signal| Signal::try_from(signal).ok()) {
        Some(Signal::SIGSYS) => " (it tried a system call that ends a worker)".to_owned(),
        Some(Signal::SIGXCPU) => " (it used up its processor time)".to_owned(),
        // Ours, or the system's when memory is short.
        Some(Signal::SIGKILL) | None => String::new(),
        Some(signal) => format!(" ({signal})"),
    };
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset => {
            format!("the worker process ended without a result{why}")
        }
        _ => format!("the worker process is not to be believed: {error}{why}"),
    }
}

/// Why the compiler can't cope with a module, if it is the module's doing: what a compiler does
/// is a function of the module, so another machine's would end alike. A kill is not among it.
pub(super) fn compiler_gave_up(end: &Option<ExitStatus>, limits: &CompileLimits) -> Option<String> {
    let signal = (*end)?.signal().and_then(|signal| Signal::try_from(signal).ok())?;
    match signal {
        Signal::SIGXCPU => Some(format!(
            "the module takes more than {} s of processor time to compile; split its largest functions, or compile it with less inlining",
            limits.cpu_s
        )),
        Signal::SIGABRT => Some(format!(
            "the module takes more than {} MiB of memory to compile, or is nested too deeply; split its largest functions",
            limits.memory_bytes >> 20
        )),
        Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL | Signal::SIGSYS => Some(format!(
            "the module breaks the compiler ({signal}); compile it with other options, and tell Jusha's authors"
        )),
        _ => None,
    }
}
