//! Folding what happened to fixed leases.

use std::collections::BTreeSet;

use base::{LeaseId, MachineId};

use super::FITS;
use crate::fixed::{FixedEvent, FixedFlow, FixedLease, FixedOffer};
use crate::state::State;

impl State {
    pub(super) fn fold_fixed(&mut self, event: &FixedEvent) {
        match event {
            FixedEvent::Offered {
                machine,
                instrument,
                units,
                price_nanocredits_per_hour,
                at_ms,
            } => {
                self.fixed_offers.entry(*machine).or_insert_with(|| FixedOffer {
                    instrument: instrument.clone(),
                    units: 0,
                    price_nanocredits_per_hour: 0,
                    since_ms: 0,
                    open: BTreeSet::new(),
                });
                self.change_offer(*machine, |offer| {
                    offer.instrument = instrument.clone();
                    offer.units = *units;
                    offer.price_nanocredits_per_hour = *price_nanocredits_per_hour;
                    offer.since_ms = *at_ms;
                });
            }
            FixedEvent::Opened { lease } => {
                self.change_offer(lease.machine, |offer| {
                    offer.open.insert(lease.lease);
                });
                let buyer = self.accounts.get_mut(&lease.account).expect(FITS);
                buyer.fixed_bought.insert(lease.lease);
                let former = self.fixed_leases.insert(lease.lease, (**lease).clone());
                assert!(former.is_none(), "{FITS}");
                self.agenda.fixed.extend(self.fixed_place(lease));
            }
            FixedEvent::Prolonged { lease, prepaid_until_ms } => {
                self.change_fixed(*lease, |prolonged| {
                    prolonged.prepaid_until_ms = *prepaid_until_ms;
                    prolonged.warned = false;
                    prolonged.look_at_ms = None;
                });
            }
            FixedEvent::Warned { lease, .. } => {
                self.change_fixed(*lease, |warned| warned.warned = true);
            }
            FixedEvent::Provided { lease, look_at_ms } => {
                self.change_fixed(*lease, |provided| provided.look_at_ms = Some(*look_at_ms));
            }
            FixedEvent::NoticeGiven { lease, by_seller, ends_at_ms } => {
                self.change_fixed(*lease, |open| open.notice = Some((*by_seller, *ends_at_ms)));
            }
            FixedEvent::WentDown { lease, at_ms } => {
                self.change_fixed(*lease, |down| down.down_since_ms = Some(*at_ms));
            }
            FixedEvent::CameUp { lease, outage_ms, .. } => {
                self.change_fixed(*lease, |came_up| {
                    came_up.down_since_ms = None;
                    came_up.outage_ms = *outage_ms;
                });
            }
            FixedEvent::Closed { lease, end, outage_ms, at_ms } => {
                let (machine, account) = self.change_fixed(*lease, |closed| {
                    closed.down_since_ms = None;
                    closed.outage_ms = *outage_ms;
                    closed.closed = Some((*at_ms, *end));
                    (closed.machine, closed.account)
                });
                self.accounts.get_mut(&account).expect(FITS).fixed_bought.remove(lease);
                self.change_offer(machine, |offer| {
                    offer.open.remove(lease);
                });
            }
        }
    }

    /// Changes an offer, and with it its place among the others.
    fn change_offer(&mut self, machine: MachineId, change: impl FnOnce(&mut FixedOffer)) {
        let offer = self.fixed_offers.get_mut(&machine).expect(FITS);
        if let Some(place) = offer.priority(machine) {
            let listed = self.fixed_book.get_mut(&offer.instrument).expect(FITS);
            listed.remove(&place);
            if listed.is_empty() {
                self.fixed_book.remove(&offer.instrument);
            }
        }
        change(offer);
        if let Some(place) = offer.priority(machine) {
            self.fixed_book.entry(offer.instrument.clone()).or_default().insert(place);
        }
    }

    pub(super) fn fold_flow(&mut self, lease: LeaseId, flow: FixedFlow, amount: i64) {
        let machine = self.change_fixed(lease, |lease| {
            match flow {
                FixedFlow::Prepayment => lease.prepaid_nanocredits += amount,
                FixedFlow::Settlement => lease.paid_nanocredits += amount,
                FixedFlow::Refund => lease.refunded_nanocredits += amount,
                FixedFlow::Bond => lease.bond_nanocredits += amount,
                FixedFlow::Compensation => lease.compensated_nanocredits += amount,
                FixedFlow::BondReturn => lease.bond_returned_nanocredits += amount,
                FixedFlow::BuyerFee | FixedFlow::SellerFee => {}
            }
            lease.machine
        });
        let machine = self.machine_mut(machine);
        machine.earned_nanocredits = match flow {
            FixedFlow::Settlement => machine.earned_nanocredits.saturating_add(amount),
            FixedFlow::SellerFee => machine.earned_nanocredits.saturating_sub(amount),
            _ => machine.earned_nanocredits,
        };
    }

    /// Changes a lease, and with it when it is due.
    fn change_fixed<T>(&mut self, lease: LeaseId, change: impl FnOnce(&mut FixedLease) -> T) -> T {
        let changing = self.fixed_leases.get(&lease).expect(FITS);
        if let Some(place) = self.fixed_place(changing) {
            self.agenda.fixed.remove(&place);
        }
        let found = change(self.fixed_leases.get_mut(&lease).expect(FITS));
        self.agenda.fixed.extend(self.fixed_place(&self.fixed_leases[&lease]));
        found
    }
}
