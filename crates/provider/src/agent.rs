//! The agent's one loop: an async `select` returns a typed action, a synchronous `apply` acts
//! on it. Everything slow is in tasks of its own ([`crate::link`], [`crate::drive`]).
//!
//! It must run on tokio's multi-threaded runtime: writing a receipt waits for the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base::{AttemptId, LeaseId};
use runtime::artefacts::Artefacts;
use runtime::launch::Launcher;
use tls::Trust;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use wire::{AttemptEnd, AttemptProgress, AttemptStart, SignedReceipt, ToAgent, ToExchange};

use crate::asks::Asks;
use crate::attempt::{Control, Report, Shared};
use crate::blobs::Blobs;
use crate::drive::drive;
use crate::fixed::Fixed;
use crate::link::{Introduction, Link, LinkEvent};
use crate::measure::Measurer;
use crate::pause::FaultPause;
use crate::reconcile::{Ours, reconcile};
use crate::state::State;
use crate::{Config, ProviderError, enrol};

/// After the last attempt of a drain: for the exchange to close the leases.
const CLOSING_MAX: Duration = Duration::from_secs(3);
/// A drain without a connection is not worth waiting for longer.
const DRAIN_OFFLINE_MAX: Duration = Duration::from_secs(10);
/// A fill is told in two messages, ask and lease, between which the sum of both looks wrong.
const SETTLING: Duration = Duration::from_millis(5);
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
    let link = Link::start(Introduction {
        url: enrolment.url.clone(),
        trust: trust.clone(),
        exchange: enrolment.exchange,
        machine: enrolment.machine,
        key: key.clone(),
        offer: config.terms(),
    });
    let (connected, connection) = watch::channel(false);
    let artefacts = config.artefacts.clone().unwrap_or_else(|| state.artefacts());
    let (reports, attempt_reports) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        exchange: enrolment.exchange,
        blobs: Blobs::new(&enrolment.url, &trust, &enrolment.token, state.blobs())
            .with_runtimes(&config.runtimes),
        key,
        slots: Arc::new(Semaphore::new(config.slots as usize)),
        slot_pages_max: config.memory_mib_per_slot.saturating_mul(16),
        checkpoint_interval: config.checkpoint_interval,
        launcher: Launcher {
            weakening: config.weakening,
            ..Launcher::new(config.worker.clone(), Artefacts::new(Some(artefacts)))
        },
        connected: connection,
        reports,
        state,
    });
    let prefix = format!("ask-{:08x}", getrandom::u32().unwrap_or_default());
    tracing::info!("machine {} of {}: {} slots", enrolment.machine, enrolment.url, config.slots);
    let mut agent = Agent {
        asks: Asks::new(
            config.slots,
            config.price_nanocredits_per_tfuel,
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
        measuring: Measurer::new(config.slots),
        fault_pause: FaultPause::new(),
        paused_until: None,
        drain: None,
        failure: None,
    };
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
    /// Sent, or to be sent, until it is answered.
    unacknowledged: Option<SignedReceipt>,
    /// Its failure was noted: the receipt may be issued more than once.
    faulted: bool,
    /// Its lease is to be closed. Until the exchange has heard of that it may be started again,
    /// so what was last signed stays on disk.
    given_up: bool,
}

/// A drain under way.
struct Drain {
    deadline: Instant,
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
}

