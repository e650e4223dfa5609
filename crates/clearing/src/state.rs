//! Everything that clearing knows.

use std::collections::{BTreeMap, BTreeSet};

use base::{AccountId, AttemptId, Digest, JobId, LeaseId, MachineId, OrderId, PaymentId, TaskId};
use ledger::Ledger;
use market::{Capacity, GroupId, Market, first_instruments};
use serde::{Deserialize, Serialize};

use crate::agenda::Agenda;
use crate::fees::FeeSchedule;
use crate::fixed::{FixedLease, FixedOffer, FixedPriority};
use crate::payments::Payment;
use crate::records::{Account, Attempt, EndedOrder, Job, Lease, Machine, OrderLink, Task};
use crate::rules::Rules;

/// Version of the state's encoding. Rises with every change of it, so that a snapshot of another
/// one is folded from the journal instead of being misread. The journals that are kept as
/// fixtures notice when it should have risen.
pub const STATE_VERSION: u32 = 7;

/// The whole state: a fold of [`State::evolve`] over all events, from [`State::new`].
///
/// What ended stays until it is forgotten ([`crate::Ended`]), out of every index that a command
/// walks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub(crate) rules: Rules,
    pub(crate) ledger: Ledger,
    pub(crate) market: Market,
    pub(crate) accounts: BTreeMap<AccountId, Account>,
    pub(crate) machines: BTreeMap<MachineId, Machine>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    /// Orders that left the book.
    pub(crate) ended_orders: BTreeMap<OrderId, EndedOrder>,
    pub(crate) order_links: BTreeMap<OrderId, OrderLink>,
    /// When accounts' asks are withdrawn.
    pub(crate) cancel_after: BTreeMap<AccountId, i64>,
    pub(crate) client_orders: BTreeMap<(MachineId, String), OrderId>,
    pub(crate) payments: BTreeMap<PaymentId, Payment>,
    pub(crate) fixed_offers: BTreeMap<MachineId, FixedOffer>,
    /// Offers that have a free unit, by instrument, in the order in which they are taken.
    pub(crate) fixed_book: BTreeMap<String, BTreeSet<FixedPriority>>,
    pub(crate) fixed_leases: BTreeMap<LeaseId, FixedLease>,
    /// Every version that was ever set, by version.
    pub(crate) fees: BTreeMap<u32, FeeSchedule>,
    /// Follows from the rest.
    #[serde(skip)]
    pub(crate) agenda: Agenda,
}

impl Default for State {
    fn default() -> Self {
        State::new(Rules::default())
    }
}

impl State {
    /// Nothing has happened yet.
    pub fn new(rules: Rules) -> Self {
        State {
            rules,
            ledger: Ledger::default(),
            market: Market::new(first_instruments()),
            accounts: BTreeMap::new(),
            machines: BTreeMap::new(),
            jobs: BTreeMap::new(),
            tasks: BTreeMap::new(),
            attempts: BTreeMap::new(),
            leases: BTreeMap::new(),
            ended_orders: BTreeMap::new(),
            order_links: BTreeMap::new(),
            cancel_after: BTreeMap::new(),
            client_orders: BTreeMap::new(),
            payments: BTreeMap::new(),
            fixed_offers: BTreeMap::new(),
            fixed_book: BTreeMap::new(),
            fixed_leases: BTreeMap::new(),
            fees: BTreeMap::new(),
            agenda: Agenda::default(),
        }
    }

    /// Whether what is kept beside the state, so as to find things in it, is what follows from it:
    /// for tests.
    pub fn is_consistent(&self) -> bool {
        self.agenda == Agenda::of(self)
    }

    /// The canonical (postcard) encoding of the whole state.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a state in memory can always be encoded")
    }

    /// The state of an encoding of this very [`STATE_VERSION`], if it is one.
    pub fn decode(encoded: &[u8]) -> Option<State> {
        let (mut state, rest): (State, &[u8]) = postcard::take_from_bytes(encoded).ok()?;
        state.agenda = Agenda::of(&state);
        rest.is_empty().then_some(state)
    }

    /// BLAKE3 of the canonical (postcard) encoding of the whole state. Two replicas that agree
    /// on it agree on everything. Reads the whole state.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }
}

/// What a machine with such slots has for its asks to share.
pub(crate) fn capacity(slots: u32, memory_mib_per_slot: u32) -> Capacity {
    Capacity([slots, slots.saturating_mul(memory_mib_per_slot), 0, 0])
}

/// The capacity group of a machine's asks.
pub(crate) fn group(machine: MachineId) -> GroupId {
    GroupId(machine.0)
}
