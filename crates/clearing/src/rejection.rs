//! Why a command is refused: one variant per cause, with the offending value and what to do.

use base::{AccountId, AttemptId, JobId, LeaseId, MachineId, TransferId};
use ledger::TransferRejection;
use market::OrderRejection;
use serde::Serialize;

use crate::fixed::FixedRejection;
use crate::payments::PaymentRejection;

/// Why a command changed nothing. What belongs to somebody else is `NotFound`, like what does
/// not exist, so that ids can't be probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Rejection {
    /// Unknown, or somebody else's.
    #[error("there is no {what} `{id}` of yours: check the id with the list command")]
    NotFound {
        /// Such as `job`.
        what: &'static str,
        /// What was given.
        id: String,
    },
    /// A name, a reason or a client's id is empty or too long.
    #[error("{what} has {bytes} bytes: give 1 to {max}")]
    TextLength {
        /// Which text.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// The account's id is taken by another account.
    #[error("{account} exists under another name: make a new id")]
    AccountConflict {
        /// The account.
        account: AccountId,
    },
    /// Zero, negative or absurd.
    #[error("{amount_nanocredits} nanocredits are out of range: give 1 to {max}")]
    AmountOutOfRange {
        /// What was given.
        amount_nanocredits: i64,
        /// The most.
        max: i64,
    },
    /// The ledger refused.
    #[error(transparent)]
    Transfer(#[from] TransferRejection),
    /// The top-up's id was used for another one.
    #[error("{transfer} was used for another top-up: make a new id")]
    TopUpConflict {
        /// What was given.
        transfer: TransferId,
    },
    /// A payment can't be made or moved.
    #[error(transparent)]
    Payment(#[from] PaymentRejection),
    /// A lease for a fixed time can't be had or offered.
    #[error(transparent)]
    Fixed(#[from] FixedRejection),
    /// A fee beyond what an operator may charge.
    #[error("{basis_points} basis points are out of range: charge at most {max}")]
    FeeOutOfRange {
        /// What was given.
        basis_points: u32,
        /// The most.
        max: u32,
    },
    /// The market doesn't admit the order.
    #[error(transparent)]
    Order(#[from] OrderRejection),
    /// The machine's key is enrolled by another account.
    #[error("{machine} is enrolled by another account: retire it there, or use a new key")]
    MachineOwned {
        /// The machine.
        machine: MachineId,
    },
    /// The machine's id belongs to another key.
    #[error("{machine} is enrolled with another key: an id is derived from its key")]
    MachineKeyConflict {
        /// The machine.
        machine: MachineId,
    },
    /// The machine was retired.
    #[error("{machine} was retired: enrol again with a new key")]
    MachineRetired {
        /// The machine.
        machine: MachineId,
    },
    /// More slots than a machine may have.
    #[error("{slots} slots are too many for one machine: offer at most {max}")]
    SlotsOutOfRange {
        /// What was given.
        slots: u32,
        /// The most.
        max: u32,
    },
    /// The machine's slots are too small for the instrument.
    #[error(
        "a slot of {machine} has {memory_mib} MiB and {instrument} needs {needed_mib}: offer \
         more memory per slot, or another instrument"
    )]
    SlotTooSmall {
        /// The machine.
        machine: MachineId,
        /// What it has.
        memory_mib: u32,
        /// The instrument.
        instrument: String,
        /// What it needs.
        needed_mib: u32,
    },
    /// The machine is not where the instrument is.
    #[error(
        "{machine} is {}, and {instrument} is for {needed}: the agent's `--region` says where \
         it is",
        if region.is_empty() { "nowhere that it said" } else { region }
    )]
    OtherRegion {
        /// The machine.
        machine: MachineId,
        /// Where it is, by its owner's word.
        region: String,
        /// The instrument.
        instrument: String,
        /// Where that is.
        needed: String,
    },
    /// The machine's slots were not shown to have the instrument's memory, all at once.
    #[error(
        "the slots of {machine} were shown to have {shown_mib} MiB each, all in use at once, and \
         {instrument} needs {needed_mib}: offer fewer slots, offer them in a smaller one, or wait \
         until the machine is measured again"
    )]
    MemoryNotShown {
        /// The machine.
        machine: MachineId,
        /// As measured by the exchange; 0 before.
        shown_mib: u32,
        /// The instrument.
        instrument: String,
        /// What a unit needs.
        needed_mib: u32,
    },
    /// The machine was not found to be as fast as the instrument asks for.
    #[error(
        "a slot of {machine} was measured at {speed_mfuel_per_s} Mfuel/s and {instrument} needs \
         {needed}: offer it in a slower one, or wait until it is measured again"
    )]
    TooSlow {
        /// The machine.
        machine: MachineId,
        /// As measured by the exchange; 0 before.
        speed_mfuel_per_s: u32,
        /// The instrument.
        instrument: String,
        /// What it needs.
        needed: u32,
    },
    /// An ask for more slots than are free.
    #[error(
        "{quantity} slots asked for and {free} of {machine} are free: lower the quantity, or \
         raise the machine's slots"
    )]
    ExceedsFreeSlots {
        /// The machine.
        machine: MachineId,
        /// What was given.
        quantity: u32,
        /// What is free.
        free: u32,
    },
    /// The client's id was used for another order.
    #[error("`{client_order_id}` was used for another order of this machine: make a new one")]
    ClientOrderConflict {
        /// What was given.
        client_order_id: String,
    },
    /// A switch without a sensible time.
    #[error("cancel_after {after_ms} ms is out of range: give 1 to {max}, or 0 to take it away")]
    CancelAfterOutOfRange {
        /// What was given.
        after_ms: i64,
        /// The most.
        max: i64,
    },
    /// An instrument that makes no sense.
    #[error("{instrument}: {why}")]
    InstrumentFlawed {
        /// Its name.
        instrument: String,
        /// What to change.
        why: &'static str,
    },
    /// A job's bid can't be cancelled by itself.
    #[error("this bid belongs to {job}: cancel the job")]
    BidOfJob {
        /// The job.
        job: JobId,
    },
    /// The job's id was used for another job.
    #[error("{job} was submitted with other content: make a new id")]
    JobConflict {
        /// What was given.
        job: JobId,
    },
    /// No tasks.
    #[error("the job has no tasks: give at least one")]
    NoTasks,
    /// Too many tasks.
    #[error("{tasks} tasks are too many: split the job into jobs of at most {max}")]
    TooManyTasks {
        /// What was given.
        tasks: usize,
        /// The most.
        max: u32,
    },
    /// A task's limits make no sense.
    #[error("task {index}: {figure} is {given}; give {min} to {max}")]
    TaskFigureOutOfRange {
        /// Which task.
        index: usize,
        /// Which figure.
        figure: &'static str,
        /// What was given.
        given: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// No slots, or more than a job may have.
    #[error("{slots} slots are out of range: a job has 1 to {max}")]
    JobSlotsOutOfRange {
        /// What was given.
        slots: u32,
        /// The most.
        max: u32,
    },
    /// The budget doesn't cover the least that is worth starting.
    #[error(
        "a budget of {budget_nanocredits} nanocredits can't start a task: at this limit price \
         give at least {needed_nanocredits}"
    )]
    BudgetTooSmall {
        /// What was given.
        budget_nanocredits: i64,
        /// What is needed.
        needed_nanocredits: i64,
    },
    /// The ask that the job names can't be taken by it.
    #[error("{ask} can't be taken: {why}")]
    AskUnusable {
        /// What was given.
        ask: base::OrderId,
        /// Why.
        why: &'static str,
    },
    /// The job is over.
    #[error("{job} is over: submit a new job")]
    JobOver {
        /// The job.
        job: JobId,
    },
    /// No such attempt.
    #[error("there is no attempt {attempt}: stop it")]
    UnknownAttempt {
        /// What was given.
        attempt: AttemptId,
    },
    /// The attempt runs on another machine.
    #[error("{attempt} is not {machine}'s: stop it")]
    WrongMachine {
        /// The attempt.
        attempt: AttemptId,
        /// Who signed.
        machine: MachineId,
    },
    /// The attempt runs under another lease.
    #[error("{attempt} does not run under {lease}: sign the lease it was started under")]
    WrongLease {
        /// The attempt.
        attempt: AttemptId,
        /// What was given.
        lease: LeaseId,
    },
    /// The receipt's epoch isn't the live one.
    #[error("epoch {epoch} of {attempt} is not live ({live} is): stop the attempt")]
    StaleEpoch {
        /// The attempt.
        attempt: AttemptId,
        /// What was given.
        epoch: u64,
        /// The task's epoch.
        live: u64,
    },
    /// The attempt is over.
    #[error("{attempt} is over: stop it; its task goes on from the last accepted checkpoint")]
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Two different receipts under one key, of an attempt that is over.
    #[error("two different receipts of {attempt} under sequence {receipt_sequence}")]
    Equivocation {
        /// The attempt.
        attempt: AttemptId,
        /// The sequence.
        receipt_sequence: u64,
    },
    /// Sequence 0.
    #[error("receipt sequence 0 of {attempt}: count from 1")]
    SequenceZero {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A figure is lower than what was accepted.
    #[error("usage of {attempt} went down: it is cumulative over the whole task")]
    UsageDecreased {
        /// The attempt.
        attempt: AttemptId,
    },
    /// More than a slot can do in the time.
    #[error(
        "{attempt} claims {claimed} {figure} in {elapsed_ms} ms; at most {max} are possible: \
         stop it"
    )]
    UsageExceedsTime {
        /// The attempt.
        attempt: AttemptId,
        /// Which figure.
        figure: &'static str,
        /// Claimed since it started.
        claimed: u64,
        /// Passed since it started.
        elapsed_ms: i64,
        /// Possible.
        max: u64,
    },
    /// A figure that the task can't reach.
    #[error("{attempt} claims {claimed} {figure}; at most {max} are possible: stop it")]
    UsageImplausible {
        /// The attempt.
        attempt: AttemptId,
        /// Which figure.
        figure: &'static str,
        /// What was claimed.
        claimed: u64,
        /// Possible.
        max: u64,
    },
    /// New usage without a state to go on from.
    #[error("the receipt of {attempt} claims usage without a checkpoint: upload one and name it")]
    CheckpointMissing {
        /// The attempt.
        attempt: AttemptId,
    },
}

