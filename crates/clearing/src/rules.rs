//! The operator's numbers.

use serde::{Deserialize, Serialize};

/// Numbers that the rules depend on. Part of the state, so that two replicas with different
/// numbers have different digests. Changing one changes later decisions, never history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Most tasks in a job.
    pub tasks_max: u32,
    /// Most slots of a job at once.
    pub job_slots_max: u32,
    /// Most slots of a machine.
    pub machine_slots_max: u32,
    /// Most money in one deposit, budget or top-up.
    pub amount_max_nanocredits: i64,
    /// Longest name, reason or client's id, in bytes.
    pub text_max_bytes: usize,
    /// The fastest that a slot may claim to compute.
    pub max_fuel_per_ms: u64,
    /// Time that every attempt is granted on top of what passed, against clock granularity.
    pub elapsed_slack_ms: i64,
    /// Least fuel between two chain records: bounds how often state bytes may be counted.
    pub segment_fuel_min: u64,
    /// Most traffic of one task.
    pub traffic_bytes_max: u64,
    /// Least progress that makes an attempt worth starting. Below it, escrow counts as spent.
    pub useful_fuel_min: u64,
    /// How far a task may run past its allowance to the next safepoint.
    pub overshoot_fuel: u64,
    /// Traffic that escrow is set aside for, per attempt.
    pub traffic_reserve_bytes: u64,
    /// State bytes that escrow is set aside for, as fuel per 1024 fuel.
    pub state_reserve_per_1024: u64,
    /// Faults of one task in a row after which it is refused.
    pub faults_max: u32,
    /// Longest term of a lease.
    pub max_term_ms: i64,
    /// How long an owner who ended a lease is passed over by the same job.
    pub exclusion_ms: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            tasks_max: 10_000,
            job_slots_max: 1_000,
            machine_slots_max: 1_000,
            // A million credits: far beyond use, far below overflow.
            amount_max_nanocredits: 1_000_000 * base::NANOCREDITS_PER_CREDIT,
            text_max_bytes: 256,
            // Eight times a current core at 20 Gfuel/s.
            max_fuel_per_ms: 8 * 20_000_000,
            elapsed_slack_ms: 100,
            segment_fuel_min: 1 << 20,
            traffic_bytes_max: 16 << 30,
            useful_fuel_min: base::FUEL_PER_GFUEL / 16,
            overshoot_fuel: base::FUEL_PER_GFUEL,
            traffic_reserve_bytes: 64 << 20,
            // 2 GiB of changed state every 32 Gfuel is 0.27 fuel per fuel.
            state_reserve_per_1024: 256,
            faults_max: 5,
            max_term_ms: 6 * 3_600_000,
            exclusion_ms: 600_000,
        }
    }
}
