//! Leases for a fixed time as tables: each row is a moment, somebody's deed, its status, and what
//! buyer, seller, escrow and bond have afterwards. An hour costs 3,600,000 nanocredits, so that a
//! millisecond costs 1; the bond is a day's price.

mod world;

use base::TransferId;
use clearing::fixed::{FixedCommand, FixedEnd, FixedEvent, FixedLease, TEST_FIXED, fixed_lease_id};
use clearing::{Command, Event};
use ledger::AccountKey;
use world::{BUYER, DEPOSIT, World, code, machine, seller};

const PRICE: i64 = 3_600_000;
const HOUR_MS: i64 = 3_600_000;
const BOND: i64 = 24 * PRICE;

fn world() -> World {
    let mut world = World::new(2, 1);
    let (transfer, account) = (TransferId(50), seller(0));
    world.ok(Command::Deposit { transfer, account, amount_nanocredits: BOND });
    world
}

fn offer(n: u128, units: u32, price_nanocredits_per_hour: i64) -> Command {
    let (machine, instrument) = (machine(n), TEST_FIXED.to_owned());
    Command::Fixed(FixedCommand::Offer { machine, instrument, units, price_nanocredits_per_hour })
}

fn open(id: &str, limit_nanocredits_per_hour: i64) -> Command {
    Command::Fixed(FixedCommand::Open {
        account: BUYER,
        client_lease_id: id.to_owned(),
        instrument: TEST_FIXED.to_owned(),
        limit_nanocredits_per_hour,
    })
}

fn the_lease(world: &World) -> &FixedLease {
    world.state.fixed_lease(fixed_lease_id(BUYER, "a")).expect("it was opened")
}

/// `seconds  deed  status  buyer-spent  seller-earned  escrow  bond`, the last four in
/// thousandths of a nanocredit's million: that is, in seconds of the lease's price.
fn check(world: &mut World, table: &str) {
    let begin_ms = world.now_ms;
    let lease = fixed_lease_id(BUYER, "a");
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let columns: Vec<_> = row.split_whitespace().collect();
        let [seconds, deed, status, spent, earned, escrow, bond] = columns[..] else {
            panic!("bad row `{row}`")
        };
        world.now_ms = begin_ms + seconds.parse::<i64>().unwrap() * 1_000;
        let notice = |account| Command::Fixed(FixedCommand::Notice { account, lease });
        let probed = |is_up| Command::Fixed(FixedCommand::Probed { lease, is_up });
        let command = match deed {
            "offer" => offer(0, 1, PRICE),
            "open" => open("a", PRICE),
            "tick" => Command::Tick,
            "up" => probed(true),
            "down" => probed(false),
            "buyer-notice" => notice(BUYER),
            "seller-notice" => notice(seller(0)),
            "stranger-notice" => notice(seller(1)),
            "lapse" => Command::LapseMachine { machine: machine(0) },
            "retire" => Command::RetireMachine { account: seller(0), machine: machine(0) },
            _ => panic!("bad deed `{deed}`"),
        };
        assert_eq!(code(world.run(command)), status, "{row}");
        let held = |key| world.state.ledger().balance(key);
        let found = [
            DEPOSIT - held(AccountKey::Available(BUYER)),
            held(AccountKey::Available(seller(0))) - BOND,
            held(AccountKey::LeaseEscrow(lease)),
            held(AccountKey::Bond(lease)),
        ];
        let seconds_each = found.map(|amount| {
            assert_eq!(amount % 1_000, 0, "{row}");
            (amount / 1_000).to_string()
        });
        assert_eq!(seconds_each, [spent, earned, escrow, bond], "{row}");
    }
}

