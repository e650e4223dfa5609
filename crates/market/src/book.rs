//! The books and the capacity groups, and every change to them.
//!
//! Orders lie in a [`Slab`] and are chained by its places: those of one price in the order of
//! time, those of an owner, those of a group. So placing costs one search among the prices of
//! a side, and leaving costs none.

use std::collections::{BTreeMap, BTreeSet};

use base::{AccountId, OrderId};

use crate::capacity::{Attributes, Capacity, Group, GroupId};
use crate::instrument::Instrument;
use crate::matching::Cursor;
use crate::order::{InstrumentId, Order, OrderStatus, Restriction, Side};
use crate::slab::{IdTable, NONE, Slab};

/// The orders of one price, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct PriceLevel {
    pub(crate) head: u32,
    tail: u32,
    /// Units and orders that the public sees: of orders that aren't conditional.
    quantity: u64,
    orders: u32,
}

/// One instrument's open orders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    pub(crate) asks: BTreeMap<i64, PriceLevel>,
    pub(crate) bids: BTreeMap<i64, PriceLevel>,
    pub(crate) last_price_nanocredits: Option<i64>,
}

impl Book {
    pub(crate) fn side(&self, side: Side) -> &BTreeMap<i64, PriceLevel> {
        match side {
            Side::Ask => &self.asks,
            Side::Bid => &self.bids,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<i64, PriceLevel> {
        match side {
            Side::Ask => &mut self.asks,
            Side::Bid => &mut self.bids,
        }
    }
}

/// An open order and its neighbours.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) order: Order,
    /// Neighbours at its price.
    level: Links,
    /// Neighbours among its owner's orders.
    owned: Links,
    /// Neighbours among its group's asks.
    grouped: Links,
    owner_place: u32,
    pub(crate) group_place: u32,
    /// Up to when its restrictions were considered.
    pub(crate) looked_at_ms: i64,
    /// Its ticket among those whose scan was cut short.
    pub(crate) ticket: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Links {
    before: u32,
    after: u32,
}

const UNLINKED: Links = Links { before: NONE, after: NONE };

/// An account with open orders.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    account: AccountId,
    orders: u32,
    head: u32,
}

/// All books of one exchange. Holds what is open; what ended is handed to the driver.
#[derive(Debug, Clone, Default)]
pub struct Market {
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) names: BTreeMap<String, InstrumentId>,
    pub(crate) books: Vec<Book>,
    pub(crate) entries: Slab<Entry>,
    ids: IdTable,
    owners: Slab<Owner>,
    owner_places: BTreeMap<AccountId, u32>,
    pub(crate) groups: Slab<Group>,
    pub(crate) group_places: BTreeMap<GroupId, u32>,
    pub(crate) next_priority: u64,
    /// When open orders expire.
    pub(crate) expiries: BTreeSet<(i64, OrderId)>,
    /// When the restrictions of open bids change.
    pub(crate) rechecks: BTreeSet<(i64, OrderId)>,
    /// Scans that were cut short, first come first served.
    pub(crate) unfinished: BTreeMap<u64, (OrderId, Option<Cursor>)>,
    /// Open bids by the ask that they name.
    naming: BTreeSet<(OrderId, OrderId)>,
}

/// All public orders at one price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The price.
    pub price_nanocredits: i64,
    /// Units.
    pub quantity: u64,
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

impl Market {
    /// A market that trades these.
    pub fn new(instruments: Vec<Instrument>) -> Self {
        let mut market = Market::default();
        for instrument in instruments {
            market.set_instrument(instrument);
        }
        market
    }

    /// Every instrument, in the order of their ids.
    pub fn instruments(&self) -> impl Iterator<Item = (InstrumentId, &Instrument)> {
        self.instruments.iter().enumerate().map(|(id, found)| (InstrumentId(id as u16), found))
    }

    /// The instrument of that name.
    pub fn instrument(&self, name: &str) -> Option<(InstrumentId, &Instrument)> {
        let id = *self.names.get(name)?;
        Some((id, self.instrument_of(id)))
    }

