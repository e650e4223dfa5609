//! Money: what is set aside, paid, owed and given back.

mod world;

use base::{AccountId, JobId, OrderId, TransferId, Usage};
use clearing::{
    AttemptEnd, Command, Event, JobPhase, LeaseEnd, LeasePhase, Rejection, TaskFigures,
};
use world::{BUDGET, BUYER, DEPOSIT, PRICE, World, code, finished, fuel, seller};

const GFUEL: u64 = base::FUEL_PER_GFUEL;

#[test]
fn a_job_runs_is_paid_to_the_unit_and_the_rest_goes_back() {
    let mut world = World::new(1, 2);
    world.ask(0, 1, 290_000);
    let job = world.submit(1, 2, 4);
    let first = world.only(0);
    assert_eq!((first.epoch, first.usage, first.checkpoint), (1, Usage::ZERO, None));
    world.now_ms += 60_000;
    let usage = Usage {
        fuel: 50 * GFUEL,
        memory_page_fuel: 50 * GFUEL * 16,
        state_bytes: 655_360,
        traffic_bytes: 12_345,
    };
    world.receipt(&first, usage, None).unwrap();
    world.receipt(&first, usage, finished()).unwrap();
    let second = world.only(0);
    assert_eq!(second.lease, first.lease, "the lease takes the next task");
    world.receipt(&second, fuel(GFUEL), finished()).unwrap();

    let job = world.state.job(job).unwrap();
    assert_eq!(job.phase, JobPhase::Done);
    let lease = world.state.lease(first.lease).unwrap();
    assert_eq!(lease.phase, LeasePhase::Closed { end: LeaseEnd::WorkDone, at_ms: world.now_ms });
    let total = usage.plus(fuel(GFUEL)).unwrap();
    assert_eq!(lease.usage, total);
    let due = clearing::Tariff::current().payment_nanocredits(290_000, total);
    assert_eq!(lease.paid_nanocredits, due);
    assert_eq!(world.state.available_nanocredits(seller(0)), due);
    assert_eq!(world.state.available_nanocredits(BUYER), DEPOSIT - due);
}

#[test]
fn submissions_that_make_no_sense_are_named() {
    let mut world = World::new(1, 1);
    let ask = world.ask(0, 1, 200_000);
    let good = world.job_command(1, 3, 2, BUDGET);
    macro_rules! with {
        ($field:ident = $value:expr) => {{
            let mut command = good.clone();
            let value = $value;
            if let Command::SubmitJob { $field, .. } = &mut command {
                *$field = value;
            }
            command
        }};
    }
    let table = [
        (with!(account = AccountId(77)), "not_found"),
        (with!(name = String::new()), "text_length"),
        (with!(tasks = vec![]), "no_tasks"),
        (with!(tasks = vec![world::task(b"t"); 10_001]), "too_many_tasks"),
        (with!(instrument = "gpu.any".into()), "unknown_instrument"),
        (with!(max_price_nanocredits_per_tfuel = 0), "price_out_of_range"),
        (with!(max_price_nanocredits_per_tfuel = i64::MAX), "price_out_of_range"),
        (with!(max_price_nanocredits_per_tfuel = 100_001), "price_off_tick"),
        (with!(slots = 0), "job_slots_out_of_range"),
        (with!(slots = u32::MAX), "job_slots_out_of_range"),
        (with!(budget_nanocredits = 0), "amount_out_of_range"),
        (with!(budget_nanocredits = -5), "amount_out_of_range"),
        (with!(budget_nanocredits = i64::MAX), "amount_out_of_range"),
        (with!(budget_nanocredits = 1_000), "budget_too_small"),
        (with!(budget_nanocredits = DEPOSIT + 1), "insufficient_funds"),
        (with!(ask = Some(OrderId(5))), "ask_unusable"),
        (with!(max_price_nanocredits_per_tfuel = 100_000), "ok"),
        (with!(max_price_nanocredits_per_tfuel = 100_000), "nothing"),
        (with!(slots = 1), "job_conflict"),
    ];
    for (command, expected) in table {
        assert_eq!(code(world.run(command)), expected);
    }
    let mut dear = world.job_command(2, 1, 1, BUDGET);
    if let Command::SubmitJob { ask: named, max_price_nanocredits_per_tfuel, .. } = &mut dear {
        (*named, *max_price_nanocredits_per_tfuel) = (Some(ask), 100_000);
    }
    assert_eq!(code(world.run(dear)), "ask_unusable");
    let reason = world.state.waiting_reason(JobId(1)).unwrap();
    assert!(reason.contains("the best is 200000, the limit 100000"), "{reason}");
}

