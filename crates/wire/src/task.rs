//! A task as it travels: everything that decides its outcome, by content address.

use base::Digest;
use serde::{Deserialize, Serialize};

/// What one task runs. Stored as a JSON blob; its digest is how a job names it.
///
/// Everything here enters the task digest, but for `fuel_max`: where a task is cut off does
/// not change what it computes up to there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Format version: 1, or 2 for a task that begins in a base.
    pub version: u32,
    /// The WebAssembly module (a `wasm32-wasip1` command), as a blob.
    pub module: Digest,
    /// Where the task begins, if not at its module's beginning: a checkpoint file of a task with
    /// the same module, arguments and environment, without the module, as a blob. Such a module is
    /// a runtime that machines keep: it isn't the task's traffic, nor is the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// Arguments; the first is the program's name.
    pub args: Vec<String>,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Standard input, as a blob; absent means empty.
    pub stdin: Option<Digest>,
    /// Read-only files under `/in`, sorted by name. Names may contain `/`.
    pub inputs: Vec<InputFile>,
    /// Linear memory limit, in 64 KiB pages.
    pub memory_max_pages: u32,
    /// Limit on the bytes of standard output, standard error and `/out` together.
    pub output_max_bytes: u64,
    /// The task ends with the outcome `fuel_limit` at the first safepoint past this.
    pub fuel_max: u64,
    /// S: the chain has a record at the first safepoint past each multiple of it.
    pub segment_fuel: u64,
    /// What the guest's random numbers derive from: BLAKE3(job seed, task index).
    pub seed: Digest,
    /// The guest's clock at fuel 0, in milliseconds UTC.
    pub clock_start_ms: i64,
}

impl TaskSpec {
    /// The version that a spec must say: who knows no bases must not run a task without its own.
    pub fn version_due(&self) -> u32 {
        if self.base.is_some() { 2 } else { 1 }
    }
}

/// One read-only input file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Path below `/in`.
    pub name: String,
    /// Its content, as a blob.
    pub content: Digest,
}

/// How a task ended. A machine fault is not among these: it ends an attempt, never a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Outcome {
    /// The program ended by itself.
    Exited {
        /// Its exit status.
        status: i32,
    },
    /// The program trapped.
    Trapped {
        /// The normative trap code, such as `integer_divide_by_zero` or `stack_exhausted`.
        code: String,
    },
    /// The program was stopped at its fuel limit.
    FuelLimit,
}

/// What a finished task left behind. Stored as a JSON blob; receipts name it by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// How it ended.
    pub outcome: Outcome,
    /// Standard output, as a blob.
    pub stdout: Digest,
    /// Standard error, as a blob.
    pub stderr: Digest,
    /// Files written under `/out`, sorted by name.
    pub outputs: Vec<InputFile>,
}

/// The blobs that make up a checkpoint. Stored as a JSON blob; receipts name it by digest.
/// The exchange accepts a checkpoint when it holds every one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointIndex {
    /// The runtime's own description of the state (opaque to the exchange), as a blob.
    pub manifest: Digest,
    /// The 64 KiB leaves that the manifest refers to, each once, sorted.
    pub leaves: Vec<Digest>,
}
