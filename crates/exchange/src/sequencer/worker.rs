//! The deciding thread itself: rounds, timers, and what follows a commit.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use base::{Digest, JobId, MachineId};
use clearing::fixed::{FixedCommand, FixedEvent};
use clearing::{Command, Context, Event};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use wire::ToAgent;

use super::clock::Clock;
use super::{About, Enrol, Failure, Reply, Request, Sequencer, unix_ms};
use crate::config::{Config, limits};
use crate::core::Core;
use crate::error::ExchangeError;
use crate::feed::Touched;
use crate::outbox;
use crate::past;
use crate::probes::Question;
use crate::secrets;
use crate::snapshot::Snapshot;
use crate::store::{CredentialChange, Entry, JoinCodeState, Store, StoreError, StoreReader};

/// Version of the rules by which this program decides. Rises when a command may come to other
/// events than before: re-deciding old entries is a check only within one version.
const RULES_VERSION: u32 = 5;

/// Who waits for a decision.
enum Origin {
    Reply(Reply),
    Agent {
        machine: MachineId,
        connection: u64,
        about: About,
        _done: oneshot::Sender<()>,
    },
    Lapse(MachineId),
    /// Of the clock: a tick, or what a probe found.
    Clock,
    /// It follows from another command of this round.
    Consequence,
}

/// A decision of this round, to be told after the commit.
struct Decided {
    origin: Origin,
    result: Result<Vec<Event>, Failure>,
}

struct Waiter {
    after: u64,
    news: oneshot::Sender<()>,
}

/// The thread's own things.
struct Worker {
    store: Box<dyn Store>,
    reader: Box<dyn StoreReader>,
    core: Core,
    /// Memory could not be folded anew yet after a failed commit: nothing may be read.
    stale: bool,
    transaction: bool,
    waiters: BTreeMap<JobId, Vec<Waiter>>,
    tick_due: Instant,
    patience: Duration,
    clock: Clock,
    snapshot_entries: u64,
    keep_ended_ms: i64,
    /// There is more to forget than one round may.
    forgets_on: bool,
    /// Whether anything was ever forgotten.
    has_past: bool,
    /// The snapshot that is being written.
    snapshot: Option<std::thread::JoinHandle<()>>,
    /// When the last round began.
    round_at: Instant,
    /// Rounds that are further apart than this leave out time in which nobody was heard.
    stall: Duration,
}

/// Folds the journal and starts the thread, which runs until [`Request::Stop`].
pub(crate) fn start(
    store: Box<dyn Store>,
    config: &Config,
) -> Result<(Sequencer, std::thread::JoinHandle<()>), ExchangeError> {
    let worker = Worker::new(store, config)?;
    let (requests, queue) = mpsc::channel(limits::REQUEST_QUEUE);
    let runtime = Handle::current();
    let thread = std::thread::Builder::new()
        .name("sequencer".to_owned())
        .spawn(move || worker.run(&runtime, queue))
        .map_err(ExchangeError::Thread)?;
    Ok((Sequencer { requests }, thread))
}

impl Worker {
    fn new(mut store: Box<dyn Store>, config: &Config) -> Result<Self, StoreError> {
        let mut reader = store.reader_maker()()?;
        let mut core = Core::new(config, store.exchange());
        core.rebuild(reader.as_mut())?;
        let now = Instant::now();
        let start_grace = Duration::from_millis(config.start_grace_ms);
        for machine in core.machines_at_stake() {
            core.presence.expect_after_start(machine, start_grace, now);
        }
        for lease in core.state.open_fixed_leases() {
            core.probes.watch(lease.lease, lease.machine, now + start_grace);
        }
        // After an outage everything looks as if it stood still: agents come back first, and have
        // the time in which each sends a receipt.
        let first_tick = if core.machines_at_stake().is_empty() {
            Duration::ZERO
        } else {
            start_grace + Duration::from_secs(75)
        };
        let shortest = config.lapse_after_ms.min(config.reconnect_grace_ms);
        let patience = Duration::from_millis((shortest / 8).clamp(10, 250));
        let clock = Clock::new(core.last_ms, now);
        Ok(Worker {
            has_past: store.has_past()?,
            store,
            reader,
            core,
            stale: false,
            transaction: false,
            waiters: BTreeMap::new(),
            tick_due: now + first_tick,
            patience,
            clock,
            snapshot_entries: config.snapshot_entries.max(1),
            keep_ended_ms: config.keep_ended_ms,
            forgets_on: false,
            snapshot: None,
            round_at: now,
            stall: Duration::from_millis(config.lapse_after_ms / 4).max(4 * patience),
        })
    }

