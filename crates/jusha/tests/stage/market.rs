//! An exchange, machines and a buyer: separate processes, as they would be on other computers.

use base::{AccountId, Digest, JobId, MachineId, NANOCREDITS_PER_CREDIT, TransferId};
use client::{Client, Patience};
use nix::unistd::Pid;
use wire::{JobView, LedgerAudit, NewDeposit, NewJob};

use super::process::{GUARD, Process, until};
use super::scene::Scene;
use super::work::Work;

/// What is bought.
pub const INSTRUMENT: &str = provider::INSTRUMENT;
/// What the buyer begins with.
pub const FUNDS: i64 = 1_000 * NANOCREDITS_PER_CREDIT;
/// High enough for every test's machines, and for a nanocredit to be a small piece of work: so
/// rounding shows.
pub const MAX_PRICE: i64 = 400_000_000;
/// Set aside for a job.
pub const BUDGET: i64 = 10 * NANOCREDITS_PER_CREDIT;

/// The exchange's patience, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Of silence.
    pub lapse_ms: u64,
    /// After a machine's connection closed.
    pub grace_ms: u64,
    /// With what is over: how long it stays in memory.
    pub keep_ended_ms: u64,
}

impl Pace {
    /// A busy computer makes nobody lapse by silence, and what is killed lapses soon. What is over
    /// is looked at in memory and in the database.
    pub const QUICK: Pace = Pace { lapse_ms: 60_000, grace_ms: 300, keep_ended_ms: 500 };
    /// Nobody lapses.
    pub const PATIENT: Pace = Pace { lapse_ms: 600_000, grace_ms: 600_000, keep_ended_ms: 600_000 };
}

/// See the module.
pub struct Stage {
    /// Where the exchange is; it stays there when it is restarted.
    pub url: String,
    /// The operator.
    pub operator: Client,
    /// Who buys.
    pub buyer: Client,
    /// Its account.
    pub account: AccountId,
    /// Its token.
    pub token: String,
    /// Who sells.
    pub machines: Vec<Machine>,
    pace: Pace,
    exchange: Option<Process>,
    /// Its files. Dropped last, after the processes that write them.
    pub scene: Scene,
}

/// A machine and its owner.
pub struct Machine {
    /// Its name, and that of its directory.
    pub name: &'static str,
    /// Whose it is.
    pub owner: Client,
    /// The owner's token.
    pub token: String,
    /// Its id.
    pub id: MachineId,
    /// What it asks.
    pub price: i64,
    slots: u32,
    /// Options of its own.
    more: Vec<String>,
    process: Option<Process>,
}

impl Stage {
    /// An exchange and a buyer.
    pub async fn new(pace: Pace) -> Stage {
        Stage::on(Scene::new(), pace).await
    }

    /// The same among files that are there already.
    pub async fn on(scene: Scene, pace: Pace) -> Stage {
        let (exchange, url) = start_exchange(&scene, pace, "127.0.0.1:0").await;
        let token = scene.read(&format!("exchange/{}", exchange::OPERATOR_TOKEN_FILE));
        let operator = Client::new(&url, &token).unwrap();
        let opened = operator.open_account("buyer").await.unwrap();
        let deposit = NewDeposit {
            account: opened.account,
            amount_nanocredits: FUNDS,
            transfer: TransferId(1),
        };
        operator.deposit(&deposit).await.unwrap();
        Stage {
            buyer: Client::new(&url, &opened.token).unwrap(),
            account: opened.account,
            token: opened.token,
            scene,
            url,
            operator,
            machines: Vec::new(),
            pace,
            exchange: Some(exchange),
        }
    }

    /// One with three machines of one slot each, of three owners, at three prices.
    pub async fn with_machines(pace: Pace) -> Stage {
        let mut stage = Stage::new(pace).await;
        for (name, price) in [("ant", 123_456_700), ("bee", 234_567_800), ("cicada", 345_678_900)] {
            stage.add_machine(name, price, 1).await;
        }
        stage
    }

