//! What is looked up per account, kept beside clearing's state so that no request walks what
//! belongs to others. Follows the events, like the state itself.

use std::collections::{BTreeMap, BTreeSet};

use base::{AccountId, JobId, LeaseId, MachineId, OrderId, PaymentId, TaskId};
use clearing::fixed::{FixedEvent, FixedLease};
use clearing::payments::PaymentEvent;
use clearing::{Ended, Event, State};

/// Whose a list is; absent is the operator's, of everybody's.
pub(crate) type Owner = Option<AccountId>;

/// Where something is in a list: what grows with its age, then its id.
pub(crate) type Key<I> = (i64, I);

/// Things of accounts, in the order in which they came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing<I> {
    of: BTreeMap<Owner, BTreeSet<Key<I>>>,
    places: BTreeMap<I, (i64, Vec<Owner>)>,
}

impl<I> Default for Listing<I> {
    fn default() -> Self {
        Listing { of: BTreeMap::new(), places: BTreeMap::new() }
    }
}

impl<I: Copy + Ord> Listing<I> {
    fn add(&mut self, id: I, at: i64, owners: &[Owner]) {
        for owner in owners {
            self.of.entry(*owner).or_default().insert((at, id));
        }
        self.places.insert(id, (at, owners.to_vec()));
    }

    fn remove(&mut self, id: I) {
        let Some((at, owners)) = self.places.remove(&id) else { return };
        for owner in owners {
            if let Some(own) = self.of.get_mut(&owner) {
                own.remove(&(at, id));
                if own.is_empty() {
                    self.of.remove(&owner);
                }
            }
        }
    }

    /// So many of an owner's, newest first, from before a place.
    pub fn newest(&self, owner: Owner, before: Option<Key<I>>, limit: usize) -> Vec<Key<I>> {
        let Some(own) = self.of.get(&owner) else { return Vec::new() };
        match before {
            Some(before) => own.range(..before).rev().take(limit).copied().collect(),
            None => own.iter().rev().take(limit).copied().collect(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Where something is, and in whose lists.
    pub fn place(&self, id: I) -> Option<(i64, &[Owner])> {
        self.places.get(&id).map(|(at, owners)| (*at, owners.as_slice()))
    }
}

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// In the order of placement.
    pub orders: Listing<OrderId>,
    /// By when they were submitted.
    pub jobs: Listing<JobId>,
    /// Bought or sold, by when they opened.
    pub leases: Listing<LeaseId>,
    /// By when they were requested; everybody's, too.
    pub payments: Listing<PaymentId>,
    /// Bought or sold, by when they opened; everybody's, too.
    pub fixed_leases: Listing<LeaseId>,
    job_leases: BTreeMap<JobId, Vec<LeaseId>>,
    /// Tasks that did not end, of jobs that are not over.
    job_tasks: BTreeMap<JobId, u64>,
    account_tasks: BTreeMap<AccountId, u64>,
}

impl Index {
    /// Of everything in the state.
    pub fn of(state: &State) -> Self {
        let mut index = Index::default();
        for info in state.orders() {
            index.add_order(state, info.order.order);
        }
        for job in state.jobs() {
            index.jobs.add(job.job, job.submitted_at_ms, &[Some(job.account)]);
            for lease in state.job_leases(job.job) {
                index.add_lease(state, lease.lease, lease.job, lease.machine, lease.opened_at_ms);
            }
            if !job.is_over() {
                index.add_tasks(job.account, job.job, (job.pending.len() + job.live.len()) as u64);
            }
        }
        for payment in state.payments() {
            let owners = [None, Some(payment.account)];
            index.payments.add(payment.payment, payment.requested_at_ms, &owners);
        }
        for lease in state.fixed_leases() {
            index.add_fixed(state, lease);
        }
        index
    }

    /// Follows an event that the state has folded already.
    pub fn follow(&mut self, state: &State, event: &Event) {
        match event {
            Event::AskPlaced { order, .. } | Event::BidPlaced { order, .. } => {
                self.add_order(state, *order);
            }
            Event::LeaseOpened { lease, job, machine, at_ms, .. } => {
                self.add_lease(state, *lease, *job, *machine, *at_ms);
            }
            Event::JobSubmitted { job, account, tasks, at_ms, .. } => {
                self.jobs.add(*job, *at_ms, &[Some(*account)]);
                self.add_tasks(*account, *job, tasks.len() as u64);
            }
            Event::TaskDone { task, .. } | Event::TaskRefused { task, .. } => {
                self.task_ended(state, *task);
            }
            Event::JobDone { job, .. } | Event::JobCancelled { job, .. } => {
                let left = self.job_tasks.remove(job).unwrap_or(0);
                if let Some(job) = state.job(*job) {
                    self.take_tasks(job.account, left);
                }
            }
            Event::Payment(PaymentEvent::Requested { payment, account, at_ms, .. }) => {
                self.payments.add(*payment, *at_ms, &[None, Some(*account)]);
            }
            Event::Fixed(FixedEvent::Opened { lease }) => self.add_fixed(state, lease),
            Event::Forgotten { ended } => self.forget(ended),
            _ => {}
        }
    }

    /// An account's tasks that did not end.
    pub fn live_tasks(&self, account: AccountId) -> u64 {
        self.account_tasks.get(&account).copied().unwrap_or(0)
    }

    fn add_order(&mut self, state: &State, order: OrderId) {
        if let Some(info) = state.order(order) {
            let place = i64::try_from(info.order.priority).unwrap_or(i64::MAX);
            self.orders.add(order, place, &[Some(info.order.owner)]);
        }
    }

    fn add_lease(
        &mut self,
        state: &State,
        lease: LeaseId,
        job: JobId,
        machine: MachineId,
        at_ms: i64,
    ) {
        let Some(buyer) = state.job(job).map(|job| job.account) else { return };
        let Some(seller) = state.machine(machine).map(|machine| machine.owner) else { return };
        self.leases.add(lease, at_ms, &[Some(buyer), Some(seller)]);
        self.job_leases.entry(job).or_default().push(lease);
    }

    fn add_fixed(&mut self, state: &State, lease: &FixedLease) {
        let owners = [None, Some(lease.account), Some(state.seller_of(lease))];
        self.fixed_leases.add(lease.lease, lease.opened_at_ms, &owners);
    }

    fn add_tasks(&mut self, account: AccountId, job: JobId, tasks: u64) {
        self.job_tasks.insert(job, tasks);
        *self.account_tasks.entry(account).or_insert(0) += tasks;
    }

    fn task_ended(&mut self, state: &State, task: TaskId) {
        let Some(job) = state.task(task).and_then(|task| state.job(task.job)) else { return };
        if let Some(left) = self.job_tasks.get_mut(&job.job) {
            *left = left.saturating_sub(1);
            self.take_tasks(job.account, 1);
        }
    }

    fn take_tasks(&mut self, account: AccountId, tasks: u64) {
        let Some(live) = self.account_tasks.get_mut(&account) else { return };
        *live = live.saturating_sub(tasks);
        if *live == 0 {
            self.account_tasks.remove(&account);
        }
    }

    fn forget(&mut self, ended: &Ended) {
        for job in &ended.jobs {
            self.jobs.remove(*job);
            for lease in self.job_leases.remove(job).unwrap_or_default() {
                self.leases.remove(lease);
            }
        }
        ended.orders.iter().for_each(|order| self.orders.remove(*order));
        ended.payments.iter().for_each(|payment| self.payments.remove(*payment));
        ended.fixed_leases.iter().for_each(|lease| self.fixed_leases.remove(*lease));
    }
}
