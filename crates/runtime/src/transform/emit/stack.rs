//! The operand stack: which operands are real and which are in slots.

use wasm_encoder::Instruction as I;
use wasmparser::ValType;

use super::Emitter;

impl Emitter<'_, '_, '_> {
    /// Moves every operand into its slot.
    pub(super) fn spill_all(&mut self) {
        for height in (self.spilled..self.stack.len()).rev() {
            let slot = self.slot(height, self.stack[height]);
            self.code.push(I::LocalSet(slot));
        }
        self.spilled = self.stack.len();
    }

    /// Makes the top `count` operands real.
    pub(super) fn ensure(&mut self, count: usize) {
        let base = self.stack.len() - count;
        if base >= self.spilled {
            return;
        }
        self.spill_all();
        self.get_slots(base, self.stack.len());
        self.spilled = base;
    }

    pub(super) fn get_slots(&mut self, from: usize, to: usize) {
        for height in from..to {
            let slot = self.slot(height, self.stack[height]);
            self.code.push(I::LocalGet(slot));
        }
    }

    pub(super) fn pop(&mut self, count: usize) {
        self.stack.truncate(self.stack.len() - count);
        self.spilled = self.spilled.min(self.stack.len());
    }

    /// Sets the stack to what it is after a block: everything in slots.
    pub(super) fn stack_in_slots(&mut self, height: usize, more: &[ValType]) {
        self.stack.truncate(height);
        self.stack.extend_from_slice(more);
        self.spilled = self.stack.len();
    }
}
