//! What memory has forgotten, written down when it is: how it looked in the end, and what answers
//! those who ask for it again under its id.
//!
//! The rows go into the transaction that has the entry by which memory forgets, so each thing is
//! at any moment in memory or written down.

use base::{AccountId, Digest, JobId, MachineId, OrderId, TransferId};
use clearing::fixed::{FixedCommand, FixedRejection, fixed_lease_id};
use clearing::payments::{PaymentCommand, PaymentPhase, PaymentRejection, payment_id};
use clearing::{AccountKey, Command, Ended, Job, Rejection, TransferRejection, top_up_id};
use market::TimeInForce;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::{FixedLeaseView, JobView, OrderView, PaymentStatus, PaymentView};

use crate::core::Core;
use crate::index::Listing;
use crate::invoice;
use crate::payments::ManualPayments;
use crate::sequencer::Failure;
use crate::store::{Past, PastRow, Store, StoreError};
use crate::views;

/// A job without its tasks, which are a row of their own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PastJob {
    pub account: AccountId,
    /// What it was submitted as.
    submission: Digest,
    pub view: JobView,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PastOrder {
    pub owner: AccountId,
    pub view: OrderView,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PastFixedLease {
    limit_nanocredits_per_hour: i64,
    seller: AccountId,
    pub view: FixedLeaseView,
}

impl PastFixedLease {
    /// Whether it is the account's, bought or sold.
    pub fn is_of(&self, account: AccountId) -> bool {
        [self.view.account, self.seller].contains(&account)
    }
}

/// A transfer that somebody may ask for again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PastTransfer {
    to: String,
    amount_nanocredits: i64,
}

/// What is to be written down of what is over and in memory still.
pub(crate) fn rows(core: &Core, ended: &Ended) -> Result<Vec<PastRow>, StoreError> {
    let (state, index) = (&core.state, &core.index);
    let mut rows = Vec::new();
    for job in ended.jobs.iter().filter_map(|job| state.job(*job)) {
        let id = job.job.to_string();
        let mut view = views::whole_job(core, job);
        rows.push(row(Past::Tasks, &id, &view.tasks)?);
        view.tasks.clear();
        let past = PastJob { account: job.account, submission: submission_of(core, job), view };
        rows.push(listed(Past::Job, &index.jobs, job.job, &past)?);
        rows.push(row(Past::Invoice, &id, &invoice::of(state, job))?);
        for lease in state.job_leases(job.job) {
            rows.push(listed(Past::Lease, &index.leases, lease.lease, &views::lease(lease))?);
        }
        let holds = job.holds.iter().filter_map(|hold| state.ledger().named(*hold));
        for hold in holds {
            rows.push(transfer_row(hold.transfer, hold.to, hold.amount_nanocredits)?);
        }
    }
    for info in ended.orders.iter().filter_map(|order| state.order(*order)) {
        let (order, owner, view) = (info.order.order, info.order.owner, views::order(info));
        if let Some(machine) = view.machine {
            let id = client_order(machine, &view.client_order_id);
            rows.push(row(Past::ClientOrder, &id, &order)?);
        }
        rows.push(listed(Past::Order, &index.orders, order, &PastOrder { owner, view })?);
    }
    for payment in ended.payments.iter().filter_map(|payment| state.payment(*payment)) {
        // What is over has no instructions, whoever the provider is.
        let view = views::payment(&ManualPayments, payment);
        rows.push(listed(Past::Payment, &index.payments, payment.payment, &view)?);
    }
    for lease in ended.fixed_leases.iter().filter_map(|lease| state.fixed_lease(*lease)) {
        let past = PastFixedLease {
            limit_nanocredits_per_hour: lease.limit_nanocredits_per_hour,
            seller: state.seller_of(lease),
            view: views::fixed::lease(core, lease),
        };
        rows.push(listed(Past::FixedLease, &index.fixed_leases, lease.lease, &past)?);
    }
    for deposit in ended.deposits.iter().filter_map(|id| state.ledger().named(*id)) {
        rows.push(transfer_row(deposit.transfer, deposit.to, deposit.amount_nanocredits)?);
    }
    Ok(rows)
}

fn row(past: Past, id: &str, view: &impl Serialize) -> Result<PastRow, StoreError> {
    let view = serde_json::to_string(view).map_err(StoreError::Encode)?;
    Ok(PastRow { past, id: id.to_owned(), view, at: 0, owners: Vec::new() })
}

fn listed<I: Copy + Ord + ToString>(
    past: Past,
    listing: &Listing<I>,
    id: I,
    view: &impl Serialize,
) -> Result<PastRow, StoreError> {
    let mut row = row(past, &id.to_string(), view)?;
    if let Some((at, owners)) = listing.place(id) {
        (row.at, row.owners) = (at, owners.to_vec());
        // Who lets to himself has one row, as in memory.
        row.owners.dedup();
    }
    Ok(row)
}

