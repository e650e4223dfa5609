//! What an agent and its worker process say to each other, over the worker's stdin and stdout.
//!
//! A message is its length as 8 little-endian bytes and its postcard encoding. The agent sends
//! one [`ToWorker::Start`], then any number of the others; the worker answers until one of the
//! final messages ([`FromWorker::is_final`]) and exits. Both ends are always the same program,
//! so the encoding needs no versions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base::{Digest, Usage};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::save::CheckpointFile;
use crate::task::Task;

/// Agent → worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToWorker {
    /// Run a task. The first message.
    Start(Box<Start>),
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
    /// Stop with a checkpoint where the program marks the end of its start-up: a base.
    pub until_mark: bool,
    /// Go on from here. It must be of the same task.
    pub resume: Option<Checkpoint>,
    /// The task ends with [`Outcome::FuelLimit`] at the first safepoint past this.
    pub fuel_max: u64,
    /// Stop with a checkpoint at the first safepoint past this.
    pub stop_at_fuel: Option<u64>,
    /// Where compiled modules are kept between tasks; absent means nowhere.
    pub artefacts: Option<PathBuf>,
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
                | FromWorker::Refused { .. }
                | FromWorker::Fault { .. }
        )
    }
}

/// One record of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
        }
    }
}