    /// An instrument.
    pub fn instrument_of(&self, id: InstrumentId) -> &Instrument {
        &self.instruments[usize::from(id.0)]
    }

    /// Adds an instrument, or replaces the one of that name. Orders that rest stay, under the
    /// new figures: what a unit takes of capacity can't change while one trades.
    pub fn set_instrument(&mut self, instrument: Instrument) -> InstrumentId {
        if let Some(id) = self.names.get(&instrument.name) {
            self.instruments[usize::from(id.0)] = instrument;
            return *id;
        }
        let id = InstrumentId(self.instruments.len() as u16);
        self.names.insert(instrument.name.clone(), id);
        self.instruments.push(instrument);
        self.books.push(Book::default());
        id
    }

    /// An open order.
    pub fn order(&self, order: OrderId) -> Option<&Order> {
        self.place_of(order).map(|place| &self.entries[place].order)
    }

    pub(crate) fn place_of(&self, order: OrderId) -> Option<u32> {
        self.ids.find(order, |place| self.entries[place].order.order == order)
    }

    /// How many orders are open.
    pub fn open_orders(&self) -> usize {
        self.entries.len()
    }

    /// Open asks of an instrument, best first.
    pub fn open_asks(&self, instrument: InstrumentId) -> impl Iterator<Item = &Order> {
        self.open(instrument, Side::Ask)
    }

    /// Open bids of an instrument, best first; conditional ones among them.
    pub fn open_bids(&self, instrument: InstrumentId) -> impl Iterator<Item = &Order> {
        self.open(instrument, Side::Bid)
    }

    fn open(&self, instrument: InstrumentId, side: Side) -> impl Iterator<Item = &Order> {
        let book = &self.books[usize::from(instrument.0)];
        book.side(side)
            .values()
            .flat_map(|level| self.chain(level.head, |entry| entry.level))
            .map(|entry| &entry.order)
    }

    fn chain(&self, head: u32, links: fn(&Entry) -> Links) -> impl Iterator<Item = &Entry> {
        std::iter::successors(self.entries.get(head), move |entry| {
            self.entries.get(links(entry).after)
        })
    }

    /// Orders behind a place at the same price.
    pub(crate) fn behind(&self, place: u32) -> u32 {
        self.entries[place].level.after
    }

    /// An owner's open orders, newest first.
    pub fn owner_orders(&self, owner: AccountId) -> impl Iterator<Item = &Order> {
        let head = self.owner_places.get(&owner).map_or(NONE, |place| self.owners[*place].head);
        self.chain(head, |entry| entry.owned).map(|entry| &entry.order)
    }

    /// How many orders of an owner are open.
    pub fn owner_open_orders(&self, owner: AccountId) -> u32 {
        self.owner_places.get(&owner).map_or(0, |place| self.owners[*place].orders)
    }

    /// Price of the last fill.
    pub fn last_price(&self, instrument: InstrumentId) -> Option<i64> {
        self.books[usize::from(instrument.0)].last_price_nanocredits
    }

    /// Units per price, best first, at most so many levels a side.
    pub fn depth(&self, instrument: InstrumentId, levels: usize) -> Depth {
        let side = |side| self.levels(instrument, side).take(levels).collect();
        Depth { asks: side(Side::Ask), bids: side(Side::Bid) }
    }

    /// The public levels of a side, best first.
    pub fn levels(&self, instrument: InstrumentId, side: Side) -> impl Iterator<Item = Level> {
        let book = &self.books[usize::from(instrument.0)];
        book.side(side).iter().filter(|(_, level)| level.orders > 0).map(move |(rank, level)| {
            Level {
                price_nanocredits: match side {
                    Side::Ask => *rank,
                    Side::Bid => -rank,
                },
                quantity: level.quantity,
                orders: level.orders,
            }
        })
    }

    /// What the public sees at one price: nothing, where no order is.
    pub fn level(&self, instrument: InstrumentId, side: Side, price_nanocredits: i64) -> Level {
        let rank = crate::order::rank(side, price_nanocredits);
        let book = &self.books[usize::from(instrument.0)];
        let found = book.side(side).get(&rank);
        Level {
            price_nanocredits,
            quantity: found.map_or(0, |level| level.quantity),
            orders: found.map_or(0, |level| level.orders),
        }
    }

