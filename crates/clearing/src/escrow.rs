//! How much work a job's escrow covers.
//!
//! Every live attempt has a reserve: the worst that the rest of its allowance can cost, by the
//! same bounds that its receipts are checked against ([`crate::figures`]). What escrow holds
//! beyond all reserves is *unreserved* and is what new attempts are started from. So a buyer's
//! money runs out by computation, before the work, never below zero, and what was accepted is
//! paid in full.
//!
//! A receipt moves money from its attempt's reserve to the seller and never makes reserve plus
//! pay larger: both come from one floor over the lease's whole usage.

use base::{AttemptId, JobId, TASK_FUEL_MAX, TaskId, Usage};

use crate::fees::{FeeSchedule, with_fee_nanocredits};
use crate::figures::TaskFigures;
use crate::records::{Attempt, Lease};
use crate::rules::Rules;
use crate::state::State;
use crate::tariff::Tariff;

/// The worst that a task's next attempt can cost at one price.
pub(crate) struct WorstCase<'a> {
    rules: &'a Rules,
    figures: &'a TaskFigures,
    /// The task's usage where the attempt begins.
    from: Usage,
    price_nanocredits_per_tfuel: i64,
    /// The buyer's fee.
    basis_points: u32,
}

impl<'a> WorstCase<'a> {
    pub(crate) fn new(
        rules: &'a Rules,
        figures: &'a TaskFigures,
        from: Usage,
        price_nanocredits_per_tfuel: i64,
        basis_points: u32,
    ) -> Self {
        WorstCase { rules, figures, from, price_nanocredits_per_tfuel, basis_points }
    }

    /// What an attempt that has `fuel` to go can cost. One more nanocredit, because the lease's
    /// floor may release what an earlier attempt's fraction left, and so may the fee's.
    pub(crate) fn cost(&self, fuel: u64) -> i64 {
        let allowance = self.from.fuel.saturating_add(fuel);
        let most = self.figures.fuel_most(allowance, self.rules.overshoot_fuel);
        let payment = Tariff::current()
            .payment_nanocredits(
                self.price_nanocredits_per_tfuel,
                self.figures.usage_most(self.from, most),
            )
            .saturating_add(1);
        with_fee_nanocredits(payment, self.basis_points)
            .saturating_add(i64::from(self.basis_points > 0))
    }

    /// What the least that is worth starting can cost.
    pub(crate) fn least(&self) -> i64 {
        self.cost(self.rules.useful_fuel_min)
    }

