//! What must hold after every command.

use std::collections::BTreeMap;

use base::{MachineId, Usage};
use clearing::fixed::FixedLease;
use clearing::payments::{Payment, PaymentDirection};
use clearing::{Ended, Event, JobPhase, LeasePhase, State, TaskPhase};
use ledger::AccountKey;

/// What came before, as far as the state does not tell any more.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Every transfer, added up.
    added_up: BTreeMap<AccountKey, i128>,
    /// Fees of what was forgotten.
    fees: i64,
    /// What machines earned by what was forgotten.
    earned: BTreeMap<MachineId, i64>,
}

impl History {
    /// Follows what a command came to.
    pub fn follow(&mut self, events: &[Event]) {
        for event in events {
            let Event::Transferred { from, to, amount_nanocredits, .. } = event else { continue };
            *self.added_up.entry(*from).or_insert(0) -= i128::from(*amount_nanocredits);
            *self.added_up.entry(*to).or_insert(0) += i128::from(*amount_nanocredits);
        }
        self.added_up.retain(|_, sum| *sum != 0);
    }

    /// Keeps of what is to be forgotten what later checks need.
    pub fn forget(&mut self, before: &State, ended: &Ended) {
        let leases = ended.jobs.iter().flat_map(|job| before.job_leases(*job));
        let leases = leases.map(|lease| (lease.machine, lease.fees, lease.paid_nanocredits));
        let fixed = ended.fixed_leases.iter().filter_map(|lease| before.fixed_lease(*lease));
        let fixed = fixed.map(|lease| (lease.machine, lease.fees, lease.paid_nanocredits));
        for (machine, fees, paid) in leases.chain(fixed) {
            self.fees += fees.buyer_nanocredits(paid) + fees.seller_nanocredits(paid);
            let earned = paid - fees.seller_nanocredits(paid);
            *self.earned.entry(machine).or_insert(0) += earned;
        }
    }
}

/// Panics with the first invariant that doesn't hold.
pub fn check(state: &State, history: &History) {
    let ledger = state.ledger().check();
    assert!(ledger.is_sound(), "{ledger:?}");
    let held = state.ledger().balances().map(|(key, balance)| (key, i128::from(balance)));
    let added_up = history.added_up.iter().map(|(key, sum)| (*key, *sum));
    assert!(held.eq(added_up), "a balance is not what its transfers add up to");
    check_jobs(state);
    check_leases(state);
    check_tasks(state);
    check_attempts(state);
    check_machines(state, history);
    check_fees(state, history);
    check_payments(state);
    check_fixed(state);
    assert!(state.is_consistent(), "an index is not what follows from the state");
}

/// The exchange holds exactly the fees of what was paid.
fn check_fees(state: &State, history: &History) {
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
    assert_eq!(state.ledger().balance(AccountKey::Fees), charged + history.fees);
    let jobs: i64 = state.jobs().map(|job| job.fees_nanocredits).sum();
    let buyers = |lease: &clearing::Lease| lease.fees.buyer_nanocredits(lease.paid_nanocredits);
    assert_eq!(jobs, state.leases().map(buyers).sum::<i64>());
}

/// Escrow and bond of a fixed lease are what was put in and not paid out; a closed one has none.
fn check_fixed(state: &State) {
    let mut free: Vec<_> = state
        .fixed_offers()
        .filter(|(_, offer)| offer.open.len() < offer.units as usize)
        .map(|(machine, offer)| (offer.price_nanocredits_per_hour, offer.since_ms, machine))
        .collect();
    free.sort();
    let listed = state.free_offers(clearing::fixed::TEST_FIXED).map(|(machine, _)| machine);
    assert!(listed.eq(free.into_iter().map(|(_, _, machine)| machine)));
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
        let buyer = state.account(lease.account).expect("a lease has a buyer");
        assert_eq!(buyer.fixed_bought.contains(&lease.lease), lease.closed.is_none());
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

fn check_machines(state: &State, history: &History) {
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
        let before = history.earned.get(&machine.machine).copied().unwrap_or(0);
        assert_eq!(before + earned + fixed, machine.earned_nanocredits);
        for ask in state.machine_asks(machine.machine) {
            assert!(ask.order.leaves_quantity <= state.slots_free(machine.machine));
        }
    }
}
