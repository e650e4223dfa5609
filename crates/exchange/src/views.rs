//! The state as REST shows it: core types to wire types, explicitly.

pub(crate) mod fixed;

use std::collections::BTreeMap;

use base::{AccountId, MachineId, OrderId};
use clearing::payments::{Payment, PaymentDirection, PaymentPhase};
use clearing::{
    Attempt, AttemptEnd, AttemptOutcome, Job, JobPhase, Lease, LeaseEnd, LeasePhase, Machine,
    OrderInfo, OrderLink, Task, TaskPhase,
};
use market::{Instrument, Level, OrderStatus, PricedPer, Side};
use wire::{
    AttemptView, BookView, CandleView, InstrumentView, JobState, JobView, LeaseView, MachineView,
    OrderView, PaymentStatus, PaymentView, PriceLevel, RuntimeTerms, RuntimeView, TaskState,
    TaskView, TimeInForce, Wallet,
};

use crate::config::limits;
use crate::core::Core;
use crate::outbox;
use crate::payments::{self, PaymentProvider};
use crate::sequencer::unix_ms;

/// Open asks that a book lists one by one.
const BOOK_ORDERS: usize = 100;

pub(crate) fn wallet(core: &Core, account: AccountId) -> Option<Wallet> {
    let found = core.state.account(account)?;
    Some(Wallet {
        account,
        name: found.name.clone(),
        available_nanocredits: core.state.available_nanocredits(account),
        escrow_nanocredits: core.state.account_escrow_nanocredits(account),
        bond_nanocredits: core.state.account_bond_nanocredits(account),
        outgoing_nanocredits: core.state.outgoing_nanocredits(account),
    })
}

pub(crate) fn machine(core: &Core, machine: &Machine) -> MachineView {
    MachineView {
        machine: machine.machine,
        name: machine.name.clone(),
        online: core.presence.is_online(machine.machine),
        active: !machine.retired,
        slots: machine.slots,
        slots_leased: core.state.slots_leased(machine.machine),
        memory_mib_per_slot: machine.memory_mib_per_slot,
        region: machine.region.clone(),
        speed_mfuel_per_s: machine.speed_mfuel_per_s,
        speed_at_ms: machine.speed_at_ms,
        measured_mib_per_slot: machine.measured_mib_per_slot,
        memory_at_ms: machine.memory_at_ms,
        runtimes: core.presence.runtimes(machine.machine).to_vec(),
        earned_nanocredits: machine.earned_nanocredits,
    }
}

/// What the connected machines have, by name.
pub(crate) fn runtimes(core: &Core) -> Vec<RuntimeView> {
    let mut all: BTreeMap<&RuntimeTerms, (u32, u32)> = BTreeMap::new();
    for (machine, runtimes) in core.presence.with_runtimes() {
        let slots = core.state.machine(machine).map_or(0, |found| found.slots);
        for runtime in runtimes {
            let sum = all.entry(runtime).or_default();
            *sum = (sum.0 + 1, sum.1.saturating_add(slots));
        }
    }
    all.into_iter()
        .map(|(runtime, (machines, slots))| RuntimeView {
            name: runtime.name.clone(),
            version: runtime.version.clone(),
            base: runtime.base,
            machines,
            slots,
        })
        .collect()
}

/// Where a job is in its life.
pub(crate) fn job_state(job: &Job) -> JobState {
    match job.phase {
        JobPhase::Active if job.leases.is_empty() => JobState::Waiting,
        JobPhase::Active => JobState::Running,
        JobPhase::Exhausted => JobState::Exhausted,
        JobPhase::Done => JobState::Done,
        JobPhase::Cancelled => JobState::Cancelled,
    }
}

/// A job; in a list that grew too long for one read, without its tasks and why it waits.
pub(crate) fn job(core: &Core, job: &Job) -> JobView {
    job_view(core, job, core.affords(limits::JOB_READ_COST + job.tasks.len() as u64))
}

/// A job with everything about it, whatever that costs.
pub(crate) fn whole_job(core: &Core, job: &Job) -> JobView {
    job_view(core, job, true)
}

