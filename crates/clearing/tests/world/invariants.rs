//! What must hold after every command.

use base::Usage;
use clearing::fixed::FixedLease;
use clearing::payments::{Payment, PaymentDirection};
use clearing::{JobPhase, LeasePhase, State, TaskPhase};
use ledger::AccountKey;

/// Panics with the first invariant that doesn't hold.
pub fn check(state: &State) {
    let ledger = state.ledger().check();
    assert!(ledger.is_sound(), "{ledger:?}");
    check_jobs(state);
    check_leases(state);
    check_tasks(state);
    check_attempts(state);
    check_machines(state);
    check_fees(state);
    check_payments(state);
    check_fixed(state);
}

/// The exchange holds exactly the fees of what was paid.
fn check_fees(state: &State) {
    let of_lease = |lease: &clearing::Lease| {
        let paid = lease.paid_nanocredits;
        lease.fees.buyer_nanocredits(paid) + lease.fees.seller_nanocredits(paid)
    };
    let of_fixed = |lease: &FixedLease| {
        let paid = lease.paid_nanocredits;
        lease.fees.buyer_nanocredits(paid) + lease.fees.seller_nanocredits(paid)
    };
    let charged = state.leases().map(of_lease).sum::<i64>();
    let charged = charged + state.fixed_leases().map(of_fixed).sum::<i64>();
    assert_eq!(state.ledger().balance(AccountKey::Fees), charged);
    let jobs: i64 = state.jobs().map(|job| job.fees_nanocredits).sum();
    let buyers = |lease: &clearing::Lease| lease.fees.buyer_nanocredits(lease.paid_nanocredits);
    assert_eq!(jobs, state.leases().map(buyers).sum::<i64>());
}

/// Escrow and bond of a fixed lease are what was put in and not paid out; a closed one has none.
fn check_fixed(state: &State) {
    for lease in state.fixed_leases() {
        let paid = lease.paid_nanocredits;
        let escrow = state.ledger().balance(AccountKey::LeaseEscrow(lease.lease));
        let fee = lease.fees.buyer_nanocredits(paid);
        let out = paid + fee + lease.refunded_nanocredits;
        assert_eq!(escrow + out, lease.prepaid_nanocredits, "{}", lease.lease);
        let bond = state.ledger().balance(AccountKey::Bond(lease.lease));
        let out = lease.compensated_nanocredits + lease.bond_returned_nanocredits;
        assert_eq!(bond + out, lease.bond_nanocredits, "{}", lease.lease);
        // Worked out here, and not by the rule that is checked.
        let multiple =
            i128::from(lease.price_nanocredits_per_hour) * i128::from(lease.outage_multiple);
        let due = multiple * i128::from(lease.outage_ms) / 3_600_000;
        let due = due.min(i128::from(lease.bond_nanocredits));
        let compensated = i128::from(lease.compensated_nanocredits);
        assert_eq!(compensated, due, "outages that are over are paid for");
        let offer = state.fixed_offers().find(|(machine, _)| *machine == lease.machine);
        let listed = offer.is_some_and(|(_, offer)| offer.open.contains(&lease.lease));
        assert_eq!(listed, lease.closed.is_none());
        if let Some((at_ms, _)) = lease.closed {
            assert_eq!((escrow, bond), (0, 0), "{}", lease.lease);
            assert!(at_ms <= lease.prepaid_until_ms, "time that nobody paid for");
            let hours = lease.price_nanocredits_per_hour;
            let most = i128::from(hours) * i128::from(at_ms - lease.opened_at_ms);
            assert!(i128::from(paid) * 3_600_000 <= most, "paid for more than its time");
        }
    }
}

/// What was asked to be paid out, and isn't yet, is held for that and nothing else.
fn check_payments(state: &State) {
    for account in state.accounts() {
        let own = |payment: &&Payment| payment.account == account.account;
        let open: Vec<&Payment> =
            state.payments().filter(own).filter(|payment| !payment.phase.is_over()).collect();
        assert!(account.open_payments.iter().eq(open.iter().map(|payment| &payment.payment)));
        let outgoing: i64 = open
            .iter()
            .filter(|payment| payment.direction == PaymentDirection::Withdrawal)
            .map(|payment| payment.amount_nanocredits)
            .sum();
        let held = state.ledger().balance(AccountKey::Outgoing(account.account));
        assert_eq!(held, outgoing, "{}", account.account);
    }
}

