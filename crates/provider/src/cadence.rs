//! When to make a checkpoint durable.
//!
//! A checkpoint is worth its upload when much work is at risk (a minute of it), or when the
//! upload is cheap beside the work (under 5 % of the run time since the last one). Pure: time
//! is an argument.

use std::time::Duration;

/// Work that may be at risk, whatever an upload costs.
const AT_RISK_MAX: Duration = Duration::from_secs(60);
/// An upload is cheap when the run time since the last one is this many times its cost: 5 %.
const RUN_TIME_PER_COST: u32 = 20;

/// The pace of one attempt's checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cadence {
    /// Not more often than this.
    interval_min: Duration,
    /// What the last one cost, from asking the worker to the last byte uploaded.
    last_cost: Duration,
}

impl Cadence {
    pub(crate) fn new(interval_min: Duration) -> Self {
        Cadence { interval_min, last_cost: Duration::ZERO }
    }

    /// How long after the last capture the next one is due.
    pub(crate) fn wait(&self) -> Duration {
        (self.last_cost * RUN_TIME_PER_COST).min(AT_RISK_MAX).max(self.interval_min)
    }

    pub(crate) fn note_cost(&mut self, cost: Duration) {
        self.last_cost = cost;
    }

    pub(crate) fn forget_cost(&mut self) {
        self.last_cost = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cheap_uploads_are_frequent_and_dear_ones_wait_for_a_minute_at_most() {
        let mut cadence = Cadence::new(Duration::from_secs(1));
        assert_eq!(cadence.wait(), Duration::from_secs(1), "the first one measures the cost");
        for (cost_ms, wait_ms) in [(1, 1_000), (50, 1_000), (200, 4_000), (30_000, 60_000)] {
            cadence.note_cost(Duration::from_millis(cost_ms));
            assert_eq!(cadence.wait(), Duration::from_millis(wait_ms), "cost {cost_ms} ms");
        }
    }

    #[test]
    fn the_owners_interval_wins() {
        let mut cadence = Cadence::new(Duration::from_secs(300));
        cadence.note_cost(Duration::from_secs(30));
        assert_eq!(cadence.wait(), Duration::from_secs(300));
    }
}
