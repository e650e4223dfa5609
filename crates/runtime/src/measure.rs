//! For benches: what parts of a run cost that a worker's messages don't show.

use std::fs::File;
use std::time::{Duration, Instant};

use wasmtime::Module;

use crate::artefacts;

use crate::base_state;
use crate::baseline::Copy;
use crate::engine::{Build, CompileError, Compiler, Modules, NATIVE_STACK_BYTES};
use crate::execution::Execution;
pub use crate::execution::RunError;
use crate::protocol::Goal;
use crate::save::CheckpointFile;
use crate::task::{ModuleId, Task};

/// CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to the local that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU and wall time of putting a task of a compiled module at its beginning.
#[derive(Debug, Clone, Copy)]
pub struct Beginning {
    /// Loading the artefact, once its name is known.
    pub load: [Duration; 2],
    /// Everything between that and the first instruction, the task's digest included.
    pub begin: [Duration; 2],
    /// Of that, the task's digest: its module and inputs are hashed.
    pub digest: [Duration; 2],
}

/// Begins a task `rounds` times, each time with a new module, instance and world, in `base` if
/// there is one.
pub fn beginnings(
    task: &Task,
    base: Option<&CheckpointFile>,
    rounds: usize,
) -> Result<Vec<Beginning>, RunError> {
    let here = Here(Compiler::new()?);
    let artefact = here.artefact(&task.module, Build::FAST)?;
    let failed = |error: std::io::Error| RunError::Fault(error.to_string());
    (0..rounds)
        .map(|_| {
            let file = artefact.try_clone().map_err(failed)?;
            let clock = Clock::start();
            let loaded = here.0.load(file, Build::FAST)?;
            let module = loaded.module(&task.module, task.memory_max_pages, Build::FAST)?;
            let load = clock.read();
            let clock = Clock::start();
            let digest = ModuleId::of(&task.module);
            let base = match base {
                Some(file) => Some((file, base_state::check(file, task, &digest.digest)?)),
                None => None,
            };
            let execution =
                Execution::of_module(task, &loaded, &digest, &module, Build::FAST, base)?;
            let begin = clock.read();
            drop(execution);
            let clock = Clock::start();
            std::hint::black_box(task.digest());
            Ok(Beginning { load, begin, digest: clock.read() })
        })
        .collect()
}

/// Compiles and loads in this process: for programs of our own only.
struct Here(Compiler);

impl Here {
    fn artefact(&self, bytes: &[u8], build: Build) -> Result<File, CompileError> {
        let compiled = self.0.compile(bytes, build)?;
        artefacts::take(&mut compiled.as_slice(), compiled.len() as u64)
            .map_err(|error| CompileError::Engine(error.to_string()))
    }
}

impl Modules for Here {
    fn module(&self, bytes: &[u8], max_pages: u32, build: Build) -> Result<Module, CompileError> {
        self.0.load(self.artefact(bytes, build)?, build)?.module(bytes, max_pages, build)
    }
}

struct Clock {
    cpu: Duration,
    wall: Instant,
}

impl Clock {
    fn start() -> Self {
        Clock { cpu: thread_cpu(), wall: Instant::now() }
    }

    fn read(&self) -> [Duration; 2] {
        [thread_cpu() - self.cpu, self.wall.elapsed()]
    }
}

/// A base: the task's state where it marks the end of its start-up.
pub fn base_of(task: &Task) -> Result<CheckpointFile, RunError> {
    on_guest_stack(|| {
        let here = Here(Compiler::new()?);
        let mut execution = Execution::begin(task, &here, None, Goal::Mark, None, None)?;
        while !execution.is_at_mark() {
            if execution.slice(base::TASK_FUEL_MAX, u64::MAX)?.end.is_some() {
                return Err(RunError::Refused("it ended without a mark".to_owned()));
            }
        }
        Ok(CheckpointFile { task: task.clone(), checkpoint: execution.capture_new() })
    })
}

/// CPU time of one of a program's steps and of the capture after it.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The program's, with the faults of its first writes.
    pub run: Duration,
    /// The capture's with its state root; zero when there was none.
    pub capture: Duration,
    /// The same by hashing and copying the whole memory.
    pub full: Duration,
}

/// Runs a program that says that a step is done by writing one byte to standard output. After
/// each step for which `captures` says so there is a capture.
pub fn steps(task: &Task, captures: &[bool]) -> Result<Vec<Step>, RunError> {
    on_guest_stack(|| steps_here(task, captures))
}

fn on_guest_stack<T: Send>(
    body: impl FnOnce() -> Result<T, RunError> + Send,
) -> Result<T, RunError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(NATIVE_STACK_BYTES + (32 << 20))
            .spawn_scoped(scope, body);
        let failed = || RunError::Fault("no thread".to_owned());
        thread.map_err(|_| failed())?.join().map_err(|_| failed())?
    })
}

fn steps_here(task: &Task, captures: &[bool]) -> Result<Vec<Step>, RunError> {
    let here = Here(Compiler::new()?);
    let mut execution = Execution::begin(task, &here, None, Goal::End, None, None)?;
    let mut steps = Vec::new();
    for &capture in captures {
        let done = execution.stdout().len() + 1;
        let begin = thread_cpu();
        while execution.stdout().len() < done {
            let until = execution.usage().fuel + (1 << 20);
            if let Some(end) = execution.slice(base::TASK_FUEL_MAX, until)?.end {
                let early = format!("it ended early: {:?}", end.outcome);
                return Err(RunError::Fault(early));
            }
        }
        let run = thread_cpu() - begin;
        let mut step = Step { run, capture: Duration::ZERO, full: Duration::ZERO };
        if capture {
            let begin = thread_cpu();
            execution.state_root();
            step.capture = thread_cpu() - begin;
            let begin = thread_cpu();
            Copy::default().update(execution.memory());
            step.full = thread_cpu() - begin;
        }
        steps.push(step);
    }
    Ok(steps)
}
