//! Machines and the exchange killed by SIGKILL at seeded moments of jobs that real processes
//! run: right answers, every unit of fuel paid exactly once, nothing acknowledged lost.
//!
//! A moment is an event of the job (a version of it, fuel computed, fuel accepted, a task done),
//! and a seeded number of round trips to the exchange later. `JUSHA_LOOPS=500` goes through so
//! many seeds per test, `JUSHA_SEED=17` repeats one.

mod stage;

use std::collections::BTreeMap;

use base::{JobId, MachineId};
use nix::sys::signal::{Signal, kill};
use stage::{
    Executed, MAX_PRICE, Pace, Process, Random, Seeds, Stage, Watch, Work, children_of, guest,
    submit, until,
};
use wire::{JobState, JobView, TaskState};

/// The long task: some 21 Gfuel, about a second and a half.
const LONG: u32 = 44497;
const LONG_FUEL: u64 = 21_190_000_000;
/// What [`Work::new`] has, as an option's value.
const SEGMENT_GFUEL: &str = "2.147483648";
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

/// `jusha exec`'s runs of the tasks, each made once.
#[derive(Default)]
struct Known(BTreeMap<Work, Executed>);

impl Known {
    async fn learn(&mut self, stage: &Stage, works: &[Work]) {
        for work in works {
            if !self.0.contains_key(work) {
                let executed = work.exec(&stage.scene).await;
                assert_eq!(executed.ran.status, 0, "{work:?}: {executed:?}");
                self.0.insert(work.clone(), executed);
            }
        }
    }

