//! Branches: values go to where the target has them, in slots or on the stack.

use wasm_encoder::Instruction as I;
use wasmparser::ValType;

use super::{Emitter, Label};

impl Emitter<'_, '_, '_> {
    /// Moves a branch's values, which are real operands on top, to where the target has them.
    pub(super) fn values_to_target(&mut self, target: usize, types: &[ValType]) {
        if !self.hoisted(target) {
            return;
        }
        let height = self.function.blocks[target].height;
        for (at, &ty) in types.iter().enumerate().rev() {
            let slot = self.slot(height + at, ty);
            self.code.push(I::LocalSet(slot));
        }
    }

    pub(super) fn branch(&mut self, target: usize) {
        let types = self.arity(target);
        self.ensure(types.len());
        self.values_to_target(target, &types);
        self.br(Label::Block(target));
    }

    /// Puts the top `types.len()` real operands into scratch locals of their own.
    pub(super) fn set_aside(&mut self, types: &[ValType]) -> Vec<u32> {
        let locals: Vec<u32> =
            types.iter().enumerate().map(|(at, &ty)| self.scratch(ty, 16 + at)).collect();
        for &local in locals.iter().rev() {
            self.code.push(I::LocalSet(local));
        }
        locals
    }

    pub(super) fn branch_if(&mut self, target: usize) {
        let types = self.arity(target);
        self.ensure(types.len() + 1);
        self.pop(1);
        if types.is_empty() || !self.hoisted(target) {
            self.br_if(Label::Block(target));
            return;
        }
        let condition = self.scratch(ValType::I32, 3);
        self.code.push(I::LocalSet(condition));
        let values = self.set_aside(&types);
        self.code.push(I::LocalGet(condition));
        let taken = self.open_if();
        self.code.extend(values.iter().map(|&local| I::LocalGet(local)));
        self.values_to_target(target, &types);
        self.br(Label::Block(target));
        self.close(taken);
        self.code.extend(values.iter().map(|&local| I::LocalGet(local)));
    }

    pub(super) fn branch_table(&mut self, targets: &[usize]) {
        let types = self.arity(targets[targets.len() - 1]);
        self.ensure(types.len() + 1);
        self.pop(1);
        let plain = types.is_empty() || targets.iter().all(|&target| !self.hoisted(target));
        if plain {
            let depths: Vec<u32> =
                targets.iter().map(|&target| self.depth(Label::Block(target))).collect();
            let (default, rest) = depths.split_last().expect("br_table has a default");
            self.code.push(I::BrTable(rest.to_vec().into(), *default));
            return;
        }
        let chosen = self.scratch(ValType::I32, 3);
        self.code.push(I::LocalSet(chosen));
        let values = self.set_aside(&types);
        let mut distinct: Vec<usize> = targets.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let cases: Vec<Label> = distinct.iter().map(|_| self.open_inner()).collect();
        let depths: Vec<u32> = targets
            .iter()
            .map(|target| self.depth(cases[distinct.binary_search(target).expect("listed")]))
            .collect();
        self.code.push(I::LocalGet(chosen));
        let (default, rest) = depths.split_last().expect("br_table has a default");
        self.code.push(I::BrTable(rest.to_vec().into(), *default));
        for (&target, &case) in distinct.iter().zip(&cases).rev() {
            self.close(case);
            self.code.extend(values.iter().map(|&local| I::LocalGet(local)));
            self.values_to_target(target, &types);
            self.br(Label::Block(target));
        }
    }
}
