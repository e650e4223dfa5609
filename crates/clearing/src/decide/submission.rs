//! Jobs from the buyer's side: submit, top up, cancel.

use base::{AccountId, JobId, OrderId, TASK_FUEL_MAX, TaskId, TransferId, Usage};
use ledger::{AccountKey, Posted, Transfer, TransferRejection};
use market::{EXCLUDED_MAX, InstrumentId, OrderRejection, Side};

use super::{Desk, not_found};
use crate::command::Command;
use crate::escrow::WorstCase;
use crate::event::{Event, LeaseEnd, TransferReason};
use crate::figures::TaskFigures;
use crate::records::{Job, JobPhase};
use crate::rejection::Rejection;

/// A WebAssembly memory has at most so many 64 KiB pages.
const PAGES_MAX: u64 = 65_536;

impl Desk<'_> {
    pub(super) fn submit_job(&mut self, command: &Command) -> Result<(), Rejection> {
        let Command::SubmitJob {
            account,
            job,
            name,
            instrument,
            tasks,
            max_price_nanocredits_per_tfuel,
            slots,
            budget_nanocredits,
            ask,
            filters,
        } = command
        else {
            unreachable!("only submissions come here")
        };
        let (job, account, slots) = (*job, *account, *slots);
        let (price, budget) = (*max_price_nanocredits_per_tfuel, *budget_nanocredits);
        if !self.state.accounts.contains_key(&account) {
            return Err(not_found("account", account));
        }
        if let Some(submitted) = self.state.jobs.get(&job) {
            let same = submitted.account == account
                && submitted.name == *name
                && submitted.instrument == *instrument
                && submitted.max_price_nanocredits_per_tfuel == price
                && submitted.slots == slots
                && submitted.submitted_budget_nanocredits == budget
                && submitted.ask == *ask
                && submitted.filters == *filters
                && self.specs(submitted).eq(tasks.iter().map(|task| task.spec));
            return if same { Ok(()) } else { Err(Rejection::JobConflict { job }) };
        }
        self.check_text("the job's name", name)?;
        let rules = &self.state.rules;
        if tasks.is_empty() {
            return Err(Rejection::NoTasks);
        }
        if tasks.len() > rules.tasks_max as usize {
            return Err(Rejection::TooManyTasks { tasks: tasks.len(), max: rules.tasks_max });
        }
        let traded = self.admit(instrument, price)?;
        let excluded = filters.excluded.len();
        if excluded > EXCLUDED_MAX {
            let max = EXCLUDED_MAX;
            return Err(OrderRejection::TooManyExcluded { given: excluded, max }.into());
        }
        if slots == 0 || slots > rules.job_slots_max {
            return Err(Rejection::JobSlotsOutOfRange { slots, max: rules.job_slots_max });
        }
        self.check_amount(budget)?;
        for (index, task) in tasks.iter().enumerate() {
            self.check_figures(index, &task.figures)?;
        }
        let fees = self.state.fees().most_basis_points();
        let needed_nanocredits = tasks
            .iter()
            .map(|task| WorstCase::new(rules, &task.figures, Usage::ZERO, price, fees).least())
            .max()
            .unwrap_or(0);
        if budget < needed_nanocredits {
            return Err(Rejection::BudgetTooSmall {
                budget_nanocredits: budget,
                needed_nanocredits,
            });
        }
        if let Some(ask) = ask {
            self.check_ask(*ask, account, traded, price)?;
        }
        self.check_funds(account, budget)?;

        let at_ms = self.now_ms();
        self.push(Event::JobSubmitted {
            job,
            account,
            name: name.clone(),
            instrument: instrument.clone(),
            tasks: tasks
                .iter()
                .enumerate()
                .map(|(index, task)| (task_id(job, index), *task))
                .collect(),
            max_price_nanocredits_per_tfuel: price,
            slots,
            budget_nanocredits: budget,
            ask: *ask,
            filters: filters.clone(),
            at_ms,
        });
        let (from, to) = (AccountKey::Available(account), AccountKey::Escrow(job));
        self.transfer(from, to, budget, TransferReason::Hold);
        self.sync_job(job);
        Ok(())
    }

    /// The instrument, if a bid at that price fits it. A job may want more slots than one order
    /// may have: then it bids again.
    fn admit(&self, instrument: &str, price: i64) -> Result<InstrumentId, Rejection> {
        let (id, found) = self.instrument(instrument)?;
        found.admit(price, found.lot).map_err(OrderRejection::from)?;
        Ok(id)
    }

    /// The edge has checked these, too; but money is counted by them.
    fn check_figures(&self, index: usize, figures: &TaskFigures) -> Result<(), Rejection> {
        let rules = &self.state.rules;
        let traffic_bytes = figures.traffic_most(true);
        for (figure, given, min, max) in [
            ("fuel_max", figures.fuel_max, 1, TASK_FUEL_MAX),
            ("segment_fuel", figures.segment_fuel, rules.segment_fuel_min, TASK_FUEL_MAX),
            ("memory_max_pages", figures.memory_max_pages.into(), 1, PAGES_MAX),
            ("inbound_bytes + output_max_bytes", traffic_bytes, 0, rules.traffic_bytes_max),
        ] {
            if !(min..=max).contains(&given) {
                return Err(Rejection::TaskFigureOutOfRange { index, figure, given, min, max });
            }
        }
        Ok(())
    }

    fn specs<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = base::Digest> + 'a {
        job.tasks.iter().map(|task| self.state.tasks[task].spec)
    }

    fn check_ask(
        &self,
        ask: OrderId,
        account: AccountId,
        instrument: InstrumentId,
        price_nanocredits_per_tfuel: i64,
    ) -> Result<(), Rejection> {
        let unusable = |why| Err(Rejection::AskUnusable { ask, why });
        let Some(named) =
            self.state.order(ask).map(|info| info.order).filter(|order| order.side == Side::Ask)
        else {
            return unusable("there is no such ask; `jusha market show` lists them");
        };
        if !named.is_open() {
            return unusable("it is filled or cancelled; `jusha market show` lists the open ones");
        }
        if named.instrument != instrument {
            return unusable("it trades another instrument; name that one for the job");
        }
        if named.owner == account {
            return unusable("it is your own");
        }
        if named.price_nanocredits > price_nanocredits_per_tfuel {
            return unusable("it asks more than the limit price; raise the limit");
        }
        Ok(())
    }

    pub(super) fn check_funds(
        &self,
        account: AccountId,
        amount_nanocredits: i64,
    ) -> Result<(), Rejection> {
        let balance_nanocredits = self.state.available_nanocredits(account);
        if balance_nanocredits < amount_nanocredits {
            return Err(Rejection::Transfer(TransferRejection::InsufficientFunds {
                account: AccountKey::Available(account),
                balance_nanocredits,
                amount_nanocredits,
            }));
        }
        Ok(())
    }

    fn own_job(&self, account: AccountId, job: JobId) -> Result<&Job, Rejection> {
        self.state
            .jobs
            .get(&job)
            .filter(|found| found.account == account)
            .ok_or_else(|| not_found("job", job))
    }

    pub(super) fn top_up_job(
        &mut self,
        account: AccountId,
        job: JobId,
        transfer: TransferId,
        amount_nanocredits: i64,
    ) -> Result<(), Rejection> {
        let own = self.own_job(account, job)?;
        let (is_over, budget) = (own.is_over(), own.budget_nanocredits);
        self.check_amount(amount_nanocredits)?;
        let scoped = top_up_id(account, transfer);
        let (from, to) = (AccountKey::Available(account), AccountKey::Escrow(job));
        let posting = Transfer { transfer: scoped, from, to, amount_nanocredits };
        match self.state.ledger.examine(&posting) {
            Ok(Posted::Duplicate) => return Ok(()),
            Err(TransferRejection::TransferConflict { .. }) => {
                return Err(Rejection::TopUpConflict { transfer });
            }
            _ if is_over => return Err(Rejection::JobOver { job }),
            posted => posted?,
        };
        if budget.checked_add(amount_nanocredits).is_none() {
            return Err(Rejection::AmountOutOfRange { amount_nanocredits, max: i64::MAX - budget });
        }
        let reason = TransferReason::Hold;
        self.push(Event::Transferred { transfer: scoped, from, to, amount_nanocredits, reason });
        self.push(Event::JobToppedUp { job, amount_nanocredits });
        self.settle_arrears(job);
        let exhausted = self.state.jobs[&job].phase == JobPhase::Exhausted;
        if exhausted && self.state.slots_covered(job) > 0 {
            let at_ms = self.now_ms();
            self.push(Event::JobResumed { job, at_ms });
        }
        self.sync_job(job);
        Ok(())
    }

    /// Cancelling what is over is no error: it is what the caller wanted.
    pub(super) fn cancel_job(&mut self, account: AccountId, job: JobId) -> Result<(), Rejection> {
        if self.own_job(account, job)?.is_over() {
            return Ok(());
        }
        self.wind_up(job, &LeaseEnd::JobCancelled);
        let at_ms = self.now_ms();
        self.push(Event::JobCancelled { job, at_ms });
        Ok(())
    }
}

/// The id of the transfer that an account asked for under its own id: scoped per account, so that
/// nobody can use up or probe another's.
pub fn top_up_id(account: AccountId, transfer: TransferId) -> TransferId {
    TransferId::derive(&[b"top-up", &account.0.to_be_bytes(), &transfer.0.to_be_bytes()])
}

fn task_id(job: JobId, index: usize) -> TaskId {
    TaskId::derive(&[&job.0.to_be_bytes(), &(index as u64).to_be_bytes()])
}
