//! What a program meets when it calls out of its instance: the world's functions, charged and with
//! the clock's fuel, and the limits of its memory.

use wasmtime::{Caller, FuncType, Global, Linker, Memory, ResourceLimiter, Val, ValType};

use crate::base_state;
use crate::transform::cost;
use crate::transform::layout;
use crate::world::{self, Function, Reply, World};

/// What an instance's store holds.
pub struct Host {
    pub world: World,
    pub memory: Option<Memory>,
    pub fuel: Option<Global>,
    /// Fuel at which the current run is to stop.
    pub stop: u64,
    /// The fuel global at which the task's own limit is reached.
    pub floor: i64,
    pub memory_max_bytes: usize,
    /// Fuel at the first call that marks the end of a start-up.
    pub marked: Option<u64>,
    /// Whether there was another call after it.
    pub called_since: bool,
    /// The host could not provide what the task may have.
    pub shortage: Option<String>,
}

impl ResourceLimiter for Host {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Both limits are declared: past them growing fails for the guest.
        Ok(desired <= self.memory_max_bytes && maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Past the declared limit growing fails for the guest; anything else is our shortage.
        self.shortage = Some(format!("memory could not grow: {error:#}"));
        Ok(())
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.shortage = Some(format!("a table could not grow: {error:#}"));
        Ok(())
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

/// The program asked to end.
#[derive(Debug, thiserror::Error)]
#[error("exit {0}")]
pub struct Exit(pub i32);

/// A host call passed the task's fuel limit.
#[derive(Debug, thiserror::Error)]
#[error("past the fuel limit")]
pub struct PastLimit;

/// Links a function of the world.
pub fn define(linker: &mut Linker<Host>, function: Function, ty: FuncType) -> wasmtime::Result<()> {
    let result = ty.results().next();
    debug_assert!(matches!(result, None | Some(ValType::I32)));
    linker.func_new(world::MODULE, function.name(), ty, move |caller, params, results| {
        call_world(caller, function, params, results)
    })?;
    Ok(())
}

fn call_world(
    mut caller: Caller<'_, Host>,
    function: Function,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let args = words(params);
    let fuel = caller.data().fuel.ok_or_else(|| wasmtime::Error::msg("no fuel global"))?;
    let value = fuel.get(&mut caller).i64().unwrap_or(0);
    let used = caller.data().stop as i64 - 1 - (value >> layout::DEPTH_BITS);
    let marked_before = caller.data().marked.is_some();
    caller.data_mut().called_since |= marked_before;
    let answer = match caller.data().memory {
        Some(memory) => {
            let (bytes, host) = memory.data_and_store_mut(&mut caller);
            if matches!(function, Function::PathOpen | Function::PathFilestatGet) {
                let (at, len) = (args[2] as usize, args[3] as usize);
                if bytes.get(at..at + len).is_some_and(base_state::is_mark) {
                    host.marked.get_or_insert(used as u64);
                }
            }
            host.world.call(function, &args[..params.len()], bytes, used as u64)
        }
        None => caller.data_mut().world.call(function, &args[..params.len()], &mut [], used as u64),
    };
    let charge = cost::HOST_CALL + answer.bytes / cost::HOST_BYTES_PER_FUEL;
    fuel.set(&mut caller, Val::I64(value - ((charge as i64) << layout::DEPTH_BITS)))?;
    if value - ((charge as i64) << layout::DEPTH_BITS) < caller.data().floor {
        return Err(wasmtime::Error::new(PastLimit));
    }
    reply(&answer.reply, results)
}

/// A call's arguments as the world takes them: none of its functions has more.
pub fn words(params: &[Val]) -> [u64; 9] {
    let mut words = [0; 9];
    for (to, from) in words.iter_mut().zip(params) {
        *to = match from {
            Val::I32(value) => *value as u32 as u64,
            Val::I64(value) => *value as u64,
            _ => 0,
        };
    }
    words
}

/// Gives the world's answer to the program.
pub fn reply(reply: &Reply, results: &mut [Val]) -> wasmtime::Result<()> {
    match *reply {
        Reply::Exit(status) => Err(wasmtime::Error::new(Exit(status))),
        Reply::Errno(errno) => {
            if let Some(result) = results.first_mut() {
                *result = Val::I32(errno as i32);
            }
            Ok(())
        }
    }
}
