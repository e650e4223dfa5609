//! A compile worker: gets one module, makes one build of it, hands the artefact back and ends. It
//! never executes any of it, has nothing but its pipe, and is bounded in memory and processor
//! time, since the time that a compiler takes is up to whoever wrote the module.

use std::io::{self, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};

use super::{Pipe, close, on_large_stack, panic_text, prepare, say, unexpected};
use crate::engine::{Build, CompileError};
use crate::pipe::{self, Inbox};
use crate::protocol::{Down, FromWorker, Setup, Up};

/// For each of the compiler's own threads.
const STACK_BYTES: usize = 16 << 20;

pub(super) fn main(pipe: Pipe, setup: Setup, threads: u32) -> io::Result<()> {
    let Pipe { inbox, mut out } = pipe;
    let Some((compiler, identity, walls)) = prepare(&mut out, &setup)? else { return Ok(()) };
    on_large_stack(move || {
        // All threads that the compiler will want: none can be started later.
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads as usize)
            .stack_size(STACK_BYTES)
            .build_global()
            .map_err(io::Error::other)?;
        let (job, jobs) = channel();
        let (open, opened) = channel();
        std::thread::Builder::new().name("agent".to_owned()).spawn(move || {
            if opened.recv().is_ok() {
                // Without its agent nobody wants the artefact any more.
                let _ = listen(inbox, &job);
                std::process::exit(2);
            }
        })?;
        if !close(&mut out, walls, identity)? {
            return Ok(());
        }
        open.send(()).map_err(io::Error::other)?;
        let (module, build) = jobs.recv().map_err(|_| unexpected())?;
        let compiled = catch_unwind(AssertUnwindSafe(|| compiler.compile(&module, build)));
        match compiled {
            Ok(Ok(artefact)) => {
                pipe::send(&mut out, &Up::Artefact { bytes: artefact.len() as u64 })?;
                out.write_all(&artefact)
            }
            Ok(Err(CompileError::Refused(refusal))) => {
                say(&mut out, FromWorker::Refused { reason: refusal.to_string() })
            }
            Ok(Err(error)) => say(&mut out, FromWorker::Fault { reason: error.to_string() }),
            // What a compiler does is a function of the module: elsewhere it would do the same.
            Err(panic) => {
                let reason = format!("the module breaks the compiler: {}", panic_text(&*panic));
                say(&mut out, FromWorker::Refused { reason })
            }
        }
    })
}

/// Takes the module, and returns when the agent has gone.
fn listen(mut inbox: BufReader<Inbox>, job: &Sender<(Vec<u8>, Build)>) -> io::Result<()> {
    let Down::Compile { module, build } = pipe::receive(&mut inbox, pipe::MESSAGE_BYTES_MAX)?
    else {
        return Err(unexpected());
    };
    job.send((module, build)).map_err(io::Error::other)?;
    inbox.read_exact(&mut [0])
}
