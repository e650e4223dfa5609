//! Who meets whom: price-time priority, self-trade prevention, named asks, exclusions.

use base::OrderId;

use crate::book::Market;
use crate::{Order, Side};

/// Most resting orders that one command examines. What is left is looked at again later, so
/// that no order can make everybody wait.
pub const SCAN_LIMIT: u32 = 256;

/// How many orders a command has examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scan {
    examined: u32,
}

impl Scan {
    /// Whether the limit is reached.
    pub fn is_spent(&self) -> bool {
        self.examined >= SCAN_LIMIT
    }

    /// Orders examined so far.
    pub fn examined(&self) -> u32 {
        self.examined
    }

    fn take(&mut self) -> bool {
        let left = !self.is_spent();
        self.examined += u32::from(left);
        left
    }
}

/// The answer to [`Market::next_match`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// These two meet.
    Found {
        /// The ask.
        ask: OrderId,
        /// The bid.
        bid: OrderId,
        /// The resting order's price, or less where the bid caps what it pays this owner.
        price_nanocredits_per_tfuel: i64,
    },
    /// Nothing in the book meets the order: it rests.
    Nothing,
    /// [`SCAN_LIMIT`] orders were examined: look again later.
    ScanLimit,
}

impl Market {
    /// The best resting order that `incoming` meets at `now_ms`.
    ///
    /// An owner whom the bid passes over is taken only when no other ask matches: a lease that
    /// its seller ended must not go straight back to that seller, but in a world of one seller
    /// the job must not starve either. An owner whom the bid bars is not taken at all.
    ///
    /// Every call starts at the best order, so a match of several slots is examined and counted
    /// once per slot. That keeps the book free of cursors that a replay would have to know.
    pub fn next_match(&self, incoming: OrderId, now_ms: i64, scan: &mut Scan) -> Match {
        let Some(incoming) = self.orders.get(&incoming).filter(|order| order.is_open()) else {
            return Match::Nothing;
        };
        let Some(book) = self.books.get(&incoming.instrument) else { return Match::Nothing };
        let resting = match incoming.side {
            Side::Ask => &book.bids,
            Side::Bid => &book.asks,
        };
        let mut fallback = None;
        for ((rank, _), resting) in resting {
            if !crosses(incoming, *rank) {
                break;
            }
            if !scan.take() {
                // Better the excluded seller now than nobody until somebody looks again.
                return fallback.unwrap_or(Match::ScanLimit);
            }
            let resting = &self.orders[resting];
            let (ask, bid) = match incoming.side {
                Side::Ask => (incoming, resting),
                Side::Bid => (resting, incoming),
            };
            let Some(cap) = self.terms(ask, bid, now_ms) else { continue };
            let found = Match::Found {
                ask: ask.order,
                bid: bid.order,
                price_nanocredits_per_tfuel: resting.price_nanocredits_per_tfuel.min(cap),
            };
            if now_ms >= bid.restriction(ask.owner).passed_over_until_ms {
                return found;
            }
            fallback.get_or_insert(found);
        }
        fallback.unwrap_or(Match::Nothing)
    }

    /// The most that a bid pays for an ask; `None` when it can't take it now.
    fn terms(&self, ask: &Order, bid: &Order, now_ms: i64) -> Option<i64> {
        let restriction = bid.restriction(ask.owner);
        let limit = bid.price_nanocredits_per_tfuel;
        let cap = restriction.cap(now_ms).map_or(limit, |cap| cap.min(limit));
        let takes = self.eligible(ask, bid)
            && now_ms >= restriction.barred_until_ms
            && ask.price_nanocredits_per_tfuel <= cap;
        takes.then_some(cap)
    }

    /// Whether a bid takes an ask at `now_ms`, if nothing better is there.
    pub fn takes(&self, ask: &Order, bid: &Order, now_ms: i64) -> bool {
        self.terms(ask, bid, now_ms).is_some()
    }

    /// Whether a bid may take an ask, price and restrictions aside.
    pub fn eligible(&self, ask: &Order, bid: &Order) -> bool {
        if ask.owner == bid.owner {
            return false;
        }
        let Some(named) = bid.only_ask else { return true };
        ask.order == named
            || self.orders.get(&named).is_some_and(|named| {
                !named.is_open() && named.group.is_some() && named.group == ask.group
            })
    }

    /// Whether the best ask and the best bid of an instrument meet in price. Then somebody may
    /// have been passed over by the scan limit.
    pub fn is_crossed(&self, instrument: &str) -> bool {
        self.books.get(instrument).is_some_and(|book| {
            match (book.asks.first_key_value(), book.bids.first_key_value()) {
                (Some((ask, _)), Some((bid, _))) => ask.0 <= -bid.0,
                _ => false,
            }
        })
    }
}

/// Whether an incoming order meets a resting one's rank (a bid's is its negated price).
fn crosses(incoming: &Order, resting_rank: i64) -> bool {
    match incoming.side {
        Side::Ask => incoming.price_nanocredits_per_tfuel <= -resting_rank,
        Side::Bid => resting_rank <= incoming.price_nanocredits_per_tfuel,
    }
}
