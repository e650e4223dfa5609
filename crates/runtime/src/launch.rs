//! The agent's side of worker processes: starts them, gives a run worker its compiled module,
//! and believes nothing that they say.
//!
//! A task takes a run worker, before it a compile worker if its module isn't compiled yet, and
//! after it another run worker if the run goes on in another build. Whoever uses this sees one
//! [`Worker`] and its [`WorkerEvents`]. Everything that can be wrong with a process (it dies, is
//! killed, talks nonsense, contradicts the task) becomes a [`FromWorker::Fault`]; everything that
//! is wrong with a module, its compiler's limits included, a [`FromWorker::Refused`].

mod belief;
mod freezer;
pub(crate) mod process;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::Digest;

use crate::artefacts::{self, Artefacts, Key};
use crate::base_state::BaseError;
use crate::checkpoint::Checkpoint;
pub use crate::engine::Build;
use crate::engine::NATIVE_STACK_BYTES;
use crate::leaf::Leaf;
use crate::pipe::{self, MESSAGE_BYTES_MAX};
use crate::protocol::{Behind, Down, FromWorker, Job, Role, Setup, Start, ToWorker, Up};
use crate::sandbox::{Confinement, Limits, Weakening};
use crate::task::ModuleId;
use belief::Belief;
pub use freezer::Freezer;
use nix::sys::signal::Signal;
use process::{Killer, Process};

/// Bytes of a message that carries no state.
pub(crate) const SHORT_BYTES_MAX: u64 = 1 << 20;
/// What a state needs beside memory and files: the world's description, frames, digests.
const STATE_SLACK: u64 = 128 << 20;
/// What a worker needs beside what its task needs: its program, its stacks, its heap.
const RUN_DATA_BYTES: u64 = (NATIVE_STACK_BYTES as u64) + (512 << 20);
/// A WebAssembly memory reserves 4 GiB and guards; there are two per instance, and a second
/// instance while a task goes back.
const RUN_ADDRESS_BYTES: u64 = 64 << 30;
/// No task takes longer per unit of fuel than this, however badly it uses the caches.
const NANOSECONDS_PER_FUEL_MAX: u64 = 1_000;
/// For starting, loading and capturing.
const RUN_CPU_S: u64 = 600;

/// What compiling one module may take. One of more than 32 MiB may take more, in
/// proportion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Processor time, of all its threads together.
    pub cpu_s: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Threads.
    pub threads: u32,
}

/// Modules up to this size may take the limits as they are: CPython is one of 26 MB.
const USUAL_BYTES: usize = 32 << 20;

impl CompileLimits {
    /// What this module may take: twice as large, twice as much, though memory twice at most.
    /// CPython with numpy, pandas, scipy and scikit-learn (111 MB) takes 580 s and 4 GiB.
    fn of_module(self, module: &[u8]) -> Self {
        let times = module.len().div_ceil(USUAL_BYTES).max(1) as u64;
        CompileLimits {
            cpu_s: self.cpu_s.saturating_mul(times),
            memory_bytes: self.memory_bytes.saturating_mul(times.min(2)),
            ..self
        }
    }
}

impl Default for CompileLimits {
    /// Ten times what the largest programs that people usually run take.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = u32::try_from(cores).unwrap_or(1).min(4);
        CompileLimits { cpu_s: 240, memory_bytes: 4 << 30, threads }
    }
}

/// How worker processes are started.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program, which must end up in [`crate::worker::worker_main`].
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where compiled modules are kept.
    pub artefacts: Artefacts,
    /// What the owner does without.
    pub weakening: Weakening,
    /// For modules that are not compiled yet.
    pub compile: CompileLimits,
    /// Workers get what the owner's programs leave over of the processor and the disk.
    pub lowest_priority: bool,
    /// Stops them all.
    pub freezer: Freezer,
}

/// A task being run by worker processes. They are killed when it is dropped.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
}

