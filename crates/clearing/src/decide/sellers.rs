//! What follows for a seller when its side ended a lease or broke a rule, and for the task.

use base::{AccountId, JobId, LeaseId, OrderId, TaskId};
use market::{Order, Restriction, SCAN_LIMIT, Terms};

use super::Desk;
use crate::event::{Event, LeaseEnd};
use crate::records::{Seller, TaskPhase};

/// How the reason of a task begins that was refused because machines failed, as opposed to one
/// that machines refused to admit.
pub const MACHINE_FAULTS: &str = "machine faults: ";

impl Desk<'_> {
    /// After the owner's side ended a lease, the job passes over that owner for a while and
    /// pays it no more than before for longer, so that dropping leases doesn't pay. A lapse
    /// counts: pulling the plug must not pay better than closing. After a fault, the owner is
    /// barred from the job for a pause that grows with every fault in a row.
    pub(super) fn restrict_after(&mut self, lease: LeaseId, end: &LeaseEnd) {
        let is_fault = match end {
            LeaseEnd::Fault { .. } => true,
            LeaseEnd::Seller { .. } | LeaseEnd::Lapsed => false,
            LeaseEnd::WorkDone
            | LeaseEnd::JobCancelled
            | LeaseEnd::EscrowSpent
            | LeaseEnd::Term => return,
        };
        let (now_ms, rules) = (self.now_ms(), &self.state.rules);
        let ended = &self.state.leases[&lease];
        let (job, price) = (ended.job, ended.price_nanocredits_per_tfuel);
        let owner = self.state.machines[&ended.machine].owner;
        let Seller { restriction, faults } = self.seller(job, owner);
        let faults = faults.saturating_add(u32::from(is_fault));
        let barred_until_ms = if is_fault {
            let pause_ms = 1_i64.checked_shl(faults - 1).filter(|factor| *factor > 0);
            let pause_ms = pause_ms.unwrap_or(i64::MAX).saturating_mul(rules.fault_pause_ms);
            now_ms.saturating_add(pause_ms.min(rules.fault_pause_max_ms))
        } else {
            0
        };
        let restriction = Restriction {
            passed_over_until_ms: now_ms.saturating_add(rules.exclusion_ms),
            barred_until_ms: barred_until_ms.max(restriction.barred_until_ms),
            price_max_nanocredits_per_tfuel: restriction
                .cap(now_ms)
                .map_or(price, |cap| cap.min(price)),
            capped_until_ms: now_ms.saturating_add(rules.price_cap_ms),
        };
        self.push(Event::SellerRestricted { job, owner, restriction, faults });
    }

    fn seller(&self, job: JobId, owner: AccountId) -> Seller {
        self.state.jobs[&job].sellers.get(&owner).copied().unwrap_or_default()
    }

    /// Ends a lease because its machine failed or broke a rule. The job is to be synchronised.
    pub(super) fn fault_lease(&mut self, lease: LeaseId, reason: String) -> JobId {
        let last = self.state.leases[&lease].attempts.last().copied();
        let job = self.close_lease(lease, LeaseEnd::Fault { reason: reason.clone() });
        if let Some(attempt) = last {
            let task = self.state.attempts[&attempt].task;
            let owner = self.state.machines[&self.state.leases[&lease].machine].owner;
            self.refuse_if_hopeless(task, owner, &reason);
        }
        job
    }

    /// A task at which the machines of several owners failed without any progress is refused.
    /// One owner's failures don't decide it while somebody else can be asked.
    fn refuse_if_hopeless(&mut self, task: TaskId, owner: AccountId, reason: &str) {
        let rules = &self.state.rules;
        let failing = &self.state.tasks[&task];
        if failing.phase != TaskPhase::Pending {
            return;
        }
        let (owners, max) = (failing.faults.len(), rules.owner_faults_max);
        let given_up = |owner: &AccountId| failing.faults.get(owner).is_some_and(|n| *n >= max);
        let hopeless = owners >= rules.fault_owners_max as usize
            || given_up(&owner)
                && !self.anybody_offers(failing.job, false, |other| !given_up(&other));
        if hopeless {
            let faults: u32 = failing.faults.values().sum();
            let reason = self.cut_text(&format!(
                "{MACHINE_FAULTS}{faults} in a row by machines of {owners} owners, the last: \
                 {reason}"
            ));
            self.push(Event::TaskRefused { task, reason });
        }
    }

    /// One machine's word that a module is inadmissible needs another owner's, while another
    /// offers. Until then the owner is barred for a moment, and its lease ends.
    pub(super) fn refused(&mut self, lease: LeaseId, task: TaskId, reason: String) {
        let refusing = &self.state.tasks[&task];
        let (job, at_ms) = (refusing.job, self.now_ms());
        let owner = self.state.machines[&self.state.leases[&lease].machine].owner;
        let confirmed = refusing.refusals.iter().any(|other| *other != owner)
            || !self.anybody_offers(job, true, |other| other != owner);
        if confirmed {
            self.push(Event::TaskRefused { task, reason });
            return;
        }
        self.push(Event::RefusalNoted { task, owner });
        self.push(Event::LeaseClosed { lease, end: LeaseEnd::WorkDone, at_ms });
        let Seller { mut restriction, faults } = self.seller(job, owner);
        let until_ms = at_ms.saturating_add(self.state.rules.refusal_pause_ms);
        restriction.barred_until_ms = restriction.barred_until_ms.max(until_ms);
        self.push(Event::SellerRestricted { job, owner, restriction, faults });
    }

    /// Whether an owner that fits has an ask in the book that a job would take: now, or were
    /// nobody restricted.
    fn anybody_offers(&self, job: JobId, now: bool, fits: impl Fn(AccountId) -> bool) -> bool {
        let job = &self.state.jobs[&job];
        let price = job.max_price_nanocredits_per_tfuel;
        let Some((instrument, _)) = self.state.market.instrument(&job.instrument) else {
            return false;
        };
        let bid = Order::bid(OrderId(0), job.account, instrument, price, 1, self.now_ms());
        let restrictions = if now { job.restrictions() } else { Default::default() };
        let bid = bid.with_terms(Terms { restrictions, ..self.state.terms(job) });
        self.state
            .market
            .open_asks(instrument)
            .take(SCAN_LIMIT as usize)
            .any(|ask| fits(ask.owner) && self.state.market.takes(ask, &bid, self.now_ms()))
    }
}
