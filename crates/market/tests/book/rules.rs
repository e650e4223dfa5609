//! The rules one by one.

use base::{AccountId, OrderId};
use market::{
    Attributes, Capacity, Due, Filters, GroupId, InstrumentId, Market, Match, Order, Restriction,
    SCAN_LIMIT, Scan, Side, Terms, TimeInForce, first_instruments,
};

use crate::driver::Driver;

const INSTRUMENT: InstrumentId = InstrumentId(1);

fn book() -> Driver {
    let mut book = Driver { market: Market::new(first_instruments()), fills: vec![] };
    for group in 1..10 {
        book.market.set_group_capacity(GroupId(group), Capacity([10, 100_000, 0, 0]));
    }
    book
}

/// An ask of the owner and group with that number.
fn ask(order: u128, owner: u128, price: i64, quantity: u32) -> Order {
    let (group, owner) = (GroupId(owner), AccountId(owner));
    Order::ask(OrderId(order), owner, group, INSTRUMENT, price, quantity, 0)
}

fn bid(order: u128, owner: u128, price: i64, quantity: u32) -> Order {
    Order::bid(OrderId(order), AccountId(owner), INSTRUMENT, price, quantity, 0)
}

fn price_of(found: Match) -> Option<i64> {
    match found {
        Match::Found { price_nanocredits, .. } => Some(price_nanocredits),
        _ => None,
    }
}

#[test]
fn kinds_of_order() {
    let gtt = TimeInForce::Gtt { until_ms: 10 };
    // Asks of 2 at 200 and 3 at 300 rest. What comes of a bid: filled, left in the book, or why not.
    for (time_in_force, post_only, price, quantity, expected) in [
        (TimeInForce::Gtc, false, 300, 4, "filled 4 rests 0"),
        (TimeInForce::Gtc, false, 200, 4, "filled 2 rests 2"),
        (TimeInForce::Gtc, false, 100, 4, "filled 0 rests 4"),
        (gtt, false, 200, 4, "filled 2 rests 2"),
        (TimeInForce::Gtt { until_ms: 5 }, false, 200, 4, "expires_in_the_past"),
        (TimeInForce::Ioc, false, 200, 4, "filled 2 rests 0"),
        (TimeInForce::Ioc, false, 100, 4, "filled 0 rests 0"),
        (TimeInForce::Fok, false, 200, 2, "filled 2 rests 0"),
        (TimeInForce::Fok, false, 200, 3, "not_fillable"),
        (TimeInForce::Fok, false, 300, 5, "filled 5 rests 0"),
        (TimeInForce::Gtc, true, 100, 4, "filled 0 rests 4"),
        (TimeInForce::Gtc, true, 200, 4, "post_only_would_take"),
        (TimeInForce::Ioc, true, 100, 4, "post_only_never_rests"),
        (TimeInForce::Fok, true, 100, 4, "post_only_never_rests"),
    ] {
        let mut book = book();
        book.submit(ask(1, 1, 200, 2), 5).unwrap();
        book.submit(ask(2, 2, 300, 3), 5).unwrap();
        let order = Order { time_in_force, post_only, ..bid(3, 3, price, quantity) };
        let outcome = match book.submit(order, 5) {
            Err(rejection) => rejection.code().to_owned(),
            Ok(()) => {
                let filled: u32 = book.fills.iter().map(|fill| fill.3).sum();
                let rests = book.market.order(OrderId(3)).map_or(0, |order| order.leaves_quantity);
                format!("filled {filled} rests {rests}")
            }
        };
        assert_eq!(outcome, expected, "{time_in_force:?} {post_only} {price} {quantity}");
    }
}

