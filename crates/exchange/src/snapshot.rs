//! State snapshots: they bound how much of the journal a start, or a recovery from a failed
//! commit, has to fold.
//!
//! A snapshot is a cache, never the truth. One that is damaged, of another encoding, or of
//! another history than the journal's is passed over, the one before it is tried, and at last
//! the whole journal is folded. So a snapshot may be deleted at any time, and a backup needs none.
//!
//! A file `SEQUENCE.snapshot` holds a header line of JSON ([`Header`]) and the state in postcard.
//! The header binds it to the journal: it has a digest of the entry whose fold it is.
//!
//! Deliberately absent: deltas, and compression: the state is what lives, not what happened.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base::{Digest, ExchangeId};
use clearing::{STATE_VERSION, State};
use serde::{Deserialize, Serialize};

use crate::store::{Entry, StoreError, StoreReader};

/// How many are kept: the newest, and one to fall back on.
const KEPT: usize = 2;

const SUFFIX: &str = "snapshot";

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    exchange: ExchangeId,
    /// Encodings of other versions are not read.
    state_version: u32,
    sequence: u64,
    now_ms: i64,
    /// Of the journal entry with that sequence.
    entry: Digest,
    /// Of the state, which is also [`State::digest`].
    state: Digest,
}

/// Why a snapshot is passed over.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it can't be read")]
    Io(#[from] io::Error),
    #[error("it has no header")]
    Header,
    #[error("its encoding has version {0}, this program's has {STATE_VERSION}")]
    Version(u32),
    #[error("it is another exchange's")]
    Foreign,
    #[error("its digest does not fit: it is damaged")]
    Damaged,
    #[error("its bytes are no state")]
    Undecodable,
    #[error("the journal has another entry {0}, or none: it is of another history")]
    OtherHistory(u64),
}

/// A state, and the entry up to which it is folded.
pub(crate) struct Restored {
    pub state: State,
    pub sequence: u64,
    pub now_ms: i64,
}

impl Restored {
    /// Before the first entry.
    pub fn nothing() -> Self {
        Restored { state: State::default(), sequence: 0, now_ms: 0 }
    }
}

/// Binds a snapshot to its place in the journal.
pub(crate) fn entry_digest(entry: &Entry) -> Digest {
    // What was decoded is encoded alike again: these are derived, without maps.
    let command = serde_json::to_vec(&entry.command).unwrap_or_default();
    let events = serde_json::to_vec(&entry.events).unwrap_or_default();
    Digest::of_parts(
        "jusha journal entry v1",
        &[&entry.sequence.to_be_bytes(), &entry.now_ms.to_be_bytes(), &command, &events],
    )
}

/// A snapshot in memory, ready to be written.
pub(crate) struct Snapshot {
    header: Header,
    state: Vec<u8>,
}

impl Snapshot {
    /// Of a state after an entry. Encodes the whole state.
    pub fn of(exchange: ExchangeId, state: &State, entry: &Entry) -> Self {
        let encoded = state.encode();
        let header = Header {
            exchange,
            state_version: STATE_VERSION,
            sequence: entry.sequence,
            now_ms: entry.now_ms,
            entry: entry_digest(entry),
            state: Digest::of(&encoded),
        };
        Snapshot { header, state: encoded }
    }

    /// Writes it durably under its final name, then deletes those that are too many.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let partial = directory.join("partial");
        let mut file = File::create(&partial)?;
        let mut header = serde_json::to_vec(&self.header).map_err(io::Error::other)?;
        header.push(b'\n');
        file.write_all(&header)?;
        file.write_all(&self.state)?;
        file.sync_all()?;
        fs::rename(&partial, directory.join(format!("{:020}.{SUFFIX}", self.header.sequence)))?;
        File::open(directory)?.sync_all()?;
        for old in newest_first(directory)?.into_iter().skip(KEPT) {
            fs::remove_file(old)?;
        }
        Ok(())
    }
}

/// The newest snapshot that fits the journal, if any.
pub(crate) fn restore(
    directory: &Path,
    exchange: ExchangeId,
    reader: &mut dyn StoreReader,
) -> Result<Option<Restored>, StoreError> {
    let files = match newest_first(directory) {
        Ok(files) => files,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, directory = %directory.display(), "no snapshot is used");
            }
            return Ok(None);
        }
    };
    for file in files {
        match read(&file, exchange) {
            Ok((header, state)) if fits(&header, reader)? => {
                let Header { sequence, now_ms, .. } = header;
                return Ok(Some(Restored { state, sequence, now_ms }));
            }
            Ok((header, _)) => passed_over(&file, &Unusable::OtherHistory(header.sequence)),
            Err(unusable) => passed_over(&file, &unusable),
        }
    }
    Ok(None)
}

fn passed_over(file: &Path, why: &Unusable) {
    tracing::warn!(file = %file.display(), %why, "a state snapshot is passed over");
}

fn newest_first(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == SUFFIX) {
            files.push(path);
        }
    }
    // Names have leading zeros: their order is that of the sequences.
    files.sort();
    files.reverse();
    Ok(files)
}

fn read(file: &Path, exchange: ExchangeId) -> Result<(Header, State), Unusable> {
    let bytes = fs::read(file)?;
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Unusable::Header)?;
    let header: Header = serde_json::from_slice(&bytes[..end]).map_err(|_| Unusable::Header)?;
    if header.state_version != STATE_VERSION {
        return Err(Unusable::Version(header.state_version));
    }
    if header.exchange != exchange {
        return Err(Unusable::Foreign);
    }
    let encoded = &bytes[end + 1..];
    if Digest::of(encoded) != header.state {
        return Err(Unusable::Damaged);
    }
    let state = State::decode(encoded).ok_or(Unusable::Undecodable)?;
    Ok((header, state))
}

fn fits(header: &Header, reader: &mut dyn StoreReader) -> Result<bool, StoreError> {
    let mut fits = false;
    reader.entries(header.sequence.saturating_sub(1), header.sequence, &mut |entry| {
        fits = entry_digest(&entry) == header.entry && entry.now_ms == header.now_ms;
    })?;
    Ok(fits)
}
