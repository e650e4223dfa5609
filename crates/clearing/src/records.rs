//! What is known of accounts, machines, jobs, tasks, attempts and leases.

use std::collections::{BTreeMap, BTreeSet};

use base::{
    AccountId, AttemptId, Digest, JobId, LeaseId, MachineId, OrderId, PaymentId, TaskId,
    TransferId, Usage,
};
use market::{Filters, GroupId, Order, Restriction};
use serde::{Deserialize, Serialize};

use crate::event::{AttemptOutcome, LeaseEnd};
use crate::fees::LeaseFees;
use crate::figures::TaskFigures;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub account: AccountId,
    /// Shown to people.
    pub name: String,
    /// Its jobs, oldest first.
    pub jobs: Vec<JobId>,
    /// Its machines, oldest first; retired ones included.
    pub machines: Vec<MachineId>,
    /// Its payments that are not over.
    pub open_payments: BTreeSet<PaymentId>,
    /// Leases for a fixed time that it bought and that are not over.
    pub fixed_bought: BTreeSet<LeaseId>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its id.
    pub machine: MachineId,
    /// Whose it is.
    pub owner: AccountId,
    /// Ed25519.
    pub public_key: [u8; 32],
    /// Shown to people.
    pub name: String,
    /// Gone for good.
    pub retired: bool,
    /// Slots that may run at once. What is leased of them: [`crate::State::slots_leased`].
    pub slots: u32,
    /// Memory per slot.
    pub memory_mib_per_slot: u32,
    /// Transform versions that it runs.
    pub transforms: Vec<u32>,
    /// Where it is, by its owner's word; empty when that was not said.
    pub region: String,
    /// Open leases, oldest first.
    pub open_leases: Vec<LeaseId>,
    /// Earned in all, after fees.
    pub earned_nanocredits: i64,
    /// Millions of fuel per second and slot, as the exchange measured it; 0 before.
    pub speed_mfuel_per_s: u32,
    /// When that was.
    pub speed_at_ms: Option<i64>,
    /// What each slot was shown to have while all were in use; absent while that was not measured
    /// of what it offers now.
    pub measured_mib_per_slot: Option<u32>,
    /// When that was.
    pub memory_at_ms: Option<i64>,
    /// Of its last leases, newest in the lowest bit: whether its side ended it.
    pub lease_ends: u128,
}

impl Machine {
    /// Of its last 100 leases, how many its side ended.
    pub fn seller_ended_leases(&self) -> u32 {
        self.lease_ends.count_ones()
    }

    /// Remembers how a lease ended.
    pub(crate) fn remember(&mut self, end: &LeaseEnd) {
        let by_seller =
            matches!(end, LeaseEnd::Seller { .. } | LeaseEnd::Lapsed | LeaseEnd::Fault { .. });
        let remembered = (1 << crate::attributes::LEASES_REMEMBERED) - 1;
        self.lease_ends = (self.lease_ends << 1 | u128::from(by_seller)) & remembered;
    }
}

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobPhase {
    /// Tasks remain and escrow covers more of them.
    Active,
    /// Escrow covers no more.
    Exhausted,
    /// Every task ended.
    Done,
    /// Cancelled by its owner.
    Cancelled,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub job: JobId,
    /// Grows with every event that touches the job.
    pub version: u64,
    /// Who pays.
    pub account: AccountId,
    /// Shown to people.
    pub name: String,
    /// What it buys.
    pub instrument: String,
    /// The most it pays per Tfuel.
    pub max_price_nanocredits_per_tfuel: i64,
    /// The most slots at once.
    pub slots: u32,
    /// Set aside in all: at submission and by top-ups.
    pub budget_nanocredits: i64,
    /// What it asked for at submission, so that a repeated submission can be told from another.
    pub submitted_budget_nanocredits: i64,
    /// Paid to sellers.
    pub paid_nanocredits: i64,
    /// Paid to the exchange on top of that.
    pub fees_nanocredits: i64,
    /// When its escrow was foreseen to be spent, since the buyer was warned; a top-up takes the
    /// warning back.
    pub exhaustion_at_ms: Option<i64>,
    /// Given back to the buyer.
    pub released_nanocredits: i64,
    /// Takes only this ask (see [`market::Terms::only_ask`]).
    pub ask: Option<OrderId>,
    /// The group of that ask.
    pub ask_group: Option<GroupId>,
    /// Transfers that set money aside for it, whose ids come from outside.
    pub holds: Vec<TransferId>,
    /// What it wants of machines.
    pub filters: Filters,
    /// Where it is in its life.
    pub phase: JobPhase,
    /// Its tasks, in the order of submission.
    pub tasks: Vec<TaskId>,
    /// Indices into `tasks` of those that wait for a slot.
    pub pending: BTreeSet<u32>,
    /// Live attempts.
    pub live: BTreeSet<AttemptId>,
    /// Its resting bid.
    pub bid: Option<OrderId>,
    /// Open leases.
    pub open_leases: BTreeSet<LeaseId>,
    /// All leases, oldest first.
    pub leases: Vec<LeaseId>,
    /// Owners whose side ended a lease of this job.
    pub sellers: BTreeMap<AccountId, Seller>,
    /// When it was submitted.
    pub submitted_at_ms: i64,
    /// When it was done or cancelled.
    pub ended_at_ms: Option<i64>,
}