    fn of(&self, works: &[Work]) -> Vec<&Executed> {
        works.iter().map(|work| &self.0[work]).collect()
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

/// Two machines, and a job of the long task on the cheaper one, computed a little.
async fn long_job(pace: Pace) -> (Stage, Watch, Executed) {
    let mut stage = Stage::new(pace).await;
    stage.add_machine("ant", 123_456_700, 1).await;
    stage.add_machine("bee", 234_567_800, 1).await;
    let works = [Work::mersenne(LONG)];
    let executed = works[0].exec(&stage.scene).await;
    let job = stage.job(1, &works, 1);
    let mut watch = Watch::new(&stage.buyer, job.job);
    watch.note(&submit(&stage.buyer, &works, &job).await);
    // The first checkpoint is early: most of the task is still to come.
    watch.until("accepted work", |view| view.tasks[0].usage.fuel > 0).await;
    (stage, watch, executed)
}

/// How the attempts of a job's only task ended.
fn ends(job: &JobView) -> Vec<&str> {
    job.tasks[0].attempts.iter().map(|attempt| attempt.end.as_deref().unwrap_or("?")).collect()
}

#[tokio::test]
async fn a_machine_that_drains_hands_over_at_once() {
    let (mut stage, mut watch, executed) = long_job(Pace::PATIENT).await;
    let ant = watch.seen().tasks[0].attempts[0].machine;
    assert_eq!(ant, stage.machines[0].id, "the cheapest");
    let before = watch.seen().tasks[0].usage.fuel;
    stage.machine(ant).drain().await;
    let job = watch.end().await;
    assert_eq!(ends(&job), ["yielded", "finished"]);
    assert!(job.tasks[0].attempts[0].to.fuel > before, "a drain saves what was computed");
    assert_eq!(job.tasks[0].attempts[1].machine, stage.machines[1].id);
    stage.assert_settled(&job, &[&executed]).await;
    // It may come back, and is offered again.
    stage.all_offered().await;
}

#[tokio::test]
async fn a_worker_that_is_killed_is_a_fault_and_the_task_moves() {
    let (mut stage, mut watch, executed) = long_job(Pace::PATIENT).await;
    let ant = watch.seen().tasks[0].attempts[0].machine;
    let agent = stage.machine(ant).process_id();
    let workers = children_of(agent);
    assert_eq!(workers.len(), 1, "a slot, a worker");
    kill(workers[0], Signal::SIGKILL).unwrap();
    let job = watch.end().await;
    let ends = ends(&job);
    assert!(ends[0].starts_with("fault: ") && ends[1..] == ["finished"], "{ends:?}");
    assert_eq!(job.tasks[0].attempts[1].machine, stage.machines[1].id);
    stage.assert_settled(&job, &[&executed]).await;
    assert_eq!(stage.machine(ant).process_id(), agent);
    stage.all_offered().await;
}

#[tokio::test]
async fn a_machine_computes_on_while_the_exchange_is_away() {
    let (mut stage, mut watch, executed) = long_job(Pace::PATIENT).await;
    let ant = watch.seen().tasks[0].attempts[0].machine;
    let agent = stage.machine(ant).process_id();
    watch.note_transfers().await;
    stage.kill_exchange().await;
    // The worker goes once the program has ended, which nobody can be told yet.
    let done = async || children_of(agent).is_empty().then_some(());
    until("the end of the worker", done).await;
    stage.restart_exchange().await;
    watch.restarted();
    watch.note_transfers().await;
    let job = watch.end().await;
    assert_eq!(ends(&job), ["finished"], "one attempt, one lease");
    stage.assert_settled(&job, &[&executed]).await;
}

#[tokio::test]
async fn a_machine_that_is_back_in_time_goes_on_with_its_lease() {
    let (mut stage, mut watch, executed) = long_job(Pace::PATIENT).await;
    let ant = watch.seen().tasks[0].attempts[0].machine;
    stage.machine(ant).kill().await;
    stage.restart(ant);
    let job = watch.end().await;
    assert_eq!(ends(&job), ["finished"], "the same attempt, from its last accepted checkpoint");
    stage.assert_settled(&job, &[&executed]).await;
}

#[tokio::test]
async fn a_machine_that_died_with_the_exchange_lapses_after_it() {
    let pace = Pace { lapse_ms: 5_000, ..Pace::QUICK };
    let (mut stage, mut watch, executed) = long_job(pace).await;
    let ant = watch.seen().tasks[0].attempts[0].machine;
    watch.note_transfers().await;
    stage.kill_exchange().await;
    stage.machine(ant).kill().await;
    stage.restart_exchange().await;
    watch.restarted();
    watch.note_transfers().await;
    let job = watch.end().await;
    assert_eq!(ends(&job), ["lapsed", "finished"], "it never said that it was gone");
    assert!(job.tasks[0].attempts[0].to.fuel > 0, "what was accepted stays paid");
    stage.assert_settled(&job, &[&executed]).await;
}

#[tokio::test]
async fn an_exchange_that_is_stopped_ends_well_and_goes_on() {
    let (mut stage, mut watch, executed) = long_job(Pace::PATIENT).await;
    watch.note_transfers().await;
    stage.stop_exchange().await;
    stage.restart_exchange().await;
    watch.restarted();
    watch.note_transfers().await;
    let job = watch.end().await;
    assert_eq!(ends(&job), ["finished"]);
    stage.assert_settled(&job, &[&executed]).await;
}

/// The buyer's command in the background, and the job that it submits.
async fn buying(stage: &Stage, args: &[&str]) -> (Process, JobId) {
    let price = format!("{MAX_PRICE}n");
    let mut command = stage.buy(&args[..1]);
    command.args(["--max-price", &price, "--segment-gfuel", SEGMENT_GFUEL]).args(&args[1..]);
    let process = Process::start(command, &stage.scene.path("buyer.log"));
    let job = until("a job", async || stage.buyer.jobs().await.unwrap().first().map(|j| j.job));
    (process, job.await)
}

#[tokio::test]
async fn a_map_outlives_its_machine() {
    let mut stage = Stage::with_machines(Pace::QUICK).await;
    let exponents = [("long", LONG), ("short", 4421), ("shorter", 4409)];
    let works = Work::job(exponents.map(|(name, exponent)| {
        let work = Work::mersenne(exponent);
        Work { inputs: BTreeMap::from([(name.to_owned(), work.stdin.clone())]), ..work }
    }));
    let mut known = Known::default();
    known.learn(&stage, &works).await;

    let (module, out) = (guest("mersenne"), stage.scene.arg("out"));
    let mut args = vec!["map", "--out", &out, module.to_str().unwrap()];
    let inputs = exponents.map(|(name, exponent)| {
        let path = stage.scene.write(&format!("inputs/{name}"), format!("{exponent}\n"));
        path.to_str().unwrap().to_owned()
    });
    args.extend(inputs.iter().map(String::as_str));
    let (buyer, job) = buying(&stage, &args).await;
    let mut watch = Watch::new(&stage.buyer, job);
    let view = watch.until("accepted work", |view| view.tasks[0].usage.fuel > 0).await;
    stage.machine(view.tasks[0].attempts[0].machine).kill().await;
    let status = buyer.exit().await;
    let log = stage.scene.read("buyer.log");
    assert_eq!(status.code(), Some(0), "{log}");
    let last = log.lines().next_back().unwrap();
    assert!(last.starts_with("done in ") && last.contains(", moved once (machine "), "{log}");
    assert!(last.contains(" died at ") && last.contains(", nothing lost, "), "{log}");
    for ((name, _), work) in exponents.iter().zip(&works) {
        let stdout = stage.scene.read(&format!("out/{name}.out"));
        assert_eq!(stdout, known.0[work].ran.stdout, "{name}");
    }
    let job = watch.end().await;
    stage.assert_settled(&job, &known.of(&works)).await;
}

#[tokio::test]
async fn a_run_outlives_the_exchange() {
    let mut stage = Stage::with_machines(Pace::QUICK).await;
    let work = Work::new("mersenne", &["44497"]);
    let executed = work.exec(&stage.scene).await;
    let module = guest("mersenne");
    let args = ["run", module.to_str().unwrap(), "--", "44497"];
    let (mut buyer, job) = buying(&stage, &args).await;
    let mut watch = Watch::new(&stage.buyer, job);
    watch.until("accepted work", |view| view.tasks[0].usage.fuel > 0).await;
    stage.kill_exchange().await;
    stage.restart_exchange().await;
    watch.restarted();
    assert_eq!(buyer.line().await, "44497 prime");
    assert_eq!(buyer.exit().await.code(), Some(0), "{}", stage.scene.read("buyer.log"));
    let job = watch.end().await;
    assert_eq!(ends(&job), ["finished"]);
    stage.assert_settled(&job, &[&executed]).await;
}
