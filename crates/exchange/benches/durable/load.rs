//! Commands as they come: mostly asks placed and withdrawn, and money.

use base::{AccountId, Digest, JobId, MachineId, TransferId};
use clearing::{Command, NewTask, TaskFigures};
use exchange::InProcess;
use market::TimeInForce;

/// Machines, each of an owner of its own.
const MACHINES: usize = 1_000;
/// Who pays.
pub const BUYER: AccountId = AccountId(1);
const INSTRUMENT: &str = "cpu.2g.any";

pub struct Load;

pub fn owner(n: usize) -> AccountId {
    AccountId(1_000 + n as u128)
}

pub fn machine(n: usize) -> MachineId {
    MachineId(1_000 + n as u128)
}

/// An account and a machine of its own, with slots for all of its asks.
pub async fn enrol(exchange: &InProcess, n: usize) {
    for command in [
        Command::OpenAccount { account: owner(n), name: format!("owner {n}") },
        Command::EnrolMachine {
            machine: machine(n),
            owner: owner(n),
            public_key: [7; 32],
            name: format!("machine {n}"),
        },
        Command::SetOffer {
            machine: machine(n),
            slots: 64,
            memory_mib_per_slot: 2_048,
            transforms: vec![1],
            region: String::new(),
        },
    ] {
        exchange.command(command).await.expect("it is accepted");
    }
}

/// A buyer with money.
pub async fn open_buyer(exchange: &InProcess) {
    let name = "buyer".to_owned();
    exchange.command(Command::OpenAccount { account: BUYER, name }).await.expect("it is accepted");
    let amount_nanocredits = 1_000_000 * base::NANOCREDITS_PER_CREDIT;
    let deposit = Command::Deposit { transfer: TransferId(1), account: BUYER, amount_nanocredits };
    exchange.command(deposit).await.expect("it is accepted");
}

pub fn ask(n: usize, client_order_id: String, quantity: u32, price: i64) -> Command {
    Command::PlaceAsk {
        machine: machine(n),
        client_order_id,
        instrument: INSTRUMENT.to_owned(),
        quantity,
        price_nanocredits_per_tfuel: price,
        market: false,
        time_in_force: TimeInForce::Gtc,
        post_only: false,
    }
}

/// A job of one task.
pub fn job(n: usize, price: i64) -> Command {
    let figures = TaskFigures {
        inbound_bytes: 1 << 20,
        output_max_bytes: 32 << 20,
        memory_max_pages: 512,
        segment_fuel: 1 << 28,
        fuel_max: base::TASK_FUEL_MAX,
    };
    Command::SubmitJob {
        account: BUYER,
        job: JobId(1 + n as u128),
        name: format!("job {n}"),
        instrument: INSTRUMENT.to_owned(),
        tasks: vec![NewTask { spec: Digest::of(&n.to_le_bytes()), figures }],
        max_price_nanocredits_per_tfuel: price,
        slots: 1,
        budget_nanocredits: 10_000_000,
        ask: None,
        filters: Default::default(),
    }
}

impl Load {
    pub async fn prepare(exchange: &InProcess) -> Load {
        open_buyer(exchange).await;
        let workers = (0..MACHINES).map(|n| {
            let exchange = exchange.clone();
            tokio::spawn(async move { enrol(&exchange, n).await })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await.expect("no panic");
        }
        Load
    }

    /// The command of that number. Of eight, four place an ask, two set a dead man's switch, one is
    /// a deposit and one submits a job, which takes the best ask there is: a fill, a lease and an
    /// attempt. All of them leave an entry.
    pub fn command(&self, number: usize) -> Command {
        let n = number / 8 % MACHINES;
        match number % 8 {
            0 | 2 | 4 | 6 => {
                let price = 300_000 + 100 * (number / 2 % 500) as i64;
                ask(n, format!("ask {number}"), 1, price)
            }
            1 | 5 => {
                // Far from the one before: the same time again would be no entry.
                let after_ms = 60_000 + 1_000_000 * (number as i64 % 8) + number as i64 % 1_000;
                Command::CancelAfter { account: owner(n), after_ms }
            }
            3 => Command::Deposit {
                transfer: TransferId(2 + number as u128),
                account: owner(n),
                amount_nanocredits: 1_000,
            },
            _ => job(number, 400_000),
        }
    }
}
