//! What the simulated programs use: a function of the program alone, on every machine.

use base::{Digest, TASK_FUEL_MAX, Usage};
use clearing::{NewTask, TaskFigures};

const FIGURES: TaskFigures = TaskFigures {
    inbound_bytes: 1 << 20,
    output_max_bytes: 32 << 20,
    memory_max_pages: 512,
    segment_fuel: 1 << 28,
    fuel_max: TASK_FUEL_MAX,
};

/// Programs there are.
pub const PROGRAMS: u64 = 24;

/// A task that runs program `n`.
pub fn task(n: u64) -> NewTask {
    NewTask { spec: spec(n), figures: FIGURES }
}

fn spec(n: u64) -> Digest {
    Digest::of(&n.to_be_bytes())
}

/// The program of a spec.
pub fn of_spec(found: Digest) -> u64 {
    (0..PROGRAMS).find(|n| spec(*n) == found).expect("a spec of ours")
}

/// What program `n` uses in all: seconds to minutes of a core.
pub fn whole(n: u64) -> Usage {
    let fuel = 3_000_000_000 + n * n * 7_170_000_011;
    Usage { traffic_bytes: 1_000_000 + n, ..unfinished(fuel, n) }
}

/// What program `n` used when it has burnt that much fuel.
pub fn at(fuel: u64, n: u64) -> Usage {
    let whole = whole(n);
    if fuel >= whole.fuel { whole } else { unfinished(fuel, n) }
}

fn unfinished(fuel: u64, n: u64) -> Usage {
    Usage {
        fuel,
        memory_page_fuel: fuel * (17 + n),
        state_bytes: fuel / FIGURES.segment_fuel * 65_536 * (n + 1),
        traffic_bytes: 1_000_000,
    }
}
