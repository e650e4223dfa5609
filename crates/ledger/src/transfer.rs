//! A transfer and the reasons for which one is refused.

use base::TransferId;
use serde::{Deserialize, Serialize};

use crate::AccountKey;

/// Money that moves from one account to another. Immutable once posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The idempotency key.
    pub transfer: TransferId,
    /// Who pays.
    pub from: AccountKey,
    /// Who receives.
    pub to: AccountKey,
    /// How much; positive.
    pub amount_nanocredits: i64,
}

impl Transfer {
    /// Whether it brings money in from the outside world.
    pub fn is_deposit(&self) -> bool {
        self.from == AccountKey::Outside
    }
}

/// What became of an accepted transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// The money moved now.
    New,
    /// The same transfer had been posted before: nothing moved again.
    Duplicate,
}

/// Why a transfer is refused, in order of precedence: the first that applies is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum TransferRejection {
    /// Zero or less.
    #[error("the amount is {amount_nanocredits} nanocredits: give one above zero")]
    AmountNotPositive {
        /// What was given.
        amount_nanocredits: i64,
    },
    /// From an account to itself.
    #[error("{account} would pay itself: name two accounts")]
    SameAccount {
        /// The account.
        account: AccountKey,
    },
    /// The id was used for something else.
    #[error("{transfer} was used for another transfer: make a new id")]
    TransferConflict {
        /// The id.
        transfer: TransferId,
    },
    /// The payer has too little.
    #[error(
        "{account} holds {balance_nanocredits} nanocredits and {amount_nanocredits} are needed"
    )]
    InsufficientFunds {
        /// The payer.
        account: AccountKey,
        /// What it has.
        balance_nanocredits: i64,
        /// What it would pay.
        amount_nanocredits: i64,
    },
    /// A balance would leave the range of amounts.
    #[error("{account} cannot change by {amount_nanocredits} nanocredits: the amount is absurd")]
    BalanceOverflow {
        /// The account.
        account: AccountKey,
        /// The amount.
        amount_nanocredits: i64,
    },
}

impl TransferRejection {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            TransferRejection::AmountNotPositive { .. } => "amount_not_positive",
            TransferRejection::SameAccount { .. } => "same_account",
            TransferRejection::TransferConflict { .. } => "transfer_conflict",
            TransferRejection::InsufficientFunds { .. } => "insufficient_funds",
            TransferRejection::BalanceOverflow { .. } => "balance_overflow",
        }
    }
}
