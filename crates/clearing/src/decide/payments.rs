//! Money in and out, and what the operator charges.

use base::{AccountId, PaymentId};
use ledger::AccountKey;

use super::{Desk, not_found};
use crate::event::{Event, TransferReason};
use crate::fees::FeeSchedule;
use crate::payments::{
    Payment, PaymentCommand, PaymentDirection, PaymentEvent, PaymentPhase, PaymentRejection,
    payment_id,
};
use crate::rejection::Rejection;

impl Desk<'_> {
    pub(super) fn payment(&mut self, command: &PaymentCommand) -> Result<(), Rejection> {
        match command {
            PaymentCommand::Request {
                account,
                client_payment_id,
                direction,
                amount_nanocredits,
            } => self.request_payment(*account, client_payment_id, *direction, *amount_nanocredits),
            PaymentCommand::Cancel { account, payment } => self.cancel_payment(*account, *payment),
            PaymentCommand::Move { payment, to } => self.move_payment(*payment, to),
        }
    }

    fn request_payment(
        &mut self,
        account: AccountId,
        client_payment_id: &str,
        direction: PaymentDirection,
        amount_nanocredits: i64,
    ) -> Result<(), Rejection> {
        let Some(asking) = self.state.accounts.get(&account) else {
            return Err(not_found("account", account));
        };
        let open = asking.open_payments.len();
        self.check_text("client_payment_id", client_payment_id)?;
        let payment = payment_id(account, client_payment_id);
        if let Some(known) = self.state.payments.get(&payment) {
            let same =
                known.direction == direction && known.amount_nanocredits == amount_nanocredits;
            let client_payment_id = client_payment_id.to_owned();
            return match same {
                true => Ok(()),
                false => Err(PaymentRejection::Conflict { client_payment_id }.into()),
            };
        }
        self.check_amount(amount_nanocredits)?;
        if open >= self.state.rules.open_payments_max {
            return Err(PaymentRejection::TooMany { open }.into());
        }
        if direction == PaymentDirection::Withdrawal {
            self.check_funds(account, amount_nanocredits)?;
        }
        self.push(Event::Payment(PaymentEvent::Requested {
            payment,
            account,
            client_payment_id: client_payment_id.to_owned(),
            direction,
            amount_nanocredits,
            at_ms: self.now_ms(),
        }));
        if direction == PaymentDirection::Withdrawal {
            let (from, to) = (AccountKey::Available(account), AccountKey::Outgoing(account));
            self.transfer(from, to, amount_nanocredits, TransferReason::Payment { payment });
        }
        Ok(())
    }

    /// Cancelling what is cancelled is no error: it is what the caller wanted.
    fn cancel_payment(&mut self, account: AccountId, payment: PaymentId) -> Result<(), Rejection> {
        let own = self
            .state
            .payments
            .get(&payment)
            .filter(|found| found.account == account)
            .ok_or_else(|| not_found("payment", payment))?;
        match own.phase {
            PaymentPhase::Cancelled => Ok(()),
            PaymentPhase::Requested => {
                self.conclude(payment, PaymentPhase::Cancelled);
                Ok(())
            }
            _ => Err(phase_rejection(own, &PaymentPhase::Cancelled)),
        }
    }

    fn move_payment(&mut self, payment: PaymentId, to: &PaymentPhase) -> Result<(), Rejection> {
        let moving =
            self.state.payments.get(&payment).ok_or_else(|| not_found("payment", payment))?;
        if let PaymentPhase::Settled { reference: text }
        | PaymentPhase::Refused { reason: text }
        | PaymentPhase::Failed { reason: text } = to
        {
            self.check_text("the reference or reason", text)?;
        }
        // Said again, it is no more than it was.
        if moving.phase == *to {
            return Ok(());
        }
        let allowed = match moving.phase {
            PaymentPhase::Requested => {
                matches!(to, PaymentPhase::Approved | PaymentPhase::Refused { .. })
            }
            PaymentPhase::Approved => {
                matches!(to, PaymentPhase::Settled { .. } | PaymentPhase::Failed { .. })
            }
            _ => false,
        };
        if !allowed {
            return Err(phase_rejection(moving, to));
        }
        self.conclude(payment, to.clone());
        Ok(())
    }

    /// Moves a payment to a phase, and with it the money that belongs there.
    fn conclude(&mut self, payment: PaymentId, to: PaymentPhase) {
        let Payment { account, direction, amount_nanocredits, .. } = self.state.payments[&payment];
        let settled = matches!(to, PaymentPhase::Settled { .. });
        let over = to.is_over();
        let at_ms = self.now_ms();
        self.push(Event::Payment(PaymentEvent::Moved { payment, to, at_ms }));
        let (available, outgoing) = (AccountKey::Available(account), AccountKey::Outgoing(account));
        let (from, into) = match direction {
            PaymentDirection::Deposit if settled => (AccountKey::Outside, available),
            PaymentDirection::Withdrawal if settled => (outgoing, AccountKey::Outside),
            PaymentDirection::Withdrawal if over => (outgoing, available),
            _ => return,
        };
        self.transfer(from, into, amount_nanocredits, TransferReason::Payment { payment });
    }

    /// A new version of the charges, for leases that open from now on.
    pub(super) fn set_fees(
        &mut self,
        maker_basis_points: u32,
        taker_basis_points: u32,
    ) -> Result<(), Rejection> {
        let max = self.state.rules.fee_basis_points_max;
        for basis_points in [maker_basis_points, taker_basis_points] {
            if basis_points > max {
                return Err(Rejection::FeeOutOfRange { basis_points, max });
            }
        }
        let current = self.state.fees();
        if (current.maker_basis_points, current.taker_basis_points)
            == (maker_basis_points, taker_basis_points)
        {
            return Ok(());
        }
        let version = current.version + 1;
        let schedule = FeeSchedule { version, maker_basis_points, taker_basis_points };
        self.push(Event::FeesSet { schedule, at_ms: self.now_ms() });
        Ok(())
    }
}

fn phase_rejection(payment: &Payment, to: &PaymentPhase) -> Rejection {
    let next = match payment.phase {
        PaymentPhase::Requested => "approve or refuse it first",
        PaymentPhase::Approved => "settle it, or say that it failed",
        _ => "it is over; request another one",
    };
    let (phase, to) = (payment.phase.name(), to.name());
    PaymentRejection::Phase { payment: payment.payment, phase, to, next }.into()
}
