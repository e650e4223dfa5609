//! Issuing receipts: numbered, on disk before they are signed.

use std::sync::Arc;

use base::{AttemptId, Digest, ExchangeId, LeaseId, Usage};
use ed25519_dalek::SigningKey;
use wire::{AttemptEnd, Receipt, SignedReceipt};

use crate::ProviderError;
use crate::state::State;

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub usage: Usage,
    pub chain_head: Digest,
    pub checkpoint: Option<Digest>,
    pub ended: Option<AttemptEnd>,
}

/// The receipts of one attempt.
pub(crate) struct Receipts {
    state: Arc<State>,
    key: Arc<SigningKey>,
    exchange: ExchangeId,
    lease: LeaseId,
    attempt: AttemptId,
    epoch: u64,
    /// The highest number that was ever used.
    sequence: u64,
}

impl Receipts {
    pub(crate) fn new(
        state: Arc<State>,
        key: Arc<SigningKey>,
        exchange: ExchangeId,
        start: &wire::AttemptStart,
    ) -> Self {
        Receipts {
            state,
            key,
            exchange,
            lease: start.lease,
            attempt: start.attempt,
            epoch: start.epoch,
            sequence: start.receipt_sequence,
        }
    }

    /// The receipt that an earlier process of this agent issued and that the exchange has not
    /// accepted: exactly the same bytes again.
    pub(crate) fn earlier(&mut self) -> Result<Option<SignedReceipt>, ProviderError> {
        let Some(receipt) = self.state.receipt(self.attempt)? else { return Ok(None) };
        let accepted = receipt.sequence <= self.sequence;
        self.sequence = self.sequence.max(receipt.sequence);
        Ok((!accepted).then(|| receipt.sign(&self.key)))
    }

    /// A new receipt under the next number. Blocks on the disk.
    pub(crate) fn issue(&mut self, claim: Claim) -> Result<SignedReceipt, ProviderError> {
        // Counted up even if writing fails: nobody knows what a failed write left behind.
        self.sequence += 1;
        let receipt = Receipt {
            exchange: self.exchange,
            lease: self.lease,
            attempt: self.attempt,
            epoch: self.epoch,
            sequence: self.sequence,
            usage: claim.usage,
            chain_head: claim.chain_head,
            checkpoint: claim.checkpoint,
            ended: claim.ended,
        };
        self.state.save_receipt(&receipt)?;
        Ok(receipt.sign(&self.key))
    }
}

#[cfg(test)]
mod tests {
    use base::{JobId, TaskId};

    use super::*;

    #[test]
    fn after_a_crash_the_same_is_said_again_and_never_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(dir.path()).unwrap());
        let key = Arc::new(SigningKey::from_bytes(&[7; 32]));
        let start = |receipt_sequence| wire::AttemptStart {
            attempt: AttemptId(1),
            lease: LeaseId(2),
            job: JobId(3),
            task: TaskId(4),
            epoch: 5,
            spec: Digest::default(),
            checkpoint: None,
            usage: Usage::ZERO,
            receipt_sequence,
            fuel_allowance: 0,
        };
        let open =
            |accepted| Receipts::new(state.clone(), key.clone(), ExchangeId(9), &start(accepted));
        let claim = Claim {
            usage: Usage { fuel: 8, ..Usage::ZERO },
            chain_head: Digest::of(b"c"),
            checkpoint: Some(Digest::of(b"d")),
            ended: None,
        };
        let mut receipts = open(0);
        assert_eq!(receipts.earlier().unwrap(), None);
        let first = receipts.issue(claim.clone()).unwrap();
        assert_eq!(first.receipt.sequence, 1);
        // Crash; the exchange never got it.
        let mut receipts = open(0);
        assert_eq!(receipts.earlier().unwrap(), Some(first));
        assert_eq!(receipts.issue(claim).unwrap().receipt.sequence, 2);
        // Crash; the exchange has both.
        let mut receipts = open(2);
        assert_eq!(receipts.earlier().unwrap(), None);
        // What was said last can't be read: it is not for anybody to guess.
        let path = dir.path().join("attempts").join(format!("{}.json", AttemptId(1)));
        std::fs::write(path, "{\"sequence\":").unwrap();
        assert!(matches!(open(2).earlier(), Err(ProviderError::DamagedState { .. })));
    }
}