    fn group(&self, group: GroupId) -> Option<&Group> {
        self.group_places.get(&group).map(|place| &self.groups[*place])
    }

    fn group_mut(&mut self, group: GroupId) -> &mut Group {
        let place = self.group_place(group);
        &mut self.groups[place]
    }

    fn group_place(&mut self, group: GroupId) -> u32 {
        if let Some(place) = self.group_places.get(&group) {
            return *place;
        }
        let place = self.groups.insert(Group {
            group,
            capacity: Capacity::default(),
            used: Capacity::default(),
            attributes: Attributes::default(),
            asks: 0,
            head: NONE,
        });
        self.group_places.insert(group, place);
        place
    }

    /// What a group has in all.
    pub fn group_capacity(&self, group: GroupId) -> Capacity {
        self.group(group).map_or(Capacity::default(), |group| group.capacity)
    }

    /// What fills took of it and [`Market::release`] has not given back.
    pub fn group_used(&self, group: GroupId) -> Capacity {
        self.group(group).map_or(Capacity::default(), |group| group.used)
    }

    /// A group's attributes.
    pub fn group_attributes(&self, group: GroupId) -> Attributes {
        self.group(group).map_or(Attributes::default(), |group| group.attributes)
    }

    /// Units of an instrument that an ask of the group may offer.
    pub fn group_fits(&self, group: GroupId, instrument: InstrumentId) -> u32 {
        let unit = &self.instrument_of(instrument).unit;
        self.group(group).map_or(0, |group| group.capacity.fits(&group.used, unit))
    }

    /// Open asks of a group, newest first.
    pub fn group_asks(&self, group: GroupId) -> impl Iterator<Item = &Order> {
        let head = self.group(group).map_or(NONE, |group| group.head);
        self.chain(head, |entry| entry.grouped).map(|entry| &entry.order)
    }

    /// How many asks of a group are open.
    pub fn group_open_asks(&self, group: GroupId) -> u32 {
        self.group(group).map_or(0, |group| group.asks)
    }

    /// The open asks of a group that no longer fit its free capacity, with the units that they
    /// may keep: to be followed by [`Market::reduce`].
    pub fn overfull(&self, group: GroupId) -> Vec<(OrderId, u32)> {
        let Some(row) = self.group(group) else { return Vec::new() };
        self.group_asks(group)
            .filter_map(|ask| {
                let unit = &self.instrument_of(ask.instrument).unit;
                let fits = row.capacity.fits(&row.used, unit);
                (ask.leaves_quantity > fits).then_some((ask.order, fits))
            })
            .collect()
    }

    /// States what a group has in all.
    pub fn set_group_capacity(&mut self, group: GroupId, capacity: Capacity) {
        self.group_mut(group).capacity = capacity;
    }

    /// States a group's attributes. Its asks are looked at again, since bids may take them that
    /// did not before.
    pub fn set_group_attributes(&mut self, group: GroupId, attributes: Attributes) {
        let row = self.group_mut(group);
        if std::mem::replace(&mut row.attributes, attributes) != attributes {
            let asks: Vec<_> = self.group_asks(group).map(|ask| ask.order).collect();
            for ask in asks {
                self.look_again(ask, None);
            }
        }
    }

    /// Gives back what fills of so many units took.
    pub fn release(&mut self, group: GroupId, instrument: InstrumentId, quantity: u32) {
        let unit = self.instruments[usize::from(instrument.0)].unit;
        self.group_mut(group).used.take(&unit, quantity);
    }

    /// Puts an order into its book, behind all others of its price.
    ///
    /// # Panics
    /// When the id is open already: ids are made by the driver, once.
    pub fn place(&mut self, mut order: Order) {
        order.priority = self.next_priority;
        self.next_priority += 1;
        let looked_at_ms = order.placed_at_ms;
        self.put(order, looked_at_ms);
    }

