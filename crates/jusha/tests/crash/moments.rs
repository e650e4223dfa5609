//! Seeded moments: an event of the job (a version of it, fuel computed, fuel accepted, a task
//! done), and a seeded number of round trips to the exchange later.

use base::MachineId;
use wire::{JobState, JobView, TaskState};

use super::{Known, LONG, LONG_FUEL};
use crate::stage::{Pace, Random, Seeds, Stage, Watch, Work, submit};

/// Short ones, a tenth of a second each.
const SHORT: [u32; 6] = [4421, 4423, 9689, 9941, 11213, 11239];
/// Moments on one stage: its lists stay short of what one request returns.
const MOMENTS_PER_STAGE: u64 = 40;

/// When something is killed.
#[derive(Debug, Clone, Copy)]
enum When {
    /// While the job is being uploaded and submitted.
    Submitting,
    /// At so many changes of the job.
    Version(u64),
    /// When heartbeats say so much of the long task.
    Computed(u64),
    /// When so much of the long task is accepted.
    Accepted(u64),
    /// When so many tasks are done.
    Done(usize),
}

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    /// The machine that runs the long task, if any does, else any.
    Busy(Back),
    /// One of the machines.
    Machine(usize, Back),
    /// The exchange, so many times in a row.
    Exchange(u64),
    /// The exchange, and a machine while it is away.
    Both(usize, Back),
}

/// When a killed machine comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Back {
    /// At once: it may be in time to go on with its lease.
    AtOnce,
    /// When its lease is known to be lost, or the job is over.
    Lapsed,
    /// After the job.
    Never,
}

#[derive(Debug)]
struct Plan {
    works: Vec<Work>,
    slots: u32,
    when: When,
    /// Round trips between the event and the kill.
    trips: u64,
    victim: Victim,
}

impl Plan {
    fn of(random: &mut Random, exchange: bool) -> Plan {
        let count = random.of(1..5);
        let short: Vec<Work> = (0..count).map(|_| Work::mersenne(random.pick(&SHORT))).collect();
        let mut works = vec![Work::mersenne(LONG)];
        works.extend(short);
        let when = match random.of(0..20) {
            0..3 => When::Submitting,
            3..6 => When::Version(random.of(1..12)),
            6..12 => When::Computed(random.of(1..LONG_FUEL)),
            12..18 => When::Accepted(random.of(1..LONG_FUEL * 9 / 10)),
            _ => When::Done(random.of(1..count + 1) as usize),
        };
        let back = random.pick(&[Back::AtOnce, Back::Lapsed, Back::Never]);
        let machine = random.of(0..3) as usize;
        let victim = match (exchange, random.of(0..4)) {
            (true, 0) => Victim::Both(machine, Back::AtOnce),
            (true, twice) => Victim::Exchange(1 + twice / 3),
            (false, 0) => Victim::Machine(machine, back),
            (false, _) => Victim::Busy(back),
        };
        let slots = random.of(1..4) as u32;
        Plan { works: Work::job(works), slots, when, trips: random.of(0..60), victim }
    }
}

/// What the moments of a test came to.
#[derive(Debug, Default)]
struct Tally {
    jobs: u64,
    /// Struck before their end.
    struck: u64,
    /// Attempts that ended before their task.
    moves: u64,
    /// Fuel that was accepted of them: what would have been paid twice or lost.
    saved: u64,
}

impl Tally {
    fn count(&mut self, job: &JobView, struck: bool) {
        self.jobs += 1;
        self.struck += u64::from(struck);
        for attempt in job.tasks.iter().flat_map(|task| &task.attempts) {
            if attempt.end.as_deref() != Some("finished") {
                self.moves += 1;
                self.saved += attempt.to.fuel - attempt.from.fuel;
            }
        }
    }
}

async fn moments(test: &'static str, usual: u64, exchange: bool) -> Tally {
    let seeds = Seeds::new(test, "JUSHA_LOOPS", usual);
    let mut known = Known::default();
    let mut stage = None;
    let begun = std::time::Instant::now();
    let mut tally = Tally::default();
    for (seed, _rerun) in seeds.each() {
        if seed % MOMENTS_PER_STAGE == 0 {
            stage = None;
        }
        let stage = match &mut stage {
            Some(stage) => stage,
            none => none.insert(Stage::with_machines(Pace::QUICK).await),
        };
        let plan = Plan::of(&mut Random::new(seed), exchange);
        eprintln!(
            "{:.1} s seed {seed}: {:?} {} trips, {:?}",
            begun.elapsed().as_secs_f64(),
            plan.when,
            plan.trips,
            plan.victim
        );
        known.learn(stage, &plan.works).await;
        stage.all_offered().await;
        let (job, struck) = moment(stage, seed, &plan).await;
        stage.assert_settled(&job, &known.of(&plan.works)).await;
        tally.count(&job, struck);
    }
    eprintln!("{tally:?}");
    if seeds.count() >= 20 {
        assert!(tally.struck * 2 > tally.jobs, "most moments are in vain: {tally:?}");
    }
    tally
}

