//! What can be asked of clearing. Commands come from the edge, which has already checked
//! signatures, tokens and that blobs exist; everything else is decided here.

use base::{AccountId, AttemptId, Digest, JobId, LeaseId, MachineId, OrderId, TransferId, Usage};
use market::{Filters, Instrument, TimeInForce};
use serde::{Deserialize, Serialize};

use crate::figures::NewTask;
use crate::fixed::FixedCommand;
use crate::forget::Ended;
use crate::payments::PaymentCommand;

/// When and as what number in the journal a command is decided. The sequence is what new ids
/// derive from, so that the same journal always names things alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Milliseconds UTC; never goes back.
    pub now_ms: i64,
    /// Sequence of the journal entry.
    pub sequence: u64,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A new account without money.
    OpenAccount {
        /// Made by the edge.
        account: AccountId,
        /// Shown to people.
        name: String,
    },
    /// Money comes in from the outside world.
    Deposit {
        /// Idempotency key.
        transfer: TransferId,
        /// To whom.
        account: AccountId,
        /// How much; positive.
        amount_nanocredits: i64,
    },
    /// Money asked to come in or go out, and what becomes of it.
    Payment(PaymentCommand),
    /// Leases for a fixed time.
    Fixed(FixedCommand),
    /// The operator's charges, for leases that open from now on.
    SetFees {
        /// Whose order rested pays this.
        maker_basis_points: u32,
        /// Whose order met it pays this.
        taker_basis_points: u32,
    },
    /// A machine joins an account. Idempotent for the same owner.
    EnrolMachine {
        /// Derived from the key.
        machine: MachineId,
        /// Whose it is.
        owner: AccountId,
        /// Ed25519.
        public_key: [u8; 32],
        /// Shown to people.
        name: String,
    },
    /// The owner removes a machine: asks cancelled, leases lapse, the key is refused from now.
    RetireMachine {
        /// Who asks.
        account: AccountId,
        /// Which.
        machine: MachineId,
    },
    /// A machine states its terms. Asks that no longer fit shrink.
    SetOffer {
        /// Which.
        machine: MachineId,
        /// Slots that may run at once.
        slots: u32,
        /// Memory per slot.
        memory_mib_per_slot: u32,
        /// Transform versions that it runs.
        transforms: Vec<u32>,
        /// Where it is, by its owner's word; empty when that is not said.
        #[serde(default)]
        region: String,
    },
    /// The exchange measured how fast a slot of a machine computes.
    MeasureSpeed {
        /// Which.
        machine: MachineId,
        /// Millions of fuel per second and slot.
        speed_mfuel_per_s: u32,
    },
    /// The exchange measured how much memory the slots of a machine have.
    MeasureMemory {
        /// Which.
        machine: MachineId,
        /// What each slot was shown to have while all were in use.
        memory_mib_per_slot: u32,
    },
    /// Offer slots of a machine. Idempotent by (machine, client_order_id).
    PlaceAsk {
        /// Whose slots.
        machine: MachineId,
        /// The client's own id.
        client_order_id: String,
        /// Such as `cpu.2g.any`.
        instrument: String,
        /// Slots.
        quantity: u32,
        /// The least it takes. Of a market order: anything; the exchange finds the limit.
        price_nanocredits_per_tfuel: i64,
        /// Take the best bids, within the instrument's protection, and cancel the rest.
        #[serde(default)]
        market: bool,
        /// How long it may wait.
        #[serde(default)]
        time_in_force: TimeInForce,
        /// Refuse it if it would be matched at once.
        #[serde(default)]
        post_only: bool,
    },
    /// Withdraw an order. (A job's bid is withdrawn by cancelling the job.)
    CancelOrder {
        /// Who asks: the owner of the order.
        account: AccountId,
        /// Which.
        order: OrderId,
    },
    /// Withdraw every ask of an account.
    CancelOrders {
        /// Whose.
        account: AccountId,
        /// Only those of this instrument.
        instrument: Option<String>,
    },
    /// Withdraw every ask of an account at a time to come, unless this is said again before: a
    /// dead man's switch for whoever manages orders from afar.
    CancelAfter {
        /// Whose.
        account: AccountId,
        /// From now; 0 takes the switch away.
        after_ms: i64,
    },
    /// The operator adds an instrument, or changes the limits of one.
    SetInstrument {
        /// As it is from now on.
        instrument: Instrument,
    },
    /// The operator says what is traded: these, and whatever else there is takes no new orders.
    SetInstruments {
        /// As they are from now on.
        instruments: Vec<Instrument>,
    },
    /// Buy computing. Sets `budget` aside and places the job's bid.
    SubmitJob {
        /// Who pays.
        account: AccountId,
        /// Made by the client: idempotency key.
        job: JobId,
        /// Shown to people.
        name: String,
        /// Such as `cpu.2g.any`.
        instrument: String,
        /// Its tasks: a spec each, with the figures that bound what it can use.
        tasks: Vec<NewTask>,
        /// The most it pays per Tfuel.
        max_price_nanocredits_per_tfuel: i64,
        /// The most slots at once.
        slots: u32,
        /// Set aside now.
        budget_nanocredits: i64,
        /// Take only this ask.
        ask: Option<OrderId>,
        /// Take only such machines.
        #[serde(default)]
        filters: Filters,
    },
    /// More money for a job; resumes it when it was exhausted.
    TopUpJob {
        /// Who pays.
        account: AccountId,
        /// Which.
        job: JobId,
        /// Idempotency key.
        transfer: TransferId,
        /// How much; positive.
        amount_nanocredits: i64,
    },
    /// Stop a job: accepted work stays paid, the rest of escrow goes back.
    CancelJob {
        /// Who asks.
        account: AccountId,
        /// Which.
        job: JobId,
    },
    /// A receipt whose signature fits and whose checkpoint or result is whole in the store.
    AcceptReceipt {
        /// The machine that signed.
        machine: MachineId,
        /// Under which lease.
        lease: LeaseId,
        /// Of which attempt.
        attempt: AttemptId,
        /// Its epoch.
        epoch: u64,
        /// Its sequence within the attempt, from 1.
        receipt_sequence: u64,
        /// Digest of the signed bytes: two different ones under one key are equivocation.
        receipt_digest: Digest,
        /// The task's cumulative usage.
        usage: Usage,
        /// The chain's last digest.
        chain_head: Digest,
        /// The checkpoint's index blob.
        checkpoint: Option<Digest>,
        /// Set in the attempt's last receipt.
        ended: Option<AttemptEnd>,
    },
    /// The seller closes a lease. A live attempt on it goes back to its last accepted checkpoint.
    CloseLease {
        /// The machine of the lease.
        machine: MachineId,
        /// Which.
        lease: LeaseId,
        /// For people.
        reason: String,
    },
    /// The exchange ends a lease whose machine broke a rule, such as by a receipt that was
    /// rejected for what it claims. A live attempt goes back to its last accepted checkpoint, and
    /// the job bars the machine's owner for a while.
    FaultLease {
        /// The machine of the lease.
        machine: MachineId,
        /// Which.
        lease: LeaseId,
        /// For people.
        reason: String,
    },
    /// Heartbeats stopped: every lease of the machine lapses and its asks leave the book.
    LapseMachine {
        /// Which.
        machine: MachineId,
    },
    /// Forget what is over. Whoever asks has written down how it ended, and answers for it from
    /// now on, also to those who ask for it again under its id.
    Forget {
        /// Which.
        ended: Ended,
    },
    /// Time passes: leases end that are over their term or stand still, and jobs that found no
    /// ask look again.
    Tick,
}

/// Why an attempt is over, by its machine's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptEnd {
    /// The task is done.
    Finished {
        /// The result blob.
        result: Digest,
    },
    /// The owner wants the machine back; stopped at the checkpoint of this receipt.
    Yielded,
    /// The fuel that escrow covers is used up; stopped at the checkpoint of this receipt.
    AllowanceSpent,
    /// The host failed: nothing new is claimed.
    Fault {
        /// For people.
        reason: String,
    },
    /// The module was refused at admission: nothing was run.
    Refused {
        /// For people.
        reason: String,
    },
}
