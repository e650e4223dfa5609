//! Leases for a fixed time, as REST shows them.

use std::collections::BTreeSet;

use base::MachineId;
use clearing::fixed::{FixedEnd, FixedLease, FixedOffer};
use wire::{FixedLeaseEnd, FixedLeaseState, FixedLeaseView, FixedOfferView, NewFixedOffer};

use crate::core::Core;

pub(crate) fn offer(core: &Core, machine: MachineId, offer: &FixedOffer) -> FixedOfferView {
    let rules = core.state.rules();
    FixedOfferView {
        machine,
        instrument: offer.instrument.clone(),
        units: offer.units,
        units_let: u32::try_from(offer.open.len()).unwrap_or(u32::MAX),
        price_nanocredits_per_hour: offer.price_nanocredits_per_hour,
        since_ms: offer.since_ms,
        bond_nanocredits: rules.bond_nanocredits(offer.price_nanocredits_per_hour),
        outage_multiple: rules.outage_multiple,
        seller_notice_ms: rules.seller_notice_ms,
        buyer_notice_ms: rules.buyer_notice_ms,
    }
}

/// An offer of no units.
pub(crate) fn nothing(new: &NewFixedOffer) -> FixedOffer {
    FixedOffer {
        instrument: new.instrument.clone(),
        units: 0,
        price_nanocredits_per_hour: new.price_nanocredits_per_hour,
        since_ms: 0,
        open: BTreeSet::new(),
    }
}

pub(crate) fn lease(core: &Core, lease: &FixedLease) -> FixedLeaseView {
    let counts = core.probes.counts(lease.lease);
    FixedLeaseView {
        lease: lease.lease,
        client_lease_id: lease.client_lease_id.clone(),
        account: lease.account,
        machine: lease.machine,
        instrument: lease.instrument.clone(),
        price_nanocredits_per_hour: lease.price_nanocredits_per_hour,
        state: match (lease.closed, lease.down_since_ms) {
            (Some(_), _) => FixedLeaseState::Closed,
            (None, Some(_)) => FixedLeaseState::Down,
            (None, None) => FixedLeaseState::Open,
        },
        end: lease.closed.map(|(_, end)| match end {
            FixedEnd::Buyer => FixedLeaseEnd::Buyer,
            FixedEnd::Seller => FixedLeaseEnd::Seller,
            FixedEnd::WithoutNotice => FixedLeaseEnd::WithoutNotice,
            FixedEnd::Unpaid => FixedLeaseEnd::Unpaid,
            FixedEnd::Outage => FixedLeaseEnd::Outage,
        }),
        opened_at_ms: lease.opened_at_ms,
        prepaid_until_ms: lease.prepaid_until_ms,
        ends_at_ms: lease.notice.map(|(_, ends_at_ms)| ends_at_ms),
        closed_at_ms: lease.closed.map(|(at_ms, _)| at_ms),
        down_since_ms: lease.down_since_ms,
        outage_ms: lease.outage_ms,
        outage_multiple: lease.outage_multiple,
        prepaid_nanocredits: lease.prepaid_nanocredits,
        paid_nanocredits: lease.paid_nanocredits,
        refunded_nanocredits: lease.refunded_nanocredits,
        bond_nanocredits: lease.bond_nanocredits,
        compensated_nanocredits: lease.compensated_nanocredits,
        bond_returned_nanocredits: lease.bond_returned_nanocredits,
        probes: counts.asked,
        probes_answered: counts.answered,
    }
}
