//! The nouns that every crate shares: ids, digests, usage.
//!
//! Nothing here knows what is bought or sold, and nothing here does I/O. A type belongs
//! here only when two crates that must not depend on each other both need it.

mod digest;
mod id;
#[cfg(feature = "schema")]
mod schema;
mod usage;

pub use digest::{Digest, DigestParseError};
pub use id::{
    AccountId, AttemptId, ExchangeId, IdParseError, JobId, LeaseId, MachineId, OrderId, PaymentId,
    TaskId, TransferId,
};
pub use usage::Usage;

/// Nanocredits in one credit. One credit is quoted as one US dollar.
pub const NANOCREDITS_PER_CREDIT: i64 = 1_000_000_000;
/// Fuel in one Gfuel, the unit in which users set limits and segments.
pub const FUEL_PER_GFUEL: u64 = 1_000_000_000;
/// Fuel in one Tfuel, the unit in which prices are quoted.
pub const FUEL_PER_TFUEL: u64 = 1_000_000_000_000;
/// Most fuel that one task may use: 2⁴⁷, some hours of a core. Together with the 2¹⁶
/// pages of a 32-bit memory it keeps every usage figure within an `i64`.
pub const TASK_FUEL_MAX: u64 = 1 << 47;
