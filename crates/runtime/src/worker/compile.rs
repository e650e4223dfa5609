//! A compile worker: gets one module, makes one build of it, hands the artefact back and ends. It
//! never executes any of it, has nothing but its pipe, and is bounded in memory and processor
//! time, since the time that a compiler takes is up to whoever wrote the module.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Pipe, close, on_large_stack, panic_text, prepare, say, unexpected};
use crate::engine::CompileError;
use crate::pipe;
use crate::protocol::{Down, FromWorker, Setup, Up};

/// For each of the compiler's own threads.
const STACK_BYTES: usize = 16 << 20;

pub(super) fn main(mut pipe: Pipe, setup: Setup, threads: u32) -> io::Result<()> {
    let Some((compiler, identity, walls)) = prepare(&mut pipe.out, &setup)? else { return Ok(()) };
    on_large_stack(move || {
        // All threads that the compiler will want: none can be started later.
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads as usize)
            .stack_size(STACK_BYTES)
            .build_global()
            .map_err(io::Error::other)?;
        if !close(&mut pipe.out, walls, identity)? {
            return Ok(());
        }
        let Down::Compile { module, build } = pipe.receive()? else { return Err(unexpected()) };
        let compiled = catch_unwind(AssertUnwindSafe(|| compiler.compile(&module, build)));
        match compiled {
            Ok(Ok(artefact)) => {
                pipe::send(&mut pipe.out, &Up::Artefact { bytes: artefact.len() as u64 })?;
                pipe.out.write_all(&artefact)
            }
            Ok(Err(CompileError::Refused(refusal))) => {
                say(&mut pipe.out, FromWorker::Refused { reason: refusal.to_string() })
            }
            Ok(Err(error)) => say(&mut pipe.out, FromWorker::Fault { reason: error.to_string() }),
            // What a compiler does is a function of the module: elsewhere it would do the same.
            Err(panic) => {
                let reason = format!("the module breaks the compiler: {}", panic_text(&*panic));
                say(&mut pipe.out, FromWorker::Refused { reason })
            }
        }
    })
}
