//! Asking again until there is an answer, and waiting for a job.

use std::future::Future;
use std::time::{Duration, Instant};

use base::JobId;
use wire::{JobState, JobView};

use crate::{Client, ClientError};

/// First and longest pause between two tries.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LAST: Duration = Duration::from_secs(3);

/// 128 random bits: an id made by the client, which makes its request idempotent.
pub fn random_id() -> u128 {
    let mut bytes = [0; 16];
    // A system without randomness could not have opened a connection either.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    u128::from_be_bytes(bytes)
}

/// How long to ask again when the exchange does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// So long.
    For(Duration),
    /// Until it answers.
    Forever,
}

impl Patience {
    /// Calls `request` until it gives anything but a transient error, or patience is at an end.
    /// `note` hears of the first failure of a row, and of the answer after it (`None`).
    pub async fn ask<T, F: Future<Output = Result<T, ClientError>>>(
        self,
        mut note: impl FnMut(Option<&ClientError>),
        mut request: impl FnMut() -> F,
    ) -> Result<T, ClientError> {
        let begun = Instant::now();
        let mut pause = PAUSE_FIRST;
        let mut failed = false;
        loop {
            match request().await {
                Err(error) if error.is_transient() => {
                    if matches!(self, Patience::For(limit) if begun.elapsed() >= limit) {
                        return Err(error);
                    }
                    if !failed {
                        note(Some(&error));
                        failed = true;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_LAST);
                }
                other => {
                    if failed {
                        note(None);
                    }
                    return other;
                }
            }
        }
    }
}

impl Client {
    /// Follows a job until `seen` says that it is enough; `seen` is called with every version.
    /// Survives the loss of the exchange: `note` is called as in [`Patience::ask`].
    pub async fn follow(
        &self,
        job: JobId,
        mut note: impl FnMut(Option<&ClientError>),
        mut seen: impl FnMut(&JobView) -> bool,
    ) -> Result<JobView, ClientError> {
        let mut view = Patience::Forever.ask(&mut note, || self.job(job)).await?;
        while !seen(&view) {
            let version = view.version;
            view = Patience::Forever.ask(&mut note, || self.job_after(job, version)).await?;
        }
        Ok(view)
    }
}

/// Whether nothing more happens to a job by itself.
pub(crate) fn is_over(state: JobState) -> bool {
    matches!(state, JobState::Done | JobState::Cancelled)
}

impl Client {
    /// Waits until a job is done or cancelled.
    pub async fn wait(&self, job: JobId) -> Result<JobView, ClientError> {
        self.follow(job, |_| (), |view| is_over(view.state)).await
    }
}
