//! Why a run of an instance stopped, from what the engine says.

use wasmtime::Trap;

use crate::checkpoint::CheckpointError;
use crate::host::{Exit, PastLimit};
use crate::instance::{InstanceError, fault};
use crate::protocol::TrapCode;
use crate::transform::layout;

/// Why a run stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// At a safepoint at or past the stop; the frames are saved.
    Safepoint,
    /// `_start` returned, or the program exited.
    Exited(i32),
    /// It trapped. When not `exact`, the fuel is not known yet.
    Trapped { code: TrapCode, exact: bool },
    /// A bulk instruction would have passed the task's limit.
    FuelLimit,
}

/// From the error that ended it; `why` is what the module's own `$trap` says, `exact` whether its
/// fuel is right at any trap.
pub fn reason(error: wasmtime::Error, why: i32, exact: bool) -> Result<Stop, InstanceError> {
    if let Some(Exit(status)) = error.downcast_ref::<Exit>() {
        return Ok(Stop::Exited(*status));
    }
    if error.is::<PastLimit>() {
        return Ok(Stop::FuelLimit);
    }
    let Some(trap) = error.downcast_ref::<Trap>() else { return Err(fault(error)) };
    let code = match trap {
        Trap::UnreachableCodeReached => return own(why, exact),
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => TrapCode::MemoryOutOfBounds,
        Trap::TableOutOfBounds => TrapCode::TableOutOfBounds,
        Trap::IndirectCallToNull => TrapCode::IndirectCallToNull,
        Trap::BadSignature => TrapCode::BadSignature,
        Trap::IntegerOverflow => TrapCode::IntegerOverflow,
        Trap::IntegerDivisionByZero => TrapCode::IntegerDivideByZero,
        Trap::BadConversionToInteger => TrapCode::BadConversionToInteger,
        // The metered depth is there so that this never happens.
        Trap::StackOverflow => {
            return Err(InstanceError::Fault("the native stack overflowed".to_owned()));
        }
        other => return Err(InstanceError::Fault(format!("unexpected trap: {other}"))),
    };
    Ok(Stop::Trapped { code, exact })
}

/// An `unreachable`: the program's or one of ours, before which the fuel is always right.
fn own(why: i32, exact: bool) -> Result<Stop, InstanceError> {
    let (code, exact) = match why {
        layout::TRAP_STACK => (TrapCode::StackExhausted, true),
        layout::TRAP_UNCAUGHT => (TrapCode::UncaughtException, true),
        layout::TRAP_NULL => (TrapCode::NullReference, true),
        layout::TRAP_FUEL => return Ok(Stop::FuelLimit),
        layout::TRAP_DAMAGED => {
            let why = "its frames are none that this program saves".to_owned();
            return Err(CheckpointError::Damaged(why).into());
        }
        layout::TRAP_SHORTAGE => {
            return Err(InstanceError::Fault("a table could not grow".to_owned()));
        }
        _ => (TrapCode::Unreachable, exact),
    };
    Ok(Stop::Trapped { code, exact })
}
