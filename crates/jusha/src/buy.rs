//! Buying: from tasks to a job at the exchange, to its results.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::{Digest, JobId, OrderId};
use clap::Args;
use client::{Client, Patience};
use runtime::task::Task;
use wire::{InputFile, JobState, JobView, NewJob, TaskResult, TaskSpec};

use crate::error::{CliError, CliResult};
use crate::progress::Progress;
use crate::stop::Stop;
use crate::{amount, exit, summary, terminal};

/// The highest limit price that is taken without being asked for: a little more than what the
/// dearest reference takes for the same work (a cloud's container service, 0.0405 credits per
/// vCPU-hour of some 50 Tfuel).
const MAX_PRICE_DEFAULT: i64 = 1_000_000;
/// What is set aside when no budget is given: what isn't used comes back.
const BUDGET_DEFAULT: i64 = base::NANOCREDITS_PER_CREDIT;
/// After the exchange answered once, it is asked for so long before submission is given up.
const SUBMIT_PATIENCE: Patience = Patience::For(Duration::from_secs(60));
/// After a signal: an exchange that restarts is back by then.
const CANCEL_PATIENCE: Patience = Patience::For(Duration::from_secs(5));
/// Who pressed Ctrl-C doesn't wait for ever.
const CANCEL_MAX: Duration = Duration::from_secs(10);
/// Blobs are uploaded in batches of about this many bytes, so that not all inputs of a large
/// job are in memory twice.
const BATCH_BYTES: usize = 64 << 20;

/// What is paid, and to whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Buying")]
pub struct Purchase {
    /// The most to pay per Tfuel: credits such as 0.001, or nanocredits such as 1000000n
    /// [default: the dearest ask that stands, 0.001 at most; or the price of --ask]
    #[arg(long, value_name = "PRICE", value_parser = amount::parse_price,
          allow_hyphen_values = true)]
    pub max_price: Option<i64>,
    /// The most to pay in all, in credits; what isn't used comes back [default: 1, or what
    /// there is]
    #[arg(long, value_name = "CREDITS", value_parser = amount::parse_credits,
          allow_hyphen_values = true)]
    pub budget: Option<i64>,
    /// The most machine slots to use at once [default: 1 for run; a slot per input, 16 at most,
    /// for map]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..),
          allow_negative_numbers = true)]
    pub slots: Option<u32>,
    /// Take only this ask (`jusha market show` lists them)
    #[arg(long, value_name = "ORDER")]
    pub ask: Option<OrderId>,
    #[command(flatten)]
    pub filters: MachineFilters,
    /// Print the job's id and leave: `jusha jobs wait` and `jusha jobs result` go on
    #[arg(long)]
    pub detach: bool,
    /// The job's name, shown in lists [default: the program's]
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
}

/// What a buyer wants of machines.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct MachineFilters {
    /// Take only machines that the exchange measured to be at least so fast, in millions of fuel
    /// per second (`jusha market show` lists asks with their machines' figures)
    #[arg(long, value_name = "MFUEL", default_value_t = 0)]
    pub min_speed: u32,
    /// Take only machines with at least this trust
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_trust: u32,
    /// Take only machines of whose last 100 leases their side ended at most so many
    #[arg(long, value_name = "N")]
    pub max_dropped: Option<u32>,
    /// Not this machine; may be given up to 16 times
    #[arg(long, value_name = "MACHINE")]
    pub exclude: Vec<base::MachineId>,
}

impl MachineFilters {
    fn wire(&self) -> wire::Filters {
        wire::Filters {
            speed_min_mfuel_per_s: self.min_speed,
            trust_min: self.min_trust,
            seller_ended_max: self.max_dropped,
            exclude_machines: self.exclude.clone(),
        }
    }
}

/// A task's spec and the blobs that it names.
pub struct Draft {
    /// What to run.
    pub task: Task,
    /// Where it begins, as it travels (`CheckpointFile::base_to_bytes`).
    pub base: Option<Arc<Vec<u8>>>,
    /// Its fuel limit.
    pub fuel_max: u64,
}

