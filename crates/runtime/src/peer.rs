//! The same program on the same engine, in the same world, without the transform: what benches
//! compare with. No task ever runs this way: nothing is metered, and nothing can be stopped.

use wasmtime::{Caller, Engine, Linker, Memory, Module, OptLevel, Store};

use crate::engine::{self, Build};
use crate::host;
use crate::instance::world_config;
use crate::task::Task;
use crate::transform;
use crate::world::{self, Function, World};

/// How a module is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// As it is.
    Plain,
    /// With the engine's own fuel.
    EngineFuel,
    /// Transformed, as tasks run.
    Ours,
}

/// Why a measurement failed. Benches print it and end.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PeerError(String);

fn failed(error: impl std::fmt::Display) -> PeerError {
    PeerError(format!("{error:#}"))
}

fn plain_engine(fuel: bool) -> Result<Engine, PeerError> {
    Engine::new(engine::config(Build::FAST, OptLevel::Speed).consume_fuel(fuel)).map_err(failed)
}

/// A compiled module, to be kept and measured.
#[derive(Debug)]
pub struct Compiled {
    /// What [`run`] takes, for the plain variants.
    pub artefact: Vec<u8>,
    /// Bytes of machine code.
    pub code_bytes: usize,
}

/// Compiles a module in a variant, and nothing else: for the time that it takes.
pub fn compile(module: &[u8], variant: Variant) -> Result<Compiled, PeerError> {
    let compiled = match variant {
        Variant::Plain => Module::new(&plain_engine(false)?, module),
        Variant::EngineFuel => Module::new(&plain_engine(true)?, module),
        Variant::Ours => {
            let admitted = transform::admit(module).map_err(failed)?;
            let transformed = transform::transform(&admitted, false).map_err(failed)?;
            Module::new(&engine::engine(Build::FAST).map_err(failed)?, transformed)
        }
    }
    .map_err(failed)?;
    let artefact = compiled.serialize().map_err(failed)?;
    Ok(Compiled { artefact, code_bytes: compiled.text().len() })
}

struct Host {
    world: World,
    memory: Option<Memory>,
}

/// Runs a task from beginning to end in this process: its standard output and exit status.
///
/// # Safety
///
/// `artefact` is a file with the `artefact` of a [`compile`] of the task's module by this very
/// program, in `variant`: loading machine code is running it.
pub unsafe fn run(
    task: &Task,
    variant: Variant,
    artefact: &std::path::Path,
) -> Result<(Vec<u8>, i32), PeerError> {
    let engine = plain_engine(variant == Variant::EngineFuel)?;
    // SAFETY: the caller's promise.
    let module = unsafe { Module::deserialize_file(&engine, artefact) }.map_err(failed)?;
    let world = World::new(world_config(task)).map_err(failed)?;
    let mut store = Store::new(&engine, Host { world, memory: None });
    if variant == Variant::EngineFuel {
        store.set_fuel(u64::MAX).map_err(failed)?;
    }
    let mut linker = Linker::new(&engine);
    for import in module.imports() {
        let function = Function::from_name(import.name())
            .ok_or_else(|| failed(format!("there is no import {}", import.name())))?;
        let ty = import.ty().unwrap_func().clone();
        let call = move |mut caller: Caller<'_, Host>,
                         params: &[wasmtime::Val],
                         results: &mut [wasmtime::Val]| {
            let words = host::words(params);
            let args = &words[..params.len()];
            let answer = match caller.data().memory {
                Some(memory) => {
                    let (bytes, host) = memory.data_and_store_mut(&mut caller);
                    host.world.call(function, args, bytes, 0)
                }
                None => caller.data_mut().world.call(function, args, &mut [], 0),
            };
            host::reply(&answer.reply, results)
        };
        linker.func_new(world::MODULE, import.name(), ty, call).map_err(failed)?;
    }
    let instance = linker.instantiate(&mut store, &module).map_err(failed)?;
    store.data_mut().memory = instance.get_memory(&mut store, "memory");
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start").map_err(failed)?;
    let status = match start.call(&mut store, ()) {
        Ok(()) => 0,
        Err(error) => error.downcast::<host::Exit>().map_err(failed)?.0,
    };
    Ok((store.data().world.stdout().to_vec(), status))
}
