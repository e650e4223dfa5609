//! The agent's one loop: an async `select` returns a typed action, a synchronous `apply` acts
//! on it. Everything slow is in tasks of its own ([`crate::link`], [`crate::drive`]).
//!
//! It must run on tokio's multi-threaded runtime: writing a receipt waits for the disk.

mod hearing;
mod leaving;
mod pricing;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use base::{AttemptId, JobId, LeaseId, MachineId, TaskId};
use tls::Trust;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use wire::{AttemptEnd, AttemptProgress, AttemptStart, SignedReceipt, ToExchange};

use crate::asks::Asks;
use crate::attempt::{Control, Report, Shared};
use crate::blobs::Blobs;
use crate::books::Books;
use crate::control::{self, Asked};
use crate::drive::drive;
use crate::fixed::Fixed;
use crate::link::{Introduction, Link, LinkEvent};
use crate::lookout::Lookout;
use crate::measure::Measurer;
use crate::pause::FaultPause;
use crate::quotes;
use crate::state::State;
use crate::{Config, ProviderError, enrol};
use host::linux::Linux;
use leaving::{DRAIN_OFFLINE_MAX, Drain, Rest};
use pricing::Pricing;
use telling::policy_of;

/// A fill is told in two messages, ask and lease, between which the sum of both looks wrong.
const SETTLING: Duration = Duration::from_millis(5);
/// Between two tries to offer something before the market has said what prices there are.
const PRICELESS: Duration = Duration::from_millis(200);
/// After an ask was refused, before the next one; doubled with each refusal in a row. The first
/// is most often a race with a fill whose lease is still on its way.
const REFUSAL_PAUSE_FIRST: Duration = Duration::from_millis(20);
const REFUSAL_PAUSE_LAST: Duration = Duration::from_secs(5);

pub(crate) async fn run(config: Config) -> Result<(), ProviderError> {
    let state = Arc::new(State::open(&config.data)?);
    let key = Arc::new(state.key()?);
    let (join, ca) = (config.join.as_deref(), config.ca.as_deref());
    let enrolment = enrol::enrolment(&state, &key, &config.name, join, ca).await?;
    let trust = Trust::of(&enrolment.url, enrolment.ca.as_deref())?;
    let signals = |kind| {
        signal(kind).map_err(|source| ProviderError::System { what: "deliver signals", source })
    };
    let signals = [signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?];
    let launcher = config.launcher(&state);
    let settings = config.data.join(crate::SETTINGS_FILE);
    let freezer = launcher.freezer.clone();
    let lookout = Lookout::start(&settings, &config.root, config.always, freezer)?;
    let slots = config.slots_allowed(&policy_of(config.always, &lookout));
    let link = Link::start(Introduction {
        url: enrolment.url.clone(),
        trust: trust.clone(),
        exchange: enrolment.exchange,
        machine: enrolment.machine,
        key: key.clone(),
        offer: config.terms(slots),
    });
    let (ask, asked) = mpsc::unbounded_channel();
    control::listen(&config.data, ask);
    let (connected, connection) = watch::channel(false);
    let (reports, attempt_reports) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        exchange: enrolment.exchange,
        blobs: Blobs::new(&enrolment.url, &trust, &enrolment.token, state.blobs())
            .with_runtimes(&config.runtimes),
        key,
        slots: Arc::new(Semaphore::new(slots as usize)),
        slot_pages_max: config.memory_mib_per_slot.saturating_mul(16),
        checkpoint_interval: config.checkpoint_interval,
        turns: Arc::new(Semaphore::new(1)),
        launcher,
        mfuel_per_s: AtomicU32::new(config.mfuel_per_s.unwrap_or(0)),
        connected: connection,
        reports,
        state,
    });
    let prefix = format!("ask-{:08x}", getrandom::u32().unwrap_or_default());
    tracing::info!("machine {} of {}: {} slots", enrolment.machine, enrolment.url, slots);
    let instrument = config.instruments.first().map_or(crate::INSTRUMENT, String::as_str);
    let quotes = quotes::follow(&enrolment.url, &trust, instrument);
    let given = config.price_nanocredits_per_tfuel;
    let pricing = Pricing::new(given, quotes, &Linux::new(&config.root));
    let mut agent = Agent {
        asks: Asks::new(
            slots,
            pricing.price.nanocredits_per_tfuel,
            config.instruments.clone(),
            prefix,
        ),
        fixed: Fixed::new(config.fixed),
        drain_max: config.drain_max,
        shared,
        link,
        reports: attempt_reports,
        signals,
        connected,
        attempts: BTreeMap::new(),
        leases: BTreeSet::new(),
        heartbeat: Duration::from_secs(2),
        heartbeat_at: Instant::now(),
        offer_at: None,
        refusal_pause: REFUSAL_PAUSE_FIRST,
        measuring: Measurer::new(slots),
        fault_pause: FaultPause::new(),
        paused_until: None,
        drain: None,
        lookout,
        rest: None,
        always: config.always,
        pricing,
        asked,
        books: Books::open(&config.data.join(crate::BOOKS_FILE)),
        worked_at: Instant::now(),
        moved_bytes: 0,
        name: config.name,
        machine: enrolment.machine,
        url: enrolment.url,
        slots,
        failure: None,
    };
    agent.look();
    loop {
        let action = agent.select().await;
        if let Some(end) = agent.apply(action) {
            return end;
        }
    }
}

