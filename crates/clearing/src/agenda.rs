//! What time brings to leases and accounts, in order, so that a tick looks at what is due and at
//! nothing else. It follows from the rest of the state ([`Agenda::of`]) and is kept beside it.

use std::collections::BTreeSet;

use base::{AccountId, AttemptId, LeaseId};

use crate::fixed::FixedLease;
use crate::state::State;

/// Most of each kind that one tick deals with; the next tick goes on.
pub(crate) const DUE_MAX: usize = market::SCAN_LIMIT as usize;

/// Times with what they are of, the earliest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Agenda {
    /// When open leases were opened: their term counts from there.
    pub(crate) opened: BTreeSet<(i64, LeaseId)>,
    /// When live attempts last made progress: standing still counts from there.
    pub(crate) progress: BTreeSet<(i64, AttemptId)>,
    /// When open fixed leases are to be looked at.
    pub(crate) fixed: BTreeSet<(i64, LeaseId)>,
    /// When accounts' asks are withdrawn.
    pub(crate) switches: BTreeSet<(i64, AccountId)>,
}

impl Agenda {
    /// What a state comes to.
    pub(crate) fn of(state: &State) -> Agenda {
        let open = state.machines.values().flat_map(|machine| &machine.open_leases);
        let open = open.map(|lease| &state.leases[lease]);
        let live = open.clone().filter_map(|lease| lease.live);
        let fixed = state.fixed_offers.values().flat_map(|offer| &offer.open);
        let fixed = fixed.map(|lease| &state.fixed_leases[lease]);
        Agenda {
            opened: open.map(|lease| (lease.opened_at_ms, lease.lease)).collect(),
            progress: live.map(|live| (state.attempts[&live].progress_at_ms, live)).collect(),
            fixed: fixed.filter_map(|lease| state.fixed_place(lease)).collect(),
            switches: state.cancel_after.iter().map(|(account, at)| (*at, *account)).collect(),
        }
    }
}

impl State {
    /// When a fixed lease is to be looked at, while it is open.
    pub(crate) fn fixed_place(&self, lease: &FixedLease) -> Option<(i64, LeaseId)> {
        let rules = &self.rules;
        let due_at_ms = lease.due_at_ms(rules.exhaustion_warning_ms, rules.outage_max_ms);
        lease.closed.is_none().then_some((due_at_ms, lease.lease))
    }
}
