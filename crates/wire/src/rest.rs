//! Bodies of the REST API under `/v1`. Authorization: `Bearer TOKEN` of an account.
//!
//! What each route takes and gives is described where it is served, and in `docs/openapi.json`,
//! which is generated from there.
//!
//! The same everywhere:
//! - An error is an [`ErrorBody`] with a matching HTTP status; `docs/errors.md` lists the codes.
//! - A list is a JSON array, newest first, of at most `limit` rows; if there are more, the header
//!   [`NEXT_CURSOR`] has what to pass as `cursor`.
//! - A request without an answer is *unknown*: what changes something carries an id made by the
//!   client, and asking again with the same id and content does it once.

use base::{
    AccountId, AttemptId, Digest, ExchangeId, JobId, LeaseId, MachineId, OrderId, TaskId,
    TransferId, Usage,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Filters, RuntimeTerms};

/// Header of a list that goes on: pass its value as `?cursor=` for the next rows.
pub const NEXT_CURSOR: &str = "jusha-next-cursor";

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// Stable, such as `insufficient_funds`.
    pub code: String,
    /// For people: the offending value and what to do.
    pub message: String,
    /// For programs: the figures that the message is made of, by name. Names may be added.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// What an exchange says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExchangeInfo {
    /// Its id.
    pub exchange: ExchangeId,
    /// [`crate::PROTOCOL_VERSION`].
    pub protocol: u32,
    /// The program's version.
    pub version: String,
    /// Sequence of the last journal entry.
    pub journal_sequence: u64,
    /// Digest of the whole clearing state after that entry.
    pub state_digest: Digest,
}

/// A new account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewAccount {
    /// Shown to people.
    pub name: String,
    /// Made by the client, so that it may ask again; else the exchange makes one.
    #[serde(default)]
    pub account: Option<AccountId>,
    /// What it is for.
    #[serde(default)]
    pub role: crate::Role,
}

impl NewAccount {
    /// A trader's.
    pub fn named(name: impl Into<String>) -> Self {
        NewAccount { name: name.into(), account: None, role: crate::Role::Trader }
    }
}

/// The only time a token is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountCreated {
    /// The account.
    pub account: AccountId,
    /// Its bearer token. The exchange keeps only a digest of it.
    pub token: String,
}

/// Money from the outside world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewDeposit {
    /// To whom.
    pub account: AccountId,
    /// How much.
    pub amount_nanocredits: i64,
    /// Idempotency key: the same id with the same content is done once.
    pub transfer: TransferId,
}

/// An account's money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wallet {
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub name: String,
    /// Free to use.
    pub available_nanocredits: i64,
    /// Set aside for jobs and fixed leases that are not over.
    pub escrow_nanocredits: i64,
    /// At stake as a seller of fixed leases.
    #[serde(default)]
    pub bond_nanocredits: i64,
    /// Asked to be paid out, and not paid yet.
    #[serde(default)]
    pub outgoing_nanocredits: i64,
}

/// One transfer of the ledger as the account sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransferView {
    /// The transfer.
    pub transfer: TransferId,
    /// When.
    pub at_ms: i64,
    /// The ledger account that paid, such as `available:acct_…` or `escrow:job_…`.
    pub from: String,
    /// The ledger account that received.
    pub to: String,
    /// How much.
    pub amount_nanocredits: i64,
    /// Why: `deposit`, `hold`, `settlement`, `release`, `fee`, `payment`, `bond`,
    /// `compensation`, `bond_return`.
    pub reason: String,
}

/// A one-time code with which a machine enrols.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinCode {
    /// URL and code in one string to paste: `http://host:port/#join=CODE`.
    pub join: String,
    /// When it stops working.
    pub expires_at_ms: i64,
}

/// A machine enrols.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Enrolment {
    /// The one-time code.
    pub code: String,
    /// Ed25519, 64 hex digits.
    pub public_key: String,
    /// Over [`crate::enrolment_bytes`].
    pub signature: String,
    /// Shown to people.
    pub name: String,
}