    /// The most fuel whose cost fits `money_nanocredits`; `None` when that isn't worth starting.
    pub(crate) fn covered_fuel(&self, money_nanocredits: i64) -> Option<u64> {
        if money_nanocredits < self.least() {
            return None;
        }
        // More fuel never costs less. `low` fits, `high` doesn't or is past the end.
        let (mut low, mut high) = (self.rules.useful_fuel_min, TASK_FUEL_MAX);
        if self.cost(high) <= money_nanocredits {
            return Some(high);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.cost(middle) <= money_nanocredits {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(low)
    }
}

impl State {
    /// What a live attempt's lease may still be due: all that isn't paid yet of what it was
    /// credited, and the worst that the rest of the allowance can cost.
    pub(crate) fn reserve_nanocredits(&self, attempt: &Attempt) -> i64 {
        let lease = &self.leases[&attempt.lease];
        let figures = &self.tasks[&attempt.task].figures;
        let fuel = figures.fuel_most(attempt.fuel_allowance, self.rules.overshoot_fuel);
        let most = figures.usage_most(attempt.usage, fuel);
        let usage = lease.usage.plus(most).unwrap_or(MOST);
        let due = lease.fees.gross_nanocredits(self.due_for_nanocredits(lease, usage));
        due.saturating_sub(lease.fees.gross_nanocredits(lease.paid_nanocredits))
    }

    /// What escrow holds beyond the reserves of a job's live attempts, `except` left out.
    pub(crate) fn unreserved_nanocredits(&self, job: JobId, except: Option<AttemptId>) -> i64 {
        let reserved: i128 = self.jobs[&job]
            .live
            .iter()
            .filter(|attempt| Some(**attempt) != except)
            .map(|attempt| i128::from(self.reserve_nanocredits(&self.attempts[attempt])))
            .sum();
        let unreserved = i128::from(self.escrow_nanocredits(job)) - reserved;
        i64::try_from(unreserved.max(0)).unwrap_or(i64::MAX)
    }

    /// The charges under which leases open now.
    pub fn fees(&self) -> FeeSchedule {
        self.fees.last_key_value().map(|(_, schedule)| *schedule).unwrap_or_default()
    }

    /// What is due for a lease in all: one floor over everything credited to it.
    pub fn due_nanocredits(&self, lease: &Lease) -> i64 {
        self.due_for_nanocredits(lease, lease.usage)
    }

    fn due_for_nanocredits(&self, lease: &Lease, usage: Usage) -> i64 {
        Tariff::of_version(lease.tariff_version)
            .expect("a lease is opened under a known tariff")
            .payment_nanocredits(lease.price_nanocredits_per_tfuel, usage)
    }

    /// Slots that a job could use now, were its money no object.
    pub(crate) fn slots_wanted(&self, job: JobId) -> u32 {
        let job = &self.jobs[&job];
        let free = (job.slots as usize).saturating_sub(job.live.len());
        free.min(job.pending.len()) as u32
    }

    /// Slots that a job wants and that escrow covers at its limit price: so many of the tasks
    /// that come next can start.
    pub(crate) fn slots_covered(&self, job: JobId) -> u32 {
        let wanted = self.slots_wanted(job);
        if wanted == 0 {
            return 0;
        }
        let mut left = self.unreserved_nanocredits(job, None);
        let job = &self.jobs[&job];
        let price = job.max_price_nanocredits_per_tfuel;
        let fees = self.fees().most_basis_points();
        let next = job.pending.iter().take(wanted as usize);
        let covered = next
            .take_while(|index| {
                let least = self.worst_case(job.tasks[**index as usize], price, fees).least();
                left = left.saturating_sub(least);
                left >= 0
            })
            .count();
        covered as u32
    }

    /// When a job's escrow is spent if it goes on as it did since its leases opened: when what is
    /// left covers no attempt of any of its slots any more. `None` while nothing was paid under
    /// them, and when what is left covers everything that is still to do.
    pub fn exhaustion_at_ms(&self, job: JobId, now_ms: i64) -> Option<i64> {
        let spending = &self.jobs[&job];
        let live = || spending.live.iter().map(|attempt| &self.attempts[attempt]);
        let is_covered = |attempt: &Attempt| {
            attempt.fuel_allowance >= self.tasks[&attempt.task].figures.fuel_max
        };
        if spending.live.is_empty() || spending.pending.is_empty() && live().all(is_covered) {
            return None;
        }
        let mut per_hour: i128 = 0;
        let mut left = i128::from(self.escrow_nanocredits(job));
        for attempt in live() {
            let lease = &self.leases[&attempt.lease];
            let (paid, fees) = (lease.fees.gross_nanocredits(lease.paid_nanocredits), lease.fees);
            let held_ms = i128::from(now_ms.saturating_sub(lease.opened_at_ms).max(1));
            per_hour += i128::from(paid) * HOUR_MS / held_ms;
            let price = lease.price_nanocredits_per_tfuel;
            let worst = self.worst_case(attempt.task, price, fees.buyer_basis_points);
            left -= i128::from(worst.least());
        }
        if per_hour == 0 {
            return None;
        }
        let ms = i64::try_from(left.max(0) * HOUR_MS / per_hour).ok()?;
        now_ms.checked_add(ms)
    }

    fn worst_case(
        &self,
        task: TaskId,
        price_nanocredits_per_tfuel: i64,
        basis_points: u32,
    ) -> WorstCase<'_> {
        let (task, price) = (&self.tasks[&task], price_nanocredits_per_tfuel);
        WorstCase::new(&self.rules, &task.figures, task.usage, price, basis_points)
    }

    /// Fuel that a task's next attempt under a lease may burn: an equal share of what is
    /// unreserved per slot still to be served, or all of it where a share isn't worth starting.
    pub(crate) fn next_allowance(&self, lease: &Lease, task: TaskId) -> Option<u64> {
        let unreserved = self.unreserved_nanocredits(lease.job, None);
        let share = unreserved / i64::from(self.slots_wanted(lease.job).max(1));
        let (price, fees) = (lease.price_nanocredits_per_tfuel, lease.fees.buyer_basis_points);
        let worst = self.worst_case(task, price, fees);
        worst.covered_fuel(share).or_else(|| worst.covered_fuel(unreserved))
    }
}

const HOUR_MS: i128 = 3_600_000;

const MOST: Usage = Usage {
    fuel: u64::MAX,
    memory_page_fuel: u64::MAX,
    state_bytes: u64::MAX,
    traffic_bytes: u64::MAX,
};

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: TaskFigures = TaskFigures {
        inbound_bytes: 1 << 20,
        output_max_bytes: 64 << 20,
        memory_max_pages: 8_192,
        segment_fuel: 64 * base::FUEL_PER_GFUEL,
        fuel_max: TASK_FUEL_MAX,
    };

    #[test]
    fn what_is_covered_costs_no_more_than_the_money_and_not_less_by_a_unit_of_fuel() {
        let rules = Rules::default();
        let tiny_segments = TaskFigures { segment_fuel: 1 << 20, ..DEFAULTS };
        let short = TaskFigures { fuel_max: 5 * base::FUEL_PER_GFUEL, ..DEFAULTS };
        let from = Usage { fuel: 77_777_777, traffic_bytes: 1 << 20, ..Usage::ZERO };
        for price in [100, 300_000, 4_000_000, 1_000_000_000] {
            for figures in [DEFAULTS, tiny_segments, short] {
                let worst = WorstCase::new(&rules, &figures, from, price, 0);
                let least = worst.least();
                assert_eq!(worst.covered_fuel(least / 2), None);
                assert_eq!(worst.covered_fuel(least - 1), None);
                for money in [least, least + 1, least * 3, 100_000_000 + least, i64::MAX / 4] {
                    let fuel = worst.covered_fuel(money).unwrap();
                    assert!(worst.cost(fuel) <= money, "{price} {money} {fuel}");
                    assert!(fuel == TASK_FUEL_MAX || worst.cost(fuel + 1) > money);
                }
            }
        }
    }

    #[test]
    fn a_tenth_of_a_credit_covers_a_long_task_in_one_attempt() {
        let rules = Rules::default();
        let worst = WorstCase::new(&rules, &DEFAULTS, Usage::ZERO, 300_000, 0);
        assert!(worst.covered_fuel(100_000_000 / 4).unwrap() > 50 * base::FUEL_PER_TFUEL);
        assert!(worst.least() < 100_000, "{}", worst.least());
    }
}
