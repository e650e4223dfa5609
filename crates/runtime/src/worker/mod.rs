//! The worker processes: the only places that hold foreign code. One program, several roles, each
//! a process that serves one purpose and ends.
//!
//! Every one begins alike: it closes what it inherited, hears from its agent what it is to be,
//! puts up its walls ([`crate::sandbox`]), says so, and only then gets anything foreign. Its
//! standard input is the one socket that it has (`pipe`). When that closes, it ends:
//! nobody wants its work any more.

mod compile;
mod prisoner;
mod run;

use std::any::Any;
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use crate::engine::{Compiler, NATIVE_STACK_BYTES};
use crate::pipe::{self, Inbox};
use crate::protocol::{Down, FromWorker, Role, Setup, Up};
use crate::sandbox;

/// A worker's two halves of its socket.
struct Pipe {
    inbox: BufReader<Inbox>,
    out: UnixStream,
}

impl Pipe {
    fn receive(&mut self) -> io::Result<Down> {
        pipe::receive(&mut self.inbox, pipe::MESSAGE_BYTES_MAX)
    }
}

fn say(out: &mut UnixStream, event: FromWorker) -> io::Result<()> {
    pipe::send(out, &Up::Said(event))
}

/// The body of the `worker` subcommand. To be called before the process has a second thread.
pub fn worker_main() -> ExitCode {
    sandbox::close_inherited();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let out = socket.try_clone()?;
    let mut pipe = Pipe { inbox: BufReader::new(Inbox::new(socket)), out };
    let Down::Setup(setup) = pipe.receive()? else { return Err(unexpected()) };
    if setup.lowest_priority {
        sandbox::yield_to_everybody();
    }
    match setup.role {
        Role::Run => run::main(pipe, setup),
        Role::Compile { threads } => compile::main(pipe, setup, threads),
        Role::Prisoner(behind) => prisoner::main(pipe, setup, behind),
    }
}

fn unexpected() -> io::Error {
    io::Error::other("the agent sent something else than what is due")
}

/// A compiler and the walls, or the fault told. The compiler is made first: it looks at files.
fn prepare(
    out: &mut UnixStream,
    setup: &Setup,
) -> io::Result<Option<(Compiler, u64, sandbox::Walls)>> {
    let compiler = match Compiler::new() {
        Ok(compiler) => compiler,
        Err(error) => {
            say(out, FromWorker::Fault { reason: error.to_string() })?;
            return Ok(None);
        }
    };
    let identity = compiler.identity();
    match sandbox::enter(&setup.limits, setup.weakening) {
        Ok(walls) => Ok(Some((compiler, identity, walls))),
        Err(error) => {
            say(out, FromWorker::Fault { reason: error.to_string() })?;
            Ok(None)
        }
    }
}

/// Closes the walls and says so; `false` if a wall is lacking, which is told, too.
fn close(out: &mut UnixStream, walls: sandbox::Walls, identity: u64) -> io::Result<bool> {
    match walls.close() {
        Ok(confinement) => {
            pipe::send(out, &Up::Ready { confinement, identity })?;
            Ok(true)
        }
        Err(error) => {
            say(out, FromWorker::Fault { reason: error.to_string() })?;
            Ok(false)
        }
    }
}

/// Runs `body` on a stack on which guest frames and deeply nested modules have room.
fn on_large_stack(body: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    // Guest frames are on this thread's stack: larger than what the engine lets them take.
    let thread = std::thread::Builder::new()
        .name("guest".to_owned())
        .stack_size(NATIVE_STACK_BYTES + (32 << 20))
        .spawn(body)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the worker broke down")))
}

/// What a panic said: the agent hears it, since a worker has no standard error.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the worker broke down: {}", text.unwrap_or("it did not say why"))
}
