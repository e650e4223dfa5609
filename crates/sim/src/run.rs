//! One run: who does what when, what the network makes of it, and what must hold at the end.

use std::collections::BTreeMap;

use base::{AccountId, AttemptId, JobId, MachineId, TaskId, TransferId};
use clearing::fixed::{FixedCommand, FixedEvent, TEST_FIXED, fixed_lease_id};
use clearing::payments::{PaymentCommand, PaymentDirection, PaymentEvent, PaymentPhase};
use clearing::{AttemptToRun, Command, Event, JobPhase, LeaseEnd};

use crate::agent::{Agent, Welcome};
use crate::disk::Disk;
use crate::exchange::{Death, Exchange, Outcome};
use crate::network::{End, Network};
use crate::program;
use crate::random::Random;
use crate::report::Report;

const INSTRUMENT: &str = "cpu.2g.any";
pub(crate) const MACHINES: usize = 4;
const SLOTS: u32 = 2;
const BUYERS: [AccountId; 2] = [AccountId(1), AccountId(2)];
const JOBS: u64 = 10;
const BEGIN_MS: i64 = 1_000_000;
/// How long things go wrong.
const STORM_MS: i64 = 120_000;
/// By then everything is over, or something hangs.
const END_MS: i64 = 6 * 3_600_000;

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
enum Who {
    Agent(usize),
    Client(u64),
}

enum ToAgent {
    Welcome(Welcome),
    Start(AttemptToRun),
    Stop(AttemptId),
}

enum Happening {
    Request(Who, Command),
    Heartbeat(usize),
    Told(usize, ToAgent),
    Answered(u64),
    AgentTurn(usize),
    ClientsTurn,
    OperatorTurn,
    Round,
    Weather,
    ExchangeStarts,
}

struct World {
    random: Random,
    now_ms: i64,
    /// What the exchange's clock says beyond the truth.
    clock_offset_ms: i64,
    exchange: Exchange,
    agents: Vec<Agent>,
    network: Network,
    waiting: Vec<(Option<Who>, Command)>,
    /// Clients' commands without an answer: asked again, as they are.
    unanswered: BTreeMap<u64, Command>,
    requests: u64,
    jobs: u64,
    death: Option<Death>,
    happenings: BTreeMap<(i64, u64), Happening>,
    count: u64,
    report: Report,
}

/// Runs a seed; panics with what does not hold.
pub fn run(seed: u64) -> Report {
    played(seed).report
}

/// The journal of a seed's run: a line of JSON for each entry.
pub fn journal(seed: u64) -> String {
    played(seed).exchange.disk.lines()
}

