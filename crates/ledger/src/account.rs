//! The accounts of the ledger.

use std::fmt;

use base::{AccountId, JobId, LeaseId};
use serde::{Deserialize, Serialize};

/// An account of the ledger. Accounts need no opening: one that was never used holds zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AccountKey {
    /// Free to use by its owner.
    Available(AccountId),
    /// Set aside for a job.
    Escrow(JobId),
    /// Earned, but not yet vested.
    Withheld(AccountId),
    /// The operator's.
    Fees,
    /// Pays buyers back when a convicted seller can't.
    AuditFund,
    /// The world outside. What it lacks is what everybody here holds together.
    Outside,
    /// Asked to be paid out, and not yet paid: its owner can't spend it meanwhile.
    Outgoing(AccountId),
    /// Set aside for a lease for a fixed time.
    LeaseEscrow(LeaseId),
    /// A seller's money at stake for a lease's guarantee.
    Bond(LeaseId),
}

impl AccountKey {
    /// Whether the balance may be below zero: only the outside world's.
    pub fn may_be_negative(self) -> bool {
        self == AccountKey::Outside
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccountKey::Available(account) => write!(f, "available:{account}"),
            AccountKey::Escrow(job) => write!(f, "escrow:{job}"),
            AccountKey::Withheld(account) => write!(f, "withheld:{account}"),
            AccountKey::Fees => f.write_str("fees"),
            AccountKey::AuditFund => f.write_str("audit_fund"),
            AccountKey::Outside => f.write_str("outside"),
            AccountKey::Outgoing(account) => write!(f, "outgoing:{account}"),
            AccountKey::LeaseEscrow(lease) => write!(f, "escrow:{lease}"),
            AccountKey::Bond(lease) => write!(f, "bond:{lease}"),
        }
    }
}
