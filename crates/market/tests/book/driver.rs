//! Drives a market as clearing does, without money.

use base::{AccountId, OrderId};
use market::{
    Due, GroupId, InstrumentId, Market, Match, Order, OrderRejection, Scan, Side, TimeInForce,
};

/// A fill: ask, bid, price, units.
pub type Fill = (OrderId, OrderId, i64, u32);

#[derive(Default)]
pub struct Driver {
    pub market: Market,
    pub fills: Vec<Fill>,
}

impl Driver {
    pub fn submit(&mut self, order: Order, now_ms: i64) -> Result<(), OrderRejection> {
        self.market.admit(&order, now_ms)?;
        let (id, time_in_force) = (order.order, order.time_in_force);
        self.market.place(order);
        self.run(id, now_ms, &mut Scan::default());
        let leaves = self.market.order(id).is_some();
        if leaves && matches!(time_in_force, TimeInForce::Ioc | TimeInForce::Fok) {
            self.market.reduce(id, 0);
        }
        Ok(())
    }

    /// A market order: a limit at the protected price, cancelled where it isn't filled.
    pub fn submit_market(&mut self, order: Order, now_ms: i64) -> Result<(), OrderRejection> {
        let price_nanocredits = self.market.protected_price(order.instrument, order.side)?;
        let time_in_force = TimeInForce::Ioc;
        self.submit(Order { price_nanocredits, time_in_force, ..order }, now_ms)
    }

    fn run(&mut self, incoming: OrderId, now_ms: i64, scan: &mut Scan) {
        loop {
            match self.market.next_match(incoming, now_ms, scan) {
                Match::Found { ask, bid, price_nanocredits, quantity } => {
                    let group = self.market.order(ask).and_then(|ask| ask.group);
                    self.market.fill(ask, bid, price_nanocredits, quantity);
                    self.fills.push((ask, bid, price_nanocredits, quantity));
                    self.shrink(group.expect("an ask has a group"));
                }
                Match::Nothing => {
                    if self.market.order(incoming).is_some() {
                        self.market.looked(incoming, now_ms);
                    }
                    return;
                }
                Match::ScanLimit => {
                    self.market.looked(incoming, now_ms);
                    self.market.look_again(incoming, scan.cursor());
                    return;
                }
            }
        }
    }

    pub fn shrink(&mut self, group: GroupId) {
        for (ask, leaves) in self.market.overfull(group) {
            self.market.reduce(ask, leaves);
        }
    }

    pub fn cancel(&mut self, order: OrderId) {
        if self.market.order(order).is_some() {
            self.market.reduce(order, 0);
        }
    }

    pub fn cancel_all(&mut self, owner: AccountId) {
        let orders: Vec<_> = self.market.owner_orders(owner).map(|order| order.order).collect();
        for order in orders {
            self.market.reduce(order, 0);
        }
    }

    /// One command of bounded work: what is due, until the limit.
    pub fn tick(&mut self, now_ms: i64) {
        let mut scan = Scan::default();
        while let Some(due) = self.market.due(now_ms)
            && !scan.is_spent()
        {
            match due {
                Due::Expired(order) => {
                    self.market.reduce(order, 0);
                }
                Due::Look(order, cursor) => {
                    scan.turn_to(cursor);
                    self.run(order, now_ms, &mut scan);
                }
            }
        }
    }

    /// Public depth is what the open orders add up to.
    pub fn check_depth(&self, instrument: InstrumentId) {
        let depth = self.market.depth(instrument, usize::MAX);
        assert!(depth.asks.is_sorted_by_key(|level| level.price_nanocredits));
        assert!(depth.bids.is_sorted_by_key(|level| -level.price_nanocredits));
        for (side, levels) in [(Side::Ask, depth.asks), (Side::Bid, depth.bids)] {
            let open: Vec<_> = match side {
                Side::Ask => self.market.open_asks(instrument).collect(),
                Side::Bid => self.market.open_bids(instrument).collect(),
            };
            let public = open.iter().filter(|order| !order.is_conditional());
            let expected: u64 = public.map(|order| u64::from(order.leaves_quantity)).sum();
            assert_eq!(levels.iter().map(|level| level.quantity).sum::<u64>(), expected);
            for level in levels {
                assert_eq!(self.market.level(instrument, side, level.price_nanocredits), level);
            }
        }
    }
}
