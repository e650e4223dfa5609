//! Frames: how values are saved at a site and restored from there.

use wasm_encoder::{Instruction as I, MemArg};
use wasmparser::ValType;

use super::{Emitter, Label, saved_bytes};

impl Emitter<'_, '_, '_> {
    pub(super) fn frame_arg(&self, offset: u64, align: u32) -> MemArg {
        MemArg { offset, align, memory_index: self.context.layout.frames }
    }

    pub(super) fn frame_bytes(&self, site: usize) -> u64 {
        self.sites[site].saved.iter().map(|&(_, ty)| saved_bytes(ty)).sum()
    }

    /// Loads what a site saved; `base` points behind its last value.
    pub(super) fn restore(&mut self, site: usize, base: u32) {
        let bytes = self.frame_bytes(site);
        self.code.push(I::LocalGet(base));
        self.code.push(I::I32Const(bytes as i32));
        self.code.push(I::I32Sub);
        self.code.push(I::LocalTee(base));
        self.code.push(I::GlobalSet(self.context.layout.frames_end()));
        let mut offset = 0;
        for (local, ty) in self.sites[site].saved.clone() {
            self.code.push(I::LocalGet(base));
            self.code.push(match ty {
                ValType::I32 => I::I32Load(self.frame_arg(offset, 2)),
                ValType::I64 => I::I64Load(self.frame_arg(offset, 3)),
                ValType::F32 => I::F32Load(self.frame_arg(offset, 2)),
                ValType::F64 => I::F64Load(self.frame_arg(offset, 3)),
                ValType::V128 => I::V128Load(self.frame_arg(offset, 3)),
                ValType::Ref(_) => unreachable!("references are refused at admission"),
            });
            self.code.push(I::LocalSet(local));
            offset += saved_bytes(ty);
        }
    }

    pub(super) fn save_frames(&mut self) {
        let layout = self.context.layout;
        let base = self.scratch(ValType::I32, 0);
        self.code.push(I::GlobalGet(layout.frames_end()));
        self.code.push(I::LocalSet(base));
        let done = self.open_inner();
        let cases: Vec<Label> = (0..self.sites.len()).map(|_| self.open_inner()).collect();
        for &label in cases.iter().chain([&done]) {
            self.cold(label);
        }
        let depths: Vec<u32> = cases.iter().map(|&case| self.depth(case)).collect();
        self.code.push(I::GlobalGet(layout.position()));
        let default = depths[0];
        self.code.push(I::BrTable(depths.into(), default));
        for (site, &case) in cases.iter().enumerate().rev() {
            self.close(case);
            let mut offset = 0;
            for (local, ty) in self.sites[site].saved.clone() {
                self.code.push(I::LocalGet(base));
                self.code.push(I::LocalGet(local));
                // Narrow values are widened, so that padding is zero and not what was there.
                match ty {
                    ValType::I32 => {
                        self.code.push(I::I64ExtendI32U);
                        self.code.push(I::I64Store(self.frame_arg(offset, 3)));
                    }
                    ValType::I64 => self.code.push(I::I64Store(self.frame_arg(offset, 3))),
                    ValType::F32 => {
                        self.code.push(I::I32ReinterpretF32);
                        self.code.push(I::I64ExtendI32U);
                        self.code.push(I::I64Store(self.frame_arg(offset, 3)));
                    }
                    ValType::F64 => self.code.push(I::F64Store(self.frame_arg(offset, 3))),
                    ValType::V128 => self.code.push(I::V128Store(self.frame_arg(offset, 3))),
                    ValType::Ref(_) => unreachable!("references are refused at admission"),
                }
                offset += saved_bytes(ty);
            }
            self.code.push(I::LocalGet(base));
            self.code.push(I::I32Const(self.frame_bytes(site) as i32));
            self.code.push(I::I32Add);
            self.code.push(I::LocalSet(base));
            self.br(done);
        }
        self.close(done);
        self.code.push(I::LocalGet(base));
        self.code.push(I::GlobalGet(layout.position()));
        self.code.push(I::I64ExtendI32U);
        self.code.push(I::I64Const(i64::from(self.function_index) << 32));
        self.code.push(I::I64Or);
        self.code.push(I::I64Store(self.frame_arg(0, 3)));
        self.code.push(I::LocalGet(base));
        self.code.push(I::I32Const(8));
        self.code.push(I::I32Add);
        self.code.push(I::GlobalSet(layout.frames_end()));
        for &ty in &self.function.results.clone() {
            self.code.push(match ty {
                ValType::I32 => I::I32Const(0),
                ValType::I64 => I::I64Const(0),
                ValType::F32 => I::F32Const(0f32.into()),
                ValType::F64 => I::F64Const(0f64.into()),
                ValType::V128 => I::V128Const(0),
                ValType::Ref(_) => unreachable!("references are refused at admission"),
            });
        }
    }
}