    /// [`Market::place`] of an order that has its priority.
    pub(crate) fn put(&mut self, order: Order, looked_at_ms: i64) {
        let id = order.order;
        assert!(self.place_of(id).is_none(), "{id} was placed twice");
        let owner_place = self.owner_place(order.owner);
        let group_place = order.group.map_or(NONE, |group| self.group_place(group));
        let (side, rank, instrument) = (order.side, order.rank(), order.instrument);
        let (leaves, public) = (order.leaves_quantity, !order.is_conditional());
        if let crate::TimeInForce::Gtt { until_ms } = order.time_in_force {
            self.expiries.insert((until_ms, id));
        }
        if let Some(named) = order.only_ask() {
            self.naming.insert((named, id));
        }
        let place = self.entries.insert(Entry {
            order,
            level: UNLINKED,
            owned: UNLINKED,
            grouped: UNLINKED,
            owner_place,
            group_place,
            looked_at_ms,
            ticket: None,
        });
        self.ids.insert(id, place);

        let levels = self.books[usize::from(instrument.0)].side_mut(side);
        let level = levels.entry(rank).or_insert(PriceLevel {
            head: place,
            tail: NONE,
            quantity: 0,
            orders: 0,
        });
        let tail = std::mem::replace(&mut level.tail, place);
        if public {
            level.quantity += u64::from(leaves);
            level.orders += 1;
        }
        if tail != NONE {
            self.entries[tail].level.after = place;
            self.entries[place].level.before = tail;
        }

        let owner = &mut self.owners[owner_place];
        owner.orders += 1;
        let next = std::mem::replace(&mut owner.head, place);
        self.entries[place].owned.after = next;
        if next != NONE {
            self.entries[next].owned.before = place;
        }
        if group_place != NONE {
            let group = &mut self.groups[group_place];
            group.asks += 1;
            let next = std::mem::replace(&mut group.head, place);
            self.entries[place].grouped.after = next;
            if next != NONE {
                self.entries[next].grouped.before = place;
            }
        }
        self.note_recheck(place);
    }

    fn owner_place(&mut self, account: AccountId) -> u32 {
        let owners = &mut self.owners;
        *self
            .owner_places
            .entry(account)
            .or_insert_with(|| owners.insert(Owner { account, orders: 0, head: NONE }))
    }

    /// Leaves an open order that many units, without a fill; at 0 it is cancelled. Returns the
    /// order when it left the book.
    ///
    /// # Panics
    /// When the order isn't open.
    pub fn reduce(&mut self, order: OrderId, leaves_quantity: u32) -> Option<Order> {
        let place = self.open_place(order);
        self.shrink(place, leaves_quantity);
        (leaves_quantity == 0).then(|| self.leave(place, OrderStatus::Cancelled))
    }

    /// Matches so many units of two open orders, at the price of the match. Returns the ask and
    /// the bid that left the book.
    ///
    /// # Panics
    /// When either isn't open or has fewer units.
    pub fn fill(
        &mut self,
        ask: OrderId,
        bid: OrderId,
        price_nanocredits: i64,
        quantity: u32,
    ) -> (Option<Order>, Option<Order>) {
        let (ask, bid) = (self.open_place(ask), self.open_place(bid));
        let mut filled = |place: u32| {
            let order = &mut self.entries[place].order;
            let leaves = order.leaves_quantity.checked_sub(quantity).expect("no more than it has");
            order.cumulative_quantity += quantity;
            self.shrink(place, leaves);
            leaves == 0
        };
        let ended = (filled(ask), filled(bid));
        let Entry { order, group_place, .. } = &self.entries[ask];
        let instrument = usize::from(order.instrument.0);
        if *group_place != NONE {
            self.groups[*group_place].used.add(&self.instruments[instrument].unit, quantity);
        }
        self.books[instrument].last_price_nanocredits = Some(price_nanocredits);
        let mut leave = |ended: bool, place| ended.then(|| self.leave(place, OrderStatus::Filled));
        (leave(ended.0, ask), leave(ended.1, bid))
    }

