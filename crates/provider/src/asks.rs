//! Which asks stand in the books, so that every free slot is offered at the owner's price, in each
//! instrument that the owner named, or else in each for which the machine qualifies. The asks share
//! the slots.
//!
//! Pure: it is told what happened and says what to send. The exchange is the authority on
//! capacity (a fill shrinks sibling asks), so a race between an ask and a fill offers too much
//! for an instant at worst, and never sells too much.

use std::collections::{BTreeMap, BTreeSet};

use base::OrderId;
use wire::{AskState, Qualified, ToExchange};

/// The asks of this machine.
pub(crate) struct Asks {
    slots: u32,
    price_nanocredits_per_tfuel: i64,
    /// What it is offered in, and at what price: those that the owner named, or that the exchange
    /// says the machine qualifies for.
    listed: Vec<(String, i64)>,
    by_name: bool,
    /// What the exchange said last.
    qualified: Vec<Qualified>,
    open: BTreeMap<OrderId, AskState>,
    /// Sent, not answered yet: instrument and slots by the client's order id.
    unanswered: BTreeMap<String, (String, u32)>,
    cancelling: BTreeSet<OrderId>,
    /// Whether the exchange ever took an ask of this process: then its terms are in order.
    proven: bool,
    /// Makes client order ids unique across restarts.
    prefix: String,
    counter: u64,
}

impl Asks {
    pub(crate) fn new(
        slots: u32,
        price_nanocredits_per_tfuel: i64,
        instruments: Vec<String>,
        prefix: String,
    ) -> Self {
        Asks {
            slots,
            price_nanocredits_per_tfuel,
            by_name: !instruments.is_empty(),
            qualified: Vec::new(),
            listed: instruments
                .into_iter()
                .map(|name| (name, price_nanocredits_per_tfuel))
                .collect(),
            open: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            cancelling: BTreeSet::new(),
            proven: false,
            prefix,
            counter: 0,
        }
    }

    /// What each slot costs.
    pub(crate) fn price_nanocredits_per_tfuel(&self) -> i64 {
        self.price_nanocredits_per_tfuel
    }

    /// From now on. What stands at another price is replaced by the next [`Asks::offer`].
    pub(crate) fn set_price(&mut self, price_nanocredits_per_tfuel: i64) {
        self.price_nanocredits_per_tfuel = price_nanocredits_per_tfuel;
        if self.by_name {
            for (_, price) in &mut self.listed {
                *price = price_nanocredits_per_tfuel;
            }
        } else if !self.qualified.is_empty() {
            self.qualify(self.qualified.clone());
        }
    }

    /// After a connection: what the exchange holds is what there is.
    pub(crate) fn reset(&mut self, asks: Vec<AskState>) {
        self.unanswered.clear();
        self.cancelling.clear();
        self.proven |= asks.iter().any(|ask| ask.client_order_id.starts_with(&self.prefix));
        self.open = asks
            .into_iter()
            .filter(|ask| ask.leaves_quantity > 0)
            .map(|ask| (ask.order, ask))
            .collect();
    }

    /// The exchange says what the machine may be offered in. The price is the least to work for, so
    /// it is rounded up to what the instrument trades at. Returns what keeps it out of the books, for
    /// people.
    pub(crate) fn qualify(&mut self, instruments: Vec<Qualified>) -> Vec<String> {
        let mut flaws = Vec::new();
        if self.by_name {
            return flaws;
        }
        if instruments.is_empty() {
            flaws.push("this machine qualifies for nothing that is traded there".to_owned());
        }
        self.listed.clear();
        self.qualified.clone_from(&instruments);
        for found in instruments {
            let tick = found.tick_nanocredits.max(1);
            let least = self.price_nanocredits_per_tfuel.max(found.price_min_nanocredits);
            let below = least - least.rem_euclid(tick);
            let price = if below < least { below.saturating_add(tick) } else { least };
            if price <= found.price_max_nanocredits {
                self.listed.push((found.instrument, price));
            } else {
                let name = found.instrument;
                flaws.push(format!("{name} does not trade as high as the price that is asked"));
            }
        }
        flaws
    }

