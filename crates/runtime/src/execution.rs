//! A task's run: cut into slices, recorded in the chain, redone where the fast build or a trap
//! leaves something open.
//!
//! The run keeps its last capture. From there it is redone in the canonical build when a NaN
//! was born, and in the exact build when a trap's fuel has to be known. Both give what an
//! uninterrupted run in that build would have given: the state is all there is.

use std::collections::{BTreeMap, BTreeSet};

use base::{Digest, Usage};

use crate::base_state;
use crate::chain;
use crate::checkpoint::{self, Checkpoint, Manifest, Part};
use crate::engine::{Build, CompileError, Modules};
use crate::instance::{Instance, InstanceError, State, world_config};

use crate::leaf::Leaf;
use crate::protocol::{End, Goal, Outcome, Record, Redo, TrapCode};
pub use crate::run_error::RunError;
use crate::save::CheckpointFile;
use crate::stop::Stop;
use crate::task::{ModuleId, Task};
use crate::world::WorldConfig;

/// Fuel between two looks at the agent's messages: some 20 ms.
const SLICE_FUEL: u64 = 1 << 26;
/// Far enough for any replay of one segment, near enough for the fuel global's range.
const REPLAY_FUEL: u64 = 1 << 41;

/// What one slice brought.
#[derive(Debug, Default)]
pub struct Slice {
    /// The chain grew.
    pub record: Option<Record>,
    /// The task ended.
    pub end: Option<Box<End>>,
}

/// One span, run again.
#[derive(Debug)]
pub struct Span {
    /// What it comes to.
    pub record: Record,
    /// The leaves of its checkpoint without which it would not have come so far.
    pub needed: BTreeSet<Digest>,
}

/// A task under way.
pub struct Execution<'t> {
    task: &'t Task,
    digest: Digest,
    /// What of its traffic comes before its results.
    inbound_bytes: u64,
    world: WorldConfig,
    modules: &'t dyn Modules,
    instance: Instance,
    build: Build,
    chain_head: Digest,
    boundary: Vec<Part>,
    state_bytes: u64,
    /// The last capture, whose bytes the instance keeps; `None` is the beginning.
    last: Option<Manifest>,
    /// Where the task begins, if not at its module's beginning.
    base: Option<(&'t CheckpointFile, Manifest)>,
    goal: Goal,
    /// The fuel at which it did.
    mark: Option<u64>,
    /// Leaves that [`Execution::capture_new`] gave away the last time.
    given: BTreeSet<Digest>,
    /// All leaves that there are of the checkpoint in which a span began.
    span: BTreeMap<Digest, Leaf>,
}

fn parts(state: &State) -> Vec<Part> {
    checkpoint::parts(&state.memory, &state.frames, &state.tables, &state.contents)
}

impl<'t> Execution<'t> {
    /// Puts the task at its beginning, or at `resume`, in the build that is due there, or in
    /// that of `redo`.
    #[cfg(test)]
    pub fn new(
        task: &'t Task,
        modules: &'t dyn Modules,
        resume: Option<Checkpoint>,
        redo: Option<Redo>,
    ) -> Result<Self, RunError> {
        Execution::begin(task, modules, None, Goal::End, resume, redo)
    }

