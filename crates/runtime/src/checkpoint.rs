//! A checkpoint: a task's complete state at one safepoint, as a manifest and content-addressed
//! 64 KiB leaves, so that only what changed has to travel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use base::{Digest, Usage};
use serde::{Deserialize, Serialize};

use crate::leaf::Leaf;
use crate::protocol::Goal;

/// Bytes of a leaf; the last leaf of a part may be shorter.
pub const LEAF_BYTES: usize = 64 << 10;

/// Digest of a leaf of zeros, which is never stored or sent.
static ZERO_LEAF: LazyLock<Digest> = LazyLock::new(|| Digest::of(&[0; LEAF_BYTES]));

const MANIFEST_VERSION: u32 = 2;

/// A state that can be resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    manifest: Vec<u8>,
    leaves: BTreeMap<Digest, Leaf>,
}

/// Why bytes are not a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Truncated or altered.
    #[error("the checkpoint is damaged ({0}); take an earlier one, or start from the beginning")]
    Damaged(String),
    /// Written by another version of this program.
    #[error(
        "the checkpoint has format {found}, this program reads format {expected}; use the version of jusha that wrote it"
    )]
    Version {
        /// Its version.
        found: u32,
        /// Ours.
        expected: u32,
    },
}

/// A run of bytes, as leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct Part {
    pub bytes: u64,
    pub leaves: Vec<Digest>,
}

/// A mutable global of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GlobalValue {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
}

/// Everything but the leaves. The state root covers `globals` to `contents`; the rest says where
/// in the chain the state is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub version: u32,
    pub task: Digest,
    pub usage: Usage,
    pub chain_head: Digest,
    /// Leaves at the last boundary, for counting those that change until the next.
    pub boundary: Vec<Part>,
    /// A NaN was born: the task stays in the canonical build.
    pub canonical: bool,
    pub globals: Vec<GlobalValue>,
    /// Low bits of the fuel global.
    pub depth: u32,
    /// The guest's memory; `None` when it has none.
    pub memory: Option<Part>,
    /// The frame memory up to its end.
    pub frames: Part,
    /// The tables ([`crate::kept_tables`]), if they can change.
    pub tables: Option<Part>,
    pub world_meta: Vec<u8>,
    pub contents: Vec<Part>,
}

impl Part {
    /// Hashes all of `bytes`: what every cheaper way must agree with.
    #[cfg(test)]
    pub fn digest_of(bytes: &[u8]) -> Part {
        Part {
            bytes: bytes.len() as u64,
            leaves: bytes.chunks(LEAF_BYTES).map(leaf_digest).collect(),
        }
    }

    /// The same, and the leaves that are not all zeros.
    #[cfg(test)]
    pub fn cut(bytes: &[u8], leaves: &mut BTreeMap<Digest, Leaf>) -> Part {
        let part = Part::digest_of(bytes);
        for (leaf, digest) in bytes.chunks(LEAF_BYTES).zip(&part.leaves) {
            if *digest != zero_leaf() {
                leaves.insert(*digest, leaf.into());
            }
        }
        part
    }

    /// A digest of the whole: the root of a two-level Merkle tree.
    pub fn root(&self) -> Digest {
        let digests: Vec<u8> = self.leaves.iter().flat_map(|leaf| leaf.0).collect();
        Digest::of_parts("jusha state part v1", &[&self.bytes.to_le_bytes(), &digests])
    }

    fn is_whole(&self) -> bool {
        self.leaves.len() as u64 == self.bytes.div_ceil(LEAF_BYTES as u64)
    }

    /// Bytes of the leaves that are not the same at the same place in `earlier`.
    fn changed_bytes(&self, earlier: Option<&Part>) -> u64 {
        let mut left = self.bytes;
        let mut changed = 0;
        for (index, leaf) in self.leaves.iter().enumerate() {
            let bytes = left.min(LEAF_BYTES as u64);
            left -= bytes;
            if earlier.and_then(|part| part.leaves.get(index)) != Some(leaf) {
                changed += bytes;
            }
        }
        changed
    }
}

/// All runs of bytes of a state, in a fixed order; one that there isn't is empty.
pub(crate) fn parts(
    memory: &Option<Part>,
    frames: &Part,
    tables: &Option<Part>,
    contents: &[Part],
) -> Vec<Part> {
    let first = [memory.clone().unwrap_or_default(), frames.clone()];
    let tables = [tables.clone().unwrap_or_default()];
    first.into_iter().chain(tables).chain(contents.iter().cloned()).collect()
}