impl Draft {
    fn spec(&self, module: Digest, base: Option<Digest>) -> TaskSpec {
        let task = &self.task;
        let mut spec = TaskSpec {
            version: 0,
            module,
            base,
            args: task.args.clone(),
            env: task.env.clone(),
            stdin: (!task.stdin.is_empty()).then(|| Digest::of(&task.stdin)),
            inputs: task
                .inputs
                .iter()
                .map(|(name, bytes)| InputFile { name: name.clone(), content: Digest::of(bytes) })
                .collect(),
            memory_max_pages: task.memory_max_pages,
            output_max_bytes: task.output_max_bytes,
            fuel_max: self.fuel_max,
            segment_fuel: task.segment_fuel,
            seed: task.seed,
            clock_start_ms: task.clock_start_ms,
        };
        spec.version = spec.version_due();
        spec
    }
}

/// Uploads what drafts need, a few at a time, and collects their specs.
pub struct Upload<'a> {
    client: &'a Client,
    /// The module's and the base's addresses.
    program: Option<(Digest, Option<Digest>)>,
    specs: Vec<Digest>,
    pending: BTreeMap<Digest, Vec<u8>>,
    pending_bytes: usize,
    /// What is pending and longest: most likely what is refused as too large.
    longest: (usize, String),
    available_nanocredits: i64,
}

