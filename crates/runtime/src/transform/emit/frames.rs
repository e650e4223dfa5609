//! Frames: how values are saved at a site and restored from there.

use wasm_encoder::{Instruction as I, MemArg};
use wasmparser::ValType;

use super::encode::zero;
use super::{Emitter, Label, saved_bytes};

impl Emitter<'_, '_, '_> {
    pub(super) fn frame_arg(&self, offset: u64, align: u32) -> MemArg {
        MemArg { offset, align, memory_index: self.context.layout.frames }
    }

    pub(super) fn frame_bytes(&self, site: usize) -> u64 {
        self.sites[site]
            .saved
            .iter()
            .map(|&(_, ty)| saved_bytes(ty))
            .sum::<u64>()
            .next_multiple_of(8)
    }

    /// Takes a site's frame off the frame memory; its values are read from there right after.
    pub(super) fn pop_frame(&mut self, site: usize, base: u32) {
        let bytes = self.frame_bytes(site);
        self.code.push(I::LocalGet(base));
        if bytes > 0 {
            self.code.push(I::I32Const(bytes as i32));
            self.code.push(I::I32Sub);
            self.code.push(I::LocalTee(base));
        }
        self.code.push(I::GlobalSet(self.context.layout.frames_end()));
    }

    /// Whether a region's dispatch loads anything for a site.
    pub(super) fn loads(&self, site: usize, region: usize) -> bool {
        self.sites[site].homes.contains(&region)
    }

    /// Loads what a site saved and `region` is the home of; `base` is the frame's beginning.
    pub(super) fn load(&mut self, site: usize, region: usize, base: u32) {
        let mut offset = 0;
        for at in 0..self.sites[site].saved.len() {
            let (local, ty) = self.sites[site].saved[at];
            if self.sites[site].homes[at] == region {
                self.code.push(I::LocalGet(base));
                self.code.push(match ty {
                    ValType::I32 => I::I32Load(self.frame_arg(offset, 2)),
                    ValType::I64 => I::I64Load(self.frame_arg(offset, 2)),
                    ValType::F32 => I::F32Load(self.frame_arg(offset, 2)),
                    ValType::F64 => I::F64Load(self.frame_arg(offset, 2)),
                    ValType::V128 => I::V128Load(self.frame_arg(offset, 2)),
                    ValType::Ref(_) => unreachable!("references are refused at admission"),
                });
                self.code.push(I::LocalSet(local));
            }
            offset += saved_bytes(ty);
        }
    }

    /// Saves a site's frame and returns. The values go straight to the frame, site by site: a
    /// tail that all sites share would keep every value of any of them alive everywhere.
    pub(super) fn save_frame(&mut self, site: usize) {
        let layout = self.context.layout;
        let base = self.scratch(ValType::I32, 0);
        self.code.push(I::GlobalGet(layout.frames_end()));
        self.code.push(I::LocalSet(base));
        let mut offset = 0;
        for at in 0..self.sites[site].saved.len() {
            let (local, ty) = self.sites[site].saved[at];
            self.code.push(I::LocalGet(base));
            self.code.push(I::LocalGet(local));
            self.code.push(match ty {
                ValType::I32 => I::I32Store(self.frame_arg(offset, 2)),
                ValType::I64 => I::I64Store(self.frame_arg(offset, 2)),
                ValType::F32 => I::F32Store(self.frame_arg(offset, 2)),
                ValType::F64 => I::F64Store(self.frame_arg(offset, 2)),
                ValType::V128 => I::V128Store(self.frame_arg(offset, 2)),
                ValType::Ref(_) => unreachable!("references are refused at admission"),
            });
            offset += saved_bytes(ty);
        }
        if !offset.is_multiple_of(8) {
            // What was there before is no part of the state.
            self.code.push(I::LocalGet(base));
            self.code.push(I::I32Const(0));
            self.code.push(I::I32Store(self.frame_arg(offset, 2)));
            offset += 4;
        }
        self.code.push(I::LocalGet(base));
        self.code.push(I::I64Const(i64::from(self.function_index) << 32 | site as i64));
        self.code.push(I::I64Store(self.frame_arg(offset, 3)));
        self.code.push(I::LocalGet(base));
        self.code.push(I::I32Const(offset as i32 + 8));
        self.code.push(I::I32Add);
        self.code.push(I::LocalTee(base));
        self.code.push(I::GlobalSet(layout.frames_end()));
        let region = self.sites[site].region;
        if region != 0 {
            // Never zero.
            self.code.push(I::LocalGet(base));
            self.br_if(Label::Save);
            self.br(Label::Again(region));
        } else {
            self.br(Label::Save);
        }
    }

    /// What a function returns when nobody looks at it.
    pub(super) fn no_results(&mut self) {
        self.code.extend(self.function.results.iter().map(|&ty| zero(ty)));
    }
}
