//! Instructions, one by one.

use std::collections::BTreeSet;

use wasm_encoder::{BlockType, Instruction as I};
use wasmparser::{Operator, ValType};

use super::encode::{bulk, encode_block_type, reencode, zero};
use super::{Emitter, Label};
use crate::transform::function::BlockKind;
use crate::transform::layout;

impl<'a> Emitter<'_, 'a, '_> {
    pub(super) fn op(&mut self, index: usize) {
        use Operator as O;
        let function = self.function;
        let op = &function.ops[index];
        match op.op {
            O::Block { .. } => {
                let block = &function.blocks[op.block];
                if self.hoisted(op.block) {
                    self.spill_all();
                } else {
                    self.ensure(block.params.len());
                    self.code.push(I::Block(encode_block_type(block.block_type)));
                    self.enter(Label::Block(op.block));
                }
            }
            O::Loop { .. } => {
                self.spill_all();
                self.close(Label::Before(index));
                self.open(Label::Exit(op.block));
                self.code.push(I::Loop(BlockType::Empty));
                self.enter(Label::Block(op.block));
                self.open(Label::Again(op.block));
                let site = self.site_of_op[&index];
                let cost = op.charge.unwrap_or(0);
                self.charge(cost);
                self.open_region(op.block);
                self.header_check(op.block, site);
            }
            O::If { .. } => self.op_if(index),
            O::Else => {
                let block = &function.blocks[op.block];
                if self.hoisted(op.block) {
                    if block.then_live {
                        self.spill_all();
                        self.br(Label::Block(op.block));
                    }
                    self.close(Label::Else(op.block));
                    self.stack_in_slots(block.height, &block.params);
                } else {
                    self.code.push(I::Else);
                    let spilled = self.spilled.min(block.height);
                    self.stack_in_slots(block.height, &block.params);
                    self.spilled = spilled;
                }
                self.charge(op.charge.unwrap_or(0));
            }
            O::End => {
                let block = &function.blocks[op.block];
                if self.hoisted(op.block) {
                    if block.end_live {
                        self.spill_all();
                    }
                    if block.kind == BlockKind::Loop {
                        self.end_loop(op.block);
                    } else if block.kind == BlockKind::Try {
                        self.end_try(op.block);
                    } else {
                        self.close(Label::Block(op.block));
                    }
                    self.stack_in_slots(block.height, &block.results);
                } else {
                    self.close(Label::Block(op.block));
                    let spilled = self.spilled.min(block.height);
                    self.stack_in_slots(block.height, &block.results);
                    self.spilled = spilled;
                }
                if block.dead_after {
                    // What followed was dropped; the validator has to know.
                    self.code.push(I::Unreachable);
                }
                self.charge(op.charge.unwrap_or(0));
            }
            O::Br { .. } | O::Return => self.branch(op.targets[0]),
            O::BrIf { .. } => {
                self.branch_if(op.targets[0]);
                self.charge(op.charge.unwrap_or(0));
            }
            O::BrTable { .. } => self.branch_table(&op.targets),
            O::Unreachable => self.code.push(I::Unreachable),
            O::Call { function_index } => {
                let (params, results) = (self.context.function_arity)(function_index);
                if (self.context.call_is_site)(function_index) {
                    self.call_site(index, I::Call(function_index), params, results);
                } else {
                    self.ensure(params);
                    if function_index < self.context.imports {
                        self.flush();
                        self.code.push(I::Call(function_index));
                        self.reload();
                    } else {
                        self.code.push(I::LocalGet(self.fuel));
                        self.code.push(I::Call(function_index));
                        self.code.push(I::LocalSet(self.fuel));
                    }
                    self.pop(params);
                    self.stack.extend_from_slice(&op.pushes);
                }
            }
            O::CallIndirect { type_index, table_index } => {
                let (params, results) = (self.context.type_arity)(type_index);
                let type_index = type_index + self.context.metered_types;
                let call = I::CallIndirect { type_index, table_index };
                self.call_site(index, call, params + 1, results);
            }
            O::TryTable { .. } => {
                self.spill_all();
                self.tries.push(op.block);
            }
            O::Throw { tag_index } => self.throw(tag_index),
            O::ThrowRef => self.throw_ref(),
            _ => {
                self.ensure(op.pops);
                let first = self.scratch(ValType::I32, 1);
                let second = self.scratch(ValType::I32, 2);
                match bulk(&op.op, self.context, self.fuel, first, second) {
                    Some(bulk) => self.code.extend(bulk),
                    None => self.code.push(reencode(&op.op)),
                }
                self.pop(op.pops);
                self.stack.extend_from_slice(&op.pushes);
            }
        }
    }

