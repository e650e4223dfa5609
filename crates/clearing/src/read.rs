//! What the exchange reads. Nothing here changes anything.

use base::{
    AccountId, AttemptId, Digest, JobId, LeaseId, MachineId, OrderId, PaymentId, TaskId, Usage,
};
use ledger::{AccountKey, Ledger};
use market::{Instrument, Market, Order, PricedPer, Terms};

use crate::decide::qualifies;
use crate::fees::FeeSchedule;
use crate::fixed::{FixedLease, FixedOffer};
use crate::payments::Payment;
use crate::records::{Account, Attempt, Job, JobPhase, Lease, Machine, OrderLink, Task};
use crate::rules::Rules;
use crate::state::{State, group};
use crate::tariff::Tariff;

/// Everything that a machine needs to start or go on with an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptToRun {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its machine.
    pub machine: MachineId,
    /// Its lease.
    pub lease: LeaseId,
    /// Its job.
    pub job: JobId,
    /// Its task.
    pub task: TaskId,
    /// Goes into every receipt.
    pub epoch: u64,
    /// The task's spec blob.
    pub spec: Digest,
    /// The last accepted checkpoint: where it began, or further.
    pub checkpoint: Option<Digest>,
    /// The task's usage at that checkpoint.
    pub usage: Usage,
    /// The last accepted receipt.
    pub receipt_sequence: u64,
    /// The task's fuel at which it must stop.
    pub fuel_allowance: u64,
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Tasks.
    pub tasks: usize,
    /// Attempts.
    pub attempts: usize,
}

/// An order with what clearing knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderInfo<'a> {
    /// As the market knows it.
    pub order: &'a Order,
    /// What it trades.
    pub instrument: &'a str,
    /// The machine or the job behind it.
    pub link: &'a OrderLink,
    /// When and why it left the book; without a reason it was filled.
    pub ended: Option<(i64, Option<&'a str>)>,
}

impl State {
    /// The metered instruments whose promise to buyers the machine keeps.
    pub fn qualifying(&self, machine: MachineId) -> Vec<&Instrument> {
        let Some(found) = self.machines.get(&machine).filter(|found| !found.retired) else {
            return Vec::new();
        };
        let metered = |traded: &&Instrument| {
            traded.priced_per == PricedPer::Tfuel
                && !traded.suspended
                && qualifies(found, traded).is_ok()
        };
        let all = self.market.instruments().map(|(_, traded)| traded);
        all.filter(metered).collect()
    }

    /// The operator's numbers.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The ledger: balances, transfers, [`Ledger::check`].
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The books: depth, open asks, last prices.
    pub fn market(&self) -> &Market {
        &self.market
    }