    /// The same for a task whose beginning is a base ([`crate::base_state`]), if one is given, and
    /// for any goal.
    pub fn begin(
        task: &'t Task,
        modules: &'t dyn Modules,
        base: Option<&'t CheckpointFile>,
        goal: Goal,
        resume: Option<Checkpoint>,
        redo: Option<Redo>,
    ) -> Result<Self, RunError> {
        check_limits(task)?;
        let id = modules.id(&task.module);
        let base = match base {
            Some(file) => Some((file, base_state::check(file, task, &id.digest)?)),
            None => None,
        };
        let Some(checkpoint) = resume else {
            if goal == Goal::Record {
                return Err(RunError::Refused(
                    "a span begins in a checkpoint; give one".to_owned(),
                ));
            }
            let canonical = base.as_ref().is_some_and(|(_, manifest)| manifest.canonical);
            let due = if canonical { Build::CANONICAL } else { Build::FAST };
            let build = redo.map_or(due, |redo| redo.build);
            let module = modules.module(&task.module, task.memory_max_pages, build)?;
            let begun = Execution::of_module(task, modules, &id, &module, build, base)?;
            return Ok(Execution { goal, ..begun });
        };
        let digest = identity(task, &id.digest, base.as_ref());
        let world = world_config(task);
        let manifest = match goal {
            Goal::Record => checkpoint.check_span()?,
            Goal::End | Goal::Mark => checkpoint.check()?,
        };
        if manifest.task != digest {
            return Err(RunError::Refused(format!(
                "the checkpoint is of another task ({}, this is {digest}); give the same program, arguments and options",
                manifest.task
            )));
        }
        let due = if manifest.canonical { Build::CANONICAL } else { Build::FAST };
        let build = redo.map_or(due, |redo| redo.build);
        let module = modules.module(&task.module, task.memory_max_pages, build)?;
        let leaves = checkpoint.leaves();
        let mut instance = Instance::restore(&module, task, &world, &manifest, leaves)?;
        instance.exact = build.exact;
        let mut span = BTreeMap::new();
        if goal == Goal::Record {
            hide(&mut instance, &manifest, leaves)?;
            span.clone_from(leaves);
        }
        Ok(Execution {
            chain_head: manifest.chain_head,
            boundary: manifest.boundary.clone(),
            state_bytes: manifest.usage.state_bytes,
            last: Some(manifest),
            goal,
            span,
            ..Execution::fresh((task, digest), &id, world, modules, instance, build, base)
        })
    }

