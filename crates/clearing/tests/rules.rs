//! The rules one by one.

mod world;

use base::{AccountId, JobId, TransferId, Usage};
use clearing::{
    AttemptEnd, AttemptOutcome, Command, Event, JobPhase, LeaseEnd, LeasePhase, TaskPhase,
};
use world::{
    BUDGET, BUYER, DEPOSIT, PRICE, STATE_MAX, World, code, finished, fuel, machine, seller,
};

const GFUEL: u64 = base::FUEL_PER_GFUEL;

/// However many are overdue, a tick ends so many of them and the next one goes on.
#[test]
fn a_tick_ends_a_bounded_number_of_leases() {
    let mut world = World::new(1, 400);
    world.ask(0, 400, PRICE);
    for job in 1..=2 {
        world.submit(job, 200, 200);
    }
    let open = |world: &World| world.state.machine_open_leases(machine(0)).count();
    assert_eq!(open(&world), 400);
    world.now_ms += world.state.rules().stall_ms - 1;
    assert_eq!(code(world.run(Command::Tick)), "nothing");
    world.now_ms += 1;
    world.ok(Command::Tick);
    assert_eq!(open(&world), 400 - market::SCAN_LIMIT as usize);
    world.ok(Command::Tick);
    assert_eq!(open(&world), 0);
}

#[test]
fn a_dead_machines_task_goes_on_elsewhere_in_the_same_command() {
    let mut world = World::new(2, 1);
    world.ask(0, 1, 200_000);
    world.ask(1, 1, 250_000);
    world.submit(1, 1, 1);
    let first = world.only(0);
    world.now_ms += 10_000;
    world.receipt(&first, fuel(GFUEL), None).unwrap();
    let events = world.ok(Command::LapseMachine { machine: machine(0) });
    assert!(events.iter().any(|event| matches!(event, Event::AttemptStarted { .. })));
    let second = world.only(1);
    assert_eq!((second.epoch, second.usage), (2, fuel(GFUEL)));
    assert!(second.checkpoint.is_some());
    // What the dead machine says later is fenced.
    let late = world.receipt_command(&first, fuel(2 * GFUEL), finished());
    assert_eq!(code(world.run(late)), "stale_epoch");
    world.receipt(&second, fuel(3 * GFUEL), finished()).unwrap();
    assert_eq!(world.state.lease(first.lease).unwrap().usage, fuel(GFUEL));
    assert_eq!(world.state.lease(second.lease).unwrap().usage, fuel(2 * GFUEL));
}

#[test]
fn a_seller_who_closed_is_passed_over_but_not_when_alone() {
    let mut world = World::new(2, 2);
    world.ask(0, 2, 100_000);
    let job = world.submit(1, 1, 1);
    let close = |world: &World, n| Command::CloseLease {
        machine: machine(n),
        lease: world.only(n).lease,
        reason: "price rose".into(),
    };
    // Alone: the job goes straight back, or it would starve.
    let command = close(&world, 0);
    world.ok(command);
    assert_eq!(world.only(0).epoch, 2);
    // Not alone: the dearer seller gets it.
    world.offer(0, 4);
    world.ask(0, 2, 100_000);
    world.ask(1, 1, 300_000);
    let command = close(&world, 0);
    world.ok(command);
    assert!(world.running(0).is_empty());
    assert_eq!(world.only(1).epoch, 3);
    assert_eq!(world.state.job(job).unwrap().sellers.len(), 1);
}

