//! How fast this machine may send, and how much it moved: the owner's line is the owner's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After a rest so much may go at once.
const BURST: Duration = Duration::from_secs(1);

/// Shared by all transfers of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upload_bytes_per_s: AtomicU64,
    /// When everything that was promised has been sent.
    free_at: Mutex<Option<Instant>>,
    /// In and out since the agent began.
    moved_bytes: AtomicU64,
}

impl Default for Line {
    fn default() -> Self {
        let upload_bytes_per_s = AtomicU64::new(u64::MAX);
        let (free_at, moved_bytes) = (Mutex::new(None), AtomicU64::new(0));
        Line { shared: Arc::new(Shared { upload_bytes_per_s, free_at, moved_bytes }) }
    }
}

impl Line {
    /// At most so fast from now on; `u64::MAX` is no limit.
    pub(crate) fn limit(&self, upload_bytes_per_s: u64) {
        self.shared.upload_bytes_per_s.store(upload_bytes_per_s.max(1), Ordering::Relaxed);
    }

    /// The limit, if there is one.
    pub(crate) fn upload_bytes_per_s(&self) -> Option<u64> {
        let rate = self.shared.upload_bytes_per_s.load(Ordering::Relaxed);
        (rate != u64::MAX).then_some(rate)
    }

    /// Notes bytes that came or went.
    pub(crate) fn moved(&self, bytes: u64) {
        self.shared.moved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All bytes so far.
    pub(crate) fn moved_bytes(&self) -> u64 {
        self.shared.moved_bytes.load(Ordering::Relaxed)
    }

    /// When the next `bytes` may be sent, which are hereby promised.
    pub(crate) fn reserve(&self, bytes: u64, now: Instant) -> Instant {
        let Some(rate) = self.upload_bytes_per_s() else { return now };
        let mut free_at = self.shared.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let begins = free_at.map_or(earliest, |free| free.max(earliest));
        let takes = u64::try_from(u128::from(bytes) * 1_000_000 / u128::from(rate));
        *free_at = Some(begins + Duration::from_micros(takes.unwrap_or(u64::MAX)));
        begins.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_keep_to_the_rate_after_a_burst() {
        let line = Line::default();
        let now = Instant::now();
        assert_eq!(line.reserve(1 << 40, now), now, "no limit yet");
        line.limit(1_000);
        let after = |bytes| (line.reserve(bytes, now) - now).as_millis();
        // A second's worth is free, then each begins when the one before has ended.
        assert_eq!([after(600), after(600), after(600), after(1)], [0, 0, 200, 800]);
        let later = now + Duration::from_secs(60);
        assert_eq!((line.reserve(600, later) - later).as_millis(), 0);
        assert_eq!((line.reserve(600, later) - later).as_millis(), 0);
        assert_eq!((line.reserve(1, later) - later).as_millis(), 200);
    }
}
