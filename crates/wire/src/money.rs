//! REST types of money that comes in and goes out, and of what the exchange charges.

use base::{AccountId, PaymentId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Into the exchange or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentDirection {
    /// Money comes in.
    Deposit,
    /// Money goes out.
    Withdrawal,
}

/// An account asks for money to come in or go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewPayment {
    /// The account's own id: asking again under it asks for nothing new.
    pub client_payment_id: String,
    /// In or out.
    pub direction: PaymentDirection,
    /// How much. A withdrawal is taken from what is available at once.
    pub amount_nanocredits: i64,
}

/// Where a payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Waits for the operator.
    Requested,
    /// The operator agrees; the money is to be moved.
    Approved,
    /// The money moved.
    Settled,
    /// The operator doesn't agree; a withdrawal's money is back.
    Refused,
    /// Taken back by the account; a withdrawal's money is back.
    Cancelled,
    /// The money could not be moved; a withdrawal's is back.
    Failed,
}

impl PaymentStatus {
    /// Its name, as in JSON and in the journal.
    pub fn name(self) -> &'static str {
        match self {
            PaymentStatus::Requested => "requested",
            PaymentStatus::Approved => "approved",
            PaymentStatus::Settled => "settled",
            PaymentStatus::Refused => "refused",
            PaymentStatus::Cancelled => "cancelled",
            PaymentStatus::Failed => "failed",
        }
    }
}

/// A payment as its account and the operator see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentView {
    /// The payment.
    pub payment: PaymentId,
    /// Whose.
    pub account: AccountId,
    /// The account's own id.
    pub client_payment_id: String,
    /// In or out.
    pub direction: PaymentDirection,
    /// How much.
    pub amount_nanocredits: i64,
    /// Where it is.
    pub status: PaymentStatus,
    /// The provider's reference, or why it was refused or failed.
    pub note: Option<String>,
    /// What the account has to do meanwhile.
    pub instructions: Option<String>,
    /// When it was requested.
    pub requested_at_ms: i64,
    /// When its status last changed.
    pub changed_at_ms: i64,
}

/// The operator's word about a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum PaymentDecision {
    /// Agree to it.
    Approve,
    /// Don't.
    Refuse {
        /// Why, for the account.
        reason: String,
    },
    /// The money moved.
    Settle {
        /// The name of the movement outside, such as a bank's.
        reference: String,
    },
    /// The money can't be moved.
    Fail {
        /// Why, for the account.
        reason: String,
    },
}

/// What the exchange charges on what is paid under leases, in basis points (1/100 of a percent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FeesView {
    /// Counts up from 0, which charges nothing.
    pub version: u32,
    /// Whose order rested in the book pays this.
    pub maker_basis_points: u32,
    /// Whose order met it pays this.
    pub taker_basis_points: u32,
}

/// New charges, for leases that open from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewFees {
    /// Whose order rested in the book pays this.
    pub maker_basis_points: u32,
    /// Whose order met it pays this.
    pub taker_basis_points: u32,
}
