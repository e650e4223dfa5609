//! `jusha market`: what is traded, at which prices. Needs no account.

use clap::{Args, Subcommand};
use wire::BookView;

use crate::cmd::order;
use crate::config::Access;
use crate::error::CliResult;
use crate::{amount, terminal};

/// The market: list, show, trades
#[derive(Debug, Args)]
pub struct Market {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
struct Which {
    /// The instrument
    #[arg(default_value = provider::INSTRUMENT)]
    instrument: String,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the instruments with their best prices
    List {
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Show an instrument's book
    Show(Which),
    /// List an instrument's last fills
    Trades(Which),
}

/// Runs it.
pub async fn main(options: &Market) -> CliResult {
    let client = options.access.client()?;
    match &options.verb {
        Verb::List { json } => {
            let instruments = client.instruments().await?;
            let head = ["instrument", "best bid", "best ask", "last", "description"];
            let price = |price: Option<i64>| price.map_or("–".to_owned(), amount::credits);
            terminal::list(*json, &instruments, "nothing is traded", &head, |one| {
                vec![
                    one.instrument.clone(),
                    price(one.best_bid_nanocredits_per_tfuel),
                    price(one.best_ask_nanocredits_per_tfuel),
                    price(one.last_price_nanocredits_per_tfuel),
                    one.description.clone(),
                ]
            })?;
        }
        Verb::Show(which) => {
            let book = client.book(&which.instrument).await?;
            if which.json {
                terminal::json(&book)?;
            } else {
                terminal::out(book_text(&book).as_bytes())?;
            }
        }
        Verb::Trades(which) => {
            let trades = client.trades(&which.instrument).await?;
            let head = ["when", "price/Tfuel", "slots"];
            terminal::list(which.json, &trades, "no trades yet", &head, |trade| {
                vec![
                    terminal::time(trade.at_ms),
                    amount::credits(trade.price_nanocredits_per_tfuel),
                    trade.quantity.to_string(),
                ]
            })?;
        }
    }
    Ok(0)
}

/// Asks above bids, the best ones in the middle, as traders draw it.
fn book_text(book: &BookView) -> String {
    let head = ["side", "price/Tfuel", "slots", "orders"];
    let level = |side: &str, level: &wire::PriceLevel| {
        vec![
            side.to_owned(),
            amount::credits(level.price_nanocredits_per_tfuel),
            level.quantity.to_string(),
            level.orders.to_string(),
        ]
    };
    let mut rows: Vec<Vec<String>> = book.asks.iter().rev().map(|one| level("ask", one)).collect();
    rows.extend(book.bids.iter().map(|one| level("bid", one)));
    let mut text = format!("{}\n", book.instrument);
    if rows.is_empty() {
        text.push_str("no orders: nobody offers slots, nobody wants any\n");
    } else {
        text.push_str(&terminal::table(&head, &rows));
    }
    if !book.ask_orders.is_empty() {
        text.push_str("\nopen asks (`jusha run --ask ORDER` takes one):\n");
        let rows: Vec<Vec<String>> = book.ask_orders.iter().map(order::row).collect();
        text.push_str(&terminal::table(&order::HEAD, &rows));
    }
    text
}
