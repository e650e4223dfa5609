//! `jusha run`: one task on somebody's machine, as if it ran here.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use wire::{JobState, JobView, TaskState, TaskView};

use crate::buy::{self, Draft, Purchase, Upload};
use crate::config::Access;
use crate::error::{CliError, CliResult, io};
use crate::progress::Progress;
use crate::stop::Stop;
use crate::world::{Program, World, read_stdin, write_outputs};
use crate::{exit, terminal};

/// Run a program on machines of the exchange, as if it ran here
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub struct Run {
    #[command(flatten)]
    program: Program,
    /// Where the files that the program writes under /out go
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    world: World,
    #[command(flatten)]
    purchase: Purchase,
    #[command(flatten)]
    access: Access,
}

/// Runs it.
pub async fn main(options: &Run) -> CliResult {
    let client = options.access.client()?;
    let mut task = options.world.task(&options.program, 0)?;
    task.stdin = read_stdin()?;
    let name = task.args.first().cloned().unwrap_or_default();
    let mut upload = Upload::begin(&client).await?;
    let base = options.world.base()?.map(|base| Arc::new(base.base_to_bytes()));
    let draft = Draft { task, base, fuel_max: options.world.fuel_max() };
    upload.add(draft).await?;
    let mut stop = Stop::listen()?;
    let job = upload.submit(&options.purchase, &name, 1, &mut stop).await?;
    if options.purchase.detach {
        return buy::detached(&job);
    }
    let mut progress = Progress::new(vec![name]);
    let job = buy::follow(&client, &job, &mut progress, &mut stop).await?;
    buy::delivering(&job, stop);
    let status = match job.tasks.first() {
        Some(task) => deliver(&client, &job, task, options.out.as_deref()).await,
        None => Err(CliError::new(format!("{} has no task", job.job))),
    };
    buy::conclude(&job, status)
}

/// Gives out a task's result: bytes where the program would have put them, and its status.
pub async fn deliver(
    client: &client::Client,
    job: &JobView,
    task: &TaskView,
    out: Option<&std::path::Path>,
) -> CliResult {
    let Some(result) = task.result else { return Err(why_not(job, task)) };
    let fetched = buy::fetch(client, result).await?;
    terminal::out(&fetched.stdout)?;
    io(std::io::stderr().write_all(&fetched.stderr), "write to standard error")?;
    let outputs = fetched.outputs.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    match out {
        Some(dir) => write_outputs(dir, outputs)?,
        None if !fetched.outputs.is_empty() => eprintln!(
            "jusha: the program wrote {} files under /out; `jusha jobs result {} --out DIR` \
             fetches them",
            fetched.outputs.len(),
            job.job
        ),
        None => {}
    }
    let (status, explanation) = exit::of_outcome(&fetched.outcome);
    if let Some(explanation) = explanation {
        eprintln!("jusha: {explanation}");
    }
    Ok(status)
}

/// Whether a task was given up since machines failed, not since they refused it: the exchange
/// begins such a reason with these words.
fn is_machine_fault(reason: &str) -> bool {
    reason.starts_with("machine faults")
}

/// Why a task has no result.
pub fn why_not(job: &JobView, task: &TaskView) -> CliError {
    match (task.state, job.state) {
        (TaskState::Refused, _) => match &task.refusal {
            Some(reason) if is_machine_fault(reason) => CliError::new(reason)
                .hint("work since its last accepted checkpoint was not billed; run it again, or on a machine of \
                     your choice with --ask")
                .exit(exit::MACHINE_FAULT),
            Some(reason) => CliError::refused(reason),
            None => CliError::refused("no machine can run the program"),
        },
        (_, JobState::Exhausted) => CliError::new(format!("the budget of {} is used up", job.job))
            .hint(format!("`jusha jobs top-up {} CREDITS` lets it go on from where it is", job.job))
            .exit(exit::LIMIT),
        (_, JobState::Cancelled) => CliError::new(format!("{} was cancelled", job.job)),
        _ => CliError::new(format!("{} has no result yet", task.task))
            .hint(format!("`jusha jobs wait {}` waits for it", job.job)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_machines_are_told_from_refused_programs() {
        assert!(is_machine_fault("machine faults: 3 in a row, the last: the worker died"));
        assert!(!is_machine_fault("the module has no `_start`"));
        assert!(!is_machine_fault("the last of 3 machine faults"));
    }
}
