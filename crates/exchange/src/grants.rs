//! Who may read which blob. Whoever holds it ([`crate::holds`]), and who works with its holder
//! right now: a machine reads what the buyer of a job holds, and what machines of that job before
//! it handed in, for as long as its lease is open; a buyer reads what the machines of its jobs
//! handed in until the job is over. What a task came to is then the buyer's own.
//!
//! So knowing a digest opens nothing, and whatever an account names in a job it could have read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base::{AccountId, Digest, MachineId};

use crate::app::App;
use crate::blobs::{BlobError, BlobReader, BlobStore, BlobWriter};
use crate::core::Core;
use crate::error::ApiError;
use crate::sequencer::unix_ms;

/// How long it is remembered whom somebody works with: a checkpoint is read by the thousand.
/// Who isn't known to may is looked up at once.
const PARTNERS_MS: u64 = 1_000;
/// Of how many it is remembered.
const REMEMBERED: usize = 4_096;

/// Who asks for blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reader {
    /// A client.
    Account(AccountId),
    /// An agent.
    Machine(MachineId),
}

impl Reader {
    /// As the holder of blobs.
    pub fn holder(self) -> String {
        match self {
            Reader::Account(account) => account.to_string(),
            Reader::Machine(machine) => machine.to_string(),
        }
    }
}

/// Whom others work with, as of a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Partners(Mutex<BTreeMap<Reader, Known>>);

/// Since when, and who.
type Known = (Instant, Arc<BTreeSet<String>>);

impl Partners {
    fn recent(&self, reader: Reader) -> Option<Arc<BTreeSet<String>>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, partners) = known.get(&reader)?;
        (at.elapsed() < Duration::from_millis(PARTNERS_MS)).then(|| Arc::clone(partners))
    }

    fn remember(&self, reader: Reader, partners: &Arc<BTreeSet<String>>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(reader, (Instant::now(), Arc::clone(partners)));
    }
}

/// Holders whose blobs somebody may read now.
fn partners(core: &Core, reader: Reader) -> BTreeSet<String> {
    let state = &core.state;
    let mut found = BTreeSet::new();
    match reader {
        Reader::Account(account) => {
            for job in state.account_jobs(account).filter(|job| !job.is_over()) {
                found.extend(state.job_leases(job.job).map(|lease| lease.machine.to_string()));
            }
        }
        Reader::Machine(machine) => {
            for lease in state.machine_open_leases(machine) {
                found.extend(state.job(lease.job).map(|job| job.account.to_string()));
                let before = state.job_leases(lease.job).map(|lease| lease.machine.to_string());
                found.extend(before);
            }
        }
    }
    found
}

/// The store as one reader sees it: what it may not read is not there.
pub(crate) struct Granted {
    app: Arc<App>,
    reader: Reader,
    partners: Arc<BTreeSet<String>>,
}

impl Granted {
    /// For somebody, who works with whom he works with now or did a moment ago.
    pub async fn of(app: &Arc<App>, reader: Reader) -> Result<Self, ApiError> {
        let partners = match app.partners.recent(reader) {
            Some(partners) => partners,
            None => Granted::look(app, reader).await?,
        };
        Ok(Granted { app: Arc::clone(app), reader, partners })
    }

    /// The same, with a fresh look.
    pub async fn now(app: &Arc<App>, reader: Reader) -> Result<Self, ApiError> {
        let partners = Granted::look(app, reader).await?;
        Ok(Granted { app: Arc::clone(app), reader, partners })
    }

    async fn look(app: &Arc<App>, reader: Reader) -> Result<Arc<BTreeSet<String>>, ApiError> {
        let found = app.sequencer.read(move |core| partners(core, reader)).await?;
        let found = Arc::new(found);
        app.partners.remember(reader, &found);
        Ok(found)
    }

    fn may(&self, digest: &Digest) -> Result<bool, BlobError> {
        let held = self.app.holds.is_held(digest, &self.reader.holder(), &self.partners, unix_ms());
        held.map_err(|error| {
            tracing::error!(?error, "who holds a blob is unknown");
            BlobError::Holds
        })
    }
}

impl BlobStore for Granted {
    fn begin(&self) -> Result<Box<dyn BlobWriter>, BlobError> {
        self.app.blobs.begin()
    }

    fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BlobError> {
        if self.may(digest)? { self.app.blobs.get(digest) } else { Ok(None) }
    }

    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
        if self.may(digest)? { self.app.blobs.open(digest) } else { Ok(None) }
    }

    fn length(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        // Most that is asked for is lacking, and a file that isn't there is found sooner.
        match self.app.blobs.length(digest)? {
            Some(length) if self.may(digest)? => Ok(Some(length)),
            _ => Ok(None),
        }
    }

    fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        self.app.blobs.remove(digest)
    }
}
