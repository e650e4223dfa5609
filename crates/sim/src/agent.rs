//! A machine's agent: what it keeps on disk, what it forgets, and how it misbehaves.

use std::collections::BTreeMap;

use base::{AccountId, AttemptId, Digest, MachineId, Usage};
use clearing::{AttemptEnd, AttemptToRun, Command};

use crate::program;
use crate::random::Random;

/// Fuel of a slot per millisecond: a current core.
const FUEL_PER_MS: u64 = 5_000_000;

/// A task that it runs.
struct Work {
    run: AttemptToRun,
    usage: Usage,
    /// Until when its usage was worked out.
    at_ms: i64,
    receipt_sequence: u64,
    ended: bool,
}

/// What the exchange answers to a sign of life.
#[derive(Debug, Clone)]
pub struct Welcome {
    pub live: Vec<AttemptToRun>,
    pub asks_open: bool,
    pub slots_free: u32,
}

/// See the module.
pub struct Agent {
    pub machine: MachineId,
    pub owner: AccountId,
    pub price: i64,
    /// Claims what it likes.
    pub lies: bool,
    /// Crashed or asleep until then.
    pub away_until_ms: i64,
    /// What it remembers only while it runs.
    work: BTreeMap<AttemptId, Work>,
    /// On its disk: the last receipt of each attempt, written before it was sent.
    receipts: BTreeMap<AttemptId, (u64, Usage, Command)>,
    /// On its disk: how many asks it placed.
    asks: u64,
}

impl Agent {
    /// A machine that runs nothing.
    pub fn new(machine: MachineId, owner: AccountId, price: i64, lies: bool) -> Self {
        Agent {
            machine,
            owner,
            price,
            lies,
            away_until_ms: 0,
            work: BTreeMap::new(),
            receipts: BTreeMap::new(),
            asks: 0,
        }
    }

    /// The process dies; its disk stays.
    pub fn crash(&mut self) {
        self.work.clear();
    }

    /// The answer to a sign of life: runs what it lists and stops everything else.
    pub fn welcome(&mut self, welcome: Welcome, at_ms: i64, instrument: &str) -> Vec<Command> {
        let listed: Vec<AttemptId> = welcome.live.iter().map(|run| run.attempt).collect();
        self.work.retain(|attempt, _| listed.contains(attempt));
        let mut commands = Vec::new();
        for run in welcome.live {
            commands.extend(self.start(run, at_ms));
        }
        if !welcome.asks_open && welcome.slots_free > 0 {
            self.asks += 1;
            commands.push(Command::PlaceAsk {
                machine: self.machine,
                client_order_id: format!("ask {}", self.asks),
                instrument: instrument.to_owned(),
                quantity: welcome.slots_free,
                price_nanocredits_per_tfuel: self.price,
                market: false,
                time_in_force: Default::default(),
                post_only: false,
            });
        }
        commands
    }

    /// Begins an attempt, or goes on with it: what was signed before is said again, the same.
    pub fn start(&mut self, run: AttemptToRun, at_ms: i64) -> Option<Command> {
        if self.work.contains_key(&run.attempt) {
            return None;
        }
        let signed = self.receipts.get(&run.attempt).cloned();
        let (usage, receipt_sequence, again) = match signed {
            Some((sequence, usage, command)) if sequence > run.receipt_sequence => {
                (usage, sequence, Some(command))
            }
            Some((sequence, usage, _)) => (usage, sequence.max(run.receipt_sequence), None),
            None => (run.usage, run.receipt_sequence, None),
        };
        let ended = match &again {
            Some(Command::AcceptReceipt { ended, .. }) => ended.is_some(),
            _ => false,
        };
        let attempt = run.attempt;
        self.work.insert(attempt, Work { run, usage, at_ms, receipt_sequence, ended });
        again
    }

    /// Ends an attempt.
    pub fn stop(&mut self, attempt: AttemptId) {
        self.work.remove(&attempt);
    }

    /// Works until now, and says how far it is; sometimes it says again what it said before.
    pub fn turn(&mut self, at_ms: i64, stormy: bool, random: &mut Random) -> Vec<Command> {
        let mut commands = Vec::new();
        let attempts: Vec<AttemptId> = self.work.keys().copied().collect();
        for attempt in attempts {
            if stormy && random.one_in(6) {
                commands.extend(self.receipts.get(&attempt).map(|(_, _, said)| said.clone()));
            }
            if self.work[&attempt].ended {
                // Until somebody answers.
                commands.extend(self.receipts.get(&attempt).map(|(_, _, said)| said.clone()));
                continue;
            }
            let lies = self.lies && stormy && random.one_in(10);
            let Some(working) = self.work.get_mut(&attempt) else { continue };
            let ended = working.until(at_ms, stormy, random);
            if ended.is_none() && random.one_in(3) {
                continue;
            }
            let mut usage = working.usage;
            if lies {
                usage.fuel = usage.fuel.wrapping_mul(random.below(1_000));
            }
            working.receipt_sequence += 1;
            working.ended = ended.is_some();
            let sequence = working.receipt_sequence;
            let command = receipt(&working.run, sequence, usage, ended);
            if lies && random.one_in(2) {
                // Not on disk: the next one contradicts it.
                working.receipt_sequence -= 1;
            } else {
                self.receipts.insert(attempt, (sequence, usage, command.clone()));
            }
            commands.push(command);
        }
        commands
    }
}

impl Work {
    /// Moves its usage on, and says whether it is over.
    fn until(&mut self, at_ms: i64, stormy: bool, random: &mut Random) -> Option<AttemptEnd> {
        let n = program::of_spec(self.run.spec);
        let passed = (at_ms - self.at_ms).max(0).unsigned_abs();
        self.at_ms = at_ms;
        let fuel = self.usage.fuel.saturating_add(passed.saturating_mul(FUEL_PER_MS));
        let spent = fuel >= self.run.fuel_allowance;
        self.usage = program::at(fuel.min(self.run.fuel_allowance), n);
        if self.usage == program::whole(n) {
            let result = Digest::of(&n.to_le_bytes());
            return Some(AttemptEnd::Finished { result });
        }
        if spent {
            return Some(AttemptEnd::AllowanceSpent);
        }
        if !stormy {
            return None;
        }
        match random.below(60) {
            0 => Some(AttemptEnd::Yielded),
            1 => Some(AttemptEnd::Fault { reason: "a broken disk".to_owned() }),
            _ => None,
        }
    }
}

fn receipt(
    run: &AttemptToRun,
    receipt_sequence: u64,
    usage: Usage,
    ended: Option<AttemptEnd>,
) -> Command {
    let finished = matches!(ended, Some(AttemptEnd::Finished { .. }));
    let signed = format!("{} {receipt_sequence} {usage:?} {ended:?}", run.attempt);
    Command::AcceptReceipt {
        machine: run.machine,
        lease: run.lease,
        attempt: run.attempt,
        epoch: run.epoch,
        receipt_sequence,
        receipt_digest: Digest::of(signed.as_bytes()),
        usage,
        chain_head: Digest::of(format!("chain {usage:?}").as_bytes()),
        checkpoint: (!finished).then(|| Digest::of(format!("checkpoint {usage:?}").as_bytes())),
        ended,
    }
}
