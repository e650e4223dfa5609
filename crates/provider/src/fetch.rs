//! Turns an attempt's content addresses into a task to run and a checkpoint to run it from.

use std::collections::BTreeMap;

use base::Digest;
use runtime::checkpoint::Checkpoint;
use runtime::task::Task;
use wire::{AttemptStart, CheckpointIndex, TaskSpec};

use crate::blobs::{BlobError, Blobs};

/// Ready to be given to a worker.
pub(crate) struct Prepared {
    pub task: Task,
    pub fuel_max: u64,
    pub resume: Option<Checkpoint>,
}

/// Why an attempt can't be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    /// Neither the task's nor the machine's fault.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// No machine can run it.
    #[error("{0}")]
    Refused(String),
    /// What the exchange holds does not fit together.
    #[error("{0}")]
    Damaged(String),
}

/// Downloads everything. `checkpoint` overrides the start's: after a restart of the agent its
/// own receipt may name a later one.
pub(crate) async fn prepare(
    blobs: &Blobs,
    start: &AttemptStart,
    checkpoint: Option<Digest>,
    slot_pages_max: u32,
) -> Result<Prepared, PrepareError> {
    let spec = blobs.fetch(start.spec).await?;
    let spec: TaskSpec = serde_json::from_slice(&spec)
        .map_err(|error| PrepareError::Refused(format!("the task's spec is malformed: {error}")))?;
    if spec.version != 1 {
        return Err(PrepareError::Refused(format!(
            "the task's spec has version {}, this agent knows 1",
            spec.version
        )));
    }
    if spec.memory_max_pages > slot_pages_max {
        return Err(PrepareError::Refused(format!(
            "the task wants {} MiB of memory, a slot has {}: lower --memory-max",
            spec.memory_max_pages / 16,
            slot_pages_max / 16
        )));
    }
    let mut inputs = BTreeMap::new();
    for input in &spec.inputs {
        inputs.insert(input.name.clone(), blobs.fetch(input.content).await?);
    }
    let stdin = match spec.stdin {
        Some(digest) => blobs.fetch(digest).await?,
        None => Vec::new(),
    };
    let task = Task {
        module: blobs.fetch(spec.module).await?,
        args: spec.args,
        env: spec.env,
        stdin,
        inputs,
        memory_max_pages: spec.memory_max_pages,
        output_max_bytes: spec.output_max_bytes,
        segment_fuel: spec.segment_fuel,
        seed: spec.seed,
        clock_start_ms: spec.clock_start_ms,
    };
    let resume = match checkpoint {
        Some(digest) => Some(fetch_checkpoint(blobs, digest).await?),
        None => None,
    };
    Ok(Prepared { task, fuel_max: spec.fuel_max, resume })
}

async fn fetch_checkpoint(blobs: &Blobs, digest: Digest) -> Result<Checkpoint, PrepareError> {
    let damaged =
        |problem: String| PrepareError::Damaged(format!("checkpoint {digest}: {problem}"));
    let index = blobs.download(digest).await?;
    let index: CheckpointIndex =
        serde_json::from_slice(&index).map_err(|error| damaged(error.to_string()))?;
    let manifest = blobs.download(index.manifest).await?;
    // The manifest decides: the index is only what the exchange goes by.
    let leaves =
        Checkpoint::leaves_of_manifest(&manifest).map_err(|error| damaged(error.to_string()))?;
    let leaves = blobs.download_all(leaves).await?.into_iter().collect();
    Checkpoint::from_parts(manifest, leaves).map_err(|error| damaged(error.to_string()))
}