#[test]
fn a_cancelled_job_pays_what_was_accepted_and_gives_back_the_rest() {
    let mut world = World::new(1, 1);
    world.ask(0, 1, PRICE);
    let job = world.submit(1, 3, 2);
    let bid = world.state.job(job).unwrap().bid.unwrap();
    let cancel_bid = Command::CancelOrder { account: BUYER, order: bid };
    assert_eq!(code(world.run(cancel_bid)), "bid_of_job");
    let attempt = world.only(0);
    world.now_ms += 60_000;
    world.receipt(&attempt, fuel(1_000 * GFUEL), None).unwrap();
    let cancel = Command::CancelJob { account: BUYER, job };
    assert_eq!(code(world.run(cancel.clone())), "ok");
    assert_eq!(code(world.run(cancel)), "nothing");
    assert_eq!(world.state.available_nanocredits(BUYER), DEPOSIT - PRICE);
    let late = world.receipt_command(&attempt, fuel(1_001 * GFUEL), None);
    assert_eq!(code(world.run(late)), "attempt_ended");
    let top_up =
        Command::TopUpJob { account: BUYER, job, transfer: TransferId(4), amount_nanocredits: 1 };
    assert_eq!(code(world.run(top_up)), "job_over");
}

#[test]
fn a_buyer_is_warned_once_before_the_money_is_spent() {
    const MINUTE: i64 = 60_000;
    let mut world = World::new(1, 1);
    world.ask(0, 1, PRICE);
    // Good for 100 Tfuel, at one a minute for 100 minutes.
    world.ok(world.job_command(1, 1, 1, 100 * PRICE));
    let warned = |events: &[Event]| {
        events.iter().find_map(|event| match event {
            Event::JobRunningLow { exhaustion_at_ms, .. } => Some(*exhaustion_at_ms),
            _ => None,
        })
    };
    let (begun_ms, job) = (world.now_ms, JobId(1));
    let at = |world: &World| world.state.exhaustion_at_ms(job, world.now_ms);
    assert_eq!(at(&world), None, "nothing is known of its pace");
    // Computes up to a fuel at a minute, in as many attempts as that takes.
    let compute = |world: &mut World, tfuel: i64| {
        let when = |fuel: u64| begun_ms + (fuel / (base::FUEL_PER_TFUEL / 60_000)) as i64;
        let wanted = tfuel as u64 * base::FUEL_PER_TFUEL;
        let mut events = Vec::new();
        while world.only(0).fuel_allowance < wanted {
            let attempt = world.only(0);
            let spent = Some(AttemptEnd::AllowanceSpent);
            world.now_ms = when(attempt.fuel_allowance);
            events.extend(world.receipt(&attempt, fuel(attempt.fuel_allowance), spent).unwrap());
        }
        let attempt = world.only(0);
        world.now_ms = when(wanted);
        events.extend(world.receipt(&attempt, fuel(wanted), None).unwrap());
        warned(&events)
    };
    let mut tfuel = 0;
    let told = loop {
        tfuel += 1;
        let told = compute(&mut world, tfuel);
        let left = at(&world).unwrap() - begun_ms;
        assert!((98 * MINUTE..=100 * MINUTE).contains(&left), "{left}");
        if told.is_some() {
            break told;
        }
    };
    assert!((88..=90).contains(&tfuel), "ten minutes before: {tfuel}");
    assert_eq!(told, at(&world));
    assert_eq!(compute(&mut world, tfuel + 1), None, "once");
    let top_up = |transfer, amount_nanocredits| Command::TopUpJob {
        account: BUYER,
        job,
        transfer: TransferId(transfer),
        amount_nanocredits,
    };
    world.ok(top_up(77, 100 * PRICE));
    assert_eq!(world.state.job(job).unwrap().exhaustion_at_ms, None, "the warning is taken back");
    assert!(at(&world).unwrap() > world.now_ms + 100 * MINUTE);
    assert_eq!(compute(&mut world, tfuel + 30), None, "it goes on with the new money");
    assert_eq!(world.state.job(job).unwrap().phase, JobPhase::Active);
}

#[test]
fn money_that_covers_everything_is_no_cause_for_warnings() {
    let mut world = World::new(1, 1);
    world.ask(0, 1, PRICE);
    let mut command = world.job_command(1, 1, 1, 1_000_000);
    if let Command::SubmitJob { tasks, .. } = &mut command {
        tasks[0].figures.fuel_max = base::FUEL_PER_TFUEL;
    }
    world.ok(command);
    let attempt = world.only(0);
    world.now_ms += 1_000;
    let events = world.receipt(&attempt, fuel(base::FUEL_PER_TFUEL / 8), None).unwrap();
    assert!(!events.iter().any(|event| matches!(event, Event::JobRunningLow { .. })));
    assert_eq!(world.state.exhaustion_at_ms(JobId(1), world.now_ms), None);
}

