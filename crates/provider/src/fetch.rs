//! Turns an attempt's content addresses into a task to run and a checkpoint to run it from.

use std::collections::BTreeMap;

use base::Digest;
use runtime::checkpoint::Checkpoint;
use runtime::save::CheckpointFile;
use runtime::task::Task;
use wire::{AttemptStart, CheckpointIndex, TaskSpec};

use crate::blobs::{BlobError, Blobs};

/// Ready to be given to a worker.
pub(crate) struct Prepared {
    pub task: Task,
    /// Where it begins; without a module, which is the task's.
    pub base: Option<CheckpointFile>,
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
    if spec.version != spec.version_due() {
        return Err(PrepareError::Refused(format!(
            "the task's spec has version {}, this agent knows 1, and 2 with a base",
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
    let mut sum = InputSum::new(&spec, slot_pages_max);
    let mut inputs = BTreeMap::new();
    for input in &spec.inputs {
        let bytes = blobs.fetch(input.content).await?;
        sum.add(input.content, bytes.len())?;
        inputs.insert(input.name.clone(), bytes);
    }
    let stdin = match spec.stdin {
        Some(digest) => {
            let bytes = blobs.fetch(digest).await?;
            sum.add(digest, bytes.len())?;
            bytes
        }
        None => Vec::new(),
    };
    let base = match spec.base {
        Some(digest) => Some(fetch_base(blobs, digest, slot_pages_max).await?),
        None => None,
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
    Ok(Prepared { task, base, fuel_max: spec.fuel_max, resume })
}

/// What a task's inputs take in memory, standard input among them. A blob of a few MiB under
/// ten thousand names is small at the exchange and large here: every name counts, and as soon
/// as the length of its blob is known.
struct InputSum {
    /// How often each blob is used whose length isn't known yet.
    unknown: BTreeMap<Digest, u64>,
    bytes: u64,
    slot_mib: u64,
}

impl InputSum {
    fn new(spec: &TaskSpec, slot_pages_max: u32) -> Self {
        let mut unknown = BTreeMap::new();
        for digest in spec.inputs.iter().map(|input| input.content).chain(spec.stdin) {
            *unknown.entry(digest).or_insert(0) += 1;
        }
        InputSum { unknown, bytes: 0, slot_mib: u64::from(slot_pages_max / 16) }
    }

    fn add(&mut self, digest: Digest, length: usize) -> Result<(), PrepareError> {
        let uses = self.unknown.remove(&digest).unwrap_or(0);
        self.bytes = self.bytes.saturating_add(uses.saturating_mul(length as u64));
        if self.bytes <= self.slot_mib << 20 {
            return Ok(());
        }
        // The rest isn't worth a download: it fits no better.
        let more = if self.unknown.is_empty() { "" } else { "more than " };
        Err(PrepareError::Refused(format!(
            "inputs take {more}{} MiB, a slot has {} MiB: give the task less at once",
            self.bytes.div_ceil(1 << 20),
            self.slot_mib
        )))
    }
}

/// A base is decoded off the loop: that takes tens of milliseconds.
async fn fetch_base(
    blobs: &Blobs,
    digest: Digest,
    slot_pages_max: u32,
) -> Result<CheckpointFile, PrepareError> {
    let bytes = blobs.fetch(digest).await?;
    let decoded = tokio::task::spawn_blocking(move || {
        CheckpointFile::base_from_bytes(&bytes, u64::from(slot_pages_max) << 16)
    });
    let refused = |problem: String| PrepareError::Refused(format!("the base {digest}: {problem}"));
    decoded
        .await
        .map_err(|error| PrepareError::Damaged(error.to_string()))?
        .map_err(|error| refused(error.to_string()))
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
    let leaves = blobs.download_all(leaves).await?;
    let leaves = leaves.into_iter().map(|(digest, bytes)| (digest, bytes.into())).collect();
    Checkpoint::from_parts(manifest, leaves).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use wire::InputFile;

    use super::*;

    /// Inputs and standard input as (blob, length in MiB); what 32 MiB of a slot say to them.
    fn check(inputs: &[(u8, usize)], stdin: Option<(u8, usize)>, expected: &str) {
        let digest = |blob: u8| Digest::of(&[blob]);
        let spec = TaskSpec {
            version: 1,
            module: Digest::default(),
            base: None,
            args: Vec::new(),
            env: Vec::new(),
            stdin: stdin.map(|(blob, _)| digest(blob)),
            inputs: inputs
                .iter()
                .enumerate()
                .map(|(index, (blob, _))| InputFile {
                    name: index.to_string(),
                    content: digest(*blob),
                })
                .collect(),
            memory_max_pages: 1,
            output_max_bytes: 1,
            fuel_max: 1,
            segment_fuel: 1,
            seed: Digest::default(),
            clock_start_ms: 0,
        };
        let mut sum = InputSum::new(&spec, 512);
        let added = inputs
            .iter()
            .chain(stdin.as_ref())
            .try_for_each(|(blob, mib)| sum.add(digest(*blob), mib << 20));
        let said = added.err().map(|error| error.to_string()).unwrap_or_default();
        let said = said.strip_suffix(": give the task less at once").unwrap_or(&said);
        assert_eq!(said, expected);
    }

    #[test]
    fn the_sum_of_inputs_is_bounded_by_the_slot() {
        check(&[], None, "");
        check(&[(1, 16), (2, 16)], None, "");
        check(&[(1, 16)], Some((1, 16)), "");
        check(&[(1, 16), (2, 17)], None, "inputs take 33 MiB, a slot has 32 MiB");
        check(&[(1, 16), (2, 16)], Some((2, 16)), "inputs take 48 MiB, a slot has 32 MiB");
        check(&[(1, 40), (2, 1)], None, "inputs take more than 40 MiB, a slot has 32 MiB");
        // Known from the first download on.
        check(&[(1, 1); 10_000], None, "inputs take 10000 MiB, a slot has 32 MiB");
    }
}