#[test]
fn receipts_are_cumulative_fenced_and_bounded() {
    let mut world = World::new(2, 1);
    world.ask(0, 1, PRICE);
    world.submit(1, 2, 1);
    let attempt = world.only(0);
    world.now_ms += 1_000;
    let base = world.receipt_command(&attempt, fuel(GFUEL), None);
    world.ok(base.clone());
    assert_eq!(code(world.run(base.clone())), "nothing", "a duplicate");

    let next = |usage: Usage, ended| world.receipt_command(&attempt, usage, ended);
    let good = Usage { fuel: 2 * GFUEL, ..Usage::ZERO };
    let change = |edit: &dyn Fn(&mut Command)| {
        let mut command = next(good, None);
        edit(&mut command);
        command
    };
    macro_rules! with {
        ($field:ident = $value:expr) => {
            change(&|command| {
                if let Command::AcceptReceipt { $field, .. } = command {
                    *$field = $value;
                }
            })
        };
    }
    let table = [
        (with!(attempt = base::AttemptId(9)), "unknown_attempt"),
        (with!(machine = world::machine(1)), "wrong_machine"),
        (with!(lease = base::LeaseId(9)), "wrong_lease"),
        (with!(epoch = 0), "stale_epoch"),
        (with!(epoch = 2), "stale_epoch"),
        (with!(receipt_sequence = 0), "sequence_zero"),
        (with!(checkpoint = None), "checkpoint_missing"),
        (next(fuel(GFUEL - 1), None), "usage_decreased"),
        (next(fuel(600 * GFUEL), None), "usage_exceeds_time"),
        (next(Usage { memory_page_fuel: GFUEL * 512 + 1, ..good }, None), "usage_implausible"),
        (next(Usage { state_bytes: 1 << 50, ..good }, None), "usage_exceeds_time"),
        // Four boundaries lie between 1 and 2 Gfuel.
        (next(Usage { state_bytes: 4 * STATE_MAX + 1, ..good }, None), "usage_implausible"),
        // Results travel when the task has finished.
        (next(Usage { traffic_bytes: (1 << 20) + 1, ..good }, None), "usage_implausible"),
        (next(Usage { traffic_bytes: (33 << 20) + 1, ..good }, finished()), "usage_implausible"),
        (next(Usage { traffic_bytes: u64::MAX, ..good }, None), "usage_implausible"),
        (next(fuel(u64::MAX), None), "usage_exceeds_time"),
        (with!(receipt_sequence = 7), "ok"),
        // Older than what was accepted: reordered on the way.
        (with!(receipt_sequence = 3), "nothing"),
        (base.clone(), "nothing"),
    ];
    for (command, expected) in table {
        let text = format!("{command:?}");
        assert_eq!(code(world.run(command)), expected, "{text}");
    }
}

#[test]
fn two_contents_under_one_sequence_end_the_lease() {
    let mut world = World::new(1, 1);
    world.ask(0, 1, PRICE);
    world.submit(1, 1, 1);
    let attempt = world.only(0);
    world.now_ms += 1_000;
    world.receipt(&attempt, fuel(GFUEL), None).unwrap();
    let mut other = world.receipt_command(&attempt, fuel(2 * GFUEL), None);
    if let Command::AcceptReceipt { receipt_sequence, .. } = &mut other {
        *receipt_sequence = 1;
    }
    let paid = world.state.lease(attempt.lease).unwrap().paid_nanocredits;
    let events = world.ok(other.clone());
    assert!(events.iter().any(|event| {
        matches!(event, Event::AttemptEnded { outcome: AttemptOutcome::LeaseEnded, .. })
    }));
    let lease = world.state.lease(attempt.lease).unwrap();
    assert!(matches!(lease.phase, LeasePhase::Closed { end: LeaseEnd::Fault { .. }, .. }));
    assert_eq!((lease.paid_nanocredits, lease.usage), (paid, fuel(GFUEL)));
    assert_eq!(code(world.run(other)), "equivocation");
}

#[test]
fn ends_by_the_machines_word() {
    for (ended, phase, lease_end) in [
        (AttemptEnd::Yielded, TaskPhase::Pending, "Seller"),
        (AttemptEnd::Fault { reason: "disk".into() }, TaskPhase::Pending, "Fault"),
        (
            AttemptEnd::Refused { reason: "threads".into() },
            TaskPhase::Refused { reason: "threads".into() },
            "WorkDone",
        ),
    ] {
        let mut world = World::new(1, 1);
        world.ask(0, 1, PRICE);
        let job = world.submit(1, 1, 1);
        let attempt = world.only(0);
        world.now_ms += 1_000;
        let claims = fuel(GFUEL);
        world.receipt(&attempt, claims, Some(ended.clone())).unwrap();
        let credited = if ended == AttemptEnd::Yielded { claims } else { Usage::ZERO };
        assert_eq!(world.state.lease(attempt.lease).unwrap().usage, credited);
        assert_eq!(world.state.task(attempt.task).unwrap().phase, phase, "{ended:?}");
        let closed = format!("{:?}", world.state.lease(attempt.lease).unwrap().phase);
        assert!(closed.contains(lease_end), "{closed}");
        let done = world.state.job(job).unwrap().phase == JobPhase::Done;
        assert_eq!(done, lease_end == "WorkDone", "a refused task counts as ended");
    }
}

