//! `jusha verify`: re-runs one segment and compares it with what a chain says.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use runtime::chain_file;
use runtime::checkpoint::Checkpoint;
use runtime::protocol::{Goal, Reached, Record, Start};
use runtime::save::CheckpointFile;

use crate::cmd::exec;
use crate::containment::Containment;
use crate::error::{CliError, CliResult};
use crate::local::{self, LocalEnd};
use crate::{amount, config, terminal};

/// Run from a checkpoint to the next record of its chain, compare, and say what that cost
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 the chain holds; 1 it differs; 123 machine fault; \
                        124 the checkpoint or the chain can't be used.")]
pub struct Verify {
    /// A checkpoint that `jusha exec --stop-at-fuel F --checkpoint FILE` wrote, or one that
    /// --needed made smaller
    checkpoint: PathBuf,
    /// The chain to compare with, as `jusha exec --chain FILE` writes it
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    /// The base in which the task began, if it did (`jusha exec --from FILE`)
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Write the checkpoint with only the leaves that this span needs: enough for others to check
    /// it, too
    #[arg(long, value_name = "FILE")]
    needed: Option<PathBuf>,
    /// The limit that the run had: a run that stopped there has its last record there
    #[arg(long, value_name = "GFUEL", value_parser = amount::parse_gfuel,
          allow_hyphen_values = true)]
    fuel_max: Option<u64>,
    #[command(flatten)]
    containment: Containment,
}

/// Runs it.
pub fn main(options: &Verify) -> CliResult {
    let file = exec::load_with(&options.checkpoint, CheckpointFile::span_from_bytes)?;
    let base = match &options.from {
        Some(path) => Some(exec::load(path)?),
        None => None,
    };
    let fuel = file.checkpoint.usage().fuel;
    let lines = read_chain(&options.chain)?;
    if let Some(before) = lines.iter().rev().find(|line| line.fuel <= fuel)
        && before.digest != file.checkpoint.chain_head()
    {
        terminal::line(&format!(
            "DIFFERS: the checkpoint's chain is at {}, {} says {} for record {}",
            file.checkpoint.chain_head(),
            options.chain.display(),
            before.digest,
            before.k
        ))?;
        return Ok(1);
    }
    let Some(expected) = lines.iter().find(|line| line.fuel > fuel) else {
        return Err(CliError::refused(format!(
            "{} has no record past the checkpoint's fuel {fuel}",
            options.chain.display()
        ))
        .hint("write the chain of the whole run: jusha exec … --chain FILE"));
    };
    let start = Start {
        base,
        goal: Goal::Record,
        resume: Some(file.checkpoint.clone()),
        fuel_max: options.fuel_max.unwrap_or(base::TASK_FUEL_MAX),
        ..Start::new(file.task.clone())
    };
    let launcher = local::launcher(options.containment.weakening())?;
    let reached = match local::run(&launcher, start, |_| Ok(()))? {
        LocalEnd::Reached(reached) => reached,
        LocalEnd::Refused(reason) => {
            let path = options.checkpoint.display();
            let error = CliError::refused(format!("{path}: {reason}"));
            return Err(match &options.from {
                Some(_) => error,
                None => error.hint("a task that began in a base needs it here, too: --from BASE"),
            });
        }
        LocalEnd::Fault(reason) => return Err(exec::fault(&reason)),
        _ => return Err(exec::fault("the run ended without a record")),
    };
    let status = judge(*expected, reached.record)?;
    terminal::line(&cost(&file.checkpoint, &reached))?;
    if let Some(path) = &options.needed {
        let checkpoint = file.checkpoint.only(&reached.needed);
        config::write_private(path, &CheckpointFile { checkpoint, ..file }.to_bytes())?;
    }
    Ok(status)
}

/// `cost: 152.4 ms of processor time for 1.0 Gfuel; it needed 3 of 160 leaves, 192 of 10240 KiB`
fn cost(checkpoint: &Checkpoint, reached: &Reached) -> String {
    let leaves = checkpoint.leaves();
    let there: usize = leaves.values().map(|leaf| leaf.len()).sum();
    let needed = leaves.iter().filter(|(digest, _)| reached.needed.contains(digest));
    let (count, bytes) =
        needed.fold((0, 0), |(count, bytes), (_, leaf)| (count + 1, bytes + leaf.len()));
    format!(
        "cost: {}.{} ms of processor time for {}; it needed {count} of {} leaves, {} of {} KiB",
        reached.cpu_ns / 1_000_000,
        reached.cpu_ns / 100_000 % 10,
        amount::fuel(reached.record.fuel.saturating_sub(checkpoint.usage().fuel)),
        leaves.len(),
        bytes.div_ceil(1 << 10),
        there.div_ceil(1 << 10),
    )
}

fn judge(expected: Record, found: Record) -> CliResult {
    if expected == found {
        terminal::line(&format!(
            "ok: record {} at fuel {}: {}",
            found.k, found.fuel, found.digest
        ))?;
        return Ok(0);
    }
    terminal::line(&format!(
        "DIFFERS: the chain says record {} at fuel {}: {}\n    recomputed: record {} at fuel {}: {}",
        expected.k, expected.fuel, expected.digest, found.k, found.fuel, found.digest
    ))?;
    if expected.fuel < found.fuel {
        eprintln!("hint: if the run had a limit, give it here, too: --fuel-max GFUEL");
    }
    Ok(1)
}

fn read_chain(path: &Path) -> CliResult<Vec<Record>> {
    let text = fs::read(path).map_err(|error| {
        CliError::refused(format!("can't read {}: {error}", path.display()))
            .hint("give a file that `jusha exec --chain FILE` wrote")
    })?;
    chain_file::read(&text).map_err(|error| {
        CliError::refused(format!("{} {error}", path.display()))
            .hint("a chain file has lines such as {\"k\":1,\"fuel\":…,\"digest\":\"…\"}")
    })
}
