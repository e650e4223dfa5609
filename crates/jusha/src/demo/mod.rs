//! `jusha demo`: the whole thing on one computer. An exchange and three providers as separate
//! processes, a search for Mersenne primes, one machine killed in the middle, and proof that the
//! answer is right and everyone was paid to the unit.
//!
//! Proof means recomputing: every task is run again here, without the market, cut where the
//! exchange says that machines changed, and every bill is worked out from that alone.

mod recompute;
mod report;
mod stage;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base::{MachineId, NANOCREDITS_PER_CREDIT, TaskId};
use clap::Args;
use runtime::task::{Task, task_seed};
use tokio::signal::unix::{SignalKind, signal};
use wire::{JobState, JobView, TaskState, TaskView};

use crate::buy::{self, Draft, Purchase, Upload};
use crate::cmd::exchange::open_account;
use crate::error::{CliError, CliResult, io};
use crate::stop::Stop;
use crate::{amount, summary, terminal};
use stage::{Narrator, Stage};

/// The program whose work is bought.
const MERSENNE: &[u8] = include_bytes!("../../../../guests/mersenne.wasm");
/// What is searched. The first is the long one.
const EXPONENTS: [u32; 16] = [
    86243, 23209, 23203, 21701, 21713, 19937, 19961, 11213, 11239, 9941, 9967, 9689, 9697, 4423,
    4421, 4409,
];
/// Which of them are known to give primes (OEIS A000043).
const KNOWN_PRIMES: [u32; 8] = [4423, 9689, 9941, 11213, 19937, 21701, 23209, 86243];
/// What the buyer begins with and sets aside.
const CREDITS: i64 = 10 * NANOCREDITS_PER_CREDIT;
const BUDGET: i64 = NANOCREDITS_PER_CREDIT;
/// 0.001 credits per Tfuel.
const MAX_PRICE: i64 = 1_000_000;
/// Segments of 2³¹ fuel: about a second, so that even this short search has a chain.
const SEGMENT_FUEL: u64 = 1 << 31;
/// The long task takes some 83 Gfuel; its machine is killed when so much is accepted and more is
/// computed: late enough that something would be lost, early enough that much is left.
const KILL_AT_ACCEPTED_FUEL: u64 = 30 * base::FUEL_PER_GFUEL;
/// On a slow disk checkpoints are rarer: then it is killed when so much is computed and anything
/// is accepted,
const KILL_AT_COMPUTED_FUEL: u64 = 40 * base::FUEL_PER_GFUEL;
/// and at the latest here, before it is over.
const KILL_AT_LAST_FUEL: u64 = 60 * base::FUEL_PER_GFUEL;
/// Everything is over by then, or something is wrong.
const DEMO_MAX: Duration = Duration::from_secs(300);