fn fault() -> Option<AttemptEnd> {
    Some(AttemptEnd::Fault { reason: "native stack".into() })
}

#[test]
fn one_broken_machine_is_paused_ever_longer_and_decides_only_when_alone() {
    let mut world = World::new(1, 1);
    let job = world.submit(1, 1, 1);
    world.ask(0, 1, PRICE);
    for pause_ms in [1_000, 2_000, 4_000, 8_000] {
        let attempt = world.only(0);
        world.receipt(&attempt, Usage::ZERO, fault()).unwrap();
        // The only seller there is, and yet the job waits.
        world.ask(0, 1, PRICE);
        world.now_ms += pause_ms - 1;
        assert_eq!(code(world.run(Command::Tick)), "nothing", "{pause_ms}");
        assert!(world.state.waiting_reason(job).unwrap().contains("after a pause"));
        world.now_ms += 1;
        world.ok(Command::Tick);
    }
    let attempt = world.only(0);
    world.receipt(&attempt, Usage::ZERO, fault()).unwrap();
    let job = world.state.job(job).unwrap();
    assert_eq!(job.phase, JobPhase::Done);
    let task = world.state.task(job.tasks[0]).unwrap();
    let TaskPhase::Refused { reason } = &task.phase else { panic!("{:?}", task.phase) };
    assert!(reason.starts_with(clearing::MACHINE_FAULTS), "{reason}");
    assert!(reason.contains("5 in a row by machines of 1 owners"), "{reason}");
    assert_eq!(world.state.available_nanocredits(BUYER), DEPOSIT);
}

#[test]
fn one_broken_machine_does_not_burn_a_job_that_others_can_run() {
    let mut world = World::new(2, 1);
    let job = world.submit(1, 1, 1);
    for _ in 0..8 {
        world.ask(0, 1, 100_000);
        world.ok(Command::Tick);
        let attempt = world.only(0);
        if world.state.machine_asks(machine(1)).next().is_none() {
            // Dearer than the job pays for now would not count as an offer.
            world.ask(1, 1, PRICE);
        }
        world.receipt(&attempt, Usage::ZERO, fault()).unwrap();
        let elsewhere = world.only(1);
        assert_eq!(world.state.task(elsewhere.task).unwrap().faults.len(), 1);
        world.ok(Command::LapseMachine { machine: machine(1) });
        world.now_ms += 600_000;
    }
    assert_eq!(world.state.job(job).unwrap().phase, JobPhase::Active);
}

#[test]
fn a_task_at_which_three_owners_machines_fail_is_refused() {
    let mut world = World::new(4, 1);
    for n in 0..4 {
        world.ask(n, 1, PRICE);
    }
    let job = world.submit(1, 1, 1);
    for n in 0..3 {
        assert_eq!(world.state.job(job).unwrap().phase, JobPhase::Active, "{n}");
        let attempt = world.only(n);
        world.receipt(&attempt, Usage::ZERO, fault()).unwrap();
    }
    assert!(world.running(3).is_empty());
    let job = world.state.job(job).unwrap();
    assert_eq!(job.phase, JobPhase::Done);
    let phase = &world.state.task(job.tasks[0]).unwrap().phase;
    let TaskPhase::Refused { reason } = phase else { panic!("{phase:?}") };
    assert!(reason.starts_with("machine faults: 3 in a row by machines of 3 owners"), "{reason}");
}

