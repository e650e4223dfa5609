//! Candles: what was traded per stretch of time, kept as it happens, so that a chart of a year
//! reads a few hundred rows and not every fill.

use clearing::Event;
use rusqlite::{Connection, params};
use wire::CandleView;

use super::StoreError;

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

/// What a trade does to the candle that it falls into. Trades come in their order.
const MERGE: &str = "
ON CONFLICT (instrument, interval_ms, start_ms) DO UPDATE SET
    high = max(high, excluded.high),
    low = min(low, excluded.low),
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
                "INSERT INTO candles
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
    let Event::Filled { ask, price_nanocredits_per_tfuel, at_ms, .. } = event else {
        return Ok(());
    };
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO candles
         SELECT instrument, ?2, ?3, ?4, ?4, ?4, ?4, 1, ?4, 1 FROM orders WHERE order_id = ?1 {MERGE}"
    ))?;
    let order = ask.to_string();
    for (_, interval_ms) in INTERVALS {
        let start_ms = at_ms - at_ms.rem_euclid(interval_ms);
        statement.execute(params![order, interval_ms, start_ms, price_nanocredits_per_tfuel])?;
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
        "SELECT start_ms, open, high, low, close, quantity, turnover, trades FROM candles
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
            })
        })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
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
}
