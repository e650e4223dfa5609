//! Looking after one running worker: progress, durable checkpoints, the way it ends.
//!
//! As in [`crate::agent`]: an async `select` returns a typed action, a synchronous `apply` acts
//! on it.

use std::sync::{Arc, Mutex};

use runtime::checkpoint::Checkpoint;
use runtime::protocol::{FromWorker, ToWorker};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use wire::{AttemptEnd, SignedReceipt};

use crate::attempt::{Control, Report, Shared};
use crate::drive::{Accepted, Drive, Final, chain, issue};
use crate::receipts::{Claim, Receipts};
use crate::upload;
use crate::watchdog::{TICK, Watchdog};
use crate::worker::WorkerHandle;

/// A checkpoint at the exchange and its receipt, or why not.
type Saved = Result<(Claim, SignedReceipt), String>;

/// Where the checkpoint that is being made durable is.
enum Saving {
    /// None is; the last one was captured then.
    No { captured_at: Instant },
    /// The worker was asked for it.
    Capturing { asked_at: Instant },
    /// On its way to the exchange.
    Uploading { asked_at: Instant },
    /// Its receipt is sent; the next one waits for the answer.
    Unanswered { asked_at: Instant, sequence: u64, claim: Claim },
}

enum Action {
    Worker(FromWorker),
    Control(Control),
    CaptureDue,
    Uploaded(Box<Saved>),
    /// The exchange came or went: whether a capture is due has to be seen anew.
    ConnectionChanged,
    /// A frozen worker may go on and stop.
    Turn(OwnedSemaphorePermit),
    /// Time to see whether the worker still says anything.
    Tick,
    /// The agent is gone.
    Orphaned,
}

/// Whether the worker is frozen, and what of it is left to do.
enum Frost {
    No,
    /// Waits for those before it.
    Frozen,
    /// Goes on, to stop. Others wait until this is dropped.
    Thawed(#[expect(dead_code, reason = "held, never looked at")] OwnedSemaphorePermit),
}

/// An attempt with a running worker.
pub(crate) struct Attendance<'a> {
    drive: &'a mut Drive,
    worker: &'a mut WorkerHandle,
    connected: watch::Receiver<bool>,
    saving: Saving,
    started: bool,
    frost: Frost,
    watchdog: Watchdog,
    tick_at: Instant,
    /// At most one at a time.
    uploads: JoinSet<Saved>,
}

impl<'a> Attendance<'a> {
    pub(crate) fn new(drive: &'a mut Drive, worker: &'a mut WorkerHandle) -> Self {
        Attendance {
            connected: drive.shared.connected.clone(),
            drive,
            worker,
            saving: Saving::No { captured_at: Instant::now() },
            started: false,
            frost: Frost::No,
            watchdog: Watchdog::default(),
            tick_at: Instant::now() + TICK,
            uploads: JoinSet::new(),
        }
    }

    pub(crate) async fn run(mut self) -> Final {
        if self.drive.draining {
            self.worker.send(ToWorker::Stop);
        }
        loop {
            let action = self.select().await;
            if let Some(end) = self.apply(action) {
                // Whatever an upload is doing, it has stopped doing it before the last receipt
                // gets its number.
                self.uploads.shutdown().await;
                return end;
            }
        }
    }

    async fn select(&mut self) -> Action {
        // Without the exchange a capture would only hold up the program.
        let connected = *self.connected.borrow_and_update();
        let due = match &self.saving {
            Saving::No { captured_at } if connected && !self.drive.draining => {
                Some(*captured_at + self.drive.cadence.wait())
            }
            _ => None,
        };
        let turns = self.drive.shared.turns.clone();
        let is_frozen = matches!(self.frost, Frost::Frozen);
        tokio::select! {
            event = self.worker.events.recv() => Action::Worker(event.unwrap_or_else(|| {
                FromWorker::Fault { reason: "the worker fell silent".to_owned() }
            })),
            control = self.drive.control.recv() => {
                control.map_or(Action::Orphaned, Action::Control)
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                Action::CaptureDue
            }
            Some(saved) = self.uploads.join_next() => Action::Uploaded(Box::new(
                saved.unwrap_or_else(|_| Err("the upload broke down".to_owned())),
            )),
            Ok(()) = self.connected.changed() => Action::ConnectionChanged,
            Ok(turn) = turns.acquire_owned(), if is_frozen => Action::Turn(turn),
            () = sleep_until(self.tick_at) => Action::Tick,
        }
    }

