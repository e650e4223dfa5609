//! SQLite as the store. WAL with `synchronous=FULL`: a commit that was answered survives a power
//! cut. Every transaction that may write begins with `BEGIN IMMEDIATE`, since a deferred one
//! that reads first can't be upgraded once another wrote.

mod access;
mod past;
mod schema;
mod statements;

use std::path::{Path, PathBuf};

use base::{AccountId, Digest, ExchangeId, MachineId};
use clearing::fixed::FixedFlow;
use clearing::{Event, TransferReason};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use wire::{CandleView, OperatorAct, Statement, TokenView, TradeView, TransferView};

use self::schema::{MIGRATIONS, ORDERS_UNTIL, SCHEMA, SCHEMA_VERSION};
use super::access::{Access, Login, Scopes, TokenKept};
use super::candles;
use super::{
    CredentialChange, Entry, JoinCodeState, NewReader, Past, PastRow, Place, Principal,
    StatementPlace, Store, StoreError, StoreReader,
};
use crate::sequencer::unix_ms;

pub(super) use self::schema::traded;

/// The store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    exchange: ExchangeId,
}

impl SqliteStore {
    /// Opens the database at `path`, or makes it, with `fresh` as the id of a new exchange.
    pub fn open(path: &Path, fresh: ExchangeId) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        configure(&connection)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > SCHEMA_VERSION {
            return Err(StoreError::NewerSchema { found, known: SCHEMA_VERSION });
        }
        if found < SCHEMA_VERSION {
            let transaction = connection.transaction()?;
            if found == 0 {
                transaction.execute_batch(SCHEMA)?;
                transaction.execute(
                    "INSERT INTO meta (key, value) VALUES ('exchange', ?1)",
                    [fresh.to_string()],
                )?;
            }
            for migration in &MIGRATIONS[(found.max(1) - 1) as usize..] {
                (migration.make)(&transaction)?;
            }
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            transaction.commit()?;
        }
        let exchange = exchange(&connection)?;
        Ok(SqliteStore { connection, path: path.to_owned(), exchange })
    }

    /// A reader of the database at `path` as it is at one moment, and whose it is. Nothing is
    /// written, so a database of an older program stays one: what it has had since schema 1 may
    /// be read (journal, transfers).
    pub(crate) fn read_only(path: &Path) -> Result<(ExchangeId, Box<dyn StoreReader>), StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        configure(&connection)?;
        connection.execute_batch("BEGIN")?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > SCHEMA_VERSION {
            return Err(StoreError::NewerSchema { found, known: SCHEMA_VERSION });
        }
        let exchange = exchange(&connection)?;
        Ok((exchange, Box::new(SqliteReader { connection })))
    }

    /// Copies the database at `path`, which another process may be writing, as it is at one
    /// moment, to the new file `to`.
    pub fn copy(path: &Path, to: &Path) -> Result<(), StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        configure(&connection)?;
        connection.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
        Ok(())
    }

    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<usize, StoreError> {
        Ok(self.connection.prepare_cached(sql)?.execute(parameters)?)
    }

    /// Appends to the tables that a version had.
    fn append_as_of(&mut self, entry: &Entry, version: i64) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO journal VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                entry.sequence as i64,
                entry.now_ms,
                entry.rules_version,
                serde_json::to_string(&entry.command).map_err(StoreError::Encode)?,
                serde_json::to_string(&entry.events).map_err(StoreError::Encode)?,
            ],
        )?;
        for (position, event) in entry.events.iter().enumerate() {
            self.project(entry, position, event, version)?;
            for migration in &MIGRATIONS[..version as usize - 1] {
                (migration.follow)(&self.connection, entry, position, event)?;
            }
        }
        Ok(())
    }

    /// What REST reads of an event.
    fn project(
        &self,
        entry: &Entry,
        position: usize,
        event: &Event,
        version: i64,
    ) -> Result<(), StoreError> {
        match event {
            Event::Transferred { transfer, from, to, amount_nanocredits, reason } => self.execute(
                "INSERT INTO transfers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    entry.sequence as i64,
                    position as i64,
                    transfer.to_string(),
                    entry.now_ms,
                    from.to_string(),
                    to.to_string(),
                    amount_nanocredits,
                    reason_text(*reason),
                ],
            )?,
            Event::JobSubmitted { job, account, .. } if version < ORDERS_UNTIL => self.execute(
                "INSERT INTO jobs VALUES (?1, ?2)",
                [job.to_string(), account.to_string()],
            )?,
            Event::AskPlaced { order, instrument, .. }
            | Event::BidPlaced { order, instrument, .. }
                if version < ORDERS_UNTIL =>
            {
                self.execute(
                    "INSERT INTO orders VALUES (?1, ?2)",
                    [&order.to_string(), instrument],
                )?
            }
            Event::Filled { ask, instrument, price_nanocredits_per_tfuel, at_ms, .. } => self
                .execute(
                    "INSERT INTO trades VALUES (?1, ?2, ?3, ?4, ?5, 1)",
                    params![
                        traded(&self.connection, instrument, *ask)?,
                        entry.sequence as i64,
                        position as i64,
                        at_ms,
                        price_nanocredits_per_tfuel
                    ],
                )?,
            _ => 0,
        };
        Ok(())
    }
}

