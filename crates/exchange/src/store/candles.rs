//! Candles: what was traded per stretch of time, kept as it happens, so that a chart of a year
//! reads a few hundred rows and not every fill. Volume is the billable fuel that was settled, since
//! a fill of a slot says nothing of how much will be done in it.

use clearing::{Event, TransferReason};
use rusqlite::{Connection, OptionalExtension, params};
use wire::CandleView;

use super::sqlite::traded;
use super::{Entry, StoreError};

/// The stretches that are kept, by the names that the API knows.
pub(crate) const INTERVALS: [(&str, i64); 6] = [
    ("1m", 60_000),
    ("5m", 300_000),
    ("15m", 900_000),
    ("1h", 3_600_000),
    ("6h", 21_600_000),
    ("1d", 86_400_000),
];

const SCHEMA: &str = "
CREATE TABLE candles (
    instrument TEXT NOT NULL,
    interval_ms INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    open INTEGER NOT NULL,
    high INTEGER NOT NULL,
    low INTEGER NOT NULL,
    close INTEGER NOT NULL,
    quantity INTEGER NOT NULL,
    turnover INTEGER NOT NULL,
    trades INTEGER NOT NULL,
    PRIMARY KEY (instrument, interval_ms, start_ms)
) WITHOUT ROWID;
";

/// Of each lease what its settlements are to be turned into fuel by.
const VOLUME_SCHEMA: &str = "
ALTER TABLE candles ADD COLUMN fuel INTEGER NOT NULL DEFAULT 0;
CREATE TABLE lease_prices (
    lease TEXT PRIMARY KEY,
    instrument TEXT NOT NULL,
    price_nanocredits_per_tfuel INTEGER NOT NULL
) WITHOUT ROWID;
";

const COLUMNS: &str =
    "instrument, interval_ms, start_ms, open, high, low, close, quantity, turnover, trades";

/// What a trade does to the candle that it falls into. Trades come in their order; a candle of
/// settlements alone has the price before it, which the first trade replaces.
const MERGE: &str = "
ON CONFLICT (instrument, interval_ms, start_ms) DO UPDATE SET
    open = CASE trades WHEN 0 THEN excluded.open ELSE open END,
    high = CASE trades WHEN 0 THEN excluded.high ELSE max(high, excluded.high) END,
    low = CASE trades WHEN 0 THEN excluded.low ELSE min(low, excluded.low) END,
    close = excluded.close,
    quantity = quantity + excluded.quantity,
    turnover = turnover + excluded.turnover,
    trades = trades + 1";

/// Makes the candles of trades that were before there were candles.
pub(super) fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)?;
    for (_, interval_ms) in INTERVALS {
        connection.execute(
            &format!(
                "INSERT INTO candles ({COLUMNS})
                 SELECT instrument, ?1, at_ms - at_ms % ?1,
                        price_nanocredits_per_tfuel, price_nanocredits_per_tfuel,
                        price_nanocredits_per_tfuel, price_nanocredits_per_tfuel,
                        quantity, quantity * price_nanocredits_per_tfuel, 1
                 FROM trades WHERE true ORDER BY instrument, sequence, position {MERGE}"
            ),
            [interval_ms],
        )?;
    }
    Ok(())
}

/// Adds a fill to its candles.
pub(super) fn project(connection: &Connection, event: &Event) -> Result<(), StoreError> {
    let Event::Filled { ask, instrument, price_nanocredits_per_tfuel, at_ms, .. } = event else {
        return Ok(());
    };
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO candles ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?4, ?4, ?4, 1, ?4, 1) {MERGE}"
    ))?;
    let instrument = traded(connection, instrument, *ask)?;
    for (_, interval_ms) in INTERVALS {
        let start_ms = at_ms - at_ms.rem_euclid(interval_ms);
        statement.execute(params![
            instrument,
            interval_ms,
            start_ms,
            price_nanocredits_per_tfuel
        ])?;
    }
    Ok(())
}

/// Adds volume to the candles of an exchange whose candles had none.
pub(super) fn migrate_volume(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(VOLUME_SCHEMA)
}