    /// How the run ended, if this was it.
    fn apply(&mut self, action: Action) -> Option<Final> {
        match action {
            Action::Worker(event) => {
                self.watchdog.heard();
                return self.hear(event);
            }
            Action::Control(control) => return self.obey(control),
            Action::CaptureDue => {
                self.saving = Saving::Capturing { asked_at: Instant::now() };
                self.worker.send(ToWorker::Capture);
            }
            Action::Uploaded(saved) => self.note_saved(*saved),
            // What an upload cost while the exchange went away says nothing about the next one.
            Action::ConnectionChanged => self.drive.cadence.forget_cost(),
            Action::Turn(turn) => {
                self.frost = Frost::Thawed(turn);
                self.stop();
            }
            Action::Tick => {
                self.tick_at = Instant::now() + TICK;
                if matches!(self.frost, Frost::Frozen) {
                    return None;
                }
                // The worker dies with its handle.
                let reason = self.watchdog.tick()?;
                return Some(Final::Nothing(AttemptEnd::Fault { reason }));
            }
            Action::Orphaned => return Some(Final::NeverRan),
        }
        None
    }

    fn hear(&mut self, event: FromWorker) -> Option<Final> {
        match event {
            FromWorker::Started => {
                tracing::debug!("{}: runs", self.drive.name());
                self.started = true;
                self.saving = Saving::No { captured_at: Instant::now() };
            }
            FromWorker::Progress { usage } => {
                self.drive.report(Report::Progress { fuel: usage.fuel });
            }
            FromWorker::Record(_) | FromWorker::Reached(_) => {}
            FromWorker::Captured(checkpoint) => {
                if let Saving::Capturing { asked_at } = self.saving {
                    self.saving = Saving::Uploading { asked_at };
                    let shared = self.drive.shared.clone();
                    let receipts = self.drive.receipts.clone();
                    self.uploads.spawn(async move { save(&shared, receipts, checkpoint).await });
                }
            }
            FromWorker::Stopped(checkpoint) => {
                let allowance = self.drive.start.fuel_allowance;
                let spent = !self.drive.draining || checkpoint.usage().fuel > allowance;
                let end = if spent { AttemptEnd::AllowanceSpent } else { AttemptEnd::Yielded };
                return Some(Final::Stopped(Box::new(checkpoint), end));
            }
            FromWorker::Ended(end) => {
                tracing::debug!("{}: ended", self.drive.name());
                return Some(Final::Ended(end));
            }
            FromWorker::Refused { reason } => {
                return Some(Final::Nothing(AttemptEnd::Refused { reason }));
            }
            FromWorker::Fault { reason } => {
                return Some(Final::Nothing(AttemptEnd::Fault { reason }));
            }
        }
        None
    }

    fn obey(&mut self, control: Control) -> Option<Final> {
        match control {
            // What has not begun has nothing to lose. (The worker dies with its handle.)
            Control::Yield if !self.started => return Some(Final::NeverRan),
            Control::Yield => {
                if !self.drive.draining {
                    self.drive.draining = true;
                    self.frost = Frost::Frozen;
                }
            }
            Control::Drain => {
                if !self.drive.draining || matches!(self.frost, Frost::Frozen) {
                    self.drive.draining = true;
                    self.frost = Frost::No;
                    self.stop();
                }
            }
            Control::Accepted { sequence: answered } => {
                if let Saving::Unanswered { asked_at, sequence, claim } = &self.saving
                    && answered >= *sequence
                {
                    self.drive.accepted = Accepted {
                        usage: claim.usage,
                        chain_head: claim.chain_head,
                        checkpoint: claim.checkpoint,
                    };
                    self.saving = Saving::No { captured_at: *asked_at };
                }
            }
            Control::Rejected { sequence: answered, code, message, fatal } => {
                let name = self.drive.name();
                tracing::warn!("{name}: receipt {answered} refused: {message} ({code})");
                if fatal {
                    return Some(Final::NeverRan);
                }
                if matches!(&self.saving, Saving::Unanswered { sequence, .. } if *sequence == answered)
                {
                    self.saving = Saving::No { captured_at: Instant::now() };
                }
            }
        }
        None
    }

    /// The worker stops at its next safepoint.
    fn stop(&mut self) {
        self.worker.send(ToWorker::Stop);
        self.worker.thaw();
    }

    fn note_saved(&mut self, saved: Saved) {
        let Saving::Uploading { asked_at } = self.saving else { return };
        // What was tried in vain cost as much, so the next try is not sooner.
        self.drive.cadence.note_cost(asked_at.elapsed());
        match saved {
            Ok((claim, receipt)) => {
                let sequence = receipt.receipt.sequence;
                self.saving = Saving::Unanswered { asked_at, sequence, claim };
                self.drive.report(Report::Receipt(Box::new(receipt)));
            }
            Err(reason) => {
                tracing::warn!("{}: checkpoint not saved: {reason}", self.drive.name());
                self.saving = Saving::No { captured_at: Instant::now() };
            }
        }
    }
}

/// Uploads a checkpoint and issues the receipt for it.
async fn save(shared: &Shared, receipts: Arc<Mutex<Receipts>>, checkpoint: Checkpoint) -> Saved {
    let claim =
        upload::checkpoint(&shared.blobs, &checkpoint, None).await.map_err(|e| chain(&e))?;
    let receipt = issue(&receipts, claim.clone())?;
    Ok((claim, receipt))
}
