//! The exchange is killed around the commits of commands of every kind: whoever asks goes on asking
//! until there is an answer, and in the end each thing was done exactly once.

use std::time::Duration;

use base::{AccountId, MachineId, NANOCREDITS_PER_CREDIT, TransferId};
use client::{Client, ClientError, Patience};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::{
    FixedLeaseState, JobState, NewDeposit, NewFees, NewFixedLease, NewFixedOffer, NewJob, NewOrder,
    NewPayment, PaymentDecision, PaymentDirection, PaymentStatus, TimeInForce, TopUp,
};

use crate::stage::{BUDGET, FUNDS, GUARD, Pace, Random, Seeds, Stage, Work, submit};

/// What a unit costs for an hour; ten of these bonds are little beside what the owner has.
const HOUR: i64 = 1_000_000;
/// Between the machine's asks and the job that nobody takes.
const TOO_LITTLE: i64 = 100_000;

/// Asks until it is answered, whatever becomes of the exchange meanwhile, and counts the answer.
struct Asking {
    operator: Client,
    buyer: Client,
    owner: Client,
    account: AccountId,
    machine: MachineId,
    /// Makes ids of this round's own.
    round: u64,
    answered: watch::Sender<u64>,
}

impl Asking {
    async fn once<T, F>(&self, what: &str, request: impl FnMut() -> F) -> T
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let answer = Patience::For(GUARD).ask(|_| (), request).await;
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        self.answered.send_modify(|count| *count += 1);
        answer
    }

    fn id(&self, what: &str) -> String {
        format!("{what} {}", self.round)
    }

    async fn pay(&self, what: &str, direction: PaymentDirection, steps: &[PaymentDecision]) {
        let new = NewPayment {
            client_payment_id: self.id(what),
            direction,
            amount_nanocredits: NANOCREDITS_PER_CREDIT,
        };
        let payment = self.once(what, || self.buyer.request_payment(&new)).await.payment;
        for step in steps {
            self.once(what, || self.operator.decide_payment(payment, step)).await;
        }
        if steps.is_empty() {
            self.once(what, || self.buyer.cancel_payment(payment)).await;
        }
    }

    async fn deposits(&self) {
        for n in 0..3 {
            let deposit = NewDeposit {
                account: self.account,
                amount_nanocredits: NANOCREDITS_PER_CREDIT,
                transfer: TransferId(u128::from(self.round << 8 | n) + 1_000),
            };
            self.once("deposit", || self.operator.deposit(&deposit)).await;
        }
    }

    /// A job that waits, gets more money, and is cancelled.
    async fn waiting_job(&self, works: &[Work], job: NewJob) {
        submit(&self.buyer, works, &job).await;
        let transfer = TransferId(u128::from(self.round));
        let more = TopUp { amount_nanocredits: 77, transfer };
        self.once("top-up", || self.buyer.top_up(job.job, &more)).await;
        let over = self.once("cancel", || self.buyer.cancel_job(job.job)).await;
        assert_eq!((over.state, over.paid_nanocredits), (JobState::Cancelled, 0));
        assert_eq!(over.budget_nanocredits, BUDGET + 77, "topped up once");
    }

    /// A job that is done: leases, attempts, receipts.
    async fn worked_job(&self, works: &[Work], job: NewJob) {
        submit(&self.buyer, works, &job).await;
        let over = self.once("a result", || self.buyer.wait(job.job)).await;
        assert_eq!(over.state, JobState::Done);
        let attempts = over.tasks.iter().map(|task| task.attempts.len()).max();
        assert_eq!(attempts, Some(1), "an exchange that dies costs nobody an attempt");
    }

    async fn orders(&self) {
        for n in 0..3 {
            let new = NewOrder {
                client_order_id: self.id(&format!("order {n}")),
                machine: self.machine,
                // Not the agent's, which withdraws what it doesn't know in its own.
                instrument: "cpu.512m.any".to_owned(),
                quantity: 1,
                price_nanocredits_per_tfuel: Some(900_000_000),
                time_in_force: TimeInForce::Gtc,
                expires_at_ms: None,
                post_only: false,
            };
            let order = self.once("order", || self.owner.place_order(&new)).await.order;
            if n == 0 {
                self.once("cancel", || self.owner.cancel_order(order)).await;
            }
        }
        self.once("switch", || self.owner.cancel_after(600_000)).await;
        self.once("cancel all", || self.owner.cancel_orders(Some("cpu.512m.any"))).await;
        self.once("switch", || self.owner.cancel_after(0)).await;
    }

    async fn lease(&self) {
        let new = NewFixedLease {
            client_lease_id: self.id("hour"),
            instrument: "test.fixed".to_owned(),
            limit_nanocredits_per_hour: HOUR,
        };
        let lease = self.once("lease", || self.buyer.open_fixed_lease(&new)).await.lease;
        let noticed = self.once("notice", || self.buyer.close_fixed_lease(lease)).await;
        assert!(noticed.ends_at_ms.is_some());
    }

    async fn fees(&self) -> u32 {
        let basis_points = 1 + (self.round % 50) as u32;
        let new =
            NewFees { maker_basis_points: basis_points, taker_basis_points: basis_points + 1 };
        self.once("fees", || self.operator.set_fees(&new)).await.version
    }
}