#[test]
fn a_refusal_needs_a_second_owners_word_while_another_offers() {
    let mut world = World::new(2, 1);
    world.ask(0, 1, 100_000);
    world.ask(1, 1, 200_000);
    let job = world.submit(1, 2, 1);
    let refused = || Some(AttemptEnd::Refused { reason: "threads".into() });
    let first = world.only(0);
    world.receipt(&first, Usage::ZERO, refused()).unwrap();
    assert_eq!(
        world.state.task(first.task).unwrap().phase,
        TaskPhase::Running(world.only(1).attempt)
    );
    let second = world.only(1);
    assert_eq!(second.task, first.task);
    world.receipt(&second, Usage::ZERO, refused()).unwrap();
    let phase = |world: &World, task| world.state.task(task).unwrap().phase.clone();
    assert_eq!(phase(&world, first.task), TaskPhase::Refused { reason: "threads".into() });
    // Nobody else offers: one word is enough for the other task.
    let other = world.only(1);
    world.receipt(&other, Usage::ZERO, refused()).unwrap();
    assert_eq!(phase(&world, other.task), TaskPhase::Refused { reason: "threads".into() });
    assert_eq!(world.state.job(job).unwrap().phase, JobPhase::Done);
}

#[test]
fn dropping_a_lease_when_the_price_rises_does_not_pay() {
    for by_lapse in [false, true] {
        let mut world = World::new(1, 1);
        world.ask(0, 1, 100_000);
        world.submit(1, 1, 1);
        let attempt = world.only(0);
        let (machine, lease) = (attempt.machine, attempt.lease);
        let reason = "price rose".to_owned();
        world.ok(if by_lapse {
            Command::LapseMachine { machine }
        } else {
            Command::CloseLease { machine, lease, reason }
        });
        // Nobody else is there, and the limit is 300,000.
        let dear = world.ask(0, 1, 200_000);
        assert!(world.running(0).is_empty());
        world.ok(Command::CancelOrder { account: seller(0), order: dear });
        // The bid rests at 300,000, but pays this owner no more than before.
        world.ask(0, 1, 50_000);
        let again = world.only(0);
        let price = |world: &World| {
            world.state.lease(world.only(0).lease).unwrap().price_nanocredits_per_tfuel
        };
        assert_eq!((again.epoch, price(&world)), (2, 100_000));
        world.ok(Command::LapseMachine { machine });
        let dear = world.ask(0, 1, 200_000);
        world.now_ms += 3_600_000;
        world.ok(Command::Tick);
        assert_eq!(price(&world), 200_000);
        assert!(!world.state.order(dear).unwrap().order.is_open());
    }
}

#[test]
fn what_ran_elsewhere_cannot_be_inadmissible() {
    let mut world = World::new(2, 1);
    world.ask(0, 1, 100_000);
    world.submit(1, 1, 1);
    let first = world.only(0);
    world.now_ms += 1_000;
    world.receipt(&first, fuel(GFUEL), Some(AttemptEnd::Yielded)).unwrap();
    world.ask(1, 1, 100_000);
    let second = world.only(1);
    let ended = AttemptEnd::Refused { reason: "I don't like it".into() };
    world.receipt(&second, fuel(GFUEL), Some(ended)).unwrap();
    assert_eq!(world.state.task(first.task).unwrap().phase, TaskPhase::Pending);
}

#[test]
fn asks_that_make_no_sense_are_named() {
    let mut world = World::new(2, 2);
    let good = Command::PlaceAsk {
        market: false,
        time_in_force: Default::default(),
        post_only: false,
        machine: machine(0),
        client_order_id: "mine".into(),
        instrument: "cpu.2g.any".into(),
        quantity: 2,
        price_nanocredits_per_tfuel: PRICE,
    };
    macro_rules! with {
        ($field:ident = $value:expr) => {{
            let mut command = good.clone();
            let value = $value;
            if let Command::PlaceAsk { $field, .. } = &mut command {
                *$field = value;
            }
            command
        }};
    }
    let retire = Command::RetireMachine { account: seller(1), machine: machine(1) };
    let table = [
        (with!(machine = world::machine(9)), "not_found"),
        (with!(client_order_id = String::new()), "text_length"),
        (with!(instrument = "nope".into()), "unknown_instrument"),
        (with!(quantity = 0), "quantity_out_of_range"),
        (with!(quantity = u32::MAX), "quantity_out_of_range"),
        (with!(price_nanocredits_per_tfuel = -1), "price_out_of_range"),
        (with!(price_nanocredits_per_tfuel = 150), "price_off_tick"),
        (with!(instrument = "cpu.4g.any".into()), "slot_too_small"),
        (with!(quantity = 3), "exceeds_free_slots"),
        (good.clone(), "ok"),
        (good.clone(), "nothing"),
        (with!(quantity = 1), "client_order_conflict"),
        (Command::RetireMachine { account: BUYER, machine: machine(1) }, "not_found"),
        (retire.clone(), "ok"),
        (retire, "nothing"),
        (with!(machine = world::machine(1)), "machine_retired"),
    ];
    for (command, expected) in table {
        let text = format!("{command:?}");
        assert_eq!(code(world.run(command)), expected, "{text}");
    }
}