    pub(crate) fn on_state(&mut self, ask: AskState) {
        self.proven |= self.unanswered.remove(&ask.client_order_id).is_some();
        if ask.leaves_quantity == 0 {
            self.cancelling.remove(&ask.order);
            self.open.remove(&ask.order);
        } else {
            self.open.insert(ask.order, ask);
        }
    }

    /// The exchange refused something. It does not say what, so every unanswered ask and every
    /// cancellation is taken for refused; an ask that was not shows up as an [`AskState`], and
    /// cancelling twice does no harm.
    pub(crate) fn on_refusal(&mut self) {
        self.unanswered.clear();
        self.cancelling.clear();
    }

    /// Whether a refusal, which [`Asks::on_refusal`] has not heard of yet, means that this
    /// machine's terms are wrong: it is the answer to the first ask, and not of a kind that
    /// passes. Trying again would be refused for ever.
    pub(crate) fn are_hopeless(&self, code: &str) -> bool {
        const PASSING: [&str; 9] = [
            // It is measured after it connected.
            "too_slow",
            "memory_not_shown",
            "instrument_suspended",
            "exceeds_free_slots",
            "internal",
            // Of an order or a lease, which are not what a first ask is about.
            "not_found",
            "shutting_down",
            "storage_failed",
            "storage_full",
        ];
        !self.proven && !self.unanswered.is_empty() && !PASSING.contains(&code)
    }

    /// What to send so that exactly the free slots are offered, in each instrument. What the owner
    /// offers in others is the owner's affair.
    pub(crate) fn offer(&mut self, leases_open: usize) -> Vec<ToExchange> {
        let free = self.slots.saturating_sub(u32::try_from(leases_open).unwrap_or(u32::MAX));
        let mut messages = Vec::new();
        for (instrument, price) in self.listed.clone() {
            self.offer_in(&instrument, price, free, &mut messages);
        }
        messages
    }

    fn offer_in(
        &mut self,
        instrument: &str,
        price: i64,
        free: u32,
        messages: &mut Vec<ToExchange>,
    ) {
        let unanswered = self.unanswered.values().filter(|(of, _)| of == instrument);
        let mut offered: u32 = unanswered.map(|(_, slots)| slots).sum();
        let mut surplus = Vec::new();
        let is_here = |ask: &&AskState| match &*ask.instrument {
            // An exchange that does not say which knows one only.
            "" => instrument == crate::INSTRUMENT,
            of => of == instrument,
        };
        let standing = |ask: &&AskState| !self.cancelling.contains(&ask.order);
        for ask in self.open.values().filter(is_here).filter(standing) {
            let fits = offered.saturating_add(ask.leaves_quantity) <= free;
            if fits && ask.price_nanocredits_per_tfuel == price {
                offered += ask.leaves_quantity;
            } else {
                surplus.push(ask.order);
            }
        }
        for order in surplus {
            self.cancelling.insert(order);
            messages.push(ToExchange::CancelAsk { order });
        }
        if free > offered {
            self.counter += 1;
            let client_order_id = format!("{}-{}", self.prefix, self.counter);
            let instrument = instrument.to_owned();
            self.unanswered.insert(client_order_id.clone(), (instrument.clone(), free - offered));
            messages.push(ToExchange::PlaceAsk {
                client_order_id,
                instrument,
                quantity: free - offered,
                price_nanocredits_per_tfuel: price,
            });
        }
    }

    /// Whether nothing is offered, as far as is known.
    pub(crate) fn none_stand(&self) -> bool {
        self.open.is_empty() && self.unanswered.is_empty()
    }