/// One round of everything, during which the exchange is killed `kills` times.
async fn round(stage: &mut Stage, random: &mut Random, number: u64, owner: &Client) {
    let machine = stage.machines[0].id;
    let (answered, seen) = watch::channel(0);
    let asking = || Asking {
        operator: stage.operator.clone(),
        buyer: stage.buyer.clone(),
        owner: owner.clone(),
        account: stage.account,
        machine,
        round: number,
        answered: answered.clone(),
    };
    let works = [Work::new("noop", &[])];
    let waits = NewJob {
        max_price_nanocredits_per_tfuel: TOO_LITTLE,
        ..stage.job(u128::from(2 * number), &works, 1)
    };
    let worked = stage.job(u128::from(2 * number + 1), &works, 1);
    let reason = || "as it is".to_owned();
    let mut all = JoinSet::new();
    use PaymentDecision::{Approve, Fail, Refuse, Settle};
    use PaymentDirection::{Deposit, Withdrawal};
    let payments = [
        ("out", Withdrawal, vec![Approve, Settle { reference: reason() }]),
        ("out, refused", Withdrawal, vec![Refuse { reason: reason() }]),
        ("out, failed", Withdrawal, vec![Approve, Fail { reason: reason() }]),
        ("out, cancelled", Withdrawal, vec![]),
        ("in", Deposit, vec![Approve, Settle { reference: reason() }]),
    ];
    for (what, direction, steps) in payments {
        let asking = asking();
        all.spawn(async move { asking.pay(what, direction, &steps).await });
    }
    let (one, two, three, four) = (asking(), asking(), asking(), asking());
    let (five, six) = (asking(), asking());
    all.spawn(async move { one.deposits().await });
    let jobs = works.clone();
    all.spawn(async move { two.waiting_job(&jobs, waits).await });
    all.spawn(async move { three.worked_job(&works, worked).await });
    all.spawn(async move { four.orders().await });
    all.spawn(async move { five.lease().await });
    all.spawn(async move { assert_eq!(six.fees().await, number as u32, "a version each") });

    let (kills, mut seen) = (random.of(1..3), seen);
    for _ in 0..kills {
        let at = *seen.borrow() + random.of(0..12);
        // Fewer may be left to come.
        let _ = tokio::time::timeout(Duration::from_secs(1), seen.wait_for(|n| *n >= at)).await;
        for _ in 0..random.of(0..4) {
            stage.operator.exchange().await.unwrap();
        }
        stage.kill_exchange().await;
        stage.restart_exchange().await;
    }
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_command_is_done_once_whenever_the_exchange_is_killed() {
    let seeds = Seeds::new(
        "crashes every_kind_of_command_is_done_once_whenever_the_exchange_is_killed",
        "JUSHA_LOOPS",
        10,
    );
    let pace = Pace { keep_ended_ms: 500, ..Pace::PATIENT };
    let mut stage = Stage::new(pace).await;
    stage.add_machine("ant", 123_456_700, 2).await;
    let owner = stage.machines[0].owner.clone();
    let account = owner.wallet().await.unwrap().account;
    let transfer = TransferId(2);
    let bonds = NewDeposit { account, amount_nanocredits: FUNDS, transfer };
    stage.operator.deposit(&bonds).await.unwrap();
    let offer = NewFixedOffer {
        instrument: "test.fixed".to_owned(),
        units: 1_000,
        price_nanocredits_per_hour: HOUR,
    };
    owner.offer_fixed(stage.machines[0].id, &offer).await.unwrap();

    let mut rounds = 0;
    for (seed, _rerun) in seeds.each() {
        rounds += 1;
        eprintln!("seed {seed}, round {rounds}");
        round(&mut stage, &mut Random::new(seed), rounds, &owner).await;
    }

    let payments = stage.buyer.payments().await.unwrap();
    let count = |status| payments.iter().filter(|payment| payment.status == status).count() as u64;
    assert_eq!(payments.len() as u64, 5 * rounds, "each asked for once");
    assert_eq!(count(PaymentStatus::Settled), 2 * rounds);
    for status in [PaymentStatus::Refused, PaymentStatus::Failed, PaymentStatus::Cancelled] {
        assert_eq!(count(status), rounds);
    }
    assert_eq!(stage.buyer.jobs().await.unwrap().len() as u64, 2 * rounds);
    let placed = owner.orders().await.unwrap();
    let placed = placed.iter().filter(|order| order.client_order_id.starts_with("order "));
    assert_eq!(placed.count() as u64, 3 * rounds);
    let leases = stage.buyer.fixed_leases().await.unwrap();
    assert_eq!(leases.len() as u64, rounds);
    let paid: i64 = stage.buyer.jobs().await.unwrap().iter().map(|job| job.paid_nanocredits).sum();
    let mut spent = 0;
    for job in stage.buyer.jobs().await.unwrap() {
        spent += stage.buyer.invoice(job.job).await.unwrap().total_nanocredits;
    }
    assert!(spent >= paid && paid > 0, "the fees are on top: {spent} {paid}");
    for lease in &leases {
        spent += lease.prepaid_nanocredits - lease.refunded_nanocredits;
        spent -= lease.compensated_nanocredits;
        // What is still set aside is still the buyer's.
        if lease.state != FixedLeaseState::Closed {
            spent -= lease.prepaid_nanocredits;
        }
    }
    let wallet = stage.buyer.wallet().await.unwrap();
    let has =
        wallet.available_nanocredits + wallet.escrow_nanocredits + wallet.outgoing_nanocredits;
    // Three deposits a round; what was paid in and out is as much.
    assert_eq!(has, FUNDS + 3 * rounds as i64 * NANOCREDITS_PER_CREDIT - spent);
    stage.audit().await;
}
