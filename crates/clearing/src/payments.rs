//! Payments: money on its way between an account and the outside world.
//!
//! ```text
//! requested ──approve──▶ approved ──settle──▶ settled
//!     │ ├──refuse──▶ refused     └──fail──▶ failed
//!     └──cancel (by its owner)──▶ cancelled
//! ```
//!
//! A withdrawal leaves *available* when it is requested, so that it can't be spent twice, and
//! comes back when it is refused, cancelled or fails. A deposit moves nothing until it settles.
//! Who is paid by what means is personal data and lives outside of the journal.

use base::{AccountId, PaymentId};
use serde::{Deserialize, Serialize};

/// Into the exchange or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentDirection {
    /// From the outside world to an account.
    Deposit,
    /// From an account to the outside world.
    Withdrawal,
}

/// Where a payment is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentPhase {
    /// Waits for the operator.
    Requested,
    /// The operator agrees; whoever moves the money is to do so.
    Approved,
    /// The money moved.
    Settled {
        /// The provider's own name for it, for finding it again there.
        reference: String,
    },
    /// The operator doesn't agree.
    Refused {
        /// For people.
        reason: String,
    },
    /// Withdrawn by its owner before it was approved.
    Cancelled,
    /// It was approved, and the money could not be moved.
    Failed {
        /// For people.
        reason: String,
    },
}

impl PaymentPhase {
    /// Whether nothing can change any more.
    pub fn is_over(&self) -> bool {
        !matches!(self, PaymentPhase::Requested | PaymentPhase::Approved)
    }

    /// A stable name.
    pub fn name(&self) -> &'static str {
        match self {
            PaymentPhase::Requested => "requested",
            PaymentPhase::Approved => "approved",
            PaymentPhase::Settled { .. } => "settled",
            PaymentPhase::Refused { .. } => "refused",
            PaymentPhase::Cancelled => "cancelled",
            PaymentPhase::Failed { .. } => "failed",
        }
    }
}

/// A payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Derived from the account and its own id.
    pub payment: PaymentId,
    /// Whose.
    pub account: AccountId,
    /// The account's own id: asking again under it asks for nothing new.
    pub client_payment_id: String,
    /// In or out.
    pub direction: PaymentDirection,
    /// How much.
    pub amount_nanocredits: i64,
    /// Where it is in its life.
    pub phase: PaymentPhase,
    /// When it was requested.
    pub requested_at_ms: i64,
    /// When its phase last changed.
    pub changed_at_ms: i64,
}

/// The id of the payment that an account requested under its own id: scoped per account, so that
/// nobody can use up or probe another's.
pub fn payment_id(account: AccountId, client_payment_id: &str) -> PaymentId {
    PaymentId::derive(&[&account.0.to_be_bytes(), client_payment_id.as_bytes()])
}

/// What can be asked about payments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentCommand {
    /// An account asks for money to come in or go out.
    Request {
        /// Whose.
        account: AccountId,
        /// Its own id for it: idempotency key.
        client_payment_id: String,
        /// In or out.
        direction: PaymentDirection,
        /// How much; positive.
        amount_nanocredits: i64,
    },
    /// The account takes its request back.
    Cancel {
        /// Who asks.
        account: AccountId,
        /// Which.
        payment: PaymentId,
    },
    /// The operator, or the provider in its name, says what becomes of it.
    Move {
        /// Which.
        payment: PaymentId,
        /// Where to. `Requested` and `Cancelled` are nobody's to say.
        to: PaymentPhase,
    },
}

/// What happened to payments.
#[allow(missing_docs, reason = "the fields are those of the record")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentEvent {
    /// A new payment.
    Requested {
        payment: PaymentId,
        account: AccountId,
        client_payment_id: String,
        direction: PaymentDirection,
        amount_nanocredits: i64,
        at_ms: i64,
    },
    /// It went on.
    Moved { payment: PaymentId, to: PaymentPhase, at_ms: i64 },
}

/// Why a payment's command is refused, in order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum PaymentRejection {
    /// The client's id was used for another payment.
    #[error("`{client_payment_id}` was used for another payment of this account: make a new id")]
    Conflict {
        /// What was given.
        client_payment_id: String,
    },
    /// Too many that aren't over.
    #[error("{open} payments of this account are not over, the most at once: wait, or cancel some")]
    TooMany {
        /// So many.
        open: usize,
    },
    /// It can't go there from where it is.
    #[error("{payment} is {phase} and can't become {to}: {next}")]
    Phase {
        /// Which.
        payment: PaymentId,
        /// Where it is.
        phase: &'static str,
        /// Where it was to go.
        to: &'static str,
        /// What to do.
        next: &'static str,
    },
}

impl PaymentRejection {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            PaymentRejection::Conflict { .. } => "payment_conflict",
            PaymentRejection::TooMany { .. } => "too_many_payments",
            PaymentRejection::Phase { .. } => "payment_phase",
        }
    }
}
