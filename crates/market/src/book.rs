//! The books and the capacity groups, and every change to them.

use std::collections::{BTreeMap, BTreeSet};

use base::{AccountId, OrderId};
use serde::{Deserialize, Serialize};

use crate::{GroupId, Order, OrderStatus, Restriction, Side};

/// Where an order stands: (price rank, priority). The best comes first on both sides, because
/// a bid's rank is its negated price.
pub(crate) type Place = (i64, u64);

/// One instrument's open orders, best first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) asks: BTreeMap<Place, OrderId>,
    pub(crate) bids: BTreeMap<Place, OrderId>,
    last_price_nanocredits_per_tfuel: Option<i64>,
}

/// The slots that a seller's asks share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    slots: u32,
    used: u32,
    asks: BTreeSet<OrderId>,
}

/// All books of one exchange.
///
/// Orders that ended stay in memory in this first version: an order is shown to its owner by
/// id for as long as the exchange lives. They are out of the books, so matching doesn't pay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Market {
    pub(crate) orders: BTreeMap<OrderId, Order>,
    pub(crate) books: BTreeMap<String, Book>,
    groups: BTreeMap<GroupId, Group>,
    next_priority: u64,
}

/// All orders at one price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The price.
    pub price_nanocredits_per_tfuel: i64,
    /// Slots.
    pub quantity: u32,
    /// Orders.
    pub orders: u32,
}

/// A book as the public sees it, best first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Depth {
    /// Sellers.
    pub asks: Vec<Level>,
    /// Buyers.
    pub bids: Vec<Level>,
}

pub(crate) fn place(order: &Order) -> Place {
    match order.side {
        Side::Ask => (order.price_nanocredits_per_tfuel, order.priority),
        Side::Bid => (-order.price_nanocredits_per_tfuel, order.priority),
    }
}

impl Market {
    /// An order, open or not.
    pub fn order(&self, order: OrderId) -> Option<&Order> {
        self.orders.get(&order)
    }

    /// Every order ever placed, by id.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    /// Open asks of an instrument, best first.
    pub fn open_asks(&self, instrument: &str) -> impl Iterator<Item = &Order> {
        self.books
            .get(instrument)
            .into_iter()
            .flat_map(|book| book.asks.values())
            .map(|order| &self.orders[order])
    }

    /// Open bids of an instrument, best first.
    pub fn open_bids(&self, instrument: &str) -> impl Iterator<Item = &Order> {
        self.books
            .get(instrument)
            .into_iter()
            .flat_map(|book| book.bids.values())
            .map(|order| &self.orders[order])
    }

    /// Price of the last fill.
    pub fn last_price(&self, instrument: &str) -> Option<i64> {
        self.books.get(instrument)?.last_price_nanocredits_per_tfuel
    }

