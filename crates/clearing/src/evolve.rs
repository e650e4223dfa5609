//! Folding events into the state. Nothing is decided here: every number comes from the event,
//! so that replaying an old journal under newer rules gives what happened then.

mod fixed;
mod forget;
mod machines;
mod payments;

use std::collections::{BTreeMap, BTreeSet};

use base::{AttemptId, JobId, LeaseId, MachineId, TaskId, Usage};
use ledger::{AccountKey, Transfer};
use market::{InstrumentId, Order, Terms};

use crate::attributes;
use crate::event::{AttemptOutcome, Event, LeaseEnd, TransferReason};
use crate::figures::NewTask;
use crate::records::{
    Account, Attempt, EndedOrder, Job, JobPhase, Lease, LeasePhase, Machine, OrderLink, Seller,
    Task, TaskPhase,
};
use crate::state::{State, group};

/// What an event refers to exists, or the journal is not this exchange's.
const FITS: &str = "the event does not fit the state: the journal is damaged or another's";

impl State {
    /// Folds an event.
    ///
    /// # Panics
    /// When the event doesn't fit the state, which means that it is not this history's next
    /// one: going on would be silently wrong.
    pub fn evolve(&mut self, event: &Event) {
        match event {
            Event::AccountOpened { account, name } => {
                let opened = Account {
                    account: *account,
                    name: name.clone(),
                    jobs: Vec::new(),
                    machines: Vec::new(),
                    open_payments: BTreeSet::new(),
                    fixed_bought: BTreeSet::new(),
                };
                assert!(self.accounts.insert(*account, opened).is_none(), "{FITS}");
            }
            Event::Transferred { transfer, from, to, amount_nanocredits, reason } => {
                let transfer = Transfer {
                    transfer: *transfer,
                    from: *from,
                    to: *to,
                    amount_nanocredits: *amount_nanocredits,
                };
                self.fold_transfer(transfer, *reason);
            }
            Event::Payment(event) => self.fold_payment(event),
            Event::Fixed(event) => self.fold_fixed(event),
            Event::FeesSet { schedule, .. } => {
                let former = self.fees.insert(schedule.version, *schedule);
                assert!(former.is_none(), "{FITS}");
            }
            Event::MachineEnrolled { .. }
            | Event::MachineRetired { .. }
            | Event::OfferSet { .. }
            | Event::SpeedMeasured { .. }
            | Event::MemoryMeasured { .. } => self.fold_machine(event),
            Event::AskPlaced { .. }
            | Event::BidPlaced { .. }
            | Event::OrderReduced { .. }
            | Event::Filled { .. }
            | Event::Looked { .. }
            | Event::ScanCutShort { .. } => self.fold_order(event),
            Event::JobSubmitted { .. }
            | Event::JobToppedUp { .. }
            | Event::JobRunningLow { .. }
            | Event::JobExhausted { .. }
            | Event::JobResumed { .. }
            | Event::JobDone { .. }
            | Event::JobCancelled { .. } => self.fold_job(event),
            Event::LeaseOpened { .. } | Event::LeaseClosed { .. } => self.fold_lease(event),
            Event::AttemptStarted { .. }
            | Event::ReceiptAccepted { .. }
            | Event::AttemptEnded { .. } => self.fold_attempt(event),
            Event::TaskDone { task, result } => {
                self.end_task(*task, TaskPhase::Done { result: *result });
            }
            Event::CancelAfterSet { account, due_at_ms } => {
                let former = match due_at_ms {
                    Some(due_at_ms) => self.cancel_after.insert(*account, *due_at_ms),
                    None => self.cancel_after.remove(account),
                };
                let switches = &mut self.agenda.switches;
                if let Some(former_ms) = former {
                    switches.remove(&(former_ms, *account));
                }
                switches.extend(due_at_ms.map(|due_at_ms| (due_at_ms, *account)));
            }
            Event::InstrumentSet { instrument } => {
                self.market.set_instrument(instrument.clone());
            }
            Event::SellerRestricted { job, owner, restriction, faults } => {
                let job = self.touch(*job);
                let seller = Seller { restriction: *restriction, faults: *faults };
                job.sellers.insert(*owner, seller);
                if let Some(bid) = job.bid {
                    self.market.restrict(bid, *owner, *restriction);
                }
            }
            Event::RefusalNoted { task, owner } => {
                self.task_mut(*task).refusals.insert(*owner);
            }
            Event::TaskRefused { task, reason } => {
                self.end_task(*task, TaskPhase::Refused { reason: reason.clone() });
            }
            Event::Forgotten { ended } => self.fold_forgotten(ended),
        }
    }

