//! The one test at entries and loop headers, and its cold side: unwinding and rewinding.

use wasm_encoder::Instruction as I;
use wasmparser::ValType;

use super::{Emitter, Label};
use crate::transform::layout;

impl Emitter<'_, '_, '_> {
    pub(super) fn begin_unwinding(&mut self, site: usize) {
        self.flush();
        self.code.push(I::I32Const(1));
        self.code.push(I::GlobalSet(self.context.layout.unwinding()));
        if site == 0 {
            self.cold(Label::Save);
        }
        self.save_frame(site);
    }

    pub(super) fn if_rewinding(&mut self) -> Label {
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(layout::REWINDING));
        self.code.push(I::I64LtS);
        let rewinding = self.open_cold_if();
        self.cold(rewinding);
        rewinding
    }

    /// Goes to where the function traps, on a condition that only a forged frame fulfils: one
    /// that no run of this module saved.
    pub(super) fn damaged_if(&mut self) {
        self.hints.push((self.code.len(), false));
        self.br_if(Label::Damaged);
    }

    pub(super) fn arrive(&mut self, normal: Label) {
        self.code.push(I::GlobalGet(self.context.layout.resume()));
        self.code.push(I::LocalSet(self.fuel));
        self.br(normal);
    }

    pub(super) fn entry_check(&mut self) {
        let layout = self.context.layout;
        let normal = self.open_unlikely(&[
            I::LocalGet(self.fuel),
            I::I64Const(layout::ENTRY_MASK),
            I::I64And,
            I::I64Eqz,
        ]);
        let rewinding = self.if_rewinding();
        // What was charged on the way here must not add up over the frames until it wraps. (In a
        // loop's check the constant would take a register in the loop.)
        self.code.push(I::I64Const(layout::REWIND_START));
        self.code.push(I::LocalSet(self.fuel));
        let base = self.scratch(ValType::I32, 0);
        // The frame ends with its position and function.
        self.code.push(I::GlobalGet(layout.frames_end()));
        self.code.push(I::I32Const(8));
        self.code.push(I::I32Sub);
        self.code.push(I::LocalTee(base));
        self.code.push(I::I32Load(self.frame_arg(0, 2)));
        self.code.push(I::GlobalSet(layout.position()));
        self.code.push(I::LocalGet(base));
        self.code.push(I::I32Load(self.frame_arg(4, 2)));
        self.code.push(I::I32Const(self.function_index as i32));
        self.code.push(I::I32Ne);
        self.damaged_if();
        let cases: Vec<Label> = (0..self.sites.len()).map(|_| self.open_inner()).collect();
        for &label in &cases {
            self.cold(label);
        }
        let depths: Vec<u32> = cases.iter().map(|&case| self.depth(case)).collect();
        self.code.push(I::GlobalGet(layout.position()));
        // A position that is none of ours can only come from a damaged checkpoint.
        let default = self.depth(Label::Damaged);
        self.code.push(I::BrTable(depths.into(), default));
        for (site, &case) in cases.iter().enumerate().rev() {
            self.close(case);
            self.pop_frame(site, base);
            self.load(site, 0, base);
            match self.towards(0, site) {
                Some(label) => self.br(label),
                None => self.arrive(normal),
            }
        }
        self.close(rewinding);

        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(layout::DEPTH_GUARD));
        self.code.push(I::I64And);
        self.code.push(I::I64Eqz);
        self.code.push(I::I32Eqz);
        let too_deep = self.open_cold_if();
        self.cold(too_deep);
        self.flush();
        self.code.push(I::I32Const(layout::TRAP_STACK));
        self.code.push(I::GlobalSet(layout.trap()));
        self.code.push(I::Unreachable);
        self.close(too_deep);
        self.begin_unwinding(0);
        self.close(normal);
        if self.context.exact {
            self.flush();
        }
    }

    pub(super) fn header_check(&mut self, block: usize, site: usize) {
        let enough = [I::LocalGet(self.fuel), I::I64Const(0), I::I64GeS];
        let normal = self.open_unlikely(&enough);
        let rewinding = self.if_rewinding();
        let own = self.open_inner();
        self.cold(own);
        self.cold(Label::Again(block));
        // The sites in a loop are numbered without a gap, its header first.
        let last = (site..self.sites.len())
            .take_while(|&at| self.function.within(self.sites[at].region, block))
            .last()
            .unwrap_or(site);
        // Sites for which values are loaded here have a case of their own.
        let loading: Vec<usize> = (site..=last).filter(|&at| self.loads(at, block)).collect();
        let cases: Vec<Label> = loading.iter().map(|_| self.open_inner()).collect();
        for &case in &cases {
            self.cold(case);
        }
        let way = |emitter: &Self, at: usize| emitter.towards(block, at).unwrap_or(own);
        let depths: Vec<u32> = (site..=last)
            .map(|at| match loading.binary_search(&at) {
                Ok(case) => self.depth(cases[case]),
                Err(_) => self.depth(way(self, at)),
            })
            .collect();
        self.code.push(I::GlobalGet(self.context.layout.position()));
        self.code.push(I::I32Const(site as i32));
        self.code.push(I::I32Sub);
        let default = self.depth(Label::Damaged);
        self.code.push(I::BrTable(depths.into(), default));
        let base = self.scratch(ValType::I32, 0);
        for (&at, &case) in loading.iter().zip(&cases).rev() {
            self.close(case);
            self.code.push(I::GlobalGet(self.context.layout.frames_end()));
            self.code.push(I::LocalSet(base));
            self.load(at, block, base);
            let way = way(self, at);
            self.br(way);
        }
        self.close(own);
        self.arrive(normal);
        self.close(rewinding);
        self.begin_unwinding(site);
        self.close(normal);
        if self.context.exact {
            self.flush();
        }
    }
}
