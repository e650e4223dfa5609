//! The book against the naive one, by every fill and by a digest of all that is open, over
//! 100,000 generated commands per seed.
//!
//! `JUSHA_MODEL_SEEDS=10` runs that many seeds, from `JUSHA_MODEL_SEED` (default 1) on.

use base::{AccountId, Digest, OrderId};
use market::{
    Attributes, Capacity, Filters, GroupId, Instrument, InstrumentId, Market, Order, Restriction,
    Side, Terms, TimeInForce, first_instruments,
};

use crate::driver::Driver;
use crate::naive::Naive;

const COMMANDS: u32 = 100_000;
const OWNERS: u64 = 12;
/// Few enough that no scan reaches the limit: what comes of that has tests of its own.
const OPEN_ORDERS_MAX: u32 = 16;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

fn instruments() -> Vec<Instrument> {
    let limited = |instrument| Instrument { open_orders_max: OPEN_ORDERS_MAX, ..instrument };
    first_instruments().into_iter().take(2).map(limited).collect()
}

struct Pair {
    random: Random,
    fast: Driver,
    naive: Naive,
    now_ms: i64,
    placed: u64,
    rejected: u32,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let market = Market::new(instruments());
        let naive = Naive::new(&market);
        let fast = Driver { market, fills: vec![] };
        Pair { random: Random(seed), fast, naive, now_ms: 1_000, placed: 0, rejected: 0 }
    }

    fn owner(&mut self) -> AccountId {
        AccountId(1 + u128::from(self.random.below(OWNERS)))
    }

    /// Half of the owners have a machine, of their number.
    fn group(&mut self) -> GroupId {
        GroupId(1 + u128::from(self.random.below(OWNERS / 2)))
    }

    fn soon(&mut self) -> i64 {
        self.now_ms + self.random.below(60) as i64
    }

    fn some_order(&mut self) -> OrderId {
        let back = self.random.below(200).min(self.placed.saturating_sub(1));
        id(self.placed - back)
    }

    fn restriction(&mut self) -> Restriction {
        let until = |pair: &mut Self| match pair.random.below(3) {
            0 => pair.soon(),
            _ => 0,
        };
        Restriction {
            passed_over_until_ms: until(self),
            barred_until_ms: until(self),
            price_max_nanocredits_per_tfuel: self.price(),
            capped_until_ms: until(self),
        }
    }

    fn price(&mut self) -> i64 {
        1_000 + 100 * self.random.below(9) as i64
    }

    fn terms(&mut self) -> Terms {
        let mut terms = Terms::default();
        match self.random.below(6) {
            0 => {
                let named = self.some_order();
                terms.only_ask = Some(named);
                let known = self.naive.find(named).and_then(|order| order.group);
                terms.only_group = known.or(Some(self.group()));
            }
            1 => terms.filters.at_least = Attributes([self.random.below(4) as u32, 0, 1, 0]),
            2 => terms.filters = Filters { excluded: vec![self.group()], ..Filters::default() },
            3 => {
                let (owner, restriction) = (self.owner(), self.restriction());
                terms.restrictions.insert(owner, restriction);
            }
            _ => {}
        }
        terms
    }

    fn order(&mut self) -> Order {
        self.placed += 1;
        let (order, price) = (id(self.placed), self.price());
        let instrument = InstrumentId(self.random.below(2) as u16);
        let quantity = 1 + self.random.below(5) as u32;
        let mut new = if self.random.one_in(2) {
            let group = self.group();
            let fits = self.naive.fits(group, instrument);
            let quantity = quantity.min(fits.max(1));
            Order::ask(order, AccountId(group.0), group, instrument, price, quantity, self.now_ms)
        } else {
            let owner = self.owner();
            let bid = Order::bid(order, owner, instrument, price, quantity, self.now_ms);
            bid.with_terms(self.terms())
        };
        new.time_in_force = match self.random.below(8) {
            0 => TimeInForce::Ioc,
            1 => TimeInForce::Fok,
            2 => TimeInForce::Gtt { until_ms: self.soon() },
            _ => TimeInForce::Gtc,
        };
        new.post_only = self.random.one_in(8);
        new
    }

    /// The naive book's answer to whether an order may enter.
    fn admits(&mut self, order: &Order) -> bool {
        let open = self.naive.rows.iter().filter(|row| row.order.owner == order.owner).count();
        let never_rests = matches!(order.time_in_force, TimeInForce::Ioc | TimeInForce::Fok);
        let late =
            matches!(order.time_in_force, TimeInForce::Gtt { until_ms } if until_ms <= self.now_ms);
        if (order.post_only && never_rests) || late || open >= OPEN_ORDERS_MAX as usize {
            return false;
        }
        if order.post_only && self.naive.would_take(order, self.now_ms) {
            return false;
        }
        order.time_in_force != TimeInForce::Fok
            || self.naive.fillable(order, self.now_ms) >= order.quantity
    }

    fn submit(&mut self) {
        let order = self.order();
        if let Some(group) = order.group
            && self.naive.fits(group, order.instrument) < order.quantity
        {
            return;
        }
        let expected = self.admits(&order);
        let given = self.fast.submit(order.clone(), self.now_ms);
        assert_eq!(given.is_ok(), expected, "{order:?}: {given:?}");
        if expected {
            let priority = self.fast.market.order(order.order).map(|order| order.priority);
            // One that is gone already was the newest, and never compared with its equals.
            self.naive
                .insert(Order { priority: priority.unwrap_or(u64::MAX), ..order }, self.now_ms);
        } else {
            self.rejected += 1;
        }
    }

    fn step(&mut self) {
        let now_ms = self.now_ms;
        match self.random.below(20) {
            0..=11 => self.submit(),
            12..=14 => {
                let order = self.some_order();
                if self.naive.find(order).is_some() {
                    self.fast.cancel(order);
                    self.naive.reduce(order, 0);
                }
            }
            15 => {
                let group = self.group();
                let capacity = Capacity([self.random.below(9) as u32, 8_192, 0, 0]);
                let attributes = Attributes([self.random.below(4) as u32, 0, 1, 0]);
                self.fast.market.set_group_capacity(group, capacity);
                self.naive.group(group).capacity = capacity;
                self.fast.shrink(group);
                self.naive.shrink(group);
                if self.random.one_in(3) {
                    self.fast.market.set_group_attributes(group, attributes);
                    let former = self.naive.group(group).attributes;
                    self.naive.group(group).attributes = attributes;
                    if former != attributes {
                        let rows = self.naive.rows.iter().rev();
                        let of_group = rows.filter(|row| row.order.group == Some(group));
                        let asks: Vec<_> = of_group.map(|row| row.order.order).collect();
                        asks.into_iter().for_each(|ask| self.naive.look_again(ask));
                    }
                }
            }
            16 => {
                let owner = self.owner();
                if self.random.one_in(8) {
                    self.fast.cancel_all(owner);
                    let rows = self.naive.rows.iter().rev();
                    let own = rows.filter(|row| row.order.owner == owner);
                    let orders: Vec<_> = own.map(|row| row.order.order).collect();
                    orders.into_iter().for_each(|order| self.naive.reduce(order, 0));
                }
            }
            17 => {
                let (group, instrument) = (self.group(), InstrumentId(self.random.below(2) as u16));
                self.fast.market.release(group, instrument, 1);
                self.naive.release(group, instrument);
            }
            18 => {
                let (order, owner, restriction) =
                    (self.some_order(), self.owner(), self.restriction());
                let found = self.fast.market.order(order).map(|order| order.side);
                if found == Some(Side::Bid) {
                    self.fast.market.restrict(order, owner, restriction);
                    let rows = &mut self.naive.rows;
                    let row = rows.iter_mut().find(|row| row.order.order == order).unwrap();
                    let terms = row.order.terms.get_or_insert_default();
                    terms.restrictions.insert(owner, restriction);
                }
            }
            _ => {
                self.now_ms += self.random.below(20) as i64;
                self.fast.tick(now_ms);
                self.naive.tick(now_ms);
            }
        }
    }

    fn compare(&mut self) {
        let key = |order: &Order| order.order;
        let mut fast: Vec<&Order> = (0..2)
            .flat_map(|instrument| {
                let (market, instrument) = (&self.fast.market, InstrumentId(instrument));
                market.open_asks(instrument).chain(market.open_bids(instrument))
            })
            .collect();
        let mut naive: Vec<&Order> = self.naive.rows.iter().map(|row| &row.order).collect();
        fast.sort_by_key(|order| key(order));
        naive.sort_by_key(|order| key(order));
        assert_eq!(digest(&fast), digest(&naive), "\n{fast:?}\n{naive:?}");
        for (group, expected) in &self.naive.groups {
            assert_eq!(self.fast.market.group_used(*group), expected.used);
        }
        (0..2).for_each(|instrument| self.fast.check_depth(InstrumentId(instrument)));
    }
}

