//! What metering and checkpoints cost: programs in C, run to their end in alternation as
//!
//! - *plain*: on the same engine, untransformed, in the same virtual world (= 1);
//! - *engine fuel*: the same with the engine's own fuel counter;
//! - *native*: the same source by the system's C compiler at -O2, if there is one;
//! - *ours, no chain*: transformed, in one segment;
//! - *ours*: transformed, with a record of the chain at each multiple of the default S.
//!
//! `cargo bench -p runtime --bench speed [-- [--rounds N] [--keep] [--wasm FILE ARGS…] [GUEST…]]`
//!
//! Each run is a process of its own, whose CPU time counts, start-up included; modules were
//! compiled before. Figures are medians of ratios within a round, with the middle half's spread.
//! It prints and never fails.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use runtime::artefacts::Artefacts;
use runtime::launch::Launcher;
use runtime::peer::{self, Variant};
use runtime::protocol::{FromWorker, Outcome, Start};
use runtime::task::{Task, defaults};
use runtime::worker::worker_main;

/// Programs of facts.md's table, as we have them, with arguments for half a second or so, so that start-up counts little.
const GUESTS: &[(&str, &[&str])] = &[
    ("fib", &["40"]),
    ("mersenne", &["23209"]),
    ("sha256", &["96"]),
    ("nbody", &["4000000"]),
    ("matmul", &["1200"]),
    ("pointers", &["600000"]),
    ("deep", &["16000", "5000"]),
];

const COLUMNS: [&str; 5] = ["plain", "engine fuel", "native", "ours, no chain", "ours"];

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("worker") => return worker_main(),
        Some("plain") => return plain(&args[1..]),
        _ => {}
    }
    let mut rounds = 15;
    if args.first().is_some_and(|arg| arg == "--rounds") && args.len() > 1 {
        rounds = args[1].parse().unwrap_or(rounds);
        args.drain(..2);
    }
    let mut scratch = tempfile::tempdir().expect("a temporary directory");
    if args.first().is_some_and(|arg| arg == "--keep") {
        args.remove(0);
        scratch.disable_cleanup(true);
        println!("machine code is kept in {}", scratch.path().display());
    }
    let mut ratios = Vec::new();
    let mut growth = Vec::new();
    println!("CPU time, medians of {rounds} alternated runs; plain = 1");
    println!(
        "{:10} {:>10} {:>17} {:>17} {:>17} {:>17} {:>7} {:>7}",
        "program", "plain", COLUMNS[1], COLUMNS[2], COLUMNS[3], COLUMNS[4], "code", "compile"
    );
    for subject in subjects(&args) {
        let Some(row) = measure(&subject, rounds, scratch.path()) else { continue };
        ratios.push(row.ours);
        growth.push(row.code_growth);
        println!("{}", row.text);
    }
    let mean = |values: &[f64]| {
        (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
    };
    println!("geometric mean: ours {:.3}, code ×{:.2}", mean(&ratios), mean(&growth));
    ExitCode::SUCCESS
}

