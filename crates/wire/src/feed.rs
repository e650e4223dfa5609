//! Market data over one WebSocket at `/v1/feed`, and what its reader keeps.
//!
//! A reader subscribes to an instrument and gets a [`BookSnapshot`], then a [`BookUpdate`] per
//! change, with *absolute* quantities. Each update names the sequence before it: whoever sees a
//! `previous` that isn't the last `sequence` has missed something, subscribes again and goes on
//! from a new snapshot. [`LocalBook`] does that arithmetic. A heartbeat repeats the sequences, so
//! that a miss is noticed while nothing happens. The same holds for one's own account.
//!
//! Sequences are those of the exchange's journal: they grow, also over restarts, with gaps that
//! mean nothing.

use std::collections::BTreeMap;

use base::{AttemptId, JobId, LeaseId, OrderId, Usage};
use serde::{Deserialize, Serialize};

use crate::{FixedLeaseView, JobState, LeaseView, OrderView, PriceLevel, TradeView, Wallet};

/// Reader → exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum FeedRequest {
    /// Send the book and the fills of an instrument: a snapshot, then updates. Said again, it
    /// begins with a new snapshot.
    Subscribe {
        /// Such as `cpu.2g.any`.
        instrument: String,
    },
    /// No more of an instrument.
    Unsubscribe {
        /// Such as `cpu.2g.any`.
        instrument: String,
    },
    /// Send what concerns one's own account: a snapshot, then updates.
    SubscribeAccount {
        /// The account's token, for those who can't send headers. Absent: the one of the
        /// request that opened the socket.
        token: Option<String>,
    },
}

/// Exchange → reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum FeedMessage {
    /// A book as it is now.
    Snapshot(BookSnapshot),
    /// What changed in a book, and what was traded.
    Update(BookUpdate),
    /// One's account as it is now.
    AccountSnapshot(AccountSnapshot),
    /// What changed in it.
    AccountUpdate(AccountUpdate),
    /// The sequence of each subscription's last message.
    Heartbeat {
        /// Per instrument.
        instruments: BTreeMap<String, u64>,
        /// Of one's account, if subscribed.
        account: Option<u64>,
    },
    /// A request was refused, or the connection ends.
    Refused {
        /// A stable code: `unknown_instrument`, `unknown_token`, `slow_consumer`, …
        code: String,
        /// For people, with what to do.
        message: String,
    },
}

/// A book at one moment: public depth, best first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookSnapshot {
    /// The instrument.
    pub instrument: String,
    /// The next update names this as its `previous`.
    pub sequence: u64,
    /// Buyers.
    pub bids: Vec<PriceLevel>,
    /// Sellers.
    pub asks: Vec<PriceLevel>,
    /// Price of the last fill.
    pub last_price_nanocredits_per_tfuel: Option<i64>,
}

/// What became of a book in one commit of the exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookUpdate {
    /// The instrument.
    pub instrument: String,
    /// Sequence of the message before.
    pub previous: u64,
    /// Sequence of this one.
    pub sequence: u64,
    /// Prices of buyers that changed, with what is there now; 0 orders: nothing.
    pub bids: Vec<PriceLevel>,
    /// Prices of sellers that changed.
    pub asks: Vec<PriceLevel>,
    /// Fills, oldest first.
    pub trades: Vec<TradeView>,
}

/// One's account at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSnapshot {
    /// The next update names this as its `previous`.
    pub sequence: u64,
    /// Balances.
    pub wallet: Wallet,
    /// Open orders, newest first.
    pub orders: Vec<OrderView>,
    /// Open leases, bought or sold.
    pub leases: Vec<LeaseView>,
    /// Open leases for a fixed time, bought or sold.
    #[serde(default)]
    pub fixed_leases: Vec<FixedLeaseView>,
}

/// What became of one's account in one commit of the exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountUpdate {
    /// Sequence of the message before.
    pub previous: u64,
    /// Sequence of this one.
    pub sequence: u64,
    /// Balances, if money moved.
    pub wallet: Option<Wallet>,
    /// Orders that changed, as they are now.
    pub orders: Vec<OrderView>,
    /// Jobs that began, ran low, stopped, went on or ended, as they are now.
    #[serde(default)]
    pub jobs: Vec<JobNews>,
    /// Fills, oldest first.
    pub fills: Vec<FillView>,
    /// Leases that opened or closed, as they are now.
    pub leases: Vec<LeaseView>,
    /// Leases for a fixed time of which something became, as they are now.
    #[serde(default)]
    pub fixed_leases: Vec<FixedLeaseView>,
    /// Receipts that were accepted.
    pub receipts: Vec<ReceiptView>,
}

/// What became of a job: `GET /v1/jobs/{id}` says more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNews {
    /// The job.
    pub job: JobId,
    /// Its state.
    pub state: JobState,
    /// When its budget was foreseen to be spent, once that is soon: its tasks stop at checkpoints
    /// then, until a top-up.
    pub exhaustion_at_ms: Option<i64>,
}

