//! Folding what happened to payments.

use super::FITS;
use crate::payments::{Payment, PaymentEvent, PaymentPhase};
use crate::state::State;

impl State {
    pub(super) fn fold_payment(&mut self, event: &PaymentEvent) {
        match event {
            PaymentEvent::Requested {
                payment,
                account,
                client_payment_id,
                direction,
                amount_nanocredits,
                at_ms,
            } => {
                let requested = Payment {
                    payment: *payment,
                    account: *account,
                    client_payment_id: client_payment_id.clone(),
                    direction: *direction,
                    amount_nanocredits: *amount_nanocredits,
                    phase: PaymentPhase::Requested,
                    requested_at_ms: *at_ms,
                    changed_at_ms: *at_ms,
                };
                assert!(self.payments.insert(*payment, requested).is_none(), "{FITS}");
                self.accounts.get_mut(account).expect(FITS).open_payments.insert(*payment);
            }
            PaymentEvent::Moved { payment, to, at_ms } => {
                let moved = self.payments.get_mut(payment).expect(FITS);
                moved.phase = to.clone();
                moved.changed_at_ms = *at_ms;
                if to.is_over() {
                    let account = moved.account;
                    self.accounts.get_mut(&account).expect(FITS).open_payments.remove(payment);
                }
            }
        }
    }
}
