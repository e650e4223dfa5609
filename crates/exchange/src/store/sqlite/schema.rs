//! The tables, version by version.

use base::OrderId;
use clearing::Event;
use rusqlite::Connection;

use super::super::candles;
use super::{access, past, statements, walk};
use crate::store::{Entry, StoreError};

/// Version of the tables: that of [`SCHEMA`] is 1, and each migration makes it one more.
pub(super) const SCHEMA_VERSION: i64 = 1 + MIGRATIONS.len() as i64;

/// What made each later version of the one before. A new store goes the same way.
pub(super) const MIGRATIONS: [Migration; 7] = [
    Migration {
        make: |connection| Ok(connection.execute_batch(access::SCHEMA)?),
        follow: |_, _, _, _| Ok(()),
    },
    Migration {
        make: |connection| Ok(candles::migrate(connection)?),
        follow: |connection, _, _, event| candles::project(connection, event),
    },
    Migration { make: statements::migrate, follow: statements::project },
    Migration {
        make: |connection| {
            candles::migrate_volume(connection)?;
            walk(connection, 0, u64::MAX, &mut |entry| {
                let mut events = entry.events.iter();
                events.try_for_each(|event| candles::project_volume(connection, &entry, event))
            })
        },
        follow: |connection, entry, _, event| candles::project_volume(connection, entry, event),
    },
    Migration {
        make: |connection| Ok(connection.execute_batch(access::QUOTAS)?),
        follow: |_, _, _, _| Ok(()),
    },
    Migration {
        make: |connection| Ok(connection.execute_batch(past::SCHEMA)?),
        follow: |_, _, _, _| Ok(()),
    },
    // Nobody reads the accounts of jobs here; and events say themselves what an order traded. A row
    // under a random key is a page to be written, each time.
    Migration {
        make: |connection| Ok(connection.execute_batch("DROP TABLE jobs; DROP TABLE orders")?),
        follow: |_, _, _, _| Ok(()),
    },
];

/// The version without the tables of orders and jobs.
pub(super) const ORDERS_UNTIL: i64 = 8;

/// What an event is about. One of before that was noted is followed only while there is a row for
/// its ask: on the way to [`ORDERS_UNTIL`].
pub(in crate::store) fn traded(
    connection: &Connection,
    named: &str,
    ask: OrderId,
) -> Result<String, StoreError> {
    if !named.is_empty() {
        return Ok(named.to_owned());
    }
    let find = "SELECT instrument FROM orders WHERE order_id = ?1";
    let row = connection.prepare_cached(find)?.query_row([ask.to_string()], |row| row.get(0));
    Ok(row?)
}

/// A later version's tables.
pub(super) struct Migration {
    /// Makes them, with what they would hold if they had always been there.
    pub make: fn(&Connection) -> Result<(), StoreError>,
    /// Follows an event.
    pub follow: fn(&Connection, &Entry, usize, &Event) -> Result<(), StoreError>,
}

/// Version 1.
pub(super) const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY,
    now_ms INTEGER NOT NULL,
    rules_version INTEGER NOT NULL,
    command TEXT NOT NULL,
    events TEXT NOT NULL
);
CREATE TABLE transfers (
    sequence INTEGER NOT NULL REFERENCES journal,
    position INTEGER NOT NULL,
    transfer TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    from_key TEXT NOT NULL,
    to_key TEXT NOT NULL,
    amount_nanocredits INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (sequence, position)
) WITHOUT ROWID;
CREATE INDEX transfers_from ON transfers (from_key, sequence);
CREATE INDEX transfers_to ON transfers (to_key, sequence);
CREATE TABLE jobs (job TEXT PRIMARY KEY, account TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX jobs_account ON jobs (account);
CREATE TABLE orders (order_id TEXT PRIMARY KEY, instrument TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE trades (
    instrument TEXT NOT NULL,
    sequence INTEGER NOT NULL REFERENCES journal,
    position INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    price_nanocredits_per_tfuel INTEGER NOT NULL,
    quantity INTEGER NOT NULL,
    PRIMARY KEY (instrument, sequence, position)
) WITHOUT ROWID;
CREATE TABLE account_tokens (token TEXT PRIMARY KEY, account TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE machine_tokens (token TEXT PRIMARY KEY, machine TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX machine_tokens_machine ON machine_tokens (machine);
CREATE TABLE join_codes (
    code TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    used_by TEXT
) WITHOUT ROWID;
";
