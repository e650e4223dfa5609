//! Sites: their numbers, what is saved at each, and the blocks that lead to them.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{Operator, ValType};

use super::{Emitter, Label, Site, is_site};
use crate::transform::function::BlockKind;
use crate::transform::liveness::Liveness;

impl Emitter<'_, '_, '_> {
    /// The innermost loop (or the function) around a block.
    pub(super) fn region(&self, mut block: usize) -> usize {
        while block != 0 && self.function.blocks[block].kind != BlockKind::Loop {
            block = self.function.blocks[block].parent;
        }
        block
    }

    pub(super) fn number_sites(&mut self) {
        let params = self.function.params.len() as u32;
        let saved = self.live_locals(|liveness| {
            liveness.entry.iter().filter(|&local| local < params).collect()
        });
        self.sites.push(Site { op: None, saved, homes: Vec::new(), region: 0 });
        let mut open = vec![0];
        for (index, op) in self.function.ops.iter().enumerate() {
            match op.op {
                Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                    open.push(op.block);
                }
                Operator::Loop { .. } => {
                    open.push(op.block);
                    let mut saved =
                        self.live_locals(|liveness| liveness.header[&op.block].iter().collect());
                    saved.extend(self.slots_of(&op.below));
                    self.site_of_op.insert(index, self.sites.len());
                    self.sites.push(Site {
                        op: Some(index),
                        saved,
                        homes: Vec::new(),
                        region: op.block,
                    });
                }
                Operator::End => {
                    open.pop();
                }
                _ if is_site(&op.op, self.context) => {
                    let region = self.region(*open.last().expect("open block"));
                    let mut saved =
                        self.live_locals(|liveness| liveness.after[&index].iter().collect());
                    saved.extend(self.slots_of(&op.below));
                    // Arguments may be anything when the call is made again to resume what it
                    // called; the index of an indirect call may not.
                    if let Operator::CallIndirect { .. } = op.op {
                        let height = op.below.len() + op.pops - 1;
                        saved.push((self.slot(height, ValType::I32), ValType::I32));
                    }
                    self.site_of_op.insert(index, self.sites.len());
                    self.sites.push(Site { op: Some(index), saved, homes: Vec::new(), region });
                }
                _ => {}
            }
        }
    }

    fn live_locals(&self, live: impl Fn(&Liveness) -> Vec<u32>) -> Vec<(u32, ValType)> {
        let locals = &self.function.locals;
        live(&self.liveness).into_iter().map(|local| (local, locals[local as usize])).collect()
    }

    fn slots_of(&mut self, below: &[ValType]) -> Vec<(u32, ValType)> {
        below.iter().enumerate().map(|(height, &ty)| (self.slot(height, ty), ty)).collect()
    }

    /// Decides in which region's dispatch each saved value is loaded.
    ///
    /// A value that is live at a loop's header anyway is loaded before the loop: then the loop
    /// has no second definition of it, and what doesn't change in it stays known not to. One
    /// that isn't is loaded within, so that nothing has to be kept for it around the loop.
    pub(super) fn assign_homes(&mut self) {
        let live_at_header: BTreeMap<usize, BTreeSet<u32>> = self
            .sites
            .iter()
            .filter(|site| site.op.is_some_and(|op| self.is_loop(op)))
            .map(|site| (site.region, site.saved.iter().map(|&(local, _)| local).collect()))
            .collect();
        for at in 0..self.sites.len() {
            let site = &self.sites[at];
            let homes = site
                .saved
                .iter()
                .map(|(local, _)| {
                    let mut home = site.region;
                    while home != 0 && live_at_header[&home].contains(local) {
                        home = self.region(self.function.blocks[home].parent);
                    }
                    home
                })
                .collect();
            self.sites[at].homes = homes;
        }
    }

    pub(super) fn is_loop(&self, op: usize) -> bool {
        matches!(self.function.ops[op].op, Operator::Loop { .. })
    }

    /// Opens the blocks that lead into a region's sites and end with its blocks.
    pub(super) fn open_region(&mut self, region: usize) {
        let function = self.function;
        let mut ends: Vec<(usize, Label)> = Vec::new();
        let block = &function.blocks[region];
        let from = if region == 0 { 0 } else { block.start + 1 };
        let mut index = from;
        while index < function.ops.len() && (region == 0 || index < block.end) {
            let op = &function.ops[index];
            match op.op {
                Operator::Loop { .. } => {
                    ends.push((index, Label::Before(index)));
                    index = function.blocks[op.block].end;
                }
                Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                    let inner = &function.blocks[op.block];
                    if inner.resumable {
                        ends.push((inner.end, Label::Block(op.block)));
                        if inner.kind == BlockKind::Try {
                            ends.push((inner.end, Label::Handler(op.block)));
                        }
                        if let Some(at) = inner.else_at {
                            ends.push((at, Label::Else(op.block)));
                        }
                    } else {
                        index = inner.end;
                    }
                }
                _ if self.site_of_op.contains_key(&index) => {
                    ends.push((index, Label::Before(index)));
                }
                _ => {}
            }
            index += 1;
        }
        ends.sort_by_key(|&(at, _)| std::cmp::Reverse(at));
        for (_, label) in ends {
            self.open(label);
        }
    }

    /// The label that leads from `region`'s header towards a site; `None` for the header's own.
    pub(super) fn towards(&self, region: usize, site: usize) -> Option<Label> {
        let site = &self.sites[site];
        let op = site.op?;
        if site.region == region {
            return (!self.is_loop(op)).then_some(Label::Before(op));
        }
        // The outermost loop within `region` that contains the site.
        let mut inner = site.region;
        loop {
            let outer = self.region(self.function.blocks[inner].parent);
            if outer == region {
                return Some(Label::Before(self.function.blocks[inner].start));
            }
            inner = outer;
        }
    }
}
