//! Money in and out as tables: each row is a command and ends in the expected status; the fees
//! of a schedule on real leases.

mod world;

use base::{AccountId, JobId, TransferId, Usage};
use clearing::payments::{
    PaymentCommand, PaymentDirection, PaymentPhase, PaymentRejection, payment_id,
};
use clearing::{Command, Rejection};
use ledger::AccountKey;
use world::{BUDGET, BUYER, DEPOSIT, PRICE, World, code, finished, fuel, seller};

fn account(name: &str) -> AccountId {
    match name {
        "buyer" => BUYER,
        "seller" => seller(0),
        _ => AccountId(77),
    }
}

/// `who  verb  client's id  [amount]  status  available  outgoing`, amounts in nanocredits; the
/// last two are what the account has after the row. The operator's verbs name the account whose
/// payment it is.
fn check(table: &str) -> World {
    let mut world = World::new(1, 1);
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let columns: Vec<_> = row.split_whitespace().collect();
        let [who, verb, id, amount, expected, available, outgoing] = columns[..] else {
            panic!("bad row `{row}`")
        };
        let who = account(who);
        let payment = payment_id(who, id);
        let to = |to| PaymentCommand::Move { payment, to };
        let text = || "because".to_owned();
        let request = |direction| PaymentCommand::Request {
            account: who,
            client_payment_id: id.to_owned(),
            direction,
            amount_nanocredits: amount.parse().unwrap(),
        };
        let command = match verb {
            "deposit" => request(PaymentDirection::Deposit),
            "withdraw" => request(PaymentDirection::Withdrawal),
            "cancel" => PaymentCommand::Cancel { account: who, payment },
            "steal" => PaymentCommand::Cancel { account: seller(0), payment },
            "approve" => to(PaymentPhase::Approved),
            "settle" => to(PaymentPhase::Settled { reference: text() }),
            "refuse" => to(PaymentPhase::Refused { reason: text() }),
            "fail" => to(PaymentPhase::Failed { reason: text() }),
            "reopen" => to(PaymentPhase::Requested),
            _ => panic!("bad verb `{verb}`"),
        };
        assert_eq!(code(world.run(Command::Payment(command))), expected, "{row}");
        let held = |key| world.state.ledger().balance(key).to_string();
        assert_eq!(held(AccountKey::Available(who)), available, "{row}");
        assert_eq!(held(AccountKey::Outgoing(who)), outgoing, "{row}");
    }
    world
}

#[test]
fn a_deposit_moves_nothing_until_it_settles() {
    let world = check(
        "seller  deposit  a   500  ok                0    0
         seller  deposit  a   500  nothing           0    0
         seller  deposit  a   501  payment_conflict  0    0
         seller  withdraw a   500  payment_conflict  0    0
         buyer   deposit  a   501  ok       10000000000   0
         buyer   cancel   a     -  ok       10000000000   0
         seller  settle   a     -  payment_phase     0    0
         seller  approve  a     -  ok                0    0
         seller  cancel   a     -  payment_phase     0    0
         seller  refuse   a     -  payment_phase     0    0
         seller  settle   a     -  ok              500    0
         seller  settle   a     -  nothing         500    0
         seller  fail     a     -  payment_phase   500    0
         seller  deposit  a   500  nothing         500    0
         seller  deposit  b    70  ok              500    0
         seller  refuse   b     -  ok              500    0
         seller  approve  b     -  payment_phase   500    0
         seller  approve  c     -  not_found       500    0",
    );
    assert_eq!(world.state.ledger().balance(AccountKey::Outside), -DEPOSIT - 500);
}

#[test]
fn a_withdrawal_is_held_from_its_request_and_comes_back_unless_it_settles() {
    check(
        "buyer   withdraw a  10000000001  insufficient_funds  10000000000  0
         buyer   withdraw a            0  amount_out_of_range 10000000000  0
         nobody  withdraw a            1  not_found           0            0
         buyer   withdraw a   9999999000  ok                  1000         9999999000
         buyer   withdraw b         1001  insufficient_funds  1000         9999999000
         buyer   withdraw b         1000  ok                  0            10000000000
         buyer   steal    b            -  not_found           0            10000000000
         buyer   cancel   b            -  ok                  1000         9999999000
         buyer   cancel   b            -  nothing             1000         9999999000
         buyer   approve  a            -  ok                  1000         9999999000
         buyer   approve  a            -  nothing             1000         9999999000
         buyer   reopen   a            -  payment_phase       1000         9999999000
         buyer   fail     a            -  ok                  10000000000  0
         buyer   withdraw c   4000000000  ok                  6000000000   4000000000
         buyer   refuse   c            -  ok                  10000000000  0
         buyer   withdraw d   4000000000  ok                  6000000000   4000000000
         buyer   approve  d            -  ok                  6000000000   4000000000
         buyer   settle   d            -  ok                  6000000000   0
         buyer   settle   d            -  nothing             6000000000   0",
    );
}