/// An attempt as the loop sees it.
struct Running {
    lease: LeaseId,
    control: UnboundedSender<Control>,
    task: AbortHandle,
    fuel: u64,
    /// For its owner to see.
    task_id: TaskId,
    job: JobId,
    fuel_at_start: u64,
    begun_at: Instant,
    /// Sent, or to be sent, until it is answered.
    unacknowledged: Option<SignedReceipt>,
    /// Its failure was noted: the receipt may be issued more than once.
    faulted: bool,
    /// Its lease is to be closed. Until the exchange has heard of that it may be started again,
    /// so what was last signed stays on disk.
    given_up: bool,
}

struct Agent {
    shared: Arc<Shared>,
    link: Link,
    reports: UnboundedReceiver<(AttemptId, Report)>,
    signals: [Signal; 2],
    connected: watch::Sender<bool>,
    asks: Asks,
    fixed: Fixed,
    attempts: BTreeMap<AttemptId, Running>,
    leases: BTreeSet<LeaseId>,
    heartbeat: Duration,
    heartbeat_at: Instant,
    /// When to work out what to offer.
    offer_at: Option<Instant>,
    refusal_pause: Duration,
    measuring: Measurer,
    fault_pause: FaultPause,
    /// Nothing is offered before.
    paused_until: Option<Instant>,
    drain_max: Duration,
    drain: Option<Drain>,
    lookout: Lookout,
    rest: Option<Rest>,
    always: bool,
    pricing: Pricing,
    asked: UnboundedReceiver<Asked>,
    books: Books,
    /// When it was last noted how much works, and of how many bytes it was.
    worked_at: Instant,
    moved_bytes: u64,
    name: String,
    machine: MachineId,
    url: String,
    slots: u32,
    /// What the agent ends with when the drain is over, if it is not the owner who wants it.
    failure: Option<ProviderError>,
}

#[derive(Debug)]
enum Action {
    Signalled,
    Link(LinkEvent),
    /// The link's task is gone, which only happens when it was dismissed or broke down.
    LinkEnded,
    Attempt(AttemptId, Report),
    HeartbeatDue,
    OfferDue,
    PauseOver,
    FixedDue,
    DrainOverdue,
    /// The owner wants to know something.
    Asked(Asked),
    /// The computer was looked at.
    Looked,
    RestOverdue,
}