/// A machine is enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Enrolled {
    /// The machine.
    pub machine: MachineId,
    /// Whose it is.
    pub account: AccountId,
    /// The exchange it serves.
    pub exchange: ExchangeId,
    /// For the blob endpoints.
    pub token: String,
}

/// A machine as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MachineView {
    /// The machine.
    pub machine: MachineId,
    /// Its name.
    pub name: String,
    /// Connected now.
    pub online: bool,
    /// Enrolled, and not retired.
    pub active: bool,
    /// Slots offered.
    pub slots: u32,
    /// Slots under lease.
    pub slots_leased: u32,
    /// Memory per slot.
    pub memory_mib_per_slot: u32,
    /// Where it is, by its owner's word; empty when that was not said.
    #[serde(default)]
    pub region: String,
    /// Millions of fuel per second and slot, as the exchange measured it; 0 before.
    #[serde(default)]
    pub speed_mfuel_per_s: u32,
    /// When that was.
    #[serde(default)]
    pub speed_at_ms: Option<i64>,
    /// Memory that each slot was shown to have while all were in use; absent before.
    #[serde(default)]
    pub measured_mib_per_slot: Option<u32>,
    /// When that was.
    #[serde(default)]
    pub memory_at_ms: Option<i64>,
    /// Language runtimes that it says it has, while it is connected.
    #[serde(default)]
    pub runtimes: Vec<RuntimeTerms>,
    /// Earned in all.
    pub earned_nanocredits: i64,
}

/// A language runtime, and on how many of the connected machines its tasks begin at once. Others
/// fetch and compile it first, which costs the buyer nothing but the wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuntimeView {
    /// Such as `python`.
    pub name: String,
    /// The language's version.
    pub version: String,
    /// The base in which tasks begin.
    pub base: Digest,
    /// Machines that have it.
    pub machines: u32,
    /// Their slots.
    pub slots: u32,
}

/// A blob is in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlobStored {
    /// Its address.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

/// A list of blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlobQuery {
    /// Their addresses.
    pub digests: Vec<Digest>,
}

/// Submits a job: every blob that its specs name must be in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewJob {
    /// Made by the client: the same id with the same content is submitted once.
    pub job: JobId,
    /// Shown to people.
    pub name: String,
    /// Such as `cpu.2g.any`.
    pub instrument: String,
    /// A [`crate::TaskSpec`] blob per task.
    pub tasks: Vec<Digest>,
    /// The most it pays per Tfuel.
    pub max_price_nanocredits_per_tfuel: i64,
    /// The most slots at once.
    pub slots: u32,
    /// The most it pays in all: set aside now, the rest given back at the end.
    pub budget_nanocredits: i64,
    /// Take only this ask.
    pub ask: Option<OrderId>,
    /// Take only such machines.
    #[serde(default)]
    pub filters: Filters,
}

/// More money for a job that ran out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopUp {
    /// How much more to set aside.
    pub amount_nanocredits: i64,
    /// Idempotency key.
    pub transfer: TransferId,
}

/// A job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// No lease yet.
    Waiting,
    /// At least one lease is or was open, and tasks remain.
    Running,
    /// Stopped because escrow does not cover more: top up to resume.
    Exhausted,
    /// Every task ended.
    Done,
    /// Cancelled by its owner.
    Cancelled,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// The job.
    pub job: JobId,
    /// Grows with every change; for `?after=`.
    pub version: u64,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: JobState,
    /// Its instrument.
    pub instrument: String,
    /// When it was submitted.
    pub submitted_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// Limit price.
    pub max_price_nanocredits_per_tfuel: i64,
    /// Slots wanted.
    pub slots: u32,
    /// Set aside in all.
    pub budget_nanocredits: i64,
    /// Paid to sellers so far.
    pub paid_nanocredits: i64,
    /// When its budget is spent at the pace of late; absent when nothing runs or all is covered.
    #[serde(default)]
    pub exhaustion_at_ms: Option<i64>,
    /// That is soon: its tasks will stop at checkpoints, until a top-up.
    #[serde(default)]
    pub running_low: bool,
    /// Why nothing runs, when nothing runs: `no ask within the limit price`, say.
    pub waiting_reason: Option<String>,
    /// How many tasks it has.
    pub task_count: u32,
    /// Its tasks, in the order of submission. A long list of jobs leaves out those of old ones.
    pub tasks: Vec<TaskView>,
}

