//! Letting go of what is over.

use base::{JobId, OrderId};

use super::FITS;
use crate::forget::Ended;
use crate::records::OrderLink;
use crate::state::State;

impl State {
    pub(super) fn fold_forgotten(&mut self, ended: &Ended) {
        for job in &ended.jobs {
            self.forget_job(*job);
        }
        for order in &ended.orders {
            self.forget_order(*order);
        }
        for payment in &ended.payments {
            self.payments.remove(payment).expect(FITS);
        }
        for lease in &ended.fixed_leases {
            self.fixed_leases.remove(lease).expect(FITS);
        }
        for transfer in &ended.deposits {
            self.ledger.forget(*transfer);
        }
    }

    fn forget_job(&mut self, job: JobId) {
        let forgotten = self.jobs.remove(&job).expect(FITS);
        for task in &forgotten.tasks {
            let task = self.tasks.remove(task).expect(FITS);
            for attempt in &task.attempts {
                self.attempts.remove(attempt).expect(FITS);
            }
        }
        for lease in &forgotten.leases {
            self.leases.remove(lease).expect(FITS);
        }
        for transfer in &forgotten.holds {
            self.ledger.forget(*transfer);
        }
        let account = self.accounts.get_mut(&forgotten.account).expect(FITS);
        account.jobs.retain(|other| *other != job);
    }

    fn forget_order(&mut self, order: OrderId) {
        self.ended_orders.remove(&order).expect(FITS);
        let link = self.order_links.remove(&order).expect(FITS);
        if let OrderLink::Ask { machine, client_order_id } = link {
            let named = (machine, client_order_id);
            if self.client_orders.get(&named) == Some(&order) {
                self.client_orders.remove(&named);
            }
        }
    }
}
