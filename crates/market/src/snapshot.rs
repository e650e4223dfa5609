//! A market as it is stored, hashed and compared: what is open in the order of placement, and
//! nothing of where it happens to lie in memory. Two markets with the same content are equal
//! and have the same encoding, whatever came and went before.

use base::OrderId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::book::Market;
use crate::capacity::Group;
use crate::instrument::Instrument;
use crate::matching::Cursor;
use crate::order::Order;

#[derive(Serialize)]
struct Written<'a> {
    instruments: &'a [Instrument],
    last_prices_nanocredits: Vec<Option<i64>>,
    groups: Vec<&'a Group>,
    /// With the time up to which each was looked at.
    orders: Vec<(&'a Order, i64)>,
    unfinished: Vec<(OrderId, Option<Cursor>)>,
    next_priority: u64,
}

#[derive(Deserialize)]
struct Read {
    instruments: Vec<Instrument>,
    last_prices_nanocredits: Vec<Option<i64>>,
    groups: Vec<Group>,
    orders: Vec<(Order, i64)>,
    unfinished: Vec<(OrderId, Option<Cursor>)>,
    next_priority: u64,
}

impl Market {
    fn written(&self) -> Written<'_> {
        let mut orders: Vec<_> =
            self.entries.values().map(|entry| (&entry.order, entry.looked_at_ms)).collect();
        orders.sort_unstable_by_key(|(order, _)| order.priority);
        let groups = self.group_places.values().map(|place| &self.groups[*place]).collect();
        Written {
            instruments: &self.instruments,
            last_prices_nanocredits: self
                .books
                .iter()
                .map(|book| book.last_price_nanocredits)
                .collect(),
            groups,
            orders,
            unfinished: self.unfinished.values().copied().collect(),
            next_priority: self.next_priority,
        }
    }
}

impl Serialize for Market {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Market {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Read::deserialize(deserializer)?;
        let mut market = Market::new(read.instruments);
        for (book, last) in market.books.iter_mut().zip(read.last_prices_nanocredits) {
            book.last_price_nanocredits = last;
        }
        for group in read.groups {
            let id = group.group;
            let asks = 0;
            let place = market.groups.insert(Group { asks, ..group });
            market.group_places.insert(id, place);
        }
        for (order, looked_at_ms) in read.orders {
            market.put(order, looked_at_ms);
        }
        for (order, cursor) in read.unfinished {
            market.look_again(order, cursor);
        }
        market.next_priority = read.next_priority;
        Ok(market)
    }
}

impl PartialEq for Market {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (self.written(), other.written());
        one.instruments == two.instruments
            && one.last_prices_nanocredits == two.last_prices_nanocredits
            && one.orders == two.orders
            && one.unfinished == two.unfinished
            && one.next_priority == two.next_priority
            && one.groups.len() == two.groups.len()
            && one.groups.iter().zip(&two.groups).all(|(one, two)| {
                (one.group, one.capacity, one.used, one.attributes)
                    == (two.group, two.capacity, two.used, two.attributes)
            })
    }
}

impl Eq for Market {}
