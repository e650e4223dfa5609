//! What the exchange charges both sides of a trade: basis points of what is paid under a lease,
//! by a schedule with versions. A lease keeps the figures of the version under which it opened.
//!
//! A fee is one floor over everything paid under its lease, like the payment itself, so that it
//! doesn't depend on how many receipts the work came in.

use serde::{Deserialize, Serialize};

/// Basis points in a whole.
pub const BASIS_POINTS: u32 = 10_000;

/// One version of the operator's charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FeeSchedule {
    /// Counts up from 0, which charges nothing.
    pub version: u32,
    /// Whose order rested in the book pays this.
    pub maker_basis_points: u32,
    /// Whose order met it pays this.
    pub taker_basis_points: u32,
}

impl FeeSchedule {
    /// The most that a buyer can come to pay.
    pub fn most_basis_points(&self) -> u32 {
        self.maker_basis_points.max(self.taker_basis_points)
    }

    /// What a lease pays whose buyer's order rested (`buyer_made`) or met a resting one.
    pub fn of_lease(&self, buyer_made: bool) -> LeaseFees {
        let (buyer_basis_points, seller_basis_points) = match buyer_made {
            true => (self.maker_basis_points, self.taker_basis_points),
            false => (self.taker_basis_points, self.maker_basis_points),
        };
        LeaseFees { schedule_version: self.version, buyer_basis_points, seller_basis_points }
    }
}

/// The fees of one lease, for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeaseFees {
    /// The schedule that they come from.
    pub schedule_version: u32,
    /// On top of the price.
    pub buyer_basis_points: u32,
    /// Out of the price.
    pub seller_basis_points: u32,
}

impl LeaseFees {
    /// The buyer's fee on everything paid under a lease.
    pub fn buyer_nanocredits(&self, paid_nanocredits: i64) -> i64 {
        fee_nanocredits(paid_nanocredits, self.buyer_basis_points)
    }

    /// The seller's fee on everything paid under a lease.
    pub fn seller_nanocredits(&self, paid_nanocredits: i64) -> i64 {
        fee_nanocredits(paid_nanocredits, self.seller_basis_points)
    }

    /// What `paid` costs the buyer, fee included.
    pub(crate) fn gross_nanocredits(&self, paid_nanocredits: i64) -> i64 {
        with_fee_nanocredits(paid_nanocredits, self.buyer_basis_points)
    }

    /// The most of `want` that can be paid on top of `paid` so that payment and buyer's fee
    /// together take no more than `limit`.
    pub(crate) fn payable_nanocredits(&self, paid: i64, want: i64, limit: i64) -> i64 {
        let takes = |pay: i64| {
            self.gross_nanocredits(paid.saturating_add(pay)) - self.gross_nanocredits(paid)
        };
        if want <= 0 || takes(want) <= limit {
            return want.max(0);
        }
        // More pay never takes less. `low` fits, `high` doesn't.
        let (mut low, mut high) = (0, want);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if takes(middle) <= limit {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// floor(amount × basis points ÷ 10,000).
fn fee_nanocredits(amount_nanocredits: i64, basis_points: u32) -> i64 {
    let fee = i128::from(amount_nanocredits) * i128::from(basis_points) / i128::from(BASIS_POINTS);
    i64::try_from(fee).unwrap_or(i64::MAX)
}

/// An amount and the fee on it.
pub(crate) fn with_fee_nanocredits(amount_nanocredits: i64, basis_points: u32) -> i64 {
    amount_nanocredits.saturating_add(fee_nanocredits(amount_nanocredits, basis_points))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fees(buyer_basis_points: u32, seller_basis_points: u32) -> LeaseFees {
        LeaseFees { schedule_version: 1, buyer_basis_points, seller_basis_points }
    }

    #[test]
    fn whose_order_rested_pays_the_makers_fee() {
        let schedule = FeeSchedule { version: 3, maker_basis_points: 10, taker_basis_points: 25 };
        let made = schedule.of_lease(true);
        assert_eq!((made.buyer_basis_points, made.seller_basis_points), (10, 25));
        let took = schedule.of_lease(false);
        assert_eq!((took.buyer_basis_points, took.seller_basis_points), (25, 10));
        assert_eq!(schedule.most_basis_points(), 25);
        // Less than a unit is the payer's.
        assert_eq!(fees(25, 0).buyer_nanocredits(399), 0);
        assert_eq!(fees(25, 0).buyer_nanocredits(400), 1);
    }

    proptest! {
        /// However a payment is cut into steps, the fees are those of the whole, no step of a
        /// seller's fee exceeds what that step paid, and a fee is within a unit of its share.
        #[test]
        fn fees_do_not_depend_on_the_steps(
            steps in prop::collection::vec(0i64..10_000_000_000, 1..40),
            buyer in 0u32..=10_000,
            seller in 0u32..=10_000,
        ) {
            let fees = fees(buyer, seller);
            let (mut paid, mut charged, mut withheld) = (0, 0, 0);
            for step in steps {
                let before = (fees.buyer_nanocredits(paid), fees.seller_nanocredits(paid));
                paid += step;
                charged += fees.buyer_nanocredits(paid) - before.0;
                let withheld_now = fees.seller_nanocredits(paid) - before.1;
                prop_assert!((0..=step).contains(&withheld_now));
                withheld += withheld_now;
            }
            let exact = |points: u32| i128::from(paid) * i128::from(points);
            for (fee, points) in [(charged, buyer), (withheld, seller)] {
                let rest = exact(points) - i128::from(fee) * i128::from(BASIS_POINTS);
                prop_assert!((0..i128::from(BASIS_POINTS)).contains(&rest));
            }
        }

        /// What is payable fits the limit, and one unit more does not.
        #[test]
        fn what_is_payable_is_the_most_that_fits(
            paid in 0i64..1_000_000_000_000,
            want in 0i64..1_000_000_000_000,
            limit in 0i64..1_000_000_000_000,
            points in 0u32..=10_000,
        ) {
            let fees = fees(points, 0);
            let takes = |pay: i64| {
                fees.gross_nanocredits(paid + pay) - fees.gross_nanocredits(paid)
            };
            let pay = fees.payable_nanocredits(paid, want, limit);
            prop_assert!((0..=want).contains(&pay) && takes(pay) <= limit);
            prop_assert!(pay == want || takes(pay + 1) > limit);
        }
    }
}
