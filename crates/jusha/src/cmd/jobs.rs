//! `jusha jobs`: what was bought.

use std::path::PathBuf;

use base::TransferId;
use clap::{Args, Subcommand};
use client::Client;
use wire::{Invoice, InvoiceUnit, JobState, JobView, TaskSpec, TopUp};

use crate::cmd::map;
use crate::cmd::run::deliver;
use crate::config::Access;
use crate::error::{CliError, CliResult};
use crate::progress::Progress;
use crate::terminal::clean;
use crate::{amount, buy, summary, terminal};

/// Jobs: list, show, wait, fetch results, cancel, top up, invoice
#[derive(Debug, Args)]
pub struct Jobs {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    access: Access,
}

/// A job's id, whole or its beginning.
#[derive(Debug, Args)]
struct Which {
    /// The job's id, or as much of it as is unique
    job: String,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the account's jobs, newest first
    List {
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Show a job, its tasks and where they ran
    Show(Which),
    /// Wait until a job ends
    Wait(Which),
    /// Fetch results: of one task as `jusha run` gives them, of several as `jusha map` does
    Result {
        #[command(flatten)]
        which: Which,
        /// Where results go
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Stop a job: accepted work stays paid, the rest comes back
    Cancel(Which),
    /// Set more credits aside for a job; one that ran out goes on
    TopUp {
        #[command(flatten)]
        which: Which,
        /// How many credits more
        #[arg(value_parser = amount::parse_credits, allow_hyphen_values = true)]
        credits: i64,
    },
    /// Show what a job cost, per lease and unit
    Invoice(Which),
}

/// Runs it.
pub async fn main(options: &Jobs) -> CliResult {
    let client = options.access.client()?;
    match &options.verb {
        Verb::List { json } => list(&client, *json).await?,
        Verb::Show(which) => show(which, &find(&client, which).await?)?,
        Verb::Wait(which) => {
            let job = find(&client, which).await?;
            let mut progress = Progress::new(task_names(&client, &job).await);
            let seen = std::cell::RefCell::new(&mut progress);
            let note = |error: Option<&client::ClientError>| seen.borrow().connection(error);
            let over = |view: &JobView| {
                seen.borrow_mut().show(view);
                matches!(view.state, JobState::Done | JobState::Cancelled | JobState::Exhausted)
            };
            let job = client.follow(job.job, note, over).await?;
            progress.finish();
            eprintln!("{}", summary::line(&job, buy::now_ms()));
            if which.json {
                terminal::json(&job)?;
            }
        }
        Verb::Result { which, out } => {
            let job = find(&client, which).await?;
            return match (job.tasks.as_slice(), out) {
                ([task], out) => deliver(&client, &job, task, out.as_deref()).await,
                (_, Some(out)) => {
                    let names = task_names(&client, &job).await;
                    map::deliver_all(&client, &job, &names, out).await
                }
                (tasks, None) => Err(CliError::new(format!(
                    "{} has {} tasks, too many for standard output",
                    job.job,
                    tasks.len()
                ))
                .hint("say where their results go: --out DIR")),
            };
        }
        Verb::Cancel(which) => {
            let job = find(&client, which).await?;
            let job = client.cancel_job(job.job).await?;
            told(which, &job, &summary::line(&job, buy::now_ms()))?;
        }
        Verb::TopUp { which, credits } => {
            let job = find(&client, which).await?;
            let top_up =
                TopUp { amount_nanocredits: *credits, transfer: TransferId(client::random_id()) };
            let patience = client::Patience::For(std::time::Duration::from_secs(30));
            let job = patience.ask(|_| (), || client.top_up(job.job, &top_up)).await?;
            let budget = amount::credits(job.budget_nanocredits);
            told(which, &job, &format!("{} now has {budget} credits in all", job.job))?;
        }
        Verb::Invoice(which) => {
            let job = find(&client, which).await?;
            let invoice = client.invoice(job.job).await?;
            if which.json {
                terminal::json(&invoice)?;
            } else {
                terminal::out(invoice_table(&invoice).as_bytes())?;
            }
        }
    }
    Ok(0)
}

fn told(which: &Which, job: &JobView, text: &str) -> CliResult<()> {
    if which.json { terminal::json(job) } else { terminal::line(text) }
}

async fn find(client: &Client, which: &Which) -> CliResult<JobView> {
    if let Ok(job) = which.job.parse() {
        return Ok(client.job(job).await?);
    }
    let jobs = client.jobs().await?;
    let wanted = which.job.strip_prefix("job_").unwrap_or(&which.job);
    let mut matching: Vec<JobView> = jobs
        .into_iter()
        .filter(|job| !wanted.is_empty() && job.job.to_string()[4..].starts_with(wanted))
        .collect();
    match (matching.pop(), matching.len()) {
        // Not as listed: there its tasks may be left out.
        (Some(job), 0) => Ok(client.job(job.job).await?),
        (None, _) => {
            Err(CliError::new(format!("no job of this account begins with `{}`", which.job))
                .hint("`jusha jobs list` lists them"))
        }
        (Some(_), more) => {
            Err(CliError::new(format!("{} jobs begin with `{}`", more + 1, which.job))
                .hint("give more of the id"))
        }
    }
}

/// Tasks by the input that `map` named them after, else by number.
async fn task_names(client: &Client, job: &JobView) -> Vec<String> {
    let mut names = Vec::new();
    for (index, task) in job.tasks.iter().enumerate() {
        let spec = match job.tasks.len() {
            1 => None,
            _ => client.json_blob::<TaskSpec>(task.spec).await.ok(),
        };
        // Of several input files, the task's own is the one that is its standard input.
        let own = spec.and_then(|spec| {
            let own = |input: &&wire::InputFile| Some(input.content) == spec.stdin;
            spec.inputs.iter().find(own).map(|input| input.name.clone())
        });
        names.push(own.filter(|name| !names.contains(name)).unwrap_or_else(
            || match job.tasks.len() {
                1 => job.name.clone(),
                _ => format!("task-{index}"),
            },
        ));
    }
    names
}

fn state(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Running => "running",
        JobState::Exhausted => "exhausted",
        JobState::Done => "done",
        JobState::Cancelled => "cancelled",
    }
}

async fn list(client: &Client, json: bool) -> CliResult<()> {
    let jobs = client.jobs().await?;
    let head = ["job", "name", "state", "tasks", "submitted", "paid", "budget"];
    terminal::list(json, &jobs, "no jobs; `jusha run PROG.wasm` submits one", &head, |job| {
        let done = job.tasks.iter().filter(|task| task.result.is_some()).count();
        let tasks = match (job.tasks.as_slice(), job.task_count) {
            // Left out: the job by itself tells.
            ([], all) => format!("{all}"),
            (_, all) => format!("{done}/{all}"),
        };
        vec![
            job.job.to_string(),
            job.name.clone(),
            state(job.state).to_owned(),
            tasks,
            terminal::time(job.submitted_at_ms),
            amount::credits(job.paid_nanocredits),
            amount::credits(job.budget_nanocredits),
        ]
    })
}

fn show(which: &Which, job: &JobView) -> CliResult<()> {
    if which.json {
        return terminal::json(job);
    }
    let mut text = format!(
        "{}  {}\nstate      {}{}\nsubmitted  {}\nmax price  {} credits per Tfuel\nslots      {}\n\
         budget     {} credits\npaid       {} credits\n\n",
        job.job,
        clean(&job.name),
        state(job.state),
        job.waiting_reason.as_ref().map_or(String::new(), |reason| format!(" ({})", clean(reason))),
        terminal::time(job.submitted_at_ms),
        amount::credits(job.max_price_nanocredits_per_tfuel),
        job.slots,
        amount::credits(job.budget_nanocredits),
        amount::credits(job.paid_nanocredits),
    );
    text.push_str(&spans_table(job, |index| format!("{index}")));
    for task in &job.tasks {
        if let Some(refusal) = &task.refusal {
            text.push_str(&format!("{} was refused: {}\n", task.task, clean(refusal)));
        }
    }
    terminal::out(text.as_bytes())
}

/// Which spans of which task ran where.
pub fn spans_table(job: &JobView, name: impl Fn(usize) -> String) -> String {
    let head = ["task", "machine", "from fuel", "to fuel", "ended"];
    let mut rows = Vec::new();
    for (index, task) in job.tasks.iter().enumerate() {
        for attempt in &task.attempts {
            rows.push(vec![
                name(index),
                format!("{} ({}…)", attempt.machine_name, attempt.machine.short()),
                attempt.from.fuel.to_string(),
                attempt.to.fuel.to_string(),
                attempt.end.clone().unwrap_or_else(|| "running".to_owned()),
            ]);
        }
    }
    terminal::table(&head, &rows)
}

/// What a job cost, per lease and unit.
pub fn invoice_table(invoice: &Invoice) -> String {
    let head = ["machine", "unit", "quantity", "per", "price", "credits"];
    let mut rows = Vec::new();
    for line in &invoice.lines {
        let mut machine = format!("{} ({}…)", line.machine_name, line.machine.short());
        for unit in &line.units {
            let (quantity, per) = quantity(unit);
            rows.push(vec![
                std::mem::take(&mut machine),
                unit.unit.clone(),
                quantity,
                per.to_owned(),
                amount::credits(unit.price_nanocredits),
                amount::credits(unit.amount_nanocredits),
            ]);
        }
        let mut more = |what: &str, nanocredits: i64| {
            let none = String::new;
            let credits = amount::credits(nanocredits);
            rows.push(vec![none(), what.to_owned(), none(), none(), none(), credits]);
        };
        if line.fee_nanocredits != 0 {
            more("fee", line.fee_nanocredits);
        }
        if line.due_nanocredits != line.paid_nanocredits {
            more("not paid", line.paid_nanocredits - line.due_nanocredits);
        }
    }
    format!(
        "{}total {} credits, tariff {}\n",
        terminal::table(&head, &rows),
        amount::credits(invoice.total_nanocredits),
        invoice.tariff_version
    )
}

/// A quantity in the unit of its price, to nine digits, and that unit.
fn quantity(unit: &InvoiceUnit) -> (String, &'static str) {
    let per = match unit.unit.as_str() {
        "cpu" => "Tfuel",
        "memory" => "GiB·Tfuel",
        _ => "GiB",
    };
    let billionths =
        u128::from(unit.quantity) * 1_000_000_000 / u128::from(unit.quantity_per_price.max(1));
    (amount::credits(i64::try_from(billionths).unwrap_or(i64::MAX)), per)
}
