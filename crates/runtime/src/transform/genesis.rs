//! What a module's memory is before its first instruction, as leaves: found once, when the module
//! is compiled, so that starting a task neither reads nor hashes it.

use base::Digest;
use std::collections::BTreeMap;
use wasmparser::{DataKind, Operator, Parser, Payload};

use super::admit::Admitted;
use super::layout::export;
use crate::checkpoint::{LEAF_BYTES, Part, leaf_digest, zero_leaf};

/// Most leaves that are listed: as many as the name of an export has room for. A module with data
/// in more of them is hashed whenever it starts.
const LEAVES_MAX: usize = 1024;

/// The name of the export that lists the leaves which are not zeros, if that can be told from
/// the data segments alone.
pub(super) fn export_name(admitted: &Admitted<'_>) -> Option<String> {
    let (pages, _) = admitted.memory?;
    let bytes = pages * 65536;
    let mut leaves: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for payload in Parser::new(0).parse_all(admitted.bytes) {
        let Payload::DataSection(segments) = payload.ok()? else { continue };
        for segment in segments {
            let segment = segment.ok()?;
            let DataKind::Active { memory_index: 0, offset_expr } = segment.kind else {
                continue;
            };
            let mut offset = offset_expr.get_operators_reader();
            let Operator::I32Const { value } = offset.read().ok()? else { return None };
            let Operator::End = offset.read().ok()? else { return None };
            let mut at = value as u32 as usize;
            let mut data = segment.data;
            if at as u64 + data.len() as u64 > bytes {
                return None;
            }
            while !data.is_empty() {
                let (leaf, within) = (at / LEAF_BYTES, at % LEAF_BYTES);
                let (now, later) = data.split_at(data.len().min(LEAF_BYTES - within));
                if !leaves.contains_key(&leaf) && leaves.len() == LEAVES_MAX {
                    return None;
                }
                let to = leaves.entry(leaf).or_insert_with(|| vec![0; LEAF_BYTES]);
                to[within..within + now.len()].copy_from_slice(now);
                (at, data) = (at + now.len(), later);
            }
        }
    }
    let listed = leaves.iter().map(|(index, leaf)| (index, leaf_digest(leaf)));
    let listed: Vec<String> = listed
        .filter(|(_, digest)| *digest != zero_leaf())
        .map(|(index, digest)| format!("{index:x}={digest}"))
        .collect();
    Some(format!("{}{}", export::LEAVES, listed.join(",")))
}

/// Reads such a name for a memory of so many bytes.
pub fn part(name: &str, bytes: u64) -> Option<Part> {
    let count = usize::try_from(bytes / LEAF_BYTES as u64).ok()?;
    let mut leaves = vec![zero_leaf(); count];
    for item in name.strip_prefix(export::LEAVES)?.split(',').filter(|item| !item.is_empty()) {
        let (index, digest) = item.split_once('=')?;
        let index = usize::from_str_radix(index, 16).ok()?;
        *leaves.get_mut(index)? = digest.parse::<Digest>().ok()?;
    }
    Some(Part { bytes, leaves })
}
