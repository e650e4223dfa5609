//! Fuzzing: modules that a generator made up, and bytes that claim to be a checkpoint, a pipe
//! message, a world or a module.
//!
//! Whatever a generated module does, the transform changes neither what it computes nor, when
//! it is stopped and resumed, anything at all ([`check`]). Whatever bytes a decoder gets, it
//! refuses them or reads something that it would write again ([`decode`]). A short seeded run
//! and the corpus (`fuzz/corpus`, everything that once failed or was the first to show
//! something) are ordinary tests; `cargo xtask fuzz` runs [`endless`] on every core.

mod check;
mod corpus;
mod decode;
mod generate;
mod sections;
mod shrink;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use check::same;
use check::{Bench, Seen};
use corpus::Corpus;

/// xorshift64*: what is needed of randomness here is that a seed repeats it.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike.
        let mut random =
            Random((seed ^ 0x6a09_e667_f3bc_c909).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// What was done, for the cumulative counts of `cargo xtask fuzz`.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// Modules generated, refused by name, run, compared with the plain engine and with the
    /// unoptimised one.
    pub modules: u64,
    pub refused: u64,
    pub ran: u64,
    pub trapped: u64,
    pub compared: u64,
    pub unoptimised: u64,
    /// Differences that come from a NaN carried in as data, which the documentation allows.
    pub carried_nans: u64,
    /// States that went through a checkpoint file's bytes into a new execution.
    pub interruptions: u64,
    /// Bytes handed to decoders, and how many of them were accepted.
    pub decodes: u64,
    pub accepted: u64,
    pub failures: u64,
}

impl Counts {
    fn add(&mut self, seen: &Seen) {
        self.modules += 1;
        self.refused += u64::from(seen.refused);
        self.ran += u64::from(!seen.refused);
        self.trapped += u64::from(seen.trapped);
        self.compared += u64::from(seen.compared);
        self.unoptimised += u64::from(seen.unoptimised);
        self.carried_nans += u64::from(seen.carried);
        self.interruptions += seen.interruptions;
    }

    /// The line that xtask adds up: names and figures.
    fn line(&self) -> String {
        format!(
            "fuzz-counts modules={} refused={} ran={} trapped={} compared={} unoptimised={} \
             carried_nans={} interruptions={} decodes={} accepted={} failures={}",
            self.modules,
            self.refused,
            self.ran,
            self.trapped,
            self.compared,
            self.unoptimised,
            self.carried_nans,
            self.interruptions,
            self.decodes,
            self.accepted,
            self.failures
        )
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Checks a seed's module; a failure is minimised, kept and told with what repeats it.
fn module_round(bench: &Bench, corpus: &mut Corpus, seed: u64, counts: &mut Counts) {
    let Some(module) = generate::module(seed) else { return };
    corpus.about_to("module", seed, &module);
    let mut random = Random::new(seed);
    let thorough = random.one_in(8);
    match quietly(|| check::module(bench, &module, None, seed, thorough)) {
        Ok(seen) => {
            counts.add(&seen);
            corpus.consider(&module, &seen);
        }
        Err(failure) => {
            counts.modules += 1;
            counts.failures += 1;
            let (module, stops) = shrink::module(&module, &failure, |module, stops| {
                quietly(|| check::module(bench, module, Some(stops), seed, true))
            });
            let path =
                corpus.keep_failure("modules", "wasm", &sections::with_stops(&module, &stops));
            eprintln!(
                "fuzz: FAILED seed {seed}: {failure}\n  smallest: {} ({} bytes), stops {stops:?}\n  \
                 again: {}",
                path.display(),
                module.len(),
                corpus::AGAIN
            );
        }
    }
}

fn decoder_round(bench: &decode::Bench, corpus: &mut Corpus, seed: u64, counts: &mut Counts) {
    let input = bench.input(seed);
    corpus.about_to(input.decoder.name(), seed, &input.bytes);
    match quietly(|| bench.check(&input)) {
        Ok(accepted) => {
            counts.decodes += 1;
            counts.accepted += u64::from(accepted);
        }
        Err(failure) => {
            counts.decodes += 1;
            counts.failures += 1;
            let smallest = shrink::bytes(&input.bytes, |bytes| {
                let input = decode::Input { decoder: input.decoder, bytes: bytes.to_vec() };
                quietly(|| bench.check(&input)).is_err()
            });
            let path = corpus.keep_failure(input.decoder.name(), "bin", &smallest);
            eprintln!(
                "fuzz: FAILED {} seed {seed}: {failure}\n  smallest: {} ({} bytes)\n  again: {}",
                input.decoder.name(),
                path.display(),
                smallest.len(),
                corpus::AGAIN
            );
        }
    }
}

/// Runs a check; a panic is a failure like any other.
fn quietly<T>(body: impl FnOnce() -> Result<T, check::Failure>) -> Result<T, check::Failure> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        Err(check::Failure { what: format!("panic: {text}"), stops: Vec::new() })
    })
}