    fn fold_transfer(&mut self, transfer: Transfer, reason: TransferReason) {
        let amount = transfer.amount_nanocredits;
        // The ids of others are made here: nobody asks for them again.
        let posted = match reason {
            TransferReason::Deposit | TransferReason::Hold => self.ledger.post(transfer),
            _ => self.ledger.post_unnamed(transfer),
        };
        if let Err(rejection) = posted {
            panic!("{FITS}: {rejection}");
        }
        if let AccountKey::Escrow(job) = transfer.from {
            let job = self.touch(job);
            match reason {
                TransferReason::Settlement { .. } => job.paid_nanocredits += amount,
                TransferReason::Release => job.released_nanocredits += amount,
                TransferReason::BuyerFee { .. } => job.fees_nanocredits += amount,
                TransferReason::Deposit
                | TransferReason::Hold
                | TransferReason::SellerFee { .. }
                | TransferReason::Fixed { .. }
                | TransferReason::Payment { .. } => {}
            }
        }
        if let AccountKey::Escrow(job) = transfer.to {
            self.touch(job).holds.push(transfer.transfer);
        }
        if let TransferReason::Settlement { lease } = reason {
            let lease = self.lease_mut(lease);
            lease.paid_nanocredits += amount;
            let machine = lease.machine;
            // The same money may be earned again and again, so this sum has no bound.
            let machine = self.machine_mut(machine);
            machine.earned_nanocredits = machine.earned_nanocredits.saturating_add(amount);
        }
        if let TransferReason::Fixed { lease, flow } = reason {
            self.fold_flow(lease, flow, amount);
        }
        if let TransferReason::SellerFee { lease } = reason {
            let machine = self.leases[&lease].machine;
            let machine = self.machine_mut(machine);
            machine.earned_nanocredits = machine.earned_nanocredits.saturating_sub(amount);
        }
    }

    fn fold_order(&mut self, event: &Event) {
        match event {
            Event::AskPlaced {
                order,
                machine,
                client_order_id,
                instrument,
                quantity,
                price_nanocredits_per_tfuel,
                time_in_force,
                post_only,
                at_ms,
            } => {
                let owner = self.machines[machine].owner;
                let ask = Order::ask(
                    *order,
                    owner,
                    group(*machine),
                    self.instrument_id(instrument),
                    *price_nanocredits_per_tfuel,
                    *quantity,
                    *at_ms,
                );
                let (time_in_force, post_only) = (*time_in_force, *post_only);
                self.market.place(Order { time_in_force, post_only, ..ask });
                let client_order_id = client_order_id.clone();
                self.client_orders.insert((*machine, client_order_id.clone()), *order);
                self.order_links
                    .insert(*order, OrderLink::Ask { machine: *machine, client_order_id });
            }
            Event::BidPlaced {
                order,
                job,
                instrument,
                quantity,
                price_nanocredits_per_tfuel,
                ask,
                filters,
                at_ms,
            } => {
                let instrument = self.instrument_id(instrument);
                let placing = self.touch(*job);
                let only_group = placing.ask_group;
                placing.bid = Some(*order);
                let (owner, restrictions) = (placing.account, placing.restrictions());
                let price = *price_nanocredits_per_tfuel;
                let bid = Order::bid(*order, owner, instrument, price, *quantity, *at_ms);
                let filters = filters.clone();
                let terms = Terms { filters, only_ask: *ask, only_group, restrictions };
                self.market.place(bid.with_terms(terms));
                self.order_links.insert(*order, OrderLink::Bid { job: *job });
            }
            Event::OrderReduced { order, leaves_quantity, reason, at_ms } => {
                let ended = self.market.reduce(*order, *leaves_quantity);
                self.fold_ended(ended, *at_ms, Some(reason));
                self.touch_bid(*order);
            }
            Event::Filled { ask, bid, instrument: _, price_nanocredits_per_tfuel, at_ms } => {
                let (asked, bidden) = self.market.fill(*ask, *bid, *price_nanocredits_per_tfuel, 1);
                self.fold_ended(asked, *at_ms, None);
                self.fold_ended(bidden, *at_ms, None);
                self.touch_bid(*bid);
            }
            Event::Looked { order, at_ms } => self.market.looked(*order, *at_ms),
            Event::ScanCutShort { order, cursor } => self.market.look_again(*order, *cursor),
            _ => unreachable!("{FITS}"),
        }
    }