    /// What to send so that nothing is offered any more.
    pub(crate) fn withdraw(&mut self) -> Vec<ToExchange> {
        let orders: Vec<OrderId> =
            self.open.keys().copied().filter(|order| !self.cancelling.contains(order)).collect();
        self.cancelling.extend(&orders);
        orders.into_iter().map(|order| ToExchange::CancelAsk { order }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(order: u128, client: &str, leaves_quantity: u32, price: i64) -> AskState {
        AskState {
            order: OrderId(order),
            client_order_id: client.to_owned(),
            instrument: String::new(),
            leaves_quantity,
            price_nanocredits_per_tfuel: price,
        }
    }

    fn asks(slots: u32, price: i64, prefix: String) -> Asks {
        Asks::new(slots, price, vec![crate::INSTRUMENT.to_owned()], prefix)
    }

    /// Messages in short: `+quantity` for an ask, `-order` for a cancellation.
    fn short(messages: &[ToExchange]) -> String {
        let words: Vec<String> = messages
            .iter()
            .map(|message| match message {
                ToExchange::PlaceAsk { quantity, .. } => format!("+{quantity}"),
                ToExchange::CancelAsk { order } => format!("-{}", order.0),
                other => panic!("{other:?}"),
            })
            .collect();
        words.join(" ")
    }

    #[test]
    fn free_slots_are_offered_once() {
        let mut asks = asks(4, 100, "a".to_owned());
        assert_eq!(short(&asks.offer(0)), "+4");
        assert_eq!(short(&asks.offer(0)), "", "not answered yet, still offered");
        asks.on_state(state(1, "a-1", 4, 100));
        assert_eq!(short(&asks.offer(0)), "");
        asks.on_state(state(1, "a-1", 3, 100));
        assert_eq!(short(&asks.offer(1)), "", "one leased, three offered");
        assert_eq!(short(&asks.offer(0)), "+1", "the lease closed");
    }

    #[test]
    fn a_filled_ask_is_gone() {
        let mut asks = asks(1, 100, "a".to_owned());
        asks.offer(0);
        asks.on_state(state(1, "a-1", 1, 100));
        asks.on_state(state(1, "a-1", 0, 100));
        assert_eq!(short(&asks.offer(1)), "");
        assert_eq!(short(&asks.offer(0)), "+1");
    }

    #[test]
    fn an_ask_at_another_price_or_too_large_is_replaced() {
        let mut asks = asks(2, 100, "b".to_owned());
        asks.reset(vec![state(1, "a-1", 1, 90), state(2, "a-2", 3, 100)]);
        assert_eq!(short(&asks.offer(0)), "-1 -2 +2");
        assert_eq!(short(&asks.offer(0)), "", "cancellations are under way");
        asks.on_state(state(1, "a-1", 0, 90));
        asks.on_state(state(2, "a-2", 0, 100));
        asks.on_state(state(3, "b-1", 2, 100));
        assert_eq!(short(&asks.offer(0)), "");
    }

    #[test]
    fn a_new_price_replaces_what_stands() {
        let mut asks = asks(2, 100, "a".to_owned());
        asks.offer(0);
        asks.on_state(state(1, "a-1", 2, 100));
        asks.set_price(90);
        assert_eq!(short(&asks.offer(0)), "-1 +2");
        assert_eq!(short(&asks.offer(0)), "");
    }

    #[test]
    fn every_instrument_has_all_free_slots() {
        let both = vec![crate::INSTRUMENT.to_owned(), "cpu.512m.any".to_owned()];
        let mut asks = Asks::new(2, 100, both, "a".to_owned());
        assert_eq!(short(&asks.offer(0)), "+2 +2");
        assert_eq!(short(&asks.offer(0)), "");
        let small = |leaves| AskState {
            instrument: "cpu.512m.any".to_owned(),
            ..state(2, "a-2", leaves, 100)
        };
        asks.on_state(state(1, "a-1", 2, 100));
        asks.on_state(small(2));
        // One is filled: the exchange shrinks the other.
        asks.on_state(small(1));
        asks.on_state(state(1, "a-1", 1, 100));
        assert_eq!(short(&asks.offer(1)), "");
        assert_eq!(short(&asks.offer(0)), "+1 +1");
        assert_eq!(short(&asks.withdraw()), "-1 -2");
    }

    #[test]
    fn without_a_name_it_is_offered_wherever_the_machine_qualifies() {
        let mut asks = Asks::new(2, 250, Vec::new(), "a".to_owned());
        assert_eq!(short(&asks.offer(0)), "", "the exchange has not said");
        let found = |name: &str, tick, max| Qualified {
            instrument: name.to_owned(),
            tick_nanocredits: tick,
            price_min_nanocredits: 2 * tick,
            price_max_nanocredits: max,
        };
        let all = vec![found("fine", 1, 1_000), found("coarse", 200, 1_000), found("low", 1, 200)];
        let flaws = asks.qualify(all);
        assert!(flaws.len() == 1 && flaws[0].starts_with("low "), "{flaws:?}");
        let prices: Vec<(String, i64)> = asks
            .offer(0)
            .into_iter()
            .map(|message| match message {
                ToExchange::PlaceAsk { instrument, price_nanocredits_per_tfuel, .. } => {
                    (instrument, price_nanocredits_per_tfuel)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(prices, [("fine".to_owned(), 250), ("coarse".to_owned(), 400)]);
        // It is measured, and no more what one of them asks for: the exchange has taken that ask
        // out of the book, and it is not offered again.
        asks.on_state(AskState { instrument: "fine".to_owned(), ..state(1, "a-1", 2, 250) });
        asks.on_state(AskState { instrument: "coarse".to_owned(), ..state(2, "a-2", 0, 400) });
        assert!(asks.qualify(vec![found("fine", 1, 1_000)]).is_empty());
        assert_eq!(short(&asks.offer(0)), "");
        asks.set_price(300);
        assert_eq!(asks.listed, [("fine".to_owned(), 300)]);
        // What the owner names stays as it is.
        let mut named = Asks::new(1, 250, vec!["coarse".to_owned()], "a".to_owned());
        named.qualify(vec![found("fine", 1, 1_000)]);
        assert_eq!(short(&named.offer(0)), "+1");
    }

    #[test]
    fn what_the_owner_offers_elsewhere_stands_until_all_is_withdrawn() {
        let mut asks = asks(2, 100, "b".to_owned());
        let elsewhere = |order| AskState {
            instrument: "cpu.512m.any".to_owned(),
            ..state(order, "mine", 2, 90)
        };
        asks.reset(vec![elsewhere(1)]);
        assert_eq!(short(&asks.offer(0)), "+2");
        asks.on_state(state(2, "b-1", 2, 100));
        asks.on_state(elsewhere(3));
        assert_eq!(short(&asks.offer(0)), "");
        assert_eq!(short(&asks.withdraw()), "-1 -2 -3");
    }

    #[test]
    fn a_refused_cancellation_is_tried_again() {
        let mut asks = asks(2, 100, "b".to_owned());
        asks.reset(vec![state(1, "a-1", 1, 90)]);
        assert_eq!(short(&asks.offer(0)), "-1 +2");
        asks.on_state(state(2, "b-1", 2, 100));
        asks.on_refusal();
        assert_eq!(short(&asks.offer(0)), "-1");
        assert_eq!(short(&asks.withdraw()), "-2");
        asks.on_refusal();
        assert_eq!(short(&asks.withdraw()), "-1 -2");
    }

    #[test]
    fn terms_that_are_refused_at_first_are_hopeless() {
        let mut asks = asks(2, 101, "b".to_owned());
        assert!(!asks.are_hopeless("price_off_tick"), "it is about something else");
        asks.offer(0);
        assert!(asks.are_hopeless("price_off_tick"));
        assert!(asks.are_hopeless("slot_too_small"));
        assert!(!asks.are_hopeless("storage_full"));
        assert!(!asks.are_hopeless("exceeds_free_slots"));
        asks.on_refusal();
        asks.offer(0);
        asks.on_state(state(1, "b-2", 2, 101));
        asks.on_state(state(1, "b-2", 0, 101));
        asks.offer(0);
        assert!(!asks.are_hopeless("price_off_tick"), "it was taken before");
    }

    #[test]
    fn withdrawing_cancels_what_is_open_once() {
        let mut asks = asks(2, 100, "b".to_owned());
        asks.reset(vec![state(1, "a-1", 1, 100), state(2, "a-2", 0, 100)]);
        assert_eq!(short(&asks.withdraw()), "-1");
        assert_eq!(short(&asks.withdraw()), "");
    }
}
