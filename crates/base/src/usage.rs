//! Usage: what a task consumed, as a function of its program and input alone.

use serde::{Deserialize, Serialize};

/// Cumulative consumption of a task. No clock is in it, so anybody can recompute it.
///
/// Every figure fits an `i64`: see [`crate::TASK_FUEL_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Instruction cost units under the pinned cost table.
    pub fuel: u64,
    /// Integral of the 64 KiB memory pages held over the fuel spent holding them.
    pub memory_page_fuel: u64,
    /// Bytes of the 64 KiB leaves that differed between consecutive boundaries.
    pub state_bytes: u64,
    /// Module, inputs and results, once per task.
    pub traffic_bytes: u64,
}

impl Usage {
    /// Nothing used.
    pub const ZERO: Usage =
        Usage { fuel: 0, memory_page_fuel: 0, state_bytes: 0, traffic_bytes: 0 };

    /// What was used since `earlier`; `None` when any figure went down.
    pub fn since(self, earlier: Usage) -> Option<Usage> {
        Some(Usage {
            fuel: self.fuel.checked_sub(earlier.fuel)?,
            memory_page_fuel: self.memory_page_fuel.checked_sub(earlier.memory_page_fuel)?,
            state_bytes: self.state_bytes.checked_sub(earlier.state_bytes)?,
            traffic_bytes: self.traffic_bytes.checked_sub(earlier.traffic_bytes)?,
        })
    }

    /// The sum of two usages; `None` on overflow.
    pub fn plus(self, other: Usage) -> Option<Usage> {
        Some(Usage {
            fuel: self.fuel.checked_add(other.fuel)?,
            memory_page_fuel: self.memory_page_fuel.checked_add(other.memory_page_fuel)?,
            state_bytes: self.state_bytes.checked_add(other.state_bytes)?,
            traffic_bytes: self.traffic_bytes.checked_add(other.traffic_bytes)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_went_down_is_no_interval() {
        let earlier = Usage { fuel: 5, state_bytes: 2, ..Usage::ZERO };
        let later = Usage { fuel: 9, state_bytes: 1, ..Usage::ZERO };
        assert_eq!(later.since(earlier), None);
        let later = Usage { fuel: 9, state_bytes: 2, ..Usage::ZERO };
        let interval = later.since(earlier).unwrap();
        assert_eq!(earlier.plus(interval), Some(later));
    }
}