    fn fold_job(&mut self, event: &Event) {
        match event {
            Event::JobSubmitted {
                job,
                account,
                name,
                instrument,
                tasks,
                max_price_nanocredits_per_tfuel,
                slots,
                budget_nanocredits,
                ask,
                filters,
                at_ms,
            } => {
                let submitted = Job {
                    job: *job,
                    version: 1,
                    account: *account,
                    name: name.clone(),
                    instrument: instrument.clone(),
                    max_price_nanocredits_per_tfuel: *max_price_nanocredits_per_tfuel,
                    slots: *slots,
                    budget_nanocredits: *budget_nanocredits,
                    submitted_budget_nanocredits: *budget_nanocredits,
                    paid_nanocredits: 0,
                    fees_nanocredits: 0,
                    exhaustion_at_ms: None,
                    released_nanocredits: 0,
                    ask: *ask,
                    ask_group: ask.and_then(|ask| self.order(ask)?.order.group),
                    holds: Vec::new(),
                    filters: filters.clone(),
                    phase: JobPhase::Active,
                    tasks: tasks.iter().map(|(task, _)| *task).collect(),
                    pending: (0..tasks.len() as u32).collect(),
                    live: BTreeSet::new(),
                    bid: None,
                    open_leases: BTreeSet::new(),
                    leases: Vec::new(),
                    sellers: BTreeMap::new(),
                    submitted_at_ms: *at_ms,
                    ended_at_ms: None,
                };
                assert!(self.jobs.insert(*job, submitted).is_none(), "{FITS}");
                self.accounts.get_mut(account).expect(FITS).jobs.push(*job);
                for (index, (task, NewTask { spec, figures })) in tasks.iter().enumerate() {
                    let pending = Task {
                        task: *task,
                        job: *job,
                        index: index as u32,
                        spec: *spec,
                        figures: *figures,
                        phase: TaskPhase::Pending,
                        usage: Usage::ZERO,
                        checkpoint: None,
                        chain_head: None,
                        epoch: 0,
                        faults: BTreeMap::new(),
                        refusals: BTreeSet::new(),
                        attempts: Vec::new(),
                    };
                    assert!(self.tasks.insert(*task, pending).is_none(), "{FITS}");
                }
            }
            Event::JobToppedUp { job, amount_nanocredits } => {
                let topped_up = self.touch(*job);
                topped_up.exhaustion_at_ms = None;
                let budget = &mut topped_up.budget_nanocredits;
                *budget = budget.checked_add(*amount_nanocredits).expect(FITS);
            }
            Event::JobRunningLow { job, exhaustion_at_ms, .. } => {
                self.touch(*job).exhaustion_at_ms = Some(*exhaustion_at_ms);
            }
            Event::JobExhausted { job, .. } => self.touch(*job).phase = JobPhase::Exhausted,
            Event::JobResumed { job, .. } => self.touch(*job).phase = JobPhase::Active,
            Event::JobDone { job, at_ms } => {
                let done = self.touch(*job);
                done.phase = JobPhase::Done;
                done.ended_at_ms = Some(*at_ms);
            }
            Event::JobCancelled { job, at_ms } => {
                let cancelled = self.touch(*job);
                cancelled.phase = JobPhase::Cancelled;
                cancelled.ended_at_ms = Some(*at_ms);
                let tasks = cancelled.tasks.clone();
                for index in std::mem::take(&mut cancelled.pending) {
                    self.task_mut(tasks[index as usize]).phase = TaskPhase::Cancelled;
                }
            }
            _ => unreachable!("{FITS}"),
        }
    }

