//! Kinds of order, switches, instruments and filters, with money behind them.

mod world;

use base::AccountId;
use clearing::{Command, Event};
use market::{Attributes, Capacity, Filters, GroupId, Instrument, TimeInForce, first_instruments};
use world::{BUDGET, INSTRUMENT, PRICE, World, code, finished, fuel, machine, seller};

const GFUEL: u64 = base::FUEL_PER_GFUEL;

/// An ask of machine 0 with another client order id each time.
fn ask(world: &World, quantity: u32, price: i64, kind: (bool, TimeInForce, bool)) -> Command {
    let (market, time_in_force, post_only) = kind;
    Command::PlaceAsk {
        machine: machine(0),
        client_order_id: format!("order {}", world.sequence),
        instrument: INSTRUMENT.into(),
        quantity,
        price_nanocredits_per_tfuel: price,
        market,
        time_in_force,
        post_only,
    }
}

#[test]
fn kinds_of_ask_against_a_jobs_bid() {
    let gtc = TimeInForce::Gtc;
    let late = TimeInForce::Gtt { until_ms: 5 };
    // A job wants 3 slots at PRICE. The code, slots leased, slots resting.
    for (quantity, price, kind, expected) in [
        (4, PRICE, (false, gtc, false), ("ok", 3, 1)),
        (4, PRICE + 100, (false, gtc, false), ("ok", 0, 4)),
        (4, PRICE, (false, TimeInForce::Ioc, false), ("ok", 3, 0)),
        (4, PRICE, (false, TimeInForce::Fok, false), ("not_fillable", 0, 0)),
        (3, PRICE, (false, TimeInForce::Fok, false), ("ok", 3, 0)),
        (4, PRICE, (false, gtc, true), ("post_only_would_take", 0, 0)),
        (4, PRICE + 100, (false, gtc, true), ("ok", 0, 4)),
        (4, PRICE, (false, late, false), ("expires_in_the_past", 0, 0)),
        (4, 0, (true, gtc, false), ("ok", 3, 0)),
        (5, PRICE, (false, gtc, false), ("exceeds_free_slots", 0, 0)),
    ] {
        let mut world = World::new(1, 4);
        world.submit(1, 3, 3);
        let placed = code(world.run(ask(&world, quantity, price, kind)));
        let resting: u32 =
            world.state.machine_asks(machine(0)).map(|ask| ask.order.leaves_quantity).sum();
        let outcome = (placed, world.running(0).len(), resting);
        assert_eq!(outcome, expected, "{quantity} {price} {kind:?}");
    }
    let mut world = World::new(1, 4);
    let alone = ask(&world, 1, 0, (true, gtc, false));
    assert_eq!(code(world.run(alone)), "no_market");
}

#[test]
fn orders_expire_by_timer() {
    let mut world = World::new(1, 4);
    let until_ms = world.now_ms + 50;
    let command = ask(&world, 4, PRICE, (false, TimeInForce::Gtt { until_ms }, false));
    world.ok(command);
    assert_eq!(code(world.run(Command::Tick)), "nothing");
    world.now_ms = until_ms;
    // Nobody takes it any more, though its timer has not come.
    world.submit(1, 1, 1);
    assert_eq!(world.running(0).len(), 0);
    world.ok(Command::Tick);
    assert_eq!(world.state.machine_asks(machine(0)).count(), 0);
}

#[test]
fn a_dead_mans_switch_withdraws_the_asks_of_its_account_alone() {
    let mut world = World::new(2, 4);
    let after = |after_ms| Command::CancelAfter { account: seller(0), after_ms };
    for (command, expected) in [
        (after(-1), "cancel_after_out_of_range"),
        (after(86_400_001), "cancel_after_out_of_range"),
        (Command::CancelAfter { account: AccountId(9), after_ms: 1 }, "not_found"),
        (after(0), "nothing"),
        (after(1_000), "ok"),
        (after(1_000), "nothing"),
        (after(0), "ok"),
        (after(1_000), "ok"),
    ] {
        assert_eq!(code(world.run(command.clone())), expected, "{command:?}");
    }
    world.ask(0, 2, PRICE + 200);
    world.ask(0, 4, PRICE + 100);
    world.ask(1, 4, PRICE + 300);
    world.now_ms += 999;
    assert_eq!(code(world.run(Command::Tick)), "nothing");
    world.now_ms += 1;
    world.ok(Command::Tick);
    let open = |world: &World, n| world.state.machine_asks(machine(n)).count();
    assert_eq!((open(&world, 0), open(&world, 1)), (0, 1));
    assert_eq!(world.state.cancel_after_ms(seller(0)), None);
    // It trips once: what is placed afterwards stays.
    world.ask(0, 1, PRICE + 100);
    world.now_ms += 10_000;
    assert_eq!(code(world.run(Command::Tick)), "nothing");
}

