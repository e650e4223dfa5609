//! Whether a worker is still at work.
//!
//! Time is counted in ticks, not read from a clock: when the whole computer or the agent itself
//! stood still, that is one late tick, and the worker gets the rest of its time. Pure.

use std::time::Duration;

/// Between two ticks.
pub(crate) const TICK: Duration = Duration::from_secs(10);
/// For sending a task to the worker; for admission and compilation until it says `Started`.
const START_MAX: Duration = Duration::from_secs(300);
/// While it runs, it tells its progress a few times a second.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Listens to one worker.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    started: bool,
    silent_ticks: u32,
}

impl Watchdog {
    /// The worker said something.
    pub(crate) fn heard(&mut self) {
        self.started = true;
        self.silent_ticks = 0;
    }

    /// A tick passed; why the worker is to be given up, if so.
    pub(crate) fn tick(&mut self) -> Option<String> {
        self.silent_ticks += 1;
        let (max, what) = match self.started {
            true => (SILENCE_MAX, "the worker made no progress"),
            false => (START_MAX, "the worker did not start"),
        };
        let is_over = TICK * self.silent_ticks >= max;
        is_over.then(|| format!("{what} for {} s: it was stopped or hangs", max.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks_until_given_up(watchdog: &mut Watchdog) -> u32 {
        (1..).find(|_| watchdog.tick().is_some()).unwrap_or(0)
    }

    #[test]
    fn a_silent_worker_is_given_up() {
        let mut watchdog = Watchdog::default();
        assert_eq!(ticks_until_given_up(&mut watchdog), 30, "compiling takes its time");
        let mut watchdog = Watchdog::default();
        watchdog.heard();
        assert_eq!(ticks_until_given_up(&mut watchdog), 12);
    }

    #[test]
    fn every_word_counts() {
        let mut watchdog = Watchdog::default();
        for _ in 0..1_000 {
            watchdog.heard();
            assert_eq!(watchdog.tick(), None);
        }
    }
}
