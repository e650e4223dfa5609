//! `jusha verify`: re-runs one segment and compares it with what a chain says.

use std::fs;
use std::path::{Path, PathBuf};

use base::Digest;
use clap::Args;
use runtime::protocol::{Record, Start};
use serde::Deserialize;

use crate::cmd::exec;
use crate::containment::Containment;
use crate::error::{CliError, CliResult};
use crate::local::{self, LocalEnd};
use crate::{amount, terminal};

/// Run from a checkpoint to the next record of its chain and compare
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 the chain holds; 1 it differs; 123 machine fault; \
                        124 the checkpoint or the chain can't be used.")]
pub struct Verify {
    /// A checkpoint that `jusha exec --stop-at-fuel F --checkpoint FILE` wrote
    checkpoint: PathBuf,
    /// The chain to compare with, as `jusha exec --chain FILE` writes it
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    /// The limit that the run had: a run that stopped there has its last record there
    #[arg(long, value_name = "GFUEL", value_parser = amount::parse_gfuel,
          allow_hyphen_values = true)]
    fuel_max: Option<u64>,
    #[command(flatten)]
    containment: Containment,
}

/// A line of a chain file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Line {
    k: u64,
    fuel: u64,
    digest: Digest,
}

/// Runs it.
pub fn main(options: &Verify) -> CliResult {
    let file = exec::load(&options.checkpoint)?;
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
    let mut next: Option<Record> = None;
    let start = Start {
        base: None,
        until_mark: false,
        task: file.task,
        resume: Some(file.checkpoint),
        fuel_max: options.fuel_max.unwrap_or(base::TASK_FUEL_MAX),
        stop_at_fuel: None,
    };
    let end = local::run(&local::launcher(options.containment.weakening())?, start, |record| {
        next.get_or_insert(record);
        Ok(false)
    })?;
    match (next, end) {
        (Some(record), _) => judge(*expected, record),
        (None, LocalEnd::Refused(reason)) => {
            Err(CliError::refused(format!("{}: {reason}", options.checkpoint.display())))
        }
        (None, LocalEnd::Fault(reason)) => Err(exec::fault(&reason)),
        (None, _) => Err(exec::fault("the run ended without a record")),
    }
}

fn judge(expected: Line, found: Record) -> CliResult {
    let same = (expected.k, expected.fuel, expected.digest) == (found.k, found.fuel, found.digest);
    if same {
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

fn read_chain(path: &Path) -> CliResult<Vec<Line>> {
    let text = fs::read_to_string(path).map_err(|error| {
        CliError::refused(format!("can't read {}: {error}", path.display()))
            .hint("give a file that `jusha exec --chain FILE` wrote")
    })?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| {
                CliError::refused(format!("{} line {}: {error}", path.display(), number + 1))
                    .hint("a chain file has lines such as {\"k\":1,\"fuel\":…,\"digest\":\"…\"}")
            })
        })
        .collect()
}