#[test]
fn all_orders_are_cancelled_at_once() {
    let mut world = World::new(2, 4);
    world.ask(0, 2, PRICE);
    world.ask(0, 2, PRICE + 100);
    world.ask(1, 2, PRICE + 100);
    let all = |instrument: Option<&str>| Command::CancelOrders {
        account: seller(0),
        instrument: instrument.map(str::to_owned),
    };
    assert_eq!(code(world.run(all(Some("cpu.9g")))), "unknown_instrument");
    assert_eq!(code(world.run(all(Some("cpu.4g.any")))), "nothing");
    assert_eq!(world.ok(all(Some(INSTRUMENT))).len(), 2);
    assert_eq!(code(world.run(all(None))), "nothing");
    assert_eq!(world.state.machine_asks(machine(1)).count(), 1);
}

#[test]
fn instruments_are_the_operators() {
    let mut world = World::new(1, 4);
    let plain = first_instruments().remove(1);
    let set = |instrument: Instrument| Command::SetInstrument { instrument };
    let named = |name: &str| Instrument { name: name.into(), ..plain.clone() };
    // A later kind needs no other book: two GPUs of a machine's four.
    let gpu = Instrument { unit: Capacity([1, 0, 2, 0]), memory_mib: 0, ..named("gpu.2x.any") };
    for (instrument, expected) in [
        (plain.clone(), "nothing"),
        (Instrument { tick_nanocredits: 0, ..plain.clone() }, "instrument_flawed"),
        (Instrument { unit: Capacity([2, 2_048, 0, 0]), ..plain.clone() }, "instrument_flawed"),
        (named("cpu 2g"), "instrument_flawed"),
        (gpu, "ok"),
        (Instrument { suspended: true, ..plain.clone() }, "ok"),
    ] {
        assert_eq!(code(world.run(set(instrument.clone()))), expected, "{instrument:?}");
    }
    let ask = ask(&world, 1, PRICE, (false, TimeInForce::Gtc, false));
    assert_eq!(code(world.run(ask.clone())), "instrument_suspended");
    world.ok(set(plain));
    world.ok(ask);
}

#[test]
fn a_machine_is_what_its_instrument_promises_or_leaves_the_book() {
    let mut world = World::new(2, 4);
    let plain = first_instruments().remove(1);
    let fast =
        Instrument { name: "cpu.2g.fast".into(), speed_min_mfuel_per_s: 3_000, ..plain.clone() };
    let list =
        |instruments: &[Instrument]| Command::SetInstruments { instruments: instruments.to_vec() };
    world.ok(list(&[plain.clone(), fast.clone()]));
    assert_eq!(code(world.run(list(&[plain.clone(), fast.clone()]))), "nothing");
    assert_eq!(code(world.run(list(&[plain.clone(), plain.clone()]))), "instrument_flawed");
    let suspended = world.state.market().instrument("cpu.4g.any").unwrap().1.suspended;
    assert!(suspended, "what the list doesn't name");

    let ask_in = |world: &World, n: u128, name: &str| {
        let mut command = world.ask_command(n, 1, PRICE);
        if let Command::PlaceAsk { instrument, client_order_id, .. } = &mut command {
            *instrument = name.into();
            client_order_id.push_str(&format!("{name} {}", world.sequence));
        }
        command
    };
    let measure =
        |n, speed_mfuel_per_s| Command::MeasureSpeed { machine: machine(n), speed_mfuel_per_s };
    let asks = |world: &World| world.state.machine_asks(machine(0)).count();
    assert_eq!(code(world.run(ask_in(&world, 0, "cpu.2g.fast"))), "too_slow");
    world.ok(measure(0, 3_000));
    world.ok(ask_in(&world, 0, "cpu.2g.fast"));
    world.ok(ask_in(&world, 0, INSTRUMENT));
    assert_eq!(code(world.run(measure(9, 1))), "not_found");
    world.ok(measure(0, 4_000));
    assert_eq!(asks(&world), 2);
    // It was throttled: it goes on in the book that asks for no speed.
    world.ok(measure(0, 2_999));
    assert_eq!(asks(&world), 1);
    assert_eq!(world.state.machine(machine(0)).unwrap().speed_at_ms, Some(world.now_ms));
    // Now that one asks for some, too.
    world.ok(list(&[Instrument { speed_min_mfuel_per_s: 3_000, ..plain }]));
    assert_eq!(asks(&world), 0);
    // Speed is a filter of single bids, too.
    world.ok(measure(1, 5_000));
    world.ok(ask_in(&world, 1, INSTRUMENT));
    let mut command = world.job_command(1, 1, 1, BUDGET);
    if let Command::SubmitJob { filters, .. } = &mut command {
        filters.at_least.0[clearing::attributes::SPEED] = 5_000;
    }
    world.ok(command);
    assert_eq!(world.running(1).len(), 1);
}

