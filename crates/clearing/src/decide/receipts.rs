//! Receipts: a machine's cumulative word about an attempt, bounded by what was possible.

use base::{AttemptId, Digest, JobId, LeaseId, MachineId, Usage};

use super::Desk;
use crate::command::{AttemptEnd, Command};
use crate::event::{AttemptOutcome, Event, LeaseEnd};
use crate::records::Attempt;
use crate::rejection::Rejection;

/// Every figure must fit the signed columns of a database.
const FIGURE_MAX: u64 = i64::MAX as u64;

/// What a receipt is, before it is believed.
enum Standing {
    /// New: to be checked and accepted.
    New,
    /// A duplicate, or older than what was accepted: nothing happens.
    Old,
    /// Another content under a sequence that was accepted.
    Equivocation,
}

impl Desk<'_> {
    pub(super) fn accept_receipt(&mut self, command: &Command) -> Result<(), Rejection> {
        let Command::AcceptReceipt {
            machine,
            lease,
            attempt,
            epoch,
            receipt_sequence,
            receipt_digest,
            usage,
            chain_head,
            checkpoint,
            ended,
        } = command
        else {
            unreachable!("only receipts come here")
        };
        let (attempt, receipt_sequence) = (*attempt, *receipt_sequence);
        let known = self.known_attempt(*machine, *lease, attempt)?;
        match standing(known, *epoch, receipt_sequence, *receipt_digest) {
            Standing::New => {}
            Standing::Old => return Ok(()),
            Standing::Equivocation => return self.equivocated(attempt, receipt_sequence),
        }
        let known = self.live_attempt(attempt, *epoch, receipt_sequence)?;
        let (last, task) = (known.usage, known.task);
        // A fault or a refusal claims nothing, whatever figures it carries.
        let claimed = match ended {
            Some(AttemptEnd::Fault { .. } | AttemptEnd::Refused { .. }) => None,
            _ => Some(*usage),
        };
        if let Some(usage) = claimed {
            let Some(credited) = usage.since(last) else {
                return Err(Rejection::UsageDecreased { attempt });
            };
            let finished = matches!(ended, Some(AttemptEnd::Finished { .. }));
            self.check_usage(known, usage, credited, finished)?;
            if !finished && checkpoint.is_none() && usage != last {
                return Err(Rejection::CheckpointMissing { attempt });
            }
        }
        let chain_head = match claimed {
            Some(_) => *chain_head,
            None => self.state.tasks[&task].chain_head.unwrap_or(*chain_head),
        };

        let at_ms = self.now_ms();
        self.push(Event::ReceiptAccepted {
            attempt,
            receipt_sequence,
            receipt_digest: *receipt_digest,
            usage: claimed.unwrap_or(last),
            chain_head,
            checkpoint: checkpoint.filter(|_| claimed.is_some()),
            at_ms,
        });
        let job = self.state.leases[lease].job;
        let limit = self.state.unreserved_nanocredits(job, Some(attempt));
        let still_due = self.settle(*lease, limit);
        match ended {
            Some(ended) => self.end_reported(attempt, ended),
            None if still_due > 0 => {
                self.close_lease(*lease, LeaseEnd::EscrowSpent);
            }
            None if self.is_over_term(*lease) => {
                self.close_lease(*lease, LeaseEnd::Term);
            }
            None => {
                self.warn_if_low(job);
                return Ok(());
            }
        }
        self.sync_job(job);
        self.warn_if_low(job);
        Ok(())
    }

    /// Says once, until a top-up, that a job's escrow is spent soon.
    fn warn_if_low(&mut self, job: JobId) {
        if self.state.jobs[&job].exhaustion_at_ms.is_some() {
            return;
        }
        let at_ms = self.now_ms();
        let Some(exhaustion_at_ms) = self.state.exhaustion_at_ms(job, at_ms) else { return };
        if exhaustion_at_ms.saturating_sub(at_ms) < self.state.rules.exhaustion_warning_ms {
            self.push(Event::JobRunningLow { job, exhaustion_at_ms, at_ms });
        }
    }

    fn known_attempt(
        &self,
        machine: MachineId,
        lease: LeaseId,
        attempt: AttemptId,
    ) -> Result<&Attempt, Rejection> {
        let known =
            self.state.attempts.get(&attempt).ok_or(Rejection::UnknownAttempt { attempt })?;
        if known.machine != machine {
            return Err(Rejection::WrongMachine { attempt, machine });
        }
        if known.lease != lease {
            return Err(Rejection::WrongLease { attempt, lease });
        }
        Ok(known)
    }

    fn live_attempt(
        &self,
        attempt: AttemptId,
        epoch: u64,
        receipt_sequence: u64,
    ) -> Result<&Attempt, Rejection> {
        let known = &self.state.attempts[&attempt];
        let live = self.state.tasks[&known.task].epoch;
        if epoch != known.epoch || epoch != live {
            return Err(Rejection::StaleEpoch { attempt, epoch, live });
        }
        if known.outcome.is_some() {
            return Err(Rejection::AttemptEnded { attempt });
        }
        if receipt_sequence == 0 {
            return Err(Rejection::SequenceZero { attempt });
        }
        Ok(known)
    }

    /// A machine's word is never the last: no more than this task can use by its figures, and
    /// than a slot could have done in the time.
    fn check_usage(
        &self,
        attempt: &Attempt,
        usage: Usage,
        credited: Usage,
        finished: bool,
    ) -> Result<(), Rejection> {
        let (rules, id) = (&self.state.rules, attempt.attempt);
        let figures = &self.state.tasks[&attempt.task].figures;
        let elapsed_ms = self.now_ms().saturating_sub(attempt.started_at_ms).max(0);
        let granted_ms = elapsed_ms.saturating_add(rules.elapsed_slack_ms).unsigned_abs();
        for (figure, claimed, rate) in [
            ("fuel", usage.fuel - attempt.start.fuel, rules.max_fuel_per_ms),
            (
                "state_bytes",
                usage.state_bytes - attempt.start.state_bytes,
                rules.max_state_bytes_per_ms,
            ),
        ] {
            let max = rate.saturating_mul(granted_ms);
            if claimed > max {
                let attempt = id;
                return Err(Rejection::UsageExceedsTime {
                    attempt,
                    figure,
                    claimed,
                    elapsed_ms,
                    max,
                });
            }
        }
        // The lease's sums are stored and shown, too.
        let sum = self.state.leases[&attempt.lease].usage.plus(credited);
        let sums_max = sum.map_or(u64::MAX, |sum| {
            sum.fuel.max(sum.memory_page_fuel).max(sum.state_bytes).max(sum.traffic_bytes)
        });
        let fuel_most = figures.fuel_most(attempt.fuel_allowance, rules.overshoot_fuel);
        for (figure, claimed, max) in [
            ("fuel", usage.fuel, fuel_most),
            (
                "memory_page_fuel",
                credited.memory_page_fuel,
                figures.memory_page_fuel_most(credited.fuel),
            ),
            (
                "state_bytes",
                credited.state_bytes,
                figures.state_bytes_most(attempt.usage.fuel, usage.fuel),
            ),
            ("traffic_bytes", usage.traffic_bytes, figures.traffic_most(finished)),
            ("in one of the lease's sums", sums_max, FIGURE_MAX),
        ] {
            if claimed > max {
                return Err(Rejection::UsageImplausible { attempt: id, figure, claimed, max });
            }
        }
        Ok(())
    }

    /// Two different receipts under one key: the machine's word is worth nothing any more. What
    /// was paid stays paid; the lease ends.
    fn equivocated(&mut self, attempt: AttemptId, receipt_sequence: u64) -> Result<(), Rejection> {
        let lease = self.state.attempts[&attempt].lease;
        if !self.state.leases[&lease].is_open() {
            return Err(Rejection::Equivocation { attempt, receipt_sequence });
        }
        let reason = format!("two different receipts under sequence {receipt_sequence}");
        let job = self.fault_lease(lease, reason);
        self.sync_job(job);
        Ok(())
    }

    fn end_reported(&mut self, attempt: AttemptId, ended: &AttemptEnd) {
        let at_ms = self.now_ms();
        let Attempt { task, lease, .. } = self.state.attempts[&attempt];
        let ended = match ended {
            AttemptEnd::Fault { reason } => AttemptEnd::Fault { reason: self.cut_text(reason) },
            AttemptEnd::Refused { reason } => AttemptEnd::Refused { reason: self.cut_text(reason) },
            other => other.clone(),
        };
        let outcome = AttemptOutcome::Reported(ended.clone());
        self.push(Event::AttemptEnded { attempt, outcome, at_ms });
        match ended {
            AttemptEnd::Finished { result } => self.push(Event::TaskDone { task, result }),
            AttemptEnd::Yielded => {
                let reason = "the owner returned".to_owned();
                self.close_lease(lease, LeaseEnd::Seller { reason });
            }
            // The lease is idle now: it goes on if escrow covers more.
            AttemptEnd::AllowanceSpent => {}
            AttemptEnd::Refused { reason } if self.state.tasks[&task].usage == Usage::ZERO => {
                self.refused(lease, task, reason);
            }
            // What ran elsewhere can't be inadmissible: such a refusal is the machine's fault.
            AttemptEnd::Fault { reason } | AttemptEnd::Refused { reason } => {
                self.fault_lease(lease, reason);
            }
        }
    }
}

fn standing(
    known: &Attempt,
    epoch: u64,
    receipt_sequence: u64,
    receipt_digest: Digest,
) -> Standing {
    if epoch != known.epoch || receipt_sequence == 0 || receipt_sequence > known.receipt_sequence {
        return Standing::New;
    }
    if receipt_sequence < known.receipt_sequence || known.receipt_digest == Some(receipt_digest) {
        Standing::Old
    } else {
        Standing::Equivocation
    }
}
