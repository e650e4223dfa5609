//! Following a job through crashes, as a witness: what was once acknowledged may never be
//! taken back.

use std::time::Duration;

use base::JobId;
use client::{Client, ClientError};
use wire::{JobState, JobView, TaskState, TransferView};

use super::process::guarded;

/// Between two tries to reach an exchange that is away.
const INTERVAL: Duration = Duration::from_millis(5);

/// A job as its buyer sees it.
pub struct Watch {
    buyer: Client,
    job: JobId,
    /// The last version that was seen, and with it what was acknowledged.
    seen: Option<JobView>,
    /// Transfers that were seen, newest first.
    transfers: Vec<TransferView>,
    /// Of a restarted exchange, old version numbers mean nothing.
    after: u64,
}

impl Watch {
    /// Nothing seen yet.
    pub fn new(buyer: &Client, job: JobId) -> Watch {
        Watch { buyer: buyer.clone(), job, seen: None, transfers: Vec::new(), after: 0 }
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// What was seen last.
    pub fn seen(&self) -> &JobView {
        self.seen.as_ref().expect("something was seen")
    }

    /// The exchange was restarted.
    pub fn restarted(&mut self) {
        self.after = 0;
    }

    /// Waits for a version that is as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl FnMut(&JobView) -> bool) -> JobView {
        self.until_or_over(what, wanted, false).await
    }

    /// Waits for a version that is as wanted, or for the job's end.
    pub async fn until_or_end(&mut self, mut wanted: impl FnMut(&JobView) -> bool) -> JobView {
        let either = move |view: &JobView| is_over(view) || wanted(view);
        self.until_or_over("the job's end", either, true).await
    }

    /// Waits for the job's end.
    pub async fn end(&mut self) -> JobView {
        self.until_or_end(|_| false).await
    }

    async fn until_or_over(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&JobView) -> bool,
        over: bool,
    ) -> JobView {
        guarded(what, async {
            // What was seen last may do; of a job that is over there is no next version.
            let mut seen = self.seen.clone();
            loop {
                let view = match seen.take() {
                    Some(view) => view,
                    None => self.next().await,
                };
                if wanted(&view) {
                    return view;
                }
                assert!(over || !is_over(&view), "the job ended before: {what}: {view:#?}");
            }
        })
        .await
    }

    /// The next version, from whichever exchange answers.
    async fn next(&mut self) -> JobView {
        loop {
            match self.buyer.job_after(self.job, self.after).await {
                Ok(view) => {
                    self.note(&view);
                    return view;
                }
                Err(error) if error.is_transient() => {
                    self.after = 0;
                    tokio::time::sleep(INTERVAL).await;
                }
                // Not submitted yet, as long as nobody said that it was.
                Err(ClientError::Refused { status: 404, .. }) if self.seen.is_none() => {
                    tokio::time::sleep(INTERVAL).await;
                }
                Err(error) => panic!("{}: {error}", self.job),
            }
        }
    }

    /// Notes what a version acknowledges, after comparing it with what was before.
    pub fn note(&mut self, view: &JobView) {
        if let Some(before) = &self.seen {
            assert_kept(before, view);
        }
        self.after = view.version;
        self.seen = Some(view.clone());
    }

    /// Notes the transfers, which only become more.
    pub async fn note_transfers(&mut self) {
        let now = self.buyer.transfers().await.unwrap();
        assert!(now.ends_with(&self.transfers), "lost of {:#?}: {now:#?}", self.transfers);
        self.transfers = now;
    }
}

fn is_over(view: &JobView) -> bool {
    matches!(view.state, JobState::Done | JobState::Cancelled | JobState::Exhausted)
}

/// Whatever `before` acknowledged is still there.
fn assert_kept(before: &JobView, after: &JobView) {
    let context = || format!("before: {before:#?}\nafter: {after:#?}");
    assert_eq!((before.job, before.tasks.len()), (after.job, after.tasks.len()), "{}", context());
    assert!(after.paid_nanocredits >= before.paid_nanocredits, "{}", context());
    assert!(after.budget_nanocredits >= before.budget_nanocredits, "{}", context());
    for (was, is) in before.tasks.iter().zip(&after.tasks) {
        assert_eq!((was.task, was.spec), (is.task, is.spec), "{}", context());
        assert!(is.usage.since(was.usage).is_some(), "{}", context());
        assert!(is.attempts.len() >= was.attempts.len(), "{}", context());
        if was.state == TaskState::Done {
            assert_eq!((was.usage, was.result), (is.usage, is.result), "{}", context());
        }
        for (was, is) in was.attempts.iter().zip(&is.attempts) {
            assert_eq!(
                (was.attempt, was.lease, was.machine, was.epoch, was.from),
                (is.attempt, is.lease, is.machine, is.epoch, is.from),
                "{}",
                context()
            );
            assert!(is.to.since(was.to).is_some(), "{}", context());
            if was.end.is_some() {
                assert_eq!((was.to, &was.end), (is.to, &is.end), "{}", context());
            }
        }
    }
}
