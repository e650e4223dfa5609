//! The data directory: all that outlives the agent's process.
//!
//! | path | what |
//! |---|---|
//! | `lock` | held while an agent runs: two agents with one key would contradict each other |
//! | `key` | the machine's Ed25519 secret, 64 hex digits, 0600 |
//! | `enrolment.json` | with which exchange, as which machine, the blob token, 0600 |
//! | `attempts/ATTEMPT.json` | the last receipt of a live attempt, written before it is signed |
//! | `artefacts/` | compiled modules (the runtime's) |
//! | `blobs/` | downloaded modules and inputs by digest; may be deleted at any time |

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base::{AccountId, AttemptId, ExchangeId, MachineId};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use wire::Receipt;

use crate::ProviderError;
use crate::durable;

/// How often, and how far apart, the lock is tried before another agent is believed to be there.
const LOCK_TRIES: u32 = 60;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// An open data directory, locked against a second agent.
pub(crate) struct State {
    root: PathBuf,
    /// Released by the operating system however the process ends.
    _lock: File,
}

/// Where this machine is enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enrolment {
    /// Of the exchange, without a trailing slash.
    pub url: String,
    pub exchange: ExchangeId,
    pub machine: MachineId,
    pub account: AccountId,
    /// For the blob endpoints.
    pub token: String,
    /// The authorities to trust, instead of this computer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl State {
    pub(crate) fn open(root: &Path) -> Result<Self, ProviderError> {
        for directory in ["", "attempts", "artefacts", "blobs"] {
            let path = root.join(directory);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| ProviderError::Disk { verb: "create", path, source })?;
        }
        let path = root.join("lock");
        let disk = |source| ProviderError::Disk { verb: "lock", path: path.clone(), source };
        let lock = File::create(&path).map_err(disk)?;
        // An agent that was killed while it started a worker leaves the lock, for a moment, to a
        // process that has not yet become that worker.
        for _ in 0..LOCK_TRIES {
            match lock.try_lock() {
                Ok(()) => return Ok(State { root: root.to_owned(), _lock: lock }),
                Err(TryLockError::WouldBlock) => std::thread::park_timeout(LOCK_PAUSE),
                Err(TryLockError::Error(source)) => return Err(disk(source)),
            }
        }
        Err(ProviderError::InUse { data: root.to_owned() })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn artefacts(&self) -> PathBuf {
        self.root.join("artefacts")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The machine's key, made on first use.
    pub(crate) fn key(&self) -> Result<SigningKey, ProviderError> {
        let path = self.root.join("key");
        if let Some(text) = read_optional(&path)? {
            return wire::unhex::<32>(text.trim())
                .map(|secret| SigningKey::from_bytes(&secret))
                .ok_or_else(|| ProviderError::DamagedState {
                    path,
                    problem: "expected 64 hex digits".to_owned(),
                });
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| ProviderError::System {
            what: "give random bytes for a key",
            source: io::Error::other(error.to_string()),
        })?;
        self.write(&path, wire::hex(&secret).as_bytes())?;
        Ok(SigningKey::from_bytes(&secret))
    }

    pub(crate) fn enrolment(&self) -> Result<Option<Enrolment>, ProviderError> {
        let path = self.root.join("enrolment.json");
        read_optional(&path)?.map(|text| parse(&path, &text)).transpose()
    }

    pub(crate) fn save_enrolment(&self, enrolment: &Enrolment) -> Result<(), ProviderError> {
        self.write(&self.root.join("enrolment.json"), &json(enrolment))
    }

    /// The last receipt that was about to be signed for an attempt.
    pub(crate) fn receipt(&self, attempt: AttemptId) -> Result<Option<Receipt>, ProviderError> {
        let path = self.receipt_path(attempt);
        read_optional(&path)?.map(|text| parse(&path, &text)).transpose()
    }

    /// To be called before the receipt is signed.
    pub(crate) fn save_receipt(&self, receipt: &Receipt) -> Result<(), ProviderError> {
        self.write(&self.receipt_path(receipt.attempt), &json(receipt))
    }

    pub(crate) fn forget_receipt(&self, attempt: AttemptId) {
        // One left behind does no harm: it is compared with what the exchange accepted.
        let _ = fs::remove_file(self.receipt_path(attempt));
    }

    /// The attempts of which there is a receipt: what to tidy after a restart.
    pub(crate) fn receipted_attempts(&self) -> Vec<AttemptId> {
        let Ok(entries) = fs::read_dir(self.root.join("attempts")) else { return Vec::new() };
        entries
            .filter_map(|entry| {
                entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.parse().ok()
            })
            .collect()
    }

    /// For a full disk: gives up what can be downloaded again.
    pub(crate) fn free_space(&self) {
        let Ok(entries) = fs::read_dir(self.blobs()) else { return };
        for entry in entries.flatten() {
            // What can't be removed frees nothing.
            let _ = fs::remove_file(entry.path());
        }
    }

    fn receipt_path(&self, attempt: AttemptId) -> PathBuf {
        self.root.join("attempts").join(format!("{attempt}.json"))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), ProviderError> {
        durable::replace(path, bytes).map_err(|source| ProviderError::Disk {
            verb: "write",
            path: path.to_owned(),
            source,
        })
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("plain structs of strings and numbers")
}

fn read_optional(path: &Path) -> Result<Option<String>, ProviderError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ProviderError::Disk { verb: "read", path: path.to_owned(), source }),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, ProviderError> {
    serde_json::from_str(text).map_err(|error| ProviderError::DamagedState {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        assert_eq!(state.key().unwrap().to_bytes(), state.key().unwrap().to_bytes());
        fs::write(dir.path().join("key"), "zz").unwrap();
        assert!(matches!(state.key(), Err(ProviderError::DamagedState { .. })));
    }

    #[test]
    fn a_second_agent_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let first = State::open(dir.path()).unwrap();
        assert!(matches!(State::open(dir.path()), Err(ProviderError::InUse { .. })));
        drop(first);
        assert!(State::open(dir.path()).is_ok());
    }
}
