//! Our book under the stream, driven as clearing does.

use std::time::{Duration, Instant};

use base::{AccountId, OrderId};
use market::{
    Attributes, Capacity, Filters, GroupId, Instrument, InstrumentId, Market, Match, Order, Scan,
    Side, Terms, TimeInForce, first_instruments,
};

use crate::stream::{Command, Limit, OWNERS, Random};

const INSTRUMENT: InstrumentId = InstrumentId(0);

pub struct Ours {
    pub market: Market,
    pub fills: u64,
    tick: i64,
}

impl Ours {
    pub fn new() -> Self {
        let instrument = Instrument { open_orders_max: 1_000, ..first_instruments().remove(1) };
        let tick = instrument.tick_nanocredits;
        let mut market = Market::new(vec![instrument]);
        let mut random = Random(3);
        for owner in 1..=OWNERS {
            let group = GroupId(owner.into());
            // Leases end elsewhere: here capacity is only counted.
            market.set_group_capacity(group, Capacity([u32::MAX, u32::MAX, 0, 0]));
            let attribute = random.below(10) as u32;
            market.set_group_attributes(group, Attributes([attribute, 0, 0, 0]));
        }
        Ours { market, fills: 0, tick }
    }

    /// Runs the commands; the time that they took.
    pub fn run(&mut self, commands: &[Command]) -> Duration {
        let begun = Instant::now();
        for command in commands {
            self.execute(command);
        }
        begun.elapsed()
    }

    fn execute(&mut self, command: &Command) {
        match command {
            Command::Cancel { order } => {
                if self.market.order(id(*order)).is_some() {
                    self.market.reduce(id(*order), 0);
                }
            }
            Command::Limit(limit) => {
                let mut order = self.order(limit.order, limit.owner, limit.ask, limit.quantity);
                order.price_nanocredits = limit.price * self.tick;
                order.post_only = limit.post_only;
                if limit.ioc {
                    order.time_in_force = TimeInForce::Ioc;
                }
                self.submit(want(order, limit));
            }
            Command::Market { order, owner, ask, quantity } => {
                let mut order = self.order(*order, *owner, *ask, *quantity);
                let Ok(price) = self.market.protected_price(INSTRUMENT, order.side) else { return };
                order.price_nanocredits = price;
                order.time_in_force = TimeInForce::Ioc;
                self.submit(order);
            }
        }
    }

    fn order(&self, order: u64, owner: u64, ask: bool, quantity: u32) -> Order {
        let (order, group) = (id(order), GroupId(owner.into()));
        let owner = AccountId(owner.into());
        match ask {
            true => Order::ask(order, owner, group, INSTRUMENT, 0, quantity, 0),
            false => Order::bid(order, owner, INSTRUMENT, 0, quantity, 0),
        }
    }

    fn submit(&mut self, order: Order) {
        if self.market.admit(&order, 0).is_err() {
            return;
        }
        let (id, time_in_force) = (order.order, order.time_in_force);
        self.market.place(order);
        let mut scan = Scan::default();
        loop {
            match self.market.next_match(id, 0, &mut scan) {
                Match::Found { ask, bid, price_nanocredits, quantity } => {
                    let group = self.market.order(ask).and_then(|ask| ask.group);
                    self.market.fill(ask, bid, price_nanocredits, quantity);
                    self.fills += 1;
                    for (ask, leaves) in group.map_or(vec![], |group| self.market.overfull(group)) {
                        self.market.reduce(ask, leaves);
                    }
                }
                Match::Nothing => break,
                Match::ScanLimit => {
                    self.market.look_again(id, scan.cursor());
                    break;
                }
            }
        }
        if time_in_force == TimeInForce::Ioc && self.market.order(id).is_some() {
            self.market.reduce(id, 0);
        }
    }
}

fn want(order: Order, limit: &Limit) -> Order {
    if limit.wants == 0 {
        return order;
    }
    let filters = Filters { at_least: Attributes([limit.wants, 0, 0, 0]), excluded: vec![] };
    debug_assert_eq!(order.side, Side::Bid);
    order.with_terms(Terms { filters, ..Terms::default() })
}

/// As spread as the ids of a journal are.
fn id(order: u64) -> OrderId {
    let spread = u128::from(order).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    OrderId(spread)
}
