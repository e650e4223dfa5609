//! Messages between exchange, agent and client: versioned, and with the bytes that are signed.
//!
//! Core types are not wire types: the edges convert explicitly, so that a rule may change
//! without breaking an agent that was installed last month. JSON is the encoding everywhere;
//! unknown fields are ignored and new fields are optional, so that version N−1 keeps working.

mod access;
mod agent;
mod coding;
mod feed;
mod fixed;
mod instruments;
mod market;
mod money;
mod receipt;
mod reference;
mod rest;
mod statement;
mod task;

pub use access::*;
pub use agent::*;
pub use coding::*;
pub use feed::*;
pub use fixed::*;
pub use instruments::*;
pub use market::*;
pub use money::*;
pub use receipt::*;
pub use reference::*;
pub use rest::*;
pub use statement::*;
pub use task::*;

/// The version of this protocol, sent in the first message of each side.
pub const PROTOCOL_VERSION: u32 = 1;
