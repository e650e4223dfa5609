//! `jusha market watch`: the feed, as lines.

use client::{Client, Feed, FeedNews};
use serde_json::json;
use wire::BookUpdate;

use super::view::depth_text;
use crate::error::CliResult;
use crate::{amount, stop, terminal};

/// Follows until Ctrl-C, or for `count` changes.
pub async fn follow(
    client: &Client,
    instrument: &str,
    account: bool,
    count: Option<u64>,
    json: bool,
) -> CliResult {
    let mut feed = Feed::new(client);
    feed.subscribe(instrument);
    if account {
        feed.subscribe_account();
    }
    let mut stop = stop::Stop::listen()?;
    let mut left = count;
    while left != Some(0) {
        let Some(news) = stop.or(feed.next()).await else { break };
        let news = news?;
        let text = match json {
            true => format!("{}\n", as_json(&feed, instrument, &news)),
            false => text(&feed, instrument, &news),
        };
        if !terminal::out_while_read(text.as_bytes())? {
            break;
        }
        if matches!(news, FeedNews::Changed(_) | FeedNews::AccountChanged(_)) {
            left = left.map(|left| left - 1);
        }
    }
    Ok(0)
}

/// A line per message, in the words of the API.
fn as_json(feed: &Feed, instrument: &str, news: &FeedNews) -> serde_json::Value {
    match news {
        FeedNews::Book { again, .. } => {
            let book = feed.book(instrument);
            let bids: Vec<_> = book.into_iter().flat_map(|book| book.bids()).collect();
            let asks: Vec<_> = book.into_iter().flat_map(|book| book.asks()).collect();
            let sequence = book.map(wire::LocalBook::sequence);
            json!({"type": "snapshot", "instrument": instrument, "sequence": sequence,
                   "again": again, "bids": bids, "asks": asks})
        }
        FeedNews::Changed(update) => tagged("update", json!(update)),
        FeedNews::Account(snapshot) => tagged("account_snapshot", json!(snapshot)),
        FeedNews::AccountChanged(update) => tagged("account_update", json!(update)),
        FeedNews::Lost { reason } => json!({"type": "lost", "reason": reason}),
    }
}

fn tagged(kind: &str, mut value: serde_json::Value) -> serde_json::Value {
    if let Some(object) = value.as_object_mut() {
        object.insert("type".to_owned(), kind.into());
    }
    value
}

fn text(feed: &Feed, instrument: &str, news: &FeedNews) -> String {
    match news {
        FeedNews::Book { again, .. } => {
            let head = if *again { "something was missed; the book anew:\n" } else { "" };
            let book = feed.book(instrument);
            let depth = book.map(|book| depth_text(book.bids(), book.asks()));
            format!("{head}{}", depth.unwrap_or_default())
        }
        FeedNews::Changed(update) => changed(update),
        FeedNews::Account(snapshot) => format!(
            "account: {} available, {} set aside, {} open orders, {} open leases\n",
            amount::credits(snapshot.wallet.available_nanocredits),
            amount::credits(snapshot.wallet.escrow_nanocredits),
            snapshot.orders.len(),
            snapshot.leases.len()
        ),
        FeedNews::AccountChanged(update) => {
            let mut text = String::new();
            for order in &update.orders {
                text.push_str(&format!(
                    "your {} {}: {}, {} of {} slots filled\n",
                    order.side,
                    order.order.short(),
                    order.status,
                    order.cumulative_quantity,
                    order.quantity
                ));
            }
            for job in &update.jobs {
                let state = format!("{:?}", job.state).to_lowercase();
                let low = job.exhaustion_at_ms.map(|at_ms| {
                    format!("; its budget is spent at about {}", terminal::time(at_ms))
                });
                text.push_str(&format!(
                    "your job {}: {state}{}\n",
                    job.job.short(),
                    low.unwrap_or_default()
                ));
            }
            for lease in &update.leases {
                text.push_str(&format!(
                    "your lease {}: {}\n",
                    lease.lease.short(),
                    terminal::clean(&lease.state)
                ));
            }
            for receipt in &update.receipts {
                text.push_str(&format!(
                    "receipt {} of attempt {}: {} done, {} paid under its lease\n",
                    receipt.receipt_sequence,
                    receipt.attempt.short(),
                    amount::fuel(receipt.usage.fuel),
                    amount::credits(receipt.lease_paid_nanocredits)
                ));
            }
            if let Some(wallet) = &update.wallet {
                text.push_str(&format!(
                    "your money: {} available, {} set aside\n",
                    amount::credits(wallet.available_nanocredits),
                    amount::credits(wallet.escrow_nanocredits)
                ));
            }
            text
        }
        FeedNews::Lost { reason } => {
            format!("connection lost ({}); connecting again\n", terminal::clean(reason))
        }
    }
}

fn changed(update: &BookUpdate) -> String {
    let mut text = String::new();
    for trade in &update.trades {
        text.push_str(&format!(
            "{}  traded  {} slots at {}\n",
            terminal::time(trade.at_ms),
            trade.quantity,
            amount::credits(trade.price_nanocredits_per_tfuel)
        ));
    }
    for (side, levels) in [("ask", &update.asks), ("bid", &update.bids)] {
        for level in levels {
            text.push_str(&format!(
                "{side}  {}  {} slots, {} orders\n",
                amount::credits(level.price_nanocredits_per_tfuel),
                level.quantity,
                level.orders
            ));
        }
    }
    text
}
