//! What the exchange forgets, and what it answers when somebody asks for it again: the sketch of
//! what the real one writes into its database.

use std::collections::BTreeSet;

use base::{JobId, LeaseId, MachineId, OrderId, PaymentId, TransferId};
use clearing::fixed::{FixedCommand, fixed_lease_id};
use clearing::payments::{PaymentCommand, payment_id};
use clearing::{Command, Ended, OrderLink, State};

/// How long what is over stays in memory.
const KEEP_MS: i64 = 8_000;

/// What somebody may ask for again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Job(JobId),
    Order(OrderId),
    Ask(MachineId, String),
    Payment(PaymentId),
    Lease(LeaseId),
    Deposit(TransferId),
}

/// Names of what was forgotten.
#[derive(Debug, Clone, Default)]
pub struct Past(BTreeSet<Name>);

impl Past {
    /// Notes what is forgotten of a state that knows it still.
    pub fn keep(&mut self, before: &State, ended: &Ended) {
        let Ended { jobs, orders, payments, fixed_leases, deposits } = ended;
        self.0.extend(jobs.iter().map(|job| Name::Job(*job)));
        self.0.extend(orders.iter().map(|order| Name::Order(*order)));
        self.0.extend(payments.iter().map(|payment| Name::Payment(*payment)));
        self.0.extend(fixed_leases.iter().map(|lease| Name::Lease(*lease)));
        self.0.extend(deposits.iter().map(|deposit| Name::Deposit(*deposit)));
        for order in orders.iter().filter_map(|order| before.order(*order)) {
            if let OrderLink::Ask { machine, client_order_id } = order.link {
                self.0.insert(Name::Ask(*machine, client_order_id.clone()));
            }
        }
    }

    /// Whether a command is about something forgotten: then nothing new happens.
    pub fn answers(&self, command: &Command) -> bool {
        let name = match command {
            Command::SubmitJob { job, .. }
            | Command::CancelJob { job, .. }
            | Command::TopUpJob { job, .. } => Name::Job(*job),
            Command::PlaceAsk { machine, client_order_id, .. } => {
                Name::Ask(*machine, client_order_id.clone())
            }
            Command::CancelOrder { order, .. } => Name::Order(*order),
            Command::Deposit { transfer, .. } => Name::Deposit(*transfer),
            Command::Payment(PaymentCommand::Request { account, client_payment_id, .. }) => {
                Name::Payment(payment_id(*account, client_payment_id))
            }
            Command::Payment(
                PaymentCommand::Cancel { payment, .. } | PaymentCommand::Move { payment, .. },
            ) => Name::Payment(*payment),
            Command::Fixed(FixedCommand::Open { account, client_lease_id, .. }) => {
                Name::Lease(fixed_lease_id(*account, client_lease_id))
            }
            Command::Fixed(
                FixedCommand::Notice { lease, .. } | FixedCommand::Probed { lease, .. },
            ) => Name::Lease(*lease),
            _ => return false,
        };
        self.0.contains(&name)
    }
}

/// What was over for long enough. Of orders and deposits nobody knows since when.
pub fn over(state: &State, now_ms: i64) -> Ended {
    let long_ago = |at_ms: i64| now_ms - at_ms >= KEEP_MS;
    let jobs = state.jobs().filter(|job| job.is_over());
    let jobs = jobs.filter(|job| job.ended_at_ms.is_some_and(long_ago)).map(|job| job.job);
    let payments = state.payments().filter(|payment| payment.phase.is_over());
    let payments = payments.filter(|payment| long_ago(payment.changed_at_ms));
    let fixed = state.fixed_leases();
    let fixed = fixed.filter(|lease| lease.closed.is_some_and(|(at_ms, _)| long_ago(at_ms)));
    let orders = state.orders().filter(|info| !info.order.is_open());
    let orders = orders.filter(|info| long_ago(info.order.placed_at_ms));
    let deposits = state.ledger().all_named().filter(|posted| posted.is_deposit());
    Ended {
        jobs: jobs.collect(),
        orders: orders.map(|info| info.order.order).collect(),
        payments: payments.map(|payment| payment.payment).collect(),
        fixed_leases: fixed.map(|lease| lease.lease).collect(),
        deposits: deposits.map(|posted| posted.transfer).collect(),
    }
}
