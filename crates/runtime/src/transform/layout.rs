//! What the transform appends to a module: globals, the frame memory, and how a value of the
//! fuel global is put together.
//!
//! Fuel and call depth share one `i64`, so that one test finds either exhausted:
//!
//! ```text
//! 63                                  20 19    18                0
//! [ fuel left until the host's next stop | guard | depth / 16 bytes ]
//! ```
//!
//! Fuel is negative once the stop is passed; the guard bit is set once the frames on the stack
//! are charged for more than 8 MiB. A value below [`REWINDING`] means that the host is
//! resuming: every check then takes its cold path and finds the way to the saved position.

/// Bits of the fuel global that hold the depth and its guard.
pub const DEPTH_BITS: u32 = 20;
/// Set when the depth limit is passed.
pub const DEPTH_GUARD: i64 = 1 << 19;
/// Sign and guard: either one sends a function's entry to its cold path.
pub const ENTRY_MASK: i64 = i64::MIN | DEPTH_GUARD;
/// Fuel values below this mean rewinding.
pub const REWINDING: i64 = -(1 << 62);
/// What the host sets to rewind: far enough below [`REWINDING`] to stay there while frames
/// charge their way down, and far enough from the end of the range not to wrap.
pub const REWIND_START: i64 = i64::MIN + (1 << 61);
/// What a function returns as fuel after its frame was saved; the true value is in the global.
pub const UNWOUND: i64 = i64::MIN;
/// What a function returns as fuel when it is left by an exception; the true value is in the
/// global, this frame's depth taken off it.
pub const THROWN: i64 = i64::MIN + 1;
/// Pages in which the frames of a stopped task have room: a frame's values take no more than its
/// depth charge, and an eighth of it remains for the last frames.
pub const FRAME_PAGES: u64 = 160;
/// Size of the frame memory in pages. There are two areas behind its first page: frames are
/// restored from one and saved to the other, which the host has made all zeros, since a site
/// writes only what lives there.
pub const FRAME_MEMORY_PAGES: u64 = 1 + 2 * FRAME_PAGES;

/// The address of an area of the frame memory. Never zero: see `save_frame`.
pub fn frame_area(second: bool) -> usize {
    65536 * (1 + if second { FRAME_PAGES as usize } else { 0 })
}

/// `$trap`: the depth limit was passed.
pub const TRAP_STACK: i32 = 1;
/// `$trap`: a bulk instruction would have passed the task's fuel limit.
pub const TRAP_FUEL: i32 = 2;
/// `$trap`: the saved state is none that this module saves.
pub const TRAP_DAMAGED: i32 = 3;
/// `$trap`: the host could not provide what the task may have.
pub const TRAP_SHORTAGE: i32 = 4;
/// `$trap`: nobody caught an exception.
pub const TRAP_UNCAUGHT: i32 = 5;
/// `$trap`: `throw_ref` of null.
pub const TRAP_NULL: i32 = 6;

/// Exports under which the host finds what was appended. The guest's own exports are dropped,
/// so these cannot collide.
pub mod export {
    /// The guest's `_start`.
    pub const START: &str = "start";
    /// The guest's memory, if it has one.
    pub const MEMORY: &str = "memory";
    /// The frame memory.
    pub const FRAMES: &str = "frames";
    /// i64: fuel and depth.
    pub const FUEL: &str = "fuel";
    /// i32: where in the frame memory the next frame is saved.
    pub const FRAMES_END: &str = "frames_end";
    /// i32: where the next frame to be restored ends.
    pub const REWIND_AT: &str = "rewind_at";
    /// i32: 1 while unwinding.
    pub const UNWINDING: &str = "unwinding";
    /// i64: what the fuel global becomes when the innermost frame is restored.
    pub const RESUME: &str = "resume";
    /// i32: why our own `unreachable` was executed.
    pub const TRAP: &str = "trap";
    /// i64: sum over `memory.grow` of pages × fuel left at that time.
    pub const GROWN: &str = "grown";
    /// i64: the fuel global at which the task's own limit is reached.
    pub const FLOOR: &str = "floor";
    /// Prefix of the list of the memory's first leaves; what is exported under it doesn't matter.
    pub const LEAVES: &str = "leaves:";
    /// The memory in which tables are kept ([`super::super::tables`]), if they can change.
    pub const TABLES: &str = "tables";
    /// Makes the tables what that memory says.
    pub const RESTORE_TABLES: &str = "restore_tables";
    /// Prefix of the guest's mutable globals and those that say which segments were dropped,
    /// followed by their index.
    pub const GLOBAL: &str = "global";
}

/// Indices of what was appended.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// First appended global; the others follow in the order of the accessors.
    pub first_global: u32,
    /// The frame memory.
    pub frames: u32,
}

impl Layout {
    /// i64: fuel and depth.
    pub fn fuel(&self) -> u32 {
        self.first_global
    }
    /// i32: the position a frame is restored to.
    pub fn position(&self) -> u32 {
        self.first_global + 1
    }
    /// i32: see [`export::FRAMES_END`].
    pub fn frames_end(&self) -> u32 {
        self.first_global + 2
    }
    /// i32: see [`export::UNWINDING`].
    pub fn unwinding(&self) -> u32 {
        self.first_global + 3
    }
    /// i64: see [`export::RESUME`].
    pub fn resume(&self) -> u32 {
        self.first_global + 4
    }
    /// i32: see [`export::TRAP`].
    pub fn trap(&self) -> u32 {
        self.first_global + 5
    }
    /// i64: see [`export::GROWN`].
    pub fn grown(&self) -> u32 {
        self.first_global + 6
    }
    /// i64: see [`export::FLOOR`].
    pub fn floor(&self) -> u32 {
        self.first_global + 7
    }
    /// i64: the exception that is on its way to whoever catches it.
    pub fn thrown(&self) -> u32 {
        self.first_global + 8
    }
    /// i32: see [`export::REWIND_AT`].
    pub fn rewind_at(&self) -> u32 {
        self.first_global + 9
    }
    /// i64 each: which segments were dropped.
    pub fn drops(&self) -> u32 {
        self.first_global + 10
    }
    /// The memory in which tables are kept.
    pub fn tables(&self) -> u32 {
        self.frames + 1
    }
}