fn check_jobs(state: &State) {
    for job in state.jobs() {
        let escrow = state.escrow_nanocredits(job.job);
        assert_eq!(
            job.paid_nanocredits + job.fees_nanocredits + job.released_nanocredits + escrow,
            job.budget_nanocredits,
            "{}: paid, released and remaining are not what was put in",
            job.job
        );
        let bid = job.bid.map(|bid| state.order(bid).expect("a bid is an order").order);
        let wanted = (job.slots as usize - job.live.len()).min(job.pending.len());
        if let Some(bid) = bid {
            assert!(bid.is_open());
            assert!(bid.leaves_quantity as usize <= wanted, "a bid wants too much");
        }
        assert!(job.live.len() <= job.slots as usize);
        match job.phase {
            JobPhase::Active => assert!(bid.is_some() || !job.live.is_empty(), "{job:?} starves"),
            JobPhase::Exhausted => assert!(bid.is_none() && job.live.is_empty()),
            JobPhase::Done | JobPhase::Cancelled => {
                assert_eq!(escrow, 0, "{}", job.job);
                assert!(bid.is_none() && job.live.is_empty() && job.open_leases.is_empty());
                assert!(job.pending.is_empty());
            }
        }
    }
}

fn check_leases(state: &State) {
    for lease in state.leases() {
        let mut credited = Usage::ZERO;
        for attempt in &lease.attempts {
            let attempt = state.attempt(*attempt).expect("known");
            let interval = attempt.usage.since(attempt.start).expect("an interval");
            credited = credited.plus(interval).expect("no overflow");
        }
        assert_eq!(credited, lease.usage, "{}", lease.lease);
        let tariff = state.tariff(lease.tariff_version).expect("known");
        let due = tariff.payment_nanocredits(lease.price_nanocredits_per_tfuel, credited);
        assert_eq!(lease.paid_nanocredits, due, "{}: paid is not what was credited", lease.lease);
        assert_eq!(lease.is_open(), lease.live.is_some(), "an open lease never idles");
        let job = state.job(lease.job).unwrap();
        assert!(job.leases.contains(&lease.lease));
        let seller = state.machine(lease.machine).unwrap().owner;
        assert_ne!(job.account, seller, "{}: nobody trades with himself", lease.lease);
    }
}

fn check_tasks(state: &State) {
    for job in state.jobs() {
        let mut live = Vec::new();
        for task in state.job_tasks(job.job) {
            let mut at = Usage::ZERO;
            for (index, attempt) in state.task_attempts(task.task).enumerate() {
                assert_eq!(attempt.start, at, "{}: a gap or an overlap", task.task);
                assert_eq!(attempt.epoch, index as u64 + 1);
                at = attempt.usage;
                if attempt.outcome.is_none() {
                    live.push(attempt.attempt);
                    assert_eq!(task.phase, TaskPhase::Running(attempt.attempt));
                }
            }
            assert_eq!(task.usage, at, "{}: the intervals do not reach its usage", task.task);
            assert_eq!(task.epoch as usize, task.attempts.len());
            let waits = task.phase == TaskPhase::Pending;
            assert_eq!(waits, job.pending.contains(&task.index), "{}", task.task);
        }
        live.sort();
        assert!(live.iter().eq(&job.live), "one live attempt per running task");
    }
}

/// No attempt is credited with more than a slot could have computed in the time it had.
fn check_attempts(state: &State) {
    let rules = state.rules();
    for job in state.jobs() {
        let tasks = state.job_tasks(job.job);
        for attempt in tasks.flat_map(|task| state.task_attempts(task.task)) {
            let had_ms = attempt.progress_at_ms - attempt.started_at_ms + rules.elapsed_slack_ms;
            let most = rules.max_fuel_per_ms.saturating_mul(had_ms.unsigned_abs());
            let fuel = attempt.usage.fuel - attempt.start.fuel;
            assert!(fuel <= most, "{}: {fuel} fuel in {had_ms} ms", attempt.attempt);
        }
    }
}

fn check_machines(state: &State) {
    for machine in state.machines() {
        let open = state
            .leases()
            .filter(|lease| lease.machine == machine.machine && lease.phase == LeasePhase::Open)
            .count();
        assert_eq!(open, machine.open_leases.len());
        assert_eq!(open as u32, state.slots_leased(machine.machine));
        assert!(open as u32 <= machine.slots, "{} is overbooked", machine.machine);
        let earned: i64 = state
            .leases()
            .filter(|lease| lease.machine == machine.machine)
            .map(|lease| {
                lease.paid_nanocredits - lease.fees.seller_nanocredits(lease.paid_nanocredits)
            })
            .sum();
        let fixed: i64 = state
            .fixed_leases()
            .filter(|lease| lease.machine == machine.machine)
            .map(|lease| {
                lease.paid_nanocredits - lease.fees.seller_nanocredits(lease.paid_nanocredits)
            })
            .sum();
        assert_eq!(earned + fixed, machine.earned_nanocredits);
        for ask in state.machine_asks(machine.machine) {
            assert!(ask.order.leaves_quantity <= state.slots_free(machine.machine));
        }
    }
}