/// The address of a leaf.
pub(crate) fn leaf_digest(leaf: &[u8]) -> Digest {
    // Reading zeros is far cheaper than hashing them, and most of a young memory is zero.
    if leaf.len() == LEAF_BYTES && is_zero(leaf) { *ZERO_LEAF } else { Digest::of(leaf) }
}

/// The address of a whole leaf of zeros.
pub(crate) fn zero_leaf() -> Digest {
    *ZERO_LEAF
}

/// Whether there is nothing but zeros.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // In runs that the compiler can make wide loads of, left at the first that is not.
    bytes.chunks(256).all(|run| run.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Bytes of state that changed between two boundaries.
pub(crate) fn changed_bytes(earlier: &[Part], now: &[Part]) -> u64 {
    now.iter().enumerate().map(|(index, part)| part.changed_bytes(earlier.get(index))).sum()
}

impl Manifest {
    /// All runs of bytes of the state, in a fixed order.
    pub fn parts(&self) -> Vec<Part> {
        parts(&self.memory, &self.frames, &self.tables, &self.contents)
    }

    /// The state root: nothing that depends on how often the task was interrupted.
    pub fn state_root(&self) -> Digest {
        let globals = postcard::to_stdvec(&self.globals).expect("plain data can be encoded");
        let memory = self.memory.as_ref().map(|part| part.root().0);
        let tables = self.tables.as_ref().map(|part| part.root().0);
        let contents: Vec<u8> = self.contents.iter().flat_map(|part| part.root().0).collect();
        Digest::of_parts(
            "jusha state root v2",
            &[
                &globals,
                &self.depth.to_le_bytes(),
                memory.as_ref().map_or(&[], |root| root.as_slice()),
                &self.frames.root().0,
                tables.as_ref().map_or(&[], |root| root.as_slice()),
                &self.world_meta,
                &contents,
            ],
        )
    }

    /// The leaves of everything but the memory, zeros among them.
    pub fn all_but_memory(&self) -> impl Iterator<Item = Digest> + '_ {
        let parts = [&self.frames].into_iter().chain(&self.tables).chain(&self.contents);
        parts.flat_map(|part| part.leaves.iter().copied())
    }

    /// The leaves that it needs.
    pub fn needed(&self) -> BTreeSet<Digest> {
        self.parts()
            .iter()
            .flat_map(|part| part.leaves.iter().copied())
            .filter(|leaf| *leaf != *ZERO_LEAF)
            .collect()
    }

    fn parse(bytes: &[u8]) -> Result<Manifest, CheckpointError> {
        let damaged = |why: &str| CheckpointError::Damaged(why.to_owned());
        let (version, _) = postcard::take_from_bytes::<u32>(bytes)
            .map_err(|_| damaged("its manifest can't be read"))?;
        if version != MANIFEST_VERSION {
            return Err(CheckpointError::Version { found: version, expected: MANIFEST_VERSION });
        }
        let manifest: Manifest =
            postcard::from_bytes(bytes).map_err(|_| damaged("its manifest can't be read"))?;
        if !manifest.parts().iter().all(Part::is_whole) {
            return Err(damaged("a part has too few or too many leaves"));
        }
        Ok(manifest)
    }
}

/// The bytes of a part.
pub(crate) fn bytes(
    part: &Part,
    leaves: &BTreeMap<Digest, Leaf>,
) -> Result<Vec<u8>, CheckpointError> {
    let mut bytes = Vec::with_capacity(part.leaves.len() * LEAF_BYTES);
    for (index, digest) in part.leaves.iter().enumerate() {
        let length = (part.bytes - (index * LEAF_BYTES) as u64).min(LEAF_BYTES as u64) as usize;
        match leaves.get(digest) {
            Some(leaf) if leaf.len() == length => bytes.extend_from_slice(leaf),
            None if *digest == *ZERO_LEAF && length == LEAF_BYTES => {
                bytes.resize(bytes.len() + LEAF_BYTES, 0);
            }
            _ => {
                return Err(CheckpointError::Damaged(format!("leaf {digest} has another length")));
            }
        }
    }
    Ok(bytes)
}

impl Checkpoint {
    pub(crate) fn new(manifest: &Manifest, leaves: BTreeMap<Digest, Leaf>) -> Self {
        let manifest = postcard::to_stdvec(manifest).expect("plain data can be encoded");
        Checkpoint { manifest, leaves }
    }