impl Agent {
    async fn select(&mut self) -> Action {
        let [terminate, interrupt] = &mut self.signals;
        let (offer_at, deadline) = (self.offer_at, self.drain.as_ref().map(|drain| drain.deadline));
        let rest_deadline = self.rest.as_ref().and_then(|rest| rest.deadline);
        let (paused_until, fixed_at) = (self.paused_until, self.fixed.retry_at);
        let now = Instant::now();
        tokio::select! {
            _ = terminate.recv() => Action::Signalled,
            _ = interrupt.recv() => Action::Signalled,
            event = self.link.events.recv() => event.map_or(Action::LinkEnded, Action::Link),
            Some((attempt, report)) = self.reports.recv() => Action::Attempt(attempt, report),
            () = sleep_until(self.heartbeat_at), if *self.connected.borrow() => {
                Action::HeartbeatDue
            }
            () = sleep_until(offer_at.unwrap_or(now)), if offer_at.is_some() => Action::OfferDue,
            () = sleep_until(paused_until.unwrap_or(now)), if paused_until.is_some() => {
                Action::PauseOver
            }
            () = sleep_until(fixed_at.unwrap_or(now)), if fixed_at.is_some() => Action::FixedDue,
            () = sleep_until(deadline.unwrap_or(now)), if deadline.is_some() => {
                Action::DrainOverdue
            }
            Some(asked) = self.asked.recv() => Action::Asked(asked),
            Ok(()) = self.lookout.sight.changed() => Action::Looked,
            () = sleep_until(rest_deadline.unwrap_or(now)), if rest_deadline.is_some() => {
                Action::RestOverdue
            }
        }
    }

    /// The agent's end, if this was it.
    fn apply(&mut self, action: Action) -> Option<Result<(), ProviderError>> {
        match action {
            Action::Signalled if self.drain.is_some() => {
                return Some(Err(ProviderError::Interrupted));
            }
            Action::Signalled => self.begin_drain(),
            Action::Link(LinkEvent::Up { heartbeat, leases, attempts, asks, fixed_leases }) => {
                self.heartbeat = heartbeat;
                self.heartbeat_at = Instant::now() + heartbeat;
                self.leases = leases.into_iter().collect();
                self.asks.reset(asks);
                self.connected.send_replace(true);
                self.welcome(&attempts);
                self.offer();
                let offer = self.fixed.connected(fixed_leases);
                self.say(offer);
            }
            Action::Link(LinkEvent::Down { reason }) => {
                self.measuring.stop();
                if self.connected.send_replace(false) {
                    tracing::warn!("lost the exchange: {reason}; reconnecting");
                } else {
                    tracing::debug!("no exchange: {reason}");
                }
                if let Some(drain) = &mut self.drain {
                    drain.deadline = drain.deadline.min(Instant::now() + DRAIN_OFFLINE_MAX);
                }
            }
            Action::Link(LinkEvent::Dismissed { code, message }) => {
                return Some(Err(match code.ends_with("_out_of_range") {
                    true => ProviderError::OfferRefused { code, message },
                    false => ProviderError::Dismissed { code, message },
                }));
            }
            Action::LinkEnded => {
                return Some(Err(ProviderError::Dismissed {
                    code: "connection_ended".to_owned(),
                    message: "the connection broke down for good".to_owned(),
                }));
            }
            Action::Link(LinkEvent::Said(message)) => self.hear(message),
            Action::Attempt(attempt, report) => self.note(attempt, report),
            Action::HeartbeatDue => {
                self.heartbeat_at = Instant::now() + self.heartbeat;
                let progress = self.attempts.iter().map(|(attempt, running)| AttemptProgress {
                    attempt: *attempt,
                    fuel: running.fuel,
                });
                self.link.send(ToExchange::Heartbeat { progress: progress.collect() });
            }
            Action::OfferDue => {
                self.offer_at = None;
                self.offer();
            }
            Action::PauseOver => {
                self.paused_until = None;
                self.offer();
            }
            Action::FixedDue => {
                let offer = self.fixed.offer();
                self.say(offer);
            }
            Action::DrainOverdue => {
                for attempt in self.attempts.keys() {
                    tracing::warn!("attempt {} is given up", attempt.short());
                }
                return Some(self.end());
            }
            Action::Asked(asked) => self.answer_the_owner(asked),
            Action::Looked => self.look(),
            Action::RestOverdue => self.give_up_what_is_left(),
        }
        self.drained().then(|| self.end())
    }

