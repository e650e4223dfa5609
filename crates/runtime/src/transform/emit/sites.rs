//! Sites: their numbers, what is saved at each, and the blocks that lead to them.

use wasmparser::{Operator, ValType};

use super::{Emitter, Label, Site, is_site};
use crate::transform::function::BlockKind;

impl Emitter<'_, '_, '_> {
    /// The innermost loop (or the function) around a block.
    pub(super) fn region(&self, mut block: usize) -> usize {
        while block != 0 && self.function.blocks[block].kind != BlockKind::Loop {
            block = self.function.blocks[block].parent;
        }
        block
    }

    pub(super) fn number_sites(&mut self) {
        self.sites.push(Site { op: None, saved: Vec::new(), region: 0 });
        let mut open = vec![0];
        for (index, op) in self.function.ops.iter().enumerate() {
            match op.op {
                Operator::Block { .. } | Operator::If { .. } => open.push(op.block),
                Operator::Loop { .. } => {
                    open.push(op.block);
                    self.site_of_op.insert(index, self.sites.len());
                    self.sites.push(Site { op: Some(index), saved: Vec::new(), region: op.block });
                }
                Operator::End => {
                    open.pop();
                }
                _ if is_site(&op.op, self.context) => {
                    let region = self.region(*open.last().expect("open block"));
                    self.site_of_op.insert(index, self.sites.len());
                    self.sites.push(Site { op: Some(index), saved: Vec::new(), region });
                }
                _ => {}
            }
        }
        let params = self.function.params.len() as u32;
        self.sites[0].saved = self
            .liveness
            .entry
            .iter()
            .filter(|&local| local < params)
            .map(|local| (local, self.function.locals[local as usize]))
            .collect();
    }

    /// Notes what a site saves: live locals, and the operands below `height`.
    pub(super) fn note_site(
        &mut self,
        index: usize,
        live: Vec<u32>,
        height: usize,
        also: Option<usize>,
    ) -> usize {
        let site = self.site_of_op[&index];
        let mut saved: Vec<(u32, ValType)> =
            live.into_iter().map(|local| (local, self.function.locals[local as usize])).collect();
        for at in (0..height).chain(also) {
            let ty = self.stack[at];
            saved.push((self.slot(at, ty), ty));
        }
        self.sites[site].saved = saved;
        site
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
                Operator::Block { .. } | Operator::If { .. } => {
                    let inner = &function.blocks[op.block];
                    if inner.resumable {
                        ends.push((inner.end, Label::Block(op.block)));
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
            let own_header = matches!(self.function.ops[op].op, Operator::Loop { .. });
            return (!own_header).then_some(Label::Before(op));
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
