//! What a worker may say about its task. A run worker holds foreign code and may have become its
//! tool: whatever it says is checked against the task before anybody acts on it. What it can't be
//! kept from is being wrong about what the program computed; that shows when somebody else
//! computes it.

use base::{Digest, Usage};

use crate::base_state;
use crate::checkpoint::{Checkpoint, Manifest};
use crate::protocol::{End, FromWorker, Goal, Job, Outcome, Start};
use crate::task::{ModuleId, Task};

/// Longest reason that is passed on; what follows says nothing to people.
const REASON_CHARS_MAX: usize = 4_000;
/// Longest path of an output: 128 directories in each other, as the world has it at most.
const PATH_BYTES_MAX: usize = 128 * 256;
/// Fast, canonical, exact: a run goes back twice at most.
const REDONE_MAX: u32 = 2;

/// What is known of a task without running it.
#[derive(Debug)]
pub(super) struct Belief {
    /// What task it is and what its module, once they were needed.
    known: Option<(Digest, ModuleId)>,
    /// Where the task begins: part of what it is.
    base: Option<Manifest>,
    goal: Goal,
    fuel_max: u64,
    stop_at_fuel: Option<u64>,
    inbound_bytes: u64,
    output_max_bytes: u64,
    /// Where the run began.
    fuel_before: u64,
    redone: u32,
}

impl Belief {
    pub fn new(start: &Start) -> Self {
        let before =
            start.resume.as_ref().and_then(|checkpoint| checkpoint.structure(start.goal).ok());
        Belief {
            known: None,
            base: start.base.as_ref().and_then(|file| file.checkpoint.structure(Goal::End).ok()),
            goal: start.goal,
            fuel_max: start.fuel_max,
            stop_at_fuel: start.stop_at_fuel,
            inbound_bytes: 0,
            output_max_bytes: start.task.output_max_bytes,
            fuel_before: before.map_or(0, |manifest| manifest.usage.fuel),
            redone: 0,
        }
    }

    /// What the module is; from now on it is known what the task is.
    pub fn learn(&mut self, task: &Task, module: &[u8]) -> ModuleId {
        if let Some((_, module)) = self.known {
            return module;
        }
        let base = self.base.as_ref();
        let module = ModuleId::of(module);
        self.inbound_bytes = task.inbound_bytes(&module, base.is_some());
        self.known = Some((identity(&task.digest_with(&module.digest), base), module));
        module
    }

    /// Whether an event can be. `stopping` says that the worker was told to stop.
    pub fn check(&self, event: &FromWorker, stopping: bool) -> Result<(), &'static str> {
        match event {
            FromWorker::Captured(checkpoint) => self.check_state(checkpoint).map(drop),
            FromWorker::Stopped(checkpoint) => {
                let usage = self.check_state(checkpoint)?;
                let due = self.goal == Goal::Mark
                    || self.stop_at_fuel.is_some_and(|stop_at| usage.fuel >= stop_at);
                if due || stopping { Ok(()) } else { Err("it stopped without being told to") }
            }
            FromWorker::Ended(end) => self.check_end(end),
            FromWorker::Reached(_) if self.goal != Goal::Record => Err("nobody asked for a record"),
            FromWorker::Reached(reached) if reached.record.fuel < self.fuel_before => {
                Err("its fuel ran backwards")
            }
            FromWorker::Reached(_) => Ok(()),
            FromWorker::Started
            | FromWorker::Progress { .. }
            | FromWorker::Record(_)
            | FromWorker::Refused { .. }
            | FromWorker::Fault { .. } => Ok(()),
        }
    }

    fn check_state(&self, checkpoint: &Checkpoint) -> Result<Usage, &'static str> {
        let manifest = checkpoint.structure(self.goal).map_err(|_| "its checkpoint is none")?;
        if Some(manifest.task) != self.known.map(|(task, _)| task) {
            return Err("its checkpoint is of another task");
        }
        if manifest.usage.traffic_bytes != self.inbound_bytes {
            return Err("it invents traffic");
        }
        if manifest.usage.fuel < self.fuel_before {
            return Err("its fuel ran backwards");
        }
        Ok(manifest.usage)
    }

    fn check_end(&self, end: &End) -> Result<(), &'static str> {
        let files: usize = end.outputs.values().map(Vec::len).sum();
        let results = (end.stdout.len() + end.stderr.len() + files) as u64;
        if results > self.output_max_bytes {
            return Err("its output is larger than it can be");
        }
        if end.usage.traffic_bytes != self.inbound_bytes + results {
            return Err("it invents traffic");
        }
        if end.usage.fuel != end.record.fuel || end.usage.fuel < self.fuel_before {
            return Err("its fuel is not that of its chain");
        }
        if end.outcome == Outcome::FuelLimit && end.usage.fuel < self.fuel_max {
            return Err("it ended at a limit that it had not reached");
        }
        if !end.outputs.keys().all(|path| is_below(path)) {
            return Err("its outputs lie elsewhere than in the directory for outputs");
        }
        Ok(())
    }

    /// The same task, going on in another build.
    pub fn again(&mut self, mut job: Job) -> Result<Job, &'static str> {
        let Some(redo) = job.redo else { return Err("it goes on without a reason") };
        let last = job.start.resume.as_ref().map(|checkpoint| self.check_state(checkpoint));
        last.transpose()?;
        let Some((known, module)) = self.known else { return Err("it goes on without a task") };
        let task = job.start.task.digest_with(&module.digest);
        if known != identity(&task, self.base.as_ref()) || job.module != module {
            return Err("it goes on with another task");
        }
        if self.redone == REDONE_MAX || (redo.trap.is_some() != redo.build.exact) {
            return Err("it goes back again and again");
        }
        self.redone += 1;
        if job.start.goal != self.goal
            || job.start.base.as_ref().map(|file| file.checkpoint.structure(Goal::End).ok())
                != self.base.clone().map(Some)
        {
            return Err("it goes on from another beginning");
        }
        job.start.fuel_max = self.fuel_max;
        job.start.stop_at_fuel = self.stop_at_fuel;
        Ok(job)
    }
}

/// What a task is, its beginning included.
fn identity(task: &Digest, base: Option<&Manifest>) -> Digest {
    base.map_or(*task, |manifest| base_state::digest(task, manifest))
}

/// Whether a path stays below the directory that it is put into.
fn is_below(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && !path.contains('\0')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// What a worker says goes to logs and terminals: a bounded text without control characters.
pub(super) fn presentable(event: FromWorker) -> FromWorker {
    let clean = |reason: String| -> String {
        let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        reason.chars().map(plain).take(REASON_CHARS_MAX).collect()
    };
    match event {
        FromWorker::Refused { reason } => FromWorker::Refused { reason: clean(reason) },
        FromWorker::Fault { reason } => FromWorker::Fault { reason: clean(reason) },
        event => event,
    }
}
