//! What agents are told: answers to what they asked, news out of committed events, and the
//! Welcome that covers everything they missed.

use base::{AttemptId, MachineId, OrderId};
use clearing::fixed::FixedEvent;
use clearing::{
    AttemptOutcome, AttemptToRun, Command, Event, LeaseEnd, OrderInfo, OrderLink, Rejection,
};
use wire::{AskState, AttemptStart, ToAgent};

use crate::core::Core;
use crate::sequencer::{About, Failure};

/// Everything that the exchange holds about a machine.
pub(crate) fn welcome(core: &Core, machine: MachineId) -> ToAgent {
    ToAgent::Welcome {
        heartbeat_ms: core.heartbeat_ms,
        leases: core.state.machine_open_leases(machine).map(|lease| lease.lease).collect(),
        attempts: core.state.machine_live_attempts(machine).map(attempt_start).collect(),
        asks: core.state.machine_asks(machine).filter_map(ask_state).map(|(_, ask)| ask).collect(),
        fixed_leases: core
            .state
            .fixed_offer(machine)
            .map(|offer| offer.open.iter().copied().collect())
            .unwrap_or_default(),
    }
}

/// The answer to an agent's command. Closing a lease is answered by its LeaseClosed event.
pub(crate) fn answer(
    core: &Core,
    machine: MachineId,
    about: &About,
    result: &Result<Vec<Event>, Failure>,
) -> Option<ToAgent> {
    match (about, result) {
        (About::Receipt { attempt, sequence }, Ok(events)) if ends_lease(events) => {
            Some(ToAgent::ReceiptRejected {
                attempt: *attempt,
                sequence: *sequence,
                code: "equivocation".to_owned(),
                message: format!("two different receipts of {attempt} under {sequence}: stop it"),
                fatal: true,
            })
        }
        (About::Receipt { attempt, sequence }, Ok(_)) => {
            let lease = core.state.attempt(*attempt).and_then(|a| core.state.lease(a.lease));
            Some(ToAgent::ReceiptAccepted {
                attempt: *attempt,
                sequence: *sequence,
                lease_paid_nanocredits: lease.map_or(0, |lease| lease.paid_nanocredits),
            })
        }
        (About::Receipt { attempt, sequence }, Err(failure)) => Some(ToAgent::ReceiptRejected {
            attempt: *attempt,
            sequence: *sequence,
            code: failure.code().to_owned(),
            message: failure.to_string(),
            // What clearing refuses stays refused; a failing disk may be mended.
            fatal: matches!(failure, Failure::Rejected(_)),
        }),
        (About::Ask { client_order_id }, Ok(_)) => core
            .state
            .client_order(machine, client_order_id)
            .and_then(ask_state)
            .map(|(_, ask)| ToAgent::AskState(ask)),
        (About::Cancel { order }, Ok(_)) => ask_message(core, *order).map(|(_, message)| message),
        (About::Close, Ok(_)) => None,
        (About::FixedOffer, Ok(_)) => Some(fixed_offer(core, machine)),
        (About::FixedOffer, Err(failure)) => Some(ToAgent::FixedRefused {
            code: failure.code().to_owned(),
            message: failure.to_string(),
        }),
        (_, Err(failure)) => {
            Some(ToAgent::Refused { code: failure.code().to_owned(), message: failure.to_string() })
        }
    }
}

/// What follows from the answer to an agent's command. A receipt of a live attempt that is
/// refused for good ends the attempt on its machine, so its lease ends, too, and the task goes
/// on elsewhere at once. One of an attempt that is over, or somebody else's, ends nothing.
pub(crate) fn consequence(
    core: &Core,
    machine: MachineId,
    about: &About,
    result: &Result<Vec<Event>, Failure>,
) -> Option<Command> {
    let (About::Receipt { attempt, .. }, Err(Failure::Rejected(rejection))) = (about, result)
    else {
        return None;
    };
    match rejection {
        Rejection::UnknownAttempt { .. }
        | Rejection::WrongMachine { .. }
        | Rejection::WrongLease { .. }
        | Rejection::StaleEpoch { .. }
        | Rejection::AttemptEnded { .. }
        | Rejection::Equivocation { .. } => None,
        _ => close_refused(core, machine, *attempt, rejection.code()),
    }
}

/// Closes the lease of a machine's live attempt, whose receipt was refused.
pub(crate) fn close_refused(
    core: &Core,
    machine: MachineId,
    attempt: AttemptId,
    code: &str,
) -> Option<Command> {
    let live = core.state.attempt_to_run(attempt).filter(|live| live.machine == machine)?;
    let reason = format!("a receipt was refused: {code}");
    Some(Command::FaultLease { machine, lease: live.lease, reason })
}

/// A receipt that has consequences without being accepted is evidence against its machine.
fn ends_lease(events: &[Event]) -> bool {
    let accepted = events.iter().any(|event| matches!(event, Event::ReceiptAccepted { .. }));
    let fault = |event: &Event| match event {
        Event::AttemptEnded { outcome, .. } => *outcome == AttemptOutcome::LeaseEnded,
        _ => false,
    };
    !accepted && events.iter().any(fault)
}

/// Who is told what about committed events, in their order.
pub(crate) fn messages(core: &Core, events: &[Event]) -> Vec<(MachineId, ToAgent)> {
    events.iter().filter_map(|event| message(core, event)).collect()
}

