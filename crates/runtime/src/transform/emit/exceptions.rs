//! Exceptions: thrown and caught by our own means, so that they are as capturable as anything else.
//!
//! An exception is a number (see [`lowered`](crate::transform::admit::lowered)) in a global while
//! it is on its way, and no safepoint lies there. A function that it leaves returns [`THROWN`] as
//! its fuel, which the test that follows every call finds without a test of its own.
//!
//! [`THROWN`]: layout::THROWN

use wasm_encoder::Instruction as I;
use wasmparser::{Catch, Operator, ValType};

use super::{Emitter, Label};
use crate::transform::layout;

/// Bits of an exception's number below its tag.
const TAG_SHIFT: i64 = 32;

fn tag_number<'a>(tag: u32) -> I<'a> {
    I::I64Const((i64::from(tag) + 1) << TAG_SHIFT)
}

impl Emitter<'_, '_, '_> {
    /// Where an exception goes from here.
    fn handler(&self) -> Label {
        self.tries.last().map_or(Label::Thrown, |&block| Label::Handler(block))
    }

    pub(super) fn throw(&mut self, tag: u32) {
        let has_value = self.context.tags[tag as usize];
        self.ensure(usize::from(has_value));
        self.pop(usize::from(has_value));
        if has_value {
            self.code.extend([I::I64ExtendI32U, tag_number(tag), I::I64Or]);
        } else {
            self.code.push(tag_number(tag));
        }
        self.send();
    }

    pub(super) fn throw_ref(&mut self) {
        self.ensure(1);
        self.pop(1);
        let exception = self.scratch(ValType::I64, 4);
        self.code.extend([I::LocalTee(exception), I::I64Eqz]);
        let null = self.open_cold_if();
        self.flush();
        self.code.push(I::I32Const(layout::TRAP_NULL));
        self.code.push(I::GlobalSet(self.context.layout.trap()));
        self.code.push(I::Unreachable);
        self.close(null);
        self.code.push(I::LocalGet(exception));
        self.send();
    }

    /// The exception on the stack goes its way.
    fn send(&mut self) {
        self.code.push(I::GlobalSet(self.context.layout.thrown()));
        self.flush();
        let handler = self.handler();
        self.br(handler);
    }

    /// After a call that did not return as usual: it may have been left by an exception.
    pub(super) fn leave_if_thrown(&mut self, region: usize) {
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(layout::THROWN));
        self.code.push(I::I64Eq);
        let thrown = self.open_cold_if();
        self.cold(thrown);
        let handler = self.handler();
        let leaves_loop = match handler {
            Label::Handler(block) => region != 0 && !self.function.within(block, region),
            _ => region != 0,
        };
        if leaves_loop {
            // Odd, so never zero: see `end_loop`.
            self.code.extend([I::LocalGet(self.fuel), I::I32WrapI64]);
            self.br_if(handler);
            self.br(Label::Again(region));
        } else {
            self.br(handler);
        }
        self.close(thrown);
    }

    /// Ends a `try_table`: behind it lies what looks at exceptions.
    pub(super) fn end_try(&mut self, block: usize) {
        let function = self.function;
        let opening = &function.ops[function.blocks[block].start];
        let Operator::TryTable { try_table } = &opening.op else {
            unreachable!("a try block is opened by try_table")
        };
        self.tries.pop();
        if function.blocks[block].end_live {
            self.br(Label::Block(block));
        }
        self.close(Label::Handler(block));
        self.reload();
        let thrown = self.context.layout.thrown();
        let mut all = false;
        for (catch, &target) in try_table.catches.iter().zip(&opening.targets) {
            let (tag, reference) = match *catch {
                Catch::One { tag, .. } => (Some(tag), false),
                Catch::OneRef { tag, .. } => (Some(tag), true),
                Catch::All { .. } => (None, false),
                Catch::AllRef { .. } => (None, true),
            };
            let mut types = Vec::new();
            let matching = tag.map(|tag| {
                self.code.extend([I::GlobalGet(thrown), I::I64Const(TAG_SHIFT), I::I64ShrU]);
                self.code.extend([I::I64Const(i64::from(tag) + 1), I::I64Eq]);
                self.open_if()
            });
            if tag.is_some_and(|tag| self.context.tags[tag as usize]) {
                self.code.extend([I::GlobalGet(thrown), I::I32WrapI64]);
                types.push(ValType::I32);
            }
            if reference {
                self.code.push(I::GlobalGet(thrown));
                types.push(ValType::I64);
            }
            self.values_to_target(target, &types);
            self.br(Label::Block(target));
            match matching {
                Some(matching) => self.close(matching),
                None => {
                    all = true;
                    break;
                }
            }
        }
        if !all {
            let handler = self.handler();
            self.br(handler);
        }
        self.close(Label::Block(block));
    }

    /// The function's own end for exceptions that it doesn't catch.
    pub(super) fn leave_by_exception(&mut self) {
        let fuel = self.context.layout.fuel();
        self.close(Label::Thrown);
        self.code.extend([I::GlobalGet(fuel), I::I64Const(self.frame_depth), I::I64Sub]);
        self.code.push(I::GlobalSet(fuel));
        self.no_results();
        self.code.extend([I::I64Const(layout::THROWN), I::Return]);
    }
}
