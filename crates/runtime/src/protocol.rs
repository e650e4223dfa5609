//! What an agent and its worker processes say to each other, over the one socket that a worker
//! has (`pipe`).
//!
//! The agent sets a worker up (`Down::Setup`); the worker builds its walls, says that it is
//! ready, and only then gets something foreign: a module to compile, or a task and its compiled
//! module. Both ends are always the same program, so the encoding needs no versions.
//!
//! [`Start`], [`ToWorker`] and [`FromWorker`] are what remains of that for an agent that uses
//! [`crate::launch`].

use std::collections::{BTreeMap, BTreeSet};

use base::{Digest, Usage};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::engine::Build;
use crate::sandbox::{Confinement, Limits, Weakening};
use crate::save::CheckpointFile;
use crate::task::{ModuleId, Task};

/// Agent → worker, in this order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Down {
    /// The first message. Nothing in it is foreign.
    Setup(Setup),
    /// To a compile worker: the one module.
    Compile { module: Vec<u8>, build: Build },
    /// To a run worker, with the artefact's open file.
    Run(Box<Job>),
    /// To a run worker, any number of times after [`Down::Run`].
    Order(ToWorker),
    /// To a prisoner: try this.
    Attempt(String),
}

/// What a worker is to be.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub role: Role,
    pub limits: Limits,
    pub weakening: Weakening,
    pub lowest_priority: bool,
}

/// What a worker is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Runs one task.
    Run,
    /// Compiles one module with so many threads.
    Compile { threads: u32 },
    /// Tries what a worker must not be able to do (`sandbox::attempts`).
    Prisoner(Behind),
}

/// Behind which walls a prisoner tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Behind {
    /// As a worker that has loaded no module yet.
    All,
    /// As a run worker that has.
    Sealed,
    /// Without the filter of system calls: what the other walls are worth by themselves.
    AllButTheFilter,
}

/// A task, and how to go on with it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Without the module: what is needed of it is compiled.
    pub start: Start,
    /// What the module is.
    pub module: ModuleId,
    pub redo: Option<Redo>,
}

impl Job {
    /// The build in which it begins.
    pub fn build(&self) -> Result<Build, CheckpointError> {
        let canonical = match (&self.redo, &self.start.resume) {
            (Some(redo), _) => return Ok(redo.build),
            (None, Some(checkpoint)) => checkpoint.structure(self.start.goal)?.canonical,
            (None, None) => match &self.start.base {
                Some(base) => base.checkpoint.structure(Goal::End)?.canonical,
                None => false,
            },
        };
        Ok(if canonical { Build::CANONICAL } else { Build::FAST })
    }
}

/// The run goes back to its last capture, in another build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redo {
    pub(crate) build: Build,
    /// The trap of which only the fuel is wanted.
    pub(crate) trap: Option<TrapCode>,
}

/// Worker → agent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Up {
    /// Its walls stand; what its compiled code depends on.
    Ready { confinement: Confinement, identity: u64 },
    /// From a compile worker, the last message; so many bytes follow.
    Artefact { bytes: u64 },
    /// From a run worker, the last message: go on in a new process.
    Again(Box<Job>),
    /// From a prisoner: what became of it.
    Tried(crate::sandbox::attempts::Tried),
    /// Everything that an agent is told.
    Said(FromWorker),
}

/// Agent → worker, while a task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// Send a checkpoint at the next safepoint and go on.
    Capture,
    /// Send a checkpoint at the next safepoint and stop: answered by [`FromWorker::Stopped`].
    Stop,
}

/// What to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// The task.
    pub task: Task,
    /// Where the task begins, if not at its module's beginning: part of what the task is.
    pub base: Option<CheckpointFile>,
    /// How far to run.
    pub goal: Goal,
    /// Go on from here. It must be of the same task.
    pub resume: Option<Checkpoint>,
    /// The task ends with [`Outcome::FuelLimit`] at the first safepoint past this.
    pub fuel_max: u64,
    /// Stop with a checkpoint at the first safepoint past this.
    pub stop_at_fuel: Option<u64>,
}

impl Start {
    /// The whole of a task, from its beginning, with no limit but the one that all have.
    pub fn new(task: Task) -> Self {
        Start {
            task,
            base: None,
            goal: Goal::End,
            resume: None,
            fuel_max: base::TASK_FUEL_MAX,
            stop_at_fuel: None,
        }
    }
}

