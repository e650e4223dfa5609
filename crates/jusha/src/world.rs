//! The options that decide what a program sees: the same for `exec`, `run` and `map`, so that
//! what runs here and what runs elsewhere is the same task, to the last digest.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use base::{Digest, TASK_FUEL_MAX};
use clap::Args;
use runtime::save::CheckpointFile;
use runtime::task::{Task, defaults, task_seed};

use crate::cmd::exec;
use crate::error::{CliError, CliResult, io};
use crate::{amount, config};

/// A program and its arguments.
#[derive(Debug, Args)]
pub struct Program {
    /// The program: a wasm32-wasip1 command module
    #[arg(value_name = "PROG.wasm")]
    pub program: PathBuf,
    /// Its arguments
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// What the program sees and may use.
#[derive(Debug, Args)]
#[command(next_help_heading = "World")]
pub struct World {
    /// Files that the program sees, read-only, under /in
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// An environment variable of the program; may be repeated
    #[arg(long = "env", value_name = "K=V", value_parser = parse_env)]
    pub env: Vec<(String, String)>,
    /// The most memory it may have
    #[arg(long, value_name = "MIB", default_value_t = defaults::MEMORY_MAX_PAGES / 16,
          value_parser = clap::value_parser!(u32).range(1..=4096), allow_negative_numbers = true)]
    pub memory_max: u32,
    /// Stop it at the first safepoint past this much fuel [default: 140737.488355328]
    #[arg(long, value_name = "GFUEL", value_parser = amount::parse_gfuel,
          allow_hyphen_values = true)]
    pub fuel_max: Option<u64>,
    /// Length of a segment: the chain has a record at each multiple of it
    /// [default: 64]
    #[arg(long, value_name = "GFUEL", value_parser = amount::parse_gfuel,
          allow_hyphen_values = true)]
    pub segment_gfuel: Option<u64>,
    /// Begin in a base of the same program, arguments and environment that
    /// `jusha exec --snapshot` wrote
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// What the program's random numbers derive from, any text
    #[arg(long, value_name = "TEXT")]
    pub seed: Option<String>,
}

fn parse_env(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not of the form KEY=VALUE")),
    }
}

impl World {
    /// The fuel limit.
    pub fn fuel_max(&self) -> u64 {
        self.fuel_max.unwrap_or(TASK_FUEL_MAX)
    }

    /// Where it begins, if not at its program's beginning.
    pub fn base(&self) -> CliResult<Option<CheckpointFile>> {
        self.from.as_deref().map(exec::load).transpose()
    }

    /// What the random numbers of a job's task derive from.
    pub fn seed(&self, index: u32) -> Digest {
        let job = self.seed.as_ref().map_or_else(Digest::default, |s| Digest::of(s.as_bytes()));
        task_seed(&job, index)
    }

    /// The task that these options describe, without input.
    pub fn task(&self, program: &Program, index: u32) -> CliResult<Task> {
        let module = fs::read(&program.program).map_err(|error| {
            CliError::refused(format!("can't read {}: {error}", program.program.display()))
                .hint("give the path of a .wasm file, compiled for wasm32-wasip1")
        })?;
        check_header(&program.program, &module)?;
        let name = program.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Task {
            module,
            args: std::iter::once(name).chain(program.args.iter().cloned()).collect(),
            env: self.env.clone(),
            stdin: Vec::new(),
            inputs: match &self.dir {
                Some(dir) => read_dir(dir)?,
                None => BTreeMap::new(),
            },
            memory_max_pages: self.memory_max * 16,
            output_max_bytes: defaults::OUTPUT_MAX_BYTES,
            segment_fuel: self.segment_gfuel.unwrap_or(defaults::SEGMENT_FUEL),
            seed: self.seed(index),
            clock_start_ms: defaults::CLOCK_START_MS,
        })
    }
}