impl Store for SqliteStore {
    fn exchange(&self) -> ExchangeId {
        self.exchange
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.execute("BEGIN IMMEDIATE", []).map(drop)
    }

    fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        self.append_as_of(entry, SCHEMA_VERSION)
    }

    fn join_code(
        &mut self,
        code: &Digest,
        machine: MachineId,
        now_ms: i64,
    ) -> Result<JoinCodeState, StoreError> {
        let row: Option<(String, i64, Option<String>)> = self
            .connection
            .prepare_cached(
                "SELECT account, expires_at_ms, used_by FROM join_codes WHERE code = ?1",
            )?
            .query_row([code.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((account, expires_at_ms, used_by)) = row else {
            return Ok(JoinCodeState::Unknown);
        };
        if used_by.is_some_and(|used_by| used_by != machine.to_string()) {
            return Ok(JoinCodeState::Used);
        }
        if now_ms >= expires_at_ms {
            return Ok(JoinCodeState::Expired);
        }
        Ok(JoinCodeState::Valid(parse(account, "an account")?))
    }

    fn keep_past(&mut self, rows: &[PastRow]) -> Result<(), StoreError> {
        rows.iter().try_for_each(|row| past::keep(&self.connection, row))
    }

    fn past(&mut self, past: Past, id: &str) -> Result<Option<String>, StoreError> {
        past::find(&self.connection, past, id)
    }

    fn has_past(&mut self) -> Result<bool, StoreError> {
        Ok(!past::is_empty(&self.connection)?)
    }

    fn change(&mut self, change: &CredentialChange) -> Result<(), StoreError> {
        match change {
            CredentialChange::AddAccountToken { token, account } => {
                return self.change(&CredentialChange::AddToken(TokenKept {
                    digest: *token,
                    account: *account,
                    name: "first".to_owned(),
                    scopes: Scopes::ALL,
                    is_session: false,
                    created_at_ms: unix_ms(),
                    expires_at_ms: None,
                }));
            }
            CredentialChange::Several(changes) => {
                return changes.iter().try_for_each(|change| self.change(change));
            }
            CredentialChange::AddJoinCode { code, account, expires_at_ms } => self.execute(
                "INSERT INTO join_codes VALUES (?1, ?2, ?3, NULL)",
                params![code.to_string(), account.to_string(), expires_at_ms],
            )?,
            CredentialChange::UseJoinCode { code, machine, token } => {
                self.execute(
                    "UPDATE join_codes SET used_by = ?2 WHERE code = ?1",
                    [code.to_string(), machine.to_string()],
                )?;
                self.change(&CredentialChange::RevokeMachine { machine: *machine })?;
                self.execute(
                    "INSERT INTO machine_tokens VALUES (?1, ?2)",
                    [token.to_string(), machine.to_string()],
                )?
            }
            CredentialChange::RevokeMachine { machine } => self
                .execute("DELETE FROM machine_tokens WHERE machine = ?1", [machine.to_string()])?,
            other => return access::change(&self.connection, other),
        };
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.execute("COMMIT", []).map(drop)
    }

    fn rollback(&mut self) {
        // A failed commit may have rolled back by itself already.
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK", [])
        {
            tracing::error!(%error, "rollback failed");
        }
        // On a full disk this lets the next transaction write over what the log holds already.
        // Best effort: it may itself lack space.
        let moved = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = moved {
            tracing::warn!(%error, "the log could not be moved into the database");
        }
    }

    fn reader_maker(&self) -> NewReader {
        let path = self.path.clone();
        Box::new(move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags)?;
            configure(&connection)?;
            Ok(Box::new(SqliteReader { connection }))
        })
    }
}

