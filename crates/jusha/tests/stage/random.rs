//! Seeded choices, and which seeds a test goes through.

use std::ops::Range;

/// SplitMix64: the same seed gives the same choices.
pub struct Random(u64);

impl Random {
    /// Choices of a seed. Begun at the seed itself, neighbouring seeds would share their numbers.
    pub fn new(seed: u64) -> Random {
        Random(mixed(seed))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// One of a range that isn't empty.
    pub fn of(&mut self, range: Range<u64>) -> u64 {
        range.start + self.number() % (range.end - range.start)
    }

    /// One of a list that isn't empty.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.number() as usize % from.len()]
    }
}

fn mixed(number: u64) -> u64 {
    let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The seeds of a test: `JUSHA_SEED=17` repeats one, `variable=N` goes through 1 to N, and
/// otherwise it is 1 to what the test takes in a usual run.
pub struct Seeds {
    test: &'static str,
    seeds: Range<u64>,
}

impl Seeds {
    /// For the test program and test of that name.
    pub fn new(test: &'static str, variable: &str, usual: u64) -> Seeds {
        let number = |variable: &str| -> Option<u64> {
            let text = std::env::var(variable).ok()?;
            Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
        };
        let seeds = match number("JUSHA_SEED") {
            Some(seed) => seed..seed + 1,
            None => 1..number(variable).unwrap_or(usual) + 1,
        };
        Seeds { test, seeds }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.seeds.end - self.seeds.start
    }

    /// Each, with what a failure says while it is held.
    pub fn each(&self) -> impl Iterator<Item = (u64, Rerun)> {
        self.seeds.clone().map(|seed| (seed, Rerun { test: self.test, seed }))
    }
}

/// Says how to repeat a failure if it is dropped by one.
pub struct Rerun {
    test: &'static str,
    seed: u64,
}

impl Drop for Rerun {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "\nfailed with seed {0}; again with: JUSHA_SEED={0} cargo test -p jusha --test {1}",
                self.seed, self.test
            );
        }
    }
}
