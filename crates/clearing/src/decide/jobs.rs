//! Keeping a job going: whatever happened to it, [`Desk::sync_job`] finds what follows.

use base::{JobId, LeaseId};
use ledger::AccountKey;

use super::Desk;
use crate::event::{Event, LeaseEnd, TransferReason};
use crate::records::JobPhase;

impl Desk<'_> {
    pub(super) fn sync_jobs(&mut self, jobs: &[JobId]) {
        for (index, job) in jobs.iter().enumerate() {
            if !jobs[..index].contains(job) {
                self.sync_job(*job);
            }
        }
    }

    /// Ends a job that has nothing left to do, employs its idle leases, and bids for as many
    /// slots as it can use and pay.
    pub(super) fn sync_job(&mut self, job: JobId) {
        let syncing = &self.state.jobs[&job];
        if syncing.is_over() {
            return;
        }
        let at_ms = self.now_ms();
        if syncing.pending.is_empty() && syncing.live.is_empty() {
            self.wind_up(job, &LeaseEnd::WorkDone);
            self.push(Event::JobDone { job, at_ms });
            return;
        }
        self.settle_arrears(job);
        let idle: Vec<_> = self.state.jobs[&job]
            .open_leases
            .iter()
            .copied()
            .filter(|lease| self.state.leases[lease].live.is_none())
            .collect();
        for lease in idle {
            self.employ(lease);
        }
        if self.state.jobs[&job].phase == JobPhase::Active {
            self.match_job(job);
            self.exhaust_if_spent(job);
        }
    }

    /// Nothing runs, something should, and escrow doesn't cover it.
    pub(super) fn exhaust_if_spent(&mut self, job: JobId) {
        let spent = &self.state.jobs[&job];
        let stopped = spent.phase == JobPhase::Active
            && spent.live.is_empty()
            && !spent.pending.is_empty()
            && self.state.slots_covered(job) == 0;
        if stopped {
            let at_ms = self.now_ms();
            self.push(Event::JobExhausted { job, at_ms });
        }
    }

    /// Takes a job off the market, pays what is still due and gives the rest back.
    pub(super) fn wind_up(&mut self, job: JobId, end: &LeaseEnd) {
        if let Some(bid) = self.state.jobs[&job].bid {
            self.reduce(bid, 0, "its job is over");
        }
        for lease in self.state.jobs[&job].open_leases.clone() {
            self.close_lease(lease, end.clone());
        }
        self.settle_arrears(job);
        let rest = self.state.escrow_nanocredits(job);
        if rest > 0 {
            let buyer = AccountKey::Available(self.state.jobs[&job].account);
            self.transfer(AccountKey::Escrow(job), buyer, rest, TransferReason::Release);
        }
    }

    /// Pays what leases of the job are owed from earlier, before the money goes elsewhere.
    pub(super) fn settle_arrears(&mut self, job: JobId) {
        let owed: Vec<_> = self
            .state
            .job_leases(job)
            .filter(|lease| self.state.due_nanocredits(lease) > lease.paid_nanocredits)
            .map(|lease| lease.lease)
            .collect();
        for lease in owed {
            let limit = self.state.unreserved_nanocredits(job, None);
            self.settle(lease, limit);
        }
    }

    /// Pays what is due for a lease, with the fees on it taking at most `limit` from escrow;
    /// returns what stays due.
    pub(super) fn settle(&mut self, lease: LeaseId, limit_nanocredits: i64) -> i64 {
        let settling = &self.state.leases[&lease];
        let (paid, fees) = (settling.paid_nanocredits, settling.fees);
        let due = self.state.due_nanocredits(settling) - paid;
        let pay = fees.payable_nanocredits(paid, due, limit_nanocredits);
        if pay > 0 {
            let owner = self.state.machines[&settling.machine].owner;
            let (escrow, seller) = (AccountKey::Escrow(settling.job), AccountKey::Available(owner));
            let paid_now = paid + pay;
            self.transfer(escrow, seller, pay, TransferReason::Settlement { lease });
            let charged = fees.buyer_nanocredits(paid_now) - fees.buyer_nanocredits(paid);
            let withheld = fees.seller_nanocredits(paid_now) - fees.seller_nanocredits(paid);
            for (from, fee, reason) in [
                (escrow, charged, TransferReason::BuyerFee { lease }),
                (seller, withheld, TransferReason::SellerFee { lease }),
            ] {
                if fee > 0 {
                    self.transfer(from, AccountKey::Fees, fee, reason);
                }
            }
        }
        due - pay
    }
}
