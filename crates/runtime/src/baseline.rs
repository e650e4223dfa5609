//! The bytes of the last capture, kept so that a run can go back to it and so that the next
//! capture costs what changed.
//!
//! A memory under watch ([`crate::dirty`]) is its own copy, but for the leaves that were written
//! since. Everything else (frames, tables, streams, files, a memory that can't be watched) is compared
//! with a copy, which is five times cheaper than hashing it.

use std::collections::BTreeMap;

use base::Digest;

use crate::checkpoint::{LEAF_BYTES, Part, leaf_digest, zero_leaf};
use crate::dirty::{Before, Tracker};
use crate::leaf::Leaf;

/// Bytes by leaves, as they were.
#[derive(Debug, Default)]
pub(crate) struct Copy {
    part: Part,
    leaves: Vec<Leaf>,
}

impl Copy {
    /// Follows `bytes`; hashes the leaves that are others now.
    pub fn update(&mut self, bytes: &[u8]) -> &Part {
        let count = bytes.len().div_ceil(LEAF_BYTES);
        self.leaves.truncate(count);
        self.part.leaves.truncate(count);
        for (index, now) in bytes.chunks(LEAF_BYTES).enumerate() {
            if self.leaves.get(index).is_some_and(|leaf| **leaf == *now) {
                continue;
            }
            let digest = leaf_digest(now);
            let leaf = if digest == zero_leaf() { Leaf::zero() } else { Leaf::from(now) };
            if index < self.leaves.len() {
                (self.leaves[index], self.part.leaves[index]) = (leaf, digest);
            } else {
                self.leaves.push(leaf);
                self.part.leaves.push(digest);
            }
        }
        self.part.bytes = bytes.len() as u64;
        &self.part
    }

    /// What a checkpoint says it is.
    pub fn of(part: &Part, leaves: &BTreeMap<Digest, Leaf>) -> Option<Copy> {
        let each = part.leaves.iter().map(|digest| {
            leaves.get(digest).cloned().or_else(|| (*digest == zero_leaf()).then(Leaf::zero))
        });
        Some(Copy { part: part.clone(), leaves: each.collect::<Option<_>>()? })
    }

    fn collect(&self, wanted: &impl Fn(&Digest) -> bool, into: &mut BTreeMap<Digest, Leaf>) {
        for (digest, leaf) in self.part.leaves.iter().zip(&self.leaves) {
            if *digest != zero_leaf() && wanted(digest) {
                into.entry(*digest).or_insert_with(|| leaf.clone());
            }
        }
    }
}

/// The guest's memory at the last capture.
#[derive(Debug)]
pub(crate) enum Pages {
    /// Under watch.
    Watched {
        /// By whom.
        tracker: Tracker,
        /// As it was.
        part: Part,
    },
    /// Compared with a copy.
    Copied(Copy),
}

impl Pages {
    /// Nothing of a memory at `base` that may grow to `bytes_max` is captured yet.
    pub fn new(base: *const u8, bytes_max: usize) -> Self {
        match Tracker::new(base, bytes_max) {
            Some(tracker) => Pages::Watched { tracker, part: Part::default() },
            None => Pages::Copied(Copy::default()),
        }
    }

    /// Captures the memory as it is.
    pub fn update(&mut self, bytes: &[u8]) -> &Part {
        if let Pages::Watched { tracker, part } = self {
            for (index, now) in bytes.chunks(LEAF_BYTES).enumerate() {
                if index >= part.leaves.len() {
                    part.leaves.push(leaf_digest(now));
                } else if tracker.is_dirty(index) {
                    part.leaves[index] = leaf_digest(now);
                }
            }
            part.bytes = bytes.len() as u64;
        }
        self.settle(bytes);
        match self {
            Pages::Watched { part, .. } => part,
            Pages::Copied(copy) => copy.update(bytes),
        }
    }

    /// The memory was made to be what a checkpoint says.
    pub fn adopt(&mut self, part: &Part, bytes: &[u8]) {
        if let Pages::Watched { part: now, .. } = self {
            now.clone_from(part);
        }
        self.settle(bytes);
        if let Pages::Copied(copy) = self {
            copy.update(bytes);
        }
    }

