//! The proof that no money was made or lost: every balance is added up anew from the transfers,
//! every state folded anew from the journal, and both are compared with what the exchange holds.
//!
//! It works on a running exchange (`GET /v1/audit`) and on a database without one: that of an
//! exchange which was stopped, or a backup. Such a database is opened for reading only, and read
//! as of one moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base::{Digest, ExchangeId};
use clearing::State;
use wire::LedgerAudit;

use crate::DATABASE_FILE;
use crate::core::{fold, fold_from_snapshot};
use crate::store::{SqliteStore, StoreError, StoreReader};

/// A database could not be audited.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is none.
    #[error("{path} holds no exchange: name a data directory, a backup, or its {DATABASE_FILE}")]
    NoExchange {
        /// Where.
        path: PathBuf,
    },
    /// It can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an exchange holds, as of one journal entry.
pub(crate) struct Held {
    sequence: u64,
    digest: Digest,
    balances: Vec<(String, i64, bool)>,
}

impl Held {
    /// Of a state after an entry, with its digest.
    pub fn of(state: &State, sequence: u64, digest: Digest) -> Self {
        let balances = state.ledger().balances();
        let balances = balances
            .map(|(key, balance)| (key.to_string(), balance, key.may_be_negative()))
            .collect();
        Held { sequence, digest, balances }
    }

    /// The journal entry.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Compares it with what the transfers add up to and with what the journal folds to.
    pub fn compare(
        self,
        transfers: u64,
        added_up: Vec<(String, i64)>,
        replayed_digest: Digest,
    ) -> LedgerAudit {
        let mut added_up: BTreeMap<String, i64> = added_up.into_iter().collect();
        let (mut mismatched_accounts, mut negative_accounts) = (Vec::new(), Vec::new());
        let mut sum = 0_i128;
        for (key, balance, may_be_negative) in self.balances {
            let found = added_up.remove(&key).unwrap_or(0);
            sum += i128::from(found);
            if found < 0 && !may_be_negative {
                negative_accounts.push(key.clone());
            }
            if found != balance {
                mismatched_accounts.push(key);
            }
        }
        // Accounts that only the table knows. Memory keeps none that holds nothing.
        for (key, found) in added_up.into_iter().filter(|(_, found)| *found != 0) {
            sum += i128::from(found);
            mismatched_accounts.push(key);
        }
        LedgerAudit {
            sum_nanocredits: i64::try_from(sum).unwrap_or(i64::MAX),
            mismatched_accounts,
            negative_accounts,
            transfers,
            journal_sequence: self.sequence,
            state_digest: self.digest,
            replayed_digest,
        }
    }
}

/// Audits the exchange in a data directory or a backup, or a database by itself. What it holds
/// is what it would start with: the newest state snapshot, if there is one, and the journal
/// behind it.
pub fn audit(path: &Path) -> Result<LedgerAudit, AuditError> {
    let (database, directory) = match path.is_dir() {
        true => (path.join(DATABASE_FILE), Some(path)),
        false => (path.to_owned(), None),
    };
    if !database.is_file() {
        return Err(AuditError::NoExchange { path: path.to_owned() });
    }
    let (exchange, mut reader) = SqliteStore::read_only(&database)?;
    Ok(of(exchange, reader.as_mut(), directory)?)
}

fn of(
    exchange: ExchangeId,
    reader: &mut dyn StoreReader,
    directory: Option<&Path>,
) -> Result<LedgerAudit, StoreError> {
    let held = fold_from_snapshot(directory, exchange, reader)?;
    let held = Held::of(&held.state, held.sequence, held.state.digest());
    let (transfers, added_up) = reader.balances(held.sequence())?;
    let replayed_digest = fold(reader, held.sequence())?.digest();
    Ok(held.compare(transfers, added_up, replayed_digest))
}
