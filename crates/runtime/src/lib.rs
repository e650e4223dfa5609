//! Runs WebAssembly programs so that the same task has the same bill, result and state chain on
//! any machine, however often it is stopped and resumed.
//!
//! A [`task::Task`] is everything that decides what a program computes. A [`launch::Launcher`]
//! has it run by processes that hold foreign code and can do nothing else ([`sandbox`],
//! [`worker`]): one admits, transforms (`transform`) and compiles the module, another runs it on
//! wasmtime in a virtual world, where it counts its own fuel and stops at safepoints, at which its
//! state becomes a [`checkpoint::Checkpoint`] or a record of the chain. What can't be captured is
//! refused by name; silently wrong is the one unforgivable outcome.

pub mod artefacts;
pub mod base_state;
mod baseline;
mod chain;
pub mod chain_file;
pub mod checkpoint;
mod dirty;
pub mod doctor;
mod engine;
mod execution;
mod float;
mod host;
mod instance;
mod kept_tables;
pub mod launch;
mod leaf;
pub mod measure;
pub mod peer;
mod pipe;
pub mod protocol;
pub mod reactor;
mod run_error;
pub mod sandbox;
pub mod save;
mod stop;
pub mod task;
mod transform;
mod value;
pub mod worker;
mod world;

pub use leaf::Leaf;
pub use transform::admit::MODULE_BYTES_MAX;

/// Version of the transform: part of every task digest.
pub const TRANSFORM_VERSION: u32 = 5;
/// Version of the cost table: part of every task digest.
pub const COST_TABLE_VERSION: u32 = 4;
/// Shortest segment: below it the records would cost more than the work.
pub const SEGMENT_FUEL_MIN: u64 = 1 << 20;
/// Longest segment: what a trap or a newly born NaN has run again is one segment.
pub const SEGMENT_FUEL_MAX: u64 = 1 << 40;

#[cfg(test)]
mod tests;