    fn settle(&mut self, bytes: &[u8]) {
        if let Pages::Watched { tracker, part } = self {
            let zero = zero_leaf();
            let watched = tracker.base() == bytes.as_ptr() as usize
                && tracker.settle(bytes.len(), |leaf| part.leaves[leaf] == zero);
            if !watched {
                *self = Pages::Copied(Copy::default());
            }
        }
    }

    /// Collects the wanted leaves of the last capture; `bytes` is the memory now.
    pub fn collect(
        &self,
        bytes: &[u8],
        wanted: impl Fn(&Digest) -> bool,
        into: &mut BTreeMap<Digest, Leaf>,
    ) {
        match self {
            Pages::Copied(copy) => copy.collect(&wanted, into),
            Pages::Watched { tracker, part } => {
                for (index, digest) in part.leaves.iter().enumerate() {
                    if *digest == zero_leaf() || !wanted(digest) || into.contains_key(digest) {
                        continue;
                    }
                    let leaf = match tracker.before(index) {
                        Before::Zero => continue,
                        Before::Bytes(bytes) => Leaf::from(bytes),
                        Before::Same => {
                            let at = index * LEAF_BYTES;
                            Leaf::from(&bytes[at..at + LEAF_BYTES])
                        }
                    };
                    into.insert(*digest, leaf);
                }
            }
        }
    }

    /// From now on notices which leaves are read, and whether one is that `leaves` doesn't have.
    /// Whether that can be done.
    pub fn hide(&mut self, leaves: &BTreeMap<Digest, Leaf>) -> bool {
        match self {
            Pages::Watched { tracker, part } => tracker.hide(|leaf| {
                let digest = &part.leaves[leaf];
                *digest != zero_leaf() && !leaves.contains_key(digest)
            }),
            Pages::Copied(_) => false,
        }
    }

    /// The first leaf that would have been needed and was not there.
    pub fn lacked(&self) -> Option<Digest> {
        match self {
            Pages::Watched { tracker, part } => {
                tracker.lacked().and_then(|leaf| part.leaves.get(leaf).copied())
            }
            Pages::Copied(_) => None,
        }
    }

    /// Whether a leaf of the capture after which the memory was hidden was read or written since,
    /// or may have been.
    pub fn is_touched(&self, leaf: usize) -> bool {
        match self {
            Pages::Watched { tracker, .. } => tracker.is_touched(leaf),
            Pages::Copied(_) => true,
        }
    }

    /// Whether the memory is still where it was.
    pub fn is_at(&self, base: *const u8) -> bool {
        match self {
            Pages::Watched { tracker, .. } => tracker.base() == base as usize,
            Pages::Copied(_) => true,
        }
    }

    /// Whether some of it can't be read without being noticed.
    #[cfg(test)]
    pub fn is_hidden(&self) -> bool {
        match self {
            Pages::Watched { tracker, .. } => {
                (0..tracker.leaves()).any(|leaf| !tracker.is_touched(leaf))
            }
            Pages::Copied(_) => false,
        }
    }

    /// Whether writes to it are noticed.
    #[cfg(test)]
    pub fn is_watched(&self) -> bool {
        matches!(self, Pages::Watched { .. })
    }
}

/// All bytes of the last capture.
#[derive(Debug, Default)]
pub(crate) struct Baseline {
    pub memory: Option<Pages>,
    pub frames: Copy,
    pub tables: Copy,
    pub contents: Vec<Copy>,
}

impl Baseline {
    /// Collects the wanted leaves of the last capture; `memory` is the guest's memory now.
    pub fn collect(
        &self,
        memory: &[u8],
        wanted: impl Fn(&Digest) -> bool,
    ) -> BTreeMap<Digest, Leaf> {
        let mut leaves = BTreeMap::new();
        if let Some(pages) = &self.memory {
            pages.collect(memory, &wanted, &mut leaves);
        }
        for copy in [&self.frames, &self.tables].into_iter().chain(&self.contents) {
            copy.collect(&wanted, &mut leaves);
        }
        leaves
    }

    /// Captures the world's contents.
    pub fn contents(&mut self, contents: &[&[u8]]) -> Vec<Part> {
        self.contents.resize_with(contents.len(), Copy::default);
        self.contents.iter_mut().zip(contents).map(|(copy, now)| copy.update(now).clone()).collect()
    }
}