#[test]
fn an_exhausted_job_waits_and_a_top_up_resumes_it() {
    let mut world = World::new(1, 1);
    world.ask(0, 1, PRICE);
    world.ok(world.job_command(1, 1, 1, 60_000));
    let mut used = Usage::ZERO;
    let mut attempts = 0;
    while let Some(attempt) = world.running(0).first().cloned() {
        attempts += 1;
        world.now_ms += 60_000;
        used.fuel = attempt.fuel_allowance + 10;
        world.receipt(&attempt, used, Some(AttemptEnd::AllowanceSpent)).unwrap();
    }
    assert!(attempts < 20, "{attempts} attempts: it thrashes");
    assert_eq!(world.state.job(JobId(1)).unwrap().phase, JobPhase::Exhausted);
    assert!(world.state.waiting_reason(JobId(1)).unwrap().contains("top the job up"));
    world.ask(0, 1, PRICE);
    assert!(world.running(0).is_empty());
    let top_up = |amount_nanocredits| Command::TopUpJob {
        account: BUYER,
        job: JobId(1),
        transfer: TransferId(9),
        amount_nanocredits,
    };
    assert_eq!(code(world.run(top_up(1_000_000))), "ok");
    assert_eq!(code(world.run(top_up(1_000_000))), "nothing");
    assert_eq!(code(world.run(top_up(2))), "transfer_conflict");
    let resumed = world.only(0);
    assert_eq!(resumed.usage, used);
    world.now_ms += 1_000;
    let usage = fuel(used.fuel + GFUEL);
    world.receipt(&resumed, usage, finished()).unwrap();
    assert_eq!(world.state.job(JobId(1)).unwrap().phase, JobPhase::Done);
}

#[test]
fn one_receipt_cannot_empty_a_budget() {
    let mut world = World::new(1, 1);
    world.ask(0, 1, PRICE);
    world.submit(1, 1, 1);
    let attempt = world.only(0);
    world.now_ms += 60_000;
    // 10 GiB of traffic would cost 7 million nanocredits; the task can have 33 MiB.
    let usage = Usage { fuel: GFUEL, traffic_bytes: 10 << 30, ..Usage::ZERO };
    let rejection = world.receipt(&attempt, usage, finished()).unwrap_err();
    assert_eq!(
        rejection,
        Rejection::UsageImplausible {
            attempt: attempt.attempt,
            figure: "traffic_bytes",
            claimed: 10 << 30,
            max: 33 << 20
        }
    );
    // The exchange follows up, and a wrong machine doesn't keep the task.
    let (machine, lease, reason) = (attempt.machine, attempt.lease, rejection.to_string());
    world.ok(Command::FaultLease { machine, lease, reason });
    let lease = world.state.lease(attempt.lease).unwrap();
    assert_eq!((lease.paid_nanocredits, lease.usage), (0, Usage::ZERO));
    assert!(matches!(lease.phase, LeasePhase::Closed { end: LeaseEnd::Fault { .. }, .. }));
}

/// Nothing accepted is unpaid, however little was set aside and however much of it a task uses:
/// `World::run` checks after every command that paid is what is due.
#[test]
fn the_least_budget_pays_the_worst_that_is_accepted() {
    let mut random = 1_u64;
    let mut below = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % n
    };
    for round in 0..200 {
        let figures = TaskFigures {
            inbound_bytes: below(64 << 20),
            output_max_bytes: below(64 << 20),
            memory_max_pages: 1 + below(65_536) as u32,
            segment_fuel: 1 << (20 + below(20)),
            fuel_max: if below(2) == 0 { base::TASK_FUEL_MAX } else { 1 + below(GFUEL) },
        };
        let mut world = World::new(1, 1);
        let mut command = world.job_command(1, 1, 1, 1);
        let Command::SubmitJob { tasks, budget_nanocredits, .. } = &mut command else {
            unreachable!()
        };
        tasks[0].figures = figures;
        let rejection = {
            *budget_nanocredits = 1;
            world.run(command.clone()).unwrap_err()
        };
        let Rejection::BudgetTooSmall { needed_nanocredits, .. } = rejection else {
            panic!("{rejection}")
        };
        if let Command::SubmitJob { budget_nanocredits, .. } = &mut command {
            *budget_nanocredits = needed_nanocredits;
        }
        world.ok(command);
        world.ask(0, 1, PRICE);
        let attempt = world.only(0);
        let most =
            attempt.fuel_allowance.min(figures.fuel_max) + world.state.rules().overshoot_fuel;
        let mut usage = Usage::ZERO;
        loop {
            let fuel = (usage.fuel + 1 + below(most / 3)).min(most);
            let boundaries = fuel / figures.segment_fuel - usage.fuel / figures.segment_fuel;
            let state = u64::from(figures.memory_max_pages) * 65_536
                + figures.output_max_bytes
                + (16 << 20);
            let last = fuel == most;
            usage = Usage {
                fuel,
                memory_page_fuel: usage.memory_page_fuel
                    + (fuel - usage.fuel) * u64::from(figures.memory_max_pages),
                state_bytes: usage.state_bytes + boundaries * state,
                traffic_bytes: figures.inbound_bytes
                    + if last { figures.output_max_bytes } else { 0 },
            };
            world.now_ms += 500_000_000;
            world.receipt(&attempt, usage, if last { finished() } else { None }).unwrap();
            if last {
                break;
            }
            // Progress brings the lease past its term: the rest is the next attempt's.
            if world.running(0).is_empty() {
                break;
            }
        }
        let lease = world.state.lease(attempt.lease).unwrap();
        assert_eq!(lease.usage, usage, "{round}: a receipt was not accepted");
        assert!(lease.paid_nanocredits <= needed_nanocredits);
    }
}