/// What the workers of a task say.
#[derive(Debug)]
pub struct WorkerEvents {
    launcher: Launcher,
    shared: Arc<Shared>,
    /// The task's module: what a worker needs of it is compiled.
    module: Vec<u8>,
    /// To be given to the next process.
    next: Option<(Process, Job)>,
    /// The one that runs.
    process: Option<Process>,
    belief: Belief,
    /// Of the last checkpoint: a worker sends only leaves that are not among them.
    leaves: BTreeMap<Digest, Leaf>,
    message_bytes_max: u64,
    over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nobody wants the task any more.
    cancelled: bool,
    /// It goes on although the others are frozen.
    thawed: bool,
    killers: Vec<Killer>,
    /// The pipe of a process that runs the task.
    running: Option<std::os::unix::net::UnixStream>,
    /// Orders that are not obeyed yet: told again to the next process.
    orders: Vec<ToWorker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a process one that dies with the task.
    fn adopt(&self, process: &Process) -> io::Result<()> {
        let mut state = self.lock();
        if state.cancelled {
            return Err(io::Error::other("nobody wants the task any more"));
        }
        state.killers.retain(|killer| !killer.is_over());
        let killer = process.killer();
        if state.thawed {
            killer.signal(Signal::SIGCONT);
        }
        state.killers.push(killer);
        Ok(())
    }
}

impl Launcher {
    /// As everywhere: `program worker`, all walls, the default limits.
    pub fn new(program: PathBuf, artefacts: Artefacts) -> Self {
        Launcher {
            program,
            args: vec!["worker".to_owned()],
            artefacts,
            weakening: Weakening::default(),
            compile: CompileLimits::default(),
            lowest_priority: false,
            freezer: Freezer::default(),
        }
    }

    /// Starts a worker process for a task. It gets the task, and its module is compiled, once the
    /// first event is asked for.
    pub fn start(&self, mut start: Start) -> io::Result<(Worker, WorkerEvents)> {
        let shared = Arc::new(Shared::default());
        let belief = Belief::new(&start);
        let process = self.spawn(Role::Run, run_limits(&start))?;
        shared.adopt(&process)?;
        let module = std::mem::take(&mut start.task.module);
        let events = WorkerEvents {
            launcher: self.clone(),
            shared: shared.clone(),
            message_bytes_max: message_bytes_max(&start),
            next: Some((process, Job { start, module: ModuleId::default(), redo: None })),
            module,
            process: None,
            belief,
            leaves: BTreeMap::new(),
            over: false,
        };
        Ok((Worker { shared }, events))
    }

    /// Has a module compiled before a task wants it; the final event if it can't be.
    pub fn compile(&self, module: &[u8], build: Build) -> io::Result<Option<FromWorker>> {
        // Every worker knows what its program's artefacts go by.
        let mut asked = self.spawn(Role::Run, limits(RUN_DATA_BYTES, RUN_CPU_S))?;
        let identity = match ready(&mut asked)? {
            Ok((_, identity)) => identity,
            Err(event) => return Ok(Some(event)),
        };
        drop(asked);
        let key = Key { module: Digest::of(module), build, identity };
        let compile = || compile(self, &Shared::default(), module, build);
        match self.artefacts.get(&key, compile) {
            Ok(_) => Ok(None),
            Err(NoArtefact::Said(event)) => Ok(Some(event)),
            Err(NoArtefact::Failed(error)) => Err(error),
        }
    }

    pub(crate) fn spawn(&self, role: Role, limits: Limits) -> io::Result<Process> {
        let mut process = Process::spawn(&self.program, &self.args)?;
        self.freezer.adopt(&process);
        let (weakening, lowest_priority) = (self.weakening, self.lowest_priority);
        let setup = Setup { role, limits, weakening, lowest_priority };
        // If this fails, so does reading from it, which says how the process ended.
        let _ = pipe::send(process.stream(), &Down::Setup(setup));
        Ok(process)
    }

    /// What a prisoner makes of an attempt.
    pub(crate) fn prisoner(&self, behind: Behind) -> io::Result<Process> {
        self.spawn(Role::Prisoner(behind), limits(RUN_DATA_BYTES, RUN_CPU_S))
    }
}

/// Waits until a process's walls stand.
pub(crate) fn ready(process: &mut Process) -> io::Result<Result<(Confinement, u64), FromWorker>> {
    match process.receive::<Up>(SHORT_BYTES_MAX)? {
        Up::Ready { confinement, identity } => Ok(Ok((confinement, identity))),
        Up::Said(event @ (FromWorker::Fault { .. } | FromWorker::Refused { .. })) => Ok(Err(event)),
        _ => Err(nonsense()),
    }
}

fn nonsense() -> io::Error {
    io::Error::other("it said something else than what is due")
}

fn limits(data_bytes: u64, cpu_s: u64) -> Limits {
    Limits { address_bytes: RUN_ADDRESS_BYTES + data_bytes, data_bytes, cpu_s, file_bytes: 8 << 30 }
}