/// See it all: an exchange, three machines, one of them killed, everyone paid
#[derive(Debug, Args)]
pub struct Demo {
    /// Leave everything running afterwards, and say what to try
    #[arg(long)]
    keep: bool,
    /// End with one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Where the demo keeps its data [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs it.
pub async fn main(options: &Demo) -> CliResult {
    let mut interrupt = io(signal(SignalKind::interrupt()), "listen for Ctrl-C")?;
    let mut terminate = io(signal(SignalKind::terminate()), "listen for SIGTERM")?;
    let mut stage = Stage::build(options.data.as_deref(), options.json)?;
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(DEMO_MAX, perform(options, &mut stage)) => {
            outcome.unwrap_or_else(|_| {
                Err(CliError::new(format!("the demo is not over after {} s", DEMO_MAX.as_secs())))
            })
        }
        _ = interrupt.recv() => return Ok(crate::exit::INTERRUPTED),
        _ = terminate.recv() => return Ok(crate::exit::INTERRUPTED),
    };
    match outcome {
        Err(error) => {
            let kept = stage.keep_files();
            Err(error.hint(format!("logs and data are in {}", kept.display())))
        }
        Ok(status) => {
            if options.keep {
                stage.tell_what_to_try()?;
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            stage.stop().await;
            Ok(status)
        }
    }
}

async fn perform(options: &Demo, stage: &mut Stage) -> CliResult {
    let begun = Instant::now();
    stage.start().await?;
    let buyer = open_account(stage.operator()?, "buyer", CREDITS).await?;
    let client = stage.buyer(&buyer.token)?;
    let narrator = stage.narrator();

    narrator.head("A job: which of these 2^p − 1 are prime?");
    narrator.say(&format!(
        "    {} exponents, one task each: {}",
        EXPONENTS.len(),
        EXPONENTS.map(|p| p.to_string()).join(" ")
    ));
    let tasks: Vec<Task> = EXPONENTS.iter().enumerate().map(|(i, p)| task(i, *p)).collect();
    let mut upload = Upload::begin(&client).await?;
    for task in &tasks {
        let (task, fuel_max) = (task.clone(), base::TASK_FUEL_MAX);
        upload.add(Draft { task, base: None, fuel_max }).await?;
    }
    let purchase = Purchase {
        filters: buy::MachineFilters::default(),
        max_price: Some(MAX_PRICE),
        budget: Some(BUDGET),
        slots: Some(3),
        ask: None,
        detach: false,
        name: None,
    };
    let job = upload.submit(&purchase, "mersenne", 3, &mut Stop::listen()?).await?;
    narrator.say(&format!(
        "    {} submitted, 3 slots, budget {} credits\n",
        job.job,
        amount::credits(BUDGET)
    ));

    let job = follow_and_kill(&client, stage, &job, &narrator).await?;
    narrator.say(&format!("\n    {}", summary::line(&job, buy::now_ms())));
    if job.state != JobState::Done || job.tasks.iter().any(|task| task.result.is_none()) {
        return Err(CliError::new(format!("{} did not finish every task", job.job)));
    }

    let mut outputs = Vec::new();
    for task in &job.tasks {
        let Some(result) = task.result else { continue };
        let fetched = buy::fetch(&client, result).await?;
        outputs.push(String::from_utf8_lossy(&fetched.stdout).trim().to_owned());
    }
    let invoice = client.invoice(job.job).await?;
    narrator.head("Run again here, without the market, cut where machines changed");
    let recomputed = recompute::recompute(&job, &invoice, &tasks, &outputs, &narrator)?;
    let audit = stage.operator()?.audit().await?;
    let report = report::Report {
        job: &job,
        exponents: &EXPONENTS,
        outputs: &outputs,
        invoice: &invoice,
        recomputed: &recomputed,
        audit: &audit,
        known_primes: &KNOWN_PRIMES,
    };
    report.tell(&narrator);
    narrator.say(&format!("\n{} s in all", begun.elapsed().as_secs()));
    if options.json {
        terminal::line(&report.json()?)?;
    }
    report.verdict()
}

/// One exponent on standard input, as `jusha map` would give it.
fn task(index: usize, exponent: u32) -> Task {
    Task {
        args: vec!["mersenne.wasm".to_owned()],
        stdin: format!("{exponent}\n").into_bytes(),
        segment_fuel: SEGMENT_FUEL,
        seed: task_seed(&base::Digest::default(), u32::try_from(index).unwrap_or(u32::MAX)),
        ..Task::new(MERSENNE.to_vec())
    }
}

/// Tells how the job goes, and kills the long task's machine once some of its work is accepted
/// and more is under way.
async fn follow_and_kill(
    client: &client::Client,
    stage: &mut Stage,
    job: &JobView,
    narrator: &Narrator,
) -> CliResult<JobView> {
    let teller = RefCell::new(Teller::default());
    let victim = RefCell::new(None);
    let failed = RefCell::new(None);
    let stage = RefCell::new(stage);
    let seen = |view: &JobView| {
        teller.borrow_mut().tell(view, narrator);
        if victim.borrow().is_none()
            && let Some(long) = view.tasks.first()
            && let Some(machine) = to_kill(long)
        {
            *victim.borrow_mut() = Some(machine);
            match stage.borrow_mut().kill(machine) {
                Ok(told) => narrator.say(&format!(
                    "  ✗ {told}, with {} of task p=86243 accepted and {} computed",
                    amount::fuel(long.usage.fuel),
                    amount::fuel(long.progress_fuel)
                )),
                Err(error) => *failed.borrow_mut() = Some(error),
            }
        }
        failed.borrow().is_some()
            || matches!(view.state, JobState::Done | JobState::Cancelled | JobState::Exhausted)
    };
    let view = client.follow(job.job, |_| (), seen).await?;
    match failed.into_inner() {
        Some(error) => Err(error),
        None if victim.into_inner().is_none() => {
            Err(CliError::new("the long task was over before its machine could be killed"))
        }
        None => Ok(view),
    }
}

/// The machine of the long task, when it is time.
fn to_kill(long: &TaskView) -> Option<MachineId> {
    let attempt = long.attempts.last()?;
    let (accepted, computed) = (long.usage.fuel, long.progress_fuel);
    let enough = accepted >= KILL_AT_ACCEPTED_FUEL && computed > accepted
        || accepted > 0 && computed >= KILL_AT_COMPUTED_FUEL
        || computed >= KILL_AT_LAST_FUEL;
    let due = long.state == TaskState::Running && attempt.end.is_none() && enough;
    due.then_some(attempt.machine)
}

/// Says what is new in each version of a job.
#[derive(Default)]
struct Teller {
    attempts: std::collections::BTreeMap<TaskId, usize>,
    done: std::collections::BTreeSet<TaskId>,
}

impl Teller {
    fn tell(&mut self, job: &JobView, narrator: &Narrator) {
        for (task, exponent) in job.tasks.iter().zip(EXPONENTS) {
            let told = self.attempts.entry(task.task).or_default();
            for (index, attempt) in task.attempts.iter().enumerate().skip(*told) {
                let from = match index {
                    0 => String::new(),
                    _ => format!(", goes on from fuel {}", attempt.from.fuel),
                };
                narrator.say(&format!("    p={exponent} runs on {}{from}", attempt.machine_name));
            }
            *told = task.attempts.len();
            if task.state == TaskState::Done && self.done.insert(task.task) {
                narrator.say(&format!("    p={exponent} done, {}", amount::fuel(task.usage.fuel)));
            }
        }
    }
}
