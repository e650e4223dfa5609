//! Blobs that nobody needs any more are deleted: those whose last hold nobody wanted for a while,
//! and which no live job speaks of.
//!
//! What a live job speaks of is found first; a hold that ends meanwhile ends only if nobody wanted
//! its blob since, and who submits a job wants what it names. So a blob is never deleted under
//! somebody who was told that it is there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base::Digest;
use tokio::sync::watch;
use wire::{CheckpointIndex, TaskSpec};

use crate::app::App;
use crate::blobs::{BlobError, BlobStore};
use crate::error::ApiError;
use crate::sequencer::unix_ms;

/// Holds that are looked at between two pauses for others.
const BATCH: u32 = 1_000;

/// Collects now and then, until the exchange shuts down.
pub(crate) async fn drive(app: Arc<App>, mut closing: watch::Receiver<bool>) {
    let every = Duration::from_millis(app.config.blob_collect_ms);
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
        match collect(&app).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "blobs that nobody needs are gone"),
            Err(error) => tracing::warn!(?error, "not every blob that nobody needs is gone"),
        }
    }
}

/// How many were deleted.
async fn collect(app: &Arc<App>) -> Result<u64, ApiError> {
    let now_ms = unix_ms();
    let before = |keep_ms: u64| now_ms.saturating_sub_unsigned(keep_ms);
    let accounts = before(app.config.blob_keep_ms);
    let machines = before(app.config.checkpoint_keep_ms);
    let roots = app
        .sequencer
        .read(|core| {
            let live = core.state.jobs().filter(|job| !job.is_over());
            let tasks = live.flat_map(|job| core.state.job_tasks(job.job));
            tasks.map(|task| (task.spec, task.checkpoint)).collect::<Vec<_>>()
        })
        .await?;
    let needed = app.with_blobs(move |blobs| needed(blobs, &roots)).await?;
    let needed = Arc::new(needed);
    let mut deleted = 0;
    loop {
        let (app_of, needed) = (Arc::clone(app), Arc::clone(&needed));
        let batch = tokio::task::spawn_blocking(move || {
            let stale = app_of.holds.stale(accounts, machines, BATCH)?;
            let mut deleted = 0;
            for hold in &stale {
                if needed.contains(&hold.digest) {
                    app_of.holds.renew(hold, now_ms)?;
                    continue;
                }
                let since = if hold.holder.starts_with("mach_") { machines } else { accounts };
                let _turn = app_of.holds.deleting();
                if app_of.holds.release(hold, since)? {
                    app_of.blobs.remove(&hold.digest)?;
                    deleted += 1;
                }
            }
            Ok::<_, ApiError>((deleted, stale.len()))
        });
        let (gone, seen) = batch.await.map_err(|_| ApiError::Internal)??;
        deleted += gone;
        if seen < BATCH as usize {
            return Ok(deleted);
        }
    }
}

/// What live tasks speak of: their specs, what those name, and the checkpoints to go on from.
fn needed(
    blobs: &dyn BlobStore,
    roots: &[(Digest, Option<Digest>)],
) -> Result<BTreeSet<Digest>, BlobError> {
    let mut needed = BTreeSet::new();
    for (spec, checkpoint) in roots {
        if needed.insert(*spec)
            && let Some(bytes) = blobs.get(spec)?
            && let Ok(spec) = serde_json::from_slice::<TaskSpec>(&bytes)
        {
            needed.insert(spec.module);
            needed.extend(spec.base);
            needed.extend(spec.stdin);
            needed.extend(spec.inputs.iter().map(|input| input.content));
        }
        if let Some(checkpoint) = checkpoint
            && needed.insert(*checkpoint)
            && let Some(bytes) = blobs.get(checkpoint)?
            && let Ok(index) = serde_json::from_slice::<CheckpointIndex>(&bytes)
        {
            needed.insert(index.manifest);
            needed.extend(index.leaves);
        }
    }
    Ok(needed)
}
