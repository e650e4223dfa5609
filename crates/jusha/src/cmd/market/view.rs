//! The market as tables.

use client::Client;
use wire::{BookView, TickerView};

use crate::cmd::order;
use crate::error::CliResult;
use crate::{amount, terminal};

fn price(price: Option<i64>) -> String {
    price.map_or("–".to_owned(), amount::credits)
}

/// The instruments.
pub async fn list(client: &Client, json: bool) -> CliResult<()> {
    let instruments = client.instruments().await?;
    let head = ["instrument", "best bid", "best ask", "last", "description"];
    terminal::list(json, &instruments, "nothing is traded", &head, |one| {
        let suspended = if one.suspended { " (takes no new orders)" } else { "" };
        vec![
            one.instrument.clone(),
            price(one.best_bid_nanocredits_per_tfuel),
            price(one.best_ask_nanocredits_per_tfuel),
            price(one.last_price_nanocredits_per_tfuel),
            format!("{}{suspended}", one.description),
        ]
    })
}

/// A book.
pub async fn book(client: &Client, instrument: &str, json: bool) -> CliResult<()> {
    let book = client.book(instrument).await?;
    if json { terminal::json(&book) } else { terminal::out(book_text(&book).as_bytes()) }
}

/// Asks above bids, the best ones in the middle, as traders draw it.
fn book_text(book: &BookView) -> String {
    let mut text = format!("{}\n", book.instrument);
    text.push_str(&depth_text(book.bids.iter(), book.asks.iter()));
    if !book.ask_orders.is_empty() {
        text.push_str("\nopen asks (`jusha run --ask ORDER` takes one):\n");
        let rows: Vec<Vec<String>> = book.ask_orders.iter().map(order::row).collect();
        text.push_str(&terminal::table(&order::HEAD, &rows));
    }
    text
}

/// Both sides, each best first.
pub fn depth_text<'a>(
    bids: impl Iterator<Item = &'a wire::PriceLevel>,
    asks: impl Iterator<Item = &'a wire::PriceLevel>,
) -> String {
    let head = ["side", "price/Tfuel", "slots", "orders"];
    let level = |side: &str, level: &wire::PriceLevel| {
        vec![
            side.to_owned(),
            amount::credits(level.price_nanocredits_per_tfuel),
            level.quantity.to_string(),
            level.orders.to_string(),
        ]
    };
    let mut rows: Vec<Vec<String>> = asks.map(|one| level("ask", one)).collect();
    rows.reverse();
    rows.extend(bids.map(|one| level("bid", one)));
    if rows.is_empty() {
        return "no orders: nobody offers slots, nobody wants any\n".to_owned();
    }
    terminal::table(&head, &rows)
}

/// An instrument at a glance.
pub async fn ticker(client: &Client, instrument: &str, json: bool) -> CliResult<()> {
    let ticker = client.ticker(instrument).await?;
    if json { terminal::json(&ticker) } else { terminal::out(ticker_text(&ticker).as_bytes()) }
}

fn ticker_text(ticker: &TickerView) -> String {
    let side = |level: &Option<wire::PriceLevel>| match level {
        Some(level) => format!(
            "{}  {} slots",
            amount::credits(level.price_nanocredits_per_tfuel),
            level.quantity
        ),
        None => "–".to_owned(),
    };
    let mut text = format!(
        "{}, credits per Tfuel\nbest bid  {}\nbest ask  {}\nlast      {}\nindex     {}\n",
        ticker.instrument,
        side(&ticker.best_bid),
        side(&ticker.best_ask),
        price(ticker.last_price_nanocredits_per_tfuel),
        price(ticker.index_price_nanocredits_per_tfuel),
    );
    if let Some(day) = &ticker.day {
        text.push_str(&format!(
            "24 hours  {} to {}, {} slots in {} fills, {} settled\n",
            amount::credits(day.low_nanocredits_per_tfuel),
            amount::credits(day.high_nanocredits_per_tfuel),
            day.quantity,
            day.trades,
            amount::fuel(day.volume_fuel.unsigned_abs())
        ));
    }
    if !ticker.compared.is_empty() {
        text.push_str("\nabout, for the work of a native vCPU-hour:\n");
        let head = ["beside", "there", "here", "share", "program", "Tfuel/vCPU-h"];
        let rows: Vec<Vec<String>> = ticker
            .compared
            .iter()
            .map(|one| {
                vec![
                    one.reference.clone(),
                    amount::credits(one.nanodollars_per_vcpu_hour),
                    amount::credits(one.nanocredits_per_vcpu_hour),
                    format!("{} %", (one.basis_points + 50) / 100),
                    one.program.clone(),
                    tenths(one.gfuel_per_vcpu_hour),
                ]
            })
            .collect();
        text.push_str(&terminal::table(&head, &rows));
        text.push_str(
            "an estimate through measured factors, one credit taken for a dollar; `jusha market \
             elsewhere` has dates and sources\n",
        );
    }
    text
}