/// Bytes of the task as it is handed over, without its module and its state.
fn task_bytes(start: &Start) -> u64 {
    let task = &start.task;
    let inputs: usize = task.inputs.iter().map(|(name, bytes)| name.len() + bytes.len()).sum();
    let words: usize = task.args.iter().map(String::len).sum::<usize>()
        + task.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    (task.stdin.len() + inputs + words) as u64
}

/// The largest state that the task can have.
fn state_bytes(start: &Start) -> u64 {
    let memory = u64::from(start.task.memory_max_pages) << 16;
    // Outputs, and files that are none.
    memory.saturating_add(start.task.output_max_bytes.saturating_mul(2))
}

fn message_bytes_max(start: &Start) -> u64 {
    let state = state_bytes(start);
    // Digests of its leaves, twice, and the frames.
    let around = state / 512 + STATE_SLACK;
    state.saturating_add(around).saturating_add(task_bytes(start)).min(MESSAGE_BYTES_MAX)
}

fn run_limits(start: &Start) -> Limits {
    // The memory itself, a capture, the last one, one on its way in or out; the task likewise.
    let data = state_bytes(start)
        .saturating_mul(5)
        .saturating_add(task_bytes(start).saturating_mul(5))
        .saturating_add(RUN_DATA_BYTES);
    let fuel = start.stop_at_fuel.unwrap_or(u64::MAX).min(start.fuel_max);
    let cpu_s = fuel / (1_000_000_000 / NANOSECONDS_PER_FUEL_MAX);
    limits(data, cpu_s.saturating_add(RUN_CPU_S))
}

impl Worker {
    /// Gives an order. A process that is gone shows in the events.
    pub fn send(&mut self, order: ToWorker) {
        let mut state = self.shared.lock();
        state.orders.push(order);
        if let Some(stream) = &mut state.running {
            // If this fails, so does reading from it.
            let _ = pipe::send(stream, &Down::Order(order));
        }
    }

    /// Lets this task go on although its launcher's workers are frozen.
    pub fn thaw(&mut self) {
        let mut state = self.shared.lock();
        state.thawed = true;
        for killer in &state.killers {
            killer.signal(Signal::SIGCONT);
        }
    }

    /// Ends the processes at once.
    pub fn kill(&mut self) {
        let mut state = self.shared.lock();
        state.cancelled = true;
        for killer in &state.killers {
            killer.kill();
        }
    }

