//! Instruments, orders, the book and matching; ignorant of money and of machines.
//!
//! The book is price-time priority per instrument, on integer ticks and whole slots. Whoever
//! drives it asks [`Market::next_match`] for one match at a time and tells the market what
//! came of it ([`Market::fill`], [`Market::reduce`]), because between two matches the driver
//! may find that the buyer's money covers no more. So matching is a question without effects,
//! and effects decide nothing.
//!
//! A seller's slots are a *capacity group*: each of its asks alone fits into the free slots,
//! together they may exceed them, and after a fill [`Market::overfull`] names the sibling asks
//! that no longer fit.
//!
//! Deliberately absent: money, escrow, leases, clocks. Owners and groups are bare ids here.

mod book;
mod instrument;
mod matching;
mod order;

pub use book::{Depth, Level, Market};
pub use instrument::{Instrument, InstrumentRejection, instrument, instruments};
pub use matching::{Match, SCAN_LIMIT, Scan};
pub use order::{GroupId, Order, OrderStatus, Restriction, Side};
