//! The state in memory as the sequencer holds it: clearing's, where the journal stands, and
//! what is known only while the exchange runs (who is connected, how far attempts are).

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base::{AttemptId, Digest, ExchangeId, JobId, LeaseId, MachineId, OrderId, TaskId};
use clearing::{Command, Context, Event, OrderLink, Rejection, State};
use wire::AttemptProgress;

use crate::config::{Config, limits};
use crate::endings::Endings;
use crate::feed::Feed;
use crate::index::Index;
use crate::presence::Presence;
use crate::probes::Probes;
use crate::snapshot::{self, Restored};
use crate::store::{Entry, StoreError, StoreReader};

/// Low bits of a job's public version, which count heartbeats between two events.
const PROGRESS_BITS: u32 = 20;

/// Of the sequencer's time, at most one part in so many goes into digests for strangers.
const DIGEST_SHARE: u32 = 50;

/// Directory of the state snapshots, in the data directory.
const SNAPSHOTS: &str = "snapshots";

/// See the module.
pub(crate) struct Core {
    /// Whose it is.
    pub exchange: ExchangeId,
    /// Where its snapshots are.
    pub snapshots: PathBuf,
    /// Sequence of the last snapshot that was restored or begun.
    pub snapshot_sequence: u64,
    /// Who listens to what happens.
    pub feed: Feed,
    /// Clearing's state.
    pub state: State,
    /// What is looked up per account.
    pub index: Index,
    /// What is over and in memory still.
    pub endings: Endings,
    /// Sequence of the last journal entry in it.
    pub sequence: u64,
    /// Time of that entry: the next is not earlier.
    pub last_ms: i64,
    /// What agents are told to send heartbeats by.
    pub heartbeat_ms: u64,
    /// Who is connected.
    pub presence: Presence,
    /// Whether the units of fixed leases are there.
    pub probes: Probes,
    /// Fuel of live attempts by their last heartbeat.
    progress: BTreeMap<AttemptId, u64>,
    /// Heartbeats that brought news, per job that is not over.
    heartbeats: BTreeMap<JobId, u64>,
    digest: Option<(u64, Digest)>,
    /// When strangers' questions may have the digest computed again.
    digest_due: Option<Instant>,
    /// What is left of [`limits::READ_COST`] in the present read.
    read_left: Cell<u64>,
}

impl Core {
    /// Nothing has happened yet.
    pub fn new(config: &Config, exchange: ExchangeId) -> Self {
        Core {
            exchange,
            snapshots: config.data.join(SNAPSHOTS),
            snapshot_sequence: 0,
            feed: Feed::new(config.feed_ring),
            state: State::default(),
            index: Index::default(),
            endings: Endings::default(),
            sequence: 0,
            last_ms: 0,
            heartbeat_ms: config.heartbeat_ms,
            presence: Presence::new(
                Duration::from_millis(config.lapse_after_ms),
                Duration::from_millis(config.reconnect_grace_ms),
            ),
            probes: Probes::new(Duration::from_millis(config.probe_ms)),
            progress: BTreeMap::new(),
            heartbeats: BTreeMap::new(),
            digest: None,
            digest_due: None,
            read_left: Cell::new(0),
        }
    }

    /// Replaces the state by a fold of the journal's events, from the newest snapshot that fits.
    pub fn rebuild(&mut self, reader: &mut dyn StoreReader) -> Result<(), StoreError> {
        let from = snapshot::restore(&self.snapshots, self.exchange, reader)?;
        let from = from.unwrap_or_else(Restored::nothing);
        self.snapshot_sequence = from.sequence;
        let folded = fold_from(from, reader, u64::MAX)?;
        tracing::info!(
            sequence = folded.sequence,
            snapshot = self.snapshot_sequence,
            "state folded from the journal"
        );
        (self.state, self.sequence, self.last_ms) = (folded.state, folded.sequence, folded.now_ms);
        self.index = Index::of(&self.state);
        self.endings = Endings::of(&self.state, self.last_ms);
        self.feed.begin_at(self.sequence);
        (self.digest, self.digest_due) = (None, None);
        Ok(())
    }

    /// Decides a command and folds its events. A rejection leaves the state as it was.
    pub fn decide(&mut self, context: Context, command: &Command) -> Result<Vec<Event>, Rejection> {
        clearing::apply(&mut self.state, context, command)
    }

    /// Notes an entry whose events are folded already.
    pub fn decided(&mut self, entry: &Entry) {
        self.sequence = entry.sequence;
        self.last_ms = entry.now_ms;
        for event in &entry.events {
            self.index.follow(&self.state, event);
            self.endings.follow(&self.state, event, entry.now_ms);
            match event {
                Event::AttemptEnded { attempt, .. } => {
                    self.progress.remove(attempt);
                }
                Event::JobDone { job, .. } | Event::JobCancelled { job, .. } => {
                    self.heartbeats.remove(job);
                }
                _ => {}
            }
        }
    }

    /// Digest of the state. Reads the whole of it, once per entry at most.
    pub fn digest(&mut self) -> Digest {
        match self.digest {
            Some((sequence, digest)) if sequence == self.sequence => digest,
            _ => {
                let digest = self.state.digest();
                self.digest = Some((self.sequence, digest));
                digest
            }
        }
    }

    /// A sequence and the digest of the state after it, as of a moment ago: how often it is
    /// computed anew depends on what it costs, since anyone may ask, at any rate.
    pub fn recent_digest(&mut self, now: Instant) -> (u64, Digest) {
        match (self.digest, self.digest_due) {
            (Some(recent), Some(due)) if now < due => recent,
            _ => {
                let digest = self.digest();
                let done = Instant::now();
                let cost = done.saturating_duration_since(now);
                self.digest_due = Some(done + cost * DIGEST_SHARE);
                (self.sequence, digest)
            }
        }
    }