struct SqliteReader {
    connection: Connection,
}

impl StoreReader for SqliteReader {
    fn entries(
        &mut self,
        after: u64,
        through: u64,
        each: &mut dyn FnMut(Entry),
    ) -> Result<(), StoreError> {
        walk(&self.connection, after, through, &mut |entry| {
            each(entry);
            Ok(())
        })
    }

    fn principal(&mut self, token: &Digest, now_ms: i64) -> Result<Option<Principal>, StoreError> {
        if let Some(account) = access::principal(&self.connection, token, now_ms)? {
            return Ok(Some(account));
        }
        let machine: Option<String> = self
            .connection
            .prepare_cached("SELECT machine FROM machine_tokens WHERE token = ?1")?
            .query_row([token.to_string()], |row| row.get(0))
            .optional()?;
        let machine = machine.map(|machine| parse(machine, "a machine")).transpose()?;
        Ok(machine.map(Principal::Machine))
    }

    fn login(&mut self, login: &str) -> Result<Option<Login>, StoreError> {
        access::login(&self.connection, login)
    }

    fn tokens(&mut self, account: AccountId) -> Result<Vec<TokenView>, StoreError> {
        access::tokens(&self.connection, account)
    }

    fn access(&mut self, account: AccountId) -> Result<Access, StoreError> {
        access::access(&self.connection, account)
    }

    fn quota(&mut self, account: AccountId) -> Result<Option<u64>, StoreError> {
        access::quota(&self.connection, account)
    }

    fn spoken_of(&mut self) -> Result<Vec<(AccountId, Access)>, StoreError> {
        access::spoken_of(&self.connection)
    }

    fn acts(&mut self, before: u64, limit: u32) -> Result<Vec<OperatorAct>, StoreError> {
        access::acts(&self.connection, before, limit)
    }

    fn is_blocked(&mut self, digest: &Digest) -> Result<bool, StoreError> {
        access::is_blocked(&self.connection, digest)
    }

    fn transfers(
        &mut self,
        account: AccountId,
        before: Place,
        limit: u32,
    ) -> Result<Vec<(Place, TransferView)>, StoreError> {
        statements::transfers(&self.connection, account, before, limit)
    }

    fn statement(
        &mut self,
        account: AccountId,
        from: StatementPlace,
        to_ms: i64,
        limit: u32,
    ) -> Result<(Statement, Option<StatementPlace>), StoreError> {
        statements::statement(&self.connection, account, from, to_ms, limit)
    }