#[test]
fn a_market_order_pays_no_more_than_its_protection() {
    // 1,000 basis points: a tenth.
    for (asks, expected) in [
        (vec![(2_000, 1), (2_200, 1), (2_300, 1)], vec![2_000, 2_200]),
        (vec![(2_000, 3)], vec![2_000]),
        (vec![], vec![]),
    ] {
        let mut book = book();
        for (number, (price, quantity)) in asks.iter().enumerate() {
            book.submit(ask(number as u128 + 1, 1, *price, *quantity), 0).unwrap();
        }
        let given = book.submit_market(bid(9, 2, 0, 3), 0).map_err(|why| why.code());
        assert_eq!(given, if asks.is_empty() { Err("no_market") } else { Ok(()) });
        let prices: Vec<_> = book.fills.iter().map(|fill| fill.2).collect();
        assert_eq!(prices, expected);
        assert_eq!(book.market.order(OrderId(9)), None);
    }
    let mut book = book();
    book.submit(bid(1, 1, 2_100, 1), 0).unwrap();
    // Rounded towards the best price, never past the protection.
    assert_eq!(book.market.protected_price(INSTRUMENT, Side::Ask), Ok(1_900));
}

#[test]
fn siblings_share_capacity() {
    let mut book = book();
    let other = InstrumentId(2);
    book.submit(ask(1, 1, 200, 10), 0).unwrap();
    book.submit(Order { instrument: other, ..ask(2, 1, 200, 10) }, 0).unwrap();
    book.submit(bid(3, 2, 200, 7), 0).unwrap();
    let leaves = |book: &Driver, order| {
        book.market.order(OrderId(order)).map_or(0, |order| order.leaves_quantity)
    };
    assert_eq!((leaves(&book, 1), leaves(&book, 2)), (3, 3));
    // All or nothing counts the sibling's capacity once.
    book.submit(ask(4, 1, 200, 3), 0).unwrap();
    let all = Order { time_in_force: TimeInForce::Fok, ..bid(5, 2, 200, 4) };
    assert_eq!(book.submit(all, 0).map_err(|why| why.code()), Err("not_fillable"));
    book.submit(bid(6, 2, 200, 3), 0).unwrap();
    assert_eq!([1, 2, 4].map(|order| leaves(&book, order)), [0, 0, 0]);
    // 100,000 MiB hold 24 slots of 4 GiB, but there are only 10 slots.
    let capacity = |slots, mib| Capacity([slots, mib, 0, 0]);
    book.market.set_group_capacity(GroupId(2), capacity(10, 10_000));
    assert_eq!(book.market.group_fits(GroupId(2), INSTRUMENT), 4);
    assert_eq!(book.market.group_fits(GroupId(2), other), 2);
}

#[test]
fn filters_and_conditional_depth() {
    let mut book = book();
    book.market.set_group_attributes(GroupId(1), Attributes([500, 0, 0, 0]));
    book.market.set_group_attributes(GroupId(2), Attributes([900, 0, 0, 0]));
    let fast = Filters { at_least: Attributes([800, 0, 0, 0]), excluded: vec![] };
    let terms = |filters| Terms { filters, ..Terms::default() };
    book.submit(bid(1, 9, 300, 2).with_terms(terms(fast.clone())), 0).unwrap();
    let depth = book.market.depth(INSTRUMENT, 10);
    assert!(depth.bids.is_empty(), "a conditional bid is no public depth: {depth:?}");
    book.submit(ask(2, 1, 100, 1), 0).unwrap();
    assert_eq!(book.fills, []);
    book.submit(ask(3, 2, 200, 1), 0).unwrap();
    assert_eq!(book.fills, [(OrderId(3), OrderId(1), 300, 1)]);
    // The first machine turns out to be fast after all: a timer finds the two.
    book.market.set_group_attributes(GroupId(1), Attributes([800, 0, 0, 0]));
    assert_eq!(book.market.due(0), Some(Due::Look(OrderId(2), None)));
    book.tick(0);
    assert_eq!(book.fills.len(), 2);
    let excluded = Filters { excluded: vec![GroupId(1)], ..Filters::default() };
    book.submit(ask(4, 1, 100, 1), 0).unwrap();
    book.submit(ask(5, 2, 200, 1), 0).unwrap();
    book.submit(bid(6, 9, 300, 1).with_terms(terms(excluded)), 0).unwrap();
    assert_eq!(book.fills[2], (OrderId(5), OrderId(6), 200, 1));
}

