//! What must hold of a job that is done: right results, every unit paid once, to the unit.

use std::collections::BTreeMap;

use base::{LeaseId, MachineId, Usage};
use client::Client;
use wire::{JobState, JobView, LeaseView, TariffView, TaskResult, TaskState, TransferView};

use super::market::{FUNDS, Stage};
use super::work::Executed;

/// floor(price × billable fuel ÷ 10¹²), as the invoice's own documentation says it.
pub fn payment(usage: Usage, price: i64, tariff: &TariffView) -> i64 {
    let weighted = i128::from(usage.fuel) * i128::from(tariff.fuel_weight)
        + i128::from(usage.memory_page_fuel) * i128::from(tariff.memory_page_fuel_weight)
        + i128::from(usage.state_bytes) * i128::from(tariff.state_byte_weight)
        + i128::from(usage.traffic_bytes) * i128::from(tariff.traffic_byte_weight);
    let due = weighted * i128::from(price) / (i128::from(tariff.divisor) * 1_000_000_000_000);
    i64::try_from(due).unwrap()
}

/// What an account received for leases.
pub async fn settlements_to(owner: &Client) -> i64 {
    let transfers = owner.transfers().await.unwrap();
    transfers.iter().filter(|t| t.reason == "settlement").map(|t| t.amount_nanocredits).sum()
}

impl Stage {
    /// Checks a job that is done against `jusha exec`'s runs of the same tasks, and the whole
    /// ledger with it.
    pub async fn assert_settled(&self, view: &JobView, expected: &[&Executed]) {
        assert_eq!(view.state, JobState::Done, "{view:#?}");
        assert_eq!(view.tasks.len(), expected.len());
        for (task, expected) in view.tasks.iter().zip(expected) {
            assert_eq!(task.state, TaskState::Done, "{task:#?}");
            assert_eq!(task.usage, expected.usage, "not what exec uses: {task:#?}");
            let result: TaskResult = self.buyer.json_blob(task.result.unwrap()).await.unwrap();
            assert_eq!(result.outcome, expected.outcome());
            let stdout = self.buyer.blob(result.stdout).await.unwrap();
            assert_eq!(String::from_utf8(stdout).unwrap(), expected.ran.stdout);
        }
        self.assert_paid(view).await;
    }

    /// Checks that a job that is over was paid to the unit.
    pub async fn assert_paid(&self, view: &JobView) {
        let usage_of = credited(view);
        let invoice = self.buyer.invoice(view.job).await.unwrap();
        let leases: Vec<LeaseView> = self.buyer.leases().await.unwrap();
        let mut lines = BTreeMap::new();
        for line in &invoice.lines {
            let lease = leases.iter().find(|lease| lease.lease == line.lease).unwrap();
            let usage = usage_of.get(&line.lease).copied().unwrap_or(Usage::ZERO);
            assert_eq!(line.usage, usage, "{line:#?} of {view:#?}");
            assert_eq!(lease.usage, usage, "{lease:#?}");
            let due = payment(usage, line.price_nanocredits_per_tfuel, &invoice.tariff);
            assert_eq!(line.paid_nanocredits, due, "{line:#?}");
            assert_eq!(lease.paid_nanocredits, due, "{lease:#?}");
            assert_eq!((lease.job, lease.machine), (view.job, line.machine));
            assert_ne!(lease.state, "open", "{lease:#?}");
            let machine = self.machines.iter().find(|m| m.id == line.machine).unwrap();
            let price = line.price_nanocredits_per_tfuel;
            assert_eq!(price, lease.price_nanocredits_per_tfuel);
            // The resting order's: the ask's, or that of a bid that waited for it.
            let limit = view.max_price_nanocredits_per_tfuel;
            assert!(price == machine.price || price == limit, "{price} is neither side's");
            assert!(lines.insert(line.lease, due).is_none(), "twice on the invoice");
        }
        assert!(usage_of.keys().all(|lease| lines.contains_key(lease)), "work without a line");
        let paid: i64 = lines.values().sum();
        assert_eq!((invoice.total_nanocredits, view.paid_nanocredits), (paid, paid));
        self.assert_escrow_empty(view, paid).await;
        self.assert_earned().await;
        self.audit().await;
    }

    /// Set aside = paid + given back, transfer by transfer.
    async fn assert_escrow_empty(&self, view: &JobView, paid: i64) {
        let transfers = self.buyer.transfers().await.unwrap();
        let escrow = format!("escrow:{}", view.job);
        let sum = |reason: &str, side: fn(&TransferView) -> &String| -> i64 {
            transfers
                .iter()
                .filter(|transfer| transfer.reason == reason && *side(transfer) == escrow)
                .map(|transfer| transfer.amount_nanocredits)
                .sum()
        };
        assert_eq!(sum("hold", |t| &t.to), view.budget_nanocredits);
        assert_eq!(sum("settlement", |t| &t.from), paid);
        assert_eq!(sum("release", |t| &t.from), view.budget_nanocredits - paid);
    }

    /// Over all jobs, which are all over: what left the buyer is what reached the sellers.
    async fn assert_earned(&self) {
        let jobs = self.buyer.jobs().await.unwrap();
        let paid: i64 = jobs.iter().map(|job| job.paid_nanocredits).sum();
        let wallet = self.buyer.wallet().await.unwrap();
        assert_eq!(wallet.escrow_nanocredits, 0);
        assert_eq!(wallet.available_nanocredits, FUNDS - paid);
        let mut earned: BTreeMap<MachineId, i64> = BTreeMap::new();
        for lease in self.buyer.leases().await.unwrap() {
            *earned.entry(lease.machine).or_default() += lease.paid_nanocredits;
        }
        assert_eq!(earned.values().sum::<i64>(), paid);
        for machine in &self.machines {
            let of = |id| earned.get(&id).copied().unwrap_or(0);
            let view = machine.owner.machine(machine.id).await.unwrap();
            assert_eq!(view.earned_nanocredits, of(machine.id), "{}", machine.name);
            let own = self.machines.iter().filter(|other| other.token == machine.token);
            let sum: i64 = own.map(|own| of(own.id)).sum();
            let wallet = machine.owner.wallet().await.unwrap();
            assert_eq!(wallet.available_nanocredits, sum, "the owner of {}", machine.name);
            assert_eq!(settlements_to(&machine.owner).await, sum, "the owner of {}", machine.name);
        }
    }
}

/// Per lease the sum of its attempts' intervals, after checking that the intervals of each task
/// follow one another from nothing to all, without gap or overlap, under growing epochs.
fn credited(view: &JobView) -> BTreeMap<LeaseId, Usage> {
    let mut usage_of = BTreeMap::new();
    for task in &view.tasks {
        let (mut at, mut epoch) = (Usage::ZERO, 0);
        for attempt in &task.attempts {
            assert_eq!(attempt.from, at, "a gap or an overlap: {task:#?}");
            assert!(attempt.epoch > epoch, "{task:#?}");
            assert!(attempt.end.is_some() && attempt.ended_at_ms.is_some(), "{task:#?}");
            let interval = attempt.to.since(attempt.from).expect("an interval");
            let sum = usage_of.entry(attempt.lease).or_insert(Usage::ZERO);
            *sum = sum.plus(interval).unwrap();
            (at, epoch) = (attempt.to, attempt.epoch);
        }
        assert_eq!(at, task.usage, "the intervals do not reach the end: {task:#?}");
        let last = task.attempts.last().and_then(|attempt| attempt.end.as_deref());
        assert_eq!(last == Some("finished"), task.state == TaskState::Done, "{task:#?}");
    }
    usage_of
}