#[test]
fn a_fill_shrinks_the_machines_other_asks() {
    let mut world = World::new(1, 2);
    world.ask(0, 2, 200_000);
    let sibling = world.ask(0, 2, 250_000);
    world.submit(1, 1, 1);
    assert_eq!(world.state.order(sibling).unwrap().order.leaves_quantity, 1);
    world.submit(2, 1, 1);
    assert!(!world.state.order(sibling).unwrap().order.is_open());
    assert_eq!(world.running(0).len(), 2);
    world.offer(0, 1);
    assert_eq!(world.running(0).len(), 1, "what a machine no longer has runs nothing");
}

#[test]
fn nobody_else_can_touch_a_job_or_an_order() {
    let mut world = World::new(2, 1);
    let order = world.ask(0, 1, PRICE);
    let job = world.submit(1, 1, 1);
    let lease = world.only(0).lease;
    let (account, transfer, amount_nanocredits) = (seller(1), TransferId(5), 10);
    for command in [
        Command::CancelJob { account, job },
        Command::TopUpJob { account, job, transfer, amount_nanocredits },
        Command::CancelOrder { account, order },
        Command::CloseLease { machine: machine(1), lease, reason: "mine now".into() },
    ] {
        assert_eq!(code(world.run(command)), "not_found");
    }
    assert_eq!(code(world.run(Command::CancelOrder { account: seller(0), order })), "nothing");
}

#[test]
fn a_lease_past_its_term_ends_at_the_next_receipt() {
    let mut world = World::new(2, 1);
    world.ask(0, 1, PRICE);
    world.submit(1, 1, 1);
    let attempt = world.only(0);
    world.now_ms += 6 * 3_600_000 - 60_000;
    world.receipt(&attempt, fuel(GFUEL), None).unwrap();
    world.now_ms += 60_000;
    world.ok(Command::Tick);
    assert_eq!(world.only(0).attempt, attempt.attempt);
    world.ask(1, 1, PRICE);
    world.receipt(&attempt, fuel(2 * GFUEL), None).unwrap();
    assert!(world.running(0).is_empty());
    assert_eq!(world.only(1).usage, fuel(2 * GFUEL));
}

#[test]
fn a_lease_past_its_term_ends_without_a_receipt() {
    let mut world = World::new(2, 1);
    world.ask(0, 1, PRICE);
    world.submit(1, 1, 1);
    let attempt = world.only(0);
    world.now_ms += 6 * 3_600_000 - 60_000;
    world.receipt(&attempt, fuel(GFUEL), None).unwrap();
    world.ask(1, 1, PRICE);
    world.now_ms += 60_000 + 120_000;
    world.ok(Command::Tick);
    let lease = world.state.lease(attempt.lease).unwrap();
    assert_eq!(lease.phase, LeasePhase::Closed { end: LeaseEnd::Term, at_ms: world.now_ms });
    assert_eq!(world.only(1).usage, fuel(GFUEL));
}

#[test]
fn an_attempt_that_stands_still_goes_on_elsewhere() {
    let mut world = World::new(2, 1);
    world.ask(0, 1, 100_000);
    world.submit(1, 1, 1);
    let attempt = world.only(0);
    world.now_ms += 300_000;
    world.receipt(&attempt, fuel(GFUEL), None).unwrap();
    world.ask(1, 1, 200_000);
    world.now_ms += 599_999;
    // It says something, but nothing new.
    world.receipt(&attempt, fuel(GFUEL), None).unwrap();
    assert_eq!(code(world.run(Command::Tick)), "nothing");
    world.now_ms += 1;
    world.ok(Command::Tick);
    let lease = world.state.lease(attempt.lease).unwrap();
    assert!(matches!(lease.phase, LeasePhase::Closed { end: LeaseEnd::Fault { .. }, .. }));
    assert_eq!((world.only(1).usage, world.only(1).epoch), (fuel(GFUEL), 2));
}

