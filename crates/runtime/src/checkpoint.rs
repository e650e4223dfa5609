//! A checkpoint: a task's complete state at one safepoint, as a manifest and content-addressed
//! 64 KiB leaves, so that only what changed has to travel.

use std::collections::BTreeMap;

use base::{Digest, Usage};
use serde::{Deserialize, Serialize};

/// Bytes of a leaf; the last leaf of a part may be shorter.
pub const LEAF_BYTES: usize = 64 << 10;

/// A state that can be resumed. (API that other crates rely on; the fields are the runtime's.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    manifest: Vec<u8>,
    leaves: BTreeMap<Digest, Vec<u8>>,
}

impl Checkpoint {
    /// Put together from parts that came over the network. Every leaf is checked against its
    /// digest and none may be lacking or left over.
    pub fn from_parts(
        manifest: Vec<u8>,
        leaves: BTreeMap<Digest, Vec<u8>>,
    ) -> Result<Self, CheckpointError> {
        todo!()
    }
    /// The manifest's bytes: a blob.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }
    /// The leaves, each a blob.
    pub fn leaves(&self) -> &BTreeMap<Digest, Vec<u8>> {
        &self.leaves
    }
    /// The leaves that a manifest needs, without having them: what to download.
    pub fn leaves_of_manifest(manifest: &[u8]) -> Result<Vec<Digest>, CheckpointError> {
        todo!()
    }
    /// Cumulative usage at this point.
    pub fn usage(&self) -> Usage {
        todo!()
    }
    /// The chain's head at this point.
    pub fn chain_head(&self) -> Digest {
        todo!()
    }
    /// Of which task it is.
    pub fn task_digest(&self) -> Digest {
        todo!()
    }
}

/// Why bytes are not a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Truncated or altered.
    #[error("the checkpoint is damaged ({0}); take an earlier one, or start from the beginning")]
    Damaged(String),
}
