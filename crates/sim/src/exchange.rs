//! The exchange: rounds of commands on a disk that may fail, and recovery.

use std::collections::BTreeMap;

use base::{Digest, MachineId};
use clearing::{Command, Context, Event, Rejection, State, apply};

use crate::disk::{Disk, Entry};
use crate::invariants::{self, History};
use crate::past::{self, Past};
use crate::random::Random;

/// A machine that is silent for so long lapses.
const LAPSE_MS: i64 = 6_000;
/// After a start machines have so long to come back.
const START_GRACE_MS: i64 = 15_000;
/// A snapshot is tried every so many entries.
const SNAPSHOT_ENTRIES: u64 = 50;

/// What became of a command.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Decided and durable.
    Done(Vec<Event>),
    /// Refused.
    Rejected(Rejection),
    /// Nothing was stored, and nothing happened; or nobody will ever say.
    Failed,
}

/// Where a process may die in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// After deciding, before the commit.
    BeforeCommit,
    /// After the commit, before any answer.
    AfterCommit,
}

/// See the module.
pub struct Exchange {
    pub state: State,
    pub sequence: u64,
    pub disk: Disk,
    /// Whether the process runs.
    pub up: bool,
    last_ms: i64,
    /// Digest of the state at the last commit: what recovery has to give.
    committed: Digest,
    /// When each machine that has something to lose was last heard.
    heard: BTreeMap<MachineId, i64>,
    /// Journal time and simulated time from which it runs on.
    anchor: (i64, i64),
    snapshot_sequence: u64,
    /// What the state does not tell any more, now and as of the last commit.
    history: [History; 2],
    /// What was forgotten, now and as of the last commit.
    past: [Past; 2],
    /// Things forgotten.
    pub forgotten: u64,
    /// Commands decided.
    pub decided: u64,
    /// How often memory was folded anew.
    pub recoveries: u64,
}

impl Exchange {
    /// A new one.
    pub fn new(disk: Disk, at_ms: i64) -> Self {
        let state = State::default();
        let committed = state.digest();
        Exchange {
            state,
            sequence: 0,
            disk,
            up: true,
            last_ms: 0,
            committed,
            heard: BTreeMap::new(),
            anchor: (0, at_ms),
            snapshot_sequence: 0,
            history: Default::default(),
            past: Default::default(),
            forgotten: 0,
            decided: 0,
            recoveries: 0,
        }
    }

    /// Notes a sign of life.
    pub fn hear(&mut self, machine: MachineId, at_ms: i64) {
        self.heard.insert(machine, at_ms);
    }

    /// The process dies: what was not committed is gone.
    pub fn die(&mut self) {
        self.up = false;
        self.disk.rollback();
    }

    /// The process starts again.
    pub fn start(&mut self, at_ms: i64) {
        self.up = true;
        self.refold(at_ms);
        self.heard.clear();
        for machine in self.state.machines() {
            self.heard.insert(machine.machine, at_ms + START_GRACE_MS - LAPSE_MS);
        }
    }

    fn refold(&mut self, at_ms: i64) {
        self.disk.rollback();
        let (state, sequence, last_ms) = self.disk.recover();
        assert_eq!(state.digest(), self.committed, "recovery gives another state");
        (self.state, self.sequence, self.last_ms) = (state, sequence, last_ms);
        self.anchor = (self.last_ms.max(self.anchor.0), at_ms);
        (self.history[0], self.past[0]) = (self.history[1].clone(), self.past[1].clone());
        self.recoveries += 1;
    }

    /// Journal time: the clock's, and where that was set back, on from where it was.
    fn now_ms(&mut self, at_ms: i64, clock_ms: i64) -> i64 {
        let running_ms = self.anchor.0 + (at_ms - self.anchor.1);
        if clock_ms > running_ms {
            self.anchor = (clock_ms, at_ms);
        }
        running_ms.max(clock_ms).max(self.last_ms)
    }

