//! Asks, and matching: what a fill sets in motion.

use base::{AccountId, JobId, MachineId, OrderId};
use market::{
    Cursor, Due, Instrument, InstrumentId, InstrumentRejection, Match, Order, OrderRejection,
    SCAN_LIMIT, Side, TimeInForce,
};

use super::instruments::qualifies;
use super::{Desk, not_found};
use crate::agenda::DUE_MAX;
use crate::command::Command;
use crate::event::Event;
use crate::records::OrderLink;
use crate::rejection::Rejection;
use crate::state::group;
use crate::tariff::TARIFF_VERSION;

/// Whose order rested when another met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    Buyer,
    Seller,
}

impl Desk<'_> {
    pub(super) fn place_ask(&mut self, command: &Command) -> Result<(), Rejection> {
        let Command::PlaceAsk {
            machine,
            client_order_id,
            instrument,
            quantity,
            price_nanocredits_per_tfuel,
            market,
            time_in_force,
            post_only,
        } = command
        else {
            unreachable!("only asks come here")
        };
        let (machine, quantity, post_only) = (*machine, *quantity, *post_only);
        self.active_machine(machine)?;
        self.check_text("client_order_id", client_order_id)?;
        if let Some(placed) = self.state.client_order(machine, client_order_id) {
            let (order, name) = (placed.order, placed.instrument);
            let same = name == instrument
                && order.quantity == quantity
                && order.post_only == post_only
                && (*market || order.time_in_force == *time_in_force)
                && (*market || order.price_nanocredits == *price_nanocredits_per_tfuel);
            let client_order_id = client_order_id.clone();
            return if same {
                Ok(())
            } else {
                Err(Rejection::ClientOrderConflict { client_order_id })
            };
        }
        let (id, traded) = self.instrument(instrument)?;
        // A market order is a limit at the protected price that doesn't rest.
        let (price, time_in_force) = match market {
            true => (self.state.market.protected_price(id, Side::Ask)?, TimeInForce::Ioc),
            false => (*price_nanocredits_per_tfuel, *time_in_force),
        };
        let at_ms = self.now_ms();
        let owner = self.state.machines[&machine].owner;
        let order = self.next_order();
        let ask = Order::ask(order, owner, group(machine), id, price, quantity, at_ms);
        traded.admit(price, quantity).map_err(OrderRejection::from)?;
        qualifies(&self.state.machines[&machine], traded)?;
        let free = self.state.market.group_fits(group(machine), id);
        if quantity > free {
            return Err(Rejection::ExceedsFreeSlots { machine, quantity, free });
        }
        self.state.market.admit(&Order { time_in_force, post_only, ..ask }, at_ms)?;
        if time_in_force == TimeInForce::Fok && quantity > SCAN_LIMIT {
            return Err(OrderRejection::ScanLimit.into());
        }
        self.push(Event::AskPlaced {
            order,
            machine,
            client_order_id: client_order_id.clone(),
            instrument: instrument.clone(),
            quantity,
            price_nanocredits_per_tfuel: price,
            time_in_force,
            post_only,
            at_ms,
        });
        self.match_ask(order, None);
        if matches!(time_in_force, TimeInForce::Ioc | TimeInForce::Fok) && self.is_open(order) {
            self.reduce(order, 0, "what isn't filled at once is cancelled");
        }
        Ok(())
    }

    /// The instrument of that name.
    pub(super) fn instrument(&self, name: &str) -> Result<(InstrumentId, &Instrument), Rejection> {
        self.state.market.instrument(name).ok_or_else(|| {
            let name = name.to_owned();
            OrderRejection::from(InstrumentRejection::UnknownInstrument { name }).into()
        })
    }

    fn is_open(&self, order: OrderId) -> bool {
        self.state.market.order(order).is_some()
    }

    pub(super) fn cancel_order(
        &mut self,
        account: AccountId,
        order: OrderId,
    ) -> Result<(), Rejection> {
        let found = self
            .state
            .order(order)
            .filter(|found| found.order.owner == account)
            .ok_or_else(|| not_found("order", order))?;
        if let OrderLink::Bid { job } = found.link {
            return Err(Rejection::BidOfJob { job: *job });
        }
        if found.order.is_open() {
            self.reduce(order, 0, "cancelled by its owner");
        }
        Ok(())
    }

    pub(super) fn cancel_orders(
        &mut self,
        account: AccountId,
        instrument: Option<&str>,
    ) -> Result<(), Rejection> {
        let only = instrument.map(|name| self.instrument(name)).transpose()?.map(|(id, _)| id);
        for order in self.own_asks(account, only) {
            self.reduce(order, 0, "cancelled by its owner");
        }
        Ok(())
    }

    /// Open asks of an account. (A job's bid is the job's.)
    fn own_asks(&self, account: AccountId, only: Option<InstrumentId>) -> Vec<OrderId> {
        self.state
            .market
            .owner_orders(account)
            .filter(|order| order.side == Side::Ask)
            .filter(|order| only.is_none_or(|only| order.instrument == only))
            .map(|order| order.order)
            .collect()
    }

    pub(super) fn cancel_after(
        &mut self,
        account: AccountId,
        after_ms: i64,
    ) -> Result<(), Rejection> {
        if !self.state.accounts.contains_key(&account) {
            return Err(not_found("account", account));
        }
        let max = self.state.rules.cancel_after_max_ms;
        if !(0..=max).contains(&after_ms) {
            return Err(Rejection::CancelAfterOutOfRange { after_ms, max });
        }
        let due_at_ms = (after_ms > 0).then(|| self.now_ms().saturating_add(after_ms));
        if self.state.cancel_after.get(&account).copied() != due_at_ms {
            self.push(Event::CancelAfterSet { account, due_at_ms });
        }
        Ok(())
    }

    /// Withdraws the asks of those who did not say in time that they are still there.
    pub(super) fn trip_switches(&mut self) {
        let now_ms = self.now_ms();
        let switches = self.state.agenda.switches.iter();
        let due = switches.take_while(|(due_at_ms, _)| *due_at_ms <= now_ms);
        let due: Vec<_> = due.take(DUE_MAX).map(|(_, account)| *account).collect();
        for account in due {
            for order in self.own_asks(account, None) {
                self.reduce(order, 0, "its owner's dead man's switch");
            }
            self.push(Event::CancelAfterSet { account, due_at_ms: None });
        }
    }

    pub(super) fn reduce(&mut self, order: OrderId, leaves_quantity: u32, reason: &str) {
        let (reason, at_ms) = (reason.to_owned(), self.now_ms());
        self.push(Event::OrderReduced { order, leaves_quantity, reason, at_ms });
    }

    pub(super) fn cancel_asks(&mut self, machine: MachineId, reason: &str) {
        let asks: Vec<_> =
            self.state.market.group_asks(group(machine)).map(|ask| ask.order).collect();
        for ask in asks {
            self.reduce(ask, 0, reason);
        }
    }

    /// Each ask of a machine alone fits into its free slots.
    pub(super) fn shrink_asks(&mut self, machine: MachineId) {
        for (ask, leaves_quantity) in self.state.market.overfull(group(machine)) {
            self.reduce(ask, leaves_quantity, "the machine's free slots are fewer");
        }
    }

    /// One match of an order, of as many slots as both want and money covers. False when there
    /// is none: then the order rests, or a timer goes on from where this command stopped.
    fn match_once(&mut self, incoming: OrderId) -> bool {
        let now_ms = self.now_ms();
        match self.state.market.next_match(incoming, now_ms, &mut self.scan) {
            Match::Found { ask, bid, price_nanocredits, quantity } => {
                let job = self.state.job_of_bid(bid);
                // Each slot is a lease to open, and work like an order to examine.
                let slots = quantity.min(self.scan.left() + 1);
                let maker = if incoming == bid { Maker::Seller } else { Maker::Buyer };
                let mut filled = 0;
                while filled < slots && self.is_open(bid) && self.state.slots_covered(job) > 0 {
                    self.fill(ask, bid, job, price_nanocredits, maker);
                    filled += 1;
                }
                self.scan.spend(filled.saturating_sub(1));
                if let OrderLink::Ask { machine, .. } = self.state.order_links[&ask] {
                    self.shrink_asks(machine);
                }
                self.trim_bid(job);
                if maker == Maker::Buyer {
                    // Fees may have risen since it bid.
                    self.exhaust_if_spent(job);
                }
                true
            }
            Match::Nothing => false,
            Match::ScanLimit => {
                let cursor = self.scan.cursor();
                self.push(Event::ScanCutShort { order: incoming, cursor });
                false
            }
        }
    }

    fn match_ask(&mut self, ask: OrderId, from: Option<Cursor>) {
        self.scan.turn_to(from);
        while self.match_once(ask) {}
    }

    /// States in the book what a job wants now, and takes what matches.
    pub(super) fn match_job(&mut self, job: JobId) {
        self.scan.turn_to(None);
        loop {
            self.trim_bid(job);
            let covered = self.state.slots_covered(job);
            let resting = self.state.jobs[&job].bid;
            let leaves = resting.map_or(0, |bid| self.leaves(bid));
            if covered > leaves {
                if let Some(bid) = resting {
                    self.reduce(bid, 0, "replaced by a bid for more slots");
                }
                self.place_bid(job, covered);
            }
            let Some(bid) = self.state.jobs[&job].bid else { return };
            if !self.match_once(bid) {
                return;
            }
        }
    }

    fn leaves(&self, order: OrderId) -> u32 {
        self.state.market.order(order).map_or(0, |order| order.leaves_quantity)
    }

    /// A bid wants no more slots than its job can use and pay.
    fn trim_bid(&mut self, job: JobId) {
        if let Some(bid) = self.state.jobs[&job].bid {
            let covered = self.state.slots_covered(job);
            if self.leaves(bid) > covered {
                self.reduce(bid, covered, "the job needs fewer slots");
            }
        }
    }

    fn place_bid(&mut self, job: JobId, quantity: u32) {
        let placing = &self.state.jobs[&job];
        let event = Event::BidPlaced {
            order: self.next_order(),
            job,
            instrument: placing.instrument.clone(),
            quantity,
            price_nanocredits_per_tfuel: placing.max_price_nanocredits_per_tfuel,
            ask: placing.ask,
            filters: placing.filters.clone(),
            at_ms: self.now_ms(),
        };
        self.push(event);
    }

    /// One slot changes hands: a lease opens and at once runs the job's next task.
    fn fill(
        &mut self,
        ask: OrderId,
        bid: OrderId,
        job: JobId,
        price_nanocredits_per_tfuel: i64,
        maker: Maker,
    ) {
        let OrderLink::Ask { machine, .. } = self.state.order_links[&ask] else {
            unreachable!("an ask belongs to a machine")
        };
        let at_ms = self.now_ms();
        let instrument = self.state.jobs[&job].instrument.clone();
        self.push(Event::Filled {
            ask,
            bid,
            instrument: instrument.clone(),
            price_nanocredits_per_tfuel,
            at_ms,
        });
        let lease = self.next_lease();
        self.push(Event::LeaseOpened {
            lease,
            job,
            machine,
            ask,
            instrument,
            price_nanocredits_per_tfuel,
            tariff_version: TARIFF_VERSION,
            fees: self.state.fees().of_lease(maker == Maker::Buyer),
            at_ms,
        });
        self.employ(lease);
    }

    /// What time brought to the book: orders expired, restrictions ended, and scans that were
    /// cut short go on, as far as one command may.
    pub(super) fn tick_book(&mut self) {
        let now_ms = self.now_ms();
        while let Some(due) = self.state.market.due(now_ms)
            && !self.scan.is_spent()
        {
            match due {
                Due::Expired(order) => {
                    self.scan.spend(1);
                    self.reduce(order, 0, "expired");
                }
                Due::Look(order, cursor) => {
                    self.scan.spend(1);
                    self.look(order, cursor);
                }
            }
        }
    }

    fn look(&mut self, order: OrderId, cursor: Option<Cursor>) {
        let at_ms = self.now_ms();
        // First, so that it has its turn behind the others when this scan is cut short, too.
        self.push(Event::Looked { order, at_ms });
        match self.state.order_links[&order] {
            OrderLink::Ask { .. } => self.match_ask(order, cursor),
            OrderLink::Bid { job } => {
                self.scan.turn_to(cursor);
                while self.is_open(order) && self.match_once(order) {}
                if self.state.jobs[&job].bid.is_none() {
                    self.match_job(job);
                }
                self.exhaust_if_spent(job);
            }
        }
    }
}
