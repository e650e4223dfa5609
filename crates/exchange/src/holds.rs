//! Who holds which blob: whoever uploaded it holds it, and so does an account for whose task a
//! machine handed it in. A hold is the right to read the blob, counts toward its holder's quota,
//! and keeps the blob from being collected until nobody wanted it for a while.
//!
//! Beside the journal, in a database of its own: checkpoints bring blobs by the thousand, and
//! what a power cut takes of this is made good by uploading again. Blobs of before there were
//! holds are held by [`EVERYONE`].

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use base::Digest;
use rusqlite::{Connection, OptionalExtension, params};

use crate::store::StoreError;

/// Of blobs that anybody with a token may read.
pub(crate) const EVERYONE: &str = "*";

/// Of blobs that somebody sent who had no room for them.
pub(crate) const NOBODY: &str = "-";

/// A hold that is asked for again is written again only after so long.
const FRESH_MS: i64 = 3_600_000;

const SCHEMA: &str = "
CREATE TABLE holds (
    digest BLOB NOT NULL,
    holder TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    wanted_ms INTEGER NOT NULL,
    PRIMARY KEY (digest, holder)
) WITHOUT ROWID;
CREATE INDEX holds_wanted ON holds (wanted_ms);
CREATE TABLE held (holder TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER hold_made AFTER INSERT ON holds BEGIN
    INSERT INTO held VALUES (new.holder, new.bytes)
        ON CONFLICT (holder) DO UPDATE SET bytes = bytes + new.bytes;
END;
CREATE TRIGGER hold_ended AFTER DELETE ON holds BEGIN
    UPDATE held SET bytes = bytes - old.bytes WHERE holder = old.holder;
END;
PRAGMA user_version = 1;
";

/// See the module.
#[derive(Debug)]
pub(crate) struct Holds {
    connection: Mutex<Connection>,
    /// Read by whoever stores a blob, until it is held; written by whoever deletes one.
    moving: RwLock<()>,
}

/// One that nobody wanted for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stale {
    pub digest: Digest,
    pub holder: String,
}

impl Holds {
    /// Opens the table, or makes it; then `there` says which blobs are there already.
    pub fn open(
        path: &Path,
        now_ms: i64,
        there: impl FnOnce() -> Vec<(Digest, u64)>,
    ) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            let transaction = connection.transaction()?;
            transaction.execute_batch(SCHEMA)?;
            for (digest, bytes) in there() {
                add(&transaction, &digest, EVERYONE, bytes, now_ms)?;
            }
            transaction.commit()?;
        }
        Ok(Holds { connection: Mutex::new(connection), moving: RwLock::new(()) })
    }

    /// While this is kept, no blob is deleted.
    pub fn storing(&self) -> RwLockReadGuard<'_, ()> {
        self.moving.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// While this is kept, no blob is stored.
    pub fn deleting(&self) -> RwLockWriteGuard<'_, ()> {
        self.moving.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody holds a blob, and wants it now.
    pub fn hold(
        &self,
        holder: &str,
        blobs: &[(Digest, u64)],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for (digest, bytes) in blobs {
            add(&transaction, digest, holder, *bytes, now_ms)?;
        }
        Ok(transaction.commit()?)
    }

    /// What a holder holds, in bytes.
    pub fn held_bytes(&self, holder: &str) -> Result<u64, StoreError> {
        let held: Option<i64> = self
            .connection()
            .prepare_cached("SELECT bytes FROM held WHERE holder = ?1")?
            .query_row([holder], |row| row.get(0))
            .optional()?;
        Ok(held.unwrap_or(0).max(0) as u64)
    }

    /// Whether one of these holds the blob. The first is who asks: a hold of its own is wanted
    /// now.
    pub fn is_held(
        &self,
        digest: &Digest,
        asks: &str,
        others: &BTreeSet<String>,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT holder, wanted_ms FROM holds WHERE digest = ?1")?;
        let mut rows = statement.query([digest.0.as_slice()])?;
        let mut is_held = false;
        while let Some(row) = rows.next()? {
            let (holder, wanted_ms): (String, i64) = (row.get(0)?, row.get(1)?);
            if (holder == asks || holder == EVERYONE) && wanted_ms < now_ms - FRESH_MS {
                connection
                    .prepare_cached(
                        "UPDATE holds SET wanted_ms = ?3 WHERE digest = ?1 AND holder = ?2",
                    )?
                    .execute(params![digest.0.as_slice(), holder, now_ms])?;
            }
            is_held |= holder == asks || holder == EVERYONE || others.contains(&holder);
        }
        Ok(is_held)
    }

    /// Holds that nobody wanted since, the oldest first, after one that was seen.
    pub fn stale(
        &self,
        accounts_since_ms: i64,
        machines_since_ms: i64,
        limit: u32,
    ) -> Result<Vec<Stale>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT digest, holder FROM holds
             WHERE wanted_ms < max(?1, ?2)
               AND wanted_ms < CASE WHEN holder GLOB 'mach_*' THEN ?2 ELSE ?1 END
             ORDER BY wanted_ms LIMIT ?3",
        )?;
        let rows = statement
            .query_map(params![accounts_since_ms, machines_since_ms, limit], |row| {
                Ok((row.get::<_, [u8; 32]>(0)?, row.get(1)?))
            })?;
        let stale =
            rows.map(|row| row.map(|(digest, holder)| Stale { digest: Digest(digest), holder }));
        Ok(stale.collect::<Result<_, _>>()?)
    }

    /// It is needed after all: wanted now.
    pub fn renew(&self, stale: &Stale, now_ms: i64) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached("UPDATE holds SET wanted_ms = ?3 WHERE digest = ?1 AND holder = ?2")?
            .execute(params![stale.digest.0.as_slice(), stale.holder, now_ms])?;
        Ok(())
    }

    /// Ends a hold, unless it was wanted meanwhile. Whether nobody holds the blob any more.
    pub fn release(&self, stale: &Stale, since_ms: i64) -> Result<bool, StoreError> {
        let connection = self.connection();
        connection
            .prepare_cached(
                "DELETE FROM holds WHERE digest = ?1 AND holder = ?2 AND wanted_ms < ?3",
            )?
            .execute(params![stale.digest.0.as_slice(), stale.holder, since_ms])?;
        is_free(&connection, &stale.digest)
    }

    /// Ends all holds of a blob that was taken down.
    pub fn forget(&self, digest: &Digest) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached("DELETE FROM holds WHERE digest = ?1")?
            .execute([digest.0.as_slice()])?;
        Ok(())
    }
}

