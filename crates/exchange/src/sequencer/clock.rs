//! The journal's time.

use std::time::Instant;

/// Milliseconds UTC that never stand still: the system's clock, unless that was set back. Then
/// time runs on from where it was, so that what depends on elapsed time (how much a machine may
/// have done, when a term is over) goes on being right.
#[derive(Debug)]
pub(super) struct Clock {
    anchor_ms: i64,
    anchor: Instant,
}

impl Clock {
    /// Starts at `start_ms`, which is not before anything that was decided earlier.
    pub fn new(start_ms: i64, now: Instant) -> Self {
        Clock { anchor_ms: start_ms, anchor: now }
    }

    /// The time, given what the system's clock says and how far monotonic time is.
    pub fn now_ms(&mut self, unix_ms: i64, now: Instant) -> i64 {
        let passed_ms = now.saturating_duration_since(self.anchor).as_millis();
        let passed_ms = i64::try_from(passed_ms).unwrap_or(i64::MAX);
        let running_ms = self.anchor_ms.saturating_add(passed_ms);
        if unix_ms > running_ms {
            *self = Clock::new(unix_ms, now);
        }
        running_ms.max(unix_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_goes_on_when_the_clock_is_set_back() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut clock = Clock::new(0, start);
        assert_eq!(clock.now_ms(1_000_000, at(0)), 1_000_000);
        // An hour back, say: many short steps add up all the same.
        for step in 1..=1_000 {
            clock.now_ms(1_000, start + Duration::from_micros(500 * step));
        }
        assert_eq!(clock.now_ms(1_500, at(500)), 1_000_500);
        assert_eq!(clock.now_ms(2_000_000, at(1_000)), 2_000_000, "and set forward");
        assert_eq!(clock.now_ms(0, at(1_001)), 2_000_001);
    }
}
