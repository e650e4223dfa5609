//! Backups of a running exchange, and what brings them back.
//!
//! A backup is a directory: the database as of one moment, every blob that it speaks of, the
//! operator's token, and last a manifest, without which it is none. The database is copied
//! first: what it speaks of was in the store before it was written, and blobs never change. State
//! snapshots are left out, since they can be made anew.
//!
//! Deliberately absent: increments. A second backup is a second directory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use base::{Digest, ExchangeId};
use serde::{Deserialize, Serialize};

use crate::store::{SqliteStore, Store, StoreError};
use crate::{DATABASE_FILE, HOLDS_FILE, OPERATOR_TOKEN_FILE, secrets, sequencer};

const MANIFEST: &str = "backup.json";
const VERSION: u32 = 1;
const BLOBS: &str = "blobs";

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Of this description.
    pub version: u32,
    /// Whose it is.
    pub exchange: ExchangeId,
    /// Its last journal entry.
    pub journal_sequence: u64,
    /// When it was made.
    pub made_at_ms: i64,
    /// How many blobs there are.
    pub blobs: u64,
}

/// A backup could not be made, or not be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("{path} is not empty: name a directory that isn't there yet")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// There is no exchange.
    #[error("{path} holds no exchange: --data names its data directory")]
    NoExchange {
        /// The directory.
        path: PathBuf,
    },
    /// There is no manifest, or it can't be read.
    #[error("{path} is no whole backup: {problem}")]
    NotWhole {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file.
    #[error("can't copy {path}: check that it may be read, and that there is space for it")]
    Copy {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Copies the exchange in `data`, which may be running, to the new directory `to`.
pub fn backup(data: &Path, to: &Path) -> Result<Backup, BackupError> {
    let database = data.join(DATABASE_FILE);
    if !database.is_file() {
        return Err(BackupError::NoExchange { path: data.to_owned() });
    }
    make_empty(to)?;
    let copy = to.join(DATABASE_FILE);
    SqliteStore::copy(&database, &copy)?;
    sync(&copy)?;
    let blobs = copy_blobs(&data.join(BLOBS), &to.join(BLOBS), false)?;
    // After the blobs: what is held of those that came meanwhile is held of nothing.
    let holds = to.join(HOLDS_FILE);
    SqliteStore::copy(&data.join(HOLDS_FILE), &holds)?;
    sync(&holds)?;
    copy_private(&data.join(OPERATOR_TOKEN_FILE), &to.join(OPERATOR_TOKEN_FILE))?;
    let (exchange, journal_sequence) = read_through(&copy)?;
    let made_at_ms = sequencer::unix_ms();
    let made = Backup { version: VERSION, exchange, journal_sequence, made_at_ms, blobs };
    let manifest = to.join(MANIFEST);
    let text = serde_json::to_vec_pretty(&made).unwrap_or_default();
    fs::write(&manifest, text).map_err(at(&manifest))?;
    sync(&manifest)?;
    sync(to)?;
    Ok(made)
}

/// Makes of the backup `from` a data directory `data`, which isn't there yet. Reads the whole
/// journal and checks every blob on the way.
pub fn restore(from: &Path, data: &Path) -> Result<Backup, BackupError> {
    let not_whole = |problem: String| BackupError::NotWhole { path: from.to_owned(), problem };
    let text = fs::read(from.join(MANIFEST))
        .map_err(|error| not_whole(format!("{MANIFEST} can't be read: {error}")))?;
    let made: Backup = serde_json::from_slice(&text)
        .map_err(|error| not_whole(format!("{MANIFEST} can't be read: {error}")))?;
    if made.version != VERSION {
        return Err(not_whole(format!("it has version {}, and {VERSION} is known", made.version)));
    }
    make_empty(data)?;
    let database = data.join(DATABASE_FILE);
    copy(&from.join(DATABASE_FILE), &database)?;
    let blobs = copy_blobs(&from.join(BLOBS), &data.join(BLOBS), true)?;
    if blobs != made.blobs {
        return Err(not_whole(format!("{blobs} of {} blobs are there", made.blobs)));
    }
    // A backup of before there were holds has none.
    if from.join(HOLDS_FILE).exists() {
        copy(&from.join(HOLDS_FILE), &data.join(HOLDS_FILE))?;
    }
    copy_private(&from.join(OPERATOR_TOKEN_FILE), &data.join(OPERATOR_TOKEN_FILE))?;
    let found = read_through(&database)?;
    if found != (made.exchange, made.journal_sequence) {
        return Err(not_whole(format!("its journal ends at {}", found.1)));
    }
    sync(data)?;
    Ok(made)
}

/// Reads every entry of the journal: whose it is, and the last one's sequence.
fn read_through(database: &Path) -> Result<(ExchangeId, u64), BackupError> {
    let store = SqliteStore::open(database, ExchangeId::default())?;
    let mut last = 0;
    let mut reader = store.reader_maker()()?;
    reader.entries(0, u64::MAX, &mut |entry| last = entry.sequence)?;
    Ok((store.exchange(), last))
}

fn copy_blobs(from: &Path, to: &Path, checked: bool) -> Result<u64, BackupError> {
    let mut count = 0;
    fs::create_dir_all(to).map_err(at(to))?;
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let shards = match fs::read_dir(from) {
        Err(error) if missing(&error) => return Ok(0),
        other => other.map_err(at(from))?,
    };
    for shard in shards {
        let shard = shard.map_err(at(from))?;
        let (source, target) = (shard.path(), to.join(shard.file_name()));
        if !source.is_dir() {
            continue;
        }
        for file in fs::read_dir(&source).map_err(at(&source))? {
            let path = file.map_err(at(&source))?.path();
            // What is being uploaded, or was found damaged, has another name.
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(digest) = name.parse::<Digest>() else { continue };
            fs::create_dir_all(&target).map_err(at(&target))?;
            let copied = target.join(name);
            match copy(&path, &copied) {
                // Taken down meanwhile.
                Err(BackupError::Copy { source, .. }) if missing(&source) && !checked => continue,
                other => other?,
            }
            if checked && digest_of(&copied)? != digest {
                let problem = format!("blob {digest} is damaged");
                return Err(BackupError::NotWhole { path: from.to_owned(), problem });
            }
            count += 1;
        }
        if target.is_dir() {
            sync(&target)?;
        }
    }
    sync(to)?;
    Ok(count)
}

fn digest_of(path: &Path) -> Result<Digest, BackupError> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|mut file| io::copy(&mut file, &mut hasher));
    read.map_err(at(path))?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

fn make_empty(path: &Path) -> Result<(), BackupError> {
    fs::create_dir_all(path).map_err(at(path))?;
    match fs::read_dir(path).map_err(at(path))?.next() {
        None => Ok(()),
        Some(_) => Err(BackupError::NotEmpty { path: path.to_owned() }),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::copy(from, to).map_err(at(from))?;
    sync(to)
}

fn copy_private(from: &Path, to: &Path) -> Result<(), BackupError> {
    let token = fs::read(from).map_err(at(from))?;
    secrets::write_private(to, &token).map_err(at(to))
}

fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError + '_ {
    move |source| BackupError::Copy { path: path.to_owned(), source }
}