    /// Starts one more machine of an owner of its own, and waits for its offer.
    pub async fn add_machine(&mut self, name: &'static str, price: i64, slots: u32) {
        let opened = self.operator.open_account(&format!("owner of {name}")).await.unwrap();
        self.add_machine_of(&opened.token, name, price, slots).await;
    }

    /// Starts one more machine of the owner with this token, and waits for its offer.
    pub async fn add_machine_of(
        &mut self,
        token: &str,
        name: &'static str,
        price: i64,
        slots: u32,
    ) {
        self.add_machine_with(token, name, price, slots, &[]).await;
    }

    /// The same with more options.
    pub async fn add_machine_with(
        &mut self,
        token: &str,
        name: &'static str,
        price: i64,
        slots: u32,
        more: &[&str],
    ) {
        // In the stage's instrument alone, so that nothing moves any more once it is offered there.
        let more = [more, &["--instrument", INSTRUMENT]].concat();
        self.join_machine(token, name, price, slots, &more).await;
        self.all_offered().await;
    }

    /// Starts one that is offered wherever it qualifies.
    pub async fn join_machine(
        &mut self,
        token: &str,
        name: &'static str,
        price: i64,
        slots: u32,
        more: &[&str],
    ) {
        let (owner, token) = (Client::new(&self.url, token).unwrap(), token.to_owned());
        let others = owner.machines().await.unwrap();
        let join = owner.join_code().await.unwrap().join;
        let more: Vec<String> = more.iter().map(|option| (*option).to_owned()).collect();
        let process = Some(start_machine(&self.scene, name, price, slots, &more, Some(&join)));
        let id = until("enrolment", async || {
            let mut machines = owner.machines().await.unwrap().into_iter().map(|m| m.machine);
            machines.find(|machine| others.iter().all(|other| other.machine != *machine))
        })
        .await;
        self.machines.push(Machine { name, owner, token, id, price, slots, more, process });
    }

    /// Restarts the machines that are gone, and waits until every slot is offered: nothing of
    /// an earlier job is left.
    pub async fn all_offered(&mut self) {
        for machine in &mut self.machines {
            machine.restart(&self.scene);
        }
        let slots: u32 = self.machines.iter().map(|machine| machine.slots).sum();
        until("every slot in the book", async || {
            let book = self.operator.book(INSTRUMENT).await.unwrap();
            let offered: u64 = book.asks.iter().map(|level| level.quantity).sum();
            (offered == u64::from(slots) && book.bids.is_empty()).then_some(())
        })
        .await;
    }

    /// The machine of that id.
    pub fn machine(&mut self, id: MachineId) -> &mut Machine {
        self.machines.iter_mut().find(|machine| machine.id == id).unwrap()
    }

    /// Starts a machine again, if it doesn't run.
    pub fn restart(&mut self, id: MachineId) {
        let machine = self.machines.iter_mut().find(|machine| machine.id == id);
        machine.unwrap().restart(&self.scene);
    }

    /// SIGKILL to the exchange.
    pub async fn kill_exchange(&mut self) {
        self.exchange.take().expect("a running exchange").kill().await;
    }

    /// SIGTERM to the exchange, which ends well.
    pub async fn stop_exchange(&mut self) {
        let exchange = self.exchange.take().expect("a running exchange");
        exchange.terminate();
        assert!(exchange.exit().await.success());
    }

    /// Starts the exchange again on its data, at its address.
    pub async fn restart_exchange(&mut self) {
        let address = self.url.strip_prefix("http://").unwrap();
        let (exchange, url) = start_exchange(&self.scene, self.pace, address).await;
        assert_eq!(url, self.url);
        self.exchange = Some(exchange);
    }

    /// The buyer's command.
    pub fn buy(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = self.scene.jusha(args);
        command.env("JUSHA_URL", &self.url).env("JUSHA_TOKEN", &self.token);
        command
    }

