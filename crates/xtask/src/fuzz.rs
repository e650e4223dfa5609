//! `cargo xtask fuzz`: the runtime's fuzzing loop on every core, for as long as it is told.
//!
//! The loop itself is a test of the runtime (`tests::fuzz::endless`), since it needs what no
//! other crate sees. Here it is built, started once per core with seeds of its own, watched, and
//! its figures are added up. A process that dies or hangs leaves its input behind, which is kept
//! like any other failing one, in `fuzz/corpus`.
//!
//! The cumulative counts, and the seed to go on from, are in the target directory: that is what
//! outlives a run both here and in CI (which keeps its target directory and throws its clone
//! away). In the repository they would change with every run.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::{chores, run};

/// Figures by name, in the order in which they were first told.
type Counts = Vec<(String, u64)>;

/// A process that goes on this much longer than it was told hangs in its input.
const GRACE: Duration = Duration::from_secs(120);
/// The first seed; ordinary tests use those below.
const FIRST_SEED: u64 = 1 << 20;
const TEST: &str = "tests::fuzz::endless";

struct Options {
    seconds: u64,
    jobs: usize,
    grow: bool,
}

fn options(args: &[String]) -> Result<Options, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options { seconds: 60, jobs: cores, grow: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || {
            let text = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
            text.parse::<u64>().map_err(|_| format!("{arg} needs a number, not `{text}`"))
        };
        match arg.as_str() {
            "--seconds" => options.seconds = number()?,
            "--jobs" => options.jobs = number()?.clamp(1, 256) as usize,
            "--grow" => options.grow = true,
            _ => return Err(format!("fuzz has no option `{arg}`; see cargo xtask help")),
        }
    }
    Ok(options)
}

