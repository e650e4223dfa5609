//! What happened. `State::evolve` folds these without deciding anything, so that history
//! stays what it was when rules change.

use base::{
    AccountId, AttemptId, Digest, JobId, LeaseId, MachineId, OrderId, PaymentId, TaskId,
    TransferId, Usage,
};
use ledger::AccountKey;
use market::{Cursor, Filters, Instrument, Restriction, TimeInForce};
use serde::{Deserialize, Serialize};

use crate::command::AttemptEnd;
use crate::fees::{FeeSchedule, LeaseFees};
use crate::figures::NewTask;
use crate::fixed::{FixedEvent, FixedFlow};
use crate::forget::Ended;
use crate::payments::PaymentEvent;

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferReason {
    /// From the outside world.
    Deposit,
    /// Set aside for a job.
    Hold,
    /// Paid to a seller for accepted work. Names the lease, so that what was paid under it
    /// can be folded from the journal alone.
    Settlement {
        /// Under which lease.
        lease: LeaseId,
    },
    /// What a job did not need goes back.
    Release,
    /// The buyer's fee on what was paid under a lease.
    BuyerFee {
        /// Under which lease.
        lease: LeaseId,
    },
    /// The seller's fee on what it was paid under a lease.
    SellerFee {
        /// Under which lease.
        lease: LeaseId,
    },
    /// Of a lease for a fixed time.
    Fixed {
        /// Which.
        lease: LeaseId,
        /// Where it goes.
        flow: FixedFlow,
    },
    /// In or out, at an account's request.
    Payment {
        /// Which.
        payment: PaymentId,
    },
}

/// Why a lease is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseEnd {
    /// The job has no more work for it.
    WorkDone,
    /// The job was cancelled.
    JobCancelled,
    /// Escrow covers no more.
    EscrowSpent,
    /// The seller closed it.
    Seller {
        /// For people.
        reason: String,
    },
    /// Heartbeats stopped.
    Lapsed,
    /// Its machine failed or broke a rule.
    Fault {
        /// For people.
        reason: String,
    },
    /// Its longest term is over.
    Term,
}

/// Why an attempt is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptOutcome {
    /// By its machine's word.
    Reported(AttemptEnd),
    /// Its lease ended under it: back to the last accepted checkpoint.
    LeaseEnded,
    /// Its job was cancelled.
    Cancelled,
}