    fn run(mut self, runtime: &Handle, mut queue: mpsc::Receiver<Request>) {
        let (mut waiting, mut requests) = (VecDeque::new(), Vec::new());
        loop {
            let mut ended = false;
            // Everything that waits, so that every sign of life counts in this very round.
            if waiting.is_empty() {
                let coming = queue.recv_many(&mut requests, limits::REQUEST_QUEUE);
                let taken =
                    runtime.block_on(async { tokio::time::timeout(self.patience, coming).await });
                ended = matches!(taken, Ok(0));
            } else {
                while waiting.len() + requests.len() < limits::REQUEST_QUEUE
                    && let Ok(request) = queue.try_recv()
                {
                    requests.push(request);
                }
            }
            let now = Instant::now();
            self.hear(&requests, now);
            waiting.extend(requests.drain(..));
            requests.extend(waiting.drain(..waiting.len().min(limits::BATCH)));
            let stop = ended || requests.iter().any(|request| matches!(request, Request::Stop));
            self.round(&mut requests, now);
            if stop {
                break;
            }
        }
        self.core.presence.close();
        if let Some(writing) = self.snapshot.take() {
            // It has logged what went wrong; the next start does without.
            let _ = writing.join();
        }
    }

    /// Signs of life, before [`Worker::round`] judges anybody's silence. Time in which this
    /// thread, or the whole process, stood still is nobody's silence.
    fn hear(&mut self, requests: &[Request], now: Instant) {
        let since = now.saturating_duration_since(self.round_at);
        self.round_at = now;
        if since > self.stall {
            tracing::warn!(stall_ms = since.as_millis(), "stood still; machines get longer");
            self.core.presence.shift(since);
            self.core.probes.shift(since);
        }
        for request in requests {
            if let Request::Heartbeat { machine, connection, .. }
            | Request::ProbeAnswer { machine, connection, .. }
            | Request::Agent { machine, connection, .. } = request
            {
                self.core.presence.heard(*machine, *connection, now);
            }
            if let Request::ProbeAnswer { machine, lease, nonce, .. } = request {
                self.core.probes.answered(*machine, *lease, *nonce);
            }
        }
    }

    fn round(&mut self, requests: &mut Vec<Request>, now: Instant) {
        let mut storage = self.refold().err();
        let mut decisions = Vec::new();
        let mut afterwards = Vec::new();
        for (command, origin) in self.timers(now) {
            let result = self.guarded(&mut storage, |worker| worker.decide(command, None));
            decisions.push(Decided { origin, result });
        }
        if self.forgets_on && !self.stale {
            let result = self.guarded(&mut storage, Self::forget);
            decisions.push(Decided { origin: Origin::Clock, result });
        }
        for request in requests.drain(..) {
            let (origin, result) = match request {
                Request::Command { command, change, reply } => (
                    Origin::Reply(reply),
                    self.guarded(&mut storage, |worker| worker.decide(command, change)),
                ),
                Request::Change { change, reply } => (
                    Origin::Reply(reply),
                    self.guarded(&mut storage, |worker| {
                        worker.begin()?;
                        worker.store.change(&change)?;
                        Ok(Ok(Vec::new()))
                    }),
                ),
                Request::Enrol { enrol, reply } => {
                    (Origin::Reply(reply), self.guarded(&mut storage, |worker| worker.enrol(enrol)))
                }
                Request::Agent { machine, connection, command, about, done } => {
                    let result = self.guarded(&mut storage, |worker| worker.decide(command, None));
                    let consequence = outbox::consequence(&self.core, machine, &about, &result);
                    let origin = Origin::Agent { machine, connection, about, _done: done };
                    decisions.push(Decided { origin, result });
                    let Some(command) = consequence else { continue };
                    let decide = |worker: &mut Self| worker.decide(command, None);
                    (Origin::Consequence, self.guarded(&mut storage, decide))
                }
                other => {
                    afterwards.push(other);
                    continue;
                }
            };
            decisions.push(Decided { origin, result });
        }
        if self.transaction && storage.is_none() {
            self.transaction = false;
            match self.store.commit() {
                Ok(()) => tracing::debug!("committed up to entry {}", self.core.sequence),
                Err(error) => storage = Some(self.failed(&error)),
            }
        }
        if let Some(failure) = &storage {
            self.transaction = false;
            self.store.rollback();
            for decided in &mut decisions {
                decided.result = Err(failure.clone());
            }
            // At once, since reads of this round wait for it.
            let _ = self.refold();
        }
        let mut touched = Touched::default();
        for events in decisions.iter().filter_map(|decided| decided.result.as_ref().ok()) {
            touched.note(&self.core, events);
        }
        self.core.publish(touched);
        for decided in decisions {
            self.tell(decided, now);
        }
        for request in afterwards {
            self.after_commit(request, now);
        }
        if let Err(error) = self.snapshot_if_due() {
            tracing::warn!(?error, "no state snapshot: the next start folds more of the journal");
        }
    }