impl<'a> Upload<'a> {
    /// Makes sure first that an exchange answers and knows the account, so that a wrong URL or
    /// token is named at once.
    pub async fn begin(client: &'a Client) -> CliResult<Upload<'a>> {
        let available_nanocredits = client.wallet().await?.available_nanocredits;
        Ok(Upload {
            client,
            available_nanocredits,
            program: None,
            specs: Vec::new(),
            pending: BTreeMap::new(),
            pending_bytes: 0,
            longest: (0, String::new()),
        })
    }

    /// Adds a task. All tasks of a job have one module and one base.
    pub async fn add(&mut self, mut draft: Draft) -> CliResult<()> {
        let (module, base) = match self.program {
            Some(program) => program,
            None => {
                let bytes = std::mem::take(&mut draft.task.module);
                let digest = Digest::of(&bytes);
                self.push(draft.task.args.first().map_or("the program", String::as_str), bytes);
                let base = draft.base.take().map(|bytes| {
                    let digest = Digest::of(&bytes);
                    self.push("the base", Arc::unwrap_or_clone(bytes));
                    digest
                });
                *self.program.insert((digest, base))
            }
        };
        let spec = serde_json::to_vec(&draft.spec(module, base))
            .map_err(|error| CliError::new(error.to_string()))?;
        self.specs.push(Digest::of(&spec));
        self.push("the task's description", spec);
        for (name, bytes) in draft.task.inputs {
            self.push(&name, bytes);
        }
        self.push("standard input", draft.task.stdin);
        if self.pending_bytes >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    fn push(&mut self, what: &str, bytes: Vec<u8>) {
        let length = bytes.len();
        if length > self.longest.0 {
            self.longest = (length, what.to_owned());
        }
        if self.pending.insert(Digest::of(&bytes), bytes).is_none() {
            self.pending_bytes += length;
        }
    }

    async fn flush(&mut self) -> CliResult<()> {
        let blobs: Vec<&[u8]> = self.pending.values().map(Vec::as_slice).collect();
        let stored = SUBMIT_PATIENCE.ask(tell, || self.client.store(&blobs)).await;
        if let Err(error) = &stored
            && error.code() == Some("blob_too_large")
        {
            let (bytes, what) = &self.longest;
            return Err(CliError::refused(format!("{what} has {bytes} bytes: {error}")));
        }
        stored?;
        self.pending.clear();
        self.pending_bytes = 0;
        self.longest = (0, String::new());
        Ok(())
    }

    /// Submits the job. The id is made here, so asking again can't buy twice.
    pub async fn submit(
        self,
        purchase: &Purchase,
        name: &str,
        slots: u32,
        stop: &mut Stop,
    ) -> CliResult<JobView> {
        let client = self.client;
        let Some(job) = stop.or(self.prepare(purchase, name, slots)).await else {
            let error = CliError::new("interrupted; nothing was submitted");
            return Err(error.exit(exit::INTERRUPTED));
        };
        let job = job?;
        match stop.or(SUBMIT_PATIENCE.ask(tell, || client.submit(&job))).await {
            Some(Ok(view)) => Ok(view),
            Some(Err(error)) if error.is_transient() => {
                Err(unanswered(job.job, &CliError::chain_text(&error)))
            }
            Some(Err(error)) => Err(error.into()),
            None => Err(unanswered(job.job, "interrupted").exit(exit::INTERRUPTED)),
        }
    }

    /// All that a submission needs at the exchange, and what it will say.
    async fn prepare(mut self, purchase: &Purchase, name: &str, slots: u32) -> CliResult<NewJob> {
        self.flush().await?;
        let max_price = match (purchase.max_price, purchase.ask) {
            (Some(price), _) => price,
            (None, Some(ask)) => ask_price(self.client, ask).await?,
            (None, None) => price_to_offer(self.client).await?,
        };
        let budget = match purchase.budget {
            Some(budget) => budget,
            None if self.available_nanocredits > 0 => {
                self.available_nanocredits.min(BUDGET_DEFAULT)
            }
            None => BUDGET_DEFAULT,
        };
        Ok(NewJob {
            job: JobId(client::random_id()),
            name: purchase.name.clone().unwrap_or_else(|| name.to_owned()),
            instrument: provider::INSTRUMENT.to_owned(),
            tasks: self.specs,
            max_price_nanocredits_per_tfuel: max_price,
            slots: purchase.slots.unwrap_or(slots),
            budget_nanocredits: budget,
            ask: purchase.ask,
            filters: purchase.filters.wire(),
        })
    }
}

/// Nobody knows whether the exchange has the job.
fn unanswered(job: JobId, why: &str) -> CliError {
    CliError::new(format!("{why}; {job} may have been submitted all the same")).hint(format!(
        "`jusha jobs show {job}` says whether it was, `jusha jobs wait {job}` waits for it, \
         `jusha jobs cancel {job}` stops it"
    ))
}

/// A minute of silence would look like a hang.
fn tell(error: Option<&client::ClientError>) {
    match error {
        Some(error) => {
            eprintln!("{}; asking again for a minute", terminal::clean(&error.to_string()));
        }
        None => eprintln!("the exchange answers again"),
    }
}

/// A bid that rests is filled at its own price: so by default it is no higher than what somebody
/// asks now, and high enough for any of those that ask now to take over from one that dies.
async fn price_to_offer(client: &Client) -> CliResult<i64> {
    let book = client.book(provider::INSTRUMENT).await?;
    let standing = book.asks.iter().map(|level| level.price_nanocredits_per_tfuel);
    let price = match standing.filter(|price| *price <= MAX_PRICE_DEFAULT).max() {
        Some(price) => price,
        // Every slot is busy: what the last one went for.
        None => {
            let instruments = client.instruments().await?;
            instruments
                .iter()
                .find(|one| one.instrument == provider::INSTRUMENT)
                .and_then(|one| one.last_price_nanocredits_per_tfuel)
                .map_or(MAX_PRICE_DEFAULT, |last| last.min(MAX_PRICE_DEFAULT))
        }
    };
    Ok(price)
}

async fn ask_price(client: &Client, ask: OrderId) -> CliResult<i64> {
    let book = client.book(provider::INSTRUMENT).await?;
    book.ask_orders
        .iter()
        .find(|order| order.order == ask)
        .map(|order| order.price_nanocredits_per_tfuel)
        .ok_or_else(|| {
            CliError::new(format!("{ask} is not an open ask of {}", provider::INSTRUMENT))
                .hint("`jusha market show` lists the open asks")
        })
}

/// Follows a job to its end, or until it is out of money. A signal cancels it: as if it ran here.
pub async fn follow(
    client: &Client,
    job: &JobView,
    progress: &mut Progress,
    stop: &mut Stop,
) -> CliResult<JobView> {
    let shown = std::cell::RefCell::new(&mut *progress);
    let seen = |view: &JobView| {
        shown.borrow_mut().show(view);
        matches!(view.state, JobState::Done | JobState::Cancelled | JobState::Exhausted)
    };
    let note = |error: Option<&client::ClientError>| shown.borrow().connection(error);
    let followed = stop.or(client.follow(job.job, note, seen)).await;
    progress.finish();
    match followed {
        Some(view) => Ok(view?),
        None => Err(cancel(client, job.job, stop).await.exit(exit::INTERRUPTED)),
    }
}

/// Cancels a job after a signal. A second signal, or an exchange that can't be reached, ends the
/// command without having cancelled it, and that has to be said.
async fn cancel(client: &Client, job: JobId, stop: &mut Stop) -> CliError {
    let cancelled = CANCEL_PATIENCE.ask(|_| (), || client.cancel_job(job));
    match stop.or(tokio::time::timeout(CANCEL_MAX, cancelled)).await {
        // The command ends here, and its last line says what happened.
        Some(Ok(Ok(view))) => match view.state {
            JobState::Cancelled => CliError::new(format!("interrupted; {job} is cancelled"))
                .hint("--detach leaves a job running"),
            _ => CliError::new(format!("interrupted; {job} was over before"))
                .hint(format!("`jusha jobs result {job}` fetches its results")),
        }
        .last_line(summary::line(&view, now_ms())),
        Some(Ok(Err(error))) if !error.is_transient() => {
            CliError::new(format!("interrupted; {job}: {}", CliError::chain_text(&error)))
        }
        _ => CliError::new(format!(
            "interrupted, and the exchange can't be told so: {job} may go on, and be paid for"
        ))
        .hint(format!("`jusha jobs cancel {job}` stops it as soon as the exchange answers")),
    }
}

/// While results are fetched, a signal only ends the command.
pub fn delivering(job: &JobView, stop: Stop) {
    stop.ends_the_program(format!(
        "interrupted while fetching results; `jusha jobs result {}` fetches them",
        job.job
    ));
}

/// What a command that bought something ends with: whatever went wrong is said first, so that
/// the last line on standard error says what happened to the job.
pub fn conclude(job: &JobView, status: CliResult) -> CliResult {
    let line = summary::line(job, now_ms());
    match status {
        Ok(status) => {
            eprintln!("{line}");
            Ok(status)
        }
        Err(error) => Err(error.last_line(line)),
    }
}

/// With `--detach`: the id on standard output, the rest on standard error.
pub fn detached(job: &JobView) -> CliResult<u8> {
    terminal::line(&job.job.to_string())?;
    eprintln!("submitted; `jusha jobs wait {0}`, then `jusha jobs result {0}`", job.job);
    Ok(0)
}

/// A finished task's result with all its bytes.
pub struct Fetched {
    /// How it ended.
    pub outcome: wire::Outcome,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Files under `/out`.
    pub outputs: Vec<(String, Vec<u8>)>,
}

/// Downloads a result.
pub async fn fetch(client: &Client, result: Digest) -> CliResult<Fetched> {
    let patience = Patience::For(Duration::from_secs(60));
    let blob = |digest| patience.ask(|_| (), move || client.blob(digest));
    let result: TaskResult =
        patience.ask(|_| (), || client.json_blob::<TaskResult>(result)).await?;
    let mut outputs = Vec::new();
    for file in result.outputs {
        outputs.push((file.name, blob(file.content).await?));
    }
    Ok(Fetched {
        outcome: result.outcome,
        stdout: blob(result.stdout).await?,
        stderr: blob(result.stderr).await?,
        outputs,
    })
}

/// Milliseconds UTC.
pub fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}
