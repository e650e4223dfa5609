//! What memory has forgotten.

use base::AccountId;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::index::Owner;
use crate::store::{Past, PastRow, StoreError};

/// A row for each thing, and one for each list that it is in. Both begin empty: whatever came
/// before is in memory.
pub(super) const SCHEMA: &str = "
CREATE TABLE past (
    kind INTEGER NOT NULL,
    id TEXT NOT NULL,
    view TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE TABLE past_lists (
    kind INTEGER NOT NULL,
    owner TEXT NOT NULL,
    place INTEGER NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (kind, owner, place, id)
) WITHOUT ROWID;
";

pub(super) fn keep(connection: &Connection, row: &PastRow) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO past VALUES (?1, ?2, ?3)")?
        .execute(params![row.past as i64, row.id, row.view])?;
    for owner in &row.owners {
        connection
            .prepare_cached("INSERT OR REPLACE INTO past_lists VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![row.past as i64, owner_text(*owner), row.at, row.id])?;
    }
    Ok(())
}

pub(super) fn find(
    connection: &Connection,
    past: Past,
    id: &str,
) -> Result<Option<String>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT view FROM past WHERE kind = ?1 AND id = ?2")?
        .query_row(params![past as i64, id], |row| row.get(0))
        .optional()?)
}

pub(super) fn is_empty(connection: &Connection) -> Result<bool, StoreError> {
    let some: bool =
        connection.query_row("SELECT EXISTS (SELECT 1 FROM past)", [], |row| row.get(0))?;
    Ok(!some)
}

pub(super) fn list(
    connection: &Connection,
    past: Past,
    owner: Owner,
    before: Option<(i64, String)>,
    limit: usize,
) -> Result<Vec<(i64, String, String)>, StoreError> {
    // Ids have one length and no digit is greater than this.
    let (place, id) = before.unwrap_or((i64::MAX, "~".to_owned()));
    let mut statement = connection.prepare_cached(
        "SELECT place, id, view FROM past_lists JOIN past USING (kind, id)
         WHERE kind = ?1 AND owner = ?2 AND (place, id) < (?3, ?4)
         ORDER BY place DESC, id DESC LIMIT ?5",
    )?;
    let given = params![past as i64, owner_text(owner), place, id, limit as i64];
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let rows = statement.query_map(given, read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Everybody's list has an owner without a name.
fn owner_text(owner: Owner) -> String {
    owner.map(|account: AccountId| account.to_string()).unwrap_or_default()
}
