//! The book against a naive model, over generated commands, by a hash of the state.
//!
//! The model is a plain list of orders: it sorts and scans everything for every question.

use base::{AccountId, Digest, OrderId};
use market::{GroupId, Market, Match, Order, Restriction, Scan};
use proptest::prelude::*;

const INSTRUMENT: &str = "cpu.2g.any";
const NOW_MS: i64 = 10;

#[derive(Debug, Clone)]
enum Command {
    Ask {
        owner: u8,
        price: i64,
        quantity: u32,
    },
    Bid {
        owner: u8,
        price: i64,
        quantity: u32,
        named: Option<u8>,
        restricted: Option<(u8, Restriction)>,
    },
    Cancel {
        order: u8,
    },
    Slots {
        group: u8,
        slots: u32,
    },
    Release {
        group: u8,
    },
    Restrict {
        order: u8,
        owner: u8,
        restriction: Restriction,
    },
}

fn restriction() -> impl Strategy<Value = Restriction> {
    let until_ms = || prop_oneof![2 => Just(0), 1 => Just(NOW_MS), 2 => Just(NOW_MS + 1)];
    (until_ms(), until_ms(), until_ms(), 1..6i64).prop_map(|(passed, barred, capped, price)| {
        Restriction {
            passed_over_until_ms: passed,
            barred_until_ms: barred,
            price_max_nanocredits_per_tfuel: price * 100,
            capped_until_ms: capped,
        }
    })
}

fn command() -> impl Strategy<Value = Command> {
    let price = (1..6i64).prop_map(|price| price * 100);
    prop_oneof![
        4 => (0..4u8, price.clone(), 1..5u32)
            .prop_map(|(owner, price, quantity)| Command::Ask { owner, price, quantity }),
        4 => (
            0..6u8,
            price,
            1..5u32,
            proptest::option::weighted(0.2, any::<u8>()),
            proptest::option::weighted(0.4, (0..4u8, restriction())),
        )
            .prop_map(|(owner, price, quantity, named, restricted)| Command::Bid {
                owner, price, quantity, named, restricted
            }),
        2 => any::<u8>().prop_map(|order| Command::Cancel { order }),
        1 => (0..4u8, 0..6u32).prop_map(|(group, slots)| Command::Slots { group, slots }),
        2 => (0..4u8).prop_map(|group| Command::Release { group }),
        1 => (any::<u8>(), 0..4u8, restriction()).prop_map(|(order, owner, restriction)| {
            Command::Restrict { order, owner, restriction }
        }),
    ]
}

/// An order as the model knows it. Sellers' groups are their owners' numbers.
#[derive(Debug, Clone)]
struct Plain {
    id: u128,
    is_ask: bool,
    owner: u8,
    price: i64,
    leaves: u32,
    filled: u32,
    named: Option<u128>,
    restricted: Vec<(u8, Restriction)>,
}