    /// The ids of the processes that there are just now.
    pub fn processes(&self) -> Vec<u32> {
        let state = self.shared.lock();
        state.killers.iter().filter(|killer| !killer.is_over()).map(Killer::id).collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl WorkerEvents {
    /// Waits for the next event. Asking on after the final one is a fault.
    pub fn next_event(&mut self) -> FromWorker {
        if self.over {
            return FromWorker::Fault { reason: "the worker has nothing more to say".to_owned() };
        }
        let event = match self.advance() {
            Ok(event) => belief::presentable(event),
            Err(error) => {
                let how = self.process.take().map(Process::end);
                FromWorker::Fault { reason: process::reason(&error, how) }
            }
        };
        self.over = event.is_final();
        if self.over {
            self.process = None;
        }
        event
    }

    /// A checkpoint with the leaves that the one before it brought.
    fn whole(&mut self, new: Checkpoint) -> io::Result<Checkpoint> {
        let whole = new.complete(&self.leaves).map_err(io::Error::other)?;
        self.leaves.clone_from(whole.leaves());
        Ok(whole)
    }

    fn advance(&mut self) -> io::Result<FromWorker> {
        loop {
            if let Some((process, job)) = self.next.take() {
                self.process = Some(process);
                if let Some(event) = self.begin(job)? {
                    return Ok(event);
                }
            }
            let process = self.process.as_mut().ok_or_else(nonsense)?;
            match process.receive::<Up>(self.message_bytes_max)? {
                Up::Said(event) => {
                    let event = match event {
                        FromWorker::Captured(new) => FromWorker::Captured(self.whole(new)?),
                        FromWorker::Stopped(new) => FromWorker::Stopped(self.whole(new)?),
                        other => other,
                    };
                    if matches!(event, FromWorker::Captured(_)) {
                        let mut state = self.shared.lock();
                        let first = state.orders.iter().position(|o| *o == ToWorker::Capture);
                        first.map(|at| state.orders.remove(at));
                    }
                    let stopping = self.shared.lock().orders.contains(&ToWorker::Stop);
                    self.belief.check(&event, stopping).map_err(io::Error::other)?;
                    return Ok(event);
                }
                Up::Again(job) => {
                    let job = self.belief.again(*job).map_err(io::Error::other)?;
                    self.shared.lock().running = None;
                    // The next process has given nothing yet.
                    self.leaves.clear();
                    let limits = run_limits(&job.start);
                    let process = self.launcher.spawn(Role::Run, limits)?;
                    self.shared.adopt(&process)?;
                    self.next = Some((process, job));
                }
                _ => return Err(nonsense()),
            }
        }
    }

    /// Gives the process its module and its task; the final event, if it comes to that already.
    fn begin(&mut self, mut job: Job) -> io::Result<Option<FromWorker>> {
        let build = match job.build() {
            Ok(build) => build,
            Err(error) => return Ok(Some(FromWorker::Refused { reason: error.to_string() })),
        };
        if let Some(base) = &mut job.start.base {
            let own = std::mem::take(&mut base.task.module);
            if !own.is_empty() && own != self.module {
                let reason = BaseError::Other("program").to_string();
                return Ok(Some(FromWorker::Refused { reason }));
            }
        }
        job.module = self.belief.learn(&job.start.task, &self.module);
        let process = self.process.as_mut().ok_or_else(nonsense)?;
        let (_, identity) = match ready(process)? {
            Ok(ready) => ready,
            Err(event) => return Ok(Some(event)),
        };
        let key = Key { module: job.module.digest, build, identity };
        let compile = || compile(&self.launcher, &self.shared, &self.module, build);
        let artefact = match self.launcher.artefacts.get(&key, compile) {
            Ok(artefact) => artefact,
            Err(NoArtefact::Said(event)) => return Ok(Some(event)),
            Err(NoArtefact::Failed(error)) => {
                let reason = format!("the module could not be compiled: {error}");
                return Ok(Some(FromWorker::Fault { reason }));
            }
        };
        pipe::send_with(process.stream(), &Down::Run(Box::new(job)), Some(&artefact))?;
        let mut state = self.shared.lock();
        let mut stream = process.stream().try_clone()?;
        for order in &state.orders {
            // A short task may be over by now, its result waiting to be read.
            let _ = pipe::send(&mut stream, &Down::Order(*order));
        }
        state.running = Some(stream);
        Ok(None)
    }
}

/// Why there is no artefact.
enum NoArtefact {
    Said(FromWorker),
    Failed(io::Error),
}

impl From<io::Error> for NoArtefact {
    fn from(error: io::Error) -> Self {
        NoArtefact::Failed(error)
    }
}

/// Has a module compiled by a process of its own.
fn compile(
    launcher: &Launcher,
    shared: &Shared,
    module: &[u8],
    build: Build,
) -> Result<File, NoArtefact> {
    let allowed = launcher.compile.of_module(module);
    let CompileLimits { cpu_s, memory_bytes, threads } = allowed;
    let limits = Limits {
        // Stacks and the allocator's arenas reserve more than they use.
        address_bytes: memory_bytes.saturating_mul(4),
        data_bytes: memory_bytes,
        cpu_s,
        file_bytes: 0,
    };
    let mut process = launcher.spawn(Role::Compile { threads }, limits)?;
    shared.adopt(&process)?;
    let artefact = compiled(&mut process, module, build);
    match artefact {
        Err(NoArtefact::Failed(error)) => {
            let end = process.end();
            Err(match process::compiler_gave_up(&end, &allowed) {
                Some(reason) => NoArtefact::Said(FromWorker::Refused { reason }),
                None => NoArtefact::Failed(io::Error::other(process::reason(&error, Some(end)))),
            })
        }
        artefact => artefact,
    }
}

fn compiled(process: &mut Process, module: &[u8], build: Build) -> Result<File, NoArtefact> {
    if let Err(event) = ready(process)? {
        return Err(NoArtefact::Said(event));
    }
    pipe::send(process.stream(), &Down::Compile { module: module.to_vec(), build })?;
    match process.receive::<Up>(SHORT_BYTES_MAX)? {
        Up::Artefact { bytes } => Ok(artefacts::take(process.input(), bytes)?),
        Up::Said(event @ (FromWorker::Refused { .. } | FromWorker::Fault { .. })) => {
            Err(NoArtefact::Said(belief::presentable(event)))
        }
        _ => Err(nonsense().into()),
    }
}
