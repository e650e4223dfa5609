//! The one test at entries and loop headers, and its cold side: unwinding and rewinding.

use std::ops::Range;

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

    pub(super) fn trap_damaged(&mut self) {
        self.code.push(I::I32Const(layout::TRAP_DAMAGED));
        self.code.push(I::GlobalSet(self.context.layout.trap()));
        self.code.push(I::Unreachable);
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
        self.code.push(I::GlobalGet(layout.rewind_at()));
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
        self.cold(Label::Damaged);
        self.code.push(I::LocalGet(base));
        self.code.push(I::I32Const(self.places.bytes as i32));
        self.code.push(I::I32Sub);
        self.code.push(I::GlobalSet(layout.rewind_at()));
        self.dispatch(0, 0..self.sites.len(), normal);
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

    /// Goes on from a region's beginning towards the saved position, which is one of `sites`.
    fn dispatch(&mut self, region: usize, sites: Range<usize>, normal: Label) {
        let first = sites.start;
        // Sites in one inner loop have a way in common.
        let mut ways: Vec<(Option<Label>, Range<usize>)> = Vec::new();
        for site in sites {
            let way = self.towards(region, site);
            match ways.last_mut() {
                Some((last, sites)) if *last == way => sites.end = site + 1,
                _ => ways.push((way, site..site + 1)),
            }
        }
        let cases: Vec<Label> = ways.iter().map(|_| self.open_inner()).collect();
        for &case in &cases {
            self.cold(case);
        }
        let depths: Vec<u32> = ways
            .iter()
            .zip(&cases)
            .flat_map(|((_, sites), &case)| sites.clone().map(move |_| case))
            .map(|case| self.depth(case))
            .collect();
        self.code.push(I::GlobalGet(self.context.layout.position()));
        if first > 0 {
            self.code.push(I::I32Const(first as i32));
            self.code.push(I::I32Sub);
        }
        // A position that is none of ours can only come from a damaged checkpoint.
        let default = self.depth(Label::Damaged);
        self.code.push(I::BrTable(depths.into(), default));
        for ((way, sites), &case) in ways.into_iter().zip(&cases).rev() {
            self.close(case);
            self.load(region, sites);
            match way {
                Some(label) => self.br(label),
                None => self.arrive(normal),
            }
        }
    }

    pub(super) fn header_check(&mut self, block: usize, site: usize) {
        let enough = [I::LocalGet(self.fuel), I::I64Const(0), I::I64GeS];
        let normal = self.open_unlikely(&enough);
        let rewinding = self.if_rewinding();
        self.cold(Label::Again(block));
        // The sites in a loop are numbered without a gap, its header first.
        let last = (site..self.sites.len())
            .take_while(|&at| self.function.within(self.sites[at].region, block))
            .last()
            .unwrap_or(site);
        self.dispatch(block, site..last + 1, normal);
        self.close(rewinding);
        self.begin_unwinding(site);
        self.close(normal);
        if self.context.exact {
            self.flush();
        }
    }
}