impl Rejection {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Rejection::NotFound { .. } => "not_found",
            Rejection::TextLength { .. } => "text_length",
            Rejection::AccountConflict { .. } => "account_conflict",
            Rejection::AmountOutOfRange { .. } => "amount_out_of_range",
            Rejection::Transfer(rejection) => rejection.code(),
            Rejection::TopUpConflict { .. } => "transfer_conflict",
            Rejection::Payment(rejection) => rejection.code(),
            Rejection::Fixed(rejection) => rejection.code(),
            Rejection::FeeOutOfRange { .. } => "fee_out_of_range",
            Rejection::Order(rejection) => rejection.code(),
            Rejection::MachineOwned { .. } => "machine_owned",
            Rejection::MachineKeyConflict { .. } => "machine_key_conflict",
            Rejection::MachineRetired { .. } => "machine_retired",
            Rejection::SlotsOutOfRange { .. } => "slots_out_of_range",
            Rejection::SlotTooSmall { .. } => "slot_too_small",
            Rejection::OtherRegion { .. } => "other_region",
            Rejection::MemoryNotShown { .. } => "memory_not_shown",
            Rejection::TooSlow { .. } => "too_slow",
            Rejection::ExceedsFreeSlots { .. } => "exceeds_free_slots",
            Rejection::ClientOrderConflict { .. } => "client_order_conflict",
            Rejection::CancelAfterOutOfRange { .. } => "cancel_after_out_of_range",
            Rejection::InstrumentFlawed { .. } => "instrument_flawed",
            Rejection::BidOfJob { .. } => "bid_of_job",
            Rejection::JobConflict { .. } => "job_conflict",
            Rejection::NoTasks => "no_tasks",
            Rejection::TooManyTasks { .. } => "too_many_tasks",
            Rejection::TaskFigureOutOfRange { .. } => "task_figure_out_of_range",
            Rejection::JobSlotsOutOfRange { .. } => "job_slots_out_of_range",
            Rejection::BudgetTooSmall { .. } => "budget_too_small",
            Rejection::AskUnusable { .. } => "ask_unusable",
            Rejection::JobOver { .. } => "job_over",
            Rejection::UnknownAttempt { .. } => "unknown_attempt",
            Rejection::WrongMachine { .. } => "wrong_machine",
            Rejection::WrongLease { .. } => "wrong_lease",
            Rejection::StaleEpoch { .. } => "stale_epoch",
            Rejection::AttemptEnded { .. } => "attempt_ended",
            Rejection::Equivocation { .. } => "equivocation",
            Rejection::SequenceZero { .. } => "sequence_zero",
            Rejection::UsageDecreased { .. } => "usage_decreased",
            Rejection::UsageExceedsTime { .. } => "usage_exceeds_time",
            Rejection::UsageImplausible { .. } => "usage_implausible",
            Rejection::CheckpointMissing { .. } => "checkpoint_missing",
        }
    }
}
