//! Whole exchanges in one thread, in simulated time, with everything that can go wrong going
//! wrong: machines crash, sleep, lie, repeat, reorder and delay; the network loses messages and
//! splits, for one, some or all, in both directions or in one; the exchange's clock jumps; its disk fails at every kind of write, and it dies at every
//! point of a commit. A seed gives the same run everywhere.
//!
//! Real: clearing's rules and folding, the journal's encoding, recovery from snapshots and
//! entries. Modelled: disk, network, machines, buyers, the operator.
//!
//! A run has a stormy part and a calm end. Throughout:
//! - every invariant of `crates/clearing/tests/world/invariants.rs` holds after every command;
//! - what recovery gives is what was committed, from a snapshot as from the first entry;
//! - what was answered is in the journal.
//!
//! And after the calm every job is over, and each task that is done used exactly what its program
//! uses, wherever it ran.

mod agent;
mod disk;
mod exchange;
#[path = "../../clearing/tests/world/invariants.rs"]
mod invariants;
mod network;
mod past;
mod program;
mod random;
mod report;
mod run;

pub use report::Report;
pub use run::{journal, run};
