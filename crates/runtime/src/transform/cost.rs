//! The cost table: fuel per instruction. Part of the task digest through
//! [`crate::COST_TABLE_VERSION`]: changing a number here means a new version.
//!
//! The numbers are set by `cargo xtask calibrate`, such that no case that it lists should take more
//! than ten times as long per fuel as the benchmark guests do, but for those that
//! docs/runtime-spec.md names, with the table under which that was last measured.
//!
//! One unit is about one simple machine instruction; a current core does 2 (calls through
//! pointers) to 15 (an FFT) of them in a nanosecond. Instructions that only shape the code cost nothing, so that a compiler's
//! choice of blocks is not billed.

use wasmparser::Operator;

/// Fuel per 64 KiB page that `memory.grow` adds: touching a fresh page costs the kernel's
/// zeroing on top of the guest's own store.
pub const PAGE_GROWN: i64 = 49152;
/// Bulk memory instructions cost one unit per 2² bytes on top of their base.
pub const BULK_BYTES_SHIFT: i64 = 2;
/// Bulk table instructions, and `table.grow` where it succeeds, cost this much for each entry on
/// top of their base.
pub const TABLE_ENTRY: i64 = 8;
/// Fuel per call of a WASI function, on top of the call itself.
pub const HOST_CALL: u64 = 500;
/// A WASI call moves this many bytes per unit of fuel.
pub const HOST_BYTES_PER_FUEL: u64 = 4;

/// Fuel of one instruction.
pub fn of(op: &Operator<'_>) -> i64 {
    use Operator as O;
    match op {
        O::Nop | O::Block { .. } | O::Loop { .. } | O::Else | O::End | O::Drop => 0,
        O::LocalGet { .. } | O::I32Const { .. } | O::I64Const { .. } => 0,
        O::F32Const { .. } | O::F64Const { .. } => 0,
        O::Call { .. } => 4,
        O::CallIndirect { .. } => 8,
        O::Return | O::BrTable { .. } => 2,
        O::I32DivS | O::I32DivU | O::I32RemS | O::I32RemU => 8,
        O::I64DivS | O::I64DivU | O::I64RemS | O::I64RemU => 12,
        O::F32Div | O::F64Div | O::F32Sqrt | O::F64Sqrt => 8,
        O::F32x4Div | O::F64x2Div | O::F32x4Sqrt | O::F64x2Sqrt => 12,
        O::F32Ceil | O::F32Floor | O::F32Trunc | O::F32Nearest => 3,
        O::F64Ceil | O::F64Floor | O::F64Trunc | O::F64Nearest => 3,
        O::F32Min | O::F32Max | O::F64Min | O::F64Max => 2,
        O::F32x4Min | O::F32x4Max | O::F64x2Min | O::F64x2Max => 2,
        O::F32x4RelaxedMin | O::F32x4RelaxedMax => 2,
        O::F64x2RelaxedMin | O::F64x2RelaxedMax => 2,
        O::I32TruncF32S | O::I32TruncF32U | O::I32TruncF64S | O::I32TruncF64U => 2,
        O::I64TruncF32S | O::I64TruncF32U | O::I64TruncF64S | O::I64TruncF64U => 2,
        O::I32TruncSatF32S | O::I32TruncSatF32U | O::I32TruncSatF64S | O::I32TruncSatF64U => 2,
        O::I64TruncSatF32S | O::I64TruncSatF32U | O::I64TruncSatF64S | O::I64TruncSatF64U => 2,
        O::I32x4TruncSatF32x4S | O::I32x4TruncSatF32x4U => 2,
        O::I32x4TruncSatF64x2SZero | O::I32x4TruncSatF64x2UZero => 2,
        O::MemoryFill { .. } | O::MemoryCopy { .. } | O::MemoryInit { .. } => 16,
        O::TableFill { .. } | O::TableCopy { .. } | O::TableInit { .. } => 16,
        O::TableGet { .. } | O::TableSet { .. } => 8,
        O::TableGrow { .. } => 64,
        O::Throw { .. } | O::ThrowRef => 32,
        // Without hardware for it this is a function of the host.
        O::F32x4RelaxedMadd | O::F32x4RelaxedNmadd => 8,
        O::F64x2RelaxedMadd | O::F64x2RelaxedNmadd => 8,
        O::MemoryGrow { .. } => 1000,
        _ => 1,
    }
}
