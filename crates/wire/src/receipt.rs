//! Receipts: a machine's signed, cumulative word about an attempt.

use base::{AttemptId, Digest, ExchangeId, LeaseId, MachineId, Usage};
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};

/// The contents of a receipt. Usage is that of the *task* from its beginning, so that a
/// duplicate or an older receipt changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The exchange it is for.
    pub exchange: ExchangeId,
    /// The lease under which the work was done.
    pub lease: LeaseId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The attempt's epoch: a receipt with an old one is refused.
    pub epoch: u64,
    /// Counts up from 1 per attempt.
    pub sequence: u64,
    /// The task's cumulative usage.
    pub usage: Usage,
    /// The chain's last digest at this point.
    pub chain_head: Digest,
    /// The [`crate::CheckpointIndex`] blob of the state at this point. Absent when `ended` is
    /// `Finished` (the result stands in its place) or `Fault` (nothing new is claimed).
    pub checkpoint: Option<Digest>,
    /// Set in an attempt's last receipt.
    pub ended: Option<AttemptEnd>,
}

/// Why an attempt is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum AttemptEnd {
    /// The task is done: the [`crate::TaskResult`] blob.
    Finished {
        /// Its digest.
        result: Digest,
    },
    /// The owner wants the machine back: the attempt stopped at its checkpoint.
    Yielded,
    /// The fuel that escrow covers is used up: the attempt stopped at its checkpoint.
    AllowanceSpent,
    /// The host failed. Usage, chain and checkpoint repeat what was last accepted.
    Fault {
        /// For people.
        reason: String,
    },
    /// The module can't be run: refused by name at admission. Nothing was run.
    Refused {
        /// For people: what is unsupported or malformed, and what to do.
        reason: String,
    },
}

/// A receipt with its machine's signature over [`Receipt::signed_bytes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// What is signed.
    pub receipt: Receipt,
    /// Ed25519 signature, 128 hex digits.
    pub signature: String,
}

/// A signature that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The text is not 128 hex digits.
    #[error("`{0}` is not a signature: expected 128 hex digits")]
    Malformed(String),
    /// The key is not a point on the curve.
    #[error("the public key is not an Ed25519 key")]
    Key,
    /// The signature is not this key's over these bytes.
    #[error("the signature does not match the machine's key")]
    Mismatch,
}

impl Receipt {
    /// The canonical bytes that a machine signs: a domain line, then every field in the order
    /// of the struct, integers as 8 little-endian bytes, ids as 16 big-endian bytes, digests as
    /// 32 bytes, options as one byte 0 or 1 and the value, strings as length and UTF-8.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut out = b"jusha receipt v1\n".to_vec();
        out.extend(self.exchange.0.to_be_bytes());
        out.extend(self.lease.0.to_be_bytes());
        out.extend(self.attempt.0.to_be_bytes());
        for number in [
            self.epoch,
            self.sequence,
            self.usage.fuel,
            self.usage.memory_page_fuel,
            self.usage.state_bytes,
            self.usage.traffic_bytes,
        ] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.chain_head.0);
        match self.checkpoint {
            None => out.push(0),
            Some(digest) => {
                out.push(1);
                out.extend(digest.0);
            }
        }
        let text = |out: &mut Vec<u8>, tag: u8, text: &str| {
            out.push(tag);
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(text.as_bytes());
        };
        match &self.ended {
            None => out.push(0),
            Some(AttemptEnd::Finished { result }) => {
                out.push(1);
                out.extend(result.0);
            }
            Some(AttemptEnd::Yielded) => out.push(2),
            Some(AttemptEnd::AllowanceSpent) => out.push(3),
            Some(AttemptEnd::Fault { reason }) => text(&mut out, 4, reason),
            Some(AttemptEnd::Refused { reason }) => text(&mut out, 5, reason),
        }
        out
    }

    /// Signs the receipt. Persist it before you send it: two different receipts under one
    /// (attempt, sequence) are evidence against the machine.
    pub fn sign(self, key: &SigningKey) -> SignedReceipt {
        let signature = hex(&key.sign(&self.signed_bytes()).to_bytes());
        SignedReceipt { receipt: self, signature }
    }
}

impl SignedReceipt {
    /// Checks the signature against a machine's public key.
    pub fn verify(&self, public_key: &[u8; 32]) -> Result<(), SignatureError> {
        verify_signature(public_key, &self.receipt.signed_bytes(), &self.signature)
    }
}

