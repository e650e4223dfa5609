//! Fixed leases: offering, opening, the hours, outages and the end.

use base::{AccountId, LeaseId, MachineId};
use ledger::AccountKey;
use market::SCAN_LIMIT;

use super::{Desk, not_found};
use crate::agenda::DUE_MAX;
use crate::event::{Event, TransferReason};
use crate::fixed::{
    FixedCommand, FixedEnd, FixedEvent, FixedFlow, FixedLease, FixedRejection, HOUR_MS, TEST_FIXED,
    fixed_lease_id, for_time,
};
use crate::rejection::Rejection;

/// Least time between two looks whether there is money for the next hour.
const LOOK_MIN_MS: i64 = 60_000;

impl Desk<'_> {
    pub(super) fn fixed(&mut self, command: &FixedCommand) -> Result<(), Rejection> {
        match command {
            FixedCommand::Offer { machine, instrument, units, price_nanocredits_per_hour } => {
                self.offer_fixed(*machine, instrument, *units, *price_nanocredits_per_hour)
            }
            FixedCommand::Open {
                account,
                client_lease_id,
                instrument,
                limit_nanocredits_per_hour,
            } => {
                let limit = *limit_nanocredits_per_hour;
                self.open_fixed(*account, client_lease_id, instrument, limit)
            }
            FixedCommand::Notice { account, lease } => self.give_notice(*account, *lease),
            FixedCommand::Probed { lease, is_up } => self.probed(*lease, *is_up),
        }
    }

    fn check_fixed(instrument: &str) -> Result<(), Rejection> {
        if instrument != TEST_FIXED {
            let instrument = instrument.to_owned();
            return Err(FixedRejection::Instrument { instrument }.into());
        }
        Ok(())
    }

    fn offer_fixed(
        &mut self,
        machine: MachineId,
        instrument: &str,
        units: u32,
        price_nanocredits_per_hour: i64,
    ) -> Result<(), Rejection> {
        self.active_machine(machine)?;
        Self::check_fixed(instrument)?;
        self.check_amount(price_nanocredits_per_hour)?;
        let max = self.state.rules.machine_slots_max;
        if units > max {
            return Err(Rejection::SlotsOutOfRange { slots: units, max });
        }
        let former = self.state.fixed_offers.get(&machine);
        let same = former.map_or(units == 0, |offer| {
            (offer.instrument.as_str(), offer.units, offer.price_nanocredits_per_hour)
                == (instrument, units, price_nanocredits_per_hour)
        });
        let let_units = former.map_or(0, |offer| offer.open.len());
        if !same && units as usize > let_units {
            let owner = self.state.machines[&machine].owner;
            self.check_funds(owner, self.state.rules.bond_nanocredits(price_nanocredits_per_hour))?;
        }
        if !same {
            self.push_offer(machine, instrument, units, price_nanocredits_per_hour);
        }
        Ok(())
    }

    fn push_offer(
        &mut self,
        machine: MachineId,
        instrument: &str,
        units: u32,
        price_nanocredits_per_hour: i64,
    ) {
        let (instrument, at_ms) = (instrument.to_owned(), self.now_ms());
        self.push(Event::Fixed(FixedEvent::Offered {
            machine,
            instrument,
            units,
            price_nanocredits_per_hour,
            at_ms,
        }));
    }

    fn open_fixed(
        &mut self,
        account: AccountId,
        client_lease_id: &str,
        instrument: &str,
        limit: i64,
    ) -> Result<(), Rejection> {
        if !self.state.accounts.contains_key(&account) {
            return Err(not_found("account", account));
        }
        self.check_text("client_lease_id", client_lease_id)?;
        Self::check_fixed(instrument)?;
        let lease = fixed_lease_id(account, client_lease_id);
        if let Some(known) = self.state.fixed_leases.get(&lease) {
            let client_lease_id = client_lease_id.to_owned();
            return match known.limit_nanocredits_per_hour == limit {
                true => Ok(()),
                false => Err(FixedRejection::Conflict { client_lease_id }.into()),
            };
        }
        self.check_amount(limit)?;
        let Some((machine, price)) = self.best_fixed_offer(account, instrument, limit) else {
            return Err(FixedRejection::NoOffer {
                instrument: instrument.to_owned(),
                limit_nanocredits_per_hour: limit,
            }
            .into());
        };
        let (rules, now_ms) = (&self.state.rules, self.now_ms());
        let bond = rules.bond_nanocredits(price);
        let opened = FixedLease {
            lease,
            account,
            client_lease_id: client_lease_id.to_owned(),
            limit_nanocredits_per_hour: limit,
            machine,
            instrument: instrument.to_owned(),
            price_nanocredits_per_hour: price,
            // The offer rested.
            fees: self.state.fees().of_lease(false),
            outage_multiple: rules.outage_multiple,
            opened_at_ms: now_ms,
            prepaid_until_ms: now_ms.saturating_add(HOUR_MS),
            warned: false,
            look_at_ms: None,
            notice: None,
            down_since_ms: None,
            outage_ms: 0,
            prepaid_nanocredits: 0,
            paid_nanocredits: 0,
            refunded_nanocredits: 0,
            bond_nanocredits: 0,
            compensated_nanocredits: 0,
            bond_returned_nanocredits: 0,
            closed: None,
        };
        let hour = opened.prepayment_nanocredits(opened.prepaid_until_ms);
        self.check_funds(account, hour)?;
        let seller = AccountKey::Available(self.state.machines[&machine].owner);
        self.push(Event::Fixed(FixedEvent::Opened { lease: Box::new(opened) }));
        let buyer = AccountKey::Available(account);
        self.flow(lease, FixedFlow::Prepayment, buyer, AccountKey::LeaseEscrow(lease), hour);
        self.flow(lease, FixedFlow::Bond, seller, AccountKey::Bond(lease), bond);
        Ok(())
    }

    /// The cheapest offer within a limit, the oldest of those, whose owner is another and has the
    /// bond. Looks at so many only: what can't be taken at the head of the list is withdrawn by
    /// the next tick, unless it is the buyer's own.
    fn best_fixed_offer(
        &self,
        buyer: AccountId,
        instrument: &str,
        limit: i64,
    ) -> Option<(MachineId, i64)> {
        let listed = self.state.fixed_book.get(instrument)?.iter().take(SCAN_LIMIT as usize);
        let best = listed.take_while(|(price, ..)| *price <= limit).find(|(price, _, machine)| {
            self.state.machines[machine].owner != buyer && self.has_bond(*machine, *price)
        });
        best.map(|(price, _, machine)| (*machine, *price))
    }

    fn has_bond(&self, machine: MachineId, price_nanocredits_per_hour: i64) -> bool {
        let owner = self.state.machines[&machine].owner;
        let bond = self.state.rules.bond_nanocredits(price_nanocredits_per_hour);
        self.state.available_nanocredits(owner) >= bond
    }

    /// Giving notice again changes nothing; an earlier end than the one that was announced wins.
    fn give_notice(&mut self, account: AccountId, lease: LeaseId) -> Result<(), Rejection> {
        let now_ms = self.now_ms();
        let by_seller = match self.state.fixed_leases.get(&lease) {
            Some(found) if found.account == account => false,
            Some(found) if self.state.machines[&found.machine].owner == account => true,
            _ => return Err(not_found("lease", lease)),
        };
        self.pass_time(lease);
        let (rules, open) = (&self.state.rules, &self.state.fixed_leases[&lease]);
        if open.closed.is_some() {
            return Ok(());
        }
        let notice_ms = match by_seller {
            true => rules.seller_notice_ms,
            false => rules.buyer_notice_ms,
        };
        let ends_at_ms = now_ms.saturating_add(notice_ms);
        let is_earlier = open.notice.is_none_or(|(_, announced_ms)| ends_at_ms < announced_ms);
        if is_earlier {
            self.push(Event::Fixed(FixedEvent::NoticeGiven { lease, by_seller, ends_at_ms }));
        }
        Ok(())
    }

    fn probed(&mut self, lease: LeaseId, is_up: bool) -> Result<(), Rejection> {
        if !self.state.fixed_leases.contains_key(&lease) {
            return Err(not_found("lease", lease));
        }
        self.pass_time(lease);
        let probed = &self.state.fixed_leases[&lease];
        if probed.closed.is_some() || probed.down_since_ms.is_none() == is_up {
            return Ok(());
        }
        let at_ms = self.now_ms();
        if !is_up {
            self.push(Event::Fixed(FixedEvent::WentDown { lease, at_ms }));
            return Ok(());
        }
        let outage_ms = probed.outage_ms(at_ms);
        self.push(Event::Fixed(FixedEvent::CameUp { lease, outage_ms, at_ms }));
        self.compensate(lease);
        Ok(())
    }

    /// A machine that doesn't answer at all answers no probe either, and offers nothing.
    pub(super) fn fixed_lapsed(&mut self, machine: MachineId) {
        let at_ms = self.now_ms();
        for lease in self.withdraw_fixed(machine) {
            if self.state.fixed_leases[&lease].down_since_ms.is_none() {
                self.push(Event::Fixed(FixedEvent::WentDown { lease, at_ms }));
            }
        }
    }

    /// A machine is gone for good: its seller gave no notice.
    pub(super) fn fixed_retired(&mut self, machine: MachineId) {
        for lease in self.withdraw_fixed(machine) {
            self.close_fixed(lease, FixedEnd::WithoutNotice, self.now_ms());
        }
    }

    fn withdraw_fixed(&mut self, machine: MachineId) -> Vec<LeaseId> {
        let Some(offer) = self.state.fixed_offers.get(&machine) else { return Vec::new() };
        let (open, units) = (offer.open.iter().copied().collect(), offer.units);
        let (instrument, price) = (offer.instrument.clone(), offer.price_nanocredits_per_hour);
        if units > 0 {
            self.push_offer(machine, &instrument, 0, price);
        }
        open
    }

    /// The hours go by, and offers leave whose owners spent what would be their bond.
    pub(super) fn fixed_tick(&mut self) {
        let heads = self.state.fixed_book.values().flat_map(|l| l.iter().take(SCAN_LIMIT as usize));
        let unfounded: Vec<MachineId> = heads
            .filter(|(price, _, machine)| !self.has_bond(*machine, *price))
            .map(|(_, _, machine)| *machine)
            .collect();
        for machine in unfounded {
            self.withdraw_fixed(machine);
        }
        let now_ms = self.now_ms();
        let due = self.state.agenda.fixed.iter().take_while(|(at_ms, _)| *at_ms <= now_ms);
        let due: Vec<LeaseId> = due.take(DUE_MAX).map(|(_, lease)| *lease).collect();
        for lease in due {
            self.pass_time(lease);
        }
    }

    fn pass_time(&mut self, lease: LeaseId) {
        let now_ms = self.now_ms();
        loop {
            let passing = &self.state.fixed_leases[&lease];
            if passing.closed.is_some() {
                return;
            }
            let rules = &self.state.rules;
            // What came first decides, however late this tick is.
            let paid_until_ms = passing.prepaid_until_ms;
            if let Some((by_seller, ends_at_ms)) = passing.notice
                && ends_at_ms <= now_ms.min(paid_until_ms)
            {
                let end = if by_seller { FixedEnd::Seller } else { FixedEnd::Buyer };
                return self.close_fixed(lease, end, ends_at_ms);
            }
            let outage_ms = passing.outage_ms(now_ms);
            let stake = passing.bond_nanocredits;
            let too_long = passing
                .down_since_ms
                .is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= rules.outage_max_ms);
            if too_long || (outage_ms > 0 && passing.compensation_nanocredits(outage_ms) >= stake) {
                return self.close_fixed(lease, FixedEnd::Outage, now_ms);
            }
            let available = self.state.available_nanocredits(passing.account);
            let next_ms = paid_until_ms.saturating_add(HOUR_MS);
            let next = passing.prepayment_nanocredits(next_ms) - passing.prepaid_nanocredits;
            if now_ms < paid_until_ms {
                let ends =
                    passing.notice.is_some_and(|(_, ends_at_ms)| ends_at_ms <= paid_until_ms);
                let warning_ms = rules.exhaustion_warning_ms;
                let look_at_ms = passing.look_at_ms.unwrap_or(paid_until_ms - warning_ms);
                if now_ms >= look_at_ms && !passing.warned && !ends {
                    let left_ms = paid_until_ms - now_ms;
                    let event = if available < next {
                        FixedEvent::Warned { lease, ends_at_ms: paid_until_ms }
                    } else {
                        // Ever more often, since the money may be spent on something else.
                        let look_at_ms = now_ms + (left_ms / 2).max(LOOK_MIN_MS);
                        FixedEvent::Provided { lease, look_at_ms }
                    };
                    self.push(Event::Fixed(event));
                }
                return;
            }
            let buyer = AccountKey::Available(passing.account);
            self.settle_fixed(lease, paid_until_ms);
            if available < next {
                return self.close_fixed(lease, FixedEnd::Unpaid, paid_until_ms);
            }
            let prepaid_until_ms = next_ms;
            self.push(Event::Fixed(FixedEvent::Prolonged { lease, prepaid_until_ms }));
            let escrow = AccountKey::LeaseEscrow(lease);
            self.flow(lease, FixedFlow::Prepayment, buyer, escrow, next);
        }
    }

    /// Pays what was earned until then, with the fees on it.
    fn settle_fixed(&mut self, lease: LeaseId, at_ms: i64) {
        let settling = &self.state.fixed_leases[&lease];
        let (paid, fees) = (settling.paid_nanocredits, settling.fees);
        let earned = settling.earned_nanocredits(at_ms).max(paid);
        let seller = AccountKey::Available(self.state.machines[&settling.machine].owner);
        let escrow = AccountKey::LeaseEscrow(lease);
        self.flow(lease, FixedFlow::Settlement, escrow, seller, earned - paid);
        let charged = fees.buyer_nanocredits(earned) - fees.buyer_nanocredits(paid);
        self.flow(lease, FixedFlow::BuyerFee, escrow, AccountKey::Fees, charged);
        let withheld = fees.seller_nanocredits(earned) - fees.seller_nanocredits(paid);
        self.flow(lease, FixedFlow::SellerFee, seller, AccountKey::Fees, withheld);
    }

    /// Pays what outages that are over are due, out of the bond.
    fn compensate(&mut self, lease: LeaseId) {
        let found = &self.state.fixed_leases[&lease];
        let due = found.compensation_nanocredits(found.outage_ms) - found.compensated_nanocredits;
        let buyer = AccountKey::Available(found.account);
        self.flow(lease, FixedFlow::Compensation, AccountKey::Bond(lease), buyer, due);
    }

    /// Ends a lease as of `at_ms`: everybody gets what is theirs.
    fn close_fixed(&mut self, lease: LeaseId, end: FixedEnd, at_ms: i64) {
        // An hour may have ended since the last tick: never more than what is prepaid.
        let closing = &self.state.fixed_leases[&lease];
        let at_ms = at_ms.min(closing.prepaid_until_ms);
        self.settle_fixed(lease, at_ms);
        let closing = &self.state.fixed_leases[&lease];
        let unannounced_ms = match end {
            FixedEnd::WithoutNotice => match closing.notice {
                Some((_, ends_at_ms)) => (ends_at_ms - at_ms).max(0),
                None => self.state.rules.seller_notice_ms,
            },
            _ => 0,
        };
        let outage_ms = closing.outage_ms(at_ms).saturating_add(unannounced_ms);
        let buyer = AccountKey::Available(closing.account);
        let seller = AccountKey::Available(self.state.machines[&closing.machine].owner);
        self.push(Event::Fixed(FixedEvent::Closed { lease, end, outage_ms, at_ms }));
        self.compensate(lease);
        let (escrow, bond) = (AccountKey::LeaseEscrow(lease), AccountKey::Bond(lease));
        let (left, stake) = (self.state.ledger.balance(escrow), self.state.ledger.balance(bond));
        self.flow(lease, FixedFlow::Refund, escrow, buyer, left);
        self.flow(lease, FixedFlow::BondReturn, bond, seller, stake);
    }

    fn flow(
        &mut self,
        lease: LeaseId,
        flow: FixedFlow,
        from: AccountKey,
        to: AccountKey,
        amount_nanocredits: i64,
    ) {
        if amount_nanocredits > 0 {
            let reason = TransferReason::Fixed { lease, flow };
            self.transfer(from, to, amount_nanocredits, reason);
        }
    }
}

impl crate::rules::Rules {
    /// What a seller puts at stake for a lease at a price.
    pub fn bond_nanocredits(&self, price_nanocredits_per_hour: i64) -> i64 {
        for_time(price_nanocredits_per_hour, self.bond_ms)
    }
}
