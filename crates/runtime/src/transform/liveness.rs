//! Which locals a function still needs at each point at which it can be resumed.
//!
//! Only live locals are saved: not for space, but because a dead local's value depends on
//! whether the function was interrupted before, and the state root must not.
//! Backward dataflow over structured code; loops are iterated to the fixpoint.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::Operator;

use super::function::{BlockKind, Function};

/// A set of locals.
#[derive(Clone, PartialEq, Eq)]
pub struct Locals(Vec<u64>);

impl Locals {
    fn none(count: usize) -> Self {
        Locals(vec![0; count.div_ceil(64)])
    }

    fn insert(&mut self, local: u32) {
        self.0[local as usize / 64] |= 1 << (local % 64);
    }

    fn remove(&mut self, local: u32) {
        self.0[local as usize / 64] &= !(1 << (local % 64));
    }

    fn join(&mut self, other: &Locals) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// The locals in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(index, &word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index as u32 * 64 + bit)
        })
    }
}

/// Live locals at the places that frames are saved at.
pub struct Liveness {
    /// On entry.
    pub entry: Locals,
    /// After each instruction for which `is_site` held.
    pub after: BTreeMap<usize, Locals>,
    /// At each loop's header, by block.
    pub header: BTreeMap<usize, Locals>,
}

/// Computes liveness; `is_site(op index)` says after which instructions it is asked for.
pub fn compute(function: &Function<'_>, is_site: &dyn Fn(usize) -> bool) -> Liveness {
    let count = function.locals.len();
    let mut header: BTreeMap<usize, Locals> = BTreeMap::new();
    loop {
        let mut pass = Pass {
            function,
            count,
            label: vec![Locals::none(count); function.blocks.len()],
            else_start: BTreeMap::new(),
            header: header.clone(),
            after: BTreeMap::new(),
            handlers: Vec::new(),
        };
        let entry = pass.run(is_site);
        if pass.header == header {
            return Liveness { entry, after: pass.after, header };
        }
        header = pass.header;
    }
}

struct Pass<'f, 'a> {
    function: &'f Function<'a>,
    count: usize,
    /// Live at a block's end, by block.
    label: Vec<Locals>,
    else_start: BTreeMap<usize, Locals>,
    header: BTreeMap<usize, Locals>,
    after: BTreeMap<usize, Locals>,
    /// What is live wherever an exception may go from here, for each open `try_table`.
    handlers: Vec<Locals>,
}

impl Pass<'_, '_> {
    fn at_label(&self, block: usize) -> Locals {
        if self.function.blocks[block].kind == BlockKind::Loop {
            self.header.get(&block).cloned().unwrap_or_else(|| Locals::none(self.count))
        } else {
            self.label[block].clone()
        }
    }

    fn thrown(&self) -> Locals {
        self.handlers.last().cloned().unwrap_or_else(|| Locals::none(self.count))
    }

    fn run(&mut self, is_site: &dyn Fn(usize) -> bool) -> Locals {
        use Operator as O;
        let mut live = Locals::none(self.count);
        for (index, op) in self.function.ops.iter().enumerate().rev() {
            if is_site(index) {
                // What is called may return by an exception, now or after it was resumed.
                if let Some(handlers) = self.handlers.last() {
                    live.join(handlers);
                }
                self.after.insert(index, live.clone());
            }
            match op.op {
                O::LocalGet { local_index } => live.insert(local_index),
                O::LocalSet { local_index } | O::LocalTee { local_index } => {
                    live.remove(local_index);
                }
                O::End => {
                    self.label[op.block] = live.clone();
                    let block = &self.function.blocks[op.block];
                    if block.kind == BlockKind::Try {
                        let mut handlers = self.thrown();
                        for &target in &self.function.ops[block.start].targets {
                            handlers.join(&self.at_label(target));
                        }
                        self.handlers.push(handlers);
                    }
                }
                O::TryTable { .. } => {
                    self.handlers.pop();
                }
                O::Throw { .. } | O::ThrowRef => live = self.thrown(),
                O::Else => {
                    self.else_start.insert(op.block, live);
                    live = self.label[op.block].clone();
                }
                O::If { .. } => {
                    let other = self
                        .else_start
                        .remove(&op.block)
                        .unwrap_or_else(|| self.label[op.block].clone());
                    live.join(&other);
                }
                O::Loop { .. } => {
                    self.header.insert(op.block, live.clone());
                }
                O::Br { .. } => live = self.at_label(op.targets[0]),
                O::BrIf { .. } => live.join(&self.at_label(op.targets[0])),
                O::BrTable { .. } => {
                    live = Locals::none(self.count);
                    let distinct: BTreeSet<usize> = op.targets.iter().copied().collect();
                    for target in distinct {
                        live.join(&self.at_label(target));
                    }
                }
                O::Return | O::Unreachable => live = Locals::none(self.count),
                _ => {}
            }
        }
        live
    }
}
