//! A small world for the tests: commands go through [`World::run`], which checks every
//! invariant after each one.
#![allow(dead_code, reason = "each test file uses its own part of it")]

pub mod invariants;

use base::{AccountId, AttemptId, Digest, JobId, LeaseId, MachineId, OrderId, TransferId, Usage};
use clearing::{
    AttemptEnd, AttemptToRun, Command, Context, Event, NewTask, Rejection, State, TaskFigures,
    apply,
};

/// The default price of tests.
pub const PRICE: i64 = 300_000;
/// The default instrument of tests.
pub const INSTRUMENT: &str = "cpu.2g.any";
/// A tenth of a credit.
pub const BUDGET: i64 = 100_000_000;
/// The buyer.
pub const BUYER: AccountId = AccountId(1);
/// What the buyer begins with: 10 credits.
pub const DEPOSIT: i64 = 10_000_000_000;

/// What a task of tests can use.
pub const FIGURES: TaskFigures = TaskFigures {
    inbound_bytes: 1 << 20,
    output_max_bytes: 32 << 20,
    memory_max_pages: 512,
    segment_fuel: 1 << 28,
    fuel_max: base::TASK_FUEL_MAX,
};

/// The most that changes at a boundary of such a task.
pub const STATE_MAX: u64 = (32 << 20) + (32 << 20) + (16 << 20);

pub fn task(name: &[u8]) -> NewTask {
    NewTask { spec: Digest::of(name), figures: FIGURES }
}

pub struct World {
    pub state: State,
    pub now_ms: i64,
    pub sequence: u64,
    pub history: invariants::History,
}

/// A seller's account.
pub fn seller(n: u128) -> AccountId {
    AccountId(100 + n)
}

/// A machine; machine `n` belongs to seller `n`.
pub fn machine(n: u128) -> MachineId {
    MachineId(200 + n)
}

pub fn fuel(fuel: u64) -> Usage {
    Usage { fuel, ..Usage::ZERO }
}

pub fn code(result: Result<Vec<Event>, Rejection>) -> &'static str {
    match result {
        Ok(events) if events.is_empty() => "nothing",
        Ok(_) => "ok",
        Err(rejection) => rejection.code(),
    }
}

impl World {
    /// Accounts, machines with `slots` slots of 2 GiB each, and money; no orders.
    pub fn new(machines: u128, slots: u32) -> Self {
        let (state, history) = (State::default(), Default::default());
        let mut world = World { state, now_ms: 1_000_000, sequence: 0, history };
        world.ok(Command::OpenAccount { account: BUYER, name: "buyer".into() });
        world.ok(Command::Deposit {
            transfer: TransferId(1),
            account: BUYER,
            amount_nanocredits: DEPOSIT,
        });
        for n in 0..machines {
            world.ok(Command::OpenAccount { account: seller(n), name: format!("seller {n}") });
            world.ok(Command::EnrolMachine {
                machine: machine(n),
                owner: seller(n),
                public_key: [n as u8; 32],
                name: format!("machine {n}"),
            });
            world.offer(n, slots);
        }
        world
    }

    /// Runs a command and checks everything: a rejection changes nothing, the events fold to
    /// the same state, and every invariant holds.
    pub fn run(&mut self, command: Command) -> Result<Vec<Event>, Rejection> {
        self.sequence += 1;
        let context = Context { now_ms: self.now_ms, sequence: self.sequence };
        let before = self.state.clone();
        let result = apply(&mut self.state, context, &command);
        match &result {
            Err(rejection) => {
                assert!(before == self.state, "{command:?} was rejected and changed the state");
                assert!(!rejection.to_string().is_empty());
            }
            Ok(events) => {
                self.history.follow(events);
                let mut folded = before;
                for event in events {
                    if let Event::Forgotten { ended } = event {
                        self.history.forget(&folded, ended);
                    }
                    folded.evolve(event);
                }
                assert_eq!(folded.digest(), self.state.digest(), "{command:?}");
            }
        }
        invariants::check(&self.state, &self.history);
        result
    }