    /// Puts a task, of which this is the compiled module, at its beginning.
    pub fn of_module(
        task: &'t Task,
        modules: &'t dyn Modules,
        id: &ModuleId,
        module: &wasmtime::Module,
        build: Build,
        base: Option<(&'t CheckpointFile, Manifest)>,
    ) -> Result<Self, RunError> {
        let digest = identity(task, &id.digest, base.as_ref());
        let world = world_config(task);
        let inbound_bytes = task.inbound_bytes(id, base.is_some());
        let mut instance = beginning(module, task, &world, base.as_ref())?;
        instance.exact = build.exact;
        let state = instance.state();
        let boundary = parts(&state);
        let usage = Usage { traffic_bytes: inbound_bytes, ..Usage::ZERO };
        let manifest = manifest(state, digest, usage, Digest::default(), &boundary, false);
        let chain_head = chain::genesis(&digest, &manifest.state_root());
        Ok(Execution {
            chain_head,
            boundary,
            ..Execution::fresh((task, digest), id, world, modules, instance, build, base)
        })
    }

    /// A run of which nothing is recorded yet.
    fn fresh(
        (task, digest): (&'t Task, Digest),
        id: &ModuleId,
        world: WorldConfig,
        modules: &'t dyn Modules,
        instance: Instance,
        build: Build,
        base: Option<(&'t CheckpointFile, Manifest)>,
    ) -> Self {
        Execution {
            task,
            digest,
            inbound_bytes: task.inbound_bytes(id, base.is_some()),
            world,
            modules,
            instance,
            build,
            chain_head: Digest::default(),
            boundary: Vec::new(),
            state_bytes: 0,
            last: None,
            base,
            goal: Goal::End,
            mark: None,
            given: BTreeSet::new(),
            span: BTreeMap::new(),
        }
    }

    /// Whether it is at its mark: a capture is a base.
    pub fn is_at_mark(&self) -> bool {
        self.goal == Goal::Mark && self.mark.is_some_and(|mark| self.instance.used > mark)
    }

    /// Usage so far.
    pub fn usage(&self) -> Usage {
        Usage {
            fuel: self.instance.used,
            memory_page_fuel: self.instance.memory_page_fuel,
            state_bytes: self.state_bytes,
            traffic_bytes: self.inbound_bytes,
        }
    }

    /// The state, also after the end, for comparison with another engine's.
    #[cfg(test)]
    pub fn state(&mut self) -> State {
        self.instance.state()
    }

    /// Captures, and says only the state root.
    pub fn state_root(&mut self) -> Digest {
        let state = self.instance.state();
        let manifest = self.manifest(state, self.usage());
        let root = manifest.state_root();
        self.last = Some(manifest);
        root
    }

    /// Standard output so far.
    pub fn stdout(&self) -> &[u8] {
        self.instance.world().stdout()
    }

    /// The guest's memory.
    pub fn memory(&self) -> &[u8] {
        self.instance.memory()
    }

    /// The bytes to which the run would go back.
    #[cfg(test)]
    pub fn last_leaves(&self) -> std::collections::BTreeMap<Digest, crate::leaf::Leaf> {
        self.instance.leaves(|_| true)
    }

    /// Whether captures cost what changed.
    #[cfg(test)]
    pub fn is_watched(&self) -> bool {
        self.instance.is_watched()
    }

    /// Runs one span, which a checkpoint begins, again ([`Goal::Record`]).
    pub fn span(&mut self, fuel_max: u64, replayed: Option<TrapCode>) -> Result<Span, RunError> {
        let Some(began) = self.last.clone() else {
            return Err(RunError::Fault("a span without a checkpoint".to_owned()));
        };
        let record = loop {
            let slice = match replayed {
                Some(code) => self.replay(code, fuel_max)?,
                None => self.slice(fuel_max, u64::MAX)?,
            };
            match slice {
                Slice { end: Some(end), .. } => break end.record,
                Slice { record: Some(record), .. } => break record,
                Slice { record: None, end: None } => {}
            }
        };
        let memory = began.memory.iter().flat_map(|part| part.leaves.iter().enumerate());
        let touched = memory.filter(|(leaf, _)| self.instance.is_touched(*leaf));
        let mut needed: BTreeSet<Digest> = touched.map(|(_, digest)| *digest).collect();
        needed.extend(began.all_but_memory());
        needed.remove(&checkpoint::zero_leaf());
        Ok(Span { record, needed })
    }

    /// Runs to the next safepoint at which there is something to do, at most to the first one
    /// past `stop_at`.
    pub fn slice(&mut self, fuel_max: u64, stop_at: u64) -> Result<Slice, RunError> {
        let used = self.instance.used;
        if used >= fuel_max {
            return Ok(self.ended(Outcome::FuelLimit));
        }
        let segment = self.task.segment_fuel;
        let boundary = (used / segment + 1).saturating_mul(segment);
        let mut stop = boundary.min(used + SLICE_FUEL).min(fuel_max);
        if stop_at > used {
            stop = stop.min(stop_at);
        }
        if let Some(mark) = self.mark.filter(|&mark| mark >= used) {
            stop = stop.min(mark + 1);
        }
        let reason = self.run(stop, fuel_max)?;
        if !self.build.canonical && self.instance.nan_born() {
            self.redo(Redo { build: Build::CANONICAL, trap: None })?;
            return Ok(Slice::default());
        }
        if self.goal == Goal::Mark && self.mark.is_none() && self.instance.marked().is_some() {
            // Once more, to the first safepoint after it: wherever slices happened to end, the
            // base is the same.
            self.mark = self.instance.marked();
            self.redo(Redo { build: self.build, trap: None })?;
            return Ok(Slice::default());
        }
        if self.is_at_mark() && self.instance.called_since_mark() {
            return Err(RunError::Refused(
                "the program called the host right after it marked the end of its start-up; let it call a function or run a loop first".to_owned(),
            ));
        }
        let outcome = match reason {
            Stop::Safepoint => {
                let record = (self.instance.used >= boundary).then(|| self.record());
                let end = (self.instance.used >= fuel_max)
                    .then(|| self.ended(Outcome::FuelLimit).end)
                    .flatten();
                return Ok(Slice { record, end });
            }
            Stop::Exited(status) => Outcome::Exited(status),
            Stop::FuelLimit => Outcome::FuelLimit,
            Stop::Trapped { code, exact: true } => Outcome::Trapped(code),
            Stop::Trapped { code, exact: false } => {
                let build = self.build;
                self.redo(Redo { build: Build { exact: true, ..build }, trap: Some(code) })?;
                let end = self.replay(code, fuel_max);
                self.build = build;
                return end;
            }
        };
        Ok(self.ended(outcome))
    }

    /// Runs an exact build to the trap that another build met.
    pub fn replay(&mut self, code: TrapCode, fuel_max: u64) -> Result<Slice, RunError> {
        let again = loop {
            let until = self.instance.used + REPLAY_FUEL;
            match self.run(until, fuel_max)? {
                Stop::Safepoint => {}
                other => break other,
            }
        };
        if again != (Stop::Trapped { code, exact: true }) {
            return Err(RunError::Fault(format!(
                "a trap ({}) did not repeat: {again:?}",
                code.name()
            )));
        }
        Ok(self.ended(Outcome::Trapped(code)))
    }

    /// Runs, and stops when that was on memory that isn't what it should be.
    fn run(&mut self, stop: u64, fuel_max: u64) -> Result<Stop, RunError> {
        let reason = self.instance.run(stop, fuel_max)?;
        match self.instance.lacked() {
            None => Ok(reason),
            Some(digest) => Err(RunError::Refused(format!(
                "the span needs the leaf {digest}, which the checkpoint is without; take the whole checkpoint"
            ))),
        }
    }

    /// The last capture, whole but for what a span came without; `None` is the beginning.
    pub fn into_last(self) -> Option<Checkpoint> {
        let manifest = self.last.as_ref()?;
        Some(Checkpoint::new(manifest, self.leaves()))
    }

    fn leaves(&self) -> BTreeMap<Digest, Leaf> {
        match self.goal {
            Goal::Record => self.span.clone(),
            Goal::End | Goal::Mark => self.instance.leaves(|_| true),
        }
    }

    /// Goes back to the last capture, in another build.
    fn redo(&mut self, redo: Redo) -> Result<(), RunError> {
        let build = redo.build;
        let module = match self.modules.module(&self.task.module, self.task.memory_max_pages, build)
        {
            Err(CompileError::Elsewhere) => return Err(RunError::Elsewhere(redo)),
            module => module?,
        };
        self.instance = match &self.last {
            None => beginning(&module, self.task, &self.world, self.base.as_ref())?,
            Some(manifest) => {
                let leaves = self.leaves();
                let mut instance =
                    Instance::restore(&module, self.task, &self.world, manifest, &leaves)?;
                if self.goal == Goal::Record {
                    hide(&mut instance, manifest, &leaves)?;
                }
                instance
            }
        };
        self.instance.exact = build.exact;
        self.build = build;
        Ok(())
    }

    /// A checkpoint of the current safepoint.
    #[cfg(test)]
    pub fn capture(&mut self) -> Checkpoint {
        self.given.clear();
        self.capture_new()
    }

    /// A checkpoint of the current safepoint without the leaves that the one before had, too:
    /// whoever has that one needs only what changed.
    pub fn capture_new(&mut self) -> Checkpoint {
        let state = self.instance.state();
        let manifest = self.manifest(state, self.usage());
        let needed = manifest.needed();
        let leaves = self.instance.leaves(|digest| !self.given.contains(digest));
        self.given = needed;
        let checkpoint = Checkpoint::new(&manifest, leaves);
        self.last = Some(manifest);
        checkpoint
    }

    fn record(&mut self) -> Record {
        let state = self.instance.state();
        let now = parts(&state);
        self.state_bytes += checkpoint::changed_bytes(&self.boundary, &now);
        self.boundary = now;
        let usage = self.usage();
        let mut manifest = self.manifest(state, usage);
        let record = chain::next(
            &self.chain_head,
            self.task.segment_fuel,
            &manifest.state_root(),
            &usage,
            &chain::output_root(self.instance.world()),
        );
        self.chain_head = record.digest;
        manifest.chain_head = record.digest;
        self.last = Some(manifest);
        record
    }

    fn manifest(&self, state: State, usage: Usage) -> Manifest {
        let canonical = self.build.canonical;
        manifest(state, self.digest, usage, self.chain_head, &self.boundary, canonical)
    }

    fn ended(&mut self, outcome: Outcome) -> Slice {
        let world = self.instance.world();
        let outputs = world.outputs();
        let results = world.stdout().len()
            + world.stderr().len()
            + outputs.values().map(Vec::len).sum::<usize>();
        let mut usage = self.usage();
        usage.traffic_bytes += results as u64;
        let record = chain::next(
            &self.chain_head,
            self.task.segment_fuel,
            &chain::end_state(&outcome),
            &usage,
            &chain::output_root(world),
        );
        let end = End {
            outcome,
            usage,
            record,
            stdout: world.stdout().to_vec(),
            stderr: world.stderr().to_vec(),
            outputs,
        };
        self.chain_head = record.digest;
        Slice { record: None, end: Some(Box::new(end)) }
    }
}

/// Watches what a span needs of the checkpoint that it was put into. Where that can't be watched,
/// nothing may be lacking.
fn hide(
    instance: &mut Instance,
    manifest: &Manifest,
    leaves: &BTreeMap<Digest, Leaf>,
) -> Result<(), RunError> {
    let lacking = manifest.needed().iter().any(|digest| !leaves.contains_key(digest));
    if instance.hide(leaves) || !lacking {
        return Ok(());
    }
    Err(RunError::Refused(
        "this computer can't watch a program's memory, so it can't check a span from some of its leaves; take the whole checkpoint".to_owned(),
    ))
}

/// What the task is, base included.
fn identity(
    task: &Task,
    module_digest: &Digest,
    base: Option<&(&CheckpointFile, Manifest)>,
) -> Digest {
    let digest = task.digest_with(module_digest);
    base.map_or(digest, |(_, manifest)| base_state::digest(&digest, manifest))
}

/// The task before the first instruction that is its own.
fn beginning(
    module: &wasmtime::Module,
    task: &Task,
    world: &WorldConfig,
    base: Option<&(&CheckpointFile, Manifest)>,
) -> Result<Instance, InstanceError> {
    match base {
        None => Instance::new(module, task, world),
        Some((file, manifest)) => Instance::after(module, task, world, file, manifest),
    }
}

fn manifest(
    state: State,
    task: Digest,
    usage: Usage,
    chain_head: Digest,
    boundary: &[Part],
    canonical: bool,
) -> Manifest {
    Manifest {
        version: checkpoint::VERSION,
        task,
        usage,
        chain_head,
        boundary: boundary.to_vec(),
        canonical,
        globals: state.globals,
        depth: state.depth,
        memory: state.memory,
        frames: state.frames,
        tables: state.tables,
        world_meta: state.world_meta,
        contents: state.contents,
    }
}

fn check_limits(task: &Task) -> Result<(), RunError> {
    if task.segment_fuel < crate::SEGMENT_FUEL_MIN {
        return Err(RunError::Refused(format!(
            "a segment of {} fuel is too short; take at least {}",
            task.segment_fuel,
            crate::SEGMENT_FUEL_MIN
        )));
    }
    if task.segment_fuel > crate::SEGMENT_FUEL_MAX {
        return Err(RunError::Refused(format!(
            "a segment of {} fuel is too long; take at most {}",
            task.segment_fuel,
            crate::SEGMENT_FUEL_MAX
        )));
    }
    if task.memory_max_pages > 65536 {
        return Err(RunError::Refused(format!(
            "a memory limit of {} pages is more than a 32-bit memory has; take at most 65536 (4 GiB)",
            task.memory_max_pages
        )));
    }
    Ok(())
}