    /// Encodes the state here, since only here it stands still, and writes it elsewhere. A
    /// snapshot that can't be written costs time at the next start and nothing else.
    fn snapshot_if_due(&mut self) -> Result<(), StoreError> {
        let sequence = self.core.sequence;
        let due = sequence >= self.core.snapshot_sequence.saturating_add(self.snapshot_entries);
        let writing = self.snapshot.as_ref().is_some_and(|writing| !writing.is_finished());
        if !due || writing || self.stale {
            return Ok(());
        }
        self.core.snapshot_sequence = sequence;
        let mut last = None;
        self.reader.entries(sequence - 1, sequence, &mut |entry| last = Some(entry))?;
        let Some(last) = last else { return Ok(()) };
        let snapshot = Snapshot::of(self.core.exchange, &self.core.state, &last);
        let directory = self.core.snapshots.clone();
        let write = move || match snapshot.write(&directory) {
            Ok(()) => tracing::info!(sequence, "state snapshot written"),
            Err(error) => tracing::warn!(%error, sequence, "a state snapshot was not written"),
        };
        self.snapshot = std::thread::Builder::new().name("snapshot".to_owned()).spawn(write).ok();
        Ok(())
    }

    /// Commands that nobody sent.
    fn timers(&mut self, now: Instant) -> Vec<(Command, Origin)> {
        let mut commands: Vec<(Command, Origin)> = self
            .core
            .presence
            .overdue(now)
            .into_iter()
            .map(|machine| (Command::LapseMachine { machine }, Origin::Lapse(machine)))
            .collect();
        let scans_wait = self.core.state.market().unfinished_scans() > 0;
        if (now >= self.tick_due || scans_wait) && !self.stale {
            self.tick_due = now + Duration::from_secs(1);
            for waiting in self.waiters.values_mut() {
                waiting.retain(|waiter| !waiter.news.is_closed());
            }
            self.waiters.retain(|_, waiting| !waiting.is_empty());
            self.forgets_on = true;
            // One that finds nothing to do has no events, and leaves no entry.
            commands.push((Command::Tick, Origin::Clock));
        }
        if !self.stale {
            commands.extend(self.probe(now).into_iter().map(|command| (command, Origin::Clock)));
        }
        commands
    }

    /// Asks whether the units of fixed leases are there; what changed by earlier answers.
    fn probe(&mut self, now: Instant) -> Vec<Command> {
        let mut changes = Vec::new();
        for (lease, is_up) in self.core.probes.verdicts(now) {
            let known = self.core.state.fixed_lease(lease);
            if known.is_some_and(|known| known.down_since_ms.is_none() != is_up) {
                changes.push(Command::Fixed(FixedCommand::Probed { lease, is_up }));
            }
        }
        for question in self.core.probes.questions(now, || secrets::random().map(Digest).ok()) {
            let Question { machine, lease, nonce } = question;
            self.core.presence.send(machine, ToAgent::Probe { lease, nonce }, now);
        }
        changes
    }

