//! Messages between the exchange and a machine's agent, over one WebSocket at `/v1/agent`.
//!
//! The exchange speaks first ([`ToAgent::Challenge`]); the agent proves its key with
//! [`ToExchange::Hello`]; [`ToAgent::Welcome`] then states everything that the exchange holds
//! about the machine, so that an agent that was away knows what to go on with and what to drop.

use base::{AttemptId, Digest, ExchangeId, JobId, LeaseId, MachineId, OrderId, TaskId, Usage};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::SignedReceipt;

/// Exchange → agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ToAgent {
    /// Prove who you are.
    Challenge {
        /// [`crate::PROTOCOL_VERSION`] of the exchange.
        protocol: u32,
        /// The exchange's id, part of everything that is signed.
        exchange: ExchangeId,
        /// To be signed, with [`crate::challenge_bytes`].
        nonce: Digest,
    },
    /// You are known. `attempts` is everything that the machine is supposed to be running: it
    /// drops any attempt that is not in the list and starts or continues those that are.
    Welcome {
        /// Send a heartbeat this often.
        heartbeat_ms: u64,
        /// Open leases of this machine.
        leases: Vec<LeaseId>,
        /// Live attempts of this machine.
        attempts: Vec<AttemptStart>,
        /// Open asks of this machine.
        asks: Vec<AskState>,
        /// Open leases for a fixed time of this machine.
        #[serde(default)]
        fixed_leases: Vec<LeaseId>,
    },
    /// What the machine's slots may be offered in; said when that changes, and first after the
    /// welcome. An agent whose owner named nothing offers in all of them.
    Qualifies {
        /// With the prices that they trade at.
        instruments: Vec<Qualified>,
    },
    /// A fill opened a lease on one slot.
    LeaseOpened {
        /// The lease.
        lease: LeaseId,
        /// The job that it is for.
        job: JobId,
        /// The ask that was filled.
        ask: OrderId,
        /// The fill's price.
        price_nanocredits_per_tfuel: i64,
    },
    /// Run this.
    StartAttempt(AttemptStart),
    /// Stop an attempt: its task is cancelled, or its lease is gone. Nothing more is paid.
    StopAttempt {
        /// The attempt.
        attempt: AttemptId,
        /// For people.
        reason: String,
    },
    /// A lease is over; its slot is free again.
    LeaseClosed {
        /// The lease.
        lease: LeaseId,
        /// For people.
        reason: String,
        /// What it earned in all.
        paid_nanocredits: i64,
    },
    /// A receipt was accepted and paid. Also sent for a duplicate.
    ReceiptAccepted {
        /// The attempt.
        attempt: AttemptId,
        /// The receipt's sequence.
        sequence: u64,
        /// Paid for the lease so far.
        lease_paid_nanocredits: i64,
    },
    /// A receipt was refused. The attempt is to be stopped when `fatal`.
    ReceiptRejected {
        /// The attempt.
        attempt: AttemptId,
        /// The receipt's sequence.
        sequence: u64,
        /// A stable code such as `stale_epoch`, `missing_blobs`, `bad_signature`.
        code: String,
        /// For people.
        message: String,
        /// Whether the attempt is over. When not, the agent may mend and send again.
        fatal: bool,
    },
    /// The answer to [`ToExchange::PlaceAsk`] and [`ToExchange::CancelAsk`].
    AskState(AskState),
    /// Make ready to be measured: fetch and compile this program, take so many slots, and answer
    /// [`ToExchange::MeasureReady`]. Nothing is paid for it.
    Measure {
        /// Said again in everything about it.
        measurement: Digest,
        /// The program's blob.
        module: Digest,
        /// Arguments for a first run that is not timed.
        warm_up: Vec<String>,
        /// Most runs at once.
        slots: u32,
    },
    /// The clock runs: run the program so often at once, and answer [`ToExchange::Measured`].
    MeasureRun {
        /// Which.
        measurement: Digest,
        /// Arguments of each run.
        runs: Vec<Vec<String>>,
    },
    /// Nothing more is asked: the slots are free again.
    MeasureOver {
        /// Which.
        measurement: Digest,
    },
    /// What the machine lets by the hour now; also the answer to [`ToExchange::OfferFixed`].
    FixedOffer {
        /// Such as `test.fixed`.
        instrument: String,
        /// Units at once, let ones included.
        units: u32,
        /// What an hour costs.
        price_nanocredits_per_hour: i64,
    },
    /// [`ToExchange::OfferFixed`] was refused.
    FixedRefused {
        /// A stable code.
        code: String,
        /// For people, with what to do.
        message: String,
    },
    /// Somebody leased a unit by the hour.
    FixedOpened {
        /// The lease.
        lease: LeaseId,
        /// What it is of.
        instrument: String,
        /// What an hour costs.
        price_nanocredits_per_hour: i64,
    },
    /// A lease for a fixed time is over.
    FixedClosed {
        /// The lease.
        lease: LeaseId,
        /// What it earned in all.
        paid_nanocredits: i64,
        /// What outages cost of the bond.
        compensated_nanocredits: i64,
    },
    /// Is the unit of this lease there? Answer [`ToExchange::ProbeAnswer`] at once: without it, it
    /// is down.
    Probe {
        /// The lease.
        lease: LeaseId,
        /// To be said again.
        nonce: Digest,
    },
    /// A message was refused.
    Refused {
        /// A stable code.
        code: String,
        /// For people, with what to do.
        message: String,
    },
}