/// Checks `signature` (128 hex digits) of `public_key` over `bytes`.
pub fn verify_signature(
    public_key: &[u8; 32],
    bytes: &[u8],
    signature: &str,
) -> Result<(), SignatureError> {
    let raw = unhex::<64>(signature)
        .ok_or_else(|| SignatureError::Malformed(signature.chars().take(140).collect()))?;
    let key = VerifyingKey::from_bytes(public_key).map_err(|_| SignatureError::Key)?;
    key.verify(bytes, &Signature::from_bytes(&raw)).map_err(|_| SignatureError::Mismatch)
}

/// The bytes an agent signs to prove its key when it connects: bound to the exchange and to
/// a nonce that the exchange chose for this connection.
pub fn challenge_bytes(exchange: ExchangeId, machine: MachineId, nonce: &Digest) -> Vec<u8> {
    let mut out = b"jusha challenge v1\n".to_vec();
    out.extend(exchange.0.to_be_bytes());
    out.extend(machine.0.to_be_bytes());
    out.extend(nonce.0);
    out
}

/// The bytes a machine signs when it enrols: proof that it holds the key it names.
pub fn enrolment_bytes(code: &str, public_key: &[u8; 32]) -> Vec<u8> {
    let mut out = b"jusha enrolment v1\n".to_vec();
    out.extend((code.len() as u64).to_le_bytes());
    out.extend(code.as_bytes());
    out.extend(public_key);
    out
}

/// The machine id of a public key.
pub fn machine_id(public_key: &[u8; 32]) -> MachineId {
    MachineId::derive(&[public_key])
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `N` bytes from hex digits; `None` when the text is anything else.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            exchange: ExchangeId(1),
            lease: LeaseId(2),
            attempt: AttemptId(3),
            epoch: 4,
            sequence: 5,
            usage: Usage { fuel: 6, memory_page_fuel: 7, state_bytes: 8, traffic_bytes: 9 },
            chain_head: Digest::of(b"c"),
            checkpoint: None,
            ended: None,
        }
    }

    #[test]
    fn a_changed_field_breaks_the_signature() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key().to_bytes();
        let signed = receipt().sign(&key);
        assert_eq!(signed.verify(&public), Ok(()));
        let changes: [fn(&mut Receipt); 8] = [
            |r| r.exchange.0 += 1,
            |r| r.lease.0 += 1,
            |r| r.epoch += 1,
            |r| r.sequence += 1,
            |r| r.usage.fuel += 1,
            |r| r.chain_head = Digest::of(b"d"),
            |r| r.checkpoint = Some(Digest::of(b"e")),
            |r| r.ended = Some(AttemptEnd::Yielded),
        ];
        for change in changes {
            let mut changed = signed.clone();
            change(&mut changed.receipt);
            assert_eq!(changed.verify(&public), Err(SignatureError::Mismatch));
        }
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes();
        assert_eq!(signed.verify(&other), Err(SignatureError::Mismatch));
    }

    /// Whatever is done to a receipt on its way, it is no receipt any more, is the same one, or is
    /// not the machine's.
    #[test]
    fn an_altered_receipt_is_refused_at_every_byte() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key().to_bytes();
        let signed = receipt().sign(&key);
        let text = serde_json::to_vec(&signed).unwrap();
        let judge = |bytes: &[u8]| {
            let Ok(read) = serde_json::from_slice::<SignedReceipt>(bytes) else { return false };
            assert!(read == signed || read.verify(&public).is_err(), "{read:?}");
            true
        };
        assert!(judge(&text));
        let mut read = 0;
        for at in 0..text.len() {
            assert!(!judge(&text[..at]), "{at}");
            for other in [b'0', b'1', b'f', b' ', b'"', b'{', text[at] ^ 1, text[at] ^ 0x80] {
                let mut altered = text.clone();
                altered[at] = other;
                read += u32::from(judge(&altered) && other != text[at]);
            }
            let mut longer = text.clone();
            longer.insert(at, b'1');
            judge(&longer);
            let mut shorter = text.clone();
            shorter.remove(at);
            judge(&shorter);
        }
        assert!(read > 100, "{read} altered receipts could be read and had to be judged");
    }
}