    pub fn ok(&mut self, command: Command) -> Vec<Event> {
        let text = format!("{command:?}");
        self.run(command).unwrap_or_else(|rejection| panic!("{text}: {rejection}"))
    }

    pub fn offer(&mut self, n: u128, slots: u32) -> Vec<Event> {
        self.ok(Command::SetOffer {
            machine: machine(n),
            slots,
            memory_mib_per_slot: 2048,
            transforms: vec![1],
            region: String::new(),
        })
    }

    pub fn ask_command(&self, n: u128, quantity: u32, price: i64) -> Command {
        Command::PlaceAsk {
            machine: machine(n),
            client_order_id: format!("ask {}", self.sequence),
            instrument: INSTRUMENT.into(),
            quantity,
            price_nanocredits_per_tfuel: price,
            market: false,
            time_in_force: Default::default(),
            post_only: false,
        }
    }

    pub fn ask(&mut self, n: u128, quantity: u32, price: i64) -> OrderId {
        let events = self.ok(self.ask_command(n, quantity, price));
        match &events[0] {
            Event::AskPlaced { order, .. } => *order,
            other => panic!("{other:?}"),
        }
    }

    pub fn job_command(&self, job: u128, tasks: u8, slots: u32, budget: i64) -> Command {
        Command::SubmitJob {
            account: BUYER,
            job: JobId(job),
            name: format!("job {job}"),
            instrument: INSTRUMENT.into(),
            tasks: (0..tasks).map(|n| task(&[n])).collect(),
            max_price_nanocredits_per_tfuel: PRICE,
            slots,
            budget_nanocredits: budget,
            ask: None,
            filters: Default::default(),
        }
    }

    pub fn submit(&mut self, job: u128, tasks: u8, slots: u32) -> JobId {
        self.ok(self.job_command(job, tasks, slots, BUDGET));
        JobId(job)
    }

    /// What a machine is to run.
    pub fn running(&self, n: u128) -> Vec<AttemptToRun> {
        self.state.machine_live_attempts(machine(n)).collect()
    }

    /// The only thing that a machine runs.
    pub fn only(&self, n: u128) -> AttemptToRun {
        let running = self.running(n);
        assert_eq!(running.len(), 1, "{running:?}");
        running.into_iter().next().unwrap()
    }

    /// The command of the next receipt of an attempt.
    pub fn receipt_command(
        &self,
        attempt: &AttemptToRun,
        usage: Usage,
        ended: Option<AttemptEnd>,
    ) -> Command {
        let checkpoint = match ended {
            Some(AttemptEnd::Finished { .. } | AttemptEnd::Fault { .. }) => None,
            _ => Some(Digest::of(format!("checkpoint {usage:?}").as_bytes())),
        };
        receipt(
            attempt.machine,
            attempt.lease,
            attempt.attempt,
            attempt.epoch,
            self.state.attempt(attempt.attempt).unwrap().receipt_sequence + 1,
            usage,
            checkpoint,
            ended,
        )
    }

    pub fn receipt(
        &mut self,
        attempt: &AttemptToRun,
        usage: Usage,
        ended: Option<AttemptEnd>,
    ) -> Result<Vec<Event>, Rejection> {
        self.run(self.receipt_command(attempt, usage, ended))
    }
}

pub fn finished() -> Option<AttemptEnd> {
    Some(AttemptEnd::Finished { result: Digest::of(b"result") })
}

#[allow(clippy::too_many_arguments)]
pub fn receipt(
    machine: MachineId,
    lease: LeaseId,
    attempt: AttemptId,
    epoch: u64,
    receipt_sequence: u64,
    usage: Usage,
    checkpoint: Option<Digest>,
    ended: Option<AttemptEnd>,
) -> Command {
    let signed = format!("{attempt} {epoch} {receipt_sequence} {usage:?} {checkpoint:?} {ended:?}");
    Command::AcceptReceipt {
        machine,
        lease,
        attempt,
        epoch,
        receipt_sequence,
        receipt_digest: Digest::of(signed.as_bytes()),
        usage,
        chain_head: Digest::of(b"chain"),
        checkpoint,
        ended,
    }
}