/// As many as a test run has time for; `JUSHA_TEST_MODULES` for more.
#[test]
fn generated_modules_mean_the_same_and_do_not_notice_interruptions() {
    let rounds = number("JUSHA_TEST_MODULES").unwrap_or(120);
    let mut counts = Counts::default();
    super::in_large_stack(|| {
        let bench = Bench::new();
        for seed in 0..rounds {
            let Some(module) = generate::module(seed) else { continue };
            match check::module(&bench, &module, None, seed, seed % 8 == 0) {
                Ok(seen) => counts.add(&seen),
                Err(failure) => panic!("seed {seed}: {failure}"),
            }
        }
    });
    let line = counts.line();
    assert!(counts.ran * 2 >= rounds, "too few modules could be run: {line}");
    assert!(counts.compared * 4 >= counts.ran, "too few could be compared: {line}");
    assert!(counts.interruptions >= rounds, "too few were interrupted: {line}");
}

#[test]
fn altered_bytes_are_refused_or_read_back() {
    let rounds = number("JUSHA_TEST_DECODES").unwrap_or(2000);
    let mut accepted = 0;
    super::in_large_stack(|| {
        let bench = decode::Bench::new();
        for seed in 0..rounds {
            let input = bench.input(seed);
            match bench.check(&input) {
                Ok(yes) => accepted += u64::from(yes),
                Err(failure) => panic!("{} seed {seed}: {failure}", input.decoder.name()),
            }
        }
    });
    assert!(accepted > rounds / 50, "only {accepted} of {rounds} passed the first check");
}

/// Everything in the corpus, again.
#[test]
fn the_corpus_holds() {
    super::in_large_stack(|| {
        let bench = Bench::new();
        let decoders = decode::Bench::new();
        let mut failures = Vec::new();
        let mut count = 0;
        for (path, bytes) in corpus::files("modules") {
            count += 1;
            let stops = sections::stops_of(&bytes);
            let seed = u64::from(bytes.len() as u32);
            if let Err(failure) =
                quietly(|| check::module(&bench, &bytes, stops.as_deref(), seed, true))
            {
                failures.push(format!("{}: {failure}", path.display()));
            }
        }
        for decoder in decode::Decoder::ALL {
            for (path, bytes) in corpus::files(decoder.name()) {
                count += 1;
                let input = decode::Input { decoder, bytes };
                if let Err(failure) = quietly(|| decoders.check(&input)) {
                    failures.push(format!("{}: {failure}", path.display()));
                }
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        assert!(count > 0, "the corpus is not where it is looked for");
    });
}

/// What `cargo xtask fuzz` runs, in a process per core: modules and decoders by turns, until
/// `JUSHA_FUZZ_SECONDS` have passed.
#[test]
#[ignore = "runs for as long as it is told; see `cargo xtask fuzz`"]
fn endless() {
    let seconds = number("JUSHA_FUZZ_SECONDS").expect("JUSHA_FUZZ_SECONDS says for how long");
    let mut seed = number("JUSHA_FUZZ_SEED").unwrap_or(1 << 20);
    let step = number("JUSHA_FUZZ_STEP").unwrap_or(1);
    let scratch = std::env::var_os("JUSHA_FUZZ_SCRATCH").map(PathBuf::from);
    let end = Instant::now() + Duration::from_secs(seconds);
    let failures = super::in_large_stack(|| {
        let bench = Bench::new();
        let decoders = decode::Bench::new();
        let mut corpus = Corpus::open(scratch);
        let mut counts = Counts::default();
        while Instant::now() < end {
            module_round(&bench, &mut corpus, seed, &mut counts);
            for round in 0..16 {
                decoder_round(&decoders, &mut corpus, seed * 16 + round, &mut counts);
            }
            seed += step;
        }
        println!("{}", counts.line());
        let _ = std::io::stdout().flush();
        counts.failures
    });
    assert_eq!(failures, 0, "see above; the inputs are kept in fuzz/corpus");
}