/// A fill of one of one's own orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillView {
    /// One's order.
    pub order: OrderId,
    /// When.
    pub at_ms: i64,
    /// The price.
    pub price_nanocredits_per_tfuel: i64,
    /// Slots.
    pub quantity: u32,
}

/// A receipt that was accepted, under a lease that one bought or sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptView {
    /// Under which lease.
    pub lease: LeaseId,
    /// Of which attempt.
    pub attempt: AttemptId,
    /// Its sequence within the attempt.
    pub receipt_sequence: u64,
    /// The task's usage, cumulative.
    pub usage: Usage,
    /// Paid under the lease so far.
    pub lease_paid_nanocredits: i64,
}

/// A message was missed: subscribe again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the feed goes on from {previous} and {expected} was the last heard: subscribe again")]
pub struct Gap {
    /// The last sequence that was heard.
    pub expected: u64,
    /// What the message follows on.
    pub previous: u64,
}

/// A book that a reader keeps from the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalBook {
    sequence: u64,
    /// By price.
    bids: BTreeMap<i64, PriceLevel>,
    asks: BTreeMap<i64, PriceLevel>,
}

impl LocalBook {
    /// As of a snapshot.
    pub fn new(snapshot: &BookSnapshot) -> Self {
        let by_price = |levels: &[PriceLevel]| {
            let levels = levels.iter().cloned();
            levels.map(|level| (level.price_nanocredits_per_tfuel, level)).collect()
        };
        LocalBook {
            sequence: snapshot.sequence,
            bids: by_price(&snapshot.bids),
            asks: by_price(&snapshot.asks),
        }
    }

    /// Follows an update. One that the book has already changes nothing; after a gap nothing
    /// does, until a new snapshot.
    pub fn apply(&mut self, update: &BookUpdate) -> Result<(), Gap> {
        if update.sequence <= self.sequence {
            return Ok(());
        }
        if update.previous != self.sequence {
            return Err(Gap { expected: self.sequence, previous: update.previous });
        }
        self.sequence = update.sequence;
        for (side, levels) in [(&mut self.bids, &update.bids), (&mut self.asks, &update.asks)] {
            for level in levels {
                let price = level.price_nanocredits_per_tfuel;
                match level.orders {
                    0 => side.remove(&price),
                    _ => side.insert(price, level.clone()),
                };
            }
        }
        Ok(())
    }

    /// Checks a heartbeat's word for what the last message was.
    pub fn check(&self, last: u64) -> Result<(), Gap> {
        if last > self.sequence {
            return Err(Gap { expected: self.sequence, previous: last });
        }
        Ok(())
    }

    /// Sequence of what it holds.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Buyers, best first.
    pub fn bids(&self) -> impl Iterator<Item = &PriceLevel> {
        self.bids.values().rev()
    }

    /// Sellers, best first.
    pub fn asks(&self) -> impl Iterator<Item = &PriceLevel> {
        self.asks.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(price: i64, quantity: u64) -> PriceLevel {
        PriceLevel { price_nanocredits_per_tfuel: price, quantity, orders: quantity.min(1) as u32 }
    }

    #[test]
    fn a_local_book_follows_the_chain_and_nothing_else() {
        let snapshot = BookSnapshot {
            instrument: "cpu.2g.any".to_owned(),
            sequence: 10,
            bids: vec![level(200, 2), level(100, 1)],
            asks: vec![level(300, 3)],
            last_price_nanocredits_per_tfuel: None,
        };
        let update = |previous, sequence, bids| BookUpdate {
            instrument: "cpu.2g.any".to_owned(),
            previous,
            sequence,
            bids,
            asks: vec![],
            trades: vec![],
        };
        let mut book = LocalBook::new(&snapshot);
        let prices = |book: &LocalBook| -> Vec<_> {
            book.bids().map(|level| (level.price_nanocredits_per_tfuel, level.quantity)).collect()
        };
        for (update, expected, bids) in [
            (update(4, 10, vec![level(200, 9)]), Ok(()), vec![(200, 2), (100, 1)]),
            (update(10, 13, vec![level(200, 5)]), Ok(()), vec![(200, 5), (100, 1)]),
            (update(13, 14, vec![level(200, 0)]), Ok(()), vec![(100, 1)]),
            (
                update(15, 16, vec![level(100, 0)]),
                Err(Gap { expected: 14, previous: 15 }),
                vec![(100, 1)],
            ),
            (update(14, 15, vec![level(100, 4)]), Ok(()), vec![(100, 4)]),
        ] {
            assert_eq!(book.apply(&update), expected);
            assert_eq!(prices(&book), bids);
        }
        assert_eq!((book.check(15), book.check(16).is_err()), (Ok(()), true));
    }
}