fn job_view(core: &Core, job: &Job, whole: bool) -> JobView {
    let tasks = whole.then(|| core.state.job_tasks(job.job)).into_iter().flatten();
    JobView {
        job: job.job,
        version: core.version(job.job),
        name: job.name.clone(),
        state: job_state(job),
        exhaustion_at_ms: core.state.exhaustion_at_ms(job.job, unix_ms()),
        running_low: job.exhaustion_at_ms.is_some() && job.phase == JobPhase::Active,
        instrument: job.instrument.clone(),
        submitted_at_ms: job.submitted_at_ms,
        ended_at_ms: job.ended_at_ms,
        max_price_nanocredits_per_tfuel: job.max_price_nanocredits_per_tfuel,
        slots: job.slots,
        budget_nanocredits: job.budget_nanocredits,
        paid_nanocredits: job.paid_nanocredits,
        waiting_reason: whole.then(|| core.state.waiting_reason(job.job)).flatten(),
        task_count: u32::try_from(job.tasks.len()).unwrap_or(u32::MAX),
        tasks: tasks.map(|found| task(core, found)).collect(),
    }
}

fn task(core: &Core, task: &Task) -> TaskView {
    let (state, result, refusal) = match &task.phase {
        TaskPhase::Pending => (TaskState::Pending, None, None),
        TaskPhase::Running(_) => (TaskState::Running, None, None),
        TaskPhase::Done { result } => (TaskState::Done, Some(*result), None),
        TaskPhase::Refused { reason } => (TaskState::Refused, None, Some(reason.clone())),
        TaskPhase::Cancelled => (TaskState::Cancelled, None, None),
    };
    let heard = match &task.phase {
        TaskPhase::Running(attempt) => core.progress(*attempt),
        _ => None,
    };
    TaskView {
        task: task.task,
        spec: task.spec,
        state,
        usage: task.usage,
        // A heartbeat may be older than the last receipt.
        progress_fuel: heard.unwrap_or(0).max(task.usage.fuel),
        checkpoint: task.checkpoint,
        result,
        refusal,
        attempts: core.state.task_attempts(task.task).map(|found| attempt(core, found)).collect(),
    }
}

fn attempt(core: &Core, attempt: &Attempt) -> AttemptView {
    AttemptView {
        attempt: attempt.attempt,
        lease: attempt.lease,
        machine: attempt.machine,
        machine_name: machine_name(core, attempt.machine),
        epoch: attempt.epoch,
        from: attempt.start,
        to: attempt.usage,
        started_at_ms: attempt.started_at_ms,
        ended_at_ms: attempt.ended_at_ms,
        end: attempt.outcome.as_ref().map(|outcome| attempt_end(core, attempt, outcome)),
    }
}

fn attempt_end(core: &Core, attempt: &Attempt, outcome: &AttemptOutcome) -> String {
    match outcome {
        AttemptOutcome::Reported(AttemptEnd::Finished { .. }) => "finished".to_owned(),
        AttemptOutcome::Reported(AttemptEnd::Yielded) => "yielded".to_owned(),
        AttemptOutcome::Reported(AttemptEnd::AllowanceSpent) => "allowance_spent".to_owned(),
        AttemptOutcome::Reported(AttemptEnd::Fault { reason }) => format!("fault: {reason}"),
        AttemptOutcome::Reported(AttemptEnd::Refused { reason }) => format!("refused: {reason}"),
        AttemptOutcome::Cancelled => "cancelled".to_owned(),
        AttemptOutcome::LeaseEnded => match core.state.lease(attempt.lease).map(|l| &l.phase) {
            Some(LeasePhase::Closed { end: LeaseEnd::Lapsed, .. }) => "lapsed".to_owned(),
            Some(LeasePhase::Closed { end, .. }) => {
                format!("lease_ended: {}", outbox::lease_end(end))
            }
            _ => "lease_ended".to_owned(),
        },
    }
}

fn machine_name(core: &Core, machine: MachineId) -> String {
    core.state.machine(machine).map(|found| found.name.clone()).unwrap_or_default()
}

