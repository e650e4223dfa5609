//! `jusha exec`: the runtime's face. Runs a program here, with the same metering, checkpoints
//! and chain as anywhere else, and no market.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use runtime::chain_file;
use runtime::checkpoint::{Checkpoint, CheckpointError};
use runtime::protocol::{End, Goal, Start};
use runtime::save::CheckpointFile;
use runtime::task::Task;

use crate::containment::Containment;
use crate::error::{CliError, CliResult, io};
use crate::local::{self, LocalEnd};
use crate::world::{Program, World, read_stdin, write_outputs};
use crate::{config, exit, terminal};

/// Run a program here, metered and checkpointed, without any market
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub struct Exec {
    #[command(flatten)]
    program: Program,
    /// Where the files that the program writes under /out go
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Which task of a job it is to be: its random numbers are that task's
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    task_index: u32,
    /// Write a JSON line per record of the chain: k, fuel, digest
    #[arg(long, value_name = "FILE")]
    chain: Option<PathBuf>,
    /// Stop at the first safepoint past this much fuel (in units of fuel) and write --checkpoint
    #[arg(long, value_name = "FUEL", requires = "checkpoint", allow_negative_numbers = true)]
    stop_at_fuel: Option<u64>,
    /// The checkpoint to write with --stop-at-fuel
    #[arg(long, value_name = "FILE", requires = "stop_at_fuel")]
    checkpoint: Option<PathBuf>,
    /// Go on from a checkpoint of the same program, arguments, input and options
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Stop where the program marks the end of its start-up (it asks for the path .jusha-base)
    /// and write the state: a base, in which tasks with other input can begin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["checkpoint", "resume", "from"])]
    snapshot: Option<PathBuf>,
    /// Write the usage: one JSON object of integers
    #[arg(long, value_name = "FILE")]
    usage: Option<PathBuf>,
    #[command(flatten)]
    world: World,
    #[command(flatten)]
    containment: Containment,
}

/// Runs it.
pub fn main(options: &Exec) -> CliResult {
    let mut task = options.world.task(&options.program, options.task_index)?;
    task.stdin = read_stdin()?;
    let resume = match &options.resume {
        Some(path) => Some(load_for(path, &task)?),
        None => None,
    };
    let base = options.world.base()?;
    let mut chain = match &options.chain {
        Some(path) => {
            Some((io(File::create(path), format_args!("write {}", path.display()))?, path))
        }
        None => None,
    };
    let goal = if options.snapshot.is_some() { Goal::Mark } else { Goal::End };
    let start = Start {
        base,
        goal,
        resume,
        fuel_max: options.world.fuel_max(),
        stop_at_fuel: options.stop_at_fuel,
        ..Start::new(task.clone())
    };
    let end = local::run(&local::launcher(options.containment.weakening())?, start, |record| {
        if let Some((file, path)) = &mut chain {
            let path: &Path = path;
            let written = file.write_all(chain_file::line(&record).as_bytes());
            if written.is_err() && file.metadata().is_ok_and(|meta| meta.is_file()) {
                // On a full disk, half a chain would only look like a whole one.
                let _ = fs::remove_file(path);
            }
            io(written, format_args!("write {}", path.display()))?;
        }
        Ok(())
    })?;
    match end {
        LocalEnd::Ended(end) => {
            let status = finish(options, &end)?;
            if options.snapshot.is_none() {
                return Ok(status);
            }
            Err(CliError::refused("the program ended without marking the end of its start-up")
                .hint("let it ask for the path .jusha-base, such as with os.path.exists"))
        }
        LocalEnd::Stopped(checkpoint) => stopped(options, task, checkpoint),
        LocalEnd::Refused(reason) => {
            let path = options.program.program.display();
            Err(CliError::refused(format!("{path}: {reason}")))
        }
        LocalEnd::Fault(reason) => Err(fault(&reason)),
        LocalEnd::Reached(_) => Err(CliError::new("the run was given up")),
    }
}

