//! Random commands, most of them senseless: whatever comes, the invariants hold after each,
//! and the events fold to the state (both checked by `World::run`).

mod world;

use std::collections::BTreeMap;

use base::{JobId, OrderId, TransferId, Usage};
use clearing::fixed::{FixedCommand, FixedEvent, TEST_FIXED, fixed_lease_id};
use clearing::payments::{PaymentCommand, PaymentDirection, PaymentPhase, payment_id};
use clearing::{AttemptEnd, Command, Ended, Event, State};
use ledger::AccountKey;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use world::{BUYER, World, finished, machine, seller};

#[derive(Debug, Clone)]
enum Step {
    Ask { n: u8, quantity: u32, price: i64 },
    Submit { job: u8, tasks: u8, slots: u32, budget: i64, limit: i64, named: Option<u8> },
    Receipt { n: u8, which: u8, fuel: u64, pages: u8, end: u8, replay: u8 },
    Close { n: u8, which: u8, faulty: bool },
    Lapse { n: u8 },
    Offer { n: u8, slots: u32 },
    Measure { n: u8, speed: u32 },
    Memory { n: u8, mib: u32 },
    Instruments { which: u8 },
    Cancel { job: u8 },
    CancelOrder { order: u8 },
    TopUp { job: u8, transfer: u8, amount: i64 },
    Retire { n: u8 },
    Pay { id: u8, amount: i64, verb: u8 },
    Fees { maker: u32, taker: u32 },
    Fixed { n: u8, id: u8, amount: i64, verb: u8 },
    Forget { some: u8 },
    Tick { ms: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u8, 0..4u32, 0..9i64)
            .prop_map(|(n, quantity, price)| Step::Ask { n, quantity, price: price * 50_000 }),
        4 => (
            0..6u8, 0..5u8, 0..4u32,
            prop_oneof![1 => Just(0i64), 6 => 10_000..100_000i64, 2 => Just(100_000_000)],
            1..5i64,
            proptest::option::weighted(0.2, any::<u8>()),
        )
            .prop_map(|(job, tasks, slots, budget, limit, named)| Step::Submit {
                job, tasks, slots, budget, limit: limit * 100_000, named
            }),
        16 => (0..3u8, any::<u8>(), 0..2_000_000_000u64, any::<u8>(), 0..12u8, 0..8u8)
            .prop_map(|(n, which, fuel, pages, end, replay)| Step::Receipt {
                n, which, fuel, pages, end, replay
            }),
        1 => (0..3u8, any::<u8>(), any::<bool>())
            .prop_map(|(n, which, faulty)| Step::Close { n, which, faulty }),
        1 => (0..3u8).prop_map(|n| Step::Lapse { n }),
        1 => (0..3u8, 0..4u32).prop_map(|(n, slots)| Step::Offer { n, slots }),
        1 => (0..3u8, 0..4u32).prop_map(|(n, speed)| Step::Measure { n, speed }),
        1 => (0..3u8, 1..4u32).prop_map(|(n, gib)| Step::Memory { n, mib: gib * 1_024 }),
        1 => (0..12u8).prop_map(|which| Step::Instruments { which }),
        1 => (0..6u8).prop_map(|job| Step::Cancel { job }),
        1 => any::<u8>().prop_map(|order| Step::CancelOrder { order }),
        6 => (0..6u8, 0..4u8, 0..300_000i64)
            .prop_map(|(job, transfer, amount)| Step::TopUp { job, transfer, amount }),
        2 => (0..4u8, 0..3_000_000_000i64, 0..8u8)
            .prop_map(|(id, amount, verb)| Step::Pay { id, amount, verb }),
        1 => (0..300u32, 0..300u32).prop_map(|(maker, taker)| Step::Fees { maker, taker }),
        5 => (0..3u8, 0..3u8, 1..200i64, 0..9u8)
            .prop_map(|(n, id, amount, verb)| Step::Fixed { n, id, amount, verb }),
        1 => (0..30u8).prop_map(|n| Step::Retire { n }),
        2 => any::<u8>().prop_map(|some| Step::Forget { some }),
        2 => prop_oneof![9 => 0..10_000i64, 1 => 600_000..30_000_000i64]
            .prop_map(|ms| Step::Tick { ms }),
    ]
}

