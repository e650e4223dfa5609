//! Forgetting what is over: history is kept elsewhere, and memory holds what lives.

use super::Desk;
use crate::event::Event;
use crate::forget::Ended;

impl Desk<'_> {
    /// Forgets of these what is over. What isn't, or is forgotten already, is left out.
    pub(super) fn forget(&mut self, ended: &Ended) {
        let state = &self.state;
        let ended = Ended {
            jobs: chosen(&ended.jobs, |job| state.jobs.get(job).is_some_and(|job| job.is_over())),
            orders: chosen(&ended.orders, |order| state.ended_orders.contains_key(order)),
            payments: chosen(&ended.payments, |payment| {
                state.payments.get(payment).is_some_and(|payment| payment.phase.is_over())
            }),
            fixed_leases: chosen(&ended.fixed_leases, |lease| {
                state.fixed_leases.get(lease).is_some_and(|lease| lease.closed.is_some())
            }),
            deposits: chosen(&ended.deposits, |transfer| {
                state.ledger.named(*transfer).is_some_and(|posted| posted.is_deposit())
            }),
        };
        if !ended.is_empty() {
            self.push(Event::Forgotten { ended });
        }
    }
}

/// Those that fit, each once.
fn chosen<T: Copy + Ord>(given: &[T], fits: impl Fn(&T) -> bool) -> Vec<T> {
    let mut chosen: Vec<T> = given.iter().filter(|id| fits(id)).copied().collect();
    chosen.sort();
    chosen.dedup();
    chosen
}