    fn trades(
        &mut self,
        instrument: &str,
        before: Place,
        limit: u32,
    ) -> Result<Vec<(Place, TradeView)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT at_ms, price_nanocredits_per_tfuel, quantity, sequence, position FROM trades
             WHERE instrument = ?1 AND (sequence, position) < (?3, ?4)
             ORDER BY sequence DESC, position DESC LIMIT ?2",
        )?;
        let given = params![instrument, limit, before.0 as i64, before.1];
        let rows = statement.query_map(given, |row| {
            let view = TradeView {
                at_ms: row.get(0)?,
                price_nanocredits_per_tfuel: row.get(1)?,
                quantity: row.get(2)?,
            };
            Ok(((row.get::<_, i64>(3)? as u64, row.get(4)?), view))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn candles(
        &mut self,
        instrument: &str,
        interval_ms: i64,
        from_ms: i64,
        to_ms: i64,
        limit: u32,
    ) -> Result<Vec<CandleView>, StoreError> {
        candles::read(&self.connection, instrument, interval_ms, from_ms, to_ms, limit)
    }

    fn past(&mut self, past: Past, id: &str) -> Result<Option<String>, StoreError> {
        past::find(&self.connection, past, id)
    }

    fn past_list(
        &mut self,
        past: Past,
        owner: Option<AccountId>,
        before: Option<(i64, String)>,
        limit: usize,
    ) -> Result<Vec<(i64, String, String)>, StoreError> {
        past::list(&self.connection, past, owner, before, limit)
    }

    fn balances(&mut self, through: u64) -> Result<(u64, Vec<(String, i64)>), StoreError> {
        let through = i64::try_from(through).unwrap_or(i64::MAX);
        let count: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM transfers WHERE sequence <= ?1")?
            .query_row([through], |row| row.get(0))?;
        let mut statement = self.connection.prepare_cached(
            "SELECT key, sum(amount) FROM (
                 SELECT from_key AS key, -amount_nanocredits AS amount FROM transfers
                 WHERE sequence <= ?1
                 UNION ALL
                 SELECT to_key, amount_nanocredits FROM transfers WHERE sequence <= ?1
             ) GROUP BY key ORDER BY key",
        )?;
        let rows = statement.query_map([through], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((count as u64, rows.collect::<Result<_, _>>()?))
    }
}

fn exchange(connection: &Connection) -> Result<ExchangeId, StoreError> {
    let found =
        connection
            .query_row("SELECT value FROM meta WHERE key = 'exchange'", [], |row| row.get(0))?;
    parse(found, "the exchange's id")
}

/// Hands over the journal's entries behind `after`, up to and with `through`, in order.
fn walk(
    connection: &Connection,
    after: u64,
    through: u64,
    each: &mut dyn FnMut(Entry) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, now_ms, rules_version, command, events FROM journal
         WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence",
    )?;
    let bound = |sequence: u64| i64::try_from(sequence).unwrap_or(i64::MAX);
    let mut rows = statement.query([bound(after), bound(through)])?;
    while let Some(row) = rows.next()? {
        let sequence = row.get::<_, i64>(0)? as u64;
        let unreadable = |source| StoreError::Entry { sequence, source };
        let (command, events) = (row.get_ref(3)?, row.get_ref(4)?);
        let text = |value: rusqlite::types::ValueRef<'_>| -> Result<Vec<u8>, StoreError> {
            Ok(value.as_bytes().map_err(rusqlite::Error::from)?.to_owned())
        };
        each(Entry {
            sequence,
            now_ms: row.get(1)?,
            rules_version: row.get(2)?,
            command: serde_json::from_slice(&text(command)?).map_err(unreadable)?,
            events: serde_json::from_slice(&text(events)?).map_err(unreadable)?,
        })?;
    }
    Ok(())
}

/// Settings that hold for each connection.
fn configure(connection: &Connection) -> Result<(), StoreError> {
    // Only another process can hold a lock for long, and the data directory has one owner.
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    // No temporary files: their disk may be full when ours is not.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

fn reason_text(reason: TransferReason) -> &'static str {
    match reason {
        TransferReason::Deposit => "deposit",
        TransferReason::Hold => "hold",
        TransferReason::Settlement { .. } => "settlement",
        TransferReason::Release => "release",
        TransferReason::BuyerFee { .. } | TransferReason::SellerFee { .. } => "fee",
        TransferReason::Payment { .. } => "payment",
        TransferReason::Fixed { flow, .. } => match flow {
            FixedFlow::Prepayment => "hold",
            FixedFlow::Settlement => "settlement",
            FixedFlow::BuyerFee | FixedFlow::SellerFee => "fee",
            FixedFlow::Refund => "release",
            FixedFlow::Bond => "bond",
            FixedFlow::Compensation => "compensation",
            FixedFlow::BondReturn => "bond_return",
        },
    }
}

fn parse<T: std::str::FromStr>(text: String, what: &'static str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged { what, value: text })
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let full = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => {
                // The index beside the log grows by a call of its own, whose failure has a
                // code of its own.
                failure.code == ErrorCode::DiskFull
                    || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
            }
            _ => false,
        };
        if full { StoreError::Full } else { StoreError::Database(error) }
    }
}

#[cfg(test)]
mod tests;
