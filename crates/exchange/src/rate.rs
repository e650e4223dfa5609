//! How many requests an account or an address may make: a bucket of tokens each, which refills
//! with time. Time is an argument.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use base::{AccountId, Digest, MachineId};

/// Buckets that are kept. Full ones are forgotten first: they say nothing that a new one doesn't.
const BUCKETS_KEPT: usize = 100_000;

/// Whose bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Payer {
    /// Whoever shows no token that is known here.
    Address(IpAddr),
    /// Whoever shows an account's.
    Account(AccountId),
    /// Whoever shows a machine's.
    Machine(MachineId),
    /// Whoever tries to sign in by a login, whose digest this is.
    Login(Digest),
}

/// How fast, in the long run and at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second in the long run; 0 means without limit.
    pub per_second: u32,
    /// Requests at once after a pause.
    pub burst: u32,
}

/// What one request was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Of the bucket when full.
    pub limit: u32,
    /// Requests that may follow at once.
    pub remaining: u32,
    /// Until the bucket is full.
    pub reset: Duration,
    /// Until this request may be made, if it may not be made now.
    pub retry_after: Option<Duration>,
}

/// Tokens as of a moment, in millionths.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    micro: u64,
    at: Instant,
}

const ONE: u64 = 1_000_000;

impl Bucket {
    fn refilled(self, rate: Rate, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).as_micros();
        // A token per second is a millionth of one per microsecond.
        let gained = passed.saturating_mul(u128::from(rate.per_second));
        let micro = u128::from(self.micro).saturating_add(gained);
        u64::try_from(micro).unwrap_or(u64::MAX).min(u64::from(rate.burst) * ONE)
    }
}

/// Everybody's buckets.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    buckets: HashMap<Payer, Bucket>,
}

impl Buckets {
    /// Takes so many tokens of the payer's, if they are there. `None` when the rate has no limit.
    pub fn take(&mut self, payer: Payer, rate: Rate, cost: u32, now: Instant) -> Option<Verdict> {
        if rate.per_second == 0 {
            return None;
        }
        if self.buckets.len() >= BUCKETS_KEPT && !self.buckets.contains_key(&payer) {
            self.forget(rate, now);
        }
        let full = u64::from(rate.burst) * ONE;
        let fresh = Bucket { micro: full, at: now };
        let bucket = self.buckets.entry(payer).or_insert(fresh);
        let micro = bucket.refilled(rate, now);
        // Nothing costs more than a full bucket, or it could never be had.
        let cost = (u64::from(cost) * ONE).min(full);
        let granted = micro >= cost;
        let left = if granted { micro - cost } else { micro };
        *bucket = Bucket { micro: left, at: now };
        let wait = |micro: u64| Duration::from_micros(micro.div_ceil(u64::from(rate.per_second)));
        Some(Verdict {
            limit: rate.burst,
            remaining: u32::try_from(left / ONE).unwrap_or(u32::MAX),
            reset: wait(full - left),
            retry_after: (!granted).then(|| wait(cost - left)),
        })
    }

    /// Makes room: full buckets go, and if all are in use, everybody begins anew.
    fn forget(&mut self, rate: Rate, now: Instant) {
        let full = u64::from(rate.burst) * ONE;
        self.buckets.retain(|_, bucket| bucket.refilled(rate, now) < full);
        if self.buckets.len() >= BUCKETS_KEPT {
            self.buckets.clear();
        }
    }
}

/// An address as a subscriber of a network has it: one of IPv4, 2⁶⁴ of IPv6.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let mut segments = v6.segments();
            segments[4..].fill(0);
            IpAddr::V6(Ipv6Addr::from(segments))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2, burst: 3 };

    fn payer(number: u128) -> Payer {
        Payer::Account(AccountId(number))
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut buckets = Buckets::default();
        let mut take =
            |ms| buckets.take(payer(1), RATE, 1, start + Duration::from_millis(ms)).unwrap();
        assert_eq!([take(0), take(0), take(0)].map(|verdict| verdict.remaining), [2, 1, 0]);
        let refused = take(100);
        assert_eq!(refused.retry_after, Some(Duration::from_millis(400)));
        assert_eq!(refused.limit, 3);
        assert_eq!(take(500).retry_after, None, "two a second");
        assert!(take(500).retry_after.is_some());
        assert_eq!(take(60_000).remaining, 2, "no more than a burst is saved up");
        assert_eq!(take(60_000).reset, Duration::from_secs(1));
        let mut costly = |cost, ms| {
            buckets.take(payer(2), RATE, cost, start + Duration::from_millis(ms)).unwrap()
        };
        assert_eq!(costly(2, 0).remaining, 1);
        assert_eq!(costly(2, 0).retry_after, Some(Duration::from_millis(500)));
        assert_eq!(costly(99, 5_000).retry_after, None, "as much as there can be");
    }

    #[test]
    fn everybody_has_a_bucket_and_they_do_not_grow_without_end() {
        let start = Instant::now();
        let mut buckets = Buckets::default();
        for number in 0..BUCKETS_KEPT as u128 + 10 {
            assert_eq!(buckets.take(payer(number), RATE, 1, start).unwrap().remaining, 2);
        }
        assert!(buckets.buckets.len() <= BUCKETS_KEPT);
        assert_eq!(buckets.take(payer(1), Rate { per_second: 0, burst: 0 }, 1, start), None);
    }

    #[test]
    fn a_subscriber_of_ipv6_has_one_bucket() {
        let address = |text: &str| subscriber(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.2"), address("192.0.2.1"));
    }
}
