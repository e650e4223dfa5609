//! One program on trial: whole, and in ten pieces, each in a process of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::Places;
use super::fetch::make;
use super::programs::Program;
use crate::run;

/// How often each program is stopped.
const STOPS: usize = 10;
/// What no program here needs: one that does not end is ended.
const FUEL_MAX_GFUEL: &str = "100";

/// The table's columns: three names, then [`Report::figures`].
pub const HEADINGS: [&str; 10] = [
    "language",
    "program",
    "compiler",
    "KiB",
    "compile s",
    "run s",
    "Mfuel",
    "records",
    "checkpoints KiB",
    "ok",
];

/// What a trial that went well has measured.
pub struct Report {
    module_bytes: u64,
    /// The first run less the second, which finds the code compiled.
    compile_ms: u64,
    /// The second run, process and all.
    run_ms: u64,
    fuel: u64,
    records: usize,
    checkpoint_bytes: Vec<u64>,
}

impl Report {
    /// The cells of its row after the names.
    pub fn figures(&self) -> [String; HEADINGS.len() - 3] {
        let seconds = |ms: u64| format!("{}.{}", ms / 1000, ms % 1000 / 100);
        let kib = |bytes: u64| bytes.div_ceil(1024).to_string();
        let sizes = || self.checkpoint_bytes.iter().copied();
        let range = [sizes().min(), sizes().max()].map(|bytes| kib(bytes.unwrap_or_default()));
        [
            kib(self.module_bytes),
            seconds(self.compile_ms),
            seconds(self.run_ms),
            (self.fuel / 1_000_000).to_string(),
            self.records.to_string(),
            format!("{}–{}", range[0], range[1]),
            format!("{} stops", self.checkpoint_bytes.len()),
        ]
    }
}

/// All that must not depend on interruptions.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    status: Option<i32>,
    usage: String,
    chain: String,
    outputs: BTreeMap<PathBuf, Vec<u8>>,
}

/// Runs it whole, twice, and in pieces.
pub fn run(places: &Places, program: &Program, module: &Path, seed: u64) -> Result<Report, String> {
    let folder = places.work.join("trials").join(program.name);
    let _ = fs::remove_dir_all(&folder);
    make(&folder.join("in"))?;
    if let Some(script) = program.script {
        let from = places.root.join("guests/languages").join(script);
        fs::copy(&from, folder.join("in").join(script))
            .map_err(|error| format!("{}: {error}", from.display()))?;
    }
    let trial = Trial { places, program, module, folder };
    let begun = Instant::now();
    let whole = trial.whole()?;
    let first = begun.elapsed();
    let begun = Instant::now();
    let again = trial.whole()?;
    let second = begun.elapsed();
    same("a second run", &whole, &again)?;
    trial.check_expected(&whole)?;
    let fuel = fuel_of(&whole.usage)?;
    let (pieces, checkpoint_bytes) = trial.in_pieces(&stops(seed, fuel))?;
    same("the run in pieces", &whole, &pieces)?;
    // The last runs into the end when it is past the last safepoint.
    if checkpoint_bytes.len() + 1 < STOPS {
        return Err(format!("only {} of {STOPS} stops stopped it", checkpoint_bytes.len()));
    }
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(Report {
        module_bytes: fs::metadata(module).map_or(0, |meta| meta.len()),
        compile_ms: ms(first.saturating_sub(second)),
        run_ms: ms(second),
        fuel,
        records: whole.chain.lines().count(),
        checkpoint_bytes,
    })
}

struct Trial<'a> {
    places: &'a Places,
    program: &'a Program,
    module: &'a Path,
    folder: PathBuf,
}