    /// Put together from parts that came over the network. Every leaf is checked against its
    /// digest and none may be lacking or left over.
    pub fn from_parts(
        manifest: Vec<u8>,
        leaves: BTreeMap<Digest, Leaf>,
    ) -> Result<Self, CheckpointError> {
        let checkpoint = Checkpoint { manifest, leaves };
        checkpoint.check()?;
        Ok(checkpoint)
    }

    /// Reads the manifest and checks which leaves there are, not what is in them: enough for
    /// somebody who only passes them on. Whoever uses them runs [`Checkpoint::check`]. For one span
    /// some may be lacking.
    pub(crate) fn structure(&self, goal: Goal) -> Result<Manifest, CheckpointError> {
        let manifest = Manifest::parse(&self.manifest)?;
        let needed = manifest.needed();
        let same = match goal {
            Goal::Record => self.leaves.keys().all(|digest| needed.contains(digest)),
            Goal::End | Goal::Mark => self.leaves.keys().eq(needed.iter()),
        };
        if !same || self.leaves.values().any(|leaf| leaf.len() > LEAF_BYTES) {
            return Err(CheckpointError::Damaged("its leaves are others".to_owned()));
        }
        Ok(manifest)
    }

    /// Reads the manifest and checks every leaf.
    pub(crate) fn check(&self) -> Result<Manifest, CheckpointError> {
        let manifest = Manifest::parse(&self.manifest)?;
        self.check_leaves(&manifest, &manifest.needed())?;
        Ok(manifest)
    }

    /// The same for one from which only a span is to be run again: leaves of the memory may be
    /// lacking.
    pub(crate) fn check_span(&self) -> Result<Manifest, CheckpointError> {
        let manifest = Manifest::parse(&self.manifest)?;
        let mut due: BTreeSet<Digest> = manifest.all_but_memory().collect();
        due.remove(&*ZERO_LEAF);
        self.check_leaves(&manifest, &due)?;
        Ok(manifest)
    }

    fn check_leaves(
        &self,
        manifest: &Manifest,
        due: &BTreeSet<Digest>,
    ) -> Result<(), CheckpointError> {
        let damaged = |leaf, why| Err(CheckpointError::Damaged(format!("leaf {leaf} {why}")));
        if let Some(lacking) = due.iter().find(|digest| !self.leaves.contains_key(digest)) {
            return damaged(lacking, "is lacking");
        }
        let needed = manifest.needed();
        for (digest, leaf) in &self.leaves {
            if !needed.contains(digest) {
                return damaged(digest, "does not belong to it");
            }
            if leaf.len() > LEAF_BYTES || Digest::of(leaf) != *digest {
                return damaged(digest, "was altered");
            }
        }
        Ok(())
    }

    /// What is needed of it to run one span again: [`crate::protocol::Reached`] says it.
    pub fn only(mut self, needed: &BTreeSet<Digest>) -> Self {
        self.leaves.retain(|digest, _| needed.contains(digest));
        self
    }

    /// Adds the leaves that an earlier checkpoint of the same task has and this one came without.
    pub(crate) fn complete(
        mut self,
        earlier: &BTreeMap<Digest, Leaf>,
    ) -> Result<Self, CheckpointError> {
        for digest in Manifest::parse(&self.manifest)?.needed() {
            if let std::collections::btree_map::Entry::Vacant(vacant) = self.leaves.entry(digest) {
                let leaf = earlier
                    .get(&digest)
                    .ok_or_else(|| CheckpointError::Damaged(format!("leaf {digest} is lacking")))?;
                vacant.insert(leaf.clone());
            }
        }
        Ok(self)
    }

    fn read(&self) -> Manifest {
        Manifest::parse(&self.manifest).expect("a checkpoint is checked when it is made")
    }

    /// The manifest's bytes: a blob.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// The leaves, each a blob.
    pub fn leaves(&self) -> &BTreeMap<Digest, Leaf> {
        &self.leaves
    }

    /// The leaves that a manifest needs, without having them: what to download.
    pub fn leaves_of_manifest(manifest: &[u8]) -> Result<Vec<Digest>, CheckpointError> {
        Ok(Manifest::parse(manifest)?.needed().into_iter().collect())
    }

    /// Cumulative usage at this point.
    pub fn usage(&self) -> Usage {
        self.read().usage
    }

    /// The chain's head at this point.
    pub fn chain_head(&self) -> Digest {
        self.read().chain_head
    }

    /// Of which task it is.
    pub fn task_digest(&self) -> Digest {
        self.read().task
    }
}

pub(crate) const VERSION: u32 = MANIFEST_VERSION;