    /// Runs a step unless the storage failed before in this round; notes if it fails now.
    fn guarded(
        &mut self,
        storage: &mut Option<Failure>,
        step: impl FnOnce(&mut Self) -> Result<Result<Vec<Event>, Failure>, StoreError>,
    ) -> Result<Vec<Event>, Failure> {
        if let Some(failure) = storage {
            return Err(failure.clone());
        }
        step(self).unwrap_or_else(|error| {
            let failure = self.failed(&error);
            *storage = Some(failure.clone());
            Err(failure)
        })
    }

    fn failed(&mut self, error: &StoreError) -> Failure {
        tracing::error!(error = ?error, "nothing of this round could be stored");
        self.stale = true;
        Failure::from(error)
    }

    /// Folds the journal anew if memory is not what was committed.
    fn refold(&mut self) -> Result<(), Failure> {
        if !self.stale {
            return Ok(());
        }
        self.core.rebuild(self.reader.as_mut()).map_err(|error| {
            tracing::error!(error = ?error, "the journal can't be read");
            Failure::from(&error)
        })?;
        self.stale = false;
        tracing::info!(sequence = self.core.sequence, "state folded anew from the journal");
        Ok(())
    }

    fn now_ms(&mut self) -> i64 {
        self.clock.now_ms(unix_ms(), Instant::now()).max(self.core.last_ms)
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        if !self.transaction {
            self.store.begin()?;
            self.transaction = true;
        }
        Ok(())
    }

    /// Decides in memory and writes into the open transaction. Rejections and commands without
    /// consequence (repetitions) leave no entry.
    fn decide(
        &mut self,
        command: Command,
        change: Option<CredentialChange>,
    ) -> Result<Result<Vec<Event>, Failure>, StoreError> {
        let now_ms = self.now_ms();
        let sequence = self.core.sequence + 1;
        let events = match self.past_answer(&command)? {
            Some(Ok(())) => Vec::new(),
            Some(Err(failure)) => return Ok(Err(failure)),
            None => {
                if let Some(failure) = self.over_limits(&command) {
                    return Ok(Err(failure));
                }
                match self.core.decide(Context { now_ms, sequence }, &command) {
                    Ok(events) => events,
                    Err(rejection) => return Ok(Err(Failure::Rejected(rejection))),
                }
            }
        };
        if events.is_empty() && change.is_none() {
            return Ok(Ok(events));
        }
        self.begin()?;
        if !events.is_empty() {
            let rules_version = RULES_VERSION;
            let entry = Entry { sequence, now_ms, rules_version, command, events };
            self.store.append(&entry)?;
            self.core.decided(&entry);
            if let Some(change) = change {
                self.store.change(&change)?;
            }
            return Ok(Ok(entry.events));
        }
        if let Some(change) = change {
            self.store.change(&change)?;
        }
        Ok(Ok(events))
    }

    /// The answer to a command about something that memory has forgotten.
    fn past_answer(
        &mut self,
        command: &Command,
    ) -> Result<Option<Result<(), Failure>>, StoreError> {
        match self.has_past {
            true => past::answer(self.store.as_mut(), &self.core, command),
            false => Ok(None),
        }
    }

    /// Writes down some of what was over long ago, and forgets it.
    fn forget(&mut self) -> Result<Result<Vec<Event>, Failure>, StoreError> {
        let before_ms = self.now_ms().saturating_sub(self.keep_ended_ms);
        let Core { endings, state, .. } = &mut self.core;
        let (ended, more) = endings.take_before(state, before_ms, limits::FORGOTTEN);
        self.forgets_on = more;
        if ended.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let rows = past::rows(&self.core, &ended)?;
        self.begin()?;
        self.store.keep_past(&rows)?;
        self.has_past = true;
        self.decide(Command::Forget { ended }, None)
    }

    /// Limits that no rule of the market needs, but the exchange's memory does.
    fn over_limits(&self, command: &Command) -> Option<Failure> {
        let Command::SubmitJob { account, job, tasks, .. } = command else { return None };
        // Submitted again, it is no more than it was.
        if self.core.state.job(*job).is_some() {
            return None;
        }
        let (live, tasks) = (self.core.index.live_tasks(*account), tasks.len());
        let max = limits::LIVE_TASKS;
        (live + tasks as u64 > max).then_some(Failure::TooManyLiveTasks { live, tasks, max })
    }

