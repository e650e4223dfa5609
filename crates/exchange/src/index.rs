//! What is looked up per account, kept beside clearing's state so that no request walks what
//! belongs to others. Follows the events, like the state itself.

use std::collections::BTreeMap;

use base::{AccountId, JobId, LeaseId, MachineId, OrderId, TaskId};
use clearing::{Event, State};

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// In the order of placement.
    orders: BTreeMap<AccountId, Vec<OrderId>>,
    /// Bought or sold, in the order of opening.
    leases: BTreeMap<AccountId, Vec<LeaseId>>,
    /// Tasks that did not end, of jobs that are not over.
    job_tasks: BTreeMap<JobId, u64>,
    account_tasks: BTreeMap<AccountId, u64>,
}

impl Index {
    /// Of everything in the state.
    pub fn of(state: &State) -> Self {
        let mut index = Index::default();
        let mut orders: Vec<_> = state.orders().map(|info| info.order).collect();
        orders.sort_by_key(|order| (order.priority, order.order));
        for order in orders {
            index.orders.entry(order.owner).or_default().push(order.order);
        }
        let mut leases: Vec<_> = state.leases().collect();
        leases.sort_by_key(|lease| (lease.opened_at_ms, lease.lease));
        for lease in leases {
            index.add_lease(state, lease.lease, lease.job, lease.machine);
        }
        for job in state.jobs().filter(|job| !job.is_over()) {
            index.add_tasks(job.account, job.job, (job.pending.len() + job.live.len()) as u64);
        }
        index
    }

    /// Follows an event that the state has folded already.
    pub fn follow(&mut self, state: &State, event: &Event) {
        match event {
            Event::AskPlaced { order, .. } | Event::BidPlaced { order, .. } => {
                if let Some(info) = state.order(*order) {
                    self.orders.entry(info.order.owner).or_default().push(*order);
                }
            }
            Event::LeaseOpened { lease, job, machine, .. } => {
                self.add_lease(state, *lease, *job, *machine);
            }
            Event::JobSubmitted { job, account, tasks, .. } => {
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
            _ => {}
        }
    }

    /// An account's orders, in the order of placement.
    pub fn orders(&self, account: AccountId) -> &[OrderId] {
        self.orders.get(&account).map_or(&[], Vec::as_slice)
    }

    /// An account's leases, in the order of opening.
    pub fn leases(&self, account: AccountId) -> &[LeaseId] {
        self.leases.get(&account).map_or(&[], Vec::as_slice)
    }

    /// An account's tasks that did not end.
    pub fn live_tasks(&self, account: AccountId) -> u64 {
        self.account_tasks.get(&account).copied().unwrap_or(0)
    }

    fn add_lease(&mut self, state: &State, lease: LeaseId, job: JobId, machine: MachineId) {
        let buyer = state.job(job).map(|job| job.account);
        // Nobody trades with himself, but the list should not depend on it.
        let seller = state.machine(machine).map(|machine| machine.owner);
        for account in buyer.into_iter().chain(seller.filter(|seller| Some(*seller) != buyer)) {
            self.leases.entry(account).or_default().push(lease);
        }
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
        if let Some(live) = self.account_tasks.get_mut(&account) {
            *live = live.saturating_sub(tasks);
        }
    }
}
