//! What is over, and may be forgotten.
//!
//! Everything that ends stays in the state for a while, because news of it is on its way and
//! somebody may ask again for what was done. Then an edge that has written down how it ended asks
//! for it to be forgotten, and from then on answers for it. What is forgotten is named in the
//! event, so a replay forgets the same; nothing that lives depends on it.

use base::{JobId, LeaseId, OrderId, PaymentId, TransferId};
use serde::{Deserialize, Serialize};

/// Things that are over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ended {
    /// With their tasks, attempts and leases.
    pub jobs: Vec<JobId>,
    /// Orders that left the book.
    pub orders: Vec<OrderId>,
    /// Payments.
    pub payments: Vec<PaymentId>,
    /// Leases for a fixed time.
    pub fixed_leases: Vec<LeaseId>,
    /// The ids of deposits.
    pub deposits: Vec<TransferId>,
}

impl Ended {
    /// How many.
    pub fn len(&self) -> usize {
        let Ended { jobs, orders, payments, fixed_leases, deposits } = self;
        jobs.len() + orders.len() + payments.len() + fixed_leases.len() + deposits.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