#[test]
fn an_owner_has_a_bounded_number_of_orders() {
    let mut book = book();
    for order in 0..1_000 {
        book.submit(bid(order, 1, 100, 1), 0).unwrap();
    }
    let refused = book.submit(bid(1_000, 1, 100, 1), 0).map_err(|why| why.code());
    assert_eq!(refused, Err("too_many_open_orders"));
    book.cancel_all(AccountId(1));
    assert_eq!(book.market.open_orders(), 0);
    for order in 0..64 {
        book.submit(ask(order, 1, 200, 1), 0).unwrap();
    }
    let refused = book.submit(ask(64, 1, 200, 1), 0).map_err(|why| why.code());
    assert_eq!(refused, Err("too_many_asks"));
}

#[test]
fn a_scan_that_is_cut_short_goes_on_by_timer() {
    let mut book = book();
    let picky = Filters { at_least: Attributes([9, 0, 0, 0]), excluded: vec![] };
    let mut waiting = 0;
    for owner in 20..24 {
        for _ in 0..250 {
            waiting += 1;
            let terms = Terms { filters: picky.clone(), ..Terms::default() };
            book.submit(bid(waiting, owner, 500, 1).with_terms(terms), 0).unwrap();
        }
    }
    book.submit(bid(5_000, 30, 400, 1), 0).unwrap();
    // A thousand bids at a better price take no such machine; the one behind them does.
    book.submit(ask(6_000, 1, 400, 1), 0).unwrap();
    assert_eq!((book.fills.len(), book.market.unfinished_scans()), (0, 1));
    // One whose place the scan remembers leaves: nothing is left out by that.
    let Some(Due::Look(_, Some(cursor))) = book.market.due(0) else { panic!("a scan waits") };
    assert_eq!(cursor.after, OrderId(SCAN_LIMIT.into()));
    book.cancel(cursor.after);
    let mut ticks = 0;
    while book.fills.is_empty() {
        ticks += 1;
        book.tick(0);
        assert!(ticks <= 5, "each tick examines {SCAN_LIMIT}");
    }
    assert_eq!(ticks, 4);
    assert_eq!(book.fills, [(OrderId(6_000), OrderId(5_000), 400, 1)]);
    assert_eq!((book.market.unfinished_scans(), book.market.due(0)), (0, None));
    // What would have to examine more is refused where it must be answered at once.
    let all = Order { time_in_force: TimeInForce::Fok, ..ask(7_000, 1, 400, 1) };
    assert_eq!(book.submit(all, 0).map_err(|why| why.code()), Err("scan_limit"));
    let post = Order { post_only: true, ..ask(7_001, 1, 400, 1) };
    assert_eq!(book.submit(post, 0).map_err(|why| why.code()), Err("scan_limit"));
}

#[test]
fn own_orders_rest_side_by_side() {
    let mut book = book();
    book.submit(ask(1, 1, 100, 1), 0).unwrap();
    book.submit(bid(2, 1, 300, 1), 0).unwrap();
    book.submit(ask(3, 2, 200, 1), 0).unwrap();
    assert_eq!(book.fills, [(OrderId(3), OrderId(2), 300, 1)]);
}

#[test]
fn expired_orders_are_not_matched_before_the_timer_comes() {
    let mut book = book();
    let time_in_force = TimeInForce::Gtt { until_ms: 50 };
    book.submit(Order { time_in_force, ..ask(1, 1, 100, 1) }, 0).unwrap();
    book.submit(bid(2, 2, 300, 1), 50).unwrap();
    assert_eq!((book.fills.len(), book.market.due(49)), (0, None));
    assert_eq!(book.market.due(50), Some(Due::Expired(OrderId(1))));
    book.tick(50);
    assert_eq!(book.market.order(OrderId(1)), None);
}

#[test]
fn a_bar_is_not_overridden_and_a_cap_lowers_the_price() {
    let mut market = book().market;
    market.place(ask(1, 1, 200, 1));
    market.place(bid(2, 2, 500, 1));
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
        let found = market.next_match(OrderId(incoming), now_ms, &mut Scan::default());
        assert_eq!(price_of(found), expected, "{restriction:?} {now_ms} {incoming}");
    }
}

#[test]
fn the_resting_order_sets_the_price() {
    let mut market = book().market;
    market.place(ask(1, 1, 200, 1));
    market.place(bid(2, 2, 500, 1));
    let price = |id| price_of(market.next_match(OrderId(id), 0, &mut Scan::default()));
    assert_eq!((price(2), price(1)), (Some(200), Some(500)));
}
