//! Labels of emitted blocks, and which of the original ones became ours.

use wasm_encoder::{BlockType, Instruction as I};
use wasmparser::ValType;

use super::{Emitter, Label};
use crate::transform::function::BlockKind;

impl<'a> Emitter<'_, 'a, '_> {
    pub(super) fn depth(&self, label: Label) -> u32 {
        let at = self.open_at.get(&label).expect("label is open");
        (self.nest.len() - 1 - at) as u32
    }

    /// Notes a block that was just opened.
    pub(super) fn enter(&mut self, label: Label) {
        self.open_at.insert(label, self.nest.len());
        self.nest.push(label);
    }

    pub(super) fn open(&mut self, label: Label) {
        self.code.push(I::Block(BlockType::Empty));
        self.enter(label);
    }

    pub(super) fn close(&mut self, label: Label) {
        let top = self.nest.pop();
        debug_assert_eq!(top, Some(label));
        self.open_at.remove(&label);
        self.code.push(I::End);
    }

    pub(super) fn open_inner(&mut self) -> Label {
        self.inner_labels += 1;
        let label = Label::Inner(self.inner_labels);
        self.open(label);
        label
    }

    /// Opens a block of cold code, which a condition on the stack skips nearly always. The hot way
    /// is the branch's target and not what follows it: the compiler's loop-invariant code motion
    /// looks at a branch's first target first, and takes the way out of a loop in the cold code
    /// for the end of the loop.
    pub(super) fn open_unlikely(&mut self, condition: &[I<'a>]) -> Label {
        let skipped = self.open_inner();
        self.code.extend_from_slice(condition);
        self.hints.push((self.code.len(), true));
        self.br_if(skipped);
        skipped
    }

    /// Opens an `if` that is hardly ever entered.
    pub(super) fn open_cold_if(&mut self) -> Label {
        self.hints.push((self.code.len(), false));
        self.open_if()
    }

    /// Tells the compiler that what follows here and what follows the label's block is cold: it
    /// believes this only of the target of an unlikely branch and of what follows a likely one.
    pub(super) fn cold(&mut self, label: Label) {
        for likely in [false, true] {
            self.code.push(I::I32Const(0));
            self.hints.push((self.code.len(), likely));
            self.br_if(label);
        }
    }

    pub(super) fn open_if(&mut self) -> Label {
        self.inner_labels += 1;
        let label = Label::Inner(self.inner_labels);
        self.code.push(I::If(BlockType::Empty));
        self.enter(label);
        label
    }

    pub(super) fn br(&mut self, label: Label) {
        let depth = self.depth(label);
        self.code.push(I::Br(depth));
    }

    pub(super) fn br_if(&mut self, label: Label) {
        let depth = self.depth(label);
        self.code.push(I::BrIf(depth));
    }

    /// Whether the block's label is an empty-typed one of ours, with values in slots.
    pub(super) fn hoisted(&self, block: usize) -> bool {
        self.function.blocks[block].resumable
    }

    pub(super) fn arity(&self, block: usize) -> Vec<ValType> {
        let block = &self.function.blocks[block];
        if block.kind == BlockKind::Loop { block.params.clone() } else { block.results.clone() }
    }
}
