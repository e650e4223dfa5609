//! The transform: from an admitted module to one that meters itself, stops at safepoints, saves
//! its stack into a memory of its own and resumes from there.
//!
//! Fuel, safepoint and rewind share one test (see [`layout`]). Every agent transforms the
//! original itself; it never runs code that merely claims to be metered.
//!
//! Phases: [`admit()`] parses and validates, and refuses by name what is not captured;
//! [`graph`] finds the functions that can be on the stack at a safepoint; each function is read
//! ([`function`]), its live locals computed ([`liveness`]) and emitted ([`emit`], [`leaf`]).

pub mod admit;
mod charges;
pub mod cost;
mod emit;
mod function;
pub mod genesis;
mod graph;
pub mod layout;
mod leaf;
mod liveness;
mod module;
mod tables;
mod uses;

pub use admit::{Refusal, admit};
pub use module::transform;
pub use tables::LINE_BYTES as TABLE_LINE_BYTES;
