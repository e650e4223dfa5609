//! A task: everything that decides what a program computes.

use std::collections::BTreeMap;

use base::Digest;
use serde::{Deserialize, Serialize};

/// A program and its virtual world. The same task has the same chain, usage and result on any
/// machine, however often it is interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The WebAssembly module, a `wasm32-wasip1` command.
    pub module: Vec<u8>,
    /// Arguments; the first is the program's name.
    pub args: Vec<String>,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Read-only files under `/in`, by path below it. Paths may contain `/`.
    pub inputs: BTreeMap<String, Vec<u8>>,
    /// Linear memory limit in 64 KiB pages.
    pub memory_max_pages: u32,
    /// Limit on the bytes of standard output, standard error and `/out` together.
    pub output_max_bytes: u64,
    /// S: the chain has a record at the first safepoint past each multiple of it.
    pub segment_fuel: u64,
    /// What the guest's random numbers derive from.
    pub seed: Digest,
    /// The guest's clock at fuel 0, in milliseconds UTC.
    pub clock_start_ms: i64,
}

/// Defaults that users meet.
pub mod defaults {
    /// 512 MiB.
    pub const MEMORY_MAX_PAGES: u32 = 8192;
    /// 64 MiB: as much as an exchange takes for one blob by default, since one file may be all.
    pub const OUTPUT_MAX_BYTES: u64 = 64 << 20;
    /// 64 Gfuel: 4 to 25 s on a current core, by kind of program.
    pub const SEGMENT_FUEL: u64 = 64 * base::FUEL_PER_GFUEL;
    /// 2026-01-01T00:00Z.
    pub const CLOCK_START_MS: i64 = 1_767_225_600_000;
}

impl Task {
    /// A task of `module` with defaults, no input and the seed of task 0 of job seed 0.
    pub fn new(module: Vec<u8>) -> Self {
        Task {
            module,
            args: vec!["program".to_owned()],
            env: Vec::new(),
            stdin: Vec::new(),
            inputs: BTreeMap::new(),
            memory_max_pages: defaults::MEMORY_MAX_PAGES,
            output_max_bytes: defaults::OUTPUT_MAX_BYTES,
            segment_fuel: defaults::SEGMENT_FUEL,
            seed: task_seed(&Digest::default(), 0),
            clock_start_ms: defaults::CLOCK_START_MS,
        }
    }

    /// The task's identity: two tasks with one digest compute the same. Versions of the
    /// transform and of the cost table are part of it.
    pub fn digest(&self) -> Digest {
        self.digest_with(&Digest::of(&self.module))
    }

    /// The same for whoever knows the module's digest: hashing megabytes takes milliseconds.
    pub(crate) fn digest_with(&self, module: &Digest) -> Digest {
        let list = |items: Vec<Vec<u8>>| -> Vec<u8> {
            items
                .into_iter()
                .flat_map(|item| [(item.len() as u64).to_le_bytes().to_vec(), item].concat())
                .collect()
        };
        let args = list(self.args.iter().map(|a| a.clone().into_bytes()).collect());
        let env =
            list(self.env.iter().flat_map(|(k, v)| [k.clone().into(), v.clone().into()]).collect());
        let inputs = list(
            self.inputs
                .iter()
                .flat_map(|(name, content)| {
                    [name.clone().into_bytes(), Digest::of(content).0.to_vec()]
                })
                .collect(),
        );
        Digest::of_parts(
            "jusha task v1",
            &[
                &crate::TRANSFORM_VERSION.to_le_bytes(),
                &crate::COST_TABLE_VERSION.to_le_bytes(),
                &module.0,
                &args,
                &env,
                &Digest::of(&self.stdin).0,
                &inputs,
                &self.memory_max_pages.to_le_bytes(),
                &self.output_max_bytes.to_le_bytes(),
                &self.segment_fuel.to_le_bytes(),
                &self.seed.0,
                &self.clock_start_ms.to_le_bytes(),
            ],
        )
    }

    /// Bytes that travel to a machine once per task: the module and all inputs. A task that begins
    /// in a base has a module that machines keep: it isn't the task's traffic.
    pub(crate) fn inbound_bytes(&self, module: &ModuleId, based: bool) -> u64 {
        let inputs: usize = self.inputs.values().map(Vec::len).sum();
        let own = if based { 0 } else { module.bytes };
        own + (self.stdin.len() + inputs) as u64
    }
}

/// What a module is, for whoever has no use for its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleId {
    /// Its address.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
}

impl ModuleId {
    /// Hashes it, which takes milliseconds for large ones.
    pub fn of(module: &[u8]) -> Self {
        ModuleId { digest: Digest::of(module), bytes: module.len() as u64 }
    }
}

/// The seed of one task of a job, so that tasks differ and a resumed task doesn't.
pub fn task_seed(job_seed: &Digest, index: u32) -> Digest {
    Digest::of_parts("jusha task seed v1", &[&job_seed.0, &index.to_le_bytes()])
}