fn id(number: u64) -> OrderId {
    OrderId(u128::from(number))
}

fn digest(orders: &[&Order]) -> Digest {
    Digest::of(&postcard::to_stdvec(orders).unwrap())
}

fn run(seed: u64) {
    let mut pair = Pair::new(seed);
    for command in 0..COMMANDS {
        pair.step();
        assert_eq!(pair.fast.fills, pair.naive.fills, "seed {seed}, command {command}");
        if command % 16 == 0 {
            pair.compare();
            pair.fast.fills.clear();
            pair.naive.fills.clear();
        }
        if command % 1_024 == 0 {
            // What was stored and read again is the same market, and goes on alike.
            let stored = postcard::to_stdvec(&pair.fast.market).unwrap();
            let read: Market = postcard::from_bytes(&stored).unwrap();
            assert_eq!(read, pair.fast.market, "seed {seed}, command {command}");
            assert_eq!(postcard::to_stdvec(&read).unwrap(), stored);
            pair.fast.market = read;
        }
    }
    // Neither everything nor nothing was admitted, or the commands test little.
    assert!((1_000..COMMANDS / 2).contains(&pair.rejected), "{} rejected", pair.rejected);
}

#[test]
fn the_book_does_what_a_list_does() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("JUSHA_MODEL_SEED").unwrap_or(1);
    for seed in first..first + number("JUSHA_MODEL_SEEDS").unwrap_or(1) {
        run(seed);
    }
}
