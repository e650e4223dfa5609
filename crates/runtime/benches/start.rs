//! What it takes to begin a task whose module is compiled already.
//!
//! `cargo bench -p runtime --bench start [-- FILE.wasm… | --python FILE.wasm]`
//!
//! For each program: loading the artefact, and everything between that and the first instruction
//! (the world, the instance, the genesis root); the task's digest, which is part of it, is shown
//! apart, since it hashes the module. With `--python` the program is CPython, and its tasks begin
//! in a base that was made once it had imported a few modules. Medians of 31 with the middle half's spread, in
//! milliseconds of thread CPU and of wall time. It prints and never fails.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use runtime::measure::{Beginning, RunError, beginnings};
use runtime::save::CheckpointFile;
use runtime::task::Task;

const ROUNDS: usize = 31;

fn main() -> ExitCode {
    let mut files: Vec<PathBuf> =
        std::env::args().skip(1).filter(|arg| arg != "--bench").map(PathBuf::from).collect();
    if let [flag, file] = files.as_slice()
        && flag.as_os_str() == "--python"
    {
        return python(file);
    }
    if files.is_empty() {
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests");
        files = ["noop", "hog"].map(|name| guests.join(name).with_extension("wasm")).to_vec();
    }
    println!("{:14} {:8} {:>26} {:>26}", "", "ms", "CPU", "wall");
    for file in files {
        let Ok(module) = std::fs::read(&file) else {
            eprintln!("start: can't read {}", file.display());
            return ExitCode::FAILURE;
        };
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let Err(error) = lines(&name, &Task::new(module), None) {
            eprintln!("start: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// What a pre-initialised interpreter is made with.
const BOOTSTRAP: &str = "import os, sys, json, re, random, collections
os.path.exists('/.jusha-base')
random.seed()
exec(sys.stdin.read())";

fn python(file: &Path) -> ExitCode {
    let Ok(module) = std::fs::read(file) else {
        eprintln!("start: can't read {}", file.display());
        return ExitCode::FAILURE;
    };
    let mut task = Task::new(module);
    task.args.extend(["-c", BOOTSTRAP].map(str::to_owned));
    task.env = vec![("PYTHONHASHSEED".to_owned(), "0".to_owned())];
    let made = runtime::measure::base_of(&task).and_then(|base| {
        println!(
            "base: {} leaves, after {:.3} Gfuel",
            base.checkpoint.leaves().len(),
            base.checkpoint.usage().fuel as f64 / 1e9
        );
        task.stdin = b"print(random.random())".to_vec();
        lines("python, based", &task, Some(&base))
    });
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("start: {error}");
            ExitCode::FAILURE
        }
    }
}

fn lines(name: &str, task: &Task, base: Option<&CheckpointFile>) -> Result<(), RunError> {
    let mut rounds = beginnings(task, base, ROUNDS + 1)?;
    // The first one finds nothing warm; later tasks of a machine do.
    rounds.remove(0);
    line(name, "load", &rounds, |round| round.load);
    line("", "begin", &rounds, |round| round.begin);
    line("", "digest", &rounds, |round| round.digest);
    Ok(())
}

fn line(name: &str, what: &str, rounds: &[Beginning], of: impl Fn(&Beginning) -> [Duration; 2]) {
    let texts = [0, 1].map(|which| {
        let mut values: Vec<f64> =
            rounds.iter().map(|round| of(round)[which].as_secs_f64() * 1e3).collect();
        values.sort_by(f64::total_cmp);
        let [low, median, high] = [1, 2, 3].map(|quarter| values[values.len() * quarter / 4]);
        format!("{median:.3} ({low:.3}–{high:.3})")
    });
    println!("{name:14} {what:8} {:>26} {:>26}", texts[0], texts[1]);
}
