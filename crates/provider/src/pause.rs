//! How long a machine that failed keeps its slots to itself.
//!
//! A broken machine (no memory left, a bad disk) fails every task that it takes, and each of
//! them counts against somebody's job: so it waits before it offers anything, longer with each
//! failure, until a task goes well. Pure.

use std::time::Duration;

/// After the first failure: most are a single process that was killed.
const FIRST: Duration = Duration::from_secs(2);
/// However often it failed: the owner may have mended it meanwhile.
const LAST: Duration = Duration::from_secs(300);

/// The pause after the next failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FaultPause {
    next: Duration,
}

impl FaultPause {
    pub(crate) fn new() -> Self {
        FaultPause { next: FIRST }
    }

    /// Notes a failure of this machine; how long to pause for it.
    pub(crate) fn failed(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LAST);
        pause
    }

    /// Notes that a task went well here.
    pub(crate) fn succeeded(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_failures_in_a_row() {
        let mut pause = FaultPause::new();
        let seconds: Vec<u64> = (0..10).map(|_| pause.failed().as_secs()).collect();
        assert_eq!(seconds, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        pause.succeeded();
        assert_eq!(pause.failed(), FIRST);
    }
}
