//! One task, twice: as `jusha exec` runs it here, and as the market is asked to run it.

use std::collections::BTreeMap;

use base::{Digest, TASK_FUEL_MAX, Usage};
use runtime::task::{defaults, task_seed};
use wire::{InputFile, Outcome, TaskSpec};

use super::scene::{Ran, Scene, guest};

/// What a task runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work {
    /// A committed example program.
    pub guest: &'static str,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its standard input.
    pub stdin: Vec<u8>,
    /// Its files under `/in`.
    pub inputs: BTreeMap<String, Vec<u8>>,
    /// Its place in the job.
    pub index: u32,
    /// Its fuel limit.
    pub fuel_max: u64,
    /// Length of its segments.
    pub segment_fuel: u64,
}

/// How `jusha exec` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// As a process.
    pub ran: Ran,
    /// What it used in all.
    pub usage: Usage,
    /// The lines of its chain.
    pub chain: String,
}

impl Executed {
    /// How the task ended, in the market's words. What trap it was, the last line tells.
    pub fn outcome(&self) -> Outcome {
        let code =
            |text: &str| Some(text.rsplit_once("trapped: ")?.1.split_once(' ')?.0.to_owned());
        match self.ran.status {
            121 => Outcome::Trapped { code: code(&self.ran.stderr).unwrap() },
            122 => Outcome::FuelLimit,
            status => Outcome::Exited { status },
        }
    }
}

impl Work {
    /// A program with arguments, without input, in segments short enough for several.
    pub fn new(guest: &'static str, args: &[&str]) -> Work {
        Work {
            guest,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            stdin: Vec::new(),
            inputs: BTreeMap::new(),
            index: 0,
            fuel_max: TASK_FUEL_MAX,
            segment_fuel: 1 << 31,
        }
    }

    /// A Lucas–Lehmer test, its exponent on standard input.
    pub fn mersenne(exponent: u32) -> Work {
        Work { stdin: format!("{exponent}\n").into_bytes(), ..Work::new("mersenne", &[]) }
    }

    /// A job's tasks, each in its place.
    pub fn job(works: impl IntoIterator<Item = Work>) -> Vec<Work> {
        (0..).zip(works).map(|(index, work)| Work { index, ..work }).collect()
    }

    fn module(&self) -> Vec<u8> {
        std::fs::read(guest(self.guest)).unwrap()
    }

    /// What the exchange must hold to run it: its spec, and what that names.
    pub fn blobs(&self) -> (TaskSpec, Vec<Vec<u8>>) {
        let module = self.module();
        let args = std::iter::once(format!("{}.wasm", self.guest)).chain(self.args.iter().cloned());
        let spec = TaskSpec {
            version: 1,
            module: Digest::of(&module),
            base: None,
            args: args.collect(),
            env: Vec::new(),
            stdin: (!self.stdin.is_empty()).then(|| Digest::of(&self.stdin)),
            inputs: self
                .inputs
                .iter()
                .map(|(name, bytes)| InputFile { name: name.clone(), content: Digest::of(bytes) })
                .collect(),
            memory_max_pages: defaults::MEMORY_MAX_PAGES,
            output_max_bytes: defaults::OUTPUT_MAX_BYTES,
            fuel_max: self.fuel_max,
            segment_fuel: self.segment_fuel,
            seed: task_seed(&Digest::default(), self.index),
            clock_start_ms: defaults::CLOCK_START_MS,
        };
        let mut blobs = vec![module, serde_json::to_vec(&spec).unwrap(), self.stdin.clone()];
        blobs.extend(self.inputs.values().cloned());
        (spec, blobs)
    }

    /// The options of `jusha exec` that make it this task. Its input files are written to the
    /// scene.
    pub fn exec_args(&self, scene: &Scene) -> Vec<String> {
        let mut args: Vec<String> = ["exec", "--segment-gfuel"].map(str::to_owned).into();
        args.push(gfuel(self.segment_fuel));
        args.extend(["--task-index".to_owned(), self.index.to_string()]);
        if self.fuel_max != TASK_FUEL_MAX {
            args.extend(["--fuel-max".to_owned(), gfuel(self.fuel_max)]);
        }
        if !self.inputs.is_empty() {
            let names: Vec<u8> =
                self.inputs.iter().flat_map(|(n, b)| [n.as_bytes(), b].concat()).collect();
            let directory = format!("in-{}", Digest::of(&names));
            for (name, bytes) in &self.inputs {
                scene.write(&format!("{directory}/{name}"), bytes);
            }
            args.extend(["--dir".to_owned(), scene.arg(&directory)]);
        }
        args
    }

    /// Runs it here, uninterrupted.
    pub async fn exec(&self, scene: &Scene) -> Executed {
        self.exec_with(scene, &[]).await
    }

    /// Runs it here with more options.
    pub async fn exec_with(&self, scene: &Scene, more: &[&str]) -> Executed {
        let (usage, chain) = (scene.arg("usage.json"), scene.arg("chain.jsonl"));
        for file in [&usage, &chain] {
            let _ = std::fs::remove_file(file);
        }
        let mut args = self.exec_args(scene);
        args.extend(["--usage".to_owned(), usage, "--chain".to_owned(), chain]);
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        args.push(guest(self.guest).to_str().unwrap().to_owned());
        args.push("--".to_owned());
        args.extend(self.args.iter().cloned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = scene.run(&args, &self.stdin).await;
        let read = |name| match scene.path(name).exists() {
            true => scene.read(name),
            false => panic!("jusha {args:?} wrote no {name}: {ran:?}"),
        };
        let usage = serde_json::from_str(&read("usage.json")).unwrap();
        Executed { usage, chain: read("chain.jsonl"), ran }
    }
}

/// Fuel as an option's value, exactly.
fn gfuel(fuel: u64) -> String {
    format!("{}.{:09}", fuel / base::FUEL_PER_GFUEL, fuel % base::FUEL_PER_GFUEL)
}
