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
    /// The most that a fee may be.
    pub fee_basis_points_max: u32,
    /// Most payments of an account that are not over.
    pub open_payments_max: usize,
    /// So many times its price an outage of a fixed lease pays, on top of not being paid for.
    pub outage_multiple: u32,
    /// A seller's bond is what this time costs.
    pub bond_ms: i64,
    /// A fixed lease that is down for so long ends.
    pub outage_max_ms: i64,
    /// The notice that a seller owes.
    pub seller_notice_ms: i64,
    /// The notice that a buyer owes.
    pub buyer_notice_ms: i64,
    /// How long before its money runs out a buyer is told.
    pub exhaustion_warning_ms: i64,
    /// Longest name, reason or client's id, in bytes.
    pub text_max_bytes: usize,
    /// The fastest that a slot may claim to compute.
    pub max_fuel_per_ms: u64,
    /// Time that every attempt is granted on top of what passed, against clock granularity.
    pub elapsed_slack_ms: i64,
    /// The most state that a slot may claim to have changed: eight times the rate of hashing.
    pub max_state_bytes_per_ms: u64,
    /// Least fuel between two chain records of a task.
    pub segment_fuel_min: u64,
    /// Most traffic of one task.
    pub traffic_bytes_max: u64,
    /// Least progress that makes an attempt worth starting. Below it, escrow counts as spent.
    pub useful_fuel_min: u64,
    /// How far a task may run past its allowance to the next safepoint.
    pub overshoot_fuel: u64,
    /// Owners whose machines failed at a task without progress, after which it is refused.
    pub fault_owners_max: u32,
    /// One owner's faults at a task without progress, after which it is refused when nobody
    /// else offers.
    pub owner_faults_max: u32,
    /// How long a job bars an owner after its first fault; doubles with each in a row.
    pub fault_pause_ms: i64,
    /// The longest such pause.
    pub fault_pause_max_ms: i64,
    /// How long a job bars an owner whose machine refused a task, so that another confirms it.
    pub refusal_pause_ms: i64,
    /// Longest term of a lease: it ends with the first receipt after it.
    pub max_term_ms: i64,
    /// How long past its term a lease waits for that receipt: longer than the time between two.
    pub term_grace_ms: i64,
    /// An attempt without progress for so long ends.
    pub stall_ms: i64,
    /// Most instruments: each has a book, and a tick looks at them.
    pub instruments_max: usize,
    /// The longest time of a dead man's switch.
    pub cancel_after_max_ms: i64,
    /// How long an owner who ended a lease is passed over by the same job.
    pub exclusion_ms: i64,
    /// How long that job pays that owner no more than under the lease that it ended.
    pub price_cap_ms: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            tasks_max: 10_000,
            job_slots_max: 1_000,
            machine_slots_max: 1_000,
            // A million credits: far beyond use, far below overflow.
            amount_max_nanocredits: 1_000_000 * base::NANOCREDITS_PER_CREDIT,
            fee_basis_points_max: 2_000,
            open_payments_max: 100,
            outage_multiple: 3,
            bond_ms: 24 * 3_600_000,
            outage_max_ms: 3_600_000,
            seller_notice_ms: 4 * 3_600_000,
            buyer_notice_ms: 60_000,
            exhaustion_warning_ms: 600_000,
            text_max_bytes: 256,
            // Eight times a current core at 20 Gfuel/s.
            max_fuel_per_ms: 8 * 20_000_000,
            elapsed_slack_ms: 100,
            max_state_bytes_per_ms: 8 * 1_500_000,
            segment_fuel_min: 1 << 20,
            traffic_bytes_max: 16 << 30,
            useful_fuel_min: base::FUEL_PER_GFUEL / 16,
            overshoot_fuel: base::FUEL_PER_GFUEL,
            fault_owners_max: 3,
            owner_faults_max: 5,
            fault_pause_ms: 1_000,
            fault_pause_max_ms: 300_000,
            refusal_pause_ms: 60_000,
            max_term_ms: 6 * 3_600_000,
            term_grace_ms: 120_000,
            stall_ms: 600_000,
            instruments_max: 1_000,
            cancel_after_max_ms: 86_400_000,
            exclusion_ms: 600_000,
            price_cap_ms: 3_600_000,
        }
    }
}
