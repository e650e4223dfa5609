//! What the agent hears, from the exchange and from its attempts.

use base::AttemptId;
use tokio::time::Instant;
use wire::{AttemptEnd, AttemptStart, ToAgent, ToExchange};

use super::{Agent, REFUSAL_PAUSE_FIRST, REFUSAL_PAUSE_LAST, SETTLING};
use crate::ProviderError;
use crate::attempt::{Control, Report};
use crate::reconcile::{Ours, reconcile};

impl Agent {
    pub(super) fn welcome(&mut self, listed: &[AttemptStart]) {
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
        if self.is_leaving() {
            self.close_idle_leases();
        }
    }

    pub(super) fn hear(&mut self, message: ToAgent) {
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
                if self.is_leaving() {
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
                self.note_paid(lease, paid_nanocredits, true);
                self.offer_within(SETTLING);
            }
            ToAgent::ReceiptAccepted { attempt, sequence, lease_paid_nanocredits } => {
                tracing::debug!(
                    "receipt {sequence} of attempt {} accepted, {lease_paid_nanocredits} \
                     nanocredits so far",
                    attempt.short()
                );
                if let Some(lease) = self.attempts.get(&attempt).map(|running| running.lease) {
                    self.note_paid(lease, lease_paid_nanocredits, false);
                }
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
                if self.is_leaving() {
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
            // While it leaves, nothing is begun: the exchange asks again some other time.
            ToAgent::Measure { .. } if self.is_leaving() => {}
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

    pub(super) fn note(&mut self, attempt: AttemptId, report: Report) {
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
                if self.is_leaving() {
                    self.close_idle_leases();
                }
            }
        }
    }
}