fn transfer_row(
    transfer: TransferId,
    to: AccountKey,
    amount_nanocredits: i64,
) -> Result<PastRow, StoreError> {
    let past = PastTransfer { to: to.to_string(), amount_nanocredits };
    row(Past::Transfer, &transfer.to_string(), &past)
}

/// The id under which an ask is found by its client's own.
pub(crate) fn client_order(machine: MachineId, client_order_id: &str) -> String {
    format!("{machine}:{client_order_id}")
}

/// Everything that a repeated submission must repeat.
type Submission<'a> = (
    AccountId,
    &'a str,
    &'a str,
    Vec<Digest>,
    (i64, u32, i64),
    Option<OrderId>,
    &'a market::Filters,
);

fn submission(content: &Submission<'_>) -> Digest {
    // Of plain structs: it can be encoded.
    Digest::of(&serde_json::to_vec(content).unwrap_or_default())
}

fn submission_of(core: &Core, job: &Job) -> Digest {
    let specs = core.state.job_tasks(job.job).map(|task| task.spec).collect();
    let limits = (job.max_price_nanocredits_per_tfuel, job.slots, job.submitted_budget_nanocredits);
    submission(&(job.account, &job.name, &job.instrument, specs, limits, job.ask, &job.filters))
}

/// What a command comes to that is about something forgotten: nothing new happens. `None` when it
/// is about something else, and memory decides.
pub(crate) fn answer(
    store: &mut dyn Store,
    core: &Core,
    command: &Command,
) -> Result<Option<Result<(), Failure>>, StoreError> {
    let state = &core.state;
    let found = match command {
        Command::SubmitJob { job, .. } if state.job(*job).is_none() => {
            job_of(store, *job)?.map(|past| submitted_again(&past, command))
        }
        Command::CancelJob { account, job } if state.job(*job).is_none() => {
            job_of(store, *job)?.filter(|past| past.account == *account).map(|_| Ok(()))
        }
        Command::TopUpJob { account, job, transfer, amount_nanocredits }
            if state.job(*job).is_none() =>
        {
            let Some(_) = job_of(store, *job)?.filter(|past| past.account == *account) else {
                return Ok(None);
            };
            let to = AccountKey::Escrow(*job).to_string();
            let asked = PastTransfer { to, amount_nanocredits: *amount_nanocredits };
            let past: Option<PastTransfer> =
                find(store, Past::Transfer, &top_up_id(*account, *transfer).to_string())?;
            Some(match past {
                Some(past) if past == asked => Ok(()),
                Some(_) => Err(Rejection::TopUpConflict { transfer: *transfer }),
                None => Err(Rejection::JobOver { job: *job }),
            })
        }
        Command::Deposit { transfer, account, amount_nanocredits }
            if state.ledger().named(*transfer).is_none() =>
        {
            let to = AccountKey::Available(*account).to_string();
            let asked = PastTransfer { to, amount_nanocredits: *amount_nanocredits };
            let past: Option<PastTransfer> = find(store, Past::Transfer, &transfer.to_string())?;
            past.map(|past| match past == asked {
                true => Ok(()),
                false => Err(TransferRejection::TransferConflict { transfer: *transfer }.into()),
            })
        }
        Command::PlaceAsk { machine, client_order_id, .. }
            if state.client_order(*machine, client_order_id).is_none() =>
        {
            let id = client_order(*machine, client_order_id);
            let order: Option<OrderId> = find(store, Past::ClientOrder, &id)?;
            let Some(order) = order else { return Ok(None) };
            order_of(store, order)?.map(|past| placed_again(&past.view, command))
        }
        Command::CancelOrder { account, order } if state.order(*order).is_none() => {
            let past = order_of(store, *order)?.filter(|past| past.owner == *account);
            past.map(|past| match past.view.job {
                Some(job) => Err(Rejection::BidOfJob { job }),
                None => Ok(()),
            })
        }
        Command::Payment(command) => payment(store, core, command)?,
        Command::Fixed(command) => fixed(store, core, command)?,
        _ => None,
    };
    Ok(found.map(|answer| answer.map_err(Failure::Rejected)))
}

fn submitted_again(past: &PastJob, command: &Command) -> Result<(), Rejection> {
    let Command::SubmitJob {
        account,
        job,
        name,
        instrument,
        tasks,
        max_price_nanocredits_per_tfuel: price,
        slots,
        budget_nanocredits: budget,
        ask,
        filters,
    } = command
    else {
        return Ok(());
    };
    let specs = tasks.iter().map(|task| task.spec).collect();
    let limits = (*price, *slots, *budget);
    let asked = submission(&(*account, name, instrument, specs, limits, *ask, filters));
    if asked == past.submission { Ok(()) } else { Err(Rejection::JobConflict { job: *job }) }
}

