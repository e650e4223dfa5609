//! Databases of every older schema, with content, become what a new one would be.

use std::collections::BTreeMap;
use std::path::Path;

use base::{AccountId, TransferId};
use clearing::fixed::{FixedCommand, TEST_FIXED, fixed_lease_id};
use clearing::payments::{PaymentCommand, PaymentDirection};
use clearing::{Command, Context, State};

use super::*;
use crate::store::Store;

/// A journal of 0.1.0, and after it what that couldn't do yet: payments and a lease for a fixed
/// time, which goes down and is paid for.
fn entries() -> Vec<Entry> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../clearing/tests/journals/0.1.0.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let mut state = State::default();
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut read: serde_json::Value = serde_json::from_str(line).unwrap();
        let mut take = |name: &str| read[name].take();
        let entry = Entry {
            sequence: take("sequence").as_u64().unwrap(),
            now_ms: take("now_ms").as_i64().unwrap(),
            rules_version: 1,
            command: serde_json::from_value(take("command")).unwrap(),
            events: serde_json::from_value(take("events")).unwrap(),
        };
        entry.events.iter().for_each(|event| state.evolve(event));
        entries.push(entry);
    }
    let buyer = AccountId(1);
    let machine = state.machines().find(|machine| !machine.retired).unwrap();
    let (machine, seller) = (machine.machine, machine.owner);
    let amount_nanocredits = 1_000_000_000;
    let lease = fixed_lease_id(buyer, "a");
    let commands = [
        Command::Deposit { transfer: TransferId(77), account: seller, amount_nanocredits },
        Command::Payment(PaymentCommand::Request {
            account: seller,
            client_payment_id: "out".to_owned(),
            direction: PaymentDirection::Withdrawal,
            amount_nanocredits: 5_000,
        }),
        Command::Fixed(FixedCommand::Offer {
            machine,
            instrument: TEST_FIXED.to_owned(),
            units: 1,
            price_nanocredits_per_hour: 3_600_000,
        }),
        Command::Fixed(FixedCommand::Open {
            account: buyer,
            client_lease_id: "a".to_owned(),
            instrument: TEST_FIXED.to_owned(),
            limit_nanocredits_per_hour: 3_600_000,
        }),
        Command::Fixed(FixedCommand::Probed { lease, is_up: false }),
        Command::Fixed(FixedCommand::Probed { lease, is_up: true }),
        Command::Fixed(FixedCommand::Notice { account: buyer, lease }),
        Command::Tick,
    ];
    for command in commands {
        let last = entries.last().unwrap();
        let (sequence, now_ms) = (last.sequence + 1, last.now_ms + 600_000);
        let events = clearing::apply(&mut state, Context { now_ms, sequence }, &command).unwrap();
        entries.push(Entry { sequence, now_ms, rules_version: 2, command, events });
    }
    assert!(state.fixed_lease(lease).unwrap().closed.is_some());
    entries
}

/// Every table's name and rows, as text.
fn content(path: &Path) -> Vec<(String, Vec<String>)> {
    let connection = Connection::open(path).unwrap();
    let mut names = connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name")
        .unwrap();
    let found: Vec<(String, Option<String>)> = names
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let mut all = Vec::new();
    for (name, sql) in found {
        let sql = sql.unwrap_or_default();
        if !sql.starts_with("CREATE TABLE") {
            all.push((name, vec![sql]));
            continue;
        }
        let mut rows = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let width = rows.column_count();
        let mut rows: Vec<String> = rows
            .query_map([], |row| {
                let cell = |column| row.get::<_, rusqlite::types::Value>(column);
                let cells: Result<Vec<_>, _> = (0..width).map(cell).collect();
                Ok(format!("{:?}", cells?))
            })
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        rows.sort();
        all.push((name, rows));
    }
    all
}

/// The same as events are now: they name what was traded.
fn named(entries: &[Entry]) -> Vec<Entry> {
    let mut traded = BTreeMap::new();
    let mut named = entries.to_vec();
    for event in named.iter_mut().flat_map(|entry| &mut entry.events) {
        match event {
            Event::AskPlaced { order, instrument, .. } => {
                traded.insert(*order, instrument.clone());
            }
            Event::Filled { ask, instrument, .. } | Event::LeaseOpened { ask, instrument, .. } => {
                assert!(instrument.is_empty(), "the fixture is of before");
                *instrument = traded[ask].clone();
            }
            _ => {}
        }
    }
    named
}

/// A database of an old version, with the journal and what was read of it then.
fn old(path: &Path, version: usize, entries: &[Entry], exchange: ExchangeId) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection.execute("INSERT INTO meta VALUES ('exchange', ?1)", [exchange.to_string()]).unwrap();
    connection.execute("INSERT INTO account_tokens VALUES ('t', 'acct_1')", []).unwrap();
    for migration in &MIGRATIONS[..version - 1] {
        (migration.make)(&connection).unwrap();
    }
    connection.pragma_update(None, "user_version", version as i64).unwrap();
    let mut store = SqliteStore { connection, path: path.to_owned(), exchange };
    store.begin().unwrap();
    for entry in entries {
        store.append_as_of(entry, version as i64).unwrap();
    }
    store.commit().unwrap();
}

#[test]
fn a_database_of_every_older_schema_becomes_what_a_new_one_is() {
    let directory = tempfile::tempdir().unwrap();
    let (entries, exchange) = (entries(), ExchangeId(7));
    let fresh = directory.path().join("fresh");
    // Through the same door, so that only what is migrated differs.
    let mut store = SqliteStore::open(&fresh, exchange).unwrap();
    store
        .connection
        .execute(
            "INSERT INTO tokens VALUES ('t', 't', 'acct_1', 'first',
             '[\"read\",\"trade\",\"operate\"]', 0, 0, NULL)",
            [],
        )
        .unwrap();
    store.begin().unwrap();
    for entry in &named(&entries) {
        store.append(entry).unwrap();
    }
    store.commit().unwrap();
    drop(store);
    let expected = content(&fresh);
    let rows = |name: &str| expected.iter().find(|(found, _)| found == name).unwrap().1.len();
    for table in ["journal", "transfers", "trades", "statement_lines", "candles"] {
        assert!(rows(table) > 1, "{table} has content");
    }
    for version in 1..SCHEMA_VERSION as usize {
        let path = directory.path().join(format!("version {version}"));
        old(&path, version, &entries, exchange);
        let audited = crate::audit(&path).unwrap();
        assert_eq!((audited.sum_nanocredits, &*audited.mismatched_accounts), (0, &[][..]));
        assert_eq!(audited.journal_sequence, entries.last().unwrap().sequence);
        drop(SqliteStore::open(&path, ExchangeId(8)).unwrap());
        let migrated = content(&path);
        assert_eq!(migrated.len(), expected.len());
        for (found, expected) in migrated.iter().zip(&expected) {
            // What was written down stays as it was.
            match &*found.0 {
                "journal" => assert_eq!(found.1.len(), expected.1.len()),
                _ => assert_eq!(found, expected, "migrated from version {version}"),
            }
        }
        // A second start finds nothing to do.
        drop(SqliteStore::open(&path, ExchangeId(8)).unwrap());
        assert_eq!(content(&path), migrated);
    }
}
