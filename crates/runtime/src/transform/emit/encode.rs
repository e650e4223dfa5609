//! Instructions and types as they were, and the two that are charged by what they are given.

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{BlockType, Instruction as I, ValType as EncType};
use wasmparser::{Operator, ValType};

use crate::transform::cost;
use crate::transform::layout::{self, Layout};

/// An instruction as it was.
pub fn reencode<'a>(op: &Operator<'a>) -> I<'a> {
    RoundtripReencoder.instruction(op.clone()).expect("admitted instructions can be encoded")
}

/// A block type as it was.
pub fn encode_block_type(ty: wasmparser::BlockType) -> BlockType {
    RoundtripReencoder.block_type(ty).expect("admitted block types can be encoded")
}

/// A type's zero.
pub fn zero<'a>(ty: ValType) -> I<'a> {
    match ty {
        ValType::I32 => I::I32Const(0),
        ValType::I64 => I::I64Const(0),
        ValType::F32 => I::F32Const(0f32.into()),
        ValType::F64 => I::F64Const(0f64.into()),
        ValType::V128 => I::V128Const(0),
        ValType::Ref(_) => unreachable!("references are refused at admission"),
    }
}

/// A value type as it was.
pub fn encode_type(ty: ValType) -> EncType {
    RoundtripReencoder.val_type(ty).expect("admitted types can be encoded")
}

/// `memory.grow`, charged and noted when it succeeded. Takes and leaves one operand.
pub fn memory_grow<'a>(layout: Layout, fuel: u32, pages: u32, old: u32) -> Vec<I<'a>> {
    vec![
        I::LocalTee(pages),
        I::MemoryGrow(0),
        I::LocalTee(old),
        I::I32Const(-1),
        I::I32Ne,
        I::If(BlockType::Empty),
        I::LocalGet(fuel),
        I::LocalGet(pages),
        I::I64ExtendI32U,
        I::I64Const(cost::PAGE_GROWN << layout::DEPTH_BITS),
        I::I64Mul,
        I::I64Sub,
        I::LocalTee(fuel),
        I::I64Const(i64::from(layout::DEPTH_BITS)),
        I::I64ShrS,
        I::LocalGet(pages),
        I::I64ExtendI32U,
        I::I64Mul,
        I::GlobalGet(layout.grown()),
        I::I64Add,
        I::GlobalSet(layout.grown()),
        I::End,
        I::LocalGet(old),
    ]
}

/// Charges a bulk instruction for its length, the topmost operand, which stays. One that would
/// pass the task's own limit is not run.
pub fn bulk_charge<'a>(layout: Layout, fuel: u32, length: u32) -> Vec<I<'a>> {
    vec![
        I::LocalTee(length),
        I::LocalGet(fuel),
        I::LocalGet(length),
        I::I32Const(cost::BULK_BYTES_SHIFT as i32),
        I::I32ShrU,
        I::I64ExtendI32U,
        I::I64Const(i64::from(layout::DEPTH_BITS)),
        I::I64Shl,
        I::I64Sub,
        I::LocalTee(fuel),
        I::GlobalGet(layout.floor()),
        I::I64LtS,
        I::If(BlockType::Empty),
        I::LocalGet(fuel),
        I::GlobalSet(layout.fuel()),
        I::I32Const(layout::TRAP_FUEL),
        I::GlobalSet(layout.trap()),
        I::Unreachable,
        I::End,
    ]
}
