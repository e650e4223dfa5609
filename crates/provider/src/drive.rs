//! One attempt, from the exchange's order to the last accepted receipt.
//!
//! Phases, in order: say again what an earlier process may have left unsaid; fetch; wait for a
//! slot; run, with durable checkpoints at the pace of [`crate::cadence`]; settle, which tries
//! until the last receipt is answered. Everything that can be mended by waiting is waited for:
//! the attempt's end is decided by the exchange (it drops attempts that lapse), not here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{Digest, Usage};
use runtime::checkpoint::Checkpoint;
use runtime::protocol::{End, Start};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;
use wire::{AttemptEnd, AttemptStart, SignedReceipt};

use crate::attempt::{Control, Report, Shared};
use crate::attend::Attendance;
use crate::blobs::BlobError;
use crate::cadence::Cadence;
use crate::fetch::{PrepareError, Prepared, prepare};
use crate::receipts::{Claim, Receipts};
use crate::upload;
use crate::worker::WorkerHandle;

/// Between two tries of what failed for a reason that may pass.
const RETRY: Duration = Duration::from_millis(500);
/// Failures in a row to write the last receipt before the attempt is given up: without a disk
/// nothing can be claimed, and another machine may as well begin.
const DISK_FAILURES_MAX: u32 = 10;

/// Runs an attempt to its end. To drop it, abort the task.
pub(crate) async fn drive(
    shared: Arc<Shared>,
    start: AttemptStart,
    control: UnboundedReceiver<Control>,
) {
    let receipts = Receipts::new(shared.state.clone(), shared.key.clone(), shared.exchange, &start);
    let attempt = start.attempt;
    let reports = shared.reports.clone();
    let drive = Drive {
        accepted: Accepted {
            usage: start.usage,
            chain_head: Digest::default(),
            checkpoint: start.checkpoint,
        },
        cadence: Cadence::new(shared.checkpoint_interval),
        draining: false,
        receipts: Arc::new(Mutex::new(receipts)),
        shared,
        start,
        control,
    };
    drive.run().await;
    let _ = reports.send((attempt, Report::Over));
}

/// What a fault repeats.
pub(crate) struct Accepted {
    pub usage: Usage,
    pub chain_head: Digest,
    pub checkpoint: Option<Digest>,
}

pub(crate) struct Drive {
    pub(crate) shared: Arc<Shared>,
    pub(crate) start: AttemptStart,
    pub(crate) control: UnboundedReceiver<Control>,
    pub(crate) receipts: Arc<Mutex<Receipts>>,
    pub(crate) accepted: Accepted,
    pub(crate) cadence: Cadence,
    pub(crate) draining: bool,
}

/// How the run ended, before anything of it is at the exchange.
pub(crate) enum Final {
    Ended(Box<End>),
    Stopped(Box<Checkpoint>, AttemptEnd),
    /// Nothing new: a fault or a refusal.
    Nothing(AttemptEnd),
    /// Drained before anything ran: the agent closes the lease, and there is nothing to say.
    NeverRan,
}

impl Drive {
    async fn run(mut self) {
        let earlier = self.receipts.lock().expect("no panics while held").earlier();
        match earlier {
            Ok(None) => {}
            Ok(Some(receipt)) => {
                tracing::info!(
                    "{}: sending receipt {} again",
                    self.name(),
                    receipt.receipt.sequence
                );
                let body = receipt.receipt.clone();
                self.report(Report::Receipt(Box::new(receipt)));
                match self.verdict(body.sequence).await {
                    Verdict::Accepted if body.ended.is_some() => return,
                    // Its checkpoint is the latest now: go on from there.
                    Verdict::Accepted => self.note_accepted(&body),
                    Verdict::Mend => {}
                    Verdict::Over => return,
                }
            }
            // What was signed before can't be told any more, so whatever is signed now might be
            // something else under the same number.
            Err(error) => {
                self.report(Report::GivenUp { reason: chain(&error) });
                return;
            }
        }
        let end = self.work().await;
        self.settle(end).await;
    }

    fn note_accepted(&mut self, receipt: &wire::Receipt) {
        self.accepted = Accepted {
            usage: receipt.usage,
            chain_head: receipt.chain_head,
            checkpoint: receipt.checkpoint.or(self.accepted.checkpoint),
        };
    }

    async fn work(&mut self) -> Final {
        if self.draining {
            return Final::NeverRan;
        }
        let prepared = match self.prepare().await {
            Ok(prepared) => prepared,
            Err(end) => return end,
        };
        tracing::debug!("{}: fetched", self.name());
        if let Some(checkpoint) = &prepared.resume {
            self.accepted.chain_head = checkpoint.chain_head();
        }
        let slots = self.shared.slots.clone();
        let _slot = tokio::select! {
            permit = slots.acquire_owned() => permit,
            end = self.drained_or_orphaned() => return end,
        };
        let Prepared { task, base, fuel_max, resume } = prepared;
        let start = Start {
            base,
            resume,
            fuel_max,
            stop_at_fuel: Some(self.start.fuel_allowance),
            ..Start::new(task)
        };
        let mut worker = match WorkerHandle::start(&self.shared.launcher, start) {
            Ok(worker) => worker,
            Err(error) => {
                return Final::Nothing(AttemptEnd::Fault {
                    reason: format!("the worker did not start: {error}"),
                });
            }
        };
        Attendance::new(self, &mut worker).run().await
    }

