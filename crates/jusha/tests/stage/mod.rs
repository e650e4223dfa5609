//! What the process-level tests share: the real program in every role, each test in a temporary
//! directory of its own, on loopback, with nothing left running whatever happens.
//!
//! Tests wait for events: an exit, a line of output, a newer version of a job. Where there is no
//! event, [`until`] asks again at short intervals, and everything is bounded by [`GUARD`], which
//! says that nothing comes any more, never that something is slow.

// Every test program has its own copy of this module and uses a part of it.
#![allow(dead_code, unused_imports)]

mod market;
mod process;
mod random;
mod scene;
mod settled;
mod watch;
mod work;

pub use market::{BUDGET, FUNDS, MAX_PRICE, Machine, Pace, Stage, submit};
pub use process::{GUARD, Process, children_of, guarded, until};
pub use random::{Random, Seeds};
pub use scene::{Ran, Scene, guest};
pub use settled::{payment, settlements_to};
pub use watch::Watch;
pub use work::{Executed, Work};