/// An instrument that a machine qualifies for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qualified {
    /// Such as `cpu.2g.any`.
    pub instrument: String,
    /// Prices are multiples of this.
    pub tick_nanocredits: i64,
    /// The lowest price.
    pub price_min_nanocredits: i64,
    /// The highest price.
    pub price_max_nanocredits: i64,
}

/// What an agent needs to start an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptStart {
    /// The attempt.
    pub attempt: AttemptId,
    /// The lease it runs under.
    pub lease: LeaseId,
    /// The job, for logs.
    pub job: JobId,
    /// The task.
    pub task: TaskId,
    /// Goes into every receipt.
    pub epoch: u64,
    /// The [`crate::TaskSpec`] blob.
    pub spec: Digest,
    /// The [`crate::CheckpointIndex`] blob to resume from; absent means from the beginning.
    pub checkpoint: Option<Digest>,
    /// The task's usage at that checkpoint.
    pub usage: Usage,
    /// The highest receipt sequence that the exchange accepted for this attempt.
    pub receipt_sequence: u64,
    /// Stop with [`crate::AttemptEnd::AllowanceSpent`] at the first safepoint at which the
    /// task's fuel passes this: escrow covers no more.
    pub fuel_allowance: u64,
}

/// An ask as the exchange holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskState {
    /// The order.
    pub order: OrderId,
    /// The agent's own id for it.
    pub client_order_id: String,
    /// What it trades; empty from an exchange that does not say: what agents offer.
    #[serde(default)]
    pub instrument: String,
    /// Slots still offered; 0 when it is filled or cancelled.
    pub leaves_quantity: u32,
    /// Its price.
    pub price_nanocredits_per_tfuel: i64,
}

/// Agent → exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ToExchange {
    /// Proof of the key and the machine's terms.
    Hello {
        /// [`crate::PROTOCOL_VERSION`] of the agent.
        protocol: u32,
        /// The machine.
        machine: MachineId,
        /// Over [`crate::challenge_bytes`]; 128 hex digits.
        signature: String,
        /// Slots, memory and abilities.
        offer: OfferTerms,
    },
    /// I am alive, and this far (for progress bars only: nothing is paid by it).
    Heartbeat {
        /// Fuel per running attempt.
        progress: Vec<AttemptProgress>,
    },
    /// Offer slots. Idempotent by `client_order_id`.
    PlaceAsk {
        /// The agent's own id for the order.
        client_order_id: String,
        /// Such as `cpu.2g.any`.
        instrument: String,
        /// Slots.
        quantity: u32,
        /// The least it takes.
        price_nanocredits_per_tfuel: i64,
    },
    /// Withdraw an ask.
    CancelAsk {
        /// The order.
        order: OrderId,
    },
    /// A signed receipt, after its blobs were uploaded.
    Receipt(SignedReceipt),
    /// The program is compiled and the slots are taken.
    MeasureReady {
        /// Which.
        measurement: Digest,
    },
    /// The answers of all runs.
    Measured {
        /// Which.
        measurement: Digest,
        /// In the order of the runs; absent for one that did not come to its end.
        ends: Vec<Option<MeasuredEnd>>,
    },
    /// Let units by the hour, from now on at these terms; 0 units takes the offer back.
    OfferFixed {
        /// Such as `test.fixed`.
        instrument: String,
        /// Units at once, let ones included.
        units: u32,
        /// What an hour costs.
        price_nanocredits_per_hour: i64,
    },
    /// The unit is there.
    ProbeAnswer {
        /// The lease.
        lease: LeaseId,
        /// That of the probe.
        nonce: Digest,
    },
    /// It can't be measured now.
    MeasureFailed {
        /// Which.
        measurement: Digest,
        /// For people.
        reason: String,
    },
    /// The seller closes a lease on which nothing runs any more.
    CloseLease {
        /// The lease.
        lease: LeaseId,
        /// For people.
        reason: String,
    },
}

/// What a run of a measurement came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredEnd {
    /// Digest of what the program wrote on standard output.
    pub stdout: Digest,
    /// What it took.
    pub fuel: u64,
}

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptProgress {
    /// The attempt.
    pub attempt: AttemptId,
    /// The task's cumulative fuel.
    pub fuel: u64,
}

/// A language runtime of a machine. What it is is the base's digest; the rest is for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct RuntimeTerms {
    /// Such as `python`.
    pub name: String,
    /// The language's version, such as `3.12.0`.
    pub version: String,
    /// The base in which tasks begin: what their spec names.
    pub base: Digest,
}

/// A machine's terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferTerms {
    /// Name shown to people.
    pub name: String,
    /// Slots that may run at once.
    pub slots: u32,
    /// Memory per slot.
    pub memory_mib_per_slot: u32,
    /// Transform versions that it runs.
    pub transforms: Vec<u32>,
    /// Where it is, by its owner's word.
    #[serde(default)]
    pub region: String,
    /// It knows [`ToAgent::Measure`].
    #[serde(default)]
    pub measurable: bool,
    /// Language runtimes that are installed and compiled here: their tasks begin at once.
    #[serde(default)]
    pub runtimes: Vec<RuntimeTerms>,
    /// The agent's program version, for people.
    pub agent_version: String,
}