#[test]
fn hours_are_prepaid_paid_when_they_are_over_and_closed_pro_rata() {
    let mut world = world();
    check(
        &mut world,
        "0      open            no_offer       0       0     0      0
         0      offer           ok             0       0     0      0
         0      open            ok          3600  -86400  3600  86400
         1      open            nothing     3600  -86400  3600  86400
         10     up              nothing     3600  -86400  3600  86400
         2999   tick            nothing     3600  -86400  3600  86400
         3000   tick            ok          3600  -86400  3600  86400
         3299   tick            nothing     3600  -86400  3600  86400
         3300   tick            ok          3600  -86400  3600  86400
         3450   tick            ok          3600  -86400  3600  86400
         3525   tick            ok          3600  -86400  3600  86400
         3584   tick            nothing     3600  -86400  3600  86400
         3599   tick            ok          3600  -86400  3600  86400
         3600   tick            ok          7200  -82800  3600  86400
         3600   tick            nothing     7200  -82800  3600  86400
         9000   tick            ok         10800  -79200  3600  86400
         9000   stranger-notice not_found  10800  -79200  3600  86400
         9000   buyer-notice    ok         10800  -79200  3600  86400
         9030   buyer-notice    nothing    10800  -79200  3600  86400
         9059   tick            nothing    10800  -79200  3600  86400
         9061   tick            ok          9060    9060     0      0
         9061   tick            nothing     9060    9060     0      0
         9062   buyer-notice    nothing     9060    9060     0      0
         9062   down            nothing     9060    9060     0      0",
    );
    let end_ms = the_lease(&world).opened_at_ms + 9_060_000;
    assert_eq!(the_lease(&world).closed, Some((end_ms, FixedEnd::Buyer)), "when it was said");
}

#[test]
fn an_outage_is_not_paid_for_and_pays_three_times_its_time() {
    let mut world = world();
    check(
        &mut world,
        "0      offer         ok          0       0     0      0
         0      open          ok       3600  -86400  3600  86400
         100    down          ok       3600  -86400  3600  86400
         150    down          nothing  3600  -86400  3600  86400
         300    up            ok       3000  -86400  3600  85800
         1000   down          ok       3000  -86400  3600  85800
         1100   up            ok       2700  -86400  3600  85500
         3600   tick          ok       6300  -83100  3900  85500
         3600   buyer-notice  ok       6300  -83100  3900  85500
         3700   tick          ok       2460    2460     0      0",
    );
    // 3,660 s, of which 300 s were down: paid 3,360, less 900 from the bond.
    assert_eq!(the_lease(&world).outage_ms, 300_000);
}

#[test]
fn a_machine_that_stops_answering_is_down_and_after_an_hour_out() {
    let mut world = world();
    check(
        &mut world,
        "0      offer  ok          0       0     0      0
         0      open   ok       3600  -86400  3600  86400
         1000   lapse  ok       3600  -86400  3600  86400
         1001   lapse  nothing  3600  -86400  3600  86400
         3600   tick   ok       7200  -85400  6200  86400
         4599   tick   nothing  7200  -85400  6200  86400
         4600   tick   ok      -9800   -9800     0      0",
    );
    assert_eq!(the_lease(&world).closed.unwrap().1, FixedEnd::Outage);
    // What lapsed offers nothing until it says so again.
    assert_eq!(code(world.run(open("b", PRICE))), "no_offer");
}

#[test]
fn a_seller_owes_notice_and_pays_for_leaving_without() {
    let mut noticed = world();
    check(
        &mut noticed,
        "0      offer          ok          0       0     0      0
         0      open           ok       3600  -86400  3600  86400
         600    seller-notice  ok       3600  -86400  3600  86400
         14999  tick           ok      18000  -72000  3600  86400
         15000  tick           ok      15000   15000     0      0",
    );
    assert_eq!(the_lease(&noticed).closed.unwrap().1, FixedEnd::Seller);

    let mut left = world();
    check(
        &mut left,
        "0      offer   ok           0       0     0      0
         0      open    ok        3600  -86400  3600  86400
         600    retire  ok      -42600  -42600     0      0",
    );
    // 600 s are earned; four hours of notice, three times, are paid from the bond.
    assert_eq!(the_lease(&left).compensated_nanocredits, 3 * 14_400_000);

    let mut half = world();
    check(
        &mut half,
        "0      offer          ok           0       0     0      0
         0      open           ok        3600  -86400  3600  86400
         0      seller-notice  ok        3600  -86400  3600  86400
         14300  tick           ok       14400  -75600  3600  86400
         14300  retire         ok       14000   14000     0      0",
    );
}

