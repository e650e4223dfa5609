//! A fixed set of seeds, which also has to meet everything that the simulation is there to meet,
//! and some new ones each time. `JUSHA_SIM_SEEDS` runs more.

use std::time::SystemTime;

use sim::{Report, run};

#[test]
fn fixed_seeds_hold_and_meet_everything() {
    let mut all = Report::default();
    for seed in 0..6 {
        println!("seed {seed}; again: cargo xtask sim --seed {seed}");
        let report = run(seed);
        all.commands += report.commands;
        all.recoveries += report.recoveries;
        all.tasks_done += report.tasks_done;
        all.lapses += report.lapses;
        all.faults += report.faults;
        all.exhausted += report.exhausted;
        all.payments += report.payments;
        all.fixed += report.fixed;
        all.forgotten += report.forgotten;
        all.splits += report.splits;
        all.one_way += report.one_way;
    }
    println!("{all:?}");
    for (what, times) in [
        ("commands", all.commands),
        ("recoveries", all.recoveries),
        ("tasks done", all.tasks_done),
        ("lapses", all.lapses),
        ("faults", all.faults),
        ("exhausted jobs", all.exhausted),
        ("payments", all.payments),
        ("fixed leases", all.fixed),
        ("forgotten things", all.forgotten),
        ("partitions of more than one", all.splits),
        ("partitions of one direction", all.one_way),
    ] {
        assert!(times > 2, "only {times} {what}: {all:?}");
    }
}

#[test]
fn a_seed_gives_the_same_run() {
    assert_eq!(run(7), run(7));
}

#[test]
fn new_seeds_hold() {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let first = since.as_secs() << 10;
    let seeds = std::env::var("JUSHA_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in first..first + seeds.unwrap_or(3) {
        println!("seed {seed}; again: cargo xtask sim --seed {seed}");
        run(seed);
    }
}
