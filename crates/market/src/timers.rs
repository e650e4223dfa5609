//! What time brings: orders expire, restrictions end, and scans that were cut short go on. The
//! driver asks what is due and does it in commands of bounded work.

use base::OrderId;

use crate::book::Market;
use crate::matching::Cursor;

/// Something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Cancel this order: its time is over.
    Expired(OrderId),
    /// Match this order again, from this place on; after telling [`Market::looked`].
    Look(OrderId, Option<Cursor>),
}

impl Market {
    /// What is due first at `now_ms`.
    pub fn due(&self, now_ms: i64) -> Option<Due> {
        let of = |found: Option<&(i64, OrderId)>| {
            found.filter(|(at_ms, _)| *at_ms <= now_ms).map(|(_, order)| *order)
        };
        if let Some(order) = of(self.expiries.first()) {
            return Some(Due::Expired(order));
        }
        if let Some(order) = of(self.rechecks.first()) {
            return Some(Due::Look(order, None));
        }
        let (_, (order, cursor)) = self.unfinished.first_key_value()?;
        Some(Due::Look(*order, *cursor))
    }

    /// How many scans wait to go on: each is due at once.
    pub fn unfinished_scans(&self) -> usize {
        self.unfinished.len()
    }

    /// An open order was compared with the book: it is no longer due.
    ///
    /// # Panics
    /// When the order isn't open.
    pub fn looked(&mut self, order: OrderId, at_ms: i64) {
        let place = self.open_place(order);
        self.forget_recheck(place);
        let entry = &mut self.entries[place];
        entry.looked_at_ms = entry.looked_at_ms.max(at_ms);
        if let Some(ticket) = entry.ticket.take() {
            self.unfinished.remove(&ticket);
        }
        self.note_recheck(place);
    }

    /// Queues an open order to be compared with the book, from a place on. One that waits
    /// already keeps its turn.
    ///
    /// # Panics
    /// When the order isn't open.
    pub fn look_again(&mut self, order: OrderId, cursor: Option<Cursor>) {
        let place = self.open_place(order);
        match self.entries[place].ticket {
            Some(ticket) => {
                self.unfinished.insert(ticket, (order, cursor));
            }
            None => {
                let last = self.unfinished.last_key_value().map(|(ticket, _)| *ticket);
                let ticket = last.map_or(0, |last| last + 1);
                self.unfinished.insert(ticket, (order, cursor));
                self.entries[place].ticket = Some(ticket);
            }
        }
    }

    fn recheck_at_ms(&self, place: u32) -> Option<i64> {
        let entry = &self.entries[place];
        let restrictions = &entry.order.terms.as_ref()?.restrictions;
        restrictions.values().filter_map(|found| found.changes_after(entry.looked_at_ms)).min()
    }

    pub(crate) fn note_recheck(&mut self, place: u32) {
        if let Some(at_ms) = self.recheck_at_ms(place) {
            self.rechecks.insert((at_ms, self.entries[place].order.order));
        }
    }

    pub(crate) fn forget_recheck(&mut self, place: u32) {
        if let Some(at_ms) = self.recheck_at_ms(place) {
            self.rechecks.remove(&(at_ms, self.entries[place].order.order));
        }
    }
}
