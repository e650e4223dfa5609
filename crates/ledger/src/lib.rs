//! Double entry: accounts and transfers between them, ignorant of what was sold.
//!
//! Money is never made or lost here. Every transfer takes from one account what it gives to
//! another, so all balances sum to zero at any time; only [`AccountKey::Outside`], the world
//! from which deposits come, may be negative. A transfer never changes and is posted once per
//! id: whoever is unsure whether a transfer arrived simply sends it again.
//!
//! Deliberately absent: prices, usage, jobs' states, time. The ledger can't be wrong about
//! what it doesn't know.

mod account;
mod balances;
mod transfer;

pub use account::AccountKey;
pub use balances::{Ledger, LedgerCheck};
pub use transfer::{Posted, Transfer, TransferRejection};