fn everything(state: &State, some: u8) -> Ended {
    fn part<T>(all: impl Iterator<Item = T>, some: u8) -> Vec<T> {
        all.enumerate().filter(|(n, _)| some >> (n % 8) & 1 == 1).map(|(_, id)| id).collect()
    }
    Ended {
        jobs: part(state.jobs().map(|job| job.job), some),
        orders: part(state.orders().map(|info| info.order.order), some),
        payments: part(state.payments().map(|payment| payment.payment), some),
        fixed_leases: part(state.fixed_leases().map(|lease| lease.lease), some),
        deposits: part(state.ledger().all_named().map(|posted| posted.transfer), some),
    }
}

fn nth_order(world: &World, n: u8) -> OrderId {
    let orders: Vec<_> = world.state.orders().map(|order| order.order.order).collect();
    if orders.is_empty() { OrderId(5) } else { orders[n as usize % orders.len()] }
}

fn run(steps: Vec<Step>) -> BTreeMap<String, u32> {
    let mut seen = BTreeMap::new();
    let mut world = World::new(3, 2);
    // Bonds of sellers.
    for n in 0..3 {
        let (transfer, account) = (TransferId(1_000 + n), seller(n));
        world.ok(Command::Deposit { transfer, account, amount_nanocredits: 4_000_000_000 });
    }
    let mut receipts = Vec::new();
    for step in steps {
        world.now_ms += 40;
        let command = match step {
            Step::Ask { n, quantity, price } => world.ask_command(n.into(), quantity, price),
            Step::Submit { job, tasks, slots, budget, limit, named } => {
                let mut command = world.job_command(job.into(), tasks, slots, budget);
                let ask_named = named.map(|named| nth_order(&world, named));
                if let Command::SubmitJob { max_price_nanocredits_per_tfuel, ask, .. } =
                    &mut command
                {
                    *max_price_nanocredits_per_tfuel = limit;
                    *ask = ask_named;
                }
                command
            }
            Step::Receipt { n, which, fuel, pages, end, replay } => {
                let running = world.running(n.into());
                if replay == 0 && !receipts.is_empty() {
                    Command::clone(&receipts[which as usize % receipts.len()])
                } else if running.is_empty() {
                    continue;
                } else {
                    let attempt = &running[which as usize % running.len()];
                    let to_allowance =
                        attempt.fuel_allowance - attempt.usage.fuel.min(attempt.fuel_allowance);
                    let fuel = fuel.min(to_allowance + 1_000_000);
                    let segment = world::FIGURES.segment_fuel;
                    let boundaries =
                        (attempt.usage.fuel + fuel) / segment - attempt.usage.fuel / segment;
                    let finishes = end < 2;
                    // Now and then one claims what can't be.
                    let results = match (finishes, pages) {
                        (true, 240..) => 1 << 40,
                        (true, pages) => u64::from(pages) * 100_000,
                        (false, _) => 0,
                    };
                    let usage = Usage {
                        fuel: attempt.usage.fuel + fuel,
                        memory_page_fuel: attempt.usage.memory_page_fuel + fuel * u64::from(pages),
                        state_bytes: attempt.usage.state_bytes
                            + boundaries * u64::from(pages) * 65_536,
                        traffic_bytes: world::FIGURES.inbound_bytes + results,
                    };
                    let reason = "no".to_owned();
                    let end = match end {
                        0 | 1 => finished(),
                        2 => Some(AttemptEnd::Yielded),
                        3 => Some(AttemptEnd::AllowanceSpent),
                        4 => Some(AttemptEnd::Fault { reason }),
                        5 => Some(AttemptEnd::Refused { reason }),
                        _ => None,
                    };
                    let command = world.receipt_command(attempt, usage, end);
                    receipts.push(command.clone());
                    command
                }
            }
            Step::Close { n, which, faulty } => {
                let leases: Vec<_> = world.state.leases().map(|lease| lease.lease).collect();
                let Some(lease) = leases.get(which as usize % leases.len().max(1)) else {
                    continue;
                };
                let reason = "why not".to_owned();
                let (machine, lease) = (machine(n.into()), *lease);
                if faulty {
                    Command::FaultLease { machine, lease, reason }
                } else {
                    Command::CloseLease { machine, lease, reason }
                }
            }
            Step::Lapse { n } => Command::LapseMachine { machine: machine(n.into()) },
            Step::Offer { n, slots } => Command::SetOffer {
                machine: machine(n.into()),
                slots,
                memory_mib_per_slot: if slots == 3 { 1_024 } else { 4_096 },
                transforms: vec![1],
                region: String::new(),
            },
            Step::Measure { n, speed } => {
                Command::MeasureSpeed { machine: machine(n.into()), speed_mfuel_per_s: speed }
            }
            Step::Memory { n, mib: memory_mib_per_slot } => {
                Command::MeasureMemory { machine: machine(n.into()), memory_mib_per_slot }
            }
            // Now and then the one that is traded is suspended, or asks for more.
            Step::Instruments { which } => Command::SetInstruments {
                instruments: market::first_instruments()
                    .into_iter()
                    .filter(|_| which > 0)
                    .map(|found| market::Instrument {
                        speed_min_mfuel_per_s: u32::from(which == 1),
                        ..found
                    })
                    .collect(),
            },
            Step::Cancel { job } => Command::CancelJob { account: BUYER, job: JobId(job.into()) },
            Step::CancelOrder { order } => {
                let order = nth_order(&world, order);
                let account = world.state.order(order).map_or(BUYER, |order| order.order.owner);
                Command::CancelOrder { account, order }
            }
            Step::TopUp { job, transfer, amount } => Command::TopUpJob {
                account: BUYER,
                job: JobId(job.into()),
                transfer: TransferId(transfer.into()),
                amount_nanocredits: amount,
            },
            Step::Retire { n } => {
                Command::RetireMachine { account: seller(n.into()), machine: machine(n.into()) }
            }
            Step::Pay { id, amount, verb } => Command::Payment(pay(id, amount, verb)),
            Step::Fees { maker, taker } => {
                Command::SetFees { maker_basis_points: maker, taker_basis_points: taker }
            }
            Step::Fixed { n, id, amount, verb } => Command::Fixed(fixed(n, id, amount, verb)),
            // Of everything, over or not: a part.
            Step::Forget { some } => Command::Forget { ended: everything(&world.state, some) },
            Step::Tick { ms } => {
                world.now_ms += ms;
                Command::Tick
            }
        };
        match world.run(command) {
            Ok(events) => {
                for event in events {
                    *seen.entry(first_word(&event)).or_insert(0) += 1;
                    if let Event::Fixed(FixedEvent::Closed { end, .. }) = event {
                        *seen.entry(format!("Closed {end:?}")).or_insert(0) += 1;
                    }
                    if let Event::Fixed(FixedEvent::CameUp { .. }) = event {
                        *seen.entry("CameUp".to_owned()).or_insert(0) += 1;
                    }
                    if let Event::LeaseClosed { end, .. } = event {
                        *seen.entry(format!("LeaseClosed {}", first_word(&end))).or_insert(0) += 1;
                    }
                }
            }
            Err(rejection) => *seen.entry(rejection.code().to_owned()).or_insert(0) += 1,
        }
    }
    for job in 0..6 {
        let _ = world.run(Command::CancelJob { account: BUYER, job: JobId(job) });
    }
    let held: i64 = (0..3).map(|n| world.state.available_nanocredits(seller(n))).sum();
    // What came in and didn't leave is somebody's.
    let inside = -world.state.ledger().balance(AccountKey::Outside);
    let fees = world.state.ledger().balance(AccountKey::Fees);
    let outgoing = world.state.ledger().balance(AccountKey::Outgoing(BUYER));
    let fixed = world.state.fixed_leases().map(|lease| {
        let of = |key| world.state.ledger().balance(key);
        of(AccountKey::LeaseEscrow(lease.lease)) + of(AccountKey::Bond(lease.lease))
    });
    let fixed: i64 = fixed.sum();
    assert_eq!(world.state.available_nanocredits(BUYER) + held + fees + outgoing + fixed, inside);
    seen
}