/// Adds a settlement to its candles.
pub(super) fn project_volume(
    connection: &Connection,
    entry: &Entry,
    event: &Event,
) -> Result<(), StoreError> {
    match event {
        Event::LeaseOpened { lease, ask, instrument, price_nanocredits_per_tfuel, .. } => {
            connection.prepare_cached("INSERT INTO lease_prices VALUES (?1, ?2, ?3)")?.execute(
                params![
                    lease.to_string(),
                    traded(connection, instrument, *ask)?,
                    price_nanocredits_per_tfuel,
                ],
            )?;
        }
        Event::Transferred {
            amount_nanocredits,
            reason: TransferReason::Settlement { lease },
            ..
        } => {
            let row: Option<(String, i64)> = connection
                .prepare_cached(
                    "SELECT instrument, price_nanocredits_per_tfuel FROM lease_prices
                     WHERE lease = ?1",
                )?
                .query_row([lease.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((instrument, price)) = row else { return Ok(()) };
            let fuel = i128::from(*amount_nanocredits) * i128::from(base::FUEL_PER_TFUEL)
                / i128::from(price.max(1));
            let fuel = i64::try_from(fuel).unwrap_or(i64::MAX);
            // A lease was filled before it is settled, so there is an earlier price.
            let mut statement = connection.prepare_cached(&format!(
                "INSERT INTO candles ({COLUMNS}, fuel)
                 SELECT instrument, interval_ms, ?3, close, close, close, close, 0, 0, 0, ?4
                 FROM candles WHERE instrument = ?1 AND interval_ms = ?2 AND start_ms <= ?3
                 ORDER BY start_ms DESC LIMIT 1
                 ON CONFLICT (instrument, interval_ms, start_ms) DO UPDATE SET
                    fuel = fuel + excluded.fuel"
            ))?;
            for (_, interval_ms) in INTERVALS {
                let start_ms = entry.now_ms - entry.now_ms.rem_euclid(interval_ms);
                statement.execute(params![instrument, interval_ms, start_ms, fuel])?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Candles that begin in `[from_ms, to_ms)`, newest first. Stretches without trades have none.
pub(super) fn read(
    connection: &Connection,
    instrument: &str,
    interval_ms: i64,
    from_ms: i64,
    to_ms: i64,
    limit: u32,
) -> Result<Vec<CandleView>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT start_ms, open, high, low, close, quantity, turnover, trades, fuel FROM candles
         WHERE instrument = ?1 AND interval_ms = ?2 AND start_ms >= ?3 AND start_ms < ?4
         ORDER BY start_ms DESC LIMIT ?5",
    )?;
    let rows =
        statement.query_map(params![instrument, interval_ms, from_ms, to_ms, limit], |row| {
            Ok(CandleView {
                start_ms: row.get(0)?,
                open_nanocredits_per_tfuel: row.get(1)?,
                high_nanocredits_per_tfuel: row.get(2)?,
                low_nanocredits_per_tfuel: row.get(3)?,
                close_nanocredits_per_tfuel: row.get(4)?,
                quantity: row.get(5)?,
                turnover_nanocredits_per_tfuel: row.get(6)?,
                trades: row.get(7)?,
                volume_fuel: row.get(8)?,
            })
        })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use base::{AccountId, JobId, LeaseId, MachineId, OrderId, TransferId};
    use clearing::AccountKey;

    use super::*;

    #[test]
    fn old_trades_get_the_candles_that_they_would_have_had() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE trades (instrument TEXT, sequence INTEGER, position INTEGER,
                    at_ms INTEGER, price_nanocredits_per_tfuel INTEGER, quantity INTEGER);
                 INSERT INTO trades VALUES
                    ('a', 1, 0, 60000, 200, 1), ('a', 1, 1, 60000, 500, 1),
                    ('a', 2, 0, 119999, 100, 1), ('a', 3, 0, 120000, 300, 1),
                    ('b', 4, 0, 60001, 900, 1);",
            )
            .unwrap();
        migrate(&connection).unwrap();
        migrate_volume(&connection).unwrap();
        let of = |interval_ms| read(&connection, "a", interval_ms, 0, i64::MAX, 10).unwrap();
        let figures = |candle: &CandleView| {
            [
                candle.start_ms,
                candle.open_nanocredits_per_tfuel,
                candle.high_nanocredits_per_tfuel,
                candle.low_nanocredits_per_tfuel,
                candle.close_nanocredits_per_tfuel,
                candle.quantity,
                candle.turnover_nanocredits_per_tfuel,
                candle.trades,
            ]
        };
        let minutes: Vec<_> = of(60_000).iter().map(figures).collect();
        assert_eq!(
            minutes,
            [[120_000, 300, 300, 300, 300, 1, 300, 1], [60_000, 200, 500, 100, 100, 3, 800, 3]]
        );
        let days: Vec<_> = of(86_400_000).iter().map(figures).collect();
        assert_eq!(days, [[0, 200, 500, 100, 300, 4, 1_100, 4]]);
        assert_eq!(read(&connection, "a", 60_000, 0, 120_000, 10).unwrap().len(), 1);
    }
    #[test]
    fn what_is_settled_is_volume_also_where_nothing_is_traded() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE trades (instrument TEXT, sequence INTEGER, position INTEGER,
                    at_ms INTEGER, price_nanocredits_per_tfuel INTEGER, quantity INTEGER);
                 CREATE TABLE orders (order_id TEXT PRIMARY KEY, instrument TEXT);",
            )
            .unwrap();
        migrate(&connection).unwrap();
        migrate_volume(&connection).unwrap();
        let (ask, lease) = (OrderId(1), LeaseId(2));
        let row = "INSERT INTO orders VALUES (?1, 'a')";
        connection.execute(row, [ask.to_string()]).unwrap();
        let project = |now_ms: i64, event: Event| {
            let command = clearing::Command::Tick;
            let entry = Entry { sequence: 1, now_ms, rules_version: 1, command, events: vec![] };
            super::project(&connection, &event).unwrap();
            project_volume(&connection, &entry, &event).unwrap();
        };
        let fill = |at_ms: i64, price_nanocredits_per_tfuel| {
            let instrument = String::new();
            let (bid, price) = (ask, price_nanocredits_per_tfuel);
            project(
                at_ms,
                Event::Filled { ask, bid, instrument, price_nanocredits_per_tfuel: price, at_ms },
            );
        };
        let settle = |now_ms: i64, amount_nanocredits| {
            let job = AccountKey::Escrow(JobId(3));
            project(
                now_ms,
                Event::Transferred {
                    transfer: TransferId(4),
                    from: job,
                    to: AccountKey::Available(AccountId(5)),
                    amount_nanocredits,
                    reason: TransferReason::Settlement { lease },
                },
            );
        };
        settle(1_000, 9);
        assert!(read(&connection, "a", 60_000, 0, i64::MAX, 9).unwrap().is_empty(), "no lease");
        fill(1_000, 200);
        let opened = Event::LeaseOpened {
            lease,
            job: JobId(3),
            machine: MachineId(6),
            ask,
            instrument: String::new(),
            price_nanocredits_per_tfuel: 200,
            tariff_version: 1,
            fees: Default::default(),
            at_ms: 1_000,
        };
        project(1_000, opened);
        settle(2_000, 50);
        settle(3_000, 50);
        settle(61_000, 100);
        settle(121_000, 200);
        fill(122_000, 300);
        let figures = |candle: CandleView| {
            let open = candle.open_nanocredits_per_tfuel;
            let close = candle.close_nanocredits_per_tfuel;
            let tfuel = candle.volume_fuel * 10 / base::FUEL_PER_TFUEL as i64;
            [candle.start_ms, open, close, candle.trades, tfuel]
        };
        let minutes = read(&connection, "a", 60_000, 0, i64::MAX, 9).unwrap();
        assert_eq!(
            minutes.into_iter().map(figures).collect::<Vec<_>>(),
            [[120_000, 300, 300, 1, 10], [60_000, 200, 200, 0, 5], [0, 200, 200, 1, 5]]
        );
    }
}