#[test]
fn money_that_goes_elsewhere_at_the_last_moment_is_noticed() {
    let mut world = world();
    world.ok(offer(0, 1, PRICE));
    world.ok(open("a", PRICE));
    let begin_ms = world.now_ms;
    // There is enough ten minutes before the hour is over, and nothing two minutes before.
    world.now_ms = begin_ms + HOUR_MS - 600_000;
    world.ok(Command::Tick);
    assert!(!the_lease(&world).warned);
    world.now_ms = begin_ms + HOUR_MS - 120_000;
    world.ok(Command::Payment(clearing::payments::PaymentCommand::Request {
        account: BUYER,
        client_payment_id: "out".to_owned(),
        direction: clearing::payments::PaymentDirection::Withdrawal,
        amount_nanocredits: DEPOSIT - PRICE,
    }));
    world.ok(Command::Tick);
    assert!(the_lease(&world).warned);
}

#[test]
fn who_cannot_prepay_is_warned_before_and_out_when_the_hour_is_over() {
    let mut world = world();
    world.ok(offer(0, 1, PRICE));
    // All but two hours goes elsewhere.
    world.ok(Command::Payment(clearing::payments::PaymentCommand::Request {
        account: BUYER,
        client_payment_id: "out".to_owned(),
        direction: clearing::payments::PaymentDirection::Withdrawal,
        amount_nanocredits: DEPOSIT - 2 * PRICE,
    }));
    world.ok(open("a", PRICE));
    let begin_ms = world.now_ms;
    let mut told = Vec::new();
    for minute in 1..=120 {
        world.now_ms = begin_ms + minute * 60_000;
        for event in world.ok(Command::Tick) {
            match event {
                Event::Fixed(FixedEvent::Warned { ends_at_ms, .. }) => {
                    told.push((minute, "warned", ends_at_ms - begin_ms));
                }
                Event::Fixed(FixedEvent::Closed { end: FixedEnd::Unpaid, at_ms, .. }) => {
                    told.push((minute, "closed", at_ms - begin_ms));
                }
                _ => {}
            }
        }
    }
    assert_eq!(told, [(110, "warned", 2 * HOUR_MS), (120, "closed", 2 * HOUR_MS)]);
    assert_eq!(the_lease(&world).paid_nanocredits, 2 * PRICE);
    assert_eq!(world.state.available_nanocredits(BUYER), 0);
}

#[test]
fn the_best_offer_is_taken_whose_seller_has_the_bond() {
    let mut world = World::new(2, 1);
    assert_eq!(code(world.run(offer(9, 1, PRICE))), "not_found");
    assert_eq!(code(world.run(offer(0, 1, 0))), "amount_out_of_range");
    assert_eq!(code(world.run(offer(0, 1_001, PRICE))), "slots_out_of_range");
    assert_eq!(code(world.run(offer(0, 0, PRICE))), "nothing");
    let mut vm = offer(0, 1, PRICE);
    if let Command::Fixed(FixedCommand::Offer { instrument, .. }) = &mut vm {
        *instrument = "cpu.2g.any".to_owned();
    }
    assert_eq!(code(world.run(vm)), "not_a_fixed_instrument");
    assert_eq!(code(world.run(offer(0, 2, PRICE / 2))), "insufficient_funds", "it has no bond");
    for n in 0..2 {
        let (transfer, account) = (TransferId(60 + n), seller(n));
        world.ok(Command::Deposit { transfer, account, amount_nanocredits: BOND });
    }
    world.ok(offer(0, 2, PRICE / 2));
    world.ok(offer(1, 2, PRICE));
    for (id, limit, status, seller_of) in [
        ("a", PRICE / 2 - 1, "no_offer", None),
        ("a", PRICE, "ok", Some(0)),
        ("a", PRICE, "nothing", Some(0)),
        ("a", PRICE - 1, "lease_conflict", Some(0)),
        ("b", PRICE, "ok", Some(0)),
        // Both units are let.
        ("c", PRICE, "ok", Some(1)),
        // No bond is left.
        ("d", PRICE, "no_offer", None),
    ] {
        assert_eq!(code(world.run(open(id, limit))), status, "{id}");
        let lease = world.state.fixed_lease(fixed_lease_id(BUYER, id));
        assert_eq!(lease.map(|lease| lease.machine), seller_of.map(machine), "{id}");
    }
}

