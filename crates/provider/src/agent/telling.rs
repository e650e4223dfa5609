//! What the owner is told, and the books that are kept for it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use base::LeaseId;
use host::Power;
use host::governor::Verdict;
use host::linux::local_day;
use host::policy::Policy;
use tokio::time::Instant;

use super::Agent;
use crate::control::{Asked, Request};
use crate::lookout::Lookout;
use crate::status::{State, Status, TaskStatus};

/// Between two entries; what is longer is a computer that slept, and nothing worked.
const WORKED_MAX: Duration = Duration::from_secs(20);

/// What holds, by the settings or instead of them.
pub(super) fn policy_of(always: bool, lookout: &Lookout) -> Policy {
    match always {
        true => Policy::always(),
        false => lookout.sight.borrow().settings.policy.clone(),
    }
}

impl Agent {
    /// After each look at the computer.
    pub(super) fn keep_books(&mut self) {
        let now = Instant::now();
        let elapsed = now.duration_since(self.worked_at);
        self.worked_at = now;
        let day = local_day();
        if elapsed < WORKED_MAX && self.rest.is_none() {
            let slots = self.attempts.len().min(self.slots as usize) as u64;
            self.books.worked(day, slots * elapsed.as_millis() as u64);
        }
        let moved = self.shared.blobs.line().moved_bytes();
        self.books.moved(day, moved - std::mem::replace(&mut self.moved_bytes, moved));
        self.books.measured(self.shared.mfuel_per_s.load(Ordering::Relaxed));
        let today = self.books.of_day(day).traffic_bytes;
        self.lookout.traffic_today_bytes.store(today, Ordering::Relaxed);
        self.books.keep();
    }

    /// Takes what the owner's settings say of the line.
    pub(super) fn obey_the_settings(&mut self) {
        let limit = self.policy().upload_max_bytes_per_s;
        self.shared.blobs.line().limit(limit);
    }

    /// What holds now.
    pub(super) fn policy(&self) -> Policy {
        policy_of(self.always, &self.lookout)
    }

    pub(super) fn note_paid(&mut self, lease: LeaseId, paid_nanocredits: i64, is_over: bool) {
        self.books.paid(local_day(), lease, paid_nanocredits, is_over);
    }

    pub(super) fn answer_the_owner(&mut self, (request, back): Asked) {
        if request == Request::Look {
            self.lookout.wake();
        }
        // Whoever asked may be gone.
        let _ = back.send(self.status());
    }

    fn status(&self) -> Status {
        let sight = self.lookout.sight.borrow().clone();
        let day = local_day();
        let (today, month) = (self.books.of_day(day), self.books.of_month(day));
        let state = match (&self.drain, &self.rest, self.paused_until) {
            (Some(_), ..) => State::Draining,
            (None, Some(_), _) => State::Resting,
            (None, None, Some(_)) => State::Recovering,
            (None, None, None) => State::Working,
        };
        let reasons = match &sight.verdict {
            Verdict::Work => Vec::new(),
            Verdict::Wait(reasons) => reasons.iter().map(ToString::to_string).collect(),
        };
        let costs = self.pricing.costs(&sight.settings, self.books.mfuel_per_s());
        let electricity = |worked_ms: u64| {
            let hourly = i128::from(costs.nanocredits_per_core_hour());
            i64::try_from(hourly * i128::from(worked_ms) / 3_600_000).unwrap_or(i64::MAX)
        };
        let now = Instant::now();
        let tasks = self.attempts.values().map(|running| {
            let here_for = now.duration_since(running.begun_at);
            let fuel_here = running.fuel.saturating_sub(running.fuel_at_start);
            TaskStatus {
                task: running.task_id.to_string(),
                job: running.job.to_string(),
                fuel: running.fuel,
                fuel_here,
                here_for_s: here_for.as_secs(),
                mfuel_per_s: fuel_here / (here_for.as_micros() as u64).max(1),
            }
        });
        Status {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.name.clone(),
            machine: self.machine.to_string(),
            exchange: self.url.clone(),
            connected: *self.connected.borrow(),
            state,
            reasons,
            slots: self.slots,
            price_nanocredits_per_tfuel: self.asks.price_nanocredits_per_tfuel(),
            price_because: self.pricing.price.why.to_string(),
            break_even_nanocredits_per_tfuel: costs.break_even_nanocredits_per_tfuel(),
            mfuel_per_s: costs.mfuel_per_s,
            tasks: tasks.collect(),
            temperature_celsius: sight.seen.temperature_millicelsius.map(|heat| heat / 1000),
            others_cpu_percent: u32::from(sight.seen.others_cpu_permille) / 10,
            battery_percent: match sight.seen.power {
                Power::Mains => None,
                Power::Battery { percent } => Some(percent),
            },
            traffic_today_bytes: today.traffic_bytes,
            traffic_max_bytes_per_day: self.policy().traffic_max_bytes_per_day,
            earned_today_nanocredits: today.earned_nanocredits,
            earned_month_nanocredits: month.earned_nanocredits,
            electricity_today_nanocredits: electricity(today.worked_ms),
            electricity_month_nanocredits: electricity(month.worked_ms),
            worked_today_s: today.worked_ms / 1000,
            worked_month_s: month.worked_ms / 1000,
            settings_problem: sight.settings_problem,
        }
    }
}
