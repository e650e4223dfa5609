//! Puts a checkpoint or a result into the exchange's store, and says what a receipt may claim
//! once it is there.

use base::Digest;
use runtime::checkpoint::Checkpoint;
use runtime::protocol::{End, Outcome};
use wire::{AttemptEnd, CheckpointIndex, InputFile, TaskResult};

use crate::blobs::{BlobError, Blobs};
use crate::receipts::Claim;

/// Uploads the leaves that the exchange lacks, then the manifest, then the index.
pub(crate) async fn checkpoint(
    blobs: &Blobs,
    checkpoint: &Checkpoint,
    ended: Option<AttemptEnd>,
) -> Result<Claim, BlobError> {
    let manifest = Digest::of(checkpoint.manifest());
    let leaves = checkpoint.leaves();
    let index = CheckpointIndex { manifest, leaves: leaves.keys().copied().collect() };
    let index = serde_json::to_vec(&index).expect("a struct of digests");
    let index_digest = Digest::of(&index);
    let mut all: Vec<(Digest, &[u8])> =
        leaves.iter().map(|(digest, bytes)| (*digest, &**bytes)).collect();
    all.push((manifest, checkpoint.manifest()));
    all.push((index_digest, &index));
    blobs.store(&all).await?;
    Ok(Claim {
        usage: checkpoint.usage(),
        chain_head: checkpoint.chain_head(),
        checkpoint: Some(index_digest),
        ended,
    })
}

/// Uploads everything that a finished task left behind.
pub(crate) async fn result(blobs: &Blobs, end: &End) -> Result<Claim, BlobError> {
    let outcome = match &end.outcome {
        Outcome::Exited(status) => wire::Outcome::Exited { status: *status },
        Outcome::Trapped(code) => wire::Outcome::Trapped { code: code.name().to_owned() },
        Outcome::FuelLimit => wire::Outcome::FuelLimit,
    };
    let stdout = Digest::of(&end.stdout);
    let stderr = Digest::of(&end.stderr);
    let mut all: Vec<(Digest, &[u8])> = vec![(stdout, &end.stdout), (stderr, &end.stderr)];
    let mut outputs = Vec::new();
    for (name, bytes) in &end.outputs {
        let content = Digest::of(bytes);
        all.push((content, bytes));
        outputs.push(InputFile { name: name.clone(), content });
    }
    let result = TaskResult { outcome, stdout, stderr, outputs };
    let result = serde_json::to_vec(&result).expect("a struct of strings and digests");
    let result_digest = Digest::of(&result);
    all.push((result_digest, &result));
    // Two outputs with the same content are one blob.
    all.sort_by_key(|(digest, _)| *digest);
    all.dedup_by_key(|(digest, _)| *digest);
    blobs.store(&all).await?;
    Ok(Claim {
        usage: end.usage,
        chain_head: end.record.digest,
        checkpoint: None,
        ended: Some(AttemptEnd::Finished { result: result_digest }),
    })
}