impl Trial<'_> {
    fn whole(&self) -> Result<Trace, String> {
        let mut chain = String::new();
        self.piece(None, None, &mut chain)?
            .ok_or_else(|| "it was stopped without being asked to".to_owned())
            .map(|end| Trace { chain, ..end })
    }

    /// Stops at each of `stops`, each piece in a process of its own that knows the last
    /// one's checkpoint file and nothing else. Also the sizes of those files.
    fn in_pieces(&self, stops: &[u64]) -> Result<(Trace, Vec<u64>), String> {
        let mut chain = String::new();
        let mut checkpoint_bytes = Vec::new();
        let mut last: Option<PathBuf> = None;
        for (index, stop) in stops.iter().enumerate() {
            let next = self.folder.join(format!("{index}.checkpoint"));
            if let Some(end) = self.piece(last.as_deref(), Some((*stop, &next)), &mut chain)? {
                return Ok((Trace { chain, ..end }, checkpoint_bytes));
            }
            let meta = fs::metadata(&next).map_err(|error| format!("no checkpoint: {error}"))?;
            checkpoint_bytes.push(meta.len());
            last = Some(next);
        }
        let end = self.piece(last.as_deref(), None, &mut chain)?;
        let end = end.ok_or("it was stopped without being asked to")?;
        Ok((Trace { chain, ..end }, checkpoint_bytes))
    }

    /// One process. `None` when it stopped at a checkpoint.
    fn piece(
        &self,
        resume: Option<&Path>,
        stop: Option<(u64, &Path)>,
        chain: &mut String,
    ) -> Result<Option<Trace>, String> {
        let file = |name: &str| self.folder.join(name);
        let outputs = file("out");
        let _ = fs::remove_dir_all(&outputs);
        let mut exec = run::command(&self.places.root, &self.places.jusha, &["exec"]);
        // Not where others' compiled code is, so that the first run compiles.
        exec.env("XDG_CACHE_HOME", file("cache"));
        exec.arg(self.module).arg("--dir").arg(file("in")).arg("--out").arg(&outputs);
        exec.arg("--chain").arg(file("chain")).arg("--usage").arg(file("usage"));
        exec.args(["--segment-gfuel", self.program.segment_gfuel]);
        exec.args(["--fuel-max", FUEL_MAX_GFUEL, "--env", "PYTHONHASHSEED=0"]);
        if let Some(checkpoint) = resume {
            exec.arg("--resume").arg(checkpoint);
        }
        if let Some((fuel, checkpoint)) = stop {
            exec.args(["--stop-at-fuel", &fuel.to_string()]).arg("--checkpoint").arg(checkpoint);
        }
        if let Some(script) = self.program.script {
            exec.args(["--".to_owned(), format!("/in/{script}")]);
        }
        let ran = finish(&mut exec)?;
        chain.push_str(&read(&file("chain"))?);
        if stop.is_some_and(|(_, checkpoint)| checkpoint.is_file()) {
            return Ok(None);
        }
        let mut files = BTreeMap::new();
        collect(&outputs, &outputs, &mut files)?;
        Ok(Some(Trace { usage: read(&file("usage"))?, outputs: files, ..ran }))
    }

    fn check_expected(&self, whole: &Trace) -> Result<(), String> {
        let name = format!("guests/expected/{}.txt", self.program.name);
        let expected = read(&self.places.root.join(&name))?;
        if whole.stdout == expected.as_bytes() {
            return Ok(());
        }
        let printed = self.folder.join("stdout");
        fs::write(&printed, &whole.stdout).map_err(|error| error.to_string())?;
        Err(format!("it did not print {name} but {}", printed.display()))
    }
}

/// Runs one process to its end; only an end of the program itself is one.
fn finish(command: &mut Command) -> Result<Trace, String> {
    let output = command.output().map_err(|error| format!("jusha exec: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("jusha exec ended with {}: {}", output.status, said.trim()));
    }
    Ok(Trace {
        stdout: output.stdout,
        stderr: output.stderr,
        status: output.status.code(),
        usage: String::new(),
        chain: String::new(),
        outputs: BTreeMap::new(),
    })
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// All files below `folder` by their path in `top`.
fn collect(
    top: &Path,
    folder: &Path,
    files: &mut BTreeMap<PathBuf, Vec<u8>>,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(top, &path, files)?;
        } else {
            let name = path.strip_prefix(top).unwrap_or(&path).to_owned();
            files.insert(name, fs::read(&path).map_err(failed)?);
        }
    }
    Ok(())
}

fn same(what: &str, one: &Trace, other: &Trace) -> Result<(), String> {
    let parts = [
        ("standard output", one.stdout == other.stdout),
        ("standard error", one.stderr == other.stderr),
        ("exit status", one.status == other.status),
        ("usage", one.usage == other.usage),
        ("chain", one.chain == other.chain),
        ("files under /out", one.outputs == other.outputs),
    ];
    let different: Vec<&str> =
        parts.iter().filter(|(_, same)| !same).map(|(part, _)| *part).collect();
    match different.as_slice() {
        [] => Ok(()),
        parts => Err(format!("{what} has another {}", parts.join(", "))),
    }
}

fn fuel_of(usage: &str) -> Result<u64, String> {
    let digits = usage.split("\"fuel\":").nth(1).unwrap_or_default();
    let digits = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().map_err(|_| format!("the usage has no fuel: {usage}"))
}

/// Points to stop at, drawn from all of a run's fuel, in order.
fn stops(seed: u64, fuel: u64) -> Vec<u64> {
    // SplitMix64: small, and enough to choose ten points.
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut stops: Vec<u64> = (0..STOPS).map(|_| 1 + draw() % fuel.max(1)).collect();
    stops.sort_unstable();
    stops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_are_a_function_of_the_seed() {
        assert_eq!(stops(1, 1_000_000), stops(1, 1_000_000));
        assert_ne!(stops(1, 1_000_000), stops(2, 1_000_000));
        assert!(stops(3, 10).iter().all(|stop| (1..=10).contains(stop)));
        assert!(stops(1, 1_000_000).is_sorted());
    }

    #[test]
    fn what_differs_is_named() {
        let trace = |usage: &str, chain: &str| Trace {
            stdout: Vec::new(),
            stderr: Vec::new(),
            status: Some(0),
            usage: usage.to_owned(),
            chain: chain.to_owned(),
            outputs: BTreeMap::new(),
        };
        assert_eq!(same("x", &trace("a", "b"), &trace("a", "b")), Ok(()));
        let said = same("x", &trace("a", "b"), &trace("c", "d")).unwrap_err();
        assert_eq!(said, "x has another usage, chain");
    }

    #[test]
    fn fuel_is_found() {
        assert_eq!(fuel_of("{\"fuel\":37050483,\"memory_page_fuel\":1}\n"), Ok(37_050_483));
        assert!(fuel_of("{}").is_err());
    }
}
