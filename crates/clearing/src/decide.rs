//! Commands into events. Every rule first checks everything that can refuse the command, and
//! only then pushes its first event, so that a rejection changes nothing.

mod accounts;
mod fixed;
mod forget;
mod instruments;
mod jobs;
mod leases;
mod orders;
mod payments;
mod receipts;
mod sellers;
mod submission;

pub(crate) use instruments::qualifies;
pub use sellers::MACHINE_FAULTS;
pub use submission::top_up_id;

use base::{AttemptId, LeaseId, OrderId, TransferId};
use ledger::AccountKey;
use market::Scan;

use crate::command::{Command, Context};
use crate::event::{Event, TransferReason};
use crate::rejection::Rejection;
use crate::state::State;

/// Decides a command and folds its events into the state.
///
/// The state is changed exactly by folding the returned events with [`State::evolve`]; a
/// rejection changes nothing. Working in place spares a copy of the state per command:
/// [`decide`] is the same on a copy.
pub fn apply(
    state: &mut State,
    context: Context,
    command: &Command,
) -> Result<Vec<Event>, Rejection> {
    let mut desk = Desk { state, context, events: Vec::new(), scan: Scan::default() };
    desk.handle(command)?;
    Ok(desk.events)
}

/// Decides a command without changing anything: for tests and for questions of what if.
pub fn decide(state: &State, context: Context, command: &Command) -> Result<Vec<Event>, Rejection> {
    apply(&mut state.clone(), context, command)
}

/// One command on its way: each event is folded as it is pushed, so that the next rule sees
/// what the last one did.
struct Desk<'a> {
    state: &'a mut State,
    context: Context,
    events: Vec<Event>,
    scan: Scan,
}

impl Desk<'_> {
    fn handle(&mut self, command: &Command) -> Result<(), Rejection> {
        match command {
            Command::OpenAccount { account, name } => self.open_account(*account, name),
            Command::Deposit { transfer, account, amount_nanocredits } => {
                self.deposit(*transfer, *account, *amount_nanocredits)
            }
            Command::Payment(command) => self.payment(command),
            Command::Fixed(command) => self.fixed(command),
            Command::SetFees { maker_basis_points, taker_basis_points } => {
                self.set_fees(*maker_basis_points, *taker_basis_points)
            }
            Command::EnrolMachine { machine, owner, public_key, name } => {
                self.enrol_machine(*machine, *owner, *public_key, name)
            }
            Command::RetireMachine { account, machine } => self.retire_machine(*account, *machine),
            Command::SetOffer { machine, slots, memory_mib_per_slot, transforms, region } => {
                self.set_offer(*machine, *slots, *memory_mib_per_slot, transforms, region)
            }
            Command::MeasureSpeed { machine, speed_mfuel_per_s } => {
                self.measure_speed(*machine, *speed_mfuel_per_s)
            }
            Command::MeasureMemory { machine, memory_mib_per_slot } => {
                self.measure_memory(*machine, *memory_mib_per_slot)
            }
            Command::PlaceAsk { .. } => self.place_ask(command),
            Command::CancelOrder { account, order } => self.cancel_order(*account, *order),
            Command::CancelOrders { account, instrument } => {
                self.cancel_orders(*account, instrument.as_deref())
            }
            Command::CancelAfter { account, after_ms } => self.cancel_after(*account, *after_ms),
            Command::SetInstrument { instrument } => {
                self.set_instruments(std::slice::from_ref(instrument), false)
            }
            Command::SetInstruments { instruments } => self.set_instruments(instruments, true),
            Command::SubmitJob { .. } => self.submit_job(command),
            Command::TopUpJob { account, job, transfer, amount_nanocredits } => {
                self.top_up_job(*account, *job, *transfer, *amount_nanocredits)
            }
            Command::CancelJob { account, job } => self.cancel_job(*account, *job),
            Command::AcceptReceipt { .. } => self.accept_receipt(command),
            Command::CloseLease { machine, lease, reason } => {
                self.close_lease_by_seller(*machine, *lease, reason)
            }
            Command::FaultLease { machine, lease, reason } => {
                self.fault_lease_by_rule(*machine, *lease, reason)
            }
            Command::LapseMachine { machine } => self.lapse_machine(*machine),
            Command::Forget { ended } => {
                self.forget(ended);
                Ok(())
            }
            Command::Tick => {
                self.end_overdue();
                self.fixed_tick();
                self.trip_switches();
                self.tick_book();
                Ok(())
            }
        }
    }

    fn push(&mut self, event: Event) {
        self.state.evolve(&event);
        self.events.push(event);
    }

    fn now_ms(&self) -> i64 {
        self.context.now_ms
    }

    /// What the id of the event that is pushed next derives from.
    fn name(&self) -> ([u8; 8], [u8; 8]) {
        (self.context.sequence.to_be_bytes(), (self.events.len() as u64).to_be_bytes())
    }

    fn next_order(&self) -> OrderId {
        let (sequence, event) = self.name();
        OrderId::derive(&[&sequence, &event])
    }

    fn next_lease(&self) -> LeaseId {
        let (sequence, event) = self.name();
        LeaseId::derive(&[&sequence, &event])
    }

    fn next_attempt(&self) -> AttemptId {
        let (sequence, event) = self.name();
        AttemptId::derive(&[&sequence, &event])
    }

    /// Moves money that is known to be there.
    fn transfer(
        &mut self,
        from: AccountKey,
        to: AccountKey,
        amount_nanocredits: i64,
        reason: TransferReason,
    ) {
        let (sequence, event) = self.name();
        // Deposits name their transfers themselves. Should one have guessed this id, take the
        // next: an id that is taken must not stop a settlement.
        let transfer = (0u64..)
            .map(|salt| TransferId::derive(&[&sequence, &event, &salt.to_be_bytes()]))
            .find(|id| self.state.ledger.named(*id).is_none())
            .expect("some id is free");
        self.push(Event::Transferred { transfer, from, to, amount_nanocredits, reason });
    }

    fn check_text(&self, what: &'static str, text: &str) -> Result<(), Rejection> {
        let max = self.state.rules.text_max_bytes;
        if text.is_empty() || text.len() > max {
            return Err(Rejection::TextLength { what, bytes: text.len(), max });
        }
        Ok(())
    }

    fn check_amount(&self, amount_nanocredits: i64) -> Result<(), Rejection> {
        let max = self.state.rules.amount_max_nanocredits;
        if !(1..=max).contains(&amount_nanocredits) {
            return Err(Rejection::AmountOutOfRange { amount_nanocredits, max });
        }
        Ok(())
    }

    /// A reason from outside, cut to what is stored.
    fn cut_text(&self, text: &str) -> String {
        let max = self.state.rules.text_max_bytes;
        let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        text[..end.unwrap_or(0)].to_owned()
    }
}

fn not_found(what: &'static str, id: impl ToString) -> Rejection {
    Rejection::NotFound { what, id: id.to_string() }
}