    fn fold_lease(&mut self, event: &Event) {
        match event {
            Event::LeaseOpened {
                lease,
                job,
                machine,
                ask,
                instrument: _,
                price_nanocredits_per_tfuel,
                tariff_version,
                fees,
                at_ms,
            } => {
                let opened = Lease {
                    lease: *lease,
                    job: *job,
                    machine: *machine,
                    ask: *ask,
                    price_nanocredits_per_tfuel: *price_nanocredits_per_tfuel,
                    tariff_version: *tariff_version,
                    fees: *fees,
                    phase: LeasePhase::Open,
                    opened_at_ms: *at_ms,
                    attempts: Vec::new(),
                    live: None,
                    usage: Usage::ZERO,
                    paid_nanocredits: 0,
                };
                assert!(self.leases.insert(*lease, opened).is_none(), "{FITS}");
                self.agenda.opened.insert((*at_ms, *lease));
                let job = self.touch(*job);
                job.leases.push(*lease);
                job.open_leases.insert(*lease);
                self.machine_mut(*machine).open_leases.push(*lease);
            }
            Event::LeaseClosed { lease, end, at_ms } => {
                let closed = self.lease_mut(*lease);
                closed.phase = LeasePhase::Closed { end: end.clone(), at_ms: *at_ms };
                let (job, machine) = (closed.job, closed.machine);
                let opened = (closed.opened_at_ms, *lease);
                self.agenda.opened.remove(&opened);
                let job = self.touch(job);
                job.open_leases.remove(lease);
                let instrument = job.instrument.clone();
                self.machine_mut(machine).open_leases.retain(|open| open != lease);
                let instrument = self.instrument_id(&instrument);
                self.market.release(group(machine), instrument, 1);
                self.machine_mut(machine).remember(end);
                let attributes = attributes::of(&self.machines[&machine]);
                self.market.set_group_attributes(group(machine), attributes);
                self.fold_fault(*lease, end);
            }
            _ => unreachable!("{FITS}"),
        }
    }

    /// A lease that ended by a fault counts against its owner at the task that it ran last.
    fn fold_fault(&mut self, lease: LeaseId, end: &LeaseEnd) {
        let LeaseEnd::Fault { .. } = end else { return };
        let lease = &self.leases[&lease];
        let owner = self.machines[&lease.machine].owner;
        let Some(attempt) = lease.attempts.last() else { return };
        let task = self.attempts[attempt].task;
        *self.task_mut(task).faults.entry(owner).or_insert(0) += 1;
    }