/// Builds, runs, adds up.
pub fn fuzz(root: &Path, args: &[String]) -> Result<(), String> {
    let options = options(args)?;
    let binary = build(root)?;
    let directory = chores::target(root).join("fuzz");
    std::fs::create_dir_all(&directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    let kept = directory.join("counts");
    let mut total = read_counts(&std::fs::read_to_string(&kept).unwrap_or_default());
    let first = get(&total, "next_seed").max(FIRST_SEED);
    eprintln!("fuzz: {} s on {} cores, from seed {first}", options.seconds, options.jobs);

    let mut workers = Vec::new();
    for job in 0..options.jobs {
        let scratch = directory.join(format!("worker-{job}"));
        std::fs::create_dir_all(&scratch)
            .map_err(|error| format!("{}: {error}", scratch.display()))?;
        let mut command =
            run::command(root, &binary, &["--ignored", "--exact", TEST, "--nocapture"]);
        command
            .env("JUSHA_FUZZ_SECONDS", options.seconds.to_string())
            .env("JUSHA_FUZZ_SEED", (first + job as u64).to_string())
            .env("JUSHA_FUZZ_STEP", options.jobs.to_string())
            .env("JUSHA_FUZZ_SCRATCH", &scratch)
            .stdout(Stdio::piped());
        if options.grow {
            command.env("JUSHA_FUZZ_GROW", "1");
        }
        let child = command.spawn().map_err(|error| format!("{}: {error}", binary.display()))?;
        workers.push(Worker { child, scratch });
    }
    let deadline = Instant::now() + Duration::from_secs(options.seconds) + GRACE;
    let mut this: Counts = Vec::new();
    for worker in workers {
        add(&mut this, &worker.finish(root, deadline));
    }
    let next = first + get(&this, "modules") * 2 + options.jobs as u64;
    let elapsed = vec![
        ("runs".to_owned(), 1),
        ("core_seconds".to_owned(), options.seconds * options.jobs as u64),
    ];
    add(&mut this, &elapsed);
    add(&mut total, &this);
    set(&mut total, "next_seed", next);
    let text: String = total.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
    std::fs::write(&kept, text).map_err(|error| format!("{}: {error}", kept.display()))?;
    println!("{:<16} {:>14} {:>14}", "", "this run", "in all");
    for (name, value) in this.iter().filter(|(name, _)| name != "next_seed") {
        println!("{name:<16} {value:>14} {:>14}", get(&total, name));
    }
    println!("(in all: {})", kept.display());
    match get(&this, "failures") {
        0 => Ok(()),
        failures => Err(format!("{failures} inputs failed; they are in fuzz/corpus")),
    }
}

/// The runtime's unit tests, built with the whole workspace so that nothing is built twice.
fn build(root: &Path) -> Result<PathBuf, String> {
    let mut binary = None;
    let mut look = |line: &str| {
        let path = line.rsplit_once('(').and_then(|(_, path)| path.strip_suffix(')'));
        if let Some(path) = path
            && line.contains("Executable unittests")
            && path.rsplit('/').next().is_some_and(|name| name.starts_with("runtime-"))
        {
            binary = Some(root.join(path));
        }
    };
    let args = ["test", "--workspace", "--lib", "--no-run", "--locked"];
    if !run::read(&mut run::cargo(root, &args), &mut look)? {
        return Err("the runtime's tests could not be built".to_owned());
    }
    binary.ok_or_else(|| "cargo did not say where the runtime's tests are".to_owned())
}

struct Worker {
    child: Child,
    scratch: PathBuf,
}

impl Worker {
    /// Waits for its figures. Without them, what it was at is the failure.
    fn finish(mut self, root: &Path, deadline: Instant) -> Counts {
        let stdout = self.child.stdout.take();
        let (sender, ended) = channel();
        std::thread::spawn(move || {
            let lines = stdout.map(|pipe| BufReader::new(pipe).lines());
            let lines = lines.into_iter().flatten().map_while(Result::ok);
            let told = |line: String| Some(line.split_once("fuzz-counts ")?.1.to_owned());
            // Only when the pipe closes has the process ended.
            let _ = sender.send(lines.filter_map(told).last());
        });
        let line = ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let hangs = line.is_err();
        if hangs {
            let _ = self.child.kill();
        }
        let status = self.child.wait().map_or_else(|error| error.to_string(), |s| s.to_string());
        if let Ok(Some(line)) = line {
            return read_counts(&line.replace(' ', "\n").replace('=', " "));
        }
        let ended = if hangs { "did not end".to_owned() } else { format!("ended with {status}") };
        let what = std::fs::read_to_string(self.scratch.join("seed")).unwrap_or_default();
        let (kind, seed) = what.split_once(' ').unwrap_or(("module", "unknown"));
        let (folder, extension) =
            if kind == "module" { ("modules", "wasm") } else { (kind, "bin") };
        let kept = root.join(format!("fuzz/corpus/{folder}/crashed-{seed}.{extension}"));
        let moved = kept.parent().map_or(Ok(()), std::fs::create_dir_all);
        let moved = moved.and_then(|()| std::fs::copy(self.scratch.join("input"), &kept));
        eprintln!("fuzz: FAILED: a process {ended} at {kind} seed {seed}");
        if moved.is_ok() {
            eprintln!("  its input: {}", kept.display());
        }
        vec![("failures".to_owned(), 1)]
    }
}

/// Lines of a name and a number.
fn read_counts(text: &str) -> Counts {
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn get(counts: &Counts, name: &str) -> u64 {
    counts.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value)
}

fn set(counts: &mut Counts, name: &str, value: u64) {
    counts.retain(|(known, _)| known != name);
    counts.push((name.to_owned(), value));
}

fn add(counts: &mut Counts, more: &Counts) {
    for (name, value) in more {
        match counts.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += value,
            None => counts.push((name.clone(), *value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_added() {
        let mut total = read_counts("modules 3\nfailures 0\nrubbish\n");
        add(&mut total, &read_counts("modules 4\ndecodes 9\n"));
        assert_eq!((get(&total, "modules"), get(&total, "decodes")), (7, 9));
        set(&mut total, "modules", 1);
        assert_eq!((get(&total, "modules"), get(&total, "absent")), (1, 0));
    }

    #[test]
    fn options_are_understood() {
        let args = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let parsed = options(&args("--seconds 5 --grow")).unwrap();
        assert!((parsed.seconds, parsed.grow) == (5, true) && parsed.jobs > 0);
        assert!(options(&args("--seconds")).is_err());
        assert!(options(&args("--seconds x")).is_err());
        assert!(options(&args("--forever")).is_err());
    }
}
