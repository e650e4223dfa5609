//! Balances, and the transfers that made them.

use std::collections::BTreeMap;

use base::TransferId;
use serde::{Deserialize, Serialize};

use crate::{AccountKey, Posted, Transfer, TransferRejection};

/// All balances and all transfers.
///
/// Every transfer is kept, both as the idempotency record and so that [`Ledger::check`] can
/// add up the balances anew. Moving old ones out of memory is left for later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    balances: BTreeMap<AccountKey, i64>,
    transfers: BTreeMap<TransferId, Transfer>,
}

/// What a check of the whole ledger found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerCheck {
    /// Sum of all balances: zero, or money was made or lost.
    pub sum_nanocredits: i128,
    /// Accounts whose balance is not what their transfers add up to.
    pub mismatched: Vec<AccountKey>,
    /// Accounts that are negative and may not be.
    pub negative: Vec<AccountKey>,
    /// Transfers counted.
    pub transfers: u64,
}

impl LedgerCheck {
    /// Whether every invariant holds.
    pub fn is_sound(&self) -> bool {
        self.sum_nanocredits == 0 && self.mismatched.is_empty() && self.negative.is_empty()
    }
}

impl Ledger {
    /// What an account holds.
    pub fn balance(&self, account: AccountKey) -> i64 {
        self.balances.get(&account).copied().unwrap_or(0)
    }

    /// Every account that ever moved money, with its balance.
    pub fn balances(&self) -> impl Iterator<Item = (AccountKey, i64)> {
        self.balances.iter().map(|(account, balance)| (*account, *balance))
    }

    /// A posted transfer.
    pub fn transfer(&self, transfer: TransferId) -> Option<&Transfer> {
        self.transfers.get(&transfer)
    }

    /// Every posted transfer, by id.
    pub fn transfers(&self) -> impl Iterator<Item = &Transfer> {
        self.transfers.values()
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
        if let Some(posted) = self.transfers.get(&id) {
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
        let posted = self.examine(&transfer)?;
        if posted == Posted::New {
            *self.balances.entry(transfer.from).or_insert(0) -= transfer.amount_nanocredits;
            *self.balances.entry(transfer.to).or_insert(0) += transfer.amount_nanocredits;
            self.transfers.insert(transfer.transfer, transfer);
        }
        Ok(posted)
    }

    /// Sum of all balances: zero.
    pub fn sum(&self) -> i128 {
        self.balances.values().map(|balance| i128::from(*balance)).sum()
    }

    /// Adds up every transfer anew and compares. Reads the whole ledger.
    pub fn check(&self) -> LedgerCheck {
        let mut added = BTreeMap::<AccountKey, i128>::new();
        for transfer in self.transfers.values() {
            *added.entry(transfer.from).or_insert(0) -= i128::from(transfer.amount_nanocredits);
            *added.entry(transfer.to).or_insert(0) += i128::from(transfer.amount_nanocredits);
        }
        let mut mismatched: Vec<_> = added
            .iter()
            .filter(|(account, sum)| i128::from(self.balance(**account)) != **sum)
            .map(|(account, _)| *account)
            .collect();
        mismatched.extend(
            self.balances
                .iter()
                .filter(|(account, balance)| **balance != 0 && !added.contains_key(account))
                .map(|(account, _)| *account),
        );
        let negative = self
            .balances
            .iter()
            .filter(|(account, balance)| **balance < 0 && !account.may_be_negative())
            .map(|(account, _)| *account)
            .collect();
        LedgerCheck {
            sum_nanocredits: self.sum(),
            mismatched,
            negative,
            transfers: self.transfers.len() as u64,
        }
    }
}
