//! Emits a function that is never on the stack at a safepoint: metered, otherwise as it was.
//! Such a function has no loop, is on no call cycle and calls only its like and the host.

use wasm_encoder::{BlockType, Instruction as I};
use wasmparser::{Operator, ValType};

use super::emit::{self, Context, Emitted};
use super::function::Function;
use super::layout;

/// Emits `function`; `result_type` is the block type of its results.
pub fn emit<'a>(
    function: &Function<'a>,
    result_type: BlockType,
    context: &Context<'_>,
) -> Emitted<'a> {
    let fuel = function.fuel();
    let first = function.locals.len() as u32;
    let second = first + 1;
    let global = context.layout.fuel();
    let flush = [I::LocalGet(fuel), I::GlobalSet(global)];
    let mut code: Vec<I<'a>> = vec![
        I::LocalGet(fuel),
        I::I64Const(function.entry_charge << layout::DEPTH_BITS),
        I::I64Sub,
        I::LocalSet(fuel),
    ];
    if context.exact {
        code.extend(flush.clone());
    }
    // Branches to the function's label end here, so that fuel is returned on every way out.
    code.push(I::Block(result_type));
    let mut nest = 0i64;
    for op in &function.ops {
        match op.op {
            Operator::Block { .. } => {
                nest += 1;
                code.push(I::Block(emit::encode_block_type(function.blocks[op.block].block_type)));
            }
            Operator::If { .. } => {
                nest += 1;
                code.push(I::If(emit::encode_block_type(function.blocks[op.block].block_type)));
            }
            Operator::End => {
                nest -= 1;
                code.push(I::End);
                if function.blocks[op.block].dead_after {
                    code.push(I::Unreachable);
                }
            }
            Operator::Return => code.push(I::Br(nest as u32)),
            Operator::Br { .. } | Operator::BrIf { .. } | Operator::BrTable { .. } => {
                // Nesting is unchanged, so depths are, too.
                code.push(emit::reencode(&op.op));
            }
            Operator::Call { function_index } if function_index >= context.imports => {
                code.push(I::LocalGet(fuel));
                code.push(emit::reencode(&op.op));
                code.push(I::LocalSet(fuel));
            }
            Operator::Call { .. } => {
                code.extend(flush.clone());
                code.push(emit::reencode(&op.op));
                code.push(I::GlobalGet(global));
                code.push(I::LocalSet(fuel));
            }
            _ => match emit::bulk(&op.op, context, fuel, first, second) {
                Some(bulk) => code.extend(bulk),
                None => code.push(emit::reencode(&op.op)),
            },
        }
        if let Some(charge) = op.charge.filter(|&charge| charge != 0) {
            code.push(I::LocalGet(fuel));
            code.push(I::I64Const(charge << layout::DEPTH_BITS));
            code.push(I::I64Sub);
            code.push(I::LocalSet(fuel));
            if context.exact {
                code.extend(flush.clone());
            }
        }
    }
    code.push(I::LocalGet(fuel));
    code.push(I::End);
    Emitted { extra_locals: vec![ValType::I32, ValType::I32], code, hints: Vec::new() }
}
