//! Orders.

use std::collections::BTreeMap;

use base::{AccountId, OrderId};
use serde::{Deserialize, Serialize};

/// Whose slots share one capacity. Opaque here; clearing uses the machine's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u128);

/// The two kinds of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Offers slots.
    Ask,
    /// Wants slots.
    Bid,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderStatus {
    /// In the book.
    Open,
    /// Its last slot was matched.
    Filled,
    /// Its last slot was withdrawn.
    Cancelled,
}

/// An order. `priority` counts placements, so that time priority needs no clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The order.
    pub order: OrderId,
    /// Ask or bid.
    pub side: Side,
    /// Whose it is. An owner's bid takes no ask of the same owner.
    pub owner: AccountId,
    /// What it trades.
    pub instrument: String,
    /// Limit price.
    pub price_nanocredits_per_tfuel: i64,
    /// Slots at first.
    pub quantity: u32,
    /// Slots neither filled nor withdrawn.
    pub leaves_quantity: u32,
    /// Slots filled.
    pub cumulative_quantity: u32,
    /// What became of it.
    pub status: OrderStatus,
    /// Place in time; set by the market.
    pub priority: u64,
    /// When it was placed.
    pub placed_at_ms: i64,
    /// Of an ask: whose slots.
    pub group: Option<GroupId>,
    /// Of a bid: take only this ask. Once that ask is filled or withdrawn, other asks of the
    /// same group stand in for it, so that a buyer who picked a machine can go on with it.
    pub only_ask: Option<OrderId>,
    /// Of a bid: what holds for the asks of single owners.
    pub restrictions: BTreeMap<AccountId, Restriction>,
}

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
}

impl Order {
    /// A new ask.
    pub fn ask(
        order: OrderId,
        owner: AccountId,
        group: GroupId,
        instrument: &str,
        price_nanocredits_per_tfuel: i64,
        quantity: u32,
        placed_at_ms: i64,
    ) -> Self {
        Order {
            order,
            side: Side::Ask,
            owner,
            instrument: instrument.to_owned(),
            price_nanocredits_per_tfuel,
            quantity,
            leaves_quantity: quantity,
            cumulative_quantity: 0,
            status: OrderStatus::Open,
            priority: 0,
            placed_at_ms,
            group: Some(group),
            only_ask: None,
            restrictions: BTreeMap::new(),
        }
    }

    /// A new bid.
    pub fn bid(
        order: OrderId,
        owner: AccountId,
        instrument: &str,
        price_nanocredits_per_tfuel: i64,
        quantity: u32,
        placed_at_ms: i64,
    ) -> Self {
        Order {
            side: Side::Bid,
            group: None,
            ..Order::ask(
                order,
                owner,
                GroupId(0),
                instrument,
                price_nanocredits_per_tfuel,
                quantity,
                placed_at_ms,
            )
        }
    }

    /// Whether it is in the book.
    pub fn is_open(&self) -> bool {
        self.status == OrderStatus::Open
    }

    /// What holds between this bid and an owner's asks.
    pub fn restriction(&self, owner: AccountId) -> Restriction {
        self.restrictions.get(&owner).copied().unwrap_or_default()
    }
}