    /// A job of these tasks, not yet submitted.
    pub fn job(&self, id: u128, works: &[Work], slots: u32) -> NewJob {
        let specs = works.iter().map(|work| {
            let (spec, _) = work.blobs();
            Digest::of(&serde_json::to_vec(&spec).unwrap())
        });
        NewJob {
            job: JobId(id),
            name: format!("job {id}"),
            instrument: INSTRUMENT.to_owned(),
            tasks: specs.collect(),
            max_price_nanocredits_per_tfuel: MAX_PRICE,
            slots,
            budget_nanocredits: BUDGET,
            ask: None,
            filters: Default::default(),
        }
    }

    /// The proof that no money was made or lost, and that the journal gives the same state.
    pub async fn audit(&self) -> LedgerAudit {
        let audit = self.operator.audit().await.unwrap();
        assert_eq!(audit.sum_nanocredits, 0, "{audit:?}");
        assert_eq!(audit.mismatched_accounts, [] as [String; 0], "{audit:?}");
        assert_eq!(audit.negative_accounts, [] as [String; 0], "{audit:?}");
        assert_eq!(audit.replayed_digest, audit.state_digest, "{audit:?}");
        audit
    }
}

/// Uploads and submits, again and again until it is answered, as every client does.
pub async fn submit(buyer: &Client, works: &[Work], job: &NewJob) -> JobView {
    let blobs: Vec<Vec<u8>> = works.iter().flat_map(|work| work.blobs().1).collect();
    let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    let patience = Patience::For(GUARD);
    patience.ask(|_| (), || buyer.store(&blobs)).await.unwrap();
    patience.ask(|_| (), || buyer.submit(job)).await.unwrap()
}

impl Machine {
    /// Whether its agent runs.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Its agent's process.
    pub fn process_id(&self) -> Pid {
        self.process.as_ref().expect("a running machine").id()
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        self.process.take().expect("a running machine").kill().await;
    }

    /// SIGTERM, and waits until it has drained.
    pub async fn drain(&mut self) {
        let process = self.process.take().expect("a running machine");
        process.terminate();
        let status = process.exit().await;
        assert_eq!(status.code(), Some(0), "{}: {status}", self.name);
    }

    fn restart(&mut self, scene: &Scene) {
        if self.process.is_none() {
            let (price, slots) = (self.price, self.slots);
            let process = start_machine(scene, self.name, price, slots, &self.more, None);
            self.process = Some(process);
        }
    }
}

async fn start_exchange(scene: &Scene, pace: Pace, listen: &str) -> (Process, String) {
    let (lapse, grace) = (pace.lapse_ms.to_string(), pace.grace_ms.to_string());
    let data = scene.arg("exchange");
    let command = scene.jusha(&[
        "exchange",
        "--data",
        &data,
        "--listen",
        listen,
        "--heartbeat-ms",
        "50",
        "--lapse-ms",
        &lapse,
        "--reconnect-grace-ms",
        &grace,
        "--probe-ms",
        "100",
        "--keep-ended-ms",
        &pace.keep_ended_ms.to_string(),
    ]);
    let mut process = Process::start(command, &scene.path("exchange.log"));
    let line = process.line().await;
    let url = line.strip_prefix("listening on ").unwrap_or_else(|| {
        panic!("the exchange said {line:?}; its log: {}", scene.read("exchange.log"))
    });
    (process, url.to_owned())
}

fn start_machine(
    scene: &Scene,
    name: &str,
    price: i64,
    slots: u32,
    more: &[String],
    join: Option<&str>,
) -> Process {
    let (data, price, slots) = (scene.arg(name), format!("{price}n"), slots.to_string());
    let mut args = vec!["provide", "--data", &data, "--name", name];
    if !more.iter().any(|option| option == "--root") {
        args.push("--always");
    }
    args.extend(["--price", &price, "--slots", &slots, "--checkpoint-interval-ms", "50"]);
    args.extend(more.iter().map(String::as_str));
    args.extend(join);
    Process::start(scene.jusha(&args), &scene.path(&format!("{name}.log")))
}