/// What a job remembers of an owner of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seller {
    /// What holds for its asks.
    pub restriction: Restriction,
    /// Leases in a row that ended by a fault, since it last made progress.
    pub faults: u32,
}

impl Job {
    /// What holds for the asks of single owners.
    pub(crate) fn restrictions(&self) -> BTreeMap<AccountId, Restriction> {
        self.sellers.iter().map(|(owner, seller)| (*owner, seller.restriction)).collect()
    }

    /// Whether it is done or cancelled.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, JobPhase::Done | JobPhase::Cancelled)
    }
}

/// Where a task is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskPhase {
    /// Waits for a slot.
    Pending,
    /// An attempt is live.
    Running(AttemptId),
    /// It ended.
    Done {
        /// The result blob.
        result: Digest,
    },
    /// No machine can run it.
    Refused {
        /// For people.
        reason: String,
    },
    /// Cancelled with its job.
    Cancelled,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub task: TaskId,
    /// Its job.
    pub job: JobId,
    /// Its place in the job, from 0.
    pub index: u32,
    /// Its spec blob.
    pub spec: Digest,
    /// What it can use at most.
    pub figures: TaskFigures,
    /// Where it is in its life.
    pub phase: TaskPhase,
    /// Usage at the last accepted receipt.
    pub usage: Usage,
    /// The last accepted checkpoint.
    pub checkpoint: Option<Digest>,
    /// The chain's last accepted digest.
    pub chain_head: Option<Digest>,
    /// Epoch of the newest attempt; 0 before the first.
    pub epoch: u64,
    /// Machine faults since there was progress, by owner.
    pub faults: BTreeMap<AccountId, u32>,
    /// Owners whose machines refused to admit it.
    pub refusals: BTreeSet<AccountId>,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptId>,
}

/// One machine's run of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its id.
    pub attempt: AttemptId,
    /// Its task.
    pub task: TaskId,
    /// Its lease.
    pub lease: LeaseId,
    /// Its machine.
    pub machine: MachineId,
    /// Fences its receipts.
    pub epoch: u64,
    /// Where it began: absent means from the beginning.
    pub start_checkpoint: Option<Digest>,
    /// The task's usage where it began. The credited interval is `[start, usage)`.
    pub start: Usage,
    /// The task's usage at the attempt's last accepted receipt, at first `start`.
    pub usage: Usage,
    /// The task's fuel at which it must stop: escrow is set aside up to there.
    pub fuel_allowance: u64,
    /// Sequence of the last accepted receipt; 0 before the first.
    pub receipt_sequence: u64,
    /// Digest of the last accepted receipt.
    pub receipt_digest: Option<Digest>,
    /// When it started.
    pub started_at_ms: i64,
    /// When a receipt last brought progress; at first when it started.
    pub progress_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// Why it ended. A live attempt has none.
    pub outcome: Option<AttemptOutcome>,
}

/// Where a lease is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeasePhase {
    /// Its slot is the job's.
    Open,
    /// It is over.
    Closed {
        /// Why.
        end: LeaseEnd,
        /// When.
        at_ms: i64,
    },
}

/// The right to one slot of a machine at one price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its id.
    pub lease: LeaseId,
    /// The job it serves.
    pub job: JobId,
    /// Whose slot.
    pub machine: MachineId,
    /// The ask that was filled.
    pub ask: OrderId,
    /// The fill's price.
    pub price_nanocredits_per_tfuel: i64,
    /// Version of the tariff, for as long as the lease lives.
    pub tariff_version: u32,
    /// What both sides pay the exchange, for as long as the lease lives.
    pub fees: LeaseFees,
    /// Where it is in its life.
    pub phase: LeasePhase,
    /// When it opened.
    pub opened_at_ms: i64,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptId>,
    /// The live one among them.
    pub live: Option<AttemptId>,
    /// Sum of the intervals credited to it.
    pub usage: Usage,
    /// Paid so far.
    pub paid_nanocredits: i64,
}

impl Lease {
    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.phase == LeasePhase::Open
    }
}

/// An order that left the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedOrder {
    /// As it was then.
    pub order: Order,
    /// When that was.
    pub ended_at_ms: i64,
    /// Why, unless it was filled.
    pub cancel_reason: Option<String>,
}

/// Whom an order belongs to beyond what the market knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderLink {
    /// An ask for slots of a machine.
    Ask {
        /// The machine.
        machine: MachineId,
        /// The client's own id.
        client_order_id: String,
    },
    /// A job's bid.
    Bid {
        /// The job.
        job: JobId,
    },
}
