//! What the exchange checks about a receipt before clearing sees it: that it is for this
//! exchange, that its machine signed it, and that everything it points to is in the store. So
//! nothing is paid that can't be gone on from.
//!
//! Whether it contradicts an earlier receipt is clearing's to see, which keeps the digest of an
//! attempt's newest receipt only. So another content under an *older* sequence is answered like
//! the late duplicate that it most likely is, as accepted, and nothing happens: receipts are
//! cumulative, so an older one has nothing to claim, and lying in it gains nothing.

use base::{Digest, ExchangeId, MachineId};
use clearing::Command;
use wire::{AttemptEnd, CheckpointIndex, Receipt, SignedReceipt, TaskResult};

use crate::blobs::{BlobError, BlobStore};
use crate::config::limits;
use crate::text;

/// How many missing blobs a refusal names.
const NAMED_BLOBS: usize = 3;

/// Why a receipt doesn't get to clearing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiptFlaw {
    #[error("the receipt is for {0}, this is another exchange: sign it for the one it is sent to")]
    WrongExchange(ExchangeId),
    #[error("{0}: sign with the key that the machine enrolled with")]
    Signature(#[from] wire::SignatureError),
    #[error("{0}")]
    Malformed(String),
    #[error("blobs are lacking ({0}): upload them and send the receipt again")]
    MissingBlobs(String),
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl ReceiptFlaw {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            ReceiptFlaw::WrongExchange(_) => "wrong_exchange",
            ReceiptFlaw::Signature(_) => "bad_signature",
            ReceiptFlaw::Malformed(_) => "malformed_receipt",
            ReceiptFlaw::MissingBlobs(_) => "missing_blobs",
            ReceiptFlaw::Blob(BlobError::Full) => "storage_full",
            ReceiptFlaw::Blob(BlobError::Io { .. } | BlobError::Holds) => "storage_failed",
        }
    }

    /// Whether the attempt can't go on.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, ReceiptFlaw::MissingBlobs(_) | ReceiptFlaw::Blob(_))
    }
}

/// Checks a receipt and turns it into clearing's command; if it ends a task, also the blobs that
/// its result is made of, and their lengths. Reads blobs: keep it off the async threads.
///
/// Of an attempt that is over nothing is accepted any more, so its blobs are not looked for
/// (absent): who says again what was accepted may no longer read what others sent for that job.
pub(crate) fn check(
    blobs: Option<&dyn BlobStore>,
    exchange: ExchangeId,
    machine: MachineId,
    public_key: &[u8; 32],
    signed: SignedReceipt,
) -> Result<(Command, Vec<(Digest, u64)>), ReceiptFlaw> {
    if signed.receipt.exchange != exchange {
        return Err(ReceiptFlaw::WrongExchange(signed.receipt.exchange));
    }
    signed.verify(public_key)?;
    let receipt_digest = Digest::of(&signed.receipt.signed_bytes());
    let receipt = signed.receipt;
    if receipt.sequence > i64::MAX as u64 || receipt.epoch > i64::MAX as u64 {
        return Err(ReceiptFlaw::Malformed("sequence or epoch is absurd".to_owned()));
    }
    let Some(blobs) = blobs else {
        return Ok((command(machine, receipt, receipt_digest), Vec::new()));
    };
    let mut missing = Missing { blobs, list: Vec::new() };
    let mut results = Vec::new();
    if let Some(digest) = receipt.checkpoint
        && let Some(index) = missing.json::<CheckpointIndex>("checkpoint index", &digest)?
    {
        missing.check("manifest", &index.manifest)?;
        for leaf in &index.leaves {
            missing.check("leaf", leaf)?;
        }
    }
    if let Some(AttemptEnd::Finished { result }) = &receipt.ended
        && let Some(found) = missing.json::<TaskResult>("result", result)?
    {
        results.extend(missing.check("result", result)?);
        results.extend(missing.check("stdout", &found.stdout)?);
        results.extend(missing.check("stderr", &found.stderr)?);
        for file in &found.outputs {
            results.extend(missing.check("output", &file.content)?);
        }
    }
    missing.none_missing()?;
    Ok((command(machine, receipt, receipt_digest), results))
}

struct Missing<'a> {
    blobs: &'a dyn BlobStore,
    list: Vec<String>,
}

impl Missing<'_> {
    fn check(&mut self, what: &str, digest: &Digest) -> Result<Option<(Digest, u64)>, ReceiptFlaw> {
        let length = self.blobs.length(digest)?;
        if length.is_none() {
            self.list.push(format!("{what} {digest}"));
        }
        Ok(length.map(|length| (*digest, length)))
    }

    fn json<T: serde::de::DeserializeOwned>(
        &mut self,
        what: &str,
        digest: &Digest,
    ) -> Result<Option<T>, ReceiptFlaw> {
        let length = self.blobs.length(digest)?;
        if length.is_some_and(|length| length > limits::INDEX_BYTES) {
            let most = limits::INDEX_BYTES;
            let message = format!("the {what} {digest} is larger than {most} bytes");
            return Err(ReceiptFlaw::Malformed(message));
        }
        let bytes = match length {
            Some(_) => self.blobs.get(digest)?,
            None => None,
        };
        let Some(bytes) = bytes else {
            self.list.push(format!("{what} {digest}"));
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            ReceiptFlaw::Malformed(format!("the {what} {digest} can't be read: {error}"))
        })
    }

    fn none_missing(self) -> Result<(), ReceiptFlaw> {
        if self.list.is_empty() {
            return Ok(());
        }
        let named = self.list[..self.list.len().min(NAMED_BLOBS)].join(", ");
        let more = self.list.len().saturating_sub(NAMED_BLOBS);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        Err(ReceiptFlaw::MissingBlobs(named + &rest))
    }
}

fn command(machine: MachineId, receipt: Receipt, receipt_digest: Digest) -> Command {
    let ended = receipt.ended.map(|ended| match ended {
        AttemptEnd::Finished { result } => clearing::AttemptEnd::Finished { result },
        AttemptEnd::Yielded => clearing::AttemptEnd::Yielded,
        AttemptEnd::AllowanceSpent => clearing::AttemptEnd::AllowanceSpent,
        AttemptEnd::Fault { reason } => {
            clearing::AttemptEnd::Fault { reason: text::cleaned(&reason) }
        }
        AttemptEnd::Refused { reason } => {
            clearing::AttemptEnd::Refused { reason: text::cleaned(&reason) }
        }
    });
    Command::AcceptReceipt {
        machine,
        lease: receipt.lease,
        attempt: receipt.attempt,
        epoch: receipt.epoch,
        receipt_sequence: receipt.sequence,
        receipt_digest,
        usage: receipt.usage,
        chain_head: receipt.chain_head,
        checkpoint: receipt.checkpoint,
        ended,
    }
}