    fn look(&mut self) {
        self.obey_the_settings();
        self.obey_the_lookout();
        self.keep_books();
        if self.reprice() == Some(true) {
            self.offer();
        }
    }

    fn end(&mut self) -> Result<(), ProviderError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn start(&mut self, start: AttemptStart) {
        if self.attempts.contains_key(&start.attempt) || self.drain.is_some() {
            return;
        }
        tracing::info!(
            "attempt {} of task {} of job {}, epoch {}, from fuel {}",
            start.attempt.short(),
            start.task.short(),
            start.job.short(),
            start.epoch,
            start.usage.fuel
        );
        let (control, controls) = mpsc::unbounded_channel();
        let (attempt, lease, fuel) = (start.attempt, start.lease, start.usage.fuel);
        let (task_id, job) = (start.task, start.job);
        let task = tokio::spawn(drive(self.shared.clone(), start, controls)).abort_handle();
        let running = Running {
            lease,
            control,
            task,
            fuel,
            task_id,
            job,
            fuel_at_start: fuel,
            begun_at: Instant::now(),
            unacknowledged: None,
            faulted: false,
            given_up: false,
        };
        if self.rest.is_some() {
            // What an earlier process left unsaid is said, and nothing is run.
            let _ = running.control.send(Control::Yield);
        }
        self.attempts.insert(attempt, running);
    }

    /// Stops an attempt of which nothing more will be paid.
    fn abandon(&mut self, attempt: AttemptId, reason: &str) {
        if let Some(running) = self.attempts.remove(&attempt) {
            tracing::info!("attempt {} stops: {reason}", attempt.short());
            running.task.abort();
            self.shared.state.forget_receipt(attempt);
            self.trim_cache();
        }
    }

    /// Offers nothing for a while after a failure of this machine.
    fn pause(&mut self) {
        let pause = self.fault_pause.failed();
        let until = Instant::now() + pause;
        self.paused_until = Some(self.paused_until.map_or(until, |earlier| earlier.max(until)));
        tracing::warn!("nothing is offered for {} s", pause.as_secs());
        self.withdraw();
    }

    /// The cache grows with every attempt.
    fn trim_cache(&self) {
        let blobs = self.shared.blobs.clone();
        tokio::task::spawn_blocking(move || blobs.trim());
    }

    /// Passes an answer on to the attempt's task.
    fn answer(&mut self, attempt: AttemptId, answer: Control) {
        let Some(running) = self.attempts.get_mut(&attempt) else { return };
        let answered = match &answer {
            Control::Accepted { sequence } | Control::Rejected { sequence, .. } => *sequence,
            Control::Drain | Control::Yield => 0,
        };
        let answered = |signed: &mut SignedReceipt| signed.receipt.sequence <= answered;
        let receipt = running.unacknowledged.take_if(answered).map(|signed| signed.receipt);
        if let (Control::Accepted { .. }, Some(receipt)) = (&answer, receipt)
            && matches!(
                receipt.ended,
                Some(AttemptEnd::Finished { .. } | AttemptEnd::AllowanceSpent)
            )
        {
            self.fault_pause.succeeded();
        }
        let _ = running.control.send(answer);
    }

    /// A measurement that needs the slot of a buyer waits for another time.
    fn sell_before_measuring(&mut self) {
        let given_up = self.measuring.make_room(self.leases.len());
        self.say(given_up);
    }

    fn offer_within(&mut self, pause: Duration) {
        if self.offer_at.is_none() {
            self.offer_at = Some(Instant::now() + pause);
        }
    }

    fn offer(&mut self) {
        if !*self.connected.borrow() {
            return;
        }
        if self.is_leaving() || self.paused_until.is_some() {
            return self.withdraw();
        }
        if self.reprice().is_none() {
            return self.offer_within(PRICELESS);
        }
        for message in self.asks.offer(self.leases.len()) {
            self.link.send(message);
        }
    }

    fn say(&self, message: Option<ToExchange>) {
        if let Some(message) = message {
            self.link.send(message);
        }
    }
}
