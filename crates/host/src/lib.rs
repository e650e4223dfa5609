//! The computer under an agent, seen with its owner's eyes.
//!
//! [`policy`] is what the owner allows, [`governor`] decides from it and from what was observed
//! whether foreign work may run: pure, so that a day in the life of a laptop can be played through
//! it; [`settings`] is the file in which the owner says so; [`economy`] is
//! what its time costs and what to ask for it. [`Host`] is the computer itself; [`linux::Linux`] is
//! the one that is complete.

pub mod economy;
pub mod governor;
pub mod linux;
pub mod policy;
pub mod settings;

/// Where the owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Last touched the computer so long ago.
    Idle {
        /// Milliseconds.
        for_ms: u64,
    },
    /// Nobody can sit at it: no seat, no display, no login session.
    Nobody,
    /// There may be somebody, and it can't be told. Counts as somebody who is busy.
    Unknown,
}

/// Where the electricity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// The mains, or there is no battery at all.
    Mains,
    /// A battery, with so much left.
    Battery {
        /// Of what it holds now.
        percent: u8,
    },
}

/// A computer at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Of a clock that never jumps; whether it goes on during sleep doesn't matter.
    pub at_ms: u64,
    /// Of the owner's clock on the wall: minutes since midnight, below 1440.
    pub minute_of_day: u16,
    /// The owner.
    pub presence: Presence,
    /// The electricity.
    pub power: Power,
    /// What everybody but us used of all cores since the last observation, in thousandths.
    pub others_cpu_permille: u16,
    /// The hottest sensor; absent where there is none.
    pub temperature_millicelsius: Option<i32>,
    /// What the agent sent and received today.
    pub traffic_today_bytes: u64,
}

/// A computer that can be asked.
pub trait Host {
    /// How it is now, but for the traffic, which the agent knows. `own` are the agent's processes,
    /// whose use of the processor is not somebody else's.
    fn observe(&mut self, own: &[u32]) -> Observation;
}