/// One job, and what befalls it; its end, and whether it was struck before.
async fn moment(stage: &mut Stage, seed: u64, plan: &Plan) -> (JobView, bool) {
    let job = stage.job(u128::from(seed), &plan.works, plan.slots);
    let buyer = stage.buyer.clone();
    let mut watch = Watch::new(&buyer, job.job);
    let mut struck = true;
    match plan.when {
        When::Submitting => {
            let submitting = submit(&buyer, &plan.works, &job);
            let (submitted, ()) = tokio::join!(submitting, async {
                round_trips(stage, plan.trips).await;
                strike(stage, plan, &mut watch).await;
            });
            // Older than what the watch may have seen since.
            assert_eq!(submitted.job, job.job);
        }
        when => {
            watch.note(&submit(&buyer, &plan.works, &job).await);
            let mut versions = 0;
            watch
                .until_or_end(|view| {
                    versions += 1;
                    let (long, tasks) = (&view.tasks[0], &view.tasks);
                    match when {
                        When::Submitting => true,
                        When::Version(least) => versions >= least,
                        When::Computed(fuel) => long.progress_fuel >= fuel,
                        When::Accepted(fuel) => long.usage.fuel >= fuel,
                        When::Done(least) => {
                            tasks.iter().filter(|t| t.state == TaskState::Done).count() >= least
                        }
                    }
                })
                .await;
            watch.note_transfers().await;
            round_trips(stage, plan.trips).await;
            struck = watch.seen().state != JobState::Done;
            strike(stage, plan, &mut watch).await;
            watch.note_transfers().await;
        }
    }
    (watch.end().await, struck)
}

/// A short while, told in work of the exchange instead of time.
async fn round_trips(stage: &Stage, count: u64) {
    for _ in 0..count {
        stage.operator.exchange().await.unwrap();
    }
}

async fn strike(stage: &mut Stage, plan: &Plan, watch: &mut Watch) {
    match plan.victim {
        Victim::Exchange(times) => {
            for _ in 0..times {
                stage.kill_exchange().await;
                stage.restart_exchange().await;
            }
            watch.restarted();
        }
        Victim::Both(machine, back) => {
            stage.kill_exchange().await;
            let id = stage.machines[machine].id;
            stage.machine(id).kill().await;
            stage.restart_exchange().await;
            watch.restarted();
            come_back(stage, id, back, watch).await;
        }
        Victim::Machine(machine, back) => {
            let id = stage.machines[machine].id;
            stage.machine(id).kill().await;
            come_back(stage, id, back, watch).await;
        }
        Victim::Busy(back) => {
            // By the latest news: what was seen is some round trips old.
            let running = running(stage, watch).await;
            let id = running.unwrap_or(stage.machines[0].id);
            stage.machine(id).kill().await;
            come_back(stage, id, back, watch).await;
        }
    }
}

/// The machine of the job's first live attempt.
async fn running(stage: &Stage, watch: &mut Watch) -> Option<MachineId> {
    let view = match stage.buyer.job(watch.job()).await {
        Ok(view) => view,
        // Not submitted yet.
        Err(_) => return None,
    };
    watch.note(&view);
    let mut attempts = view.tasks.iter().flat_map(|task| &task.attempts);
    attempts.find(|attempt| attempt.end.is_none()).map(|attempt| attempt.machine)
}

async fn come_back(stage: &mut Stage, id: MachineId, back: Back, watch: &mut Watch) {
    match back {
        Back::Never => {}
        Back::AtOnce => stage.restart(id),
        Back::Lapsed => {
            watch
                .until_or_end(|view| {
                    let mut attempts = view.tasks.iter().flat_map(|task| &task.attempts);
                    attempts.all(|attempt| attempt.machine != id || attempt.end.is_some())
                })
                .await;
            stage.restart(id);
        }
    }
}

#[tokio::test]
async fn a_machine_is_killed_at_any_moment() {
    let tally = moments("crashes a_machine_is_killed_at_any_moment", 25, false).await;
    // Of one moment nothing can be said.
    if tally.jobs >= 20 {
        assert!(tally.moves > 0 && tally.saved > 0, "no machine lost anything: {tally:?}");
    }
}

#[tokio::test]
async fn the_exchange_is_killed_at_any_moment() {
    moments("crashes the_exchange_is_killed_at_any_moment", 25, true).await;
}