struct Subject {
    name: String,
    module: PathBuf,
    source: Option<PathBuf>,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

fn subjects(args: &[String]) -> Vec<Subject> {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests");
    if let [flag, file, rest @ ..] = args
        && flag == "--wasm"
    {
        let module = PathBuf::from(file);
        let name = module.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // Else CPython's dictionaries, and so its work, differ from run to run.
        let env = vec![("PYTHONHASHSEED".to_owned(), "0".to_owned())];
        return vec![Subject { name, module, source: None, args: rest.to_vec(), env }];
    }
    GUESTS
        .iter()
        .filter(|(name, _)| args.is_empty() || args.iter().any(|arg| arg == name))
        .map(|(name, args)| Subject {
            name: (*name).to_owned(),
            module: guests.join(name).with_extension("wasm"),
            source: Some(guests.join(name).with_extension("c")),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: Vec::new(),
        })
        .collect()
}

fn task(module: Vec<u8>, subject_args: &[String], env: Vec<(String, String)>) -> Task {
    let mut task = Task::new(module);
    task.args.extend(subject_args.iter().cloned());
    task.env = env;
    task
}

/// A child of this process: runs a plain variant.
fn plain(args: &[String]) -> ExitCode {
    let [variant, artefact, environment, rest @ ..] = args else { return ExitCode::FAILURE };
    let variant = if variant == "fuel" { Variant::EngineFuel } else { Variant::Plain };
    let env = environment
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let task = task(Vec::new(), rest, env);
    let artefact = PathBuf::from(artefact);
    // On a stack for guests, as workers run them.
    let body = std::thread::Builder::new().stack_size(128 << 20).spawn(move || {
        // SAFETY: `measure` wrote the file, from `compile` in this same program and variant.
        unsafe { peer::run(&task, variant, &artefact) }
    });
    match body.map(|thread| thread.join()) {
        Ok(Ok(Ok((output, status)))) => {
            use std::io::Write;
            let written = std::io::stdout().write_all(&output);
            if written.is_ok() { ExitCode::from(status as u8) } else { ExitCode::FAILURE }
        }
        Ok(Ok(Err(error))) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::FAILURE,
    }
}

struct Row {
    text: String,
    ours: f64,
    code_growth: f64,
}

fn cpu(who: UsageWho) -> Duration {
    let usage = getrusage(who).expect("getrusage");
    let sum = usage.user_time() + usage.system_time();
    Duration::from_micros(sum.tv_sec() as u64 * 1_000_000 + sum.tv_usec() as u64)
}

fn measure(subject: &Subject, rounds: usize, scratch: &Path) -> Option<Row> {
    let name = &subject.name;
    let module = std::fs::read(&subject.module)
        .map_err(|error| println!("{name:10} skipped: {}: {error}", subject.module.display()))
        .ok()?;
    let mut compile = [Duration::ZERO; 3];
    let mut code = [0; 3];
    for (at, variant) in
        [Variant::Plain, Variant::EngineFuel, Variant::Ours].into_iter().enumerate()
    {
        let before = cpu(UsageWho::RUSAGE_SELF);
        let compiled = peer::compile(&module, variant)
            .map_err(|error| println!("{name:10} skipped: {error}"))
            .ok()?;
        compile[at] = cpu(UsageWho::RUSAGE_SELF) - before;
        code[at] = compiled.code_bytes;
        std::fs::write(scratch.join(format!("{name}.{at}")), compiled.artefact).ok()?;
    }
    let native = subject.source.as_deref().and_then(|source| {
        let path = scratch.join(name);
        let status = Command::new("cc")
            .args(["-O2", "-w", "-o"])
            .args([&path, source])
            .arg("-lm")
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then_some(path)
    });
    let task = task(module, &subject.args, subject.env.clone());
    let own = std::env::current_exe().ok()?;
    let run_plain = |kind: &str, at: usize| {
        let environment: Vec<String> =
            subject.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut command = Command::new(&own);
        command.args(["plain", kind]).arg(scratch.join(format!("{name}.{at}")));
        command.arg(environment.join(",")).args(&subject.args);
        output(command)
    };
    let run_native = || {
        let mut command = Command::new(native.as_ref()?);
        command.args(&subject.args);
        output(command)
    };
    let run_ours = |segment_fuel: u64| ours(&own, Task { segment_fuel, ..task.clone() }, scratch);
    let runs: [&dyn Fn() -> Option<Vec<u8>>; 5] = [
        &|| run_plain("plain", 0),
        &|| run_plain("fuel", 1),
        &run_native,
        &|| run_ours(1 << 40),
        &|| run_ours(defaults::SEGMENT_FUEL),
    ];
    let mut times: [Vec<f64>; 5] = Default::default();
    let mut expected: Option<Vec<u8>> = None;
    // The first round fills caches.
    for round in 0..=rounds {
        for (at, run) in runs.iter().enumerate() {
            let before = cpu(UsageWho::RUSAGE_CHILDREN);
            let Some(printed) = run() else { continue };
            let spent = (cpu(UsageWho::RUSAGE_CHILDREN) - before).as_secs_f64();
            let same = at == 2 || *expected.get_or_insert_with(|| printed.clone()) == printed;
            if !same {
                println!("{name:10} DIFFERS: {} prints something else than plain", COLUMNS[at]);
                return None;
            }
            if round > 0 {
                times[at].push(spent);
            }
        }
    }
    let ratio = |at: usize| {
        let ratios = times[at].iter().zip(&times[0]).map(|(own, plain)| own / plain).collect();
        quartiles(ratios)
    };
    let cell = |at: usize| match ratio(at) {
        Some([low, middle, high]) => format!("{middle:.3} ({low:.2}–{high:.2})"),
        None => "–".to_owned(),
    };
    let growth = code[2] as f64 / code[0] as f64;
    let text = format!(
        "{name:10} {:>8.3} s {:>17} {:>17} {:>17} {:>17} {:>7} {:>7}",
        quartiles(times[0].clone())?[1],
        cell(1),
        cell(2),
        cell(3),
        cell(4),
        format!("×{growth:.2}"),
        format!("×{:.2}", compile[2].as_secs_f64() / compile[0].as_secs_f64()),
    );
    Some(Row { text, ours: ratio(4)?[1], code_growth: growth })
}

fn quartiles(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some([values[last / 4], values[last / 2], values[last * 3 / 4]])
}

fn output(mut command: Command) -> Option<Vec<u8>> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// A task in a worker of this program, as agents run them.
fn ours(program: &Path, task: Task, artefacts: &Path) -> Option<Vec<u8>> {
    let launcher = Launcher::new(program.to_owned(), Artefacts::new(Some(artefacts.to_owned())));
    let (_worker, mut events) = launcher.start(Start::new(task)).ok()?;
    loop {
        match events.next_event() {
            FromWorker::Ended(end) => {
                return (end.outcome == Outcome::Exited(0)).then_some(end.stdout);
            }
            FromWorker::Refused { reason } | FromWorker::Fault { reason } => {
                println!("{reason}");
                return None;
            }
            _ => {}
        }
    }
}