#[test]
fn rejections_of_payments_have_an_order_of_precedence() {
    let mut world = World::new(0, 0);
    let request = |account, id: &str, amount_nanocredits| {
        Command::Payment(PaymentCommand::Request {
            account,
            client_payment_id: id.to_owned(),
            direction: PaymentDirection::Withdrawal,
            amount_nanocredits,
        })
    };
    assert_eq!(code(world.run(request(AccountId(77), "", 0))), "not_found");
    assert_eq!(code(world.run(request(BUYER, "", 0))), "text_length");
    assert_eq!(code(world.run(request(BUYER, "a", 0))), "amount_out_of_range");
    for n in 0..world.state.rules().open_payments_max {
        assert_eq!(code(world.run(request(BUYER, &n.to_string(), 1))), "ok");
    }
    assert_eq!(code(world.run(request(BUYER, "0", 2))), "payment_conflict");
    let rejection = world.run(request(BUYER, "more", DEPOSIT + 1)).unwrap_err();
    assert_eq!(rejection, Rejection::Payment(PaymentRejection::TooMany { open: 100 }));
    world.ok(Command::Payment(PaymentCommand::Cancel {
        account: BUYER,
        payment: payment_id(BUYER, "0"),
    }));
    assert_eq!(code(world.run(request(BUYER, "more", DEPOSIT + 1))), "insufficient_funds");
}

fn set_fees(maker_basis_points: u32, taker_basis_points: u32) -> Command {
    Command::SetFees { maker_basis_points, taker_basis_points }
}

#[test]
fn fees_are_pinned_when_a_lease_opens_and_charged_once_over_all_receipts() {
    let mut world = World::new(2, 1);
    assert_eq!(code(world.run(set_fees(2_001, 0))), "fee_out_of_range");
    assert_eq!(code(world.run(set_fees(0, 0))), "nothing");
    assert_eq!(code(world.run(set_fees(10, 25))), "ok");
    assert_eq!(code(world.run(set_fees(10, 25))), "nothing");
    // The ask rests: the seller makes, the buyer takes.
    world.ask(0, 1, PRICE);
    let job = world.submit(1, 1, 1);
    let attempt = world.only(0);
    world.ok(set_fees(0, 2_000));
    for step in 1..=99 {
        world.now_ms += 60_000;
        world.receipt(&attempt, fuel(step * 10_000_000_007), None).unwrap();
    }
    let last = fuel(1_000_000_000_000);
    world.now_ms += 60_000;
    world.receipt(&attempt, last, finished()).unwrap();
    let lease = world.state.lease(attempt.lease).unwrap();
    assert_eq!(lease.paid_nanocredits, PRICE);
    assert_eq!((lease.fees.buyer_basis_points, lease.fees.seller_basis_points), (25, 10));
    let (buyers, sellers) = (PRICE * 25 / 10_000, PRICE * 10 / 10_000);
    assert_eq!(world.state.job(job).unwrap().fees_nanocredits, buyers);
    assert_eq!(world.state.available_nanocredits(seller(0)), PRICE - sellers);
    assert_eq!(world.state.available_nanocredits(BUYER), DEPOSIT - PRICE - buyers);
    assert_eq!(world.state.ledger().balance(AccountKey::Fees), buyers + sellers);

    // Now the bid rests: the buyer makes, under the schedule of now.
    world.ok(world.job_command(2, 1, 1, BUDGET));
    world.ask(1, 1, PRICE);
    let attempt = world.only(1);
    let fees = world.state.lease(attempt.lease).unwrap().fees;
    let pinned = (fees.schedule_version, fees.buyer_basis_points, fees.seller_basis_points);
    assert_eq!(pinned, (2, 0, 2_000));
}

/// With a fee on top the least budget still pays the worst that is accepted, and with less the
/// job isn't taken: `World::run` checks after every receipt that paid is what is due.
#[test]
fn escrow_covers_the_fee() {
    for (maker, taker) in [(1, 1), (7, 2_000), (333, 0)] {
        let mut world = World::new(1, 1);
        world.ok(set_fees(maker, taker));
        let mut command = world.job_command(1, 1, 1, 1);
        let Rejection::BudgetTooSmall { needed_nanocredits, .. } =
            world.run(command.clone()).unwrap_err()
        else {
            panic!("a nanocredit covers nothing")
        };
        if let Command::SubmitJob { budget_nanocredits, .. } = &mut command {
            *budget_nanocredits = needed_nanocredits;
        }
        world.ok(command);
        world.ask(0, 1, PRICE);
        let attempt = world.only(0);
        world.now_ms += 600_000;
        let most = attempt.fuel_allowance + world.state.rules().overshoot_fuel;
        let usage = Usage {
            fuel: most,
            memory_page_fuel: most * u64::from(world::FIGURES.memory_max_pages),
            state_bytes: most / world::FIGURES.segment_fuel * world::STATE_MAX,
            traffic_bytes: 33 << 20,
        };
        world.receipt(&attempt, usage, finished()).unwrap();
        let job = world.state.job(JobId(1)).unwrap();
        assert!(job.paid_nanocredits + job.fees_nanocredits <= needed_nanocredits);
        assert!(job.released_nanocredits < needed_nanocredits / 4, "{job:?}");
    }
}

#[test]
fn an_operators_deposit_is_made_once_per_id() {
    let mut world = World::new(1, 1);
    let deposit = |transfer, amount_nanocredits| Command::Deposit {
        transfer: TransferId(transfer),
        account: seller(0),
        amount_nanocredits,
    };
    assert_eq!(code(world.run(deposit(5, 10))), "ok");
    assert_eq!(code(world.run(deposit(5, 10))), "nothing");
    assert_eq!(code(world.run(deposit(5, 11))), "transfer_conflict");
    assert_eq!(code(world.run(deposit(6, 0))), "amount_out_of_range");
}
