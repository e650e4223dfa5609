//! Who meets whom: price-time priority, self-trade prevention, filters, named asks.
//!
//! Everything here is a question without effects.

use base::OrderId;
use serde::{Deserialize, Serialize};

use crate::book::{Entry, Market};
use crate::order::{Order, Side};
use crate::slab::NONE;

/// Most resting orders that one command examines. What is left is looked at again later, so
/// that no order can make everybody wait.
pub const SCAN_LIMIT: u32 = 256;

/// How far a command has come in examining orders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    examined: u32,
    /// Of the order that is being matched: nothing up to here meets it.
    cursor: Option<Cursor>,
}

/// A place in the other side of a book: behind an order at a price. Should that order be gone,
/// the price is begun again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The price.
    pub price_nanocredits: i64,
    /// The order.
    pub after: OrderId,
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

    /// Orders that may still be examined.
    pub fn left(&self) -> u32 {
        SCAN_LIMIT.saturating_sub(self.examined)
    }

    /// Counts work that follows from a match, such as the leases that it opens.
    pub fn spend(&mut self, steps: u32) {
        self.examined = self.examined.saturating_add(steps);
    }

    /// Goes on with another incoming order, from where its scan was cut short.
    pub fn turn_to(&mut self, cursor: Option<Cursor>) {
        self.cursor = cursor;
    }

    /// Where the scan of the present order stands.
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
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
        price_nanocredits: i64,
        /// Units that both have.
        quantity: u32,
    },
    /// Nothing in the book meets the order: it rests.
    Nothing,
    /// [`SCAN_LIMIT`] orders were examined: look again later, from [`Scan::cursor`] on.
    ScanLimit,
}

impl Market {
    /// The best resting order that `incoming` meets at `now_ms`.
    ///
    /// An owner whom the bid passes over is taken only when no other ask matches: a lease that
    /// its seller ended must not go straight back to that seller, but in a world of one seller
    /// the job must not starve either. An owner whom the bid bars is not taken at all.
    ///
    /// Calls for one order begin behind what an earlier call of the same [`Scan`] found not to
    /// meet it, so a command costs as many steps as it examines orders, whatever it matches.
    pub fn next_match(&self, incoming: OrderId, now_ms: i64, scan: &mut Scan) -> Match {
        let Some(place) = self.place_of(incoming) else { return Match::Nothing };
        let entry = &self.entries[place];
        if entry.order.is_expired(now_ms) {
            return Match::Nothing;
        }
        if entry.order.only_ask().is_some() {
            return self.named_match(entry, now_ms, scan);
        }
        let mut fallback = None;
        let from = scan.cursor;
        // Only an unbroken run of orders that don't meet can be left out of the next call.
        let mut unbroken = true;
        for resting in self.walk(&entry.order, from) {
            if !scan.take() {
                // Better the seller who is passed over now than nobody until later.
                return fallback.unwrap_or(Match::ScanLimit);
            }
            match self.meet(entry, resting, now_ms) {
                Some((found, false)) => return found,
                Some((found, true)) => {
                    fallback.get_or_insert(found);
                    unbroken = false;
                }
                None if unbroken => {
                    scan.cursor = Some(Cursor {
                        price_nanocredits: resting.order.price_nanocredits,
                        after: resting.order.order,
                    });
                }
                None => {}
            }
        }
        fallback.unwrap_or(Match::Nothing)
    }

    /// A bid that names an ask looks at that one, and at its group's when it is gone.
    fn named_match(&self, bid: &Entry, now_ms: i64, scan: &mut Scan) -> Match {
        let Some(terms) = &bid.order.terms else { return Match::Nothing };
        let named = terms.only_ask.and_then(|named| self.place_of(named));
        if let Some(named) = named {
            if !scan.take() {
                return Match::ScanLimit;
            }
            let ask = &self.entries[named];
            let fits = ask.order.side == Side::Ask && ask.order.instrument == bid.order.instrument;
            let met = fits.then(|| self.meet(bid, ask, now_ms)).flatten();
            return met.map_or(Match::Nothing, |(found, _)| found);
        }
        let Some(group) = terms.only_group else { return Match::Nothing };
        let mut asks: Vec<_> = self
            .group_asks(group)
            .filter(|ask| ask.instrument == bid.order.instrument)
            .map(|ask| (ask.price_nanocredits, ask.priority, ask.order))
            .collect();
        asks.sort_unstable();
        for (_, _, ask) in asks {
            if !scan.take() {
                return Match::ScanLimit;
            }
            let ask = &self.entries[self.open_place(ask)];
            if let Some((found, _)) = self.meet(bid, ask, now_ms) {
                return found;
            }
        }
        Match::Nothing
    }

