//! Instruments, orders, the book and matching; ignorant of money and of machines.
//!
//! The book is price-time priority per instrument, on integer ticks and whole units. Whoever
//! drives it asks first whether an order may enter ([`Market::admit`]), places it, asks
//! [`Market::next_match`] for one match at a time and tells the market what came of it
//! ([`Market::fill`], [`Market::reduce`]), because between two matches the driver may find that
//! the buyer's money covers no more. So matching is a question without effects, and effects
//! decide nothing.
//!
//! A seller's capacity is a *group*: each of its asks alone fits into what is free, together
//! they may exceed it, and after a fill [`Market::overfull`] names the sibling asks that no
//! longer fit. Capacity and attributes are vectors of integers without meaning here.
//!
//! One command examines at most [`SCAN_LIMIT`] orders. What is left is queued
//! ([`Market::look_again`]) and due at once ([`Market::due`]).
//!
//! An owner's bid and ask never meet: the two rest side by side. Cancelling either, as exchanges
//! do where both are a trader's quotes, would withdraw a machine because its owner has a job.
//!
//! Where things are: `order`, `instrument` and `capacity` are the nouns; `book` holds them and
//! changes; `matching`, `admission` and `timers` ask; `slab` is the memory; `snapshot` the
//! encoding. Deliberately absent: money, escrow, leases, clocks, and orders that ended.

mod admission;
mod book;
mod capacity;
mod instrument;
mod matching;
mod order;
mod slab;
mod snapshot;
mod timers;

pub use admission::{GROUP_ASKS_MAX, OrderRejection};
pub use book::{Depth, Level, Market};
pub use capacity::{ATTRIBUTES, Attributes, Capacity, DIMENSIONS, GroupId};
pub use instrument::{Instrument, InstrumentRejection, PricedPer, first_instruments};
pub use matching::{Cursor, Match, SCAN_LIMIT, Scan};
pub use order::{
    EXCLUDED_MAX, Filters, InstrumentId, Order, OrderStatus, Restriction, Side, Terms, TimeInForce,
};
pub use timers::Due;
