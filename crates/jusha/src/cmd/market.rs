//! `jusha market`: what is traded, at which prices, and one's own orders in it. Looking needs no
//! account.

mod view;
mod watch;

use base::{MachineId, OrderId};
use clap::{Args, Subcommand, ValueEnum};
use client::Client;
use wire::{NewOrder, OrderView, TimeInForce};

use crate::cmd::order;
use crate::config::Access;
use crate::error::{CliError, CliResult};
use crate::{amount, buy, terminal};

/// The market: list, book, ticker, candles, trades, watch; sell, orders, cancel
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
    #[command(visible_alias = "show")]
    Book(Which),
    /// Show an instrument at a glance, beside prices elsewhere
    Ticker(Which),
    /// List prices over time, newest first
    Candles {
        #[command(flatten)]
        which: Which,
        /// How long each stretch is
        #[arg(long, value_enum, default_value = "1h")]
        interval: Interval,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 24,
              value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// List an instrument's last fills
    Trades(Which),
    /// Follow an instrument's book and fills as they happen; with --json, a line per message
    Watch {
        #[command(flatten)]
        which: Which,
        /// Follow one's own orders, fills, leases, receipts and money, too
        #[arg(long)]
        account: bool,
        /// End after so many changes
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// List what computing costs elsewhere, with dates and sources
    Elsewhere {
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Offer slots of one's own machine
    #[command(after_help = "\
A job buys for itself: `jusha run` and `jusha map` place its bid. An agent (`jusha provide`) offers its
free slots by itself, in each --instrument that it was given; this is for asks in others. All asks of a
machine share its slots.")]
    Sell(Sell),
    /// List the account's orders
    Orders {
        /// Only open ones
        #[arg(long)]
        open: bool,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Withdraw an ask
    Cancel {
        /// The order's id
        order: OrderId,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Withdraw all of the account's asks
    CancelAll {
        /// Only those of this instrument
        #[arg(long)]
        instrument: Option<String>,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Withdraw all asks after a time, unless this is said again: a dead man's switch
    CancelAfter {
        /// From now; 0 takes the switch away
        #[arg(value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
        seconds: u32,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
}

/// How long a candle's stretch is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Interval {
    #[value(name = "1m")]
    Minute,
    #[value(name = "5m")]
    FiveMinutes,
    #[value(name = "15m")]
    Quarter,
    #[value(name = "1h")]
    Hour,
    #[value(name = "6h")]
    SixHours,
    #[value(name = "1d")]
    Day,
}

#[derive(Debug, Args)]
struct Sell {
    /// The machine whose slots are offered
    machine: MachineId,
    /// Slots
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    quantity: u32,
    /// The least to take per Tfuel: credits such as 0.0003, or nanocredits such as 300000n; without
    /// it the best bids are taken, within the instrument's protection
    #[arg(long, value_name = "PRICE", value_parser = amount::parse_price,
          allow_hyphen_values = true)]
    price: Option<i64>,
    /// The instrument
    #[arg(long, default_value = provider::INSTRUMENT)]
    instrument: String,
    /// How long it may wait
    #[arg(long, value_enum, default_value = "gtc")]
    time_in_force: Wait,
    /// Of gtt: how long, in seconds
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..),
          required_if_eq("time_in_force", "gtt"))]
    expires_after: Option<u32>,
    /// Refuse it rather than match it at once
    #[arg(long)]
    post_only: bool,
    /// The order's id of your own: said again with the same content, it is the same order
    #[arg(long, value_name = "TEXT")]
    client_order_id: Option<String>,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

/// How long an order may wait in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wait {
    /// Until it is filled or cancelled
    Gtc,
    /// The same, and until --expires-after
    Gtt,
    /// Not at all: what isn't filled at once is cancelled
    Ioc,
    /// Not at all: filled as a whole, or refused
    Fok,
}

/// Runs it.
pub async fn main(options: &Market) -> CliResult {
    let client = options.access.client()?;
    match &options.verb {
        Verb::List { json } => view::list(&client, *json).await?,
        Verb::Book(which) => view::book(&client, &which.instrument, which.json).await?,
        Verb::Ticker(which) => view::ticker(&client, &which.instrument, which.json).await?,
        Verb::Candles { which, interval, limit } => {
            let interval = interval.to_possible_value().map(|value| value.get_name().to_owned());
            let interval = interval.unwrap_or_default();
            view::candles(&client, &which.instrument, &interval, *limit, which.json).await?;
        }
        Verb::Trades(which) => view::trades(&client, &which.instrument, which.json).await?,
        Verb::Watch { which, account, count } => {
            return watch::follow(&client, &which.instrument, *account, *count, which.json).await;
        }
        Verb::Elsewhere { json } => view::elsewhere(&client, *json).await?,
        Verb::Sell(sell) => {
            let order = place(&client, sell).await?;
            shown(&order, sell.json)?;
        }
        Verb::Orders { open, json } => {
            let mut orders = client.orders().await?;
            orders.retain(|order| !open || order.status == "open");
            terminal::list(*json, &orders, "no orders", &order::HEAD, order::row)?;
        }
        Verb::Cancel { order, json } => shown(&client.cancel_order(*order).await?, *json)?,
        Verb::CancelAll { instrument, json } => {
            let left = client.cancel_orders(instrument.as_deref()).await?;
            terminal::list(*json, &left, "nothing is open any more", &order::HEAD, order::row)?;
        }
        Verb::CancelAfter { seconds, json } => {
            let set = client.cancel_after(i64::from(*seconds) * 1_000).await?;
            match (json, set.due_at_ms) {
                (true, _) => terminal::json(&set)?,
                (false, Some(due_at_ms)) => terminal::line(&format!(
                    "all asks are withdrawn at {}, unless this is said again",
                    terminal::time(due_at_ms)
                ))?,
                (false, None) => terminal::line("no switch is set")?,
            }
        }
    }
    Ok(0)
}

fn shown(order: &OrderView, json: bool) -> CliResult<()> {
    match json {
        true => terminal::json(order),
        false => terminal::out(terminal::table(&order::HEAD, &[order::row(order)]).as_bytes()),
    }
}

/// Asks again until it is answered: under its own id it is placed once.
async fn place(client: &Client, sell: &Sell) -> CliResult<OrderView> {
    if sell.price.is_none() && (sell.post_only || sell.time_in_force != Wait::Gtc) {
        return Err(CliError::new("an ask without --price takes what is there and never waits")
            .hint("give a --price, or leave --post-only and --time-in-force out"));
    }
    if sell.expires_after.is_some() && sell.time_in_force != Wait::Gtt {
        return Err(CliError::new("--expires-after is for --time-in-force gtt"));
    }
    let made = || format!("{:032x}", client::random_id());
    let now_ms = buy::now_ms();
    let new = NewOrder {
        client_order_id: sell.client_order_id.clone().unwrap_or_else(made),
        machine: sell.machine,
        instrument: sell.instrument.clone(),
        quantity: sell.quantity,
        price_nanocredits_per_tfuel: sell.price,
        time_in_force: match sell.time_in_force {
            Wait::Gtc => TimeInForce::Gtc,
            Wait::Gtt => TimeInForce::Gtt,
            Wait::Ioc => TimeInForce::Ioc,
            Wait::Fok => TimeInForce::Fok,
        },
        expires_at_ms: sell.expires_after.map(|seconds| now_ms + i64::from(seconds) * 1_000),
        post_only: sell.post_only,
    };
    let patience = client::Patience::For(std::time::Duration::from_secs(30));
    Ok(patience.ask(|_| (), || client.place_order(&new)).await?)
}
