//! How much work a job's escrow covers.
//!
//! Every live attempt has a reserve: the worst that the rest of its allowance can cost. What
//! escrow holds beyond all reserves is *unreserved* and is what new attempts are started from.
//! So a buyer's money runs out by computation, before the work, and never below zero.
//!
//! The worst case counts fuel, the instrument's whole memory, an overshoot to the next
//! safepoint, and estimates of changed state and of traffic. A task may exceed the estimates.
//! Then its receipt is credited in full, paid as far as escrow goes without touching the
//! reserves of other attempts, and the rest stays due: it is paid first from a top-up, and
//! before anything is given back to the buyer. A seller's risk is thus bounded by one receipt:
//! the excess of one span over the reserve, since the lease closes with that receipt.

use base::{JobId, TASK_FUEL_MAX};

use crate::records::{Attempt, Lease};
use crate::rules::Rules;
use crate::state::State;
use crate::tariff::Tariff;

const PAGES_PER_MIB: i128 = 16;

/// The worst that work at one price on one instrument can cost.
pub(crate) struct WorstCase<'a> {
    rules: &'a Rules,
    tariff: &'static Tariff,
    price: i128,
    /// Billable numerator per unit of fuel.
    per_fuel: i128,
    /// Billable numerator of what comes once per attempt.
    fixed: i128,
}

impl<'a> WorstCase<'a> {
    pub(crate) fn new(
        rules: &'a Rules,
        instrument: &str,
        price_nanocredits_per_tfuel: i64,
    ) -> Self {
        let tariff = Tariff::current();
        let memory_mib = market::instrument(instrument).map_or(4_096, |found| found.memory_mib);
        let fuel_weight = i128::from(tariff.fuel_weight);
        let per_fuel = fuel_weight
            + i128::from(memory_mib) * PAGES_PER_MIB * i128::from(tariff.memory_page_fuel_weight)
            + (fuel_weight * i128::from(rules.state_reserve_per_1024)).div_euclid(1024);
        let fixed = i128::from(rules.overshoot_fuel) * per_fuel
            + i128::from(rules.traffic_reserve_bytes) * i128::from(tariff.traffic_byte_weight);
        WorstCase { rules, tariff, price: i128::from(price_nanocredits_per_tfuel), per_fuel, fixed }
    }

    /// What an attempt that has `fuel` to go can cost. One more nanocredit, because the lease's
    /// floor may release what an earlier attempt's fraction left.
    pub(crate) fn cost(&self, fuel: u64) -> i64 {
        let numerator = i128::from(fuel) * self.per_fuel + self.fixed;
        let cost = (self.price * numerator) / self.tariff.denominator() + 2;
        i64::try_from(cost).unwrap_or(i64::MAX)
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
        let numerator = i128::from(money_nanocredits - 2) * self.tariff.denominator() / self.price;
        let fuel = (numerator - self.fixed).max(0) / self.per_fuel;
        let fuel = u64::try_from(fuel).unwrap_or(u64::MAX).min(TASK_FUEL_MAX);
        // Whoever has the least gets the least: rounding down must not turn "enough" into "not
        // enough", or a job would match again and again without ever starting.
        Some(fuel.max(self.rules.useful_fuel_min))
    }
}

impl State {
    /// The worst that the rest of a live attempt can cost.
    pub(crate) fn reserve_nanocredits(&self, attempt: &Attempt) -> i64 {
        let lease = &self.leases[&attempt.lease];
        let instrument = &self.jobs[&lease.job].instrument;
        WorstCase::new(&self.rules, instrument, lease.price_nanocredits_per_tfuel)
            .cost(attempt.fuel_allowance.saturating_sub(attempt.usage.fuel))
    }

    /// What escrow holds beyond the reserves of a job's live attempts, `except` left out.
    pub(crate) fn unreserved_nanocredits(
        &self,
        job: JobId,
        except: Option<base::AttemptId>,
    ) -> i64 {
        let reserved: i128 = self.jobs[&job]
            .live
            .iter()
            .filter(|attempt| Some(**attempt) != except)
            .map(|attempt| i128::from(self.reserve_nanocredits(&self.attempts[attempt])))
            .sum();
        let unreserved = i128::from(self.escrow_nanocredits(job)) - reserved;
        i64::try_from(unreserved.max(0)).unwrap_or(i64::MAX)
    }

    /// What is due for a lease in all: one floor over everything credited to it.
    pub fn due_nanocredits(&self, lease: &Lease) -> i64 {
        Tariff::of_version(lease.tariff_version)
            .expect("a lease is opened under a known tariff")
            .payment_nanocredits(lease.price_nanocredits_per_tfuel, lease.usage)
    }

    /// Slots that a job could use now, were its money no object.
    pub(crate) fn slots_wanted(&self, job: JobId) -> u32 {
        let job = &self.jobs[&job];
        let free = (job.slots as usize).saturating_sub(job.live.len());
        free.min(job.pending.len()) as u32
    }

    /// Slots that a job wants and that escrow covers at its limit price.
    pub(crate) fn slots_covered(&self, job: JobId) -> u32 {
        let wanted = self.slots_wanted(job);
        if wanted == 0 {
            return 0;
        }
        let least = self.least_nanocredits(job);
        let covered = self.unreserved_nanocredits(job, None) / least;
        wanted.min(u32::try_from(covered).unwrap_or(u32::MAX))
    }

    /// The least with which a job's next attempt can start at its limit price.
    pub(crate) fn least_nanocredits(&self, job: JobId) -> i64 {
        let job = &self.jobs[&job];
        WorstCase::new(&self.rules, &job.instrument, job.max_price_nanocredits_per_tfuel).least()
    }

    /// Fuel that the next attempt under a lease may burn: an equal share of what is unreserved
    /// per slot still to be served, or all of it where a share isn't worth starting.
    pub(crate) fn next_allowance(&self, lease: &Lease) -> Option<u64> {
        let job = &self.jobs[&lease.job];
        let unreserved = self.unreserved_nanocredits(job.job, None);
        let share = unreserved / i64::from(self.slots_wanted(job.job).max(1));
        let worst = WorstCase::new(&self.rules, &job.instrument, lease.price_nanocredits_per_tfuel);
        worst.covered_fuel(share).or_else(|| worst.covered_fuel(unreserved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_covered_costs_no_more_than_the_money() {
        let rules = Rules::default();
        for price in [100, 300_000, 4_000_000, 1_000_000_000] {
            for instrument in ["cpu.512m.any", "cpu.2g.any", "cpu.4g.any"] {
                let worst = WorstCase::new(&rules, instrument, price);
                let least = worst.least();
                assert_eq!(worst.covered_fuel(least / 2), None);
                assert_eq!(worst.covered_fuel(least - 1), None);
                for money in [least, least + 1, least * 3, 100_000_000 + least, i64::MAX / 4] {
                    let fuel = worst.covered_fuel(money).unwrap();
                    assert!(worst.cost(fuel) <= money, "{price} {money} {fuel}");
                }
            }
        }
    }

    #[test]
    fn a_tenth_of_a_credit_covers_a_long_task_in_one_attempt() {
        let rules = Rules::default();
        let worst = WorstCase::new(&rules, "cpu.2g.any", 300_000);
        assert!(worst.covered_fuel(100_000_000 / 4).unwrap() > 50 * base::FUEL_PER_TFUEL);
        assert!(worst.least() < 100_000, "{}", worst.least());
    }
}