    /// What memory holds, by kind.
    pub fn held(&self) -> [(&'static str, usize); 8] {
        let counts = self.state.counts();
        [
            ("jobs", self.index.jobs.len()),
            ("tasks", counts.tasks),
            ("attempts", counts.attempts),
            ("leases", self.index.leases.len()),
            ("orders", self.index.orders.len()),
            ("payments", self.index.payments.len()),
            ("fixed_leases", self.index.fixed_leases.len()),
            ("ended", self.endings.len()),
        ]
    }

    /// A read begins: whatever it builds is paid from a new allowance.
    pub fn begin_read(&self) {
        self.read_left.set(limits::READ_COST);
    }

    /// Whether the present read may still build something of this cost.
    pub fn affords(&self, cost: u64) -> bool {
        let left = self.read_left.get().checked_sub(cost);
        self.read_left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Machines that have leases, asks or offers to lose by staying away.
    pub fn machines_at_stake(&self) -> Vec<MachineId> {
        let lets = |machine: MachineId| {
            let offer = self.state.fixed_offer(machine);
            offer.is_some_and(|offer| offer.units > 0 || !offer.open.is_empty())
        };
        self.state
            .machines()
            .filter(|machine| {
                !machine.open_leases.is_empty()
                    || self.state.machine_asks(machine.machine).next().is_some()
                    || lets(machine.machine)
            })
            .map(|machine| machine.machine)
            .collect()
    }

    /// A job's version for `?after=`: grows with each event and with each heartbeat in between.
    /// After a restart the heartbeats count from 0 again, which delays a waiting client by one
    /// long poll at most.
    pub fn version(&self, job: JobId) -> u64 {
        let events = self.state.job(job).map_or(0, |job| job.version);
        let heartbeats = self.heartbeats.get(&job).copied().unwrap_or(0);
        (events << PROGRESS_BITS) + heartbeats.min((1 << PROGRESS_BITS) - 1)
    }

    /// Fuel of an attempt by its last heartbeat.
    pub fn progress(&self, attempt: AttemptId) -> Option<u64> {
        self.progress.get(&attempt).copied()
    }

    /// Notes a heartbeat; the jobs for which it is news. A machine's word about attempts that
    /// are not its own or not live is passed over.
    pub fn progressed(
        &mut self,
        machine: MachineId,
        progress: &[AttemptProgress],
    ) -> BTreeSet<JobId> {
        let mut jobs = BTreeSet::new();
        for AttemptProgress { attempt, fuel } in progress {
            let Some(live) = self.state.attempt_to_run(*attempt) else { continue };
            if live.machine == machine && self.progress.insert(*attempt, *fuel) != Some(*fuel) {
                jobs.insert(live.job);
            }
        }
        for job in &jobs {
            *self.heartbeats.entry(*job).or_insert(0) += 1;
        }
        jobs
    }

    /// The jobs that events concern.
    pub fn jobs_of(&self, events: &[Event]) -> BTreeSet<JobId> {
        events.iter().filter_map(|event| self.job_of(event)).collect()
    }

    fn job_of(&self, event: &Event) -> Option<JobId> {
        let of_order = |order: &OrderId| match self.state.order(*order)?.link {
            OrderLink::Bid { job } => Some(*job),
            OrderLink::Ask { .. } => None,
        };
        let of_task = |task: &TaskId| Some(self.state.task(*task)?.job);
        let of_lease = |lease: &LeaseId| Some(self.state.lease(*lease)?.job);
        match event {
            Event::JobSubmitted { job, .. }
            | Event::JobToppedUp { job, .. }
            | Event::JobExhausted { job, .. }
            | Event::JobResumed { job, .. }
            | Event::JobDone { job, .. }
            | Event::JobCancelled { job, .. }
            | Event::BidPlaced { job, .. }
            | Event::LeaseOpened { job, .. } => Some(*job),
            Event::LeaseClosed { lease, .. } => of_lease(lease),
            Event::AttemptStarted { task, .. }
            | Event::TaskDone { task, .. }
            | Event::TaskRefused { task, .. } => of_task(task),
            Event::ReceiptAccepted { attempt, .. } | Event::AttemptEnded { attempt, .. } => {
                of_task(&self.state.attempt(*attempt)?.task)
            }
            Event::Filled { bid, .. } => of_order(bid),
            Event::OrderReduced { order, .. } => of_order(order),
            _ => None,
        }
    }
}

/// The state up to and with journal entry `through`, from the very first entry: whatever a
/// snapshot says.
pub(crate) fn fold(reader: &mut dyn StoreReader, through: u64) -> Result<State, StoreError> {
    Ok(fold_from(Restored::nothing(), reader, through)?.state)
}

/// The state after the last entry, as an exchange with these files would start with it.
pub(crate) fn fold_from_snapshot(
    data: Option<&Path>,
    exchange: ExchangeId,
    reader: &mut dyn StoreReader,
) -> Result<Restored, StoreError> {
    let from = match data {
        Some(data) => snapshot::restore(&data.join(SNAPSHOTS), exchange, reader)?,
        None => None,
    };
    fold_from(from.unwrap_or_else(Restored::nothing), reader, u64::MAX)
}

fn fold_from(
    from: Restored,
    reader: &mut dyn StoreReader,
    through: u64,
) -> Result<Restored, StoreError> {
    let mut folded = from;
    reader.entries(folded.sequence, through, &mut |entry| {
        for event in &entry.events {
            folded.state.evolve(event);
        }
        (folded.sequence, folded.now_ms) = (entry.sequence, entry.now_ms);
    })?;
    Ok(folded)
}