/// An event. Times are those of the command that caused it.
#[allow(missing_docs, reason = "the fields are those of the commands and of the records")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A new account.
    AccountOpened { account: AccountId, name: String },
    /// Money moved.
    Transferred {
        transfer: TransferId,
        from: AccountKey,
        to: AccountKey,
        amount_nanocredits: i64,
        reason: TransferReason,
    },
    /// A payment was requested or went on.
    Payment(PaymentEvent),
    /// Something about leases for a fixed time.
    Fixed(FixedEvent),
    /// The operator's charges from now on.
    FeesSet { schedule: FeeSchedule, at_ms: i64 },
    /// A machine joined.
    MachineEnrolled { machine: MachineId, owner: AccountId, public_key: [u8; 32], name: String },
    /// A machine left for good.
    MachineRetired { machine: MachineId },
    /// A machine's terms.
    OfferSet {
        machine: MachineId,
        slots: u32,
        memory_mib_per_slot: u32,
        transforms: Vec<u32>,
        #[serde(default)]
        region: String,
    },
    /// How fast a slot of a machine was found to be.
    SpeedMeasured { machine: MachineId, speed_mfuel_per_s: u32, at_ms: i64 },
    /// What each slot of a machine was shown to have, while all were in use.
    MemoryMeasured { machine: MachineId, memory_mib_per_slot: u32, at_ms: i64 },
    /// An ask rests in the book (fills follow as events of their own).
    AskPlaced {
        order: OrderId,
        machine: MachineId,
        client_order_id: String,
        instrument: String,
        quantity: u32,
        price_nanocredits_per_tfuel: i64,
        #[serde(default)]
        time_in_force: TimeInForce,
        #[serde(default)]
        post_only: bool,
        at_ms: i64,
    },
    /// A job's bid rests in the book.
    BidPlaced {
        order: OrderId,
        job: JobId,
        instrument: String,
        quantity: u32,
        price_nanocredits_per_tfuel: i64,
        /// Takes only this ask.
        ask: Option<OrderId>,
        #[serde(default)]
        filters: Filters,
        at_ms: i64,
    },
    /// An open order has this many slots left, without a fill (0: it is cancelled).
    OrderReduced { order: OrderId, leaves_quantity: u32, reason: String, at_ms: i64 },
    /// An account's asks are withdrawn at this time (absent: they are not).
    CancelAfterSet { account: AccountId, due_at_ms: Option<i64> },
    /// An instrument is new, or has new limits.
    InstrumentSet { instrument: Instrument },
    /// One slot was matched.
    Filled {
        ask: OrderId,
        bid: OrderId,
        /// Empty in journals of before it was noted.
        #[serde(default)]
        instrument: String,
        price_nanocredits_per_tfuel: i64,
        at_ms: i64,
    },
    /// An open order was compared with the book because it was due.
    Looked { order: OrderId, at_ms: i64 },
    /// Comparing an open order with the book was cut short: a timer goes on from the cursor.
    ScanCutShort { order: OrderId, cursor: Option<Cursor> },
    /// A job was submitted.
    JobSubmitted {
        job: JobId,
        account: AccountId,
        name: String,
        instrument: String,
        tasks: Vec<(TaskId, NewTask)>,
        max_price_nanocredits_per_tfuel: i64,
        slots: u32,
        budget_nanocredits: i64,
        ask: Option<OrderId>,
        #[serde(default)]
        filters: Filters,
        at_ms: i64,
    },
    /// A job got more money.
    JobToppedUp { job: JobId, amount_nanocredits: i64 },
    /// At its pace of late, a job's escrow is spent soon.
    JobRunningLow { job: JobId, exhaustion_at_ms: i64, at_ms: i64 },
    /// Escrow covers no more: nothing runs until a top-up.
    JobExhausted { job: JobId, at_ms: i64 },
    /// A top-up covers more: the job runs again.
    JobResumed { job: JobId, at_ms: i64 },
    /// Every task ended.
    JobDone { job: JobId, at_ms: i64 },
    /// The buyer cancelled.
    JobCancelled { job: JobId, at_ms: i64 },
    /// A fill opened a lease.
    LeaseOpened {
        lease: LeaseId,
        job: JobId,
        machine: MachineId,
        ask: OrderId,
        /// Empty in journals of before it was noted.
        #[serde(default)]
        instrument: String,
        price_nanocredits_per_tfuel: i64,
        tariff_version: u32,
        /// Absent in journals from before there were fees.
        #[serde(default)]
        fees: LeaseFees,
        at_ms: i64,
    },
    /// A lease is over.
    LeaseClosed { lease: LeaseId, end: LeaseEnd, at_ms: i64 },
    /// A task runs on a lease.
    AttemptStarted {
        attempt: AttemptId,
        task: TaskId,
        lease: LeaseId,
        epoch: u64,
        checkpoint: Option<Digest>,
        usage: Usage,
        fuel_allowance: u64,
        at_ms: i64,
    },
    /// A receipt was accepted: work up to `usage` is the lease's.
    ReceiptAccepted {
        attempt: AttemptId,
        receipt_sequence: u64,
        receipt_digest: Digest,
        usage: Usage,
        chain_head: Digest,
        checkpoint: Option<Digest>,
        at_ms: i64,
    },
    /// What holds from now on between a job and an owner of machines; `faults` counts those in
    /// a row without progress.
    SellerRestricted { job: JobId, owner: AccountId, restriction: Restriction, faults: u32 },
    /// A machine refused to admit a task, which awaits another owner's word.
    RefusalNoted { task: TaskId, owner: AccountId },
    /// An attempt is over.
    AttemptEnded { attempt: AttemptId, outcome: AttemptOutcome, at_ms: i64 },
    /// A task is done.
    TaskDone { task: TaskId, result: Digest },
    /// No machine can run a task.
    TaskRefused { task: TaskId, reason: String },
    /// What was over is forgotten.
    Forgotten { ended: Ended },
}
