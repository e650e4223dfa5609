//! What happened in a run, so that a run in which nothing happens is noticed.

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Commands decided, with the invariants checked after each.
    pub commands: u64,
    /// Entries of the journal at the end.
    pub entries: u64,
    /// How often memory was folded anew from the disk.
    pub recoveries: u64,
    /// Tasks that were done.
    pub tasks_done: u64,
    /// Leases that lapsed.
    pub lapses: u64,
    /// Leases that ended by a fault.
    pub faults: u64,
    /// Jobs that ran out of escrow, each time.
    pub exhausted: u64,
    /// Leases for a fixed time that ended.
    pub fixed: u64,
    /// Payments that are over.
    pub payments: u64,
    /// Things that were over and forgotten.
    pub forgotten: u64,
    /// Partitions that cut off more than one.
    pub splits: u64,
    /// Partitions of one direction.
    pub one_way: u64,
}