fn placed_again(past: &OrderView, command: &Command) -> Result<(), Rejection> {
    let Command::PlaceAsk {
        client_order_id,
        instrument,
        quantity,
        price_nanocredits_per_tfuel: price,
        market,
        time_in_force,
        post_only,
        ..
    } = command
    else {
        return Ok(());
    };
    let wait = match time_in_force {
        TimeInForce::Gtc => (wire::TimeInForce::Gtc, None),
        TimeInForce::Gtt { until_ms } => (wire::TimeInForce::Gtt, Some(*until_ms)),
        TimeInForce::Ioc => (wire::TimeInForce::Ioc, None),
        TimeInForce::Fok => (wire::TimeInForce::Fok, None),
    };
    let limit = (past.price_nanocredits_per_tfuel, (past.time_in_force, past.expires_at_ms));
    let same = (&past.instrument, past.quantity, past.post_only)
        == (instrument, *quantity, *post_only)
        && (*market || limit == (*price, wait));
    match same {
        true => Ok(()),
        false => Err(Rejection::ClientOrderConflict { client_order_id: client_order_id.clone() }),
    }
}

fn payment(
    store: &mut dyn Store,
    core: &Core,
    command: &PaymentCommand,
) -> Result<Option<Result<(), Rejection>>, StoreError> {
    let id = match command {
        PaymentCommand::Request { account, client_payment_id, .. } => {
            payment_id(*account, client_payment_id)
        }
        PaymentCommand::Cancel { payment, .. } | PaymentCommand::Move { payment, .. } => *payment,
    };
    if core.state.payment(id).is_some() {
        return Ok(None);
    }
    let past: Option<PaymentView> = find(store, Past::Payment, &id.to_string())?;
    let Some(past) = past else { return Ok(None) };
    let over = |to: &PaymentPhase| {
        let (phase, to) = (past.status.name(), to.name());
        let next = "it is over; request another one";
        Err(PaymentRejection::Phase { payment: id, phase, to, next }.into())
    };
    Ok(match command {
        PaymentCommand::Request { client_payment_id, direction, amount_nanocredits, .. } => {
            let same = views::payment_direction(past.direction) == *direction
                && past.amount_nanocredits == *amount_nanocredits;
            let client_payment_id = client_payment_id.clone();
            Some(match same {
                true => Ok(()),
                false => Err(PaymentRejection::Conflict { client_payment_id }.into()),
            })
        }
        PaymentCommand::Cancel { account, .. } if past.account != *account => None,
        PaymentCommand::Cancel { .. } if past.status == PaymentStatus::Cancelled => Some(Ok(())),
        PaymentCommand::Cancel { .. } => Some(over(&PaymentPhase::Cancelled)),
        PaymentCommand::Move { to, .. } => {
            let note = match to {
                PaymentPhase::Settled { reference: note }
                | PaymentPhase::Refused { reason: note }
                | PaymentPhase::Failed { reason: note } => Some(note),
                _ => None,
            };
            let same = past.status.name() == to.name() && past.note.as_ref() == note;
            Some(if same { Ok(()) } else { over(to) })
        }
    })
}

fn fixed(
    store: &mut dyn Store,
    core: &Core,
    command: &FixedCommand,
) -> Result<Option<Result<(), Rejection>>, StoreError> {
    let lease = match command {
        FixedCommand::Open { account, client_lease_id, .. } => {
            fixed_lease_id(*account, client_lease_id)
        }
        FixedCommand::Notice { lease, .. } => *lease,
        FixedCommand::Offer { .. } | FixedCommand::Probed { .. } => return Ok(None),
    };
    if core.state.fixed_lease(lease).is_some() {
        return Ok(None);
    }
    let past: Option<PastFixedLease> = find(store, Past::FixedLease, &lease.to_string())?;
    let Some(past) = past else { return Ok(None) };
    Ok(match command {
        FixedCommand::Open { client_lease_id, instrument, limit_nanocredits_per_hour, .. } => {
            let same = past.view.instrument == *instrument
                && past.limit_nanocredits_per_hour == *limit_nanocredits_per_hour;
            let client_lease_id = client_lease_id.clone();
            Some(match same {
                true => Ok(()),
                false => Err(FixedRejection::Conflict { client_lease_id }.into()),
            })
        }
        FixedCommand::Notice { account, .. } => past.is_of(*account).then_some(Ok(())),
        FixedCommand::Offer { .. } | FixedCommand::Probed { .. } => None,
    })
}

fn job_of(store: &mut dyn Store, job: JobId) -> Result<Option<PastJob>, StoreError> {
    find(store, Past::Job, &job.to_string())
}

fn order_of(store: &mut dyn Store, order: OrderId) -> Result<Option<PastOrder>, StoreError> {
    find(store, Past::Order, &order.to_string())
}

fn find<T: DeserializeOwned>(
    store: &mut dyn Store,
    past: Past,
    id: &str,
) -> Result<Option<T>, StoreError> {
    store.past(past, id)?.map(|view| read(past, &view)).transpose()
}

/// What a row says.
pub(crate) fn read<T: DeserializeOwned>(past: Past, view: &str) -> Result<T, StoreError> {
    serde_json::from_str(view)
        .map_err(|_| StoreError::Damaged { what: past.name(), value: view.to_owned() })
}