    /// The tariff of a version; a lease's is pinned.
    pub fn tariff(&self, version: u32) -> Option<&'static Tariff> {
        Tariff::of_version(version)
    }

    /// An account.
    pub fn account(&self, account: AccountId) -> Option<&Account> {
        self.accounts.get(&account)
    }

    /// Every account, by id.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// Whose wallet shows a ledger account.
    pub fn account_of(&self, key: AccountKey) -> Option<AccountId> {
        match key {
            AccountKey::Available(account)
            | AccountKey::Withheld(account)
            | AccountKey::Outgoing(account) => Some(account),
            AccountKey::Escrow(job) => self.jobs.get(&job).map(|job| job.account),
            AccountKey::LeaseEscrow(lease) => self.fixed_leases.get(&lease).map(|l| l.account),
            AccountKey::Bond(lease) => self.fixed_leases.get(&lease).map(|l| self.seller_of(l)),
            AccountKey::Fees | AccountKey::AuditFund | AccountKey::Outside => None,
        }
    }

    /// What an account is free to use.
    pub fn available_nanocredits(&self, account: AccountId) -> i64 {
        self.ledger.balance(AccountKey::Available(account))
    }

    /// What an account asked to be paid out, and isn't yet.
    pub fn outgoing_nanocredits(&self, account: AccountId) -> i64 {
        self.ledger.balance(AccountKey::Outgoing(account))
    }

    /// What an account has set aside for jobs and leases that are not over.
    pub fn account_escrow_nanocredits(&self, account: AccountId) -> i64 {
        let jobs = self.account_jobs(account).map(|job| self.escrow_nanocredits(job.job));
        let bought = self.accounts.get(&account).into_iter().flat_map(|found| &found.fixed_bought);
        let leases = bought.map(|lease| self.ledger.balance(AccountKey::LeaseEscrow(*lease)));
        jobs.chain(leases).sum()
    }

    /// What an account has at stake as a seller of fixed leases.
    pub fn account_bond_nanocredits(&self, account: AccountId) -> i64 {
        let offers =
            self.account_machines(account).filter_map(|m| self.fixed_offers.get(&m.machine));
        let open = offers.flat_map(|offer| &offer.open);
        open.map(|lease| self.ledger.balance(AccountKey::Bond(*lease))).sum()
    }

    /// Who lets a fixed lease's unit.
    pub fn seller_of(&self, lease: &FixedLease) -> AccountId {
        self.machines[&lease.machine].owner
    }

    /// What is left of a job's money.
    pub fn escrow_nanocredits(&self, job: JobId) -> i64 {
        self.ledger.balance(AccountKey::Escrow(job))
    }

    /// Every version of the charges that was ever set, by version.
    pub fn fee_schedules(&self) -> impl Iterator<Item = FeeSchedule> + '_ {
        self.fees.values().copied()
    }

    /// What machines let by the hour, by machine.
    pub fn fixed_offers(&self) -> impl Iterator<Item = (MachineId, &FixedOffer)> {
        self.fixed_offers.iter().map(|(machine, offer)| (*machine, offer))
    }

    /// Offers of an instrument that have a free unit, in the order in which they are taken.
    pub fn free_offers(&self, instrument: &str) -> impl Iterator<Item = (MachineId, &FixedOffer)> {
        let listed = self.fixed_book.get(instrument).into_iter().flatten();
        listed.map(|(_, _, machine)| (*machine, &self.fixed_offers[machine]))
    }

    /// What a machine lets by the hour.
    pub fn fixed_offer(&self, machine: MachineId) -> Option<&FixedOffer> {
        self.fixed_offers.get(&machine)
    }

    /// Leases for a fixed time that are not over.
    pub fn open_fixed_leases(&self) -> impl Iterator<Item = &FixedLease> {
        let open = self.fixed_offers.values().flat_map(|offer| &offer.open);
        open.map(|lease| &self.fixed_leases[lease])
    }

    /// A lease for a fixed time.
    pub fn fixed_lease(&self, lease: LeaseId) -> Option<&FixedLease> {
        self.fixed_leases.get(&lease)
    }

    /// Every lease for a fixed time, by id.
    pub fn fixed_leases(&self) -> impl Iterator<Item = &FixedLease> {
        self.fixed_leases.values()
    }

    /// A payment.
    pub fn payment(&self, payment: PaymentId) -> Option<&Payment> {
        self.payments.get(&payment)
    }

    /// Every payment, by id.
    pub fn payments(&self) -> impl Iterator<Item = &Payment> {
        self.payments.values()
    }

    /// A machine.
    pub fn machine(&self, machine: MachineId) -> Option<&Machine> {
        self.machines.get(&machine)
    }

    /// Every machine, by id.
    pub fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    /// An account's machines, oldest first; retired ones included.
    pub fn account_machines(&self, account: AccountId) -> impl Iterator<Item = &Machine> {
        self.accounts
            .get(&account)
            .into_iter()
            .flat_map(|account| &account.machines)
            .map(|machine| &self.machines[machine])
    }

    /// Slots of a machine under lease.
    pub fn slots_leased(&self, machine: MachineId) -> u32 {
        self.market.group_used(group(machine)).0[0]
    }

    /// Slots of a machine that an ask may still offer.
    pub fn slots_free(&self, machine: MachineId) -> u32 {
        let group = group(machine);
        self.market.group_capacity(group).0[0].saturating_sub(self.market.group_used(group).0[0])
    }

    /// An order, open or ended.
    pub fn order(&self, order: OrderId) -> Option<OrderInfo<'_>> {
        let link = self.order_links.get(&order)?;
        let (order, ended) = match self.market.order(order) {
            Some(order) => (order, None),
            None => {
                let found = self.ended_orders.get(&order)?;
                (&found.order, Some((found.ended_at_ms, found.cancel_reason.as_deref())))
            }
        };
        let instrument = &self.market.instrument_of(order.instrument).name;
        Some(OrderInfo { order, link, instrument, ended })
    }

    /// Every order that is known, by id.
    pub fn orders(&self) -> impl Iterator<Item = OrderInfo<'_>> {
        self.order_links.keys().filter_map(|order| self.order(*order))
    }

    /// The order that a machine placed under its own id.
    pub fn client_order(&self, machine: MachineId, client_order_id: &str) -> Option<OrderInfo<'_>> {
        let order = self.client_orders.get(&(machine, client_order_id.to_owned()))?;
        self.order(*order)
    }

    /// When an account's asks are withdrawn, if ever.
    pub fn cancel_after_ms(&self, account: AccountId) -> Option<i64> {
        self.cancel_after.get(&account).copied()
    }

    /// Open asks of a machine.
    pub fn machine_asks(&self, machine: MachineId) -> impl Iterator<Item = OrderInfo<'_>> {
        self.market.group_asks(group(machine)).filter_map(|order| self.order(order.order))
    }

    /// A job.
    pub fn job(&self, job: JobId) -> Option<&Job> {
        self.jobs.get(&job)
    }

    /// Every job, by id.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// An account's jobs, oldest first.
    pub fn account_jobs(&self, account: AccountId) -> impl DoubleEndedIterator<Item = &Job> {
        self.accounts
            .get(&account)
            .into_iter()
            .flat_map(|account| &account.jobs)
            .map(|job| &self.jobs[job])
    }

    /// A task.
    pub fn task(&self, task: TaskId) -> Option<&Task> {
        self.tasks.get(&task)
    }

    /// A job's tasks, in the order of submission.
    pub fn job_tasks(&self, job: JobId) -> impl Iterator<Item = &Task> {
        self.jobs.get(&job).into_iter().flat_map(|job| &job.tasks).map(|task| &self.tasks[task])
    }

    /// How many tasks and attempts are known.
    pub fn counts(&self) -> Counts {
        Counts { tasks: self.tasks.len(), attempts: self.attempts.len() }
    }

    /// An attempt, live or ended.
    pub fn attempt(&self, attempt: AttemptId) -> Option<&Attempt> {
        self.attempts.get(&attempt)
    }

    /// A task's attempts, oldest first.
    pub fn task_attempts(&self, task: TaskId) -> impl Iterator<Item = &Attempt> {
        self.tasks
            .get(&task)
            .into_iter()
            .flat_map(|task| &task.attempts)
            .map(|attempt| &self.attempts[attempt])
    }

    /// A lease, open or closed.
    pub fn lease(&self, lease: LeaseId) -> Option<&Lease> {
        self.leases.get(&lease)
    }

    /// Every lease, by id.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// A job's leases, oldest first.
    pub fn job_leases(&self, job: JobId) -> impl Iterator<Item = &Lease> {
        self.jobs.get(&job).into_iter().flat_map(|job| &job.leases).map(|lease| &self.leases[lease])
    }

    /// A machine's open leases, oldest first.
    pub fn machine_open_leases(&self, machine: MachineId) -> impl Iterator<Item = &Lease> {
        self.machines
            .get(&machine)
            .into_iter()
            .flat_map(|machine| &machine.open_leases)
            .map(|lease| &self.leases[lease])
    }

    /// A machine's live attempts, in the order of their leases.
    pub fn machine_live_attempts(
        &self,
        machine: MachineId,
    ) -> impl Iterator<Item = AttemptToRun> + '_ {
        self.machine_open_leases(machine)
            .filter_map(|lease| lease.live)
            .filter_map(|attempt| self.attempt_to_run(attempt))
    }

    /// What a machine needs to start or go on with a live attempt; `None` when it ended.
    pub fn attempt_to_run(&self, attempt: AttemptId) -> Option<AttemptToRun> {
        let attempt = self.attempts.get(&attempt).filter(|attempt| attempt.outcome.is_none())?;
        let task = self.tasks.get(&attempt.task)?;
        Some(AttemptToRun {
            attempt: attempt.attempt,
            machine: attempt.machine,
            lease: attempt.lease,
            job: task.job,
            task: task.task,
            epoch: attempt.epoch,
            spec: task.spec,
            checkpoint: task.checkpoint,
            usage: task.usage,
            receipt_sequence: attempt.receipt_sequence,
            fuel_allowance: attempt.fuel_allowance,
        })
    }

    /// The job of a bid.
    pub(crate) fn job_of_bid(&self, bid: OrderId) -> JobId {
        match self.order_links[&bid] {
            OrderLink::Bid { job } => job,
            OrderLink::Ask { .. } => unreachable!("an ask is no bid"),
        }
    }

    /// What a job wants of machines, what holds for single owners aside.
    pub(crate) fn terms(&self, job: &Job) -> Terms {
        Terms {
            filters: job.filters.clone(),
            only_ask: job.ask,
            only_group: job.ask_group,
            ..Terms::default()
        }
    }

    /// Why nothing of a job runs; `None` when something runs or the job is over.
    pub fn waiting_reason(&self, job: JobId) -> Option<String> {
        let job = self.jobs.get(&job)?;
        if !job.live.is_empty() || job.is_over() {
            return None;
        }
        if job.phase == JobPhase::Exhausted {
            return Some(format!(
                "{} nanocredits of escrow cover no further work: top the job up or cancel it",
                self.escrow_nanocredits(job.job)
            ));
        }
        let Some(bid) = job.bid.and_then(|bid| self.market.order(bid)) else {
            return Some("the job looks for a slot again at the next tick".to_owned());
        };
        let (instrument, limit) = (&job.instrument, bid.price_nanocredits);
        let mut asks = self.market.open_asks(bid.instrument).peekable();
        if asks.peek().is_none() {
            return Some(format!("nobody offers {instrument} now: the job waits for an ask"));
        }
        let others = asks.filter(|ask| ask.owner != bid.owner).collect::<Vec<_>>();
        if others.is_empty() {
            return Some(format!(
                "all asks of {instrument} are your own, and nobody buys from themselves"
            ));
        }
        let Some(best) = others.iter().find(|ask| self.market.eligible(ask, bid)) else {
            let named = bid.only_ask().map(|ask| ask.to_string()).unwrap_or_default();
            return Some(format!(
                "the machine of {named} offers nothing now, and the job takes no other: wait, or \
                 cancel and submit without an ask"
            ));
        };
        let price = best.price_nanocredits;
        if price > limit {
            return Some(format!(
                "no ask within the limit price: the best is {price}, the limit {limit} \
                 nanocredits per Tfuel"
            ));
        }
        if bid.restriction(best.owner) != Default::default() {
            return Some(
                "the best ask is of a seller that failed or ended a lease of this job: the job \
                 takes it again after a pause, for no more than before"
                    .to_owned(),
            );
        }
        Some("the job looks for a slot again at the next tick".to_owned())
    }
}
