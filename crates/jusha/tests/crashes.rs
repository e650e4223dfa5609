//! Machines and the exchange killed by SIGKILL, workers killed alone, drains and restarts: right
//! answers, every unit of fuel paid exactly once, nothing acknowledged lost.
//!
//! `JUSHA_LOOPS=500` goes through so many seeded moments of each kind, `JUSHA_SEED=17` repeats one.

mod crash;
mod stage;
