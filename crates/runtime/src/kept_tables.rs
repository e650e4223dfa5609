//! A module's tables as bytes of its state: for each, the number of its entries, then the entries,
//! 4 bytes each: a function's index and 1, or 0. They are kept in a memory that the transform adds
//! ([`crate::transform`]); its header says where.

use crate::checkpoint::CheckpointError;
use crate::transform::TABLE_LINE_BYTES;

const LINE: usize = TABLE_LINE_BYTES as usize;

/// Where a table is in the memory.
struct Line {
    entries: usize,
    most: usize,
    base: usize,
}

fn figure(memory: &[u8], at: usize) -> usize {
    let bytes = memory.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default()) as usize
}

/// The header was written by a segment of ours, and its first figures by functions of ours.
fn lines(memory: &[u8]) -> impl Iterator<Item = Line> + '_ {
    (1..=figure(memory, 0)).map(|table| {
        let at = table * LINE;
        let [entries, most, base] = [0, 4, 8].map(|offset| figure(memory, at + offset));
        Line { entries, most, base }
    })
}

/// The tables as they are.
pub fn read(memory: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines(memory) {
        bytes.extend((line.entries as u32).to_le_bytes());
        bytes.extend_from_slice(&memory[line.base..line.base + 4 * line.entries]);
    }
    bytes
}

/// Writes what a checkpoint says they are to a new instance's memory. A table has at least the
/// entries that it has there.
pub fn write(memory: &mut [u8], mut bytes: &[u8]) -> Result<(), CheckpointError> {
    let damaged = || CheckpointError::Damaged("its tables are of another module".to_owned());
    let all: Vec<Line> = lines(memory).collect();
    for (table, line) in (1..).zip(all) {
        let (count, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        let entries = u32::from_le_bytes(*count) as usize;
        if entries < line.entries || entries > line.most || rest.len() < 4 * entries {
            return Err(damaged());
        }
        let (now, rest) = rest.split_at(4 * entries);
        memory[line.base..line.base + now.len()].copy_from_slice(now);
        memory[table * LINE..table * LINE + 4].copy_from_slice(count);
        bytes = rest;
    }
    if bytes.is_empty() { Ok(()) } else { Err(damaged()) }
}
