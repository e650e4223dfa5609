//! Instructions and types as they were, and those that are charged by what they are given.

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{BlockType, Instruction as I, ValType as EncType};
use wasmparser::{Operator, ValType};

use super::Context;
use crate::transform::cost;
use crate::transform::layout::{self, Layout};
use crate::transform::uses::Helper;

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
fn memory_grow<'a>(layout: Layout, fuel: u32, pages: u32, old: u32) -> Vec<I<'a>> {
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

/// The length of a bulk instruction, which is charged for it.
enum Length {
    Bytes,
    Entries,
}

/// Charges a bulk instruction for its length, the topmost operand, which stays. One that would
/// pass the task's own limit is not run.
fn bulk_charge<'a>(layout: Layout, fuel: u32, length: u32, of: Length) -> Vec<I<'a>> {
    let mut code = vec![I::LocalTee(length), I::LocalGet(fuel), I::LocalGet(length)];
    code.extend(match of {
        Length::Bytes => [
            I::I32Const(cost::BULK_BYTES_SHIFT as i32),
            I::I32ShrU,
            I::I64ExtendI32U,
            I::I64Const(i64::from(layout::DEPTH_BITS)),
            I::I64Shl,
        ],
        Length::Entries => [
            I::I64ExtendI32U,
            I::I64Const(cost::TABLE_ENTRY),
            I::I64Mul,
            I::I64Const(i64::from(layout::DEPTH_BITS)),
            I::I64Shl,
        ],
    });
    code.extend([
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
    ]);
    code
}

/// Charges `table.grow`, which left its result, for the entries that it added.
fn table_grown<'a>(fuel: u32, entries: u32, old: u32) -> Vec<I<'a>> {
    vec![
        I::LocalTee(old),
        I::I32Const(-1),
        I::I32Ne,
        I::If(BlockType::Empty),
        I::LocalGet(fuel),
        I::LocalGet(entries),
        I::I64ExtendI32U,
        I::I64Const(cost::TABLE_ENTRY << layout::DEPTH_BITS),
        I::I64Mul,
        I::I64Sub,
        I::LocalSet(fuel),
        I::End,
        I::LocalGet(old),
    ]
}

/// An instruction on memories, tables or segments that needs more than itself: what it is
/// charged by its operands, which are on the stack, and what does its work. `None` for others.
/// `first` and `second` are locals to work with.
pub fn bulk<'a>(
    op: &Operator<'a>,
    context: &Context<'_>,
    fuel: u32,
    first: u32,
    second: u32,
) -> Option<Vec<I<'a>>> {
    let layout = context.layout;
    let flush = [I::LocalGet(fuel), I::GlobalSet(layout.fuel())];
    let exact = || context.exact.then(|| flush.clone()).into_iter().flatten();
    let helper = Helper::of(op).map(|helper| I::Call(context.tables.function(helper)));
    let mut code = Vec::new();
    match *op {
        Operator::MemoryGrow { .. } => {
            code.extend(memory_grow(layout, fuel, first, second));
            code.extend(exact());
        }
        Operator::MemoryFill { .. } | Operator::MemoryCopy { .. } => {
            code.extend(bulk_charge(layout, fuel, first, Length::Bytes));
            code.extend(exact());
            code.push(reencode(op));
        }
        Operator::MemoryInit { .. } => {
            code.extend(bulk_charge(layout, fuel, first, Length::Bytes));
            code.extend(exact());
            code.extend(helper);
        }
        Operator::TableFill { .. } | Operator::TableCopy { .. } | Operator::TableInit { .. } => {
            code.extend(bulk_charge(layout, fuel, first, Length::Entries));
            code.extend(exact());
            code.extend(helper);
        }
        Operator::TableGrow { .. } => {
            code.push(I::LocalTee(first));
            code.extend(helper);
            code.extend(table_grown(fuel, first, second));
            code.extend(exact());
        }
        Operator::TableGet { .. } | Operator::TableSet { .. } => code.extend(helper),
        Operator::DataDrop { data_index } => code.extend(context.tables.drop_data(data_index)),
        Operator::ElemDrop { elem_index } => code.extend(context.tables.drop_elements(elem_index)),
        _ => return None,
    }
    Some(code)
}