#[test]
fn nobody_lets_to_themselves_and_a_unit_is_free_again_at_its_old_place() {
    let mut world = World::new(3, 1);
    for n in 0..3 {
        let (transfer, account) = (TransferId(60 + n), seller(n));
        world.ok(Command::Deposit { transfer, account, amount_nanocredits: 2 * BOND });
        world.now_ms += 1;
        world.ok(offer(n, 1, PRICE));
    }
    let by = |account, id: &str| {
        Command::Fixed(FixedCommand::Open {
            account,
            client_lease_id: id.to_owned(),
            instrument: TEST_FIXED.to_owned(),
            limit_nanocredits_per_hour: PRICE,
        })
    };
    let of = |world: &World, account, id: &str| {
        world.state.fixed_lease(fixed_lease_id(account, id)).map(|lease| lease.machine)
    };
    // The oldest offer is its own.
    world.ok(by(seller(0), "own"));
    assert_eq!(of(&world, seller(0), "own"), Some(machine(1)));
    world.ok(by(BUYER, "first"));
    assert_eq!(of(&world, BUYER, "first"), Some(machine(0)));
    let lease = fixed_lease_id(BUYER, "first");
    world.ok(Command::Fixed(FixedCommand::Notice { account: BUYER, lease }));
    world.now_ms += 60_000;
    world.ok(Command::Tick);
    world.ok(by(BUYER, "again"));
    assert_eq!(of(&world, BUYER, "again"), Some(machine(0)), "before the younger one");
}

#[test]
fn who_spends_the_bond_offers_nothing_any_more() {
    let mut world = world();
    world.ok(offer(0, 2, PRICE));
    world.ok(open("a", PRICE));
    let units =
        |world: &World| world.state.fixed_offers().map(|(_, offer)| offer.units).sum::<u32>();
    assert_eq!(units(&world), 2);
    assert_eq!(code(world.run(open("b", PRICE))), "no_offer", "there is one bond only");
    world.ok(Command::Tick);
    assert_eq!(units(&world), 0);
    assert!(the_lease(&world).closed.is_none(), "what is let stays let");
    assert_eq!(code(world.run(offer(0, 2, PRICE))), "insufficient_funds");
    world.ok(offer(0, 1, PRICE));
}

#[test]
fn fees_are_charged_on_what_is_paid() {
    let mut world = world();
    world.ok(Command::SetFees { maker_basis_points: 100, taker_basis_points: 200 });
    world.ok(offer(0, 1, PRICE));
    world.ok(open("a", PRICE));
    assert_eq!(world.state.available_nanocredits(BUYER), DEPOSIT - PRICE - PRICE / 50);
    let lease = fixed_lease_id(BUYER, "a");
    world.now_ms += HOUR_MS / 2 - 60_000;
    world.ok(Command::Fixed(FixedCommand::Notice { account: BUYER, lease }));
    world.now_ms += 60_000;
    world.ok(Command::Tick);
    let paid = PRICE / 2;
    assert_eq!(world.state.available_nanocredits(BUYER), DEPOSIT - paid - paid / 50);
    assert_eq!(world.state.available_nanocredits(seller(0)), BOND + paid - paid / 100);
    assert_eq!(world.state.ledger().balance(AccountKey::Fees), paid / 50 + paid / 100);
}
