//! Nanoseconds per fuel, over worst cases and over real programs: from this the cost table is
//! set (`cargo xtask calibrate`).
//!
//! `cargo bench -p runtime --bench calibrate [-- [--rounds N] [NAME…]]`
//!
//! Each program runs in a worker process of its own, once short and once long; the difference
//! of both CPU times over the difference of both fuels leaves out start-up, compilation and
//! setup. Of several rounds the least counts: other work on the machine only ever adds. A
//! case's ratio is to the median of the benchmark guests. It prints and never fails.

mod cases;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use runtime::artefacts::Artefacts;
use runtime::launch::Launcher;
use runtime::protocol::{FromWorker, Start};
use runtime::task::Task;
use runtime::worker::worker_main;

/// Over this ratio a case has to be repriced, or named with its price in the docs.
const RATIO_MAX: f64 = 10.0;

/// Real programs, short and long.
const GUESTS: &[(&str, &[&str], &[&str])] = &[
    ("deep", &["16000", "100"], &["16000", "300"]),
    ("fib", &["33"], &["36"]),
    ("matmul", &["200"], &["400"]),
    ("mersenne", &["2203"], &["9689"]),
    ("nbody", &["200000"], &["1000000"]),
    ("pointers", &["60000"], &["200000"]),
    ("sha256", &["4"], &["24"]),
    ("sieve", &["1000000"], &["6000000"]),
];

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|arg| arg == "worker") {
        return worker_main();
    }
    let mut rounds = 2;
    if args.first().is_some_and(|arg| arg == "--rounds") && args.len() > 1 {
        rounds = args[1].parse().unwrap_or(rounds);
        args.drain(..2);
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| name.contains(arg.as_str()));
    let scratch = tempfile::tempdir().expect("a temporary directory");

    println!("{:46} {:>12} {:>9} {:>7}", "benchmark guest", "Gfuel", "ns/fuel", "");
    let mut guests = Vec::new();
    for (name, short, long) in GUESTS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests").join(name);
        let Ok(module) = std::fs::read(path.with_extension("wasm")) else { continue };
        let task = |more: &[&str]| {
            let mut task = Task::new(module.clone());
            task.args = [name].into_iter().chain(more).map(|arg| (*arg).to_owned()).collect();
            task
        };
        match measure(&task(short), &task(long), rounds, scratch.path()) {
            Ok(Figure { fuel, ns_per_fuel }) => {
                println!("{name:46} {:>12.3} {ns_per_fuel:>9.3}", fuel as f64 / 1e9);
                guests.push(ns_per_fuel);
            }
            Err(why) => println!("{name:46} {why}"),
        }
    }
    guests.sort_by(f64::total_cmp);
    let Some(&median) = guests.get(guests.len() / 2) else { return ExitCode::FAILURE };
    println!("{:46} {:>12} {median:>9.3}\n", "median", "");

    println!("{:46} {:>12} {:>9} {:>7}", "case", "Gfuel", "ns/fuel", "ratio");
    let mut over = Vec::new();
    for case in cases::all().iter().filter(|case| wanted(case.name)) {
        let task = |turns: u64| {
            wat::parse_str(case.program(turns)).map(|module| {
                let mut task = Task::new(module);
                task.memory_max_pages = 16_384;
                // Arguments for the calls that hand them out.
                task.args =
                    (0..64).map(|at| format!("argument {at} {}", "x".repeat(100))).collect();
                task
            })
        };
        let measured = match (task(case.turns), task(case.turns * 3)) {
            (Ok(short), Ok(long)) => measure(&short, &long, rounds, scratch.path()),
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
        };
        match measured {
            Ok(Figure { fuel, ns_per_fuel }) => {
                let ratio = ns_per_fuel / median;
                let mark = if ratio > RATIO_MAX { "  OVER" } else { "" };
                println!(
                    "{:46} {:>12.3} {ns_per_fuel:>9.3} {ratio:>7.2}{mark}",
                    case.name,
                    fuel as f64 / 1e9
                );
                if ratio > RATIO_MAX {
                    over.push(case.name);
                }
            }
            Err(why) => println!("{:46} {why}", case.name),
        }
    }
    println!("\n{} cases over {RATIO_MAX} times the median: {}", over.len(), over.join("; "));
    ExitCode::SUCCESS
}

struct Figure {
    fuel: u64,
    ns_per_fuel: f64,
}

fn measure(short: &Task, long: &Task, rounds: usize, scratch: &Path) -> Result<Figure, String> {
    let mut least: Option<(u64, Duration, Duration)> = None;
    // The first run of each module compiles it.
    run(short, scratch)?;
    run(long, scratch)?;
    for _ in 0..rounds.max(1) {
        let (fuel_short, time_short) = run(short, scratch)?;
        let (fuel_long, time_long) = run(long, scratch)?;
        let fuel = fuel_long.checked_sub(fuel_short).filter(|fuel| *fuel > 0);
        let fuel = fuel.ok_or("the longer run took no more fuel")?;
        least = Some(match least {
            None => (fuel, time_short, time_long),
            Some((_, short, long)) => (fuel, short.min(time_short), long.min(time_long)),
        });
    }
    let (fuel, short, long) = least.ok_or("no round")?;
    let ns_per_fuel = long.saturating_sub(short).as_nanos() as f64 / fuel as f64;
    Ok(Figure { fuel, ns_per_fuel })
}

fn children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("our own usage");
    let [user, system] = [usage.user_time(), usage.system_time()];
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    Duration::from_micros((micros(user) + micros(system)) as u64)
}

/// A task in a worker of this program: its fuel and the CPU time of the process.
fn run(task: &Task, scratch: &Path) -> Result<(u64, Duration), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let before = children();
    let launcher = Launcher::new(own, Artefacts::new(Some(scratch.to_owned())));
    let start = Start::new(task.clone());
    let (worker, mut events) = launcher.start(start).map_err(|error| error.to_string())?;
    loop {
        match events.next_event() {
            FromWorker::Ended(end) => {
                drop(worker);
                return match end.outcome {
                    runtime::protocol::Outcome::Exited(0) => {
                        Ok((end.usage.fuel, children().saturating_sub(before)))
                    }
                    other => Err(format!("ended with {other:?}")),
                };
            }
            FromWorker::Refused { reason } | FromWorker::Fault { reason } => return Err(reason),
            _ => {}
        }
    }
}