    async fn prepare(&mut self) -> Result<Prepared, Final> {
        loop {
            let checkpoint = self.accepted.checkpoint;
            let shared = self.shared.clone();
            let start = self.start.clone();
            let error = tokio::select! {
                prepared = prepare(&shared.blobs, &start, checkpoint, shared.slot_pages_max) => {
                    match prepared {
                        Ok(prepared) => return Ok(prepared),
                        Err(error) => error,
                    }
                }
                end = self.drained_or_orphaned() => return Err(end),
            };
            match error {
                PrepareError::Blob(error) if error.is_transient() => {
                    tracing::warn!("{}: {}; trying again", self.name(), chain(&error));
                }
                PrepareError::Refused(reason) => {
                    return Err(Final::Nothing(AttemptEnd::Refused { reason }));
                }
                error => {
                    return Err(Final::Nothing(AttemptEnd::Fault { reason: error.to_string() }));
                }
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                end = self.drained_or_orphaned() => return Err(end),
            }
        }
    }

    /// Resolves when nothing needs to be run any more.
    async fn drained_or_orphaned(&mut self) -> Final {
        while !self.draining {
            match self.control.recv().await {
                Some(Control::Drain | Control::Yield) => self.draining = true,
                Some(Control::Accepted { .. } | Control::Rejected { .. }) => {}
                None => break,
            }
        }
        Final::NeverRan
    }

    /// Uploads what the run left, says so, and does not rest before it is answered.
    async fn settle(&mut self, end: Final) {
        let mut end = end;
        let mut disk_failures = 0;
        loop {
            let claim = match self.claim(&end).await {
                Ok(Some(claim)) => claim,
                Ok(None) => return,
                Err(error) if error.is_transient() => {
                    tracing::warn!("{}: {}; trying again", self.name(), chain(&error));
                    sleep(RETRY).await;
                    continue;
                }
                Err(error) => {
                    // What the exchange will never take can't be a result either.
                    end = Final::Nothing(AttemptEnd::Fault { reason: chain(&error) });
                    continue;
                }
            };
            tracing::debug!("{}: uploaded", self.name());
            let receipt = match issue(&self.receipts, claim) {
                Ok(receipt) => receipt,
                Err(reason) if disk_failures >= DISK_FAILURES_MAX => {
                    self.report(Report::GivenUp { reason });
                    return;
                }
                Err(reason) => {
                    disk_failures += 1;
                    tracing::error!("{}: {reason}; trying again", self.name());
                    self.shared.state.free_space();
                    sleep(RETRY).await;
                    continue;
                }
            };
            let sequence = receipt.receipt.sequence;
            tracing::debug!("{}: receipt {sequence} signed", self.name());
            self.report(Report::Receipt(Box::new(receipt)));
            match self.verdict(sequence).await {
                Verdict::Accepted | Verdict::Over => return,
                Verdict::Mend => sleep(RETRY).await,
            }
        }
    }

    /// `None` when there is nothing to say.
    async fn claim(&self, end: &Final) -> Result<Option<Claim>, BlobError> {
        let blobs = &self.shared.blobs;
        Ok(match end {
            Final::NeverRan => None,
            Final::Ended(end) => Some(upload::result(blobs, end).await?),
            Final::Stopped(checkpoint, end) => {
                Some(upload::checkpoint(blobs, checkpoint, Some(end.clone())).await?)
            }
            Final::Nothing(end) => Some(Claim {
                usage: self.accepted.usage,
                chain_head: self.accepted.chain_head,
                checkpoint: None,
                ended: Some(end.clone()),
            }),
        })
    }

    async fn verdict(&mut self, awaited: u64) -> Verdict {
        loop {
            match self.control.recv().await {
                Some(Control::Accepted { sequence }) if sequence >= awaited => {
                    return Verdict::Accepted;
                }
                Some(Control::Rejected { sequence, code, message, fatal })
                    if sequence == awaited =>
                {
                    tracing::warn!(
                        "{}: receipt {sequence} refused: {message} ({code})",
                        self.name()
                    );
                    return if fatal { Verdict::Over } else { Verdict::Mend };
                }
                Some(Control::Drain | Control::Yield) => self.draining = true,
                Some(_) => {}
                None => return Verdict::Over,
            }
        }
    }

    pub(crate) fn report(&self, report: Report) {
        let _ = self.shared.reports.send((self.start.attempt, report));
    }

    pub(crate) fn name(&self) -> String {
        format!("attempt {} of task {}", self.start.attempt.short(), self.start.task.short())
    }
}

enum Verdict {
    Accepted,
    /// Refused, but another receipt may be accepted.
    Mend,
    Over,
}

/// Waits for the disk without being a point at which a task can be cancelled: a receipt that
/// is numbered is also written, in the order of the numbers.
pub(crate) fn issue(receipts: &Mutex<Receipts>, claim: Claim) -> Result<SignedReceipt, String> {
    tokio::task::block_in_place(|| {
        receipts
            .lock()
            .map_err(|_| "an earlier receipt broke down".to_owned())?
            .issue(claim)
            .map_err(|error| chain(&error))
    })
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