impl Plain {
    fn restriction(&self, owner: u8) -> Restriction {
        let found = self.restricted.iter().find(|(restricted, _)| *restricted == owner);
        found.map(|(_, restriction)| *restriction).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Naive {
    orders: Vec<Plain>,
    slots: [u32; 4],
    used: [u32; 4],
}

impl Naive {
    fn free(&self, group: u8) -> u32 {
        self.slots[group as usize].saturating_sub(self.used[group as usize])
    }

    fn shrink(&mut self, group: u8) {
        let free = self.free(group);
        for order in self.orders.iter_mut().filter(|order| order.is_ask && order.owner == group) {
            order.leaves = order.leaves.min(free);
        }
    }

    fn may_meet(&self, ask: &Plain, bid: &Plain) -> bool {
        let named_fits = match bid.named {
            None => true,
            Some(named) if named == ask.id => true,
            Some(named) => self.orders.iter().any(|order| {
                order.id == named && order.is_ask && order.leaves == 0 && order.owner == ask.owner
            }),
        };
        let restriction = bid.restriction(ask.owner);
        ask.price <= bid.price
            && ask.owner != bid.owner
            && named_fits
            && restriction.barred_until_ms <= NOW_MS
            && (restriction.capped_until_ms <= NOW_MS
                || ask.price <= restriction.price_max_nanocredits_per_tfuel)
    }

    fn partner(&self, incoming: usize) -> Option<usize> {
        let order = &self.orders[incoming];
        let mut candidates: Vec<_> = (0..self.orders.len())
            .filter(|other| {
                let other = &self.orders[*other];
                let (ask, bid) = if order.is_ask { (order, other) } else { (other, order) };
                other.is_ask != order.is_ask && other.leaves > 0 && self.may_meet(ask, bid)
            })
            .collect();
        candidates.sort_by_key(|other| {
            let other_order = &self.orders[*other];
            let (ask, bid) = if order.is_ask { (order, other_order) } else { (other_order, order) };
            let passed_over = bid.restriction(ask.owner).passed_over_until_ms > NOW_MS;
            let rank = if order.is_ask { -other_order.price } else { other_order.price };
            (passed_over, rank, other_order.id)
        });
        candidates.first().copied()
    }

    fn insert(&mut self, order: Plain) {
        self.orders.push(order);
        let incoming = self.orders.len() - 1;
        while self.orders[incoming].leaves > 0 {
            let Some(partner) = self.partner(incoming) else { break };
            for order in [incoming, partner] {
                self.orders[order].leaves -= 1;
                self.orders[order].filled += 1;
            }
            let ask = if self.orders[incoming].is_ask { incoming } else { partner };
            let group = self.orders[ask].owner;
            self.used[group as usize] += 1;
            self.shrink(group);
        }
    }

    fn hash(&self) -> Digest {
        let rows: Vec<_> =
            self.orders.iter().map(|order| (order.id, order.leaves, order.filled)).collect();
        Digest::of(format!("{rows:?} {:?}", self.used).as_bytes())
    }
}

/// Drives the market as clearing does.
#[derive(Default)]
struct Fast {
    market: Market,
    placed: u128,
}

impl Fast {
    fn insert(&mut self, order: Order) {
        let incoming = order.order;
        self.market.place(order);
        loop {
            // A fresh scan per match: the limit has a test of its own.
            match self.market.next_match(incoming, NOW_MS, &mut Scan::default()) {
                Match::Found { ask, bid, price_nanocredits_per_tfuel } => {
                    let group = self.market.order(ask).unwrap().group.unwrap();
                    self.market.fill(ask, bid, price_nanocredits_per_tfuel);
                    self.shrink(group);
                }
                Match::Nothing => return,
                Match::ScanLimit => unreachable!("fewer orders than the limit"),
            }
        }
    }

    fn shrink(&mut self, group: GroupId) {
        for (ask, leaves) in self.market.overfull(group) {
            self.market.reduce(ask, leaves);
        }
    }

    fn hash(&self) -> Digest {
        let rows: Vec<_> = self
            .market
            .orders()
            .map(|order| (order.order.0, order.leaves_quantity, order.cumulative_quantity))
            .collect();
        let used = [0, 1, 2, 3].map(|group| self.market.group_used(GroupId(group)));
        Digest::of(format!("{rows:?} {used:?}").as_bytes())
    }

    fn check_depth(&self) {
        let depth = self.market.depth(INSTRUMENT);
        assert!(depth.asks.is_sorted_by_key(|level| level.price_nanocredits_per_tfuel));
        assert!(depth.bids.is_sorted_by_key(|level| -level.price_nanocredits_per_tfuel));
        let in_depth: u32 = depth.asks.iter().chain(&depth.bids).map(|level| level.quantity).sum();
        let open: u32 = self.market.orders().map(|order| order.leaves_quantity).sum();
        assert_eq!(in_depth, open);
    }
}

fn run(commands: &[Command]) {
    let (mut fast, mut naive) = (Fast::default(), Naive::default());
    for group in 0..4u8 {
        fast.market.set_group_slots(GroupId(group.into()), 3);
        naive.slots[group as usize] = 3;
    }
    for command in commands {
        let id = fast.placed + 1;
        match *command {
            Command::Ask { owner, price, quantity } => {
                let quantity = quantity.min(naive.free(owner));
                if quantity == 0 {
                    continue;
                }
                fast.placed = id;
                let account = AccountId(owner.into());
                let group = GroupId(owner.into());
                fast.insert(Order::ask(
                    OrderId(id),
                    account,
                    group,
                    INSTRUMENT,
                    price,
                    quantity,
                    0,
                ));
                naive.insert(Plain {
                    id,
                    is_ask: true,
                    owner,
                    price,
                    leaves: quantity,
                    filled: 0,
                    named: None,
                    restricted: vec![],
                });
            }
            Command::Bid { owner, price, quantity, named, restricted } => {
                fast.placed = id;
                let named = named.map(|named| u128::from(named) % id);
                let account = AccountId(owner.into());
                let bid = Order::bid(OrderId(id), account, INSTRUMENT, price, quantity, 0);
                fast.insert(Order {
                    only_ask: named.map(OrderId),
                    restrictions: restricted
                        .iter()
                        .map(|(owner, restriction)| (AccountId((*owner).into()), *restriction))
                        .collect(),
                    ..bid
                });
                naive.insert(Plain {
                    id,
                    is_ask: false,
                    owner,
                    price,
                    leaves: quantity,
                    filled: 0,
                    named,
                    restricted: restricted.into_iter().collect(),
                });
            }
            Command::Cancel { order } => {
                let id = u128::from(order) % id;
                if fast.market.order(OrderId(id)).is_some_and(Order::is_open) {
                    fast.market.reduce(OrderId(id), 0);
                    naive.orders[id as usize - 1].leaves = 0;
                }
            }
            Command::Slots { group, slots } => {
                fast.market.set_group_slots(GroupId(group.into()), slots);
                fast.shrink(GroupId(group.into()));
                naive.slots[group as usize] = slots;
                naive.shrink(group);
            }
            Command::Release { group } => {
                fast.market.release(GroupId(group.into()));
                let used = &mut naive.used[group as usize];
                *used = used.saturating_sub(1);
            }
            Command::Restrict { order, owner, restriction } => {
                let id = u128::from(order) % id;
                if fast.market.order(OrderId(id)).is_some_and(Order::is_open) {
                    fast.market.restrict(OrderId(id), AccountId(owner.into()), restriction);
                    let restricted = &mut naive.orders[id as usize - 1].restricted;
                    restricted.retain(|(restricted, _)| *restricted != owner);
                    restricted.push((owner, restriction));
                }
            }
        }
        assert_eq!(fast.hash(), naive.hash(), "after {command:?}");
        fast.check_depth();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_book_does_what_a_list_does(commands in prop::collection::vec(command(), 1..120)) {
        run(&commands);
    }
}

#[test]
fn a_command_examines_a_bounded_number_of_orders() {
    let mut market = Market::default();
    market.set_group_slots(GroupId(1), 10);
    market.set_group_slots(GroupId(2), 10);
    for id in 0..300 {
        market.place(Order::ask(OrderId(id), AccountId(1), GroupId(1), INSTRUMENT, 100, 1, 0));
    }
    market.place(Order::ask(OrderId(900), AccountId(2), GroupId(2), INSTRUMENT, 100, 1, 0));
    // The bidder's own asks come first: all are passed over, and the scan ends among them.
    market.place(Order::bid(OrderId(901), AccountId(1), INSTRUMENT, 100, 1, 0));
    let mut scan = Scan::default();
    assert_eq!(market.next_match(OrderId(901), 0, &mut scan), Match::ScanLimit);
    assert!(scan.is_spent() && market.is_crossed(INSTRUMENT));
    for id in 0..100 {
        market.reduce(OrderId(id), 0);
    }
    let found = market.next_match(OrderId(901), 0, &mut Scan::default());
    assert!(matches!(found, Match::Found { ask: OrderId(900), .. }), "{found:?}");
}

#[test]
fn a_bar_is_not_overridden_and_a_cap_lowers_the_price() {
    let mut market = Market::default();
    market.set_group_slots(GroupId(1), 10);
    market.place(Order::ask(OrderId(1), AccountId(1), GroupId(1), INSTRUMENT, 200, 1, 0));
    market.place(Order::bid(OrderId(2), AccountId(2), INSTRUMENT, 500, 1, 0));
    let open = Restriction::default();
    let passed_over = Restriction { passed_over_until_ms: 11, ..open };
    let capped = Restriction { capped_until_ms: 11, price_max_nanocredits_per_tfuel: 300, ..open };
    for (restriction, now_ms, incoming, expected) in [
        (passed_over, 10, 2, Some(200)),
        (Restriction { barred_until_ms: 11, ..passed_over }, 10, 2, None),
        (Restriction { barred_until_ms: 11, ..passed_over }, 11, 2, Some(200)),
        (capped, 10, 1, Some(300)),
        (capped, 10, 2, Some(200)),
        (capped, 11, 1, Some(500)),
        (Restriction { price_max_nanocredits_per_tfuel: 100, ..capped }, 10, 1, None),
        (Restriction { price_max_nanocredits_per_tfuel: 100, ..capped }, 10, 2, None),
    ] {
        market.restrict(OrderId(2), AccountId(1), restriction);
        let price = match market.next_match(OrderId(incoming), now_ms, &mut Scan::default()) {
            Match::Found { price_nanocredits_per_tfuel, .. } => Some(price_nanocredits_per_tfuel),
            _ => None,
        };
        assert_eq!(price, expected, "{restriction:?} {now_ms} {incoming}");
    }
}

#[test]
fn the_resting_order_sets_the_price() {
    let mut market = Market::default();
    market.set_group_slots(GroupId(1), 10);
    market.place(Order::ask(OrderId(1), AccountId(1), GroupId(1), INSTRUMENT, 200, 1, 0));
    market.place(Order::bid(OrderId(2), AccountId(2), INSTRUMENT, 500, 1, 0));
    let price = |incoming| match market.next_match(incoming, 0, &mut Scan::default()) {
        Match::Found { price_nanocredits_per_tfuel, .. } => price_nanocredits_per_tfuel,
        other => panic!("{other:?}"),
    };
    assert_eq!((price(OrderId(2)), price(OrderId(1))), (200, 500));
}
