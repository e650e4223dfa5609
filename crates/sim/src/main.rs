//! Runs seeds: one, a number of them, or as many as fit into some minutes; or writes a seed's
//! journal as lines of JSON. `cargo xtask sim` calls it.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

const USAGE: &str =
    "usage: sim --seed N | --seeds N [--from N] | --minutes N [--from N] | --journal N";

fn main() -> ExitCode {
    let (mut from, mut seeds, mut minutes) = (None, None, None);
    let mut words = std::env::args().skip(1);
    while let (Some(option), Some(Ok(value))) =
        (words.next(), words.next().map(|value| value.parse::<u64>()))
    {
        match option.as_str() {
            "--seed" => (from, seeds) = (Some(value), Some(1)),
            "--seeds" => seeds = Some(value),
            "--from" => from = Some(value),
            "--minutes" => minutes = Some(value),
            "--journal" => {
                print!("{}", sim::journal(value));
                return ExitCode::SUCCESS;
            }
            _ => {}
        }
    }
    if seeds.is_none() && minutes.is_none() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    // New ones each time, unless told otherwise.
    let fresh = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(1, |since| since.as_secs() << 10)
    };
    let from = from.unwrap_or_else(fresh);
    let begun = Instant::now();
    let (mut ran, mut commands, mut recoveries) = (0, 0, 0);
    loop {
        let over = match (seeds, minutes) {
            (Some(seeds), _) => ran >= seeds,
            (None, minutes) => begun.elapsed() >= Duration::from_secs(60 * minutes.unwrap_or(0)),
        };
        if over {
            break;
        }
        let seed = from.wrapping_add(ran);
        match catch_unwind(|| sim::run(seed)) {
            Ok(report) => {
                commands += report.commands;
                recoveries += report.recoveries;
            }
            Err(_) => {
                eprintln!("seed {seed} failed; again: cargo xtask sim --seed {seed}");
                return ExitCode::FAILURE;
            }
        }
        ran += 1;
    }
    let seconds = begun.elapsed().as_secs();
    println!("{ran} seeds from {from}: {commands} commands, {recoveries} recoveries, {seconds} s");
    ExitCode::SUCCESS
}