    /// States what holds between an open bid and an owner's asks from now on.
    ///
    /// # Panics
    /// When the order isn't open.
    pub fn restrict(&mut self, bid: OrderId, owner: AccountId, restriction: Restriction) {
        let place = self.open_place(bid);
        self.forget_recheck(place);
        let terms = self.entries[place].order.terms.get_or_insert_default();
        terms.restrictions.insert(owner, restriction);
        self.note_recheck(place);
    }

    pub(crate) fn open_place(&self, order: OrderId) -> u32 {
        self.place_of(order).unwrap_or_else(|| panic!("{order} is not open"))
    }

    fn shrink(&mut self, place: u32, leaves_quantity: u32) {
        let order = &mut self.entries[place].order;
        let taken = order.leaves_quantity.saturating_sub(leaves_quantity);
        order.leaves_quantity = leaves_quantity;
        if !order.is_conditional() {
            let (side, rank, instrument) = (order.side, order.rank(), order.instrument);
            let levels = self.books[usize::from(instrument.0)].side_mut(side);
            let level = levels.get_mut(&rank).expect("an open order has a level");
            level.quantity -= u64::from(taken);
        }
    }

    fn leave(&mut self, place: u32, status: OrderStatus) -> Order {
        self.forget_recheck(place);
        let Entry {
            mut order, level: links, owned, grouped, owner_place, group_place, ticket, ..
        } = self.entries.remove(place);
        let id = order.order;
        self.ids.remove(id, |found| found == place);
        if let Some(ticket) = ticket {
            self.unfinished.remove(&ticket);
        }
        if let crate::TimeInForce::Gtt { until_ms } = order.time_in_force {
            self.expiries.remove(&(until_ms, id));
        }

        let rank = order.rank();
        let levels = self.books[usize::from(order.instrument.0)].side_mut(order.side);
        let level = levels.get_mut(&rank).expect("an open order has a level");
        if !order.is_conditional() {
            level.orders -= 1;
        }
        if links.before == NONE && links.after == NONE {
            levels.remove(&rank);
        } else {
            if links.before == NONE {
                level.head = links.after;
            }
            if links.after == NONE {
                level.tail = links.before;
            }
            self.join(links, |entry| &mut entry.level);
        }

        self.join(owned, |entry| &mut entry.owned);
        let owner = &mut self.owners[owner_place];
        owner.orders -= 1;
        if owned.before == NONE {
            owner.head = owned.after;
        }
        if owner.orders == 0 {
            let account = self.owners.remove(owner_place).account;
            self.owner_places.remove(&account);
        }
        if group_place != NONE {
            self.join(grouped, |entry| &mut entry.grouped);
            let group = &mut self.groups[group_place];
            group.asks -= 1;
            if grouped.before == NONE {
                group.head = grouped.after;
            }
        }

        if let Some(named) = order.only_ask() {
            self.naming.remove(&(named, id));
        }
        if order.side == Side::Ask {
            self.look_again_naming(id);
        }
        order.status = status;
        order
    }

    /// Other asks of the group may stand in now for the one that left.
    fn look_again_naming(&mut self, ask: OrderId) {
        let all = (ask, OrderId(0))..=(ask, OrderId(u128::MAX));
        if self.naming.is_empty() {
            return;
        }
        let bids: Vec<_> = self.naming.range(all).map(|(_, bid)| *bid).collect();
        for bid in bids {
            self.look_again(bid, None);
        }
    }

    fn join(&mut self, links: Links, of: fn(&mut Entry) -> &mut Links) {
        if links.before != NONE {
            of(&mut self.entries[links.before]).after = links.after;
        }
        if links.after != NONE {
            of(&mut self.entries[links.after]).before = links.before;
        }
    }

    /// Bytes on the heap that open orders take: slab, table, prices. For measuring.
    pub fn heap_bytes(&self) -> usize {
        // A B-tree's nodes are at least half full; two thirds is usual.
        let levels: usize = self.books.iter().map(|book| book.asks.len() + book.bids.len()).sum();
        let node = size_of::<(i64, PriceLevel)>() * 3 / 2;
        self.entries.heap_bytes() + self.ids.heap_bytes() + self.owners.heap_bytes() + levels * node
    }
}
