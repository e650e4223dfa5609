//! Frames: where values are in them, how they are saved at a site and restored from there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Range;

use wasm_encoder::{Instruction as I, MemArg};
use wasmparser::ValType;

use super::encode::zero;
use super::{Emitter, Label, Site};
use crate::transform::layout;

/// Where a function's values are in its frames: each at the same place at all sites, so that one
/// piece of code restores it for all of them. Values that never live at the same time may share a
/// place. What a site doesn't save is zero.
#[derive(Default)]
pub struct Places {
    offsets: BTreeMap<u32, (u64, ValType)>,
    /// All values together, a multiple of 8.
    pub bytes: u64,
}

/// Bytes of a value in a frame: no more than it has. Widening it would be one operation more, and
/// if the value doesn't change in a loop, one that the compiler does before the loop.
fn saved_bytes(ty: ValType) -> u64 {
    match ty {
        ValType::I32 | ValType::F32 => 4,
        ValType::V128 => 16,
        _ => 8,
    }
}

impl Places {
    /// A value is taken to live from the first site that saves it to the last.
    pub fn new(sites: &[Site]) -> Self {
        let mut spans: BTreeMap<u32, (ValType, usize, usize)> = BTreeMap::new();
        for (at, site) in sites.iter().enumerate() {
            for &(local, ty) in &site.saved {
                spans.entry(local).or_insert((ty, at, at)).2 = at;
            }
        }
        let mut places = Places::default();
        for width in [16, 8, 4] {
            let mut values: Vec<(usize, usize, u32, ValType)> = spans
                .iter()
                .filter(|(_, (ty, ..))| saved_bytes(*ty) == width)
                .map(|(&local, &(ty, first, last))| (first, last, local, ty))
                .collect();
            values.sort_unstable_by_key(|&(first, _, local, _)| (first, local));
            let mut free: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
            let mut taken: BinaryHeap<Reverse<(usize, u64)>> = BinaryHeap::new();
            for (first, last, local, ty) in values {
                while let Some(&Reverse((until, offset))) = taken.peek()
                    && until < first
                {
                    taken.pop();
                    free.push(Reverse(offset));
                }
                let offset = match free.pop() {
                    Some(Reverse(offset)) => offset,
                    None => {
                        places.bytes += width;
                        places.bytes - width
                    }
                };
                taken.push(Reverse((last, offset)));
                places.offsets.insert(local, (offset, ty));
            }
        }
        places.bytes = places.bytes.next_multiple_of(8);
        places
    }
}

impl Emitter<'_, '_, '_> {
    pub(super) fn frame_arg(&self, offset: u64, align: u32) -> MemArg {
        MemArg { offset, align, memory_index: self.context.layout.frames }
    }

    /// Loads all that any of `sites` saves and `region` is the home of; the frame of one of them is
    /// being restored. What doesn't live there is not used there.
    pub(super) fn load(&mut self, region: usize, sites: Range<usize>) {
        let locals: BTreeSet<u32> = self.sites[sites]
            .iter()
            .flat_map(|site| site.saved.iter().zip(&site.homes))
            .filter(|&(_, &home)| home == region)
            .map(|(&(local, _), _)| local)
            .collect();
        for local in locals {
            let (offset, ty) = self.places.offsets[&local];
            self.code.push(I::GlobalGet(self.context.layout.rewind_at()));
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
    }

    /// Saves a site's frame and goes to where the function returns. The values go straight to the
    /// frame, site by site: a tail that all sites share would keep every value of any of them
    /// alive everywhere.
    pub(super) fn save_frame(&mut self, site: usize) {
        let layout = self.context.layout;
        let base = self.scratch(ValType::I32, 0);
        self.code.push(I::GlobalGet(layout.frames_end()));
        self.code.push(I::LocalSet(base));
        for at in 0..self.sites[site].saved.len() {
            let (local, ty) = self.sites[site].saved[at];
            let (offset, _) = self.places.offsets[&local];
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
        }
        // Not handed to the shared code: the constant would be kept in a register around a loop.
        self.code.push(I::LocalGet(base));
        self.code.push(I::I32Const(site as i32));
        self.code.push(I::I32Store(self.frame_arg(self.places.bytes, 2)));
        let op = self.sites[site].op;
        let returned = op.is_some_and(|op| !self.is_loop(op));
        let way_out = if returned { Label::Unwound } else { Label::Save };
        let region = self.sites[site].region;
        if region != 0 {
            // Never zero.
            self.code.push(I::LocalGet(base));
            self.br_if(way_out);
            self.br(Label::Again(region));
        } else {
            self.br(way_out);
        }
    }

    /// What all sites do once their values are saved: the frame's function, and its end.
    pub(super) fn end_frame(&mut self) {
        let layout = self.context.layout;
        let base = self.scratch(ValType::I32, 0);
        self.close(Label::Unwound);
        // Nothing returns while frames are being restored, unless they were forged.
        self.code.push(I::LocalGet(self.fuel));
        self.code.push(I::I64Const(layout::UNWOUND));
        self.code.push(I::I64Ne);
        self.damaged_if();
        self.cold(Label::Damaged);
        self.close(Label::Save);
        self.code.push(I::GlobalGet(layout.frames_end()));
        self.code.push(I::I32Const(self.places.bytes as i32 + 8));
        self.code.push(I::I32Add);
        self.code.push(I::LocalTee(base));
        self.code.push(I::GlobalSet(layout.frames_end()));
        self.code.push(I::LocalGet(base));
        self.code.push(I::I32Const(4));
        self.code.push(I::I32Sub);
        self.code.push(I::I32Const(self.function_index as i32));
        self.code.push(I::I32Store(self.frame_arg(0, 2)));
    }

    /// What a function returns when nobody looks at it.
    pub(super) fn no_results(&mut self) {
        self.code.extend(self.function.results.iter().map(|&ty| zero(ty)));
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::ValType;

    use super::super::Site;
    use super::Places;

    fn site(saved: &[(u32, ValType)]) -> Site {
        Site { op: None, saved: saved.to_vec(), homes: Vec::new(), region: 0 }
    }

    #[test]
    fn values_share_a_place_if_they_never_live_together() {
        let (narrow, wide, vector) = (ValType::I32, ValType::F64, ValType::V128);
        let places = Places::new(&[
            site(&[(0, narrow), (1, wide), (2, vector)]),
            site(&[(0, narrow), (3, narrow)]),
            // 1 and 2 are over; 0 lives on, though it isn't saved here.
            site(&[(3, narrow), (4, wide), (5, narrow), (6, vector)]),
            site(&[(0, narrow), (7, narrow)]),
        ]);
        let offsets: Vec<u64> = places.offsets.values().map(|&(offset, _)| offset).collect();
        assert_eq!(offsets, [24, 16, 0, 28, 16, 32, 0, 28]);
        assert_eq!(places.bytes, 40);
        assert_eq!(Places::new(&[site(&[])]).bytes, 0);
    }
}
