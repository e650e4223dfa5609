//! The value of a global, as the engine has it and as a checkpoint does.

use wasmtime::Val;

use crate::checkpoint::GlobalValue;

/// As a checkpoint has it.
pub fn from_val(value: &Val) -> GlobalValue {
    match value {
        Val::I32(value) => GlobalValue::I32(*value),
        Val::I64(value) => GlobalValue::I64(*value),
        Val::F32(bits) => GlobalValue::F32(*bits),
        Val::F64(bits) => GlobalValue::F64(*bits),
        Val::V128(bits) => GlobalValue::V128(bits.as_u128()),
        _ => unreachable!("reference globals are refused at admission"),
    }
}

/// As the engine has it.
pub fn to_val(value: GlobalValue) -> Val {
    match value {
        GlobalValue::I32(value) => Val::I32(value),
        GlobalValue::I64(value) => Val::I64(value),
        GlobalValue::F32(bits) => Val::F32(bits),
        GlobalValue::F64(bits) => Val::F64(bits),
        GlobalValue::V128(bits) => Val::V128(bits.into()),
    }
}
