//! How the machine leaves the market: for good (a drain), or while its owner needs it (a rest).
//!
//! Both withdraw the asks, stop every attempt at a checkpoint that is uploaded and paid, and close
//! the leases. A drain stops all attempts at once and ends the agent. A rest begins with every
//! worker frozen where it is, in one go; then they are thawed one by one for as long as it takes
//! to stop ([`crate::attend`]), at the lowest priority: so the owner has the computer at once.

use std::time::Duration;

use base::AttemptId;
use host::governor::{Reason, Verdict};
use tokio::time::Instant;
use wire::ToExchange;

use super::{Agent, Running};
use crate::attempt::Control;

/// After the last attempt of a drain: for the exchange to close the leases.
const CLOSING_MAX: Duration = Duration::from_secs(3);
/// A drain without a connection is not worth waiting for longer.
pub(super) const DRAIN_OFFLINE_MAX: Duration = Duration::from_secs(10);
/// What is not uploaded by then is given up: the task goes on elsewhere from the last accepted
/// checkpoint.
const REST_DRAIN_MAX: Duration = Duration::from_secs(300);

/// A drain under way.
pub(super) struct Drain {
    pub deadline: Instant,
}

/// The owner needs the computer.
pub(super) struct Rest {
    /// When to give up what is still being stopped.
    pub deadline: Option<Instant>,
}

impl Agent {
    /// Whether nothing new is taken.
    pub(super) fn is_leaving(&self) -> bool {
        self.drain.is_some() || self.rest.is_some()
    }

    /// Does what the newest look at the computer says.
    pub(super) fn obey_the_lookout(&mut self) {
        let verdict = self.lookout.sight.borrow_and_update().verdict.clone();
        if self.drain.is_some() {
            // Its owner wants it to end, and it will.
            return;
        }
        match (verdict, &self.rest) {
            (Verdict::Wait(reasons), None) => self.begin_rest(&reasons),
            (Verdict::Work, Some(_)) => self.end_rest(),
            _ => {}
        }
    }

    fn begin_rest(&mut self, reasons: &[Reason]) {
        self.shared.launcher.freezer.freeze();
        let why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        tracing::info!("resting, {} attempts frozen: {}", self.attempts.len(), why.join("; "));
        self.rest = Some(Rest { deadline: Some(Instant::now() + REST_DRAIN_MAX) });
        self.measuring.stop();
        self.withdraw();
        for running in self.attempts.values() {
            let _ = running.control.send(Control::Yield);
        }
        self.close_idle_leases();
    }

    fn end_rest(&mut self) {
        tracing::info!("working again");
        self.rest = None;
        // Whatever still waits to be stopped needn't wait for the others.
        for running in self.attempts.values() {
            let _ = running.control.send(Control::Drain);
        }
        self.shared.launcher.freezer.thaw();
        self.offer();
    }

    /// The owner has waited long enough: what is left is dropped.
    pub(super) fn give_up_what_is_left(&mut self) {
        if let Some(rest) = &mut self.rest {
            rest.deadline = None;
        }
        let left: Vec<AttemptId> = self.attempts.keys().copied().collect();
        for attempt in left {
            tracing::warn!("attempt {} is given up", attempt.short());
            self.close_lease_of(attempt, "the machine's owner needs it".to_owned());
            if let Some(running) = self.attempts.remove(&attempt) {
                running.task.abort();
            }
        }
    }

    pub(super) fn begin_drain(&mut self) {
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

    /// Ends the lease of an attempt of which nothing more can be said. If the exchange does not
    /// hear it, it lists the attempt again in its next welcome, and it comes to the same.
    pub(super) fn close_lease_of(&mut self, attempt: AttemptId, reason: String) {
        let Some(running) = self.attempts.get_mut(&attempt) else { return };
        running.given_up = true;
        let lease = running.lease;
        let goes_on = |(id, other): (&AttemptId, &Running)| *id != attempt && other.lease == lease;
        if self.leases.contains(&lease) && !self.attempts.iter().any(goes_on) {
            self.link.send(ToExchange::CloseLease { lease, reason });
        }
    }

    pub(super) fn withdraw(&mut self) {
        for message in self.asks.withdraw() {
            self.link.send(message);
        }
    }

    /// Closes leases on which nothing runs. Those with an attempt are closed after it.
    pub(super) fn close_idle_leases(&mut self) {
        let reason = match &self.drain {
            Some(_) => "the machine is drained",
            None => "the machine's owner needs it",
        };
        for lease in &self.leases {
            if !self.attempts.values().any(|running| running.lease == *lease) {
                let reason = reason.to_owned();
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
    pub(super) fn drained(&self) -> bool {
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
