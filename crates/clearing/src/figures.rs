//! What a task can use at most, by figures that are known when it is submitted. Receipts are
//! checked against these bounds and escrow is set aside for them, so that whatever is accepted
//! is covered.

use base::{Digest, Usage};
use serde::{Deserialize, Serialize};

const PAGE_BYTES: u64 = 65_536;
/// What a state holds beside the guest's memory and its output: frames and the world's tables.
const STATE_BESIDE_BYTES: u64 = 16 << 20;

/// A task as it is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTask {
    /// Its spec blob, opaque here.
    pub spec: Digest,
    /// What the edge read out of it.
    pub figures: TaskFigures,
}

/// The limits in a task's spec and the size of what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFigures {
    /// Module, standard input and inputs together, each as often as the spec names it.
    pub inbound_bytes: u64,
    /// Limit on the output.
    pub output_max_bytes: u64,
    /// Linear memory limit, in 64 KiB pages.
    pub memory_max_pages: u32,
    /// The chain has a record, and changed state is counted, once past each multiple of it.
    pub segment_fuel: u64,
    /// The task ends at the first safepoint past this.
    pub fuel_max: u64,
}

impl TaskFigures {
    /// The most fuel of a task that must stop at `allowance`, when a safepoint comes within
    /// `overshoot`.
    pub(crate) fn fuel_most(&self, allowance: u64, overshoot: u64) -> u64 {
        allowance.min(self.fuel_max).saturating_add(overshoot)
    }

    /// The most traffic: results travel once the task has finished.
    pub(crate) fn traffic_most(&self, finished: bool) -> u64 {
        let results = if finished { self.output_max_bytes } else { 0 };
        self.inbound_bytes.saturating_add(results)
    }

    /// The most that an interval of fuel can hold in memory.
    pub(crate) fn memory_page_fuel_most(&self, fuel: u64) -> u64 {
        fuel.saturating_mul(self.memory_max_pages.into())
    }

    /// The most state that can change between two values of a task's fuel: everything, at every
    /// boundary in between.
    pub(crate) fn state_bytes_most(&self, from_fuel: u64, to_fuel: u64) -> u64 {
        let segment = self.segment_fuel.max(1);
        let boundaries = (to_fuel / segment).saturating_sub(from_fuel / segment);
        let state = u64::from(self.memory_max_pages) * PAGE_BYTES + STATE_BESIDE_BYTES;
        boundaries.saturating_mul(state.saturating_add(self.output_max_bytes))
    }

    /// The most that a task can still use from `from` on until `fuel`.
    pub(crate) fn usage_most(&self, from: Usage, fuel: u64) -> Usage {
        let interval = fuel.saturating_sub(from.fuel);
        Usage {
            fuel: interval,
            memory_page_fuel: self.memory_page_fuel_most(interval),
            state_bytes: self.state_bytes_most(from.fuel, fuel),
            traffic_bytes: self.traffic_most(true).saturating_sub(from.traffic_bytes),
        }
    }
}