#[test]
fn a_named_ask_binds_the_job_to_its_machine() {
    let mut world = World::new(2, 2);
    world.ask(0, 1, 100_000);
    let named = world.ask(1, 1, 200_000);
    let mut command = world.job_command(1, 2, 2, BUDGET);
    if let Command::SubmitJob { ask, .. } = &mut command {
        *ask = Some(named);
    }
    world.ok(command);
    let attempt = world.only(1);
    assert!(world.running(0).is_empty());
    world.ok(Command::LapseMachine { machine: machine(1) });
    assert!(world.running(0).is_empty());
    let reason = world.state.waiting_reason(JobId(1)).unwrap();
    assert!(reason.contains("offers nothing now"), "{reason}");
    world.ask(1, 2, 200_000);
    assert_eq!(world.running(1).len(), 2);
    assert_eq!(world.running(1)[0].task, attempt.task);
}

#[test]
fn accounts_and_machines_are_idempotent_and_guarded() {
    let mut world = World::new(1, 1);
    let open = |name: &str| Command::OpenAccount { account: BUYER, name: name.into() };
    let enrol = |owner, key| Command::EnrolMachine {
        machine: machine(0),
        owner,
        public_key: [key; 32],
        name: "again".into(),
    };
    let deposit = |transfer, account, amount_nanocredits| Command::Deposit {
        transfer: TransferId(transfer),
        account,
        amount_nanocredits,
    };
    let table = [
        (open("buyer"), "nothing"),
        (open("somebody"), "account_conflict"),
        (enrol(seller(0), 0), "nothing"),
        (enrol(seller(0), 1), "machine_key_conflict"),
        (enrol(BUYER, 0), "machine_owned"),
        (enrol(AccountId(5), 0), "not_found"),
        (deposit(1, BUYER, DEPOSIT), "nothing"),
        (deposit(1, BUYER, 5), "transfer_conflict"),
        (deposit(2, AccountId(5), 5), "not_found"),
        (deposit(2, BUYER, 0), "amount_out_of_range"),
        (deposit(2, BUYER, i64::MAX), "amount_out_of_range"),
        (Command::LapseMachine { machine: machine(7) }, "not_found"),
        (Command::LapseMachine { machine: machine(0) }, "nothing"),
        (Command::Tick, "nothing"),
    ];
    for (command, expected) in table {
        let text = format!("{command:?}");
        assert_eq!(code(world.run(command)), expected, "{text}");
    }
}

#[test]
fn a_jobs_version_grows_with_everything_that_touches_it() {
    let mut world = World::new(1, 1);
    let job = world.submit(1, 1, 1);
    let mut version = world.state.job(job).unwrap().version;
    world.ask(0, 1, PRICE);
    let attempt = world.only(0);
    for ended in [None, Some(AttemptEnd::Yielded)] {
        let now = world.state.job(job).unwrap().version;
        assert!(now > version);
        version = now;
        world.now_ms += 1_000;
        let usage = fuel(world.state.task(attempt.task).unwrap().usage.fuel + GFUEL);
        world.receipt(&attempt, usage, ended).unwrap();
    }
    assert!(world.state.job(job).unwrap().version > version);
}

#[test]
fn what_the_scan_limit_leaves_is_found_by_ticks() {
    let mut world = World::new(1, 300);
    world.ask(0, 300, PRICE);
    let mut command = world.job_command(1, 1, 300, 50 * BUDGET);
    if let Command::SubmitJob { tasks, .. } = &mut command {
        *tasks = vec![world::task(b"t"); 300];
    }
    world.ok(command);
    assert_eq!(world.running(0).len(), 256);
    world.ok(Command::Tick);
    assert_eq!(world.running(0).len(), 300);
}