fn fixed(n: u8, id: u8, amount: i64, verb: u8) -> FixedCommand {
    let lease = fixed_lease_id(BUYER, &id.to_string());
    match verb {
        0 | 1 => FixedCommand::Offer {
            machine: machine(n.into()),
            instrument: TEST_FIXED.to_owned(),
            units: u32::from(id),
            price_nanocredits_per_hour: amount * 777_777,
        },
        2..=4 => FixedCommand::Open {
            account: BUYER,
            client_lease_id: id.to_string(),
            instrument: TEST_FIXED.to_owned(),
            limit_nanocredits_per_hour: amount * 1_000_000,
        },
        5 => FixedCommand::Notice { account: BUYER, lease },
        6 => FixedCommand::Notice { account: seller(n.into()), lease },
        _ => FixedCommand::Probed { lease, is_up: verb == 7 },
    }
}

fn pay(id: u8, amount_nanocredits: i64, verb: u8) -> PaymentCommand {
    let client_payment_id = id.to_string();
    let payment = payment_id(BUYER, &client_payment_id);
    let text = || "why not".to_owned();
    let to = match verb {
        0 | 1 => {
            let direction =
                [PaymentDirection::Withdrawal, PaymentDirection::Deposit][usize::from(verb)];
            return PaymentCommand::Request {
                account: BUYER,
                client_payment_id,
                direction,
                amount_nanocredits,
            };
        }
        2 => return PaymentCommand::Cancel { account: BUYER, payment },
        3 | 4 => PaymentPhase::Approved,
        5 => PaymentPhase::Refused { reason: text() },
        6 => PaymentPhase::Failed { reason: text() },
        _ => PaymentPhase::Settled { reference: text() },
    };
    PaymentCommand::Move { payment, to }
}