    fn enrol(&mut self, enrol: Enrol) -> Result<Result<Vec<Event>, Failure>, StoreError> {
        let Enrol { code, machine, public_key, name, token } = enrol;
        // In the transaction, so that of two machines with one code only one gets in.
        self.begin()?;
        let owner = match self.store.join_code(&code, machine, unix_ms())? {
            JoinCodeState::Valid(account) => account,
            JoinCodeState::Unknown => return Ok(Err(Failure::JoinCode("unknown"))),
            JoinCodeState::Expired => return Ok(Err(Failure::JoinCode("expired"))),
            JoinCodeState::Used => return Ok(Err(Failure::JoinCode("used up"))),
        };
        let command = Command::EnrolMachine { machine, owner, public_key, name };
        self.decide(command, Some(CredentialChange::UseJoinCode { code, machine, token }))
    }

    /// Tells whoever asked, then whoever is concerned.
    fn tell(&mut self, decided: Decided, now: Instant) {
        let Decided { origin, result } = decided;
        let mut told = None;
        match origin {
            Origin::Reply(reply) => {
                // Whoever asked may have hung up.
                let _ = reply.send(result.as_ref().map(|_| ()).map_err(Failure::clone));
            }
            Origin::Agent { machine, connection, about, _done } => {
                self.core.presence.heard(machine, connection, now);
                if self.core.presence.is_current(machine, connection)
                    && let Some(answer) = outbox::answer(&self.core, machine, &about, &result)
                {
                    self.core.presence.send(machine, answer.clone(), now);
                    told = Some((machine, answer));
                }
            }
            Origin::Lapse(machine) => match &result {
                Ok(events) if events.is_empty() => {}
                Ok(_) => tracing::info!(%machine, "lapsed"),
                Err(Failure::Rejected(rejection)) => {
                    tracing::debug!(%machine, %rejection, "nothing to lapse");
                }
                // It must lapse as soon as that can be written.
                Err(_) => self.core.presence.expect(machine, now),
            },
            Origin::Clock | Origin::Consequence => {}
        }
        let Ok(events) = result else { return };
        for (machine, message) in outbox::messages(&self.core, &events) {
            if told.as_ref().is_none_or(|(to, answer)| *to != machine || *answer != message) {
                self.core.presence.send(machine, message, now);
            }
        }
        for event in &events {
            match event {
                Event::MachineRetired { machine } => self.core.presence.forget(*machine),
                Event::Fixed(FixedEvent::Opened { lease }) => {
                    self.core.probes.watch(lease.lease, lease.machine, now);
                }
                Event::Fixed(FixedEvent::Closed { lease, .. }) => self.core.probes.forget(*lease),
                _ => {}
            }
        }
        for job in self.core.jobs_of(&events) {
            self.wake(job);
        }
    }

    fn wake(&mut self, job: JobId) {
        let version = self.core.version(job);
        let Some(waiting) = self.waiters.get_mut(&job) else { return };
        for waiter in waiting.extract_if(.., |waiter| version > waiter.after) {
            // Whoever waited may have hung up.
            let _ = waiter.news.send(());
        }
    }

    fn after_commit(&mut self, request: Request, now: Instant) {
        match request {
            // While memory is stale there is nothing true to welcome an agent with: its link is
            // dropped, and it tries again.
            Request::Connect { machine, link } if !self.stale => {
                let welcome = outbox::welcome(&self.core, machine);
                self.core.presence.connected(machine, link, now);
                self.core.presence.send(machine, welcome, now);
            }
            Request::Disconnect { machine, connection } => {
                self.core.presence.disconnected(machine, connection, now);
            }
            Request::Heartbeat { machine, connection, progress } => {
                self.core.presence.heard(machine, connection, now);
                for job in self.core.progressed(machine, &progress) {
                    self.wake(job);
                }
            }
            // Dropped unrun when memory is stale: whoever asked sees the channel closed.
            Request::Read(look) if !self.stale => {
                self.core.begin_read();
                look(&mut self.core);
            }
            Request::Watch { job, after, news } => {
                if self.core.version(job) > after {
                    let _ = news.send(());
                } else {
                    self.waiters.entry(job).or_default().push(Waiter { after, news });
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