/// How far a run is to go, if nobody stops it before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// To the end.
    #[default]
    End,
    /// To where the program marks the end of its start-up: a checkpoint there is a base.
    Mark,
    /// To the next record of the chain, to compare it with somebody else's. Of the checkpoint's
    /// memory only the leaves have to be there that the span needs.
    Record,
}

/// Worker → agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FromWorker {
    /// Admitted and compiled; it runs from now on.
    Started,
    /// How far it is; sent a few times a second.
    Progress {
        /// The task's cumulative usage.
        usage: Usage,
    },
    /// The chain has grown.
    Record(Record),
    /// The record that was the goal. Final.
    Reached(Box<Reached>),
    /// The answer to [`ToWorker::Capture`].
    Captured(Checkpoint),
    /// Stopped at a safepoint, by [`ToWorker::Stop`] or past `stop_at_fuel`. Final.
    Stopped(Checkpoint),
    /// The task ended. Final.
    Ended(Box<End>),
    /// The module or checkpoint was refused, by name. Final. Nothing was run.
    Refused {
        /// For people: what and what to do.
        reason: String,
    },
    /// The host failed. Final. Not a result.
    Fault {
        /// For people.
        reason: String,
    },
}

impl FromWorker {
    /// Whether nothing more follows.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            FromWorker::Stopped(_)
                | FromWorker::Ended(_)
                | FromWorker::Reached(_)
                | FromWorker::Refused { .. }
                | FromWorker::Fault { .. }
        )
    }
}

/// The end of one span, run again, and what that took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// What it comes to.
    pub record: Record,
    /// Leaves of the checkpoint without which it would not have come so far.
    pub needed: BTreeSet<Digest>,
    /// Processor time here, loading the checkpoint not among it. Another computer takes another.
    pub cpu_ns: u64,
}

/// One record of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// ⌊fuel ÷ S⌋.
    pub k: u64,
    /// The task's fuel at this safepoint, or at its end.
    pub fuel: u64,
    /// The chain up to here.
    pub digest: Digest,
}

/// How a task ended and what it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// In all.
    pub usage: Usage,
    /// The last record.
    pub record: Record,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Files written under `/out`, by path below it.
    pub outputs: BTreeMap<String, Vec<u8>>,
}

/// How a task ended. A machine fault is not among these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The program ended by itself.
    Exited(i32),
    /// It trapped.
    Trapped(TrapCode),
    /// It was stopped at its fuel limit.
    FuelLimit,
}

/// Normative trap codes: part of the chain, so engines may not disagree about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u32)]
pub enum TrapCode {
    /// `unreachable` was executed (what a C `abort` becomes).
    Unreachable = 1,
    /// A load or store outside the memory.
    MemoryOutOfBounds = 2,
    /// A table index outside the table.
    TableOutOfBounds = 3,
    /// `call_indirect` through an empty table entry.
    IndirectCallToNull = 4,
    /// `call_indirect` of a function of another type.
    BadSignature = 5,
    /// Integer division by zero.
    IntegerDivideByZero = 6,
    /// Integer overflow in a division.
    IntegerOverflow = 7,
    /// A float that has no integer was converted to one.
    BadConversionToInteger = 8,
    /// Calls nested too deeply.
    StackExhausted = 9,
    /// A guest called the host against WASI's rules, such as with a pointer outside its memory.
    BadHostCall = 10,
    /// An exception that nobody caught.
    UncaughtException = 11,
    /// `throw_ref` of null.
    NullReference = 12,
}

impl TrapCode {
    /// The code as it is written everywhere.
    pub fn name(self) -> &'static str {
        match self {
            TrapCode::Unreachable => "unreachable",
            TrapCode::MemoryOutOfBounds => "memory_out_of_bounds",
            TrapCode::TableOutOfBounds => "table_out_of_bounds",
            TrapCode::IndirectCallToNull => "indirect_call_to_null",
            TrapCode::BadSignature => "bad_signature",
            TrapCode::IntegerDivideByZero => "integer_divide_by_zero",
            TrapCode::IntegerOverflow => "integer_overflow",
            TrapCode::BadConversionToInteger => "bad_conversion_to_integer",
            TrapCode::StackExhausted => "stack_exhausted",
            TrapCode::BadHostCall => "bad_host_call",
            TrapCode::UncaughtException => "uncaught_exception",
            TrapCode::NullReference => "null_reference",
        }
    }
}
