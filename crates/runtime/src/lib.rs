//! Runs WebAssembly programs so that the same task has the same bill, result and state chain on
//! any machine, however often it is stopped and resumed.
//!
//! A [`task::Task`] is everything that decides what a program computes. A [`worker::Worker`]
//! process runs it: the module is admitted and transformed (`transform`), runs on wasmtime in
//! a virtual world, counts its own fuel, and stops at safepoints, where its state becomes a
//! [`checkpoint::Checkpoint`] or a record of the chain. What can't be captured is refused by
//! name; silently wrong is the one unforgivable outcome.

mod chain;
pub mod checkpoint;
mod engine;
mod execution;
mod float;
mod instance;
pub mod peer;
pub mod protocol;
pub mod save;
pub mod task;
mod transform;
pub mod worker;
mod world;

pub use transform::admit::MODULE_BYTES_MAX;

/// Version of the transform: part of every task digest.
pub const TRANSFORM_VERSION: u32 = 1;
/// Version of the cost table: part of every task digest.
pub const COST_TABLE_VERSION: u32 = 2;
/// Shortest segment: below it the records would cost more than the work.
pub const SEGMENT_FUEL_MIN: u64 = 1 << 20;
/// Longest segment: what a trap or a newly born NaN has run again is one segment.
pub const SEGMENT_FUEL_MAX: u64 = 1 << 40;

#[cfg(test)]
mod tests;