/// Tfuel of Gfuel, to a tenth.
fn tenths(gfuel: i64) -> String {
    format!("{}.{}", gfuel / 1_000, gfuel % 1_000 / 100)
}

/// Prices elsewhere.
pub async fn elsewhere(client: &Client, json: bool) -> CliResult<()> {
    let table = client.reference_prices().await?;
    if json {
        return terminal::json(&table);
    }
    let dollars = |price: Option<i64>| price.map_or("–".to_owned(), amount::credits);
    let head = ["list price", "$/vCPU-h", "$/GB-h", "$/GB traffic", "as of", "note", "source"];
    let rows: Vec<Vec<String>> = table
        .references
        .iter()
        .map(|one| {
            vec![
                one.name.clone(),
                dollars(one.nanodollars_per_vcpu_hour),
                dollars(one.nanodollars_per_gb_hour),
                dollars(one.nanodollars_per_gb),
                one.date.clone(),
                one.note.clone(),
                one.source.clone(),
            ]
        })
        .collect();
    terminal::out(terminal::table(&head, &rows).as_bytes())?;
    terminal::line("\nTfuel for the work of a native vCPU-hour:")?;
    let head = ["program", "Tfuel", "from", "to", "measured", "with"];
    let rows: Vec<Vec<String>> = table
        .factors
        .iter()
        .map(|one| {
            vec![
                one.program.clone(),
                tenths(one.gfuel_per_vcpu_hour),
                tenths(one.least_gfuel_per_vcpu_hour),
                tenths(one.most_gfuel_per_vcpu_hour),
                one.date.clone(),
                one.source.clone(),
            ]
        })
        .collect();
    terminal::out(terminal::table(&head, &rows).as_bytes())
}

/// Prices over time.
pub async fn candles(
    client: &Client,
    instrument: &str,
    interval: &str,
    limit: u32,
    json: bool,
) -> CliResult<()> {
    let candles = client.candles(instrument, interval, limit).await?;
    let head = ["from", "open", "high", "low", "close", "slots", "fills", "settled"];
    terminal::list(json, &candles, "no trades in that time", &head, |candle| {
        vec![
            terminal::time(candle.start_ms),
            amount::credits(candle.open_nanocredits_per_tfuel),
            amount::credits(candle.high_nanocredits_per_tfuel),
            amount::credits(candle.low_nanocredits_per_tfuel),
            amount::credits(candle.close_nanocredits_per_tfuel),
            candle.quantity.to_string(),
            candle.trades.to_string(),
            amount::fuel(candle.volume_fuel.unsigned_abs()),
        ]
    })
}

/// The last fills.
pub async fn trades(client: &Client, instrument: &str, json: bool) -> CliResult<()> {
    let trades = client.trades(instrument).await?;
    let head = ["when", "price/Tfuel", "slots"];
    terminal::list(json, &trades, "no trades yet", &head, |trade| {
        vec![
            terminal::time(trade.at_ms),
            amount::credits(trade.price_nanocredits_per_tfuel),
            trade.quantity.to_string(),
        ]
    })
}
