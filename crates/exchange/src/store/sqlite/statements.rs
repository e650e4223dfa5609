//! What happened to each account's money: a row per transfer and account that it touched, with
//! what the account had after it. So a statement of any period costs what it shows, however long
//! the account's history is.
//!
//! An account has what is free to use, and what is set aside: for its jobs, for leases for a
//! fixed time, as bonds, and for withdrawals.

use std::collections::BTreeMap;

use base::AccountId;
use clearing::fixed::FixedEvent;
use clearing::{AccountKey, Event};
use rusqlite::{Connection, OptionalExtension, Row, params};
use wire::{Balances, Statement, StatementLine, TransferView};

use super::{parse, walk};
use crate::store::{Entry, Place, StatementPlace, StoreError};

/// Who owns what is set aside, and the rows. Time grows with the journal, so ordering by it first
/// changes nothing and finds a period at once.
const SCHEMA: &str = "
CREATE TABLE machines (machine TEXT PRIMARY KEY, account TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE set_aside (key TEXT PRIMARY KEY, account TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE statement_lines (
    account TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    position INTEGER NOT NULL,
    change_nanocredits INTEGER NOT NULL,
    available_nanocredits INTEGER NOT NULL,
    total_nanocredits INTEGER NOT NULL,
    PRIMARY KEY (account, at_ms, sequence, position)
) WITHOUT ROWID;
DROP INDEX transfers_from;
DROP INDEX transfers_to;
";

/// Makes the tables, and fills them from the journal of an exchange that had none.
pub(super) fn migrate(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch(SCHEMA)?;
    walk(connection, 0, u64::MAX, &mut |entry| {
        for (position, event) in entry.events.iter().enumerate() {
            project(connection, &entry, position, event)?;
        }
        Ok(())
    })
}

/// Follows an event.
pub(super) fn project(
    connection: &Connection,
    entry: &Entry,
    position: usize,
    event: &Event,
) -> Result<(), StoreError> {
    match event {
        Event::MachineEnrolled { machine, owner, .. } => {
            connection
                .prepare_cached("INSERT OR REPLACE INTO machines VALUES (?1, ?2)")?
                .execute([machine.to_string(), owner.to_string()])?;
        }
        Event::JobSubmitted { job, account, .. } => {
            set_aside(connection, AccountKey::Escrow(*job), &account.to_string())?;
        }
        Event::Fixed(FixedEvent::Opened { lease }) => {
            let seller: String = connection
                .prepare_cached("SELECT account FROM machines WHERE machine = ?1")?
                .query_row([lease.machine.to_string()], |row| row.get(0))?;
            let escrow = AccountKey::LeaseEscrow(lease.lease);
            set_aside(connection, escrow, &lease.account.to_string())?;
            set_aside(connection, AccountKey::Bond(lease.lease), &seller)?;
        }
        Event::Transferred { from, to, amount_nanocredits, .. } => {
            // By account: the change of what is available, and of all.
            let mut changes = BTreeMap::<String, (i64, i64)>::new();
            for (key, amount) in [(from, -amount_nanocredits), (to, *amount_nanocredits)] {
                let Some(account) = owner(connection, *key)? else { continue };
                let (available, total) = changes.entry(account).or_default();
                *total += amount;
                if matches!(key, AccountKey::Available(_)) {
                    *available += amount;
                }
            }
            for (account, (available, total)) in changes {
                let before = balances(connection, &account, (i64::MAX, 0, 0))?;
                connection
                    .prepare_cached(
                        "INSERT INTO statement_lines VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    )?
                    .execute(params![
                        account,
                        entry.now_ms,
                        entry.sequence as i64,
                        position as i64,
                        total,
                        before.available_nanocredits + available,
                        before.total_nanocredits + total,
                    ])?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn set_aside(connection: &Connection, key: AccountKey, account: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO set_aside VALUES (?1, ?2)")?
        .execute([&key.to_string(), account])?;
    Ok(())
}

/// Whose money is in a ledger account; the exchange's own and the world's is in no statement.
fn owner(connection: &Connection, key: AccountKey) -> Result<Option<String>, StoreError> {
    match key {
        AccountKey::Available(account)
        | AccountKey::Withheld(account)
        | AccountKey::Outgoing(account) => Ok(Some(account.to_string())),
        AccountKey::Fees | AccountKey::AuditFund | AccountKey::Outside => Ok(None),
        AccountKey::Escrow(_) | AccountKey::LeaseEscrow(_) | AccountKey::Bond(_) => {
            let account = connection
                .prepare_cached("SELECT account FROM set_aside WHERE key = ?1")?
                .query_row([key.to_string()], |row| row.get(0))?;
            Ok(Some(account))
        }
    }
}

/// What an account had before a place.
fn balances(
    connection: &Connection,
    account: &str,
    before: StatementPlace,
) -> Result<Balances, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT available_nanocredits, total_nanocredits FROM statement_lines
             WHERE account = ?1 AND (at_ms, sequence, position) < (?2, ?3, ?4)
             ORDER BY at_ms DESC, sequence DESC, position DESC LIMIT 1",
        )?
        .query_row(params![account, before.0, before.1 as i64, before.2], |row| {
            Ok(Balances { available_nanocredits: row.get(0)?, total_nanocredits: row.get(1)? })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// See [`crate::store::StoreReader::statement`].
pub(super) fn statement(
    connection: &Connection,
    account: AccountId,
    from: StatementPlace,
    to_ms: i64,
    limit: u32,
) -> Result<(Statement, Option<StatementPlace>), StoreError> {
    let key = account.to_string();
    let opening = balances(connection, &key, from)?;
    let mut statement = connection.prepare_cached(
        "SELECT transfer, transfers.at_ms, from_key, to_key, amount_nanocredits, reason,
                sequence, position, change_nanocredits, available_nanocredits, total_nanocredits
         FROM statement_lines CROSS JOIN transfers USING (sequence, position)
         WHERE account = ?1
           AND (statement_lines.at_ms, statement_lines.sequence, statement_lines.position)
               >= (?2, ?3, ?4)
           AND statement_lines.at_ms < ?5
         ORDER BY statement_lines.at_ms, statement_lines.sequence, statement_lines.position
         LIMIT ?6",
    )?;
    let given = params![key, from.0, from.1 as i64, from.2, to_ms, i64::from(limit) + 1];
    let mut rows = statement.query(given)?;
    let (mut lines, mut next) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let TransferView { transfer, at_ms, from, to, amount_nanocredits, reason } = view(row)?;
        if lines.len() == limit as usize {
            next = Some((at_ms, row.get::<_, i64>(6)? as u64, row.get(7)?));
            break;
        }
        let balances =
            Balances { available_nanocredits: row.get(9)?, total_nanocredits: row.get(10)? };
        let change_nanocredits = row.get(8)?;
        lines.push(StatementLine {
            at_ms,
            transfer,
            reason,
            from,
            to,
            amount_nanocredits,
            change_nanocredits,
            balances,
        });
    }
    let closing = lines.last().map_or(opening, |last| last.balances);
    let from_ms = from.0;
    let found = Statement { account, from_ms, to_ms, opening, lines, closing, next_cursor: None };
    Ok((found, next))
}

/// See [`crate::store::StoreReader::transfers`].
pub(super) fn transfers(
    connection: &Connection,
    account: AccountId,
    before: Place,
    limit: u32,
) -> Result<Vec<(Place, TransferView)>, StoreError> {
    // The place's time is that of its entry; at the very end there is none.
    let mut statement = connection.prepare_cached(
        "SELECT transfer, transfers.at_ms, from_key, to_key, amount_nanocredits, reason,
                sequence, position
         FROM statement_lines CROSS JOIN transfers USING (sequence, position)
         WHERE account = ?1
           AND (statement_lines.at_ms, statement_lines.sequence, statement_lines.position)
               < (coalesce((SELECT now_ms FROM journal WHERE sequence = ?2), ?5), ?2, ?3)
         ORDER BY statement_lines.at_ms DESC, statement_lines.sequence DESC,
                  statement_lines.position DESC
         LIMIT ?4",
    )?;
    let given = params![account.to_string(), before.0 as i64, before.1, limit, i64::MAX];
    let mut rows = statement.query(given)?;
    let mut transfers = Vec::new();
    while let Some(row) = rows.next()? {
        let place = (row.get::<_, i64>(6)? as u64, row.get(7)?);
        transfers.push((place, view(row)?));
    }
    Ok(transfers)
}

fn view(row: &Row<'_>) -> Result<TransferView, StoreError> {
    Ok(TransferView {
        transfer: parse(row.get(0)?, "a transfer")?,
        at_ms: row.get(1)?,
        from: row.get(2)?,
        to: row.get(3)?,
        amount_nanocredits: row.get(4)?,
        reason: row.get(5)?,
    })
}
