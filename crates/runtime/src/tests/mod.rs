//! Tests of the runtime in one process; those with worker processes are in the `jusha` crate.

mod based;
mod control_flow;
mod coverage;
mod determinism;
mod dirty;
mod fuzz;
mod golden;
mod guests;
mod hostile;
mod reactor;
mod spans;
mod specification;

use std::path::PathBuf;

use wasmtime::Module;

use crate::artefacts::{self, Artefacts, Key};
use crate::checkpoint::Checkpoint;
use crate::engine::{Build, CompileError, Compiler, Modules, NATIVE_STACK_BYTES};
use crate::execution::{Execution, RunError};
use crate::instance::State;
use crate::protocol::{End, Record};
use crate::save::CheckpointFile;
use crate::task::Task;

/// Compiles and loads any number of builds in this process, and keeps what it compiled.
pub struct InProcess {
    compiler: Compiler,
    artefacts: Artefacts,
}

/// For the tests, whose modules are our own.
pub fn compiler() -> InProcess {
    let directory = std::env::temp_dir().join("jusha-test-artefacts");
    InProcess::new(Compiler::new().expect("an engine"), Some(directory))
}

impl InProcess {
    /// With artefacts of its own.
    pub fn new(compiler: Compiler, directory: Option<PathBuf>) -> Self {
        InProcess { compiler, artefacts: Artefacts::new(directory) }
    }
}

/// For [`Artefacts::get`].
enum NotCompiled {
    Compile(CompileError),
    Io(std::io::Error),
}

impl From<std::io::Error> for NotCompiled {
    fn from(error: std::io::Error) -> Self {
        NotCompiled::Io(error)
    }
}

impl Modules for InProcess {
    fn module(&self, bytes: &[u8], max_pages: u32, build: Build) -> Result<Module, CompileError> {
        let identity = self.compiler.identity();
        let key = Key { module: base::Digest::of(bytes), build, identity };
        let make = || {
            let compiled = self.compiler.compile(bytes, build).map_err(NotCompiled::Compile)?;
            Ok(artefacts::take(&mut compiled.as_slice(), compiled.len() as u64)?)
        };
        let artefact = self.artefacts.get(&key, make).map_err(|error| match error {
            NotCompiled::Compile(error) => error,
            NotCompiled::Io(error) => panic!("{error}"),
        })?;
        self.compiler.load(artefact, build)?.module(bytes, max_pages, build)
    }
}

/// Everything that must not depend on interruptions.
#[derive(Debug, PartialEq, Eq)]
pub struct Trace {
    pub records: Vec<Record>,
    pub end: End,
}

/// A task of a text module, with short segments.
pub fn task_of(wat: &str) -> Task {
    let mut task = Task::new(wat::parse_str(wat).expect("the test's module parses"));
    task.segment_fuel = 1 << 20;
    task
}

/// Runs to the end without a stop.
pub fn run(task: &Task, fuel_max: u64) -> Result<Trace, RunError> {
    run_with_stops(task, fuel_max, &[])
}

/// Runs to the end, stopping at each of `stops`: the state goes through a checkpoint file's
/// bytes into a new execution.
pub fn run_with_stops(task: &Task, fuel_max: u64, stops: &[u64]) -> Result<Trace, RunError> {
    in_large_stack(|| run_here(task, fuel_max, stops))
}

/// Guest frames are on the calling thread's stack, as in a worker.
pub fn in_large_stack<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(NATIVE_STACK_BYTES + (32 << 20))
            .spawn_scoped(scope, body)
            .expect("a thread")
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn run_here(task: &Task, fuel_max: u64, stops: &[u64]) -> Result<Trace, RunError> {
    Ok(trace(&compiler(), task, None, fuel_max, stops)?.trace)
}

/// A run with what it left, and how often it was really interrupted.
pub struct Traced {
    pub trace: Trace,
    pub state: State,
    pub interruptions: u64,
    /// Most bytes of frames in one of its checkpoints.
    pub deepest_frames: u64,
}

/// Runs to the end from the beginning or from `resume`, through a checkpoint file's bytes at
/// each of `stops`.
pub fn trace(
    compiler: &InProcess,
    task: &Task,
    resume: Option<Checkpoint>,
    fuel_max: u64,
    stops: &[u64],
) -> Result<Traced, RunError> {
    let mut execution = Execution::new(task, compiler, resume, None)?;
    let mut records = Vec::new();
    let mut stops: Vec<u64> = stops.to_vec();
    stops.sort_unstable();
    let mut stops = stops.into_iter().peekable();
    let (mut interruptions, mut deepest_frames) = (0, 0);
    loop {
        let stop_at = stops.peek().copied().unwrap_or(u64::MAX);
        let slice = execution.slice(fuel_max, stop_at)?;
        records.extend(slice.record);
        if let Some(end) = slice.end {
            let trace = Trace { records, end: *end };
            return Ok(Traced { trace, state: execution.state(), interruptions, deepest_frames });
        }
        let used = execution.usage().fuel;
        if used >= stop_at {
            while stops.peek().is_some_and(|&at| at <= used) {
                stops.next();
            }
            let checkpoint = through_a_file(task, execution.capture());
            deepest_frames = deepest_frames.max(checkpoint.check()?.frames.bytes);
            execution = Execution::new(task, compiler, Some(checkpoint), None)?;
            interruptions += 1;
        }
    }
}

fn through_a_file(task: &Task, checkpoint: Checkpoint) -> Checkpoint {
    let file = CheckpointFile { task: task.clone(), checkpoint };
    CheckpointFile::from_bytes(&file.to_bytes()).expect("a file just written").checkpoint
}