/// What is plainly something else is told by its path, before anything is sent anywhere.
fn check_header(path: &Path, bytes: &[u8]) -> CliResult<()> {
    let found = match bytes {
        [0, b'a', b's', b'm', ..] => return Ok(()),
        [] => "it is empty".to_owned(),
        _ => {
            let first: Vec<String> =
                bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("it begins with {} instead of 00 61 73 6d", first.join(" "))
        }
    };
    Err(CliError::refused(format!("{} is not a WebAssembly module: {found}", path.display()))
        .hint("compile the program for wasm32-wasip1 and give the .wasm file"))
}

/// Standard input, unless a person sits there: a program that is run at a terminal has none.
pub fn read_stdin() -> CliResult<Vec<u8>> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    match stdin.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        // A closed descriptor, as under cron: no input.
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EBADF as i32) => {
            Ok(Vec::new())
        }
        Err(error) => Err(CliError::new(format!("can't read standard input: {error}"))),
    }
}

/// All files below `dir` by their path below it, with `/` between the parts.
fn read_dir(dir: &Path) -> CliResult<BTreeMap<String, Vec<u8>>> {
    let missing = |path: &Path, error: std::io::Error| {
        CliError::refused(format!("can't read {}: {error}", path.display()))
            .hint("--dir takes a directory whose files you may read")
    };
    let mut files = BTreeMap::new();
    let mut pending = vec![(dir.to_owned(), String::new())];
    while let Some((directory, prefix)) = pending.pop() {
        for entry in fs::read_dir(&directory).map_err(|error| missing(&directory, error))? {
            let entry = entry.map_err(|error| missing(&directory, error))?;
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                return Err(CliError::refused(format!(
                    "the name of {} is not UTF-8",
                    path.display()
                ))
                .hint("rename it: programs see UTF-8 names"));
            };
            let name = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(|error| missing(&path, error))?;
            // A link to a file is followed; one to a directory could lead in circles.
            if kind.is_dir() {
                pending.push((path, format!("{name}/")));
            } else if fs::metadata(&path).map_err(|error| missing(&path, error))?.is_file() {
                let bytes = fs::read(&path).map_err(|error| missing(&path, error))?;
                files.insert(name, bytes);
            } else {
                return Err(CliError::refused(format!("{} is no regular file", path.display()))
                    .hint("only files and directories can be given to a program"));
            }
        }
    }
    Ok(files)
}

/// Where a file that a program wrote goes below `dir`. Names come from strangers' programs by
/// way of strangers' machines, so whatever could lead outside of `dir` is refused.
fn path_below(dir: &Path, name: &str) -> CliResult<PathBuf> {
    let parts: Vec<&str> = name.split('/').collect();
    let harmless = parts
        .iter()
        .all(|part| !part.is_empty() && *part != "." && *part != ".." && !part.contains('\0'));
    if !harmless {
        return Err(CliError::new(format!("the program wrote a file with the bad name {name:?}"))
            .hint("nothing was written for it"));
    }
    Ok(parts.iter().fold(dir.to_owned(), |path, part| path.join(part)))
}

/// Writes a program's files below `dir`.
pub fn write_outputs<'a>(
    dir: &Path,
    outputs: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> CliResult<()> {
    io(fs::create_dir_all(dir), format_args!("make {}", dir.display()))?;
    for (name, bytes) in outputs {
        let path = path_below(dir, name)?;
        if let Some(parent) = path.parent() {
            io(fs::create_dir_all(parent), format_args!("make {}", parent.display()))?;
        }
        config::write_file(&path, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_stay_below_their_directory() {
        let dir = Path::new("/tmp/out");
        assert_eq!(path_below(dir, "a/b.txt").unwrap(), Path::new("/tmp/out/a/b.txt"));
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\0b"] {
            assert!(path_below(dir, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn files_are_read_with_their_paths() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("b"), "1").unwrap();
        fs::write(dir.path().join("sub/a"), "2").unwrap();
        let files = read_dir(dir.path()).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["b", "sub/a"]);
        let error = read_dir(&dir.path().join("nowhere")).unwrap_err();
        assert_eq!(error.exit, crate::exit::REFUSED);
    }
}