    /// Ends a loop. Behind its last instruction lies what a safepoint in it branches to if, after
    /// saving its frame, it doesn't return. It always does, but the compiler doesn't know: for
    /// its loop-invariant code motion, which goes through the blocks in order of dominance, a way
    /// out of a loop is the loop's end, and it would move nothing out of what comes after.
    fn end_loop(&mut self, block: usize) {
        let function = self.function;
        if function.blocks[block].end_live {
            self.br(Label::Exit(block));
        }
        self.close(Label::Again(block));
        let loop_op = function.blocks[block].start;
        let assigned: BTreeSet<u32> = function.ops[loop_op..function.blocks[block].end]
            .iter()
            .filter_map(|op| match op.op {
                Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                    Some(local_index)
                }
                _ => None,
            })
            .collect();
        // What changes in the loop begins anew, so that no old value is kept for this.
        let changing = self.liveness.header[&block].iter().filter(|local| assigned.contains(local));
        for local in changing.chain([self.fuel]).collect::<Vec<_>>() {
            self.code.push(zero(function.locals[local as usize]));
            self.code.push(I::LocalSet(local));
        }
        self.br(Label::Block(block));
        self.close(Label::Block(block));
        self.close(Label::Exit(block));
    }

    pub(super) fn op_if(&mut self, index: usize) {
        let function = self.function;
        let op = &function.ops[index];
        let block = &function.blocks[op.block];
        if self.hoisted(op.block) {
            self.spill_all();
            let condition = self.stack.len() - 1;
            self.get_slots(condition, condition + 1);
            self.pop(1);
            self.code.push(I::I32Eqz);
            if block.else_at.is_some() {
                self.br_if(Label::Else(op.block));
            } else {
                // Parameters are results: the same slots.
                self.br_if(Label::Block(op.block));
            }
        } else {
            self.ensure(block.params.len() + 1);
            self.pop(1);
            self.code.push(I::If(encode_block_type(block.block_type)));
            self.enter(Label::Block(op.block));
        }
        self.charge(op.charge.unwrap_or(0));
    }

    pub(super) fn call_site(&mut self, index: usize, call: I<'a>, params: usize, results: usize) {
        let base = self.stack.len() - params;
        self.spill_all();
        self.close(Label::Before(index));
        let site = self.site_of_op[&index];
        let args = base + params - usize::from(matches!(call, I::CallIndirect { .. }));
        self.get_slots(base, args);
        self.code.push(I::LocalGet(self.fuel));
        self.get_slots(args, self.stack.len());
        self.code.push(call);
        self.code.push(I::LocalSet(self.fuel));
        self.pop(params);
        self.stack.extend_from_slice(&self.function.ops[index].pushes);
        debug_assert_eq!(self.stack.len(), base + results);
        self.spilled = base;
        let enough = [I::LocalGet(self.fuel), I::I64Const(0), I::I64GeS];
        let spent = self.open_unlikely(&enough);
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(layout::REWINDING));
        self.code.push(I::I64GeS);
        self.hints.push((self.code.len(), true));
        self.br_if(spent);
        if self.context.exceptions {
            self.leave_if_thrown(self.sites[site].region);
        }
        self.save_frame(site);
        self.close(spent);
    }
}