#[test]
fn memory_is_what_was_shown_and_not_what_was_said() {
    let mut world = World::new(1, 2);
    let plain = first_instruments().remove(1);
    let shown = Instrument { name: "cpu.2g.shown".into(), memory_measured: true, ..plain.clone() };
    let instruments = vec![plain, shown];
    world.ok(Command::SetInstruments { instruments });
    let ask_in = |world: &World, name: &str| {
        let mut command = world.ask_command(0, 1, PRICE);
        if let Command::PlaceAsk { instrument, client_order_id, .. } = &mut command {
            *instrument = name.into();
            client_order_id.push_str(&format!("{name} {}", world.sequence));
        }
        command
    };
    let measure =
        |memory_mib_per_slot| Command::MeasureMemory { machine: machine(0), memory_mib_per_slot };
    let asks = |world: &World| world.state.machine_asks(machine(0)).count();
    let qualifies = |world: &World| -> Vec<String> {
        let all = world.state.qualifying(machine(0)).into_iter();
        all.map(|found| found.name.clone()).collect()
    };
    // Its word is enough where nothing else is asked for, until it is known better.
    assert_eq!(qualifies(&world), [INSTRUMENT]);
    assert_eq!(code(world.run(ask_in(&world, "cpu.2g.shown"))), "memory_not_shown");
    world.ok(ask_in(&world, INSTRUMENT));
    world.ok(measure(2_047));
    assert_eq!((asks(&world), qualifies(&world)), (0, vec![]));
    assert_eq!(code(world.run(ask_in(&world, INSTRUMENT))), "memory_not_shown");
    world.ok(measure(2_048));
    assert_eq!(qualifies(&world), [INSTRUMENT, "cpu.2g.shown"]);
    world.ok(ask_in(&world, INSTRUMENT));
    world.ok(ask_in(&world, "cpu.2g.shown"));
    assert_eq!(asks(&world), 2);
    // What it shows with two slots says nothing of three; less of the same was shown with more.
    world.offer(0, 1);
    assert_eq!(asks(&world), 2);
    world.offer(0, 3);
    assert_eq!((asks(&world), qualifies(&world)), (1, vec![INSTRUMENT.to_owned()]));
    assert_eq!(world.state.machine(machine(0)).unwrap().memory_at_ms, None);
}

#[test]
fn filters_choose_the_machine() {
    let mut world = World::new(3, 1);
    for (n, price) in [(0, PRICE - 200), (1, PRICE - 100), (2, PRICE)] {
        world.ask(n, 1, price);
    }
    let mut command = world.job_command(1, 1, 1, BUDGET);
    if let Command::SubmitJob { filters, .. } = &mut command {
        filters.excluded = vec![GroupId(machine(0).0), GroupId(machine(1).0)];
    }
    world.ok(command.clone());
    assert_eq!(world.running(2).len(), 1);
    // The same id with other wishes is another job.
    if let Command::SubmitJob { filters, .. } = &mut command {
        filters.excluded.clear();
    }
    assert_eq!(code(world.run(command)), "job_conflict");

    // Nobody was measured, so nobody is fast enough: the bid waits, and is no public depth.
    let mut command = world.job_command(2, 1, 1, BUDGET);
    if let Command::SubmitJob { filters, .. } = &mut command {
        let mut at_least = Attributes::default();
        at_least.0[clearing::attributes::SPEED] = 1_000;
        *filters = Filters { at_least, excluded: vec![] };
    }
    world.ok(command);
    let (instrument, _) = world.state.market().instrument(INSTRUMENT).unwrap();
    assert_eq!(world.state.market().open_bids(instrument).count(), 1);
    assert!(world.state.market().depth(instrument, 10).bids.is_empty());
}

#[test]
fn a_machine_that_drops_leases_is_passed_by_who_minds() {
    let mut world = World::new(1, 2);
    world.ask(0, 2, PRICE);
    world.submit(1, 1, 1);
    let kept = |world: &World| {
        let attributes = world.state.market().group_attributes(GroupId(machine(0).0));
        attributes.0[clearing::attributes::KEPT_LEASES]
    };
    assert_eq!(kept(&world), 100);
    let lease = world.only(0).lease;
    world.ok(Command::CloseLease { machine: machine(0), lease, reason: "no".into() });
    assert_eq!(kept(&world), 99);
    let picky = |world: &World, job, kept| {
        let mut command = world.job_command(job, 1, 1, BUDGET);
        if let Command::SubmitJob { filters, .. } = &mut command {
            filters.at_least.0[clearing::attributes::KEPT_LEASES] = kept;
        }
        command
    };
    world.offer(0, 3);
    world.ask(0, 1, PRICE);
    let running = world.running(0).len();
    world.ok(picky(&world, 2, 100));
    assert_eq!(world.running(0).len(), running);
    world.ok(picky(&world, 3, 99));
    assert_eq!(world.running(0).len(), running + 1);
    // A hundred leases that end well make up for it, and a timer finds that out.
    for job in 10..110 {
        world.now_ms += 1_000;
        let events = world.ok(picky(&world, job, 0));
        let opened = events.iter().any(|event| matches!(event, Event::LeaseOpened { .. }));
        if !opened {
            world.ask(0, 1, PRICE);
        }
        let all = world.running(0);
        let attempt = all.iter().find(|run| run.job.0 == job).unwrap().clone();
        world.now_ms += 1_000;
        world.receipt(&attempt, fuel(GFUEL), finished()).unwrap();
        if world.state.slots_free(machine(0)) > 0
            && world.state.machine_asks(machine(0)).next().is_none()
        {
            world.ask(0, 1, PRICE + 100_000);
        }
    }
    assert_eq!(kept(&world), 100);
}
