//! Orders and what they are allowed to ask for.

use std::collections::BTreeMap;

use base::{AccountId, OrderId};
use serde::{Deserialize, Serialize};

use crate::capacity::{Attributes, GroupId};

/// Which instrument of this market: its place in the list, which only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstrumentId(pub u16);

/// The two kinds of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Offers units.
    Ask,
    /// Wants units.
    Bid,
}

/// How long an order may wait in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeInForce {
    /// Until it is filled or cancelled.
    #[default]
    Gtc,
    /// Until it is filled or cancelled, or this time has come.
    Gtt {
        /// Milliseconds UTC.
        until_ms: i64,
    },
    /// What isn't filled at once is cancelled.
    Ioc,
    /// Filled at once as a whole, or refused.
    Fok,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderStatus {
    /// In the book.
    Open,
    /// Its last unit was matched.
    Filled,
    /// Its last unit was withdrawn.
    Cancelled,
}

/// An order. `priority` counts placements, so that time priority needs no clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The order.
    pub order: OrderId,
    /// Whose it is. An owner's bid takes no ask of the same owner.
    pub owner: AccountId,
    /// Of an ask: whose capacity it offers.
    pub group: Option<GroupId>,
    /// Limit price, per whatever the instrument is priced by.
    pub price_nanocredits: i64,
    /// Place in time; set by the market.
    pub priority: u64,
    /// When it was placed.
    pub placed_at_ms: i64,
    /// How long it may wait.
    pub time_in_force: TimeInForce,
    /// Units at first.
    pub quantity: u32,
    /// Units neither filled nor withdrawn.
    pub leaves_quantity: u32,
    /// Units filled.
    pub cumulative_quantity: u32,
    /// What it trades.
    pub instrument: InstrumentId,
    /// Ask or bid.
    pub side: Side,
    /// What became of it.
    pub status: OrderStatus,
    /// Refused rather than matched at once: it waits for others, and never pays as a taker.
    pub post_only: bool,
    /// Of a bid: what it takes. Boxed, because most orders take anything.
    pub terms: Option<Box<Terms>>,
}

/// Which asks a bid takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terms {
    /// What the buyer wants of a group.
    pub filters: Filters,
    /// Take only this ask. Once it is filled or withdrawn, other asks of `only_group` stand in
    /// for it, so that a buyer who picked a seller can go on with it.
    pub only_ask: Option<OrderId>,
    /// The group of that ask.
    pub only_group: Option<GroupId>,
    /// What holds for the asks of single owners.
    pub restrictions: BTreeMap<AccountId, Restriction>,
}

/// A buyer's wishes beyond what the instrument guarantees. A bid that has any is *conditional*:
/// it is no public depth, since most sellers can't take it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Filters {
    /// Each attribute of the group is at least this.
    pub at_least: Attributes,
    /// These groups are not taken; at most [`EXCLUDED_MAX`].
    pub excluded: Vec<GroupId>,
}

/// Most groups that a bid may exclude: they are compared one by one.
pub const EXCLUDED_MAX: usize = 16;

/// What holds between a bid and the asks of one owner, each part until a time of its own
/// (0: not at all).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Restriction {
    /// Taken only when nobody else's ask matches.
    pub passed_over_until_ms: i64,
    /// Not taken, even when nobody else's ask matches.
    pub barred_until_ms: i64,
    /// Taken at this price at most: a dearer ask doesn't match.
    pub price_max_nanocredits_per_tfuel: i64,
    /// Until when that price holds.
    pub capped_until_ms: i64,
}

impl Restriction {
    /// The price cap, while it holds.
    pub fn cap(&self, now_ms: i64) -> Option<i64> {
        (now_ms < self.capped_until_ms).then_some(self.price_max_nanocredits_per_tfuel)
    }

    /// The first time after `now_ms` at which less holds than before.
    pub(crate) fn changes_after(&self, now_ms: i64) -> Option<i64> {
        [self.passed_over_until_ms, self.barred_until_ms, self.capped_until_ms]
            .into_iter()
            .filter(|until_ms| *until_ms > now_ms)
            .min()
    }
}

impl Filters {
    /// Whether anything is wished.
    pub fn is_none(&self) -> bool {
        self.at_least == Attributes::default() && self.excluded.is_empty()
    }
}

impl Order {
    /// A new ask, good till cancelled.
    pub fn ask(
        order: OrderId,
        owner: AccountId,
        group: GroupId,
        instrument: InstrumentId,
        price_nanocredits: i64,
        quantity: u32,
        placed_at_ms: i64,
    ) -> Self {
        Order {
            order,
            owner,
            group: Some(group),
            price_nanocredits,
            priority: 0,
            placed_at_ms,
            time_in_force: TimeInForce::Gtc,
            quantity,
            leaves_quantity: quantity,
            cumulative_quantity: 0,
            instrument,
            side: Side::Ask,
            status: OrderStatus::Open,
            post_only: false,
            terms: None,
        }
    }

    /// A new bid that takes anything, good till cancelled.
    pub fn bid(
        order: OrderId,
        owner: AccountId,
        instrument: InstrumentId,
        price_nanocredits: i64,
        quantity: u32,
        placed_at_ms: i64,
    ) -> Self {
        let group = GroupId(0);
        Order {
            side: Side::Bid,
            group: None,
            ..Order::ask(order, owner, group, instrument, price_nanocredits, quantity, placed_at_ms)
        }
    }

    /// The same order with these terms.
    pub fn with_terms(mut self, terms: Terms) -> Self {
        self.terms = (terms != Terms::default()).then(|| Box::new(terms));
        self
    }

    /// Whether it is in the book.
    pub fn is_open(&self) -> bool {
        self.status == OrderStatus::Open
    }

    /// Whether it takes only some of what its price would take: no public depth.
    pub fn is_conditional(&self) -> bool {
        self.terms
            .as_ref()
            .is_some_and(|terms| terms.only_ask.is_some() || !terms.filters.is_none())
    }

    /// What holds between this bid and an owner's asks.
    pub fn restriction(&self, owner: AccountId) -> Restriction {
        let terms = self.terms.as_ref();
        terms.and_then(|terms| terms.restrictions.get(&owner)).copied().unwrap_or_default()
    }

    /// The ask that it names.
    pub fn only_ask(&self) -> Option<OrderId> {
        self.terms.as_ref().and_then(|terms| terms.only_ask)
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        matches!(self.time_in_force, TimeInForce::Gtt { until_ms } if until_ms <= now_ms)
    }

    /// Where it stands on its side, price alone: the best is the least on both sides, because
    /// a bid's rank is its negated price.
    pub(crate) fn rank(&self) -> i64 {
        rank(self.side, self.price_nanocredits)
    }
}

/// See [`Order::rank`].
pub(crate) fn rank(side: Side, price_nanocredits: i64) -> i64 {
    match side {
        Side::Ask => price_nanocredits,
        Side::Bid => -price_nanocredits,
    }
}