fn message(core: &Core, event: &Event) -> Option<(MachineId, ToAgent)> {
    match event {
        Event::LeaseOpened { lease, job, machine, ask, price_nanocredits_per_tfuel, .. } => {
            let price_nanocredits_per_tfuel = *price_nanocredits_per_tfuel;
            let (lease, job, ask) = (*lease, *job, *ask);
            let opened = ToAgent::LeaseOpened { lease, job, ask, price_nanocredits_per_tfuel };
            Some((*machine, opened))
        }
        Event::LeaseClosed { lease, end, .. } => {
            let found = core.state.lease(*lease)?;
            let closed = ToAgent::LeaseClosed {
                lease: *lease,
                reason: lease_end(end),
                paid_nanocredits: found.paid_nanocredits,
            };
            Some((found.machine, closed))
        }
        Event::AttemptStarted {
            attempt,
            task,
            lease,
            epoch,
            checkpoint,
            usage,
            fuel_allowance,
            ..
        } => {
            let found = core.state.task(*task)?;
            let start = AttemptStart {
                attempt: *attempt,
                lease: *lease,
                job: found.job,
                task: *task,
                epoch: *epoch,
                spec: found.spec,
                checkpoint: *checkpoint,
                usage: *usage,
                receipt_sequence: 0,
                fuel_allowance: *fuel_allowance,
            };
            Some((core.state.lease(*lease)?.machine, ToAgent::StartAttempt(start)))
        }
        Event::AttemptEnded { attempt, outcome, .. } => {
            let found = core.state.attempt(*attempt)?;
            let reason = match outcome {
                // The machine said so itself.
                AttemptOutcome::Reported(_) => return None,
                AttemptOutcome::LeaseEnded => "its lease is over".to_owned(),
                AttemptOutcome::Cancelled => "the job was cancelled".to_owned(),
            };
            Some((found.machine, ToAgent::StopAttempt { attempt: *attempt, reason }))
        }
        Event::Fixed(FixedEvent::Offered { machine, .. }) => {
            Some((*machine, fixed_offer(core, *machine)))
        }
        Event::Fixed(FixedEvent::Opened { lease }) => {
            let opened = ToAgent::FixedOpened {
                lease: lease.lease,
                instrument: lease.instrument.clone(),
                price_nanocredits_per_hour: lease.price_nanocredits_per_hour,
            };
            Some((lease.machine, opened))
        }
        Event::Fixed(FixedEvent::Closed { lease, .. }) => {
            let found = core.state.fixed_lease(*lease)?;
            let closed = ToAgent::FixedClosed {
                lease: *lease,
                paid_nanocredits: found.paid_nanocredits,
                compensated_nanocredits: found.compensated_nanocredits,
            };
            Some((found.machine, closed))
        }
        Event::AskPlaced { order, .. }
        | Event::OrderReduced { order, .. }
        | Event::Filled { ask: order, .. } => ask_message(core, *order),
        _ => None,
    }
}

/// What a machine lets by the hour: nothing, if it never did.
fn fixed_offer(core: &Core, machine: MachineId) -> ToAgent {
    let offer = core.state.fixed_offer(machine);
    ToAgent::FixedOffer {
        instrument: offer.map(|offer| offer.instrument.clone()).unwrap_or_default(),
        units: offer.map_or(0, |offer| offer.units),
        price_nanocredits_per_hour: offer.map_or(0, |offer| offer.price_nanocredits_per_hour),
    }
}

fn ask_message(core: &Core, order: OrderId) -> Option<(MachineId, ToAgent)> {
    let (machine, ask) = ask_state(core.state.order(order)?)?;
    Some((machine, ToAgent::AskState(ask)))
}

fn ask_state(info: OrderInfo<'_>) -> Option<(MachineId, AskState)> {
    let OrderLink::Ask { machine, client_order_id } = info.link else { return None };
    let ask = AskState {
        order: info.order.order,
        client_order_id: client_order_id.clone(),
        instrument: info.instrument.to_owned(),
        leaves_quantity: info.order.leaves_quantity,
        price_nanocredits_per_tfuel: info.order.price_nanocredits,
    };
    Some((*machine, ask))
}

fn attempt_start(run: AttemptToRun) -> AttemptStart {
    AttemptStart {
        attempt: run.attempt,
        lease: run.lease,
        job: run.job,
        task: run.task,
        epoch: run.epoch,
        spec: run.spec,
        checkpoint: run.checkpoint,
        usage: run.usage,
        receipt_sequence: run.receipt_sequence,
        fuel_allowance: run.fuel_allowance,
    }
}

/// Why a lease is over, in words.
pub(crate) fn lease_end(end: &LeaseEnd) -> String {
    match end {
        LeaseEnd::WorkDone => "the job has no more work for it".to_owned(),
        LeaseEnd::JobCancelled => "the job was cancelled".to_owned(),
        LeaseEnd::EscrowSpent => "the job's money covers no more".to_owned(),
        LeaseEnd::Seller { reason } => format!("closed by the seller: {reason}"),
        LeaseEnd::Lapsed => "lapsed".to_owned(),
        LeaseEnd::Fault { reason } => format!("the machine failed: {reason}"),
        LeaseEnd::Term => "its longest term is over".to_owned(),
    }
}