pub(crate) fn lease(lease: &Lease) -> LeaseView {
    let (state, closed_at_ms) = match &lease.phase {
        LeasePhase::Open => ("open".to_owned(), None),
        LeasePhase::Closed { end: LeaseEnd::Lapsed, at_ms } => ("lapsed".to_owned(), Some(*at_ms)),
        LeasePhase::Closed { end, at_ms } => {
            (format!("closed: {}", outbox::lease_end(end)), Some(*at_ms))
        }
    };
    LeaseView {
        lease: lease.lease,
        job: lease.job,
        machine: lease.machine,
        price_nanocredits_per_tfuel: lease.price_nanocredits_per_tfuel,
        opened_at_ms: lease.opened_at_ms,
        closed_at_ms,
        state,
        usage: lease.usage,
        paid_nanocredits: lease.paid_nanocredits,
    }
}

pub(crate) fn order(info: OrderInfo<'_>) -> OrderView {
    let order = info.order;
    let (client_order_id, job, machine) = match info.link {
        OrderLink::Ask { machine, client_order_id } => {
            (client_order_id.clone(), None, Some(*machine))
        }
        OrderLink::Bid { job } => (job.to_string(), Some(*job), None),
    };
    let (time_in_force, expires_at_ms) = match order.time_in_force {
        market::TimeInForce::Gtc => (TimeInForce::Gtc, None),
        market::TimeInForce::Gtt { until_ms } => (TimeInForce::Gtt, Some(until_ms)),
        market::TimeInForce::Ioc => (TimeInForce::Ioc, None),
        market::TimeInForce::Fok => (TimeInForce::Fok, None),
    };
    let ended_at_ms = info.ended.map(|(at_ms, _)| at_ms);
    OrderView {
        order: order.order,
        client_order_id,
        side: match order.side {
            Side::Ask => "ask".to_owned(),
            Side::Bid => "bid".to_owned(),
        },
        instrument: info.instrument.to_owned(),
        price_nanocredits_per_tfuel: order.price_nanocredits,
        quantity: order.quantity,
        leaves_quantity: order.leaves_quantity,
        cumulative_quantity: order.cumulative_quantity,
        time_in_force,
        expires_at_ms,
        post_only: order.post_only,
        conditional: order.is_conditional(),
        status: match order.status {
            OrderStatus::Open => "open".to_owned(),
            OrderStatus::Filled => "filled".to_owned(),
            OrderStatus::Cancelled
                if expires_at_ms.is_some_and(|at_ms| ended_at_ms >= Some(at_ms)) =>
            {
                "expired".to_owned()
            }
            OrderStatus::Cancelled => "cancelled".to_owned(),
        },
        cancel_reason: info.ended.and_then(|(_, reason)| reason.map(str::to_owned)),
        placed_at_ms: order.placed_at_ms,
        ended_at_ms,
        job,
        machine,
    }
}

pub(crate) fn payment(provider: &dyn PaymentProvider, payment: &Payment) -> PaymentView {
    let (status, note) = match &payment.phase {
        PaymentPhase::Requested => (PaymentStatus::Requested, None),
        PaymentPhase::Approved => (PaymentStatus::Approved, None),
        PaymentPhase::Settled { reference } => (PaymentStatus::Settled, Some(reference)),
        PaymentPhase::Refused { reason } => (PaymentStatus::Refused, Some(reason)),
        PaymentPhase::Cancelled => (PaymentStatus::Cancelled, None),
        PaymentPhase::Failed { reason } => (PaymentStatus::Failed, Some(reason)),
    };
    let open = !payment.phase.is_over();
    let order = payments::order(payment);
    PaymentView {
        payment: payment.payment,
        account: payment.account,
        client_payment_id: payment.client_payment_id.clone(),
        direction: match payment.direction {
            PaymentDirection::Deposit => wire::PaymentDirection::Deposit,
            PaymentDirection::Withdrawal => wire::PaymentDirection::Withdrawal,
        },
        amount_nanocredits: payment.amount_nanocredits,
        status,
        note: note.cloned(),
        instructions: open.then(|| provider.instructions(&order)).flatten(),
        requested_at_ms: payment.requested_at_ms,
        changed_at_ms: payment.changed_at_ms,
    }
}

