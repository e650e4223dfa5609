//! Money: what is set aside, paid, owed and given back.

mod world;

use base::{AccountId, Digest, JobId, OrderId, TransferId, Usage};
use clearing::{AttemptEnd, Command, JobPhase, LeaseEnd, LeasePhase};
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
        (with!(tasks = vec![Digest::of(b"t"); 10_001]), "too_many_tasks"),
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
fn what_escrow_could_not_pay_stays_due_and_is_paid_first() {
    let mut world = World::new(1, 1);
    world.ask(0, 1, PRICE);
    world.ok(world.job_command(1, 1, 1, 60_000));
    let attempt = world.only(0);
    world.now_ms += 60_000;
    // 1 GiB of traffic where 64 MiB were set aside.
    let usage = Usage { fuel: GFUEL, traffic_bytes: 1 << 30, ..Usage::ZERO };
    world.receipt(&attempt, usage, None).unwrap();
    let lease = world.state.lease(attempt.lease).unwrap();
    let due = world.state.due_nanocredits(lease);
    assert_eq!(lease.paid_nanocredits, 60_000);
    assert!(due > 700_000 && !lease.is_open());
    assert_eq!(world.state.job(JobId(1)).unwrap().phase, JobPhase::Exhausted);
    world.ok(Command::TopUpJob {
        account: BUYER,
        job: JobId(1),
        transfer: TransferId(9),
        amount_nanocredits: 5_000_000,
    });
    assert_eq!(world.state.lease(attempt.lease).unwrap().paid_nanocredits, due);
    assert_eq!(world.state.job(JobId(1)).unwrap().phase, JobPhase::Active);
}