    /// The other side's orders that cross an order, best first, from a cursor on.
    pub(crate) fn walk(&self, order: &Order, from: Option<Cursor>) -> Walk<'_> {
        let side = match order.side {
            Side::Ask => Side::Bid,
            Side::Bid => Side::Ask,
        };
        let levels = self.books[usize::from(order.instrument.0)].side(side);
        let from_rank =
            from.map_or(i64::MIN, |cursor| crate::order::rank(side, cursor.price_nanocredits));
        let behind = from
            .and_then(|cursor| self.place_of(cursor.after))
            .filter(|place| self.entries[*place].order.rank() == from_rank);
        let last_rank = crate::order::rank(side, order.price_nanocredits);
        let mut levels = levels.range(from_rank..);
        let next = match behind {
            Some(place) => {
                levels.next();
                self.behind(place)
            }
            None => NONE,
        };
        Walk { market: self, levels, last_rank, next }
    }

    /// What comes of two orders whose prices cross, and whether the bid passes the seller over.
    pub(crate) fn meet(
        &self,
        incoming: &Entry,
        resting: &Entry,
        now_ms: i64,
    ) -> Option<(Match, bool)> {
        let (ask, bid) = match incoming.order.side {
            Side::Ask => (incoming, resting),
            Side::Bid => (resting, incoming),
        };
        let cap = self.terms(ask, bid, now_ms)?;
        if resting.order.is_expired(now_ms) {
            return None;
        }
        let found = Match::Found {
            ask: ask.order.order,
            bid: bid.order.order,
            price_nanocredits: resting.order.price_nanocredits.min(cap),
            quantity: ask.order.leaves_quantity.min(bid.order.leaves_quantity),
        };
        let passed_over = bid.order.terms.is_some()
            && now_ms < bid.order.restriction(ask.order.owner).passed_over_until_ms;
        Some((found, passed_over))
    }

    /// The most that a bid pays for an ask; `None` when it can't take it now.
    fn terms(&self, ask: &Entry, bid: &Entry, now_ms: i64) -> Option<i64> {
        let limit = bid.order.price_nanocredits;
        if ask.order.owner == bid.order.owner || ask.order.price_nanocredits > limit {
            return None;
        }
        if bid.order.terms.is_none() {
            return Some(limit);
        }
        if !self.eligible(&ask.order, &bid.order) {
            return None;
        }
        let restriction = bid.order.restriction(ask.order.owner);
        let cap = restriction.cap(now_ms).map_or(limit, |cap| cap.min(limit));
        let takes = now_ms >= restriction.barred_until_ms && ask.order.price_nanocredits <= cap;
        takes.then_some(cap)
    }

    /// Whether a bid may take an ask, price and restrictions aside.
    pub fn eligible(&self, ask: &Order, bid: &Order) -> bool {
        if ask.owner == bid.owner {
            return false;
        }
        let Some(terms) = &bid.terms else { return true };
        if let Some(named) = terms.only_ask
            && ask.order != named
        {
            let stands_in = self.place_of(named).is_none()
                && terms.only_group.is_some()
                && terms.only_group == ask.group;
            if !stands_in {
                return false;
            }
        }
        let filters = &terms.filters;
        if filters.is_none() {
            return true;
        }
        let Some(group) = ask.group else { return false };
        self.group_attributes(group).reach(&filters.at_least) && !filters.excluded.contains(&group)
    }

    /// Whether a bid would take an ask at `now_ms`, if nothing better were there. Both may be
    /// made up.
    pub fn takes(&self, ask: &Order, bid: &Order, now_ms: i64) -> bool {
        let restriction = bid.restriction(ask.owner);
        let limit = bid.price_nanocredits;
        let cap = restriction.cap(now_ms).map_or(limit, |cap| cap.min(limit));
        self.eligible(ask, bid)
            && now_ms >= restriction.barred_until_ms
            && ask.price_nanocredits <= cap
    }
}

/// See [`Market::walk`].
pub(crate) struct Walk<'a> {
    market: &'a Market,
    levels: std::collections::btree_map::Range<'a, i64, crate::book::PriceLevel>,
    last_rank: i64,
    next: u32,
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a Entry;

    fn next(&mut self) -> Option<&'a Entry> {
        if self.next == NONE {
            let (rank, level) = self.levels.next()?;
            if *rank > self.last_rank {
                return None;
            }
            self.next = level.head;
        }
        let entry = &self.market.entries[self.next];
        self.next = self.market.behind(self.next);
        Some(entry)
    }
}
