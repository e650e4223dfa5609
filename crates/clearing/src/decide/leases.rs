//! Leases and the attempts that run on them.

use base::{JobId, LeaseId, MachineId};

use super::{Desk, not_found};
use crate::agenda::DUE_MAX;
use crate::event::{AttemptOutcome, Event, LeaseEnd};
use crate::rejection::Rejection;

impl Desk<'_> {
    pub(super) fn close_lease_by_seller(
        &mut self,
        machine: MachineId,
        lease: LeaseId,
        reason: &str,
    ) -> Result<(), Rejection> {
        let closing = self
            .state
            .leases
            .get(&lease)
            .filter(|found| found.machine == machine)
            .ok_or_else(|| not_found("lease", lease))?;
        if closing.is_open() {
            let reason = self.cut_text(reason);
            let job = self.close_lease(lease, LeaseEnd::Seller { reason });
            self.sync_job(job);
        }
        Ok(())
    }

    pub(super) fn fault_lease_by_rule(
        &mut self,
        machine: MachineId,
        lease: LeaseId,
        reason: &str,
    ) -> Result<(), Rejection> {
        let ending = self
            .state
            .leases
            .get(&lease)
            .filter(|found| found.machine == machine)
            .ok_or_else(|| not_found("lease", lease))?;
        if ending.is_open() {
            let reason = self.cut_text(reason);
            let job = self.fault_lease(lease, reason);
            self.sync_job(job);
        }
        Ok(())
    }

    pub(super) fn lapse_machine(&mut self, machine: MachineId) -> Result<(), Rejection> {
        if !self.state.machines.contains_key(&machine) {
            return Err(not_found("machine", machine));
        }
        self.cancel_asks(machine, "its machine stopped answering");
        self.fixed_lapsed(machine);
        let jobs = self.close_all_leases(machine, &LeaseEnd::Lapsed);
        self.sync_jobs(&jobs);
        Ok(())
    }

    /// Closes a lease. A live attempt on it ends and its task waits at the last accepted
    /// checkpoint. The job that is returned is to be synchronised.
    pub(super) fn close_lease(&mut self, lease: LeaseId, end: LeaseEnd) -> JobId {
        let closing = &self.state.leases[&lease];
        let (job, live, at_ms) = (closing.job, closing.live, self.now_ms());
        if let Some(attempt) = live {
            let outcome = match end {
                LeaseEnd::JobCancelled => AttemptOutcome::Cancelled,
                _ => AttemptOutcome::LeaseEnded,
            };
            self.push(Event::AttemptEnded { attempt, outcome, at_ms });
        }
        self.push(Event::LeaseClosed { lease, end: end.clone(), at_ms });
        self.restrict_after(lease, &end);
        job
    }

    pub(super) fn close_all_leases(&mut self, machine: MachineId, end: &LeaseEnd) -> Vec<JobId> {
        let leases = self.state.machines[&machine].open_leases.clone();
        leases.into_iter().map(|lease| self.close_lease(lease, end.clone())).collect()
    }

    /// Gives an idle lease its job's next task, or closes it: a lease never stays idle, so a
    /// slot is never held for nothing.
    pub(super) fn employ(&mut self, lease: LeaseId) {
        let idle = &self.state.leases[&lease];
        let job = &self.state.jobs[&idle.job];
        let Some(task) = job.pending.first().map(|index| job.tasks[*index as usize]) else {
            self.close_lease(lease, LeaseEnd::WorkDone);
            return;
        };
        if self.is_over_term(lease) {
            self.close_lease(lease, LeaseEnd::Term);
            return;
        }
        let Some(fuel) = self.state.next_allowance(idle, task) else {
            self.close_lease(lease, LeaseEnd::EscrowSpent);
            return;
        };
        let task = &self.state.tasks[&task];
        let event = Event::AttemptStarted {
            attempt: self.next_attempt(),
            task: task.task,
            lease,
            epoch: task.epoch + 1,
            checkpoint: task.checkpoint,
            usage: task.usage,
            fuel_allowance: task.usage.fuel.saturating_add(fuel),
            at_ms: self.now_ms(),
        };
        self.push(event);
    }

    /// Ends leases that no receipt ends: past their term, or standing still. Their tasks go on
    /// from the last accepted checkpoints.
    pub(super) fn end_overdue(&mut self) {
        let (now_ms, rules) = (self.now_ms(), &self.state.rules);
        let (term_ms, stall_ms) =
            (rules.max_term_ms.saturating_add(rules.term_grace_ms), rules.stall_ms);
        let is_past = |since_ms: i64, limit_ms: i64| now_ms.saturating_sub(since_ms) >= limit_ms;
        let opened = self.state.agenda.opened.iter();
        let over_term = opened.take_while(|(opened_at_ms, _)| is_past(*opened_at_ms, term_ms));
        let over_term: Vec<LeaseId> = over_term.take(DUE_MAX).map(|(_, lease)| *lease).collect();
        let mut jobs = Vec::new();
        for lease in over_term {
            jobs.push(self.close_lease(lease, LeaseEnd::Term));
        }
        let progress = self.state.agenda.progress.iter();
        let stalled = progress.take_while(|(progress_at_ms, _)| is_past(*progress_at_ms, stall_ms));
        let stalled: Vec<LeaseId> =
            stalled.take(DUE_MAX).map(|(_, attempt)| self.state.attempts[attempt].lease).collect();
        let reason = format!("no progress for {} s", stall_ms / 1_000);
        for lease in stalled {
            jobs.push(self.fault_lease(lease, reason.clone()));
        }
        self.sync_jobs(&jobs);
    }

    pub(super) fn is_over_term(&self, lease: LeaseId) -> bool {
        let held_ms = self.now_ms().saturating_sub(self.state.leases[&lease].opened_at_ms);
        held_ms >= self.state.rules.max_term_ms
    }
}