/// A task's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waiting for a slot.
    Pending,
    /// An attempt is live.
    Running,
    /// It ended; `result` is set.
    Done,
    /// No machine can run it; `refusal` says why.
    Refused,
    /// Cancelled with its job.
    Cancelled,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskView {
    /// The task.
    pub task: TaskId,
    /// Its spec blob.
    pub spec: Digest,
    /// Its state.
    pub state: TaskState,
    /// Usage at the last accepted checkpoint, or in all when done.
    pub usage: Usage,
    /// Fuel by the last heartbeat: for progress bars only.
    pub progress_fuel: u64,
    /// The last accepted checkpoint.
    pub checkpoint: Option<Digest>,
    /// The [`crate::TaskResult`] blob.
    pub result: Option<Digest>,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptView>,
}

/// One machine's run of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its lease.
    pub lease: LeaseId,
    /// Its machine.
    pub machine: MachineId,
    /// The machine's name.
    pub machine_name: String,
    /// Its epoch.
    pub epoch: u64,
    /// The task's usage where it began. The credited interval is `[from, to)`.
    pub from: Usage,
    /// The task's usage at its last accepted checkpoint.
    pub to: Usage,
    /// When it started.
    pub started_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// `finished`, `yielded`, `allowance_spent`, `fault: …`, `refused: …`, `lapsed`, `cancelled`.
    pub end: Option<String>,
}

/// Billable fuel = (fuel·fuel_weight + memory_page_fuel·memory_weight +
/// state_bytes·state_weight + traffic_bytes·traffic_weight) ÷ divisor, exactly; a payment is
/// floor(price × billable fuel ÷ 10¹²), rounded once per lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TariffView {
    /// Per unit of fuel.
    pub fuel_weight: i64,
    /// Per 64 KiB page held for one unit of fuel.
    pub memory_page_fuel_weight: i64,
    /// Per byte of changed state.
    pub state_byte_weight: i64,
    /// Per byte of traffic.
    pub traffic_byte_weight: i64,
    /// What the sum is divided by.
    pub divisor: i64,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseView {
    /// The lease.
    pub lease: LeaseId,
    /// The job.
    pub job: JobId,
    /// The machine.
    pub machine: MachineId,
    /// The fill's price.
    pub price_nanocredits_per_tfuel: i64,
    /// When it opened.
    pub opened_at_ms: i64,
    /// When it closed.
    pub closed_at_ms: Option<i64>,
    /// `open`, `closed: …` or `lapsed`.
    pub state: String,
    /// Sum of the intervals credited.
    pub usage: Usage,
    /// Paid so far.
    pub paid_nanocredits: i64,
}

/// Proof that no money was made or lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerAudit {
    /// Sum of all balances; 0 or something is broken.
    pub sum_nanocredits: i64,
    /// Ledger accounts whose balance is not what their transfers add up to; empty or broken.
    pub mismatched_accounts: Vec<String>,
    /// Ledger accounts that are negative and may not be; empty or broken.
    pub negative_accounts: Vec<String>,
    /// Transfers counted.
    pub transfers: u64,
    /// Sequence of the last journal entry.
    pub journal_sequence: u64,
    /// Digest of the state in memory.
    pub state_digest: Digest,
    /// Digest of the state folded anew from the journal's events.
    pub replayed_digest: Digest,
}