fn played(seed: u64) -> World {
    let mut world = World::new(seed);
    world.set_up();
    world.go();
    world.check_end();
    world.report.commands = world.exchange.decided;
    world.report.entries = world.exchange.disk.committed();
    world.report.recoveries = world.exchange.recoveries;
    world.report.forgotten = world.exchange.forgotten;
    world.report.splits = world.network.splits;
    world.report.one_way = world.network.one_way;
    world
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let agents = (0..MACHINES)
            .map(|n| {
                // One of them buys, too.
                let owner = if n == MACHINES - 1 { BUYERS[1] } else { AccountId(100 + n as u128) };
                let machine = MachineId(200 + n as u128);
                Agent::new(machine, owner, 100_000 * random.range(1, 4), n == 0)
            })
            .collect();
        World {
            random,
            now_ms: BEGIN_MS,
            clock_offset_ms: 0,
            exchange: Exchange::new(Disk::default(), BEGIN_MS),
            agents,
            network: Network::default(),
            waiting: Vec::new(),
            unanswered: BTreeMap::new(),
            requests: 0,
            jobs: 0,
            death: None,
            happenings: BTreeMap::new(),
            count: 0,
            report: Report::default(),
        }
    }

    fn set_up(&mut self) {
        let mut commands = Vec::new();
        for account in BUYERS {
            commands.push(Command::OpenAccount { account, name: format!("{account}") });
            let transfer = TransferId(account.0);
            let amount_nanocredits = 10_000_000_000;
            commands.push(Command::Deposit { transfer, account, amount_nanocredits });
        }
        for agent in &self.agents {
            let (machine, owner) = (agent.machine, agent.owner);
            commands.push(Command::OpenAccount { account: owner, name: format!("{owner}") });
            // For bonds.
            let transfer = TransferId(machine.0);
            let amount_nanocredits = 5_000_000_000;
            commands.push(Command::Deposit { transfer, account: owner, amount_nanocredits });
            let (public_key, name) = ([machine.0 as u8; 32], format!("{machine}"));
            commands.push(Command::EnrolMachine { machine, owner, public_key, name });
            commands.push(offer(machine, SLOTS));
        }
        self.waiting = commands.into_iter().map(|command| (None, command)).collect();
        for agent in 0..MACHINES {
            self.after(agent as i64, Happening::AgentTurn(agent));
        }
        self.after(1, Happening::Round);
        self.after(10, Happening::ClientsTurn);
        self.after(20, Happening::OperatorTurn);
        self.after(2_000, Happening::Weather);
    }

    fn stormy(&self) -> bool {
        self.now_ms < BEGIN_MS + STORM_MS
    }

    fn after(&mut self, delay_ms: i64, happening: Happening) {
        self.count += 1;
        self.happenings.insert((self.now_ms + delay_ms.max(0), self.count), happening);
    }

    /// Over the network: late, out of order, twice or never.
    fn send(&mut self, copies: impl Fn() -> Happening) {
        if !self.stormy() {
            return self.after(5, copies());
        }
        let times = match self.random.below(12) {
            0 => 0,
            1 => 2,
            _ => 1,
        };
        for _ in 0..times {
            let late = if self.random.one_in(10) { 4_000 } else { 50 };
            let delay = self.random.range(1, late);
            self.after(delay, copies());
        }
    }

    fn go(&mut self) {
        while let Some(((at_ms, _), happening)) = self.happenings.pop_first() {
            self.now_ms = at_ms;
            assert!(at_ms < END_MS, "something hangs: {}", self.what_hangs());
            if !self.stormy() && self.all_over() {
                return;
            }
            self.happen(happening);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Request(who, command) => {
                let end = match who {
                    Who::Agent(agent) => End::Agent(agent),
                    Who::Client(_) => End::Clients,
                };
                if !self.network.reaches_exchange(end, self.now_ms) {
                    return;
                }
                if let Who::Agent(agent) = who
                    && self.exchange.up
                {
                    // Whatever it says is a sign of life.
                    self.exchange.hear(self.agents[agent].machine, self.now_ms);
                }
                if self.exchange.up {
                    self.waiting.push((Some(who), command));
                }
            }
            Happening::Heartbeat(agent) => self.heartbeat(agent),
            Happening::Told(agent, message) => self.told(agent, message),
            Happening::Answered(request) => {
                if self.network.hears_exchange(End::Clients, self.now_ms) {
                    self.unanswered.remove(&request);
                }
            }
            Happening::AgentTurn(agent) => self.agent_turn(agent),
            Happening::ClientsTurn => self.clients_turn(),
            Happening::OperatorTurn => self.operator_turn(),
            Happening::Round => self.round(),
            Happening::Weather => self.weather(),
            Happening::ExchangeStarts => self.exchange.start(self.now_ms),
        }
    }

    fn heartbeat(&mut self, agent: usize) {
        let reaches = self.network.reaches_exchange(End::Agent(agent), self.now_ms);
        if !self.exchange.up || !reaches {
            return;
        }
        let machine = self.agents[agent].machine;
        self.exchange.hear(machine, self.now_ms);
        let state = &self.exchange.state;
        let welcome = Welcome {
            live: state.machine_live_attempts(machine).collect(),
            asks_open: state.machine_asks(machine).next().is_some(),
            slots_free: state.slots_free(machine),
        };
        self.send(|| Happening::Told(agent, ToAgent::Welcome(welcome.clone())));
    }

    fn told(&mut self, agent: usize, message: ToAgent) {
        let now_ms = self.now_ms;
        let hears = self.network.hears_exchange(End::Agent(agent), now_ms);
        if !hears || now_ms < self.agents[agent].away_until_ms {
            return;
        }
        let hears = &mut self.agents[agent];
        let commands = match message {
            ToAgent::Welcome(welcome) => hears.welcome(welcome, now_ms, INSTRUMENT),
            ToAgent::Start(run) => hears.start(run, now_ms).into_iter().collect(),
            ToAgent::Stop(attempt) => {
                hears.stop(attempt);
                Vec::new()
            }
        };
        self.say(agent, commands);
    }

    fn say(&mut self, agent: usize, commands: Vec<Command>) {
        for command in commands {
            self.send(|| Happening::Request(Who::Agent(agent), command.clone()));
        }
    }

    fn agent_turn(&mut self, agent: usize) {
        let stormy = self.stormy();
        let pause = if stormy { self.random.range(200, 1_500) } else { 2_000 };
        self.after(pause, Happening::AgentTurn(agent));
        if self.now_ms < self.agents[agent].away_until_ms {
            return;
        }
        let now_ms = self.now_ms;
        let mut commands = self.agents[agent].turn(now_ms, stormy, &mut self.random);
        let machine = self.agents[agent].machine;
        if stormy && self.random.one_in(40) {
            commands.push(offer(machine, self.random.below(4) as u32));
        } else if !stormy && self.exchange.state.machine(machine).is_some_and(|m| m.slots != SLOTS)
        {
            commands.push(offer(machine, SLOTS));
        }
        if stormy && self.random.one_in(20) {
            commands.push(Command::Fixed(FixedCommand::Offer {
                machine,
                instrument: TEST_FIXED.to_owned(),
                units: self.random.below(3) as u32,
                price_nanocredits_per_hour: self.random.range(1, 40) * 1_000_001,
            }));
        }
        if stormy && self.random.one_in(60) {
            let leases = self.exchange.state.machine_open_leases(machine);
            let lease = leases.map(|lease| lease.lease).next();
            let reason = "somebody plays".to_owned();
            commands.extend(lease.map(|lease| Command::CloseLease { machine, lease, reason }));
        }
        self.say(agent, commands);
        self.send(|| Happening::Heartbeat(agent));
    }

    fn ask(&mut self, command: Command) {
        self.requests += 1;
        self.unanswered.insert(self.requests, command);
    }

    fn clients_turn(&mut self) {
        let stormy = self.stormy();
        let pause = if stormy { self.random.range(200, 2_000) } else { 1_000 };
        self.after(pause, Happening::ClientsTurn);
        let account = BUYERS[self.random.below(2) as usize];
        if stormy && self.jobs < JOBS && self.random.one_in(4) {
            self.jobs += 1;
            let command = self.new_job(account);
            self.ask(command);
        }
        if stormy && self.random.one_in(6) {
            let direction = match self.random.one_in(2) {
                true => PaymentDirection::Withdrawal,
                false => PaymentDirection::Deposit,
            };
            let client_payment_id = self.random.below(30).to_string();
            let amount_nanocredits = self.random.range(1, 200_000_000);
            self.ask(Command::Payment(PaymentCommand::Request {
                account,
                client_payment_id,
                direction,
                amount_nanocredits,
            }));
        }
        let client_lease_id = self.random.below(8).to_string();
        let lease = fixed_lease_id(account, &client_lease_id);
        if stormy && self.random.one_in(4) {
            let (instrument, limit) = (TEST_FIXED.to_owned(), 40_000_000);
            self.ask(Command::Fixed(FixedCommand::Open {
                account,
                client_lease_id,
                instrument,
                limit_nanocredits_per_hour: limit,
            }));
        } else if self.random.one_in(6) && self.exchange.state.fixed_lease(lease).is_some() {
            self.ask(Command::Fixed(FixedCommand::Notice { account, lease }));
        }
        if stormy && self.random.one_in(40) {
            let job = JobId(self.random.below(JOBS).into());
            self.ask(Command::CancelJob { account, job });
        }
        let exhausted = |job: &&clearing::Job| job.phase == JobPhase::Exhausted;
        let spent: Vec<_> = self
            .exchange
            .state
            .jobs()
            .filter(exhausted)
            .map(|job| (job.account, job.job, job.version))
            .collect();
        for (account, job, version) in spent {
            // Of a version of the job: asked for twice, it is the same top-up.
            let transfer = TransferId(u128::from(version));
            let amount_nanocredits = 200_000_000;
            let asked = self.unanswered.values().any(
                |command| matches!(command, Command::TopUpJob { job: asked, .. } if *asked == job),
            );
            if !asked {
                self.ask(Command::TopUpJob { account, job, transfer, amount_nanocredits });
            }
        }
        let asked: Vec<_> = self.unanswered.clone().into_iter().collect();
        for (request, command) in asked {
            self.send(|| Happening::Request(Who::Client(request), command.clone()));
        }
    }

    fn new_job(&mut self, account: AccountId) -> Command {
        let tasks = 1 + self.random.below(4);
        Command::SubmitJob {
            account,
            job: JobId(self.jobs.into()),
            name: format!("job {}", self.jobs),
            instrument: INSTRUMENT.to_owned(),
            tasks: (0..tasks)
                .map(|_| program::task(self.random.below(program::PROGRAMS)))
                .collect(),
            max_price_nanocredits_per_tfuel: 100_000 * self.random.range(3, 6),
            slots: 1 + self.random.below(3) as u32,
            budget_nanocredits: match self.random.below(3) {
                0 => 120_000,
                1 => 400_000,
                _ => 100_000_000,
            },
            ask: None,
            filters: Default::default(),
        }
    }

    fn operator_turn(&mut self) {
        let pause = if self.stormy() { self.random.range(300, 3_000) } else { 500 };
        self.after(pause, Happening::OperatorTurn);
        let open = self.exchange.state.payments().find(|payment| !payment.phase.is_over());
        if let Some(payment) = open {
            let (payment, phase) = (payment.payment, payment.phase.clone());
            let text = || "as it is".to_owned();
            let agrees = self.random.below(4) > 0;
            let to = match (phase, agrees) {
                (PaymentPhase::Requested, true) => PaymentPhase::Approved,
                (PaymentPhase::Requested, false) => PaymentPhase::Refused { reason: text() },
                (_, true) => PaymentPhase::Settled { reference: text() },
                (_, false) => PaymentPhase::Failed { reason: text() },
            };
            let command = Command::Payment(PaymentCommand::Move { payment, to });
            self.send(|| Happening::Request(Who::Client(0), command.clone()));
        }
        if self.stormy() && self.random.one_in(30) {
            let (maker, taker) = (self.random.below(60) as u32, self.random.below(60) as u32);
            self.ask(Command::SetFees { maker_basis_points: maker, taker_basis_points: taker });
        }
    }

    fn round(&mut self) {
        let pause = if self.stormy() { self.random.range(20, 400) } else { 500 };
        self.after(pause, Happening::Round);
        if !self.exchange.up {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.extend(self.probes().into_iter().map(|probe| (None, probe)));
        let (now_ms, clock_ms) = (self.now_ms, self.now_ms + self.clock_offset_ms);
        let death = self.death.take();
        let outcomes = self.exchange.round(now_ms, clock_ms, waiting, death, &mut self.random);
        if !self.exchange.up {
            let pause = self.random.range(100, 20_000);
            self.after(pause, Happening::ExchangeStarts);
        }
        for (who, outcome) in outcomes {
            if let Outcome::Done(events) = &outcome {
                for event in events {
                    self.tell(event);
                }
            }
            match (who, outcome) {
                (Some(Who::Client(request)), Outcome::Done(_) | Outcome::Rejected(_)) => {
                    self.send(|| Happening::Answered(request));
                }
                // Agents hear of what became of theirs by events and by the next Welcome.
                (Some(Who::Agent(_)), _) | (None, _) | (_, Outcome::Failed) => {}
            }
        }
    }

    /// The exchange's own probes: a machine that is away or cut off doesn't answer.
    fn probes(&mut self) -> Vec<Command> {
        let mut probes = Vec::new();
        for lease in self.exchange.state.fixed_leases().filter(|lease| lease.closed.is_none()) {
            let agent = self.agents.iter().position(|agent| agent.machine == lease.machine);
            let agent = agent.expect("a machine of ours");
            let answers = self.network.answers(End::Agent(agent), self.now_ms);
            let is_up = self.now_ms >= self.agents[agent].away_until_ms && answers;
            probes.push(Command::Fixed(FixedCommand::Probed { lease: lease.lease, is_up }));
        }
        probes
    }

    fn tell(&mut self, event: &Event) {
        let state = &self.exchange.state;
        let (machine, message): (MachineId, Box<dyn Fn() -> ToAgent>) = match event {
            Event::AttemptStarted { attempt, .. } => {
                let Some(run) = state.attempt_to_run(*attempt) else { return };
                (run.machine, Box::new(move || ToAgent::Start(run.clone())))
            }
            Event::AttemptEnded { attempt, .. } => {
                let attempt = *attempt;
                let Some(found) = state.attempt(attempt) else { return };
                (found.machine, Box::new(move || ToAgent::Stop(attempt)))
            }
            Event::LeaseClosed { end, .. } => {
                self.report.lapses += u64::from(*end == LeaseEnd::Lapsed);
                self.report.faults += u64::from(matches!(end, LeaseEnd::Fault { .. }));
                return;
            }
            Event::Fixed(FixedEvent::Closed { .. }) => {
                self.report.fixed += 1;
                return;
            }
            Event::JobExhausted { .. } => {
                self.report.exhausted += 1;
                return;
            }
            Event::Payment(PaymentEvent::Moved { to, .. }) if to.is_over() => {
                self.report.payments += 1;
                return;
            }
            Event::TaskDone { task, .. } => {
                self.check_done(*task);
                self.report.tasks_done += 1;
                return;
            }
            _ => return,
        };
        let agent = self.agents.iter().position(|agent| agent.machine == machine);
        let agent = agent.expect("a machine of ours");
        self.send(|| Happening::Told(agent, message()));
    }

    fn weather(&mut self) {
        if !self.stormy() {
            self.exchange.disk.failing = 0;
            self.death = None;
            return;
        }
        let pause = self.random.range(300, 3_000);
        self.after(pause, Happening::Weather);
        let agent = self.random.below(MACHINES as u64) as usize;
        let until_ms = self.now_ms + self.random.range(500, 25_000);
        // An exchange that starts waits longer for everybody: if it died all the time, nobody would
        // ever lapse.
        let dies = self.random.one_in(4);
        match self.random.below(8) {
            0 => {
                self.agents[agent].crash();
                self.agents[agent].away_until_ms = until_ms;
            }
            1 => self.agents[agent].away_until_ms = until_ms,
            2 => self.network.split(until_ms, &mut self.random),
            3 if dies => self.death = Some(Death::BeforeCommit),
            4 if dies => self.death = Some(Death::AfterCommit),
            5 => self.clock_offset_ms += self.random.range(-600_000, 600_000),
            6 => self.exchange.disk.failing = [0, 3, 20][self.random.below(3) as usize],
            _ => self.exchange.disk.failing = 0,
        }
    }

    fn all_over(&self) -> bool {
        self.exchange.up
            && self.unanswered.is_empty()
            && self.waiting.is_empty()
            && self.exchange.state.jobs().all(clearing::Job::is_over)
            && self.exchange.state.payments().all(|payment| payment.phase.is_over())
    }

    fn what_hangs(&self) -> String {
        let jobs = self.exchange.state.jobs().filter(|job| !job.is_over());
        let jobs: Vec<_> = jobs
            .map(|job| (job.job, job.phase, self.exchange.state.waiting_reason(job.job)))
            .collect();
        format!("jobs {jobs:?}, unanswered {:?}", self.unanswered)
    }

    /// A task that is done used what its program uses. Where the liar had a hand in it, it used what
    /// could have been: nobody runs its work again.
    fn check_done(&self, task: TaskId) {
        let state = &self.exchange.state;
        let liars = self.agents.iter().filter(|agent| agent.lies);
        let liars: Vec<MachineId> = liars.map(|agent| agent.machine).collect();
        let is_honest = |attempt: &clearing::Attempt| !liars.contains(&attempt.machine);
        if let Some(task) = state.task(task)
            && state.task_attempts(task.task).all(is_honest)
        {
            let n = program::of_spec(task.spec);
            assert_eq!(task.usage, program::whole(n), "{}", task.task);
        }
    }

    /// All that is there is what the disk gives.
    fn check_end(&mut self) {
        let state = &self.exchange.state;
        let (recovered, ..) = self.exchange.disk.recover();
        assert_eq!(recovered.digest(), state.digest());
    }
}

fn offer(machine: MachineId, slots: u32) -> Command {
    Command::SetOffer {
        machine,
        slots,
        memory_mib_per_slot: 2_048,
        transforms: vec![1],
        region: String::new(),
    }
}
