//! What is over and still in memory, by when it ended: what is to be forgotten next. Follows the
//! events, like the state itself.
//!
//! The state doesn't say of everything when it ended. What a start finds over is taken to have
//! ended with the last entry, so after a start some of it stays a little longer.

use std::collections::BTreeSet;

use base::{JobId, LeaseId, OrderId, PaymentId, TransferId};
use clearing::fixed::FixedEvent;
use clearing::payments::PaymentEvent;
use clearing::{Ended, Event, State, TransferReason};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Job(JobId),
    Order(OrderId),
    Payment(PaymentId),
    FixedLease(LeaseId),
    Deposit(TransferId),
}

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Endings(BTreeSet<(i64, What)>);

impl Endings {
    /// Of everything in a state whose last entry is of `last_ms`.
    pub fn of(state: &State, last_ms: i64) -> Self {
        let jobs = state.jobs().filter(|job| job.is_over());
        let jobs = jobs.map(|job| (job.ended_at_ms.unwrap_or(last_ms), What::Job(job.job)));
        let orders = state.orders().filter(|info| !info.order.is_open());
        let orders = orders.map(|info| {
            let ended_at_ms = info.ended.map_or(last_ms, |(at_ms, _)| at_ms);
            (ended_at_ms, What::Order(info.order.order))
        });
        let payments = state.payments().filter(|payment| payment.phase.is_over());
        let payments = payments.map(|over| (over.changed_at_ms, What::Payment(over.payment)));
        let fixed = state.fixed_leases();
        let fixed =
            fixed.filter_map(|lease| Some((lease.closed?.0, What::FixedLease(lease.lease))));
        // The others were set aside for jobs, and go with those.
        let deposits = state.ledger().all_named().filter(|posted| posted.is_deposit());
        let deposits = deposits.map(|posted| (last_ms, What::Deposit(posted.transfer)));
        Endings(jobs.chain(orders).chain(payments).chain(fixed).chain(deposits).collect())
    }

    /// Follows an event of that time that the state has folded already.
    pub fn follow(&mut self, state: &State, event: &Event, at_ms: i64) {
        match event {
            Event::JobDone { job, .. } | Event::JobCancelled { job, .. } => {
                self.0.insert((at_ms, What::Job(*job)));
            }
            Event::OrderReduced { order, .. } => self.order(state, *order, at_ms),
            Event::Filled { ask, bid, .. } => {
                self.order(state, *ask, at_ms);
                self.order(state, *bid, at_ms);
            }
            Event::Payment(PaymentEvent::Moved { payment, to, .. }) if to.is_over() => {
                self.0.insert((at_ms, What::Payment(*payment)));
            }
            Event::Fixed(FixedEvent::Closed { lease, .. }) => {
                self.0.insert((at_ms, What::FixedLease(*lease)));
            }
            Event::Transferred { transfer, reason: TransferReason::Deposit, .. } => {
                self.0.insert((at_ms, What::Deposit(*transfer)));
            }
            _ => {}
        }
    }

    fn order(&mut self, state: &State, order: OrderId, at_ms: i64) {
        if state.order(order).is_some_and(|info| !info.order.is_open()) {
            self.0.insert((at_ms, What::Order(order)));
        }
    }

    /// Takes so many that ended before a time, and whether there are more. If they are not forgotten
    /// after all, memory is folded anew, and they are here again.
    pub fn take_before(&mut self, state: &State, before_ms: i64, most: usize) -> (Ended, bool) {
        let (mut ended, mut cost) = (Ended::default(), 0);
        while let Some((at_ms, what)) = self.0.first().copied()
            && at_ms < before_ms
        {
            if cost >= most {
                return (ended, true);
            }
            self.0.pop_first();
            let tasks = |job| state.job(job).map_or(0, |job| job.tasks.len());
            cost += 1 + if let What::Job(job) = what { tasks(job) / 10 } else { 0 };
            match what {
                What::Job(job) => ended.jobs.push(job),
                What::Order(order) => ended.orders.push(order),
                What::Payment(payment) => ended.payments.push(payment),
                What::FixedLease(lease) => ended.fixed_leases.push(lease),
                What::Deposit(transfer) => ended.deposits.push(transfer),
            }
        }
        (ended, false)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