fn first_word(what: &impl std::fmt::Debug) -> String {
    format!("{what:?}").split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn invariants_hold_after_every_command(steps in prop::collection::vec(step(), 1..100)) {
        run(steps);
    }
}

/// The generator reaches what it is there to reach.
#[test]
fn random_commands_reach_every_kind_of_event() {
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 100);
    let mut seen = BTreeMap::<String, u32>::new();
    for _ in 0..300 {
        for (what, times) in run(steps.new_tree(&mut runner).unwrap().current()) {
            *seen.entry(what).or_insert(0) += times;
        }
    }
    for expected in [
        "Filled",
        "OrderReduced",
        "JobExhausted",
        "JobResumed",
        "JobDone",
        "JobCancelled",
        "TaskDone",
        "TaskRefused",
        "SellerRestricted",
        "RefusalNoted",
        "Forgotten",
        "MachineRetired",
        "Payment",
        "FeesSet",
        "Closed Outage",
        "CameUp",
        "no_offer",
        "payment_phase",
        "LeaseClosed WorkDone",
        "LeaseClosed EscrowSpent",
        "LeaseClosed Seller",
        "LeaseClosed Lapsed",
        "LeaseClosed Fault",
        "LeaseClosed Term",
        "budget_too_small",
        "usage_implausible",
    ] {
        assert!(seen.get(expected).is_some_and(|times| *times > 0), "{expected} in {seen:#?}");
    }
}
