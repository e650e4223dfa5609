//! Seeded worlds in which machines die, come back, drain, repeat and reorder their receipts,
//! until every job is done. A seed reproduces a run.

mod world;

use std::collections::BTreeMap;

use base::{JobId, TaskId, Usage};
use clearing::{AttemptEnd, AttemptToRun, Command, JobPhase, TaskPhase};
use world::{World, finished, machine};

struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

const MACHINES: u128 = 3;
const SLOTS: u32 = 2;

/// What a task uses in all, by its number: what any machine would find.
fn truth(n: u64) -> Usage {
    let fuel = 300_000_000 + n * 717_000_011;
    Usage { traffic_bytes: 1_000_000 + n, ..at(fuel, n) }
}

/// Task `n`'s usage when it has burnt that much fuel and isn't over.
fn at(fuel: u64, n: u64) -> Usage {
    Usage {
        fuel,
        memory_page_fuel: fuel * (17 + n),
        state_bytes: fuel / world::FIGURES.segment_fuel * 65_536 * (n + 1),
        traffic_bytes: 1_000_000,
    }
}

/// The usage when that much fuel is burnt of a task that uses `truth` in all.
fn at_fuel(truth: Usage, fuel: u64) -> Usage {
    if fuel >= truth.fuel { truth } else { at(fuel, truth.traffic_bytes - 1_000_000) }
}

fn run(seed: u64, budget: i64) -> World {
    let mut random = Xorshift(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut world = World::new(MACHINES, SLOTS);
    let mut online = [true; MACHINES as usize];
    let mut tasks = BTreeMap::<TaskId, Usage>::new();
    for job in 1..=3u64 {
        let command = world.job_command(
            job.into(),
            1 + random.below(4) as u8,
            1 + random.below(3) as u32,
            budget,
        );
        world.ok(command);
        for task in world.state.job_tasks(JobId(job.into())) {
            tasks.insert(task.task, truth(random.below(9)));
        }
    }
    let mut sent = Vec::<Command>::new();
    for step in 0.. {
        assert!(step < 40_000, "seed {seed}: the jobs never end");
        if world.state.jobs().all(|job| job.phase == JobPhase::Done) {
            break;
        }
        world.now_ms += 1 + random.below(20_000) as i64;
        let n = random.below(MACHINES as u64) as u128;
        match random.below(20) {
            0 => {
                world.ok(Command::LapseMachine { machine: machine(n) });
                online[n as usize] = false;
            }
            1 | 2 => online[n as usize] = true,
            3 => {
                // Late, repeated, reordered: whatever comes of it, the invariants hold.
                if !sent.is_empty() {
                    let old = sent[random.below(sent.len() as u64) as usize].clone();
                    let _ = world.run(old);
                }
            }
            4 => {
                world.ok(Command::Tick);
            }
            5 => {
                let lease =
                    world.state.machine_open_leases(machine(n)).next().map(|lease| lease.lease);
                if let Some(lease) = lease {
                    let reason = "price rose".to_owned();
                    world.ok(Command::CloseLease { machine: machine(n), lease, reason });
                }
            }
            6 => {
                let job = JobId(1 + random.below(3) as u128);
                if world.state.job(job).unwrap().phase == JobPhase::Exhausted {
                    let transfer = base::TransferId(10_000 + u128::from(step as u64));
                    let account = world::BUYER;
                    world.ok(Command::TopUpJob {
                        account,
                        job,
                        transfer,
                        amount_nanocredits: budget,
                    });
                }
            }
            _ if !online[n as usize] => {}
            7 | 8 => {
                // A price that nobody takes is changed: a job pays a seller that left no more
                // than before.
                let rest: Vec<_> =
                    world.state.machine_asks(machine(n)).map(|ask| ask.order.order).collect();
                for order in rest {
                    world.ok(Command::CancelOrder { account: world::seller(n), order });
                }
                let free = world.state.slots_free(machine(n));
                if free > 0 && world.state.machine_asks(machine(n)).next().is_none() {
                    world.ask(n, free, 100_000 + 50_000 * random.below(5) as i64);
                }
            }
            _ => {
                let running = world.running(n);
                if !running.is_empty() {
                    let attempt = &running[random.below(running.len() as u64) as usize];
                    work(&mut world, &mut random, attempt, tasks[&attempt.task], &mut sent);
                }
            }
        }
    }
    for (task, truth) in &tasks {
        let task = world.state.task(*task).unwrap();
        assert!(matches!(task.phase, TaskPhase::Done { .. }), "seed {seed}: {:?}", task.phase);
        let credited = world.state.task_attempts(task.task).fold(Usage::ZERO, |sum, attempt| {
            sum.plus(attempt.usage.since(attempt.start).unwrap()).unwrap()
        });
        assert_eq!(credited, *truth, "seed {seed}: {} was not credited exactly once", task.task);
    }
    let paid: i64 = world.state.leases().map(|lease| lease.paid_nanocredits).sum();
    let earned: i64 =
        (0..MACHINES).map(|n| world.state.available_nanocredits(world::seller(n))).sum();
    assert_eq!(paid, earned, "seed {seed}");
    world
}

/// One receipt of an honest machine, perhaps its last, perhaps never sent.
fn work(
    world: &mut World,
    random: &mut Xorshift,
    attempt: &AttemptToRun,
    truth: Usage,
    sent: &mut Vec<Command>,
) {
    let fuel = attempt.usage.fuel + 1 + random.below(400_000_000);
    let usage = at_fuel(truth, fuel.min(attempt.fuel_allowance + 1_000));
    let ended = if usage == truth {
        finished()
    } else if usage.fuel >= attempt.fuel_allowance {
        Some(AttemptEnd::AllowanceSpent)
    } else {
        match random.below(30) {
            0 => Some(AttemptEnd::Yielded),
            1 if attempt.epoch.is_multiple_of(3) => {
                Some(AttemptEnd::Fault { reason: "disk full".into() })
            }
            _ => None,
        }
    };
    world.now_ms += 20;
    let command = world.receipt_command(attempt, usage, ended);
    sent.push(command.clone());
    if random.below(10) == 0 {
        return; // Lost on the way; the next one is cumulative.
    }
    world.ok(command.clone());
    if random.below(5) == 0 {
        assert!(world.ok(command).is_empty(), "a duplicate did something");
    }
}

#[test]
fn every_unit_is_credited_exactly_once_whatever_dies() {
    for seed in 1..=60 {
        run(seed, world::BUDGET);
    }
}

#[test]
fn a_tight_budget_stops_and_resumes_and_loses_nothing() {
    let mut exhausted = 0;
    for seed in 1..=40 {
        let world = run(seed, 26_000);
        exhausted += world
            .state
            .jobs()
            .filter(|job| job.budget_nanocredits > job.submitted_budget_nanocredits)
            .count();
    }
    assert!(exhausted > 10, "the budget was not tight: {exhausted}");
}

#[test]
fn a_seed_reproduces_a_run() {
    assert_eq!(run(7, world::BUDGET).state.digest(), run(7, world::BUDGET).state.digest());
}

#[test]
fn a_snapshot_comes_back_as_it_was() {
    let state = run(3, world::BUDGET).state;
    let bytes = postcard::to_stdvec(&state).unwrap();
    let restored: clearing::State = postcard::from_bytes(&bytes).unwrap();
    assert!(restored == state && restored.digest() == state.digest());
}
