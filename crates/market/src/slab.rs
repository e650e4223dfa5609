//! Where open orders lie: numbered places that are used again, chained into lists by those
//! numbers, and a table that finds a place by an order's id.
//!
//! A tree of ids would cost a dozen cache misses per order of a deep book. The table is not
//! `std`'s, because its order would differ from run to run; nothing here is ever walked in the
//! order of places or of the table, so what a replay does is what happened.

use base::OrderId;

/// No place: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// For `serde`.
pub(crate) fn none() -> u32 {
    NONE
}

/// Values in numbered places.
#[derive(Debug, Clone)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Keeps a value; returns its place.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = Some(value);
                place
            }
            None => {
                self.places.push(Some(value));
                (self.places.len() - 1) as u32
            }
        }
    }

    /// Takes a value out.
    ///
    /// # Panics
    /// When the place is empty.
    pub(crate) fn remove(&mut self, place: u32) -> T {
        let value = self.places[place as usize].take().expect("the place holds a value");
        self.free.push(place);
        value
    }

    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        self.places.get(place as usize)?.as_ref()
    }

    /// Values that are kept.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// In the order of places, which means nothing: sort before anybody sees it.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, place: u32) -> &T {
        self.places[place as usize].as_ref().expect("the place holds a value")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, place: u32) -> &mut T {
        self.places[place as usize].as_mut().expect("the place holds a value")
    }
}

/// One entry of the table: part of the id's hash, and where the order lies.
#[derive(Debug, Clone, Copy)]
struct Row {
    tag: u32,
    place: u32,
}

const EMPTY: Row = Row { tag: 0, place: NONE };

/// Finds places by id: open addressing, linear probing, at most seven eighths full. The ids
/// themselves lie with the orders; the caller compares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdTable {
    rows: Vec<Row>,
    used: usize,
}

/// Ids of orders are digests already; made-up ones of tests are spread, too.
fn tag(id: OrderId) -> u32 {
    let folded = (id.0 >> 64) as u64 ^ id.0 as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

impl IdTable {
    /// The place of an id, if `is` says that the order there has it.
    pub(crate) fn find(&self, id: OrderId, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.row_of(id, is).map(|row| self.rows[row].place)
    }

    fn row_of(&self, id: OrderId, is: impl Fn(u32) -> bool) -> Option<usize> {
        if self.rows.is_empty() {
            return None;
        }
        let (tag, mask) = (tag(id), self.rows.len() - 1);
        let mut row = self.home(tag);
        loop {
            let found = self.rows[row];
            if found.place == NONE {
                return None;
            }
            if found.tag == tag && is(found.place) {
                return Some(row);
            }
            row = (row + 1) & mask;
        }
    }

    /// The high bits of the hash: they are the better mixed ones.
    fn home(&self, tag: u32) -> usize {
        let bits = self.rows.len().trailing_zeros();
        (u64::from(tag) >> (32 - bits.min(32))) as usize
    }

    /// Notes an id that isn't there yet.
    pub(crate) fn insert(&mut self, id: OrderId, place: u32) {
        if (self.used + 1) * 8 > self.rows.len() * 7 {
            let grown = vec![EMPTY; (self.rows.len() * 2).max(16)];
            let old = std::mem::replace(&mut self.rows, grown);
            for row in old.into_iter().filter(|row| row.place != NONE) {
                self.put(row);
            }
        }
        self.put(Row { tag: tag(id), place });
        self.used += 1;
    }

    fn put(&mut self, new: Row) {
        let mask = self.rows.len() - 1;
        let mut row = self.home(new.tag);
        while self.rows[row].place != NONE {
            row = (row + 1) & mask;
        }
        self.rows[row] = new;
    }

    /// Forgets an id, and closes the gap so that no probe ends too early.
    pub(crate) fn remove(&mut self, id: OrderId, is: impl Fn(u32) -> bool) {
        let Some(mut gap) = self.row_of(id, is) else { return };
        let mask = self.rows.len() - 1;
        let mut next = gap;
        loop {
            next = (next + 1) & mask;
            let found = self.rows[next];
            if found.place == NONE {
                break;
            }
            let home = self.home(found.tag);
            // It may move back to the gap unless its home lies between the two.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(gap) & mask) {
                self.rows[gap] = found;
                gap = next;
            }
        }
        self.rows[gap] = EMPTY;
        self.used -= 1;
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
    }
}

impl<T> Slab<T> {
    /// Bytes on the heap, what values own elsewhere left out.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.places.capacity() * size_of::<Option<T>>() + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_table_finds_what_a_tree_finds() {
        let (mut table, mut slab, mut tree) =
            (IdTable::default(), Slab::default(), BTreeMap::new());
        let mut random = 1u64;
        for step in 0..20_000u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
            // Few distinct hashes, so that long runs of neighbours are removed from.
            let id = OrderId(u128::from((random >> 33) % 700) << 57);
            let is = |slab: &Slab<OrderId>, place: u32| slab[place] == id;
            match tree.remove(&id) {
                Some(place) => {
                    assert_eq!(table.find(id, |place| is(&slab, place)), Some(place));
                    table.remove(id, |place| is(&slab, place));
                    slab.remove(place);
                    assert_eq!(table.find(id, |place| is(&slab, place)), None);
                }
                None => {
                    assert_eq!(table.find(id, |place| is(&slab, place)), None);
                    let place = slab.insert(id);
                    table.insert(id, place);
                    tree.insert(id, place);
                }
            }
        }
        for (id, place) in &tree {
            assert_eq!(table.find(*id, |place| slab[place] == *id), Some(*place));
        }
        assert_eq!(slab.len(), tree.len());
    }
}