    fn fold_attempt(&mut self, event: &Event) {
        match event {
            Event::AttemptStarted {
                attempt,
                task,
                lease,
                epoch,
                checkpoint,
                usage,
                fuel_allowance,
                at_ms,
            } => {
                let running = self.lease_mut(*lease);
                running.attempts.push(*attempt);
                running.live = Some(*attempt);
                let machine = running.machine;
                let started = Attempt {
                    attempt: *attempt,
                    task: *task,
                    lease: *lease,
                    machine,
                    epoch: *epoch,
                    start_checkpoint: *checkpoint,
                    start: *usage,
                    usage: *usage,
                    fuel_allowance: *fuel_allowance,
                    receipt_sequence: 0,
                    receipt_digest: None,
                    started_at_ms: *at_ms,
                    progress_at_ms: *at_ms,
                    ended_at_ms: None,
                    outcome: None,
                };
                assert!(self.attempts.insert(*attempt, started).is_none(), "{FITS}");
                self.agenda.progress.insert((*at_ms, *attempt));
                let task = self.task_mut(*task);
                task.phase = TaskPhase::Running(*attempt);
                task.epoch = *epoch;
                task.attempts.push(*attempt);
                let (job, index) = (task.job, task.index);
                let job = self.touch(job);
                job.pending.remove(&index);
                job.live.insert(*attempt);
            }
            Event::ReceiptAccepted {
                attempt,
                receipt_sequence,
                receipt_digest,
                usage,
                chain_head,
                checkpoint,
                at_ms,
            } => {
                let accepted = self.attempt_mut(*attempt);
                let credited = usage.since(accepted.usage).expect(FITS);
                accepted.usage = *usage;
                accepted.receipt_sequence = *receipt_sequence;
                accepted.receipt_digest = Some(*receipt_digest);
                let former_ms = accepted.progress_at_ms;
                if credited != Usage::ZERO {
                    accepted.progress_at_ms = *at_ms;
                }
                let (task, lease) = (accepted.task, accepted.lease);
                if credited != Usage::ZERO && self.agenda.progress.remove(&(former_ms, *attempt)) {
                    self.agenda.progress.insert((*at_ms, *attempt));
                }
                let lease = self.lease_mut(lease);
                lease.usage = lease.usage.plus(credited).expect(FITS);
                let machine = lease.machine;
                let task = self.task_mut(task);
                task.usage = *usage;
                task.checkpoint = checkpoint.or(task.checkpoint);
                task.chain_head = Some(*chain_head);
                if credited != Usage::ZERO {
                    task.faults.clear();
                }
                let job = task.job;
                let owner = self.machines[&machine].owner;
                let job = self.touch(job);
                if credited != Usage::ZERO
                    && let Some(seller) = job.sellers.get_mut(&owner)
                {
                    seller.faults = 0;
                }
            }
            Event::AttemptEnded { attempt, outcome, at_ms } => {
                self.end_attempt(*attempt, outcome, *at_ms);
            }
            _ => unreachable!("{FITS}"),
        }
    }

    /// The task waits again; if it is over, another event says so.
    fn end_attempt(&mut self, attempt: AttemptId, outcome: &AttemptOutcome, at_ms: i64) {
        let ended = self.attempt_mut(attempt);
        ended.outcome = Some(outcome.clone());
        ended.ended_at_ms = Some(at_ms);
        let (task, lease, progress) = (ended.task, ended.lease, (ended.progress_at_ms, attempt));
        self.agenda.progress.remove(&progress);
        self.lease_mut(lease).live = None;
        let task = self.task_mut(task);
        task.phase = TaskPhase::Pending;
        let (job, index) = (task.job, task.index);
        let job = self.touch(job);
        job.live.remove(&attempt);
        job.pending.insert(index);
    }

    fn end_task(&mut self, task: TaskId, phase: TaskPhase) {
        let task = self.task_mut(task);
        task.phase = phase;
        let (job, index) = (task.job, task.index);
        self.touch(job).pending.remove(&index);
    }

    fn instrument_id(&self, name: &str) -> InstrumentId {
        self.market.instrument(name).expect(FITS).0
    }

    fn fold_ended(&mut self, ended: Option<Order>, at_ms: i64, reason: Option<&String>) {
        if let Some(order) = ended {
            let (id, cancel_reason) = (order.order, reason.cloned());
            let ended = EndedOrder { order, ended_at_ms: at_ms, cancel_reason };
            self.ended_orders.insert(id, ended);
        }
    }

    /// Forgets a job's bid once it is out of the book.
    fn touch_bid(&mut self, order: base::OrderId) {
        let Some(OrderLink::Bid { job }) = self.order_links.get(&order) else { return };
        let job = *job;
        let is_open = self.market.order(order).is_some();
        let touched = self.touch(job);
        if !is_open && touched.bid == Some(order) {
            touched.bid = None;
        }
    }

    fn touch(&mut self, job: JobId) -> &mut Job {
        let job = self.jobs.get_mut(&job).expect(FITS);
        job.version += 1;
        job
    }

    fn task_mut(&mut self, task: TaskId) -> &mut Task {
        self.tasks.get_mut(&task).expect(FITS)
    }

    fn attempt_mut(&mut self, attempt: AttemptId) -> &mut Attempt {
        self.attempts.get_mut(&attempt).expect(FITS)
    }

    fn lease_mut(&mut self, lease: LeaseId) -> &mut Lease {
        self.leases.get_mut(&lease).expect(FITS)
    }

    fn machine_mut(&mut self, machine: MachineId) -> &mut Machine {
        self.machines.get_mut(&machine).expect(FITS)
    }
}