    /// Decides what waits, with the timers, in one transaction. Nobody hears of anything that is
    /// not committed.
    pub fn round<Who>(
        &mut self,
        at_ms: i64,
        clock_ms: i64,
        waiting: Vec<(Option<Who>, Command)>,
        death: Option<Death>,
        random: &mut Random,
    ) -> Vec<(Option<Who>, Outcome)> {
        let mut outcomes = Vec::new();
        let mut failed = false;
        let mut commands = waiting;
        let timers = self.timers(at_ms);
        commands.extend(timers.clone().into_iter().map(|command| (None, command)));
        for (who, command) in commands {
            let outcome = match failed {
                true => Outcome::Failed,
                false => self.decide(at_ms, clock_ms, &command, random),
            };
            failed |= matches!(outcome, Outcome::Failed);
            let consequence = self.consequence(&command, &outcome);
            outcomes.push((who, outcome));
            if let Some(command) = consequence {
                let outcome = self.decide(at_ms, clock_ms, &command, random);
                failed |= matches!(outcome, Outcome::Failed);
                outcomes.push((None, outcome));
            }
        }
        if death == Some(Death::BeforeCommit) {
            self.die();
            return Vec::new();
        }
        failed = failed || self.disk.commit(random).is_err();
        if failed {
            self.refold(at_ms);
            // They must lapse as soon as that can be written.
            for command in timers {
                if let Command::LapseMachine { machine } = command {
                    self.heard.entry(machine).or_insert(at_ms - LAPSE_MS);
                }
            }
            return outcomes.into_iter().map(|(who, _)| (who, Outcome::Failed)).collect();
        }
        self.committed = self.state.digest();
        (self.history[1], self.past[1]) = (self.history[0].clone(), self.past[0].clone());
        assert_eq!(self.disk.committed(), self.sequence, "what is answered is in the journal");
        self.check_silent();
        if self.sequence >= self.snapshot_sequence + SNAPSHOT_ENTRIES {
            self.snapshot_sequence = self.sequence;
            self.disk.snapshot(&self.state, random);
        }
        if death == Some(Death::AfterCommit) {
            self.die();
            return Vec::new();
        }
        outcomes
    }

    fn timers(&mut self, at_ms: i64) -> Vec<Command> {
        let silent = |heard: &i64| at_ms - heard > LAPSE_MS;
        let overdue: Vec<MachineId> =
            self.heard.iter().filter(|(_, heard)| silent(heard)).map(|(id, _)| *id).collect();
        for machine in &overdue {
            self.heard.remove(machine);
        }
        let mut commands: Vec<Command> =
            overdue.into_iter().map(|machine| Command::LapseMachine { machine }).collect();
        commands.push(Command::Tick);
        commands.push(Command::Forget { ended: past::over(&self.state, self.last_ms) });
        commands
    }

    /// Who is not waited for has nothing in the book and runs nothing.
    fn check_silent(&self) {
        for machine in self.state.machines() {
            let id = machine.machine;
            if !self.heard.contains_key(&id) {
                assert_eq!(self.state.machine_asks(id).count(), 0, "{id} is silent and offers");
                assert_eq!(machine.open_leases, [], "{id} is silent and has leases");
            }
        }
    }

    fn decide(
        &mut self,
        at_ms: i64,
        clock_ms: i64,
        command: &Command,
        random: &mut Random,
    ) -> Outcome {
        if self.past[0].answers(command) {
            return Outcome::Done(Vec::new());
        }
        let now_ms = self.now_ms(at_ms, clock_ms);
        let sequence = self.sequence + 1;
        if let Command::Forget { ended } = command {
            self.history[0].forget(&self.state, ended);
            self.past[0].keep(&self.state, ended);
        }
        let events = apply(&mut self.state, Context { now_ms, sequence }, command);
        self.decided += 1;
        self.history[0].follow(events.as_deref().unwrap_or_default());
        invariants::check(&self.state, &self.history[0]);
        let events = match events {
            Ok(events) => events,
            Err(rejection) => return Outcome::Rejected(rejection),
        };
        if let [Event::Forgotten { ended }] = &events[..] {
            self.forgotten += ended.len() as u64;
        }
        if events.is_empty() {
            return Outcome::Done(events);
        }
        if self.disk.append(Entry::new(sequence, now_ms, command, &events), random).is_err() {
            return Outcome::Failed;
        }
        (self.sequence, self.last_ms) = (sequence, now_ms);
        Outcome::Done(events)
    }

    /// A receipt of a live attempt that is refused for good ends the attempt's lease.
    fn consequence(&self, command: &Command, outcome: &Outcome) -> Option<Command> {
        let (Command::AcceptReceipt { machine, attempt, .. }, Outcome::Rejected(rejection)) =
            (command, outcome)
        else {
            return None;
        };
        match rejection {
            Rejection::UnknownAttempt { .. }
            | Rejection::WrongMachine { .. }
            | Rejection::WrongLease { .. }
            | Rejection::StaleEpoch { .. }
            | Rejection::AttemptEnded { .. }
            | Rejection::Equivocation { .. } => return None,
            _ => {}
        }
        let live = self.state.attempt_to_run(*attempt).filter(|live| live.machine == *machine)?;
        let reason = format!("a receipt was refused: {}", rejection.code());
        Some(Command::FaultLease { machine: *machine, lease: live.lease, reason })
    }
}
