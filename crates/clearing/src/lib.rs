//! Leases, jobs, tasks, receipts, settlement: who may run what, and who owes what to whom.
//!
//! The only place that composes the ledger and the market. [`apply`] decides a command against
//! a [`State`] and answers with the events that happened or a [`Rejection`]; [`State::evolve`]
//! folds events without deciding anything, so that history stays what it was when rules
//! change. The same commands in the same order give the same events, the same ids and the same
//! [`State::digest`] on every platform.
//!
//! Deliberately absent: I/O, clocks, randomness, floats, signatures, blobs. Commands come from
//! an edge that has checked those; time and ids come in with the command.
//!
//! Where things are: `command` and `event` are the interface; `records` and `state` hold what
//! is known; `evolve` folds; `decide` and the modules below it hold the rules; `escrow` and
//! `tariff` and `fees` hold the arithmetic of money; `payments` is how it comes in and goes out;
//! `forget` is what memory lets go.

mod agenda;
pub mod attributes;
pub mod command;
pub mod event;

mod decide;
mod escrow;
mod evolve;
mod fees;
mod figures;
pub mod fixed;
mod forget;
pub mod payments;
mod read;
mod records;
mod rejection;
mod rules;
mod state;
mod tariff;

pub use command::{AttemptEnd, Command, Context};
pub use decide::{MACHINE_FAULTS, apply, decide, top_up_id};
pub use event::{AttemptOutcome, Event, LeaseEnd, TransferReason};
pub use fees::{BASIS_POINTS, FeeSchedule, LeaseFees};
pub use figures::{NewTask, TaskFigures};
pub use forget::Ended;
pub use ledger::{AccountKey, TransferRejection};
pub use read::{AttemptToRun, Counts, OrderInfo};
pub use records::{
    Account, Attempt, EndedOrder, Job, JobPhase, Lease, LeasePhase, Machine, OrderLink, Seller,
    Task, TaskPhase,
};
pub use rejection::Rejection;
pub use rules::Rules;
pub use state::{STATE_VERSION, State};
pub use tariff::{TARIFF_VERSION, Tariff};
