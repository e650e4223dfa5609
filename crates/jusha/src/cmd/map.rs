//! `jusha map`: a task per input file.
//!
//! Layout of the results: `DIR/NAME.out` is the standard output of the task for input `NAME`,
//! `DIR/NAME.err` its standard error if there is any, and `DIR/NAME/` holds the files that it
//! wrote under `/out`, if any.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use client::Client;
use wire::{JobView, TaskView};

use crate::buy::{self, Draft, Purchase, Upload};
use crate::cmd::run::why_not;
use crate::config::Access;
use crate::error::{CliError, CliResult, io};
use crate::progress::Progress;
use crate::stop::Stop;
use crate::terminal::clean;
use crate::world::{Program, World, write_outputs};
use crate::{config, exit};

/// Slots when none are asked for.
const SLOTS_DEFAULT_MAX: u32 = 16;

/// Run a program once per input file, on as many machines as are wanted
#[derive(Debug, Args)]
#[command(after_help = "\
Each input is the task's standard input and its /in/NAME. Results: DIR/NAME.out (standard output),
DIR/NAME.err (standard error, if any), DIR/NAME/ (files written under /out, if any).

Exit status: 0 if every task's was 0; 1 if a task's was not; 121 to 124 as for run if a task
trapped, reached its limit or was refused; 125 anything else in the way.")]
pub struct Map {
    /// The program: a wasm32-wasip1 command module
    #[arg(value_name = "PROG.wasm")]
    program: PathBuf,
    /// Input files, one task each
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// Where results go
    #[arg(long, value_name = "DIR", required_unless_present = "detach")]
    out: Option<PathBuf>,
    /// The program's arguments, the same for all tasks
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
    #[command(flatten)]
    world: World,
    #[command(flatten)]
    purchase: Purchase,
    #[command(flatten)]
    access: Access,
}

/// Runs it.
pub async fn main(options: &Map) -> CliResult {
    let client = options.access.client()?;
    let names = input_names(&options.inputs)?;
    let program = Program { program: options.program.clone(), args: options.args.clone() };
    let base = options.world.task(&program, 0)?;
    if let Some(out) = &options.out {
        io(fs::create_dir_all(out), format_args!("make {}", out.display()))?;
    }
    let job_name = base.args.first().cloned().unwrap_or_default();
    let begin = options.world.base()?.map(|base| Arc::new(base.base_to_bytes()));
    let mut upload = Upload::begin(&client).await?;
    for (index, (name, path)) in names.iter().zip(&options.inputs).enumerate() {
        let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
        let mut task = base.clone();
        task.seed = options.world.seed(u32::try_from(index).unwrap_or(u32::MAX));
        if task.inputs.insert(name.clone(), bytes.clone()).is_some() {
            return Err(CliError::refused(format!("--dir has a file {name}, and so is an input"))
                .hint("rename one of them: both would be /in/NAME"));
        }
        task.stdin = bytes;
        let draft = Draft { task, base: begin.clone(), fuel_max: options.world.fuel_max() };
        upload.add(draft).await?;
    }
    let slots = u32::try_from(names.len()).unwrap_or(u32::MAX).min(SLOTS_DEFAULT_MAX);
    let mut stop = Stop::listen()?;
    let job = upload.submit(&options.purchase, &job_name, slots, &mut stop).await?;
    if options.purchase.detach {
        return buy::detached(&job);
    }
    let mut progress = Progress::new(names.clone());
    let job = buy::follow(&client, &job, &mut progress, &mut stop).await?;
    buy::delivering(&job, stop);
    let out = options.out.clone().unwrap_or_default();
    let status = deliver_all(&client, &job, &names, &out).await;
    buy::conclude(&job, status)
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::refused(format!("can't read input {}: {error}", path.display()))
        .hint("every INPUT is a file that you may read")
}

/// The inputs' file names, which name their tasks: checked before anything is uploaded.
fn input_names(inputs: &[PathBuf]) -> CliResult<Vec<String>> {
    let mut seen: BTreeMap<String, &Path> = BTreeMap::new();
    let mut names = Vec::new();
    for path in inputs {
        let meta = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        let name = path.file_name().and_then(|name| name.to_str());
        let (true, Some(name)) = (meta.is_file(), name) else {
            return Err(CliError::refused(format!(
                "{} is no file with a UTF-8 name",
                path.display()
            ))
            .hint("every INPUT is a file; a shell pattern such as data/* gives many"));
        };
        if let Some(other) = seen.insert(name.to_owned(), path) {
            return Err(CliError::refused(format!(
                "{} and {} have the same name",
                other.display(),
                path.display()
            ))
            .hint("results are named after inputs: rename one of them"));
        }
        names.push(name.to_owned());
    }
    for (name, path) in &seen {
        for ending in [".out", ".err"] {
            if let Some(other) = name.strip_suffix(ending).and_then(|stem| seen.get(stem)) {
                return Err(CliError::refused(format!(
                    "the results of {} would be where those of {} go",
                    other.display(),
                    path.display()
                ))
                .hint("rename one of them"));
            }
        }
    }
    Ok(names)
}

/// Writes every task's result below `out`; the worst of the statuses.
pub async fn deliver_all(
    client: &Client,
    job: &JobView,
    names: &[String],
    out: &Path,
) -> CliResult {
    io(fs::create_dir_all(out), format_args!("make {}", out.display()))?;
    let mut worst = 0;
    let mut lacking = None;
    for (task, name) in job.tasks.iter().zip(names) {
        match deliver(client, task, name, out).await? {
            Some(status) => worst = worse(worst, status),
            None => {
                let error = why_not(job, task);
                worst = worse(worst, error.exit);
                lacking.get_or_insert(error);
            }
        }
    }
    match lacking {
        Some(error) => Err(error),
        None => Ok(worst),
    }
}

/// `None` when the task has no result.
async fn deliver(
    client: &Client,
    task: &TaskView,
    name: &str,
    out: &Path,
) -> CliResult<Option<u8>> {
    let Some(result) = task.result else { return Ok(None) };
    let fetched = buy::fetch(client, result).await?;
    let write = |ending: &str, bytes: &[u8]| {
        let path = out.join(format!("{name}{ending}"));
        config::write_file(&path, bytes)
    };
    write(".out", &fetched.stdout)?;
    if !fetched.stderr.is_empty() {
        write(".err", &fetched.stderr)?;
    }
    if !fetched.outputs.is_empty() {
        let outputs = fetched.outputs.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        write_outputs(&out.join(name), outputs)?;
    }
    let (status, explanation) = exit::of_outcome(&fetched.outcome);
    match (explanation, status) {
        (Some(explanation), _) => eprintln!("{}: {explanation}", clean(name)),
        (None, 0) => {}
        (None, status) => {
            eprintln!("{}: exit status {status}", clean(name));
            return Ok(Some(1));
        }
    }
    Ok(Some(status))
}

/// Of two statuses, the one that says more: ours before a program's.
fn worse(one: u8, other: u8) -> u8 {
    one.max(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_one_name_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["a", "b"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
            fs::write(dir.path().join(sub).join("x"), "1").unwrap();
        }
        let inputs = [dir.path().join("a/x"), dir.path().join("b/x")];
        assert_eq!(input_names(&inputs[..1]).unwrap(), ["x"]);
        assert!(input_names(&inputs).unwrap_err().to_string().contains("the same name"));
        assert!(input_names(&[dir.path().join("a")]).is_err(), "a directory");
        assert!(input_names(&[dir.path().join("zzz")]).is_err(), "missing");
    }
}
