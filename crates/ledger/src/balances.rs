//! Balances, and the transfers that somebody may ask for again.

use std::collections::BTreeMap;

use base::TransferId;
use serde::{Deserialize, Serialize};

use crate::{AccountKey, Posted, Transfer, TransferRejection};

/// All balances that aren't zero, and the transfers whose ids come from outside.
///
/// History is not kept here: whoever keeps the transfers can add the balances up from them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Without zeros.
    balances: BTreeMap<AccountKey, i64>,
    /// So that asking again moves nothing.
    named: BTreeMap<TransferId, Transfer>,
}

/// What a check of the whole ledger found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerCheck {
    /// Sum of all balances: zero, or money was made or lost.
    pub sum_nanocredits: i128,
    /// Accounts that are negative and may not be.
    pub negative: Vec<AccountKey>,
}

impl LedgerCheck {
    /// Whether every invariant holds.
    pub fn is_sound(&self) -> bool {
        self.sum_nanocredits == 0 && self.negative.is_empty()
    }
}

impl Ledger {
    /// What an account holds.
    pub fn balance(&self, account: AccountKey) -> i64 {
        self.balances.get(&account).copied().unwrap_or(0)
    }

    /// Every account whose balance is not zero.
    pub fn balances(&self) -> impl Iterator<Item = (AccountKey, i64)> {
        self.balances.iter().map(|(account, balance)| (*account, *balance))
    }

    /// A transfer that was posted under a name from outside, and is not forgotten.
    pub fn named(&self, transfer: TransferId) -> Option<&Transfer> {
        self.named.get(&transfer)
    }

    /// All of those, by id.
    pub fn all_named(&self) -> impl Iterator<Item = &Transfer> {
        self.named.values()
    }

    /// Nobody asks for this transfer again, or whoever does is answered elsewhere.
    pub fn forget(&mut self, transfer: TransferId) {
        self.named.remove(&transfer);
    }

    /// What [`Ledger::post`] would answer.
    pub fn examine(&self, transfer: &Transfer) -> Result<Posted, TransferRejection> {
        let Transfer { transfer: id, from, to, amount_nanocredits } = *transfer;
        if amount_nanocredits <= 0 {
            return Err(TransferRejection::AmountNotPositive { amount_nanocredits });
        }
        if from == to {
            return Err(TransferRejection::SameAccount { account: from });
        }
        if let Some(posted) = self.named.get(&id) {
            return if posted == transfer {
                Ok(Posted::Duplicate)
            } else {
                Err(TransferRejection::TransferConflict { transfer: id })
            };
        }
        let balance_nanocredits = self.balance(from);
        if !from.may_be_negative() && balance_nanocredits < amount_nanocredits {
            return Err(TransferRejection::InsufficientFunds {
                account: from,
                balance_nanocredits,
                amount_nanocredits,
            });
        }
        for (account, changed) in [
            (from, balance_nanocredits.checked_sub(amount_nanocredits)),
            (to, self.balance(to).checked_add(amount_nanocredits)),
        ] {
            if changed.is_none() {
                return Err(TransferRejection::BalanceOverflow { account, amount_nanocredits });
            }
        }
        Ok(Posted::New)
    }

    /// Moves money, once per transfer id. A rejection changes nothing.
    pub fn post(&mut self, transfer: Transfer) -> Result<Posted, TransferRejection> {
        let posted = self.post_unnamed(transfer)?;
        if posted == Posted::New {
            self.named.insert(transfer.transfer, transfer);
        }
        Ok(posted)
    }

    /// The same under an id that nobody can say again, and that need not be remembered.
    pub fn post_unnamed(&mut self, transfer: Transfer) -> Result<Posted, TransferRejection> {
        let posted = self.examine(&transfer)?;
        if posted == Posted::New {
            self.change(transfer.from, -transfer.amount_nanocredits);
            self.change(transfer.to, transfer.amount_nanocredits);
        }
        Ok(posted)
    }

    fn change(&mut self, account: AccountKey, amount_nanocredits: i64) {
        let balance = self.balance(account) + amount_nanocredits;
        match balance {
            0 => self.balances.remove(&account),
            _ => self.balances.insert(account, balance),
        };
    }

    /// Sum of all balances: zero.
    pub fn sum(&self) -> i128 {
        self.balances.values().map(|balance| i128::from(*balance)).sum()
    }

    /// Looks at every balance.
    pub fn check(&self) -> LedgerCheck {
        let negative = self
            .balances
            .iter()
            .filter(|(account, balance)| **balance < 0 && !account.may_be_negative())
            .map(|(account, _)| *account)
            .collect();
        LedgerCheck { sum_nanocredits: self.sum(), negative }
    }
}