pub(crate) fn payment_direction(direction: wire::PaymentDirection) -> PaymentDirection {
    match direction {
        wire::PaymentDirection::Deposit => PaymentDirection::Deposit,
        wire::PaymentDirection::Withdrawal => PaymentDirection::Withdrawal,
    }
}

/// An order if it is the account's.
pub(crate) fn own_order(core: &Core, account: AccountId, id: OrderId) -> Option<OrderView> {
    core.state.order(id).filter(|info| info.order.owner == account).map(order)
}

pub(crate) fn instruments(core: &Core) -> Vec<InstrumentView> {
    let market = core.state.market();
    market.instruments().map(|(id, found)| instrument(core, id, found)).collect()
}

fn instrument(core: &Core, id: market::InstrumentId, found: &Instrument) -> InstrumentView {
    let market = core.state.market();
    let best = |side| market.levels(id, side).next().map(|level| level.price_nanocredits);
    InstrumentView {
        instrument: found.name.clone(),
        description: found.description.clone(),
        tick_nanocredits_per_tfuel: found.tick_nanocredits,
        memory_mib: found.memory_mib,
        priced_per: match found.priced_per {
            PricedPer::Tfuel => "tfuel".to_owned(),
            PricedPer::Hour => "hour".to_owned(),
            PricedPer::Gigabyte => "gigabyte".to_owned(),
        },
        region: found.region.clone(),
        speed_min_mfuel_per_s: found.speed_min_mfuel_per_s,
        price_min_nanocredits_per_tfuel: found.price_min_nanocredits,
        price_max_nanocredits_per_tfuel: found.price_max_nanocredits,
        lot: found.lot,
        quantity_max: found.quantity_max,
        open_orders_max: found.open_orders_max,
        protection_basis_points: found.protection_basis_points,
        suspended: found.suspended,
        best_ask_nanocredits_per_tfuel: best(Side::Ask),
        best_bid_nanocredits_per_tfuel: best(Side::Bid),
        last_price_nanocredits_per_tfuel: market.last_price(id),
    }
}

/// A level of a book.
pub(crate) fn level(level: Level) -> PriceLevel {
    PriceLevel {
        price_nanocredits_per_tfuel: level.price_nanocredits,
        quantity: level.quantity,
        orders: level.orders,
    }
}

/// A book; `None` when there is no such instrument.
pub(crate) fn book(core: &Core, name: &str) -> Option<BookView> {
    let market = core.state.market();
    let (id, _) = market.instrument(name)?;
    let depth = market.depth(id, limits::BOOK_LEVELS);
    let levels = |levels: Vec<Level>| levels.into_iter().map(level).collect();
    Some(BookView {
        instrument: name.to_owned(),
        bids: levels(depth.bids),
        asks: levels(depth.asks),
        ask_orders: market
            .open_asks(id)
            .take(BOOK_ORDERS)
            .filter_map(|found| core.state.order(found.order).map(order))
            // What a seller calls its order is its own business.
            .map(|order| OrderView { client_order_id: String::new(), ..order })
            .collect(),
    })
}

/// One candle of several that follow each other, newest first.
pub(crate) fn merged(candles: &[CandleView]) -> Option<CandleView> {
    let (newest, oldest) = (candles.first()?, candles.last()?);
    let sum = |of: fn(&CandleView) -> i64| candles.iter().map(of).sum();
    let prices = candles.iter();
    Some(CandleView {
        start_ms: oldest.start_ms,
        open_nanocredits_per_tfuel: oldest.open_nanocredits_per_tfuel,
        high_nanocredits_per_tfuel: prices
            .clone()
            .map(|candle| candle.high_nanocredits_per_tfuel)
            .max()?,
        low_nanocredits_per_tfuel: prices.map(|candle| candle.low_nanocredits_per_tfuel).min()?,
        close_nanocredits_per_tfuel: newest.close_nanocredits_per_tfuel,
        quantity: sum(|candle| candle.quantity),
        turnover_nanocredits_per_tfuel: sum(|candle| candle.turnover_nanocredits_per_tfuel),
        trades: sum(|candle| candle.trades),
        volume_fuel: sum(|candle| candle.volume_fuel),
    })
}