fn add(
    connection: &Connection,
    digest: &Digest,
    holder: &str,
    bytes: u64,
    now_ms: i64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO holds VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET wanted_ms = max(wanted_ms, excluded.wanted_ms)",
        )?
        .execute(params![digest.0.as_slice(), holder, bytes as i64, now_ms])?;
    Ok(())
}

fn is_free(connection: &Connection, digest: &Digest) -> Result<bool, StoreError> {
    let held = connection
        .prepare_cached("SELECT 1 FROM holds WHERE digest = ?1 LIMIT 1")?
        .exists([digest.0.as_slice()])?;
    Ok(!held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_add_up_and_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("holds");
        let [old, one, two] = [b"old", b"one", b"two"].map(|content| Digest::of(content));
        let holds = Holds::open(&path, 0, || vec![(old, 7)]).unwrap();
        holds.hold("acct_a", &[(one, 10), (two, 20)], 1_000).unwrap();
        holds.hold("acct_a", &[(one, 10)], 2_000).unwrap();
        holds.hold("mach_b", &[(one, 10)], 3_000).unwrap();
        drop(holds);
        let holds = Holds::open(&path, 9, || panic!("it is there")).unwrap();
        let held = |holder| holds.held_bytes(holder).unwrap();
        assert_eq!((held("acct_a"), held("mach_b"), held("acct_c")), (30, 10, 0));
        let others = BTreeSet::from(["mach_b".to_owned()]);
        let reads = |digest, who: &str, others| holds.is_held(digest, who, others, 3_000).unwrap();
        let nobody = BTreeSet::new();
        assert!(reads(&two, "acct_a", &nobody));
        assert!(!reads(&two, "acct_c", &others), "a stranger");
        assert!(reads(&one, "acct_c", &others), "whose partner holds it");
        assert!(reads(&old, "acct_c", &nobody), "of before");

        let stale = holds.stale(2_500, 2_500, 10).unwrap();
        let names: Vec<_> = stale.iter().map(|stale| (stale.digest, &*stale.holder)).collect();
        assert_eq!(names, [(old, EVERYONE), (two, "acct_a"), (one, "acct_a")]);
        assert_eq!(holds.stale(2_500, 3_500, 10).unwrap().len(), 4, "machines' end sooner");
        assert!(!holds.release(&stale[2], 2_500).unwrap(), "the machine still holds it");
        assert!(holds.release(&stale[1], 2_500).unwrap());
        assert_eq!(held("acct_a"), 0);
        // Wanted meanwhile, it stays.
        holds.hold(EVERYONE, &[(old, 7)], 2_600).unwrap();
        assert!(!holds.release(&stale[0], 2_500).unwrap());
        holds.forget(&old).unwrap();
        assert!(is_free(&holds.connection(), &old).unwrap());
    }
}