    /// Slots per price.
    pub fn depth(&self, instrument: &str) -> Depth {
        fn levels<'a>(orders: impl Iterator<Item = &'a Order>) -> Vec<Level> {
            let mut levels = Vec::<Level>::new();
            for order in orders {
                let price_nanocredits_per_tfuel = order.price_nanocredits_per_tfuel;
                match levels.last_mut() {
                    Some(level)
                        if level.price_nanocredits_per_tfuel == price_nanocredits_per_tfuel =>
                    {
                        level.quantity = level.quantity.saturating_add(order.leaves_quantity);
                        level.orders += 1;
                    }
                    _ => levels.push(Level {
                        price_nanocredits_per_tfuel,
                        quantity: order.leaves_quantity,
                        orders: 1,
                    }),
                }
            }
            levels
        }
        Depth { asks: levels(self.open_asks(instrument)), bids: levels(self.open_bids(instrument)) }
    }

    /// Slots of a group.
    pub fn group_slots(&self, group: GroupId) -> u32 {
        self.groups.get(&group).map_or(0, |group| group.slots)
    }

    /// Slots of a group that fills took and [`Market::release`] has not given back.
    pub fn group_used(&self, group: GroupId) -> u32 {
        self.groups.get(&group).map_or(0, |group| group.used)
    }

    /// Slots of a group that an ask may still offer.
    pub fn group_free(&self, group: GroupId) -> u32 {
        self.group_slots(group).saturating_sub(self.group_used(group))
    }

    /// Open asks of a group.
    pub fn group_asks(&self, group: GroupId) -> impl Iterator<Item = &Order> {
        self.groups
            .get(&group)
            .into_iter()
            .flat_map(|group| &group.asks)
            .map(|order| &self.orders[order])
    }

    /// The open asks of a group that no longer fit its free slots, with the slots that they
    /// may keep: to be followed by [`Market::reduce`].
    pub fn overfull(&self, group: GroupId) -> Vec<(OrderId, u32)> {
        let free = self.group_free(group);
        self.group_asks(group)
            .filter(|ask| ask.leaves_quantity > free)
            .map(|ask| (ask.order, free))
            .collect()
    }

    /// States how many slots a group has.
    pub fn set_group_slots(&mut self, group: GroupId, slots: u32) {
        self.groups.entry(group).or_default().slots = slots;
    }

    /// Gives back one slot that a fill took.
    pub fn release(&mut self, group: GroupId) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.used = group.used.saturating_sub(1);
        }
    }

    /// Puts an order into its book, behind all others of its price.
    ///
    /// # Panics
    /// When the id was used before: ids are made by the driver, once.
    pub fn place(&mut self, mut order: Order) {
        order.priority = self.next_priority;
        self.next_priority += 1;
        let book = self.books.entry(order.instrument.clone()).or_default();
        match order.side {
            Side::Ask => book.asks.insert(place(&order), order.order),
            Side::Bid => book.bids.insert(place(&order), order.order),
        };
        if let Some(group) = order.group {
            self.groups.entry(group).or_default().asks.insert(order.order);
        }
        let id = order.order;
        let former = self.orders.insert(id, order);
        assert!(former.is_none(), "{id} was placed twice");
    }

    /// Leaves an open order that many slots, without a fill; at 0 it is cancelled.
    ///
    /// # Panics
    /// When the order isn't open.
    pub fn reduce(&mut self, order: OrderId, leaves_quantity: u32) {
        let reduced = self.open_mut(order);
        reduced.leaves_quantity = leaves_quantity;
        if leaves_quantity == 0 {
            reduced.status = OrderStatus::Cancelled;
            self.leave_book(order);
        }
    }

    /// Matches one slot of two open orders, at the price of the match.
    ///
    /// # Panics
    /// When either isn't open.
    pub fn fill(&mut self, ask: OrderId, bid: OrderId, price_nanocredits_per_tfuel: i64) {
        for order in [ask, bid] {
            let filled = self.open_mut(order);
            filled.leaves_quantity -= 1;
            filled.cumulative_quantity += 1;
            if filled.leaves_quantity == 0 {
                filled.status = OrderStatus::Filled;
                self.leave_book(order);
            }
        }
        let ask = &self.orders[&ask];
        if let Some(group) = ask.group {
            self.groups.entry(group).or_default().used += 1;
        }
        let book = self.books.entry(ask.instrument.clone()).or_default();
        book.last_price_nanocredits_per_tfuel = Some(price_nanocredits_per_tfuel);
    }

    /// States what holds between an open bid and an owner's asks from now on.
    ///
    /// # Panics
    /// When the order isn't open.
    pub fn restrict(&mut self, bid: OrderId, owner: AccountId, restriction: Restriction) {
        self.open_mut(bid).restrictions.insert(owner, restriction);
    }

    fn open_mut(&mut self, order: OrderId) -> &mut Order {
        self.orders
            .get_mut(&order)
            .filter(|found| found.is_open())
            .unwrap_or_else(|| panic!("{order} is not open"))
    }

    fn leave_book(&mut self, order: OrderId) {
        let order = &self.orders[&order];
        let book = self.books.entry(order.instrument.clone()).or_default();
        match order.side {
            Side::Ask => book.asks.remove(&place(order)),
            Side::Bid => book.bids.remove(&place(order)),
        };
        if let Some(group) = order.group
            && let Some(group) = self.groups.get_mut(&group)
        {
            group.asks.remove(&order.order);
        }
    }
}
