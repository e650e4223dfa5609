//! A checkpoint in one file, with its task: what `jusha exec --checkpoint` writes. Anybody can
//! go on from it, or check it, with nothing else in hand.
//!
//! Layout: the magic `JUSHACKP`, format version as 4 little-endian bytes, zstd of the postcard
//! encoding, and the BLAKE3 digest of everything before it.

use base::Digest;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::task::Task;

const MAGIC: &[u8; 8] = b"JUSHACKP";
/// The version of the format.
pub(crate) const VERSION: u32 = 1;
/// Most bytes that a file may decompress to: 4 GiB of memory and as much again.
const BYTES_MAX: u64 = 8 << 30;
/// What a base may have beside the memory that it fills: arguments, frames, digests.
const BASE_SLACK: u64 = 64 << 20;

/// A task and a state of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFile {
    /// The task, whole.
    pub task: Task,
    /// Its state.
    pub checkpoint: Checkpoint,
}

impl CheckpointFile {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let plain = postcard::to_stdvec(self).expect("plain data can be encoded");
        let packed = zstd::encode_all(plain.as_slice(), 1).expect("compressing memory to memory");
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(packed);
        let digest = Digest::of(&bytes);
        bytes.extend(digest.0);
        bytes
    }

    /// Reads a file, believing nothing in it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let file = CheckpointFile::decode(bytes, BYTES_MAX)?;
        file.checkpoint.check()?;
        Ok(file)
    }

    /// The file of a base as it travels: whoever has a task that begins in it has the module.
    pub fn base_to_bytes(mut self) -> Vec<u8> {
        self.task.module.clear();
        self.to_bytes()
    }

    /// Reads a stranger's base, of a memory that may have so many bytes.
    pub fn base_from_bytes(bytes: &[u8], memory_max_bytes: u64) -> Result<Self, CheckpointError> {
        let file = CheckpointFile::decode(bytes, memory_max_bytes.saturating_add(BASE_SLACK))?;
        file.checkpoint.check()?;
        Ok(file)
    }

    /// The same for a file from which only one span is to be run again: leaves that the span
    /// doesn't need may be lacking.
    pub fn span_from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let file = CheckpointFile::decode(bytes, BYTES_MAX)?;
        file.checkpoint.check_span()?;
        Ok(file)
    }

    fn decode(bytes: &[u8], bytes_max: u64) -> Result<Self, CheckpointError> {
        let damaged = |why: &str| CheckpointError::Damaged(why.to_owned());
        if bytes.len() < MAGIC.len() || !bytes.starts_with(MAGIC) {
            return Err(damaged("it does not begin as a checkpoint file does"));
        }
        if bytes.len() < MAGIC.len() + 4 + 32 {
            return Err(damaged("it is truncated"));
        }
        let (body, digest) = bytes.split_at(bytes.len() - 32);
        if Digest::of(body).0 != *digest {
            return Err(damaged("it was truncated or altered"));
        }
        let mut version = [0; 4];
        version.copy_from_slice(&body[8..12]);
        let version = u32::from_le_bytes(version);
        if version != VERSION {
            return Err(CheckpointError::Version { found: version, expected: VERSION });
        }
        let plain =
            decompress(&body[12..], bytes_max).ok_or_else(|| damaged("it does not decompress"))?;
        postcard::from_bytes(&plain).map_err(|_| damaged("its contents can't be read"))
    }
}

fn decompress(bytes: &[u8], bytes_max: u64) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut plain = Vec::new();
    let mut reader = zstd::Decoder::new(bytes).ok()?.take(bytes_max);
    reader.read_to_end(&mut plain).ok()?;
    Some(plain)
}