/// The host failed: a machine fault.
pub fn fault(reason: &str) -> CliError {
    CliError::new(format!("machine fault: {reason}"))
        .hint("the program did not fail, this computer did (memory, disk?): run it again")
        .exit(exit::MACHINE_FAULT)
}

/// A checkpoint file, with the path in what goes wrong.
pub fn load(path: &Path) -> CliResult<CheckpointFile> {
    load_with(path, CheckpointFile::from_bytes)
}

/// The same for one way of reading it.
pub fn load_with(
    path: &Path,
    read: impl FnOnce(&[u8]) -> Result<CheckpointFile, CheckpointError>,
) -> CliResult<CheckpointFile> {
    let bytes = fs::read(path).map_err(|error| {
        CliError::refused(format!("can't read {}: {error}", path.display()))
            .hint("give a file that `jusha exec --stop-at-fuel F --checkpoint FILE` wrote")
    })?;
    read(&bytes).map_err(|error| CliError::refused(format!("{}: {error}", path.display())))
}

fn load_for(path: &Path, task: &Task) -> CliResult<Checkpoint> {
    let file = load(path)?;
    let different = differences(&file.task, task);
    if different.is_empty() {
        return Ok(file.checkpoint);
    }
    Err(CliError::refused(format!(
        "{} is a checkpoint of another task: the {} differ",
        path.display(),
        different.join(", the ")
    ))
    .hint("give the same program, arguments, input and options as when it was written"))
}

/// What makes two tasks different ones, by the names that people know.
fn differences(one: &Task, other: &Task) -> Vec<&'static str> {
    [
        ("program's bytes", one.module == other.module),
        ("arguments", one.args == other.args),
        ("environment variables (--env)", one.env == other.env),
        ("contents of standard input", one.stdin == other.stdin),
        ("input files (--dir)", one.inputs == other.inputs),
        ("memory limits (--memory-max)", one.memory_max_pages == other.memory_max_pages),
        ("output limits", one.output_max_bytes == other.output_max_bytes),
        ("segments (--segment-gfuel)", one.segment_fuel == other.segment_fuel),
        ("seeds (--seed, --task-index)", one.seed == other.seed),
        ("clocks", one.clock_start_ms == other.clock_start_ms),
    ]
    .into_iter()
    .filter_map(|(what, same)| (!same).then_some(what))
    .collect()
}

fn finish(options: &Exec, end: &End) -> CliResult {
    terminal::out(&end.stdout)?;
    io(std::io::stderr().write_all(&end.stderr), "write to standard error")?;
    if let Some(dir) = &options.out {
        let outputs = end.outputs.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        write_outputs(dir, outputs)?;
    }
    write_usage(options, end.usage)?;
    let (status, explanation) = exit::of_outcome(&exit::to_wire(&end.outcome));
    if let Some(explanation) = explanation {
        eprintln!("jusha: {explanation}");
    }
    Ok(status)
}

fn stopped(options: &Exec, task: Task, checkpoint: Checkpoint) -> CliResult {
    let usage = checkpoint.usage();
    let Some(path) = options.checkpoint.as_ref().or(options.snapshot.as_ref()) else {
        return Err(CliError::new("the program was stopped without being asked to"));
    };
    let bytes = CheckpointFile { task, checkpoint }.to_bytes();
    config::write_private(path, &bytes)?;
    write_usage(options, usage)?;
    eprintln!("jusha: stopped at fuel {}; {} goes on from there", usage.fuel, path.display());
    Ok(0)
}

fn write_usage(options: &Exec, usage: base::Usage) -> CliResult<()> {
    let Some(path) = &options.usage else { return Ok(()) };
    let mut text =
        serde_json::to_string(&usage).map_err(|error| CliError::new(error.to_string()))?;
    text.push('\n');
    config::write_file(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let task = Task::new(vec![1]);
        assert!(differences(&task, &task).is_empty());
        let other = Task { args: vec![], segment_fuel: 1, ..task.clone() };
        assert_eq!(differences(&task, &other), ["arguments", "segments (--segment-gfuel)"]);
    }
}