impl Agent {
    async fn select(&mut self) -> Action {
        let [terminate, interrupt] = &mut self.signals;
        let (offer_at, deadline) = (self.offer_at, self.drain.as_ref().map(|drain| drain.deadline));
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
        }
        self.drained().then(|| self.end())
    }

    fn end(&mut self) -> Result<(), ProviderError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn welcome(&mut self, listed: &[AttemptStart]) {
        tracing::info!(
            "connected: {} leases, {} attempts to go on with",
            self.leases.len(),
            listed.len()
        );
        let ours = self.attempts.iter().map(|(attempt, running)| {
            let sequence = running.unacknowledged.as_ref().map(|signed| signed.receipt.sequence);
            (*attempt, Ours { unacknowledged: sequence })
        });
        let plan = reconcile(&ours.collect(), listed);
        for attempt in plan.drop {
            self.abandon(attempt, "the exchange does not list it any more");
        }
        for (attempt, sequence) in plan.accepted {
            self.answer(attempt, Control::Accepted { sequence });
        }
        for attempt in plan.resend {
            let receipt = self.attempts.get(&attempt).and_then(|r| r.unacknowledged.clone());
            if let Some(receipt) = receipt {
                self.link.send(ToExchange::Receipt(receipt));
            }
        }
        for start in plan.start {
            self.start(start);
        }
        for attempt in self.shared.state.receipted_attempts() {
            if !self.attempts.contains_key(&attempt) {
                self.shared.state.forget_receipt(attempt);
            }
        }
        if self.drain.is_some() {
            self.close_idle_leases();
        }
    }

    fn hear(&mut self, message: ToAgent) {
        match message {
            ToAgent::LeaseOpened { lease, job, ask: _, price_nanocredits_per_tfuel } => {
                tracing::info!(
                    "lease {} for job {} at {price_nanocredits_per_tfuel} nanocredits per Tfuel",
                    lease.short(),
                    job.short()
                );
                self.leases.insert(lease);
                self.sell_before_measuring();
                self.offer_within(SETTLING);
                if self.drain.is_some() {
                    self.close_idle_leases();
                }
            }
            ToAgent::StartAttempt(start) => self.start(start),
            ToAgent::StopAttempt { attempt, reason } => self.abandon(attempt, &reason),
            ToAgent::LeaseClosed { lease, reason, paid_nanocredits } => {
                tracing::info!(
                    "lease {} is over ({reason}); it earned {paid_nanocredits} nanocredits",
                    lease.short()
                );
                self.leases.remove(&lease);
                self.offer_within(SETTLING);
            }
            ToAgent::ReceiptAccepted { attempt, sequence, lease_paid_nanocredits } => {
                tracing::debug!(
                    "receipt {sequence} of attempt {} accepted, {lease_paid_nanocredits} \
                     nanocredits so far",
                    attempt.short()
                );
                self.answer(attempt, Control::Accepted { sequence });
            }
            ToAgent::ReceiptRejected { attempt, sequence, code, message, fatal } => {
                if fatal {
                    self.close_lease_of(attempt, format!("a receipt was refused: {message}"));
                }
                self.answer(attempt, Control::Rejected { sequence, code, message, fatal });
            }
            ToAgent::AskState(ask) => {
                if ask.leaves_quantity > 0 {
                    self.refusal_pause = REFUSAL_PAUSE_FIRST;
                }
                self.asks.on_state(ask);
                self.offer_within(SETTLING);
                if self.drain.is_some() {
                    self.withdraw();
                }
            }
            ToAgent::Refused { code, message }
                if self.drain.is_none() && self.asks.are_hopeless(&code) =>
            {
                self.asks.on_refusal();
                self.failure = Some(ProviderError::OfferRefused { code, message });
                // An earlier process may have left leases that still run.
                self.begin_drain();
            }
            ToAgent::Refused { code, message } => {
                if code == "exceeds_free_slots" && self.refusal_pause == REFUSAL_PAUSE_FIRST {
                    tracing::debug!("an ask crossed a fill: {message}");
                } else {
                    tracing::warn!("the exchange refused a message: {message} ({code})");
                }
                self.asks.on_refusal();
                self.offer_within(self.refusal_pause);
                self.refusal_pause = (self.refusal_pause * 2).min(REFUSAL_PAUSE_LAST);
            }
            ToAgent::Measure { .. } | ToAgent::MeasureRun { .. } | ToAgent::MeasureOver { .. } => {
                self.measuring.hear(message, &self.shared, &self.link);
                self.sell_before_measuring();
            }
            ToAgent::Qualifies { instruments } => {
                let flaws = self.asks.qualify(instruments);
                flaws.iter().for_each(|flaw| tracing::warn!("{flaw}"));
                self.offer_within(SETTLING);
            }
            ToAgent::Challenge { .. } | ToAgent::Welcome { .. } => {
                tracing::warn!("the exchange introduced itself twice");
            }
            other => {
                let answer = self.fixed.hear(other, Instant::now());
                self.say(answer);
            }
        }
    }

    fn note(&mut self, attempt: AttemptId, report: Report) {
        let Some(running) = self.attempts.get_mut(&attempt) else { return };
        match report {
            Report::Progress { fuel } => running.fuel = fuel,
            Report::Receipt(receipt) => {
                running.fuel = running.fuel.max(receipt.receipt.usage.fuel);
                let receipt = *receipt;
                running.unacknowledged = Some(receipt.clone());
                if let Some(AttemptEnd::Fault { reason }) = &receipt.receipt.ended
                    && !running.faulted
                {
                    running.faulted = true;
                    tracing::error!("attempt {} failed here: {reason}", attempt.short());
                    self.pause();
                }
                // Dropped when there is no connection, and then sent after the next welcome.
                self.link.send(ToExchange::Receipt(receipt));
            }
            Report::GivenUp { reason } => {
                tracing::error!("attempt {} is given up: {reason}", attempt.short());
                self.close_lease_of(attempt, reason);
                // Whoever comes next would not fare better.
                self.pause();
            }
            Report::Over => {
                if let Some(running) = self.attempts.remove(&attempt)
                    && !running.given_up
                {
                    self.shared.state.forget_receipt(attempt);
                }
                tracing::info!("attempt {} is over", attempt.short());
                self.trim_cache();
                if self.drain.is_some() {
                    self.close_idle_leases();
                }
            }
        }
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
        let task = tokio::spawn(drive(self.shared.clone(), start, controls)).abort_handle();
        let running = Running {
            lease,
            control,
            task,
            fuel,
            unacknowledged: None,
            faulted: false,
            given_up: false,
        };
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

    /// Ends the lease of an attempt of which nothing more can be said. If the exchange does not
    /// hear it, it lists the attempt again in its next welcome, and it comes to the same.
    fn close_lease_of(&mut self, attempt: AttemptId, reason: String) {
        let Some(running) = self.attempts.get_mut(&attempt) else { return };
        running.given_up = true;
        let lease = running.lease;
        let goes_on = |(id, other): (&AttemptId, &Running)| *id != attempt && other.lease == lease;
        if self.leases.contains(&lease) && !self.attempts.iter().any(goes_on) {
            self.link.send(ToExchange::CloseLease { lease, reason });
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
            Control::Drain => 0,
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
        if self.drain.is_some() || self.paused_until.is_some() {
            return self.withdraw();
        }
        for message in self.asks.offer(self.leases.len()) {
            self.link.send(message);
        }
    }

    fn begin_drain(&mut self) {
        tracing::info!("draining {} attempts; a second signal stops at once", self.attempts.len());
        let connected = *self.connected.borrow();
        let limit = if connected { self.drain_max } else { DRAIN_OFFLINE_MAX.min(self.drain_max) };
        self.drain = Some(Drain { deadline: Instant::now() + limit });
        self.measuring.stop();
        self.withdraw();
        let withdrawal = self.fixed.drain();
        self.say(withdrawal);
        for running in self.attempts.values() {
            let _ = running.control.send(Control::Drain);
        }
        self.close_idle_leases();
    }

    fn say(&self, message: Option<ToExchange>) {
        if let Some(message) = message {
            self.link.send(message);
        }
    }

    fn withdraw(&mut self) {
        for message in self.asks.withdraw() {
            self.link.send(message);
        }
    }

    /// Closes leases on which nothing runs. Those with an attempt are closed after it.
    fn close_idle_leases(&mut self) {
        for lease in &self.leases {
            if !self.attempts.values().any(|running| running.lease == *lease) {
                let reason = "the machine is drained".to_owned();
                self.link.send(ToExchange::CloseLease { lease: *lease, reason });
            }
        }
        if self.attempts.is_empty()
            && let Some(drain) = &mut self.drain
        {
            drain.deadline = drain.deadline.min(Instant::now() + CLOSING_MAX);
        }
    }

    /// Whether a drain has nothing left to wait for.
    fn drained(&self) -> bool {
        let settled = self.leases.is_empty() && self.asks.none_stand() && self.fixed.none_stands();
        let done = self.drain.is_some()
            && self.attempts.is_empty()
            && (settled || !*self.connected.borrow());
        if done {
            tracing::info!("drained");
        }
        done
    }
}
