//! Asks, and matching: what a fill sets in motion.

use base::{AccountId, JobId, MachineId, OrderId};
use market::{Instrument, Match, SCAN_LIMIT, instruments};

use super::{Desk, not_found};
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
        } = command
        else {
            unreachable!("only asks come here")
        };
        let (machine, quantity, price) = (*machine, *quantity, *price_nanocredits_per_tfuel);
        self.active_machine(machine)?;
        self.check_text("client_order_id", client_order_id)?;
        if let Some(placed) = self.state.client_order(machine, client_order_id) {
            let placed = placed.order;
            let same = placed.instrument == *instrument
                && placed.quantity == quantity
                && placed.price_nanocredits_per_tfuel == price;
            let client_order_id = client_order_id.clone();
            return if same {
                Ok(())
            } else {
                Err(Rejection::ClientOrderConflict { client_order_id })
            };
        }
        let admitted = Instrument::admit(instrument, price, quantity)?;
        let memory_mib = self.state.machines[&machine].memory_mib_per_slot;
        if memory_mib < admitted.memory_mib {
            return Err(Rejection::SlotTooSmall {
                machine,
                memory_mib,
                instrument: admitted.name,
                needed_mib: admitted.memory_mib,
            });
        }
        let free = self.state.slots_free(machine);
        if quantity > free {
            return Err(Rejection::ExceedsFreeSlots { machine, quantity, free });
        }
        let order = self.next_order();
        self.push(Event::AskPlaced {
            order,
            machine,
            client_order_id: client_order_id.clone(),
            instrument: instrument.clone(),
            quantity,
            price_nanocredits_per_tfuel: price,
            at_ms: self.now_ms(),
        });
        self.match_ask(order);
        Ok(())
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

    fn next_match(&mut self, incoming: OrderId) -> Option<(OrderId, OrderId, i64)> {
        match self.state.market.next_match(incoming, self.context.now_ms, &mut self.scan) {
            Match::Found { ask, bid, price_nanocredits_per_tfuel } => {
                Some((ask, bid, price_nanocredits_per_tfuel))
            }
            // What the limit left is found by a tick.
            Match::Nothing | Match::ScanLimit => None,
        }
    }

    fn match_ask(&mut self, ask: OrderId) {
        while let Some((ask, bid, price)) = self.next_match(ask) {
            let OrderLink::Bid { job } = self.state.order_links[&bid] else {
                unreachable!("a bid belongs to a job")
            };
            if self.state.slots_covered(job) > 0 {
                self.fill(ask, bid, job, price, Maker::Buyer);
            }
            self.trim_bid(job);
            // Fees may have risen since it bid.
            self.exhaust_if_spent(job);
        }
    }

    /// States in the book what a job wants now, and takes what matches.
    pub(super) fn match_job(&mut self, job: JobId) {
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
            let Some((ask, bid, price)) = self.next_match(bid) else { return };
            self.fill(ask, bid, job, price, Maker::Seller);
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
        self.push(Event::Filled { ask, bid, price_nanocredits_per_tfuel, at_ms });
        let lease = self.next_lease();
        self.push(Event::LeaseOpened {
            lease,
            job,
            machine,
            ask,
            price_nanocredits_per_tfuel,
            tariff_version: TARIFF_VERSION,
            fees: self.state.fees().of_lease(maker == Maker::Buyer),
            at_ms,
        });
        self.employ(lease);
        self.shrink_asks(machine);
    }

    /// Looks again for bids that the scan limit passed over. In a crossed book everybody else
    /// was matched when they came, so there is nothing to do in a book that isn't crossed.
    pub(super) fn tick(&mut self) {
        for instrument in instruments() {
            if !self.state.market.is_crossed(instrument.name) {
                continue;
            }
            let Some(best_ask) = self
                .state
                .market
                .open_asks(instrument.name)
                .next()
                .map(|ask| ask.price_nanocredits_per_tfuel)
            else {
                continue;
            };
            let jobs: Vec<_> = self
                .state
                .market
                .open_bids(instrument.name)
                .take_while(|bid| bid.price_nanocredits_per_tfuel >= best_ask)
                .filter_map(|bid| match self.state.order_links[&bid.order] {
                    OrderLink::Bid { job } => Some(job),
                    OrderLink::Ask { .. } => None,
                })
                .collect();
            // Half of the scan goes to the best bids. The other half begins elsewhere at every
            // tick, so that bids that can't match what crosses them don't hide the rest.
            // By time: a tick that finds nothing leaves no entry, and the next one has its number.
            let turn = self.now_ms().unsigned_abs() % (jobs.len().max(1) as u64);
            let turn = turn as usize;
            let (before, after) = jobs.split_at(turn);
            for (half, job) in jobs
                .iter()
                .map(|job| (true, job))
                .chain(after.iter().chain(before).map(|job| (false, job)))
            {
                if self.scan.is_spent() {
                    return;
                }
                if half && self.scan.examined() >= SCAN_LIMIT / 2 {
                    continue;
                }
                self.match_job(*job);
                self.exhaust_if_spent(*job);
            }
        }
    }
}
