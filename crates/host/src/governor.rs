//! Whether foreign work may run now. Pure: the time comes with what was observed.
//!
//! Two things are never weighed against each other. Stopping is at once and on one observation,
//! since the owner is there. Beginning takes patience: everything must have been quiet for a
//! while, so that a computer that is hot, or compiles now and then, is not pushed to and fro.

use std::fmt;

use crate::policy::Policy;
use crate::{Observation, Power, Presence};

/// How long the owner's programs must have been quiet before work begins.
pub const CALM_MS: u64 = 30_000;
/// Degrees below the limit at which a computer that was too hot is cool again.
pub const COOLING_CELSIUS: i32 = 8;
/// Without an observation for so long, the computer slept (or hung): nothing is known of it.
pub const GAP_MS: u64 = 60_000;

/// Why nothing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The owner said so.
    Paused,
    /// The owner is there, or was just now.
    InUse {
        /// Until the owner counts as away, if nothing is touched.
        again_in_ms: u64,
    },
    /// Nobody can tell whether the owner is there.
    PresenceUnknown,
    /// It would cost the battery.
    OnBattery {
        /// What it holds.
        percent: u8,
    },
    /// The owner's programs need the processor.
    OthersBusy {
        /// Of all cores.
        percent: u8,
    },
    /// They did a moment ago.
    Settling {
        /// Until work begins, if it stays quiet.
        again_in_ms: u64,
    },
    /// Too hot, or not cool again yet.
    Hot {
        /// The hottest sensor.
        celsius: i32,
    },
    /// Not at this time of day.
    OutOfHours,
    /// The day's traffic is used up.
    TrafficSpent,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Paused => write!(f, "paused by its owner"),
            Reason::InUse { again_in_ms } => {
                write!(f, "in use: {} more if it is left alone", Lasting(*again_in_ms))
            }
            Reason::PresenceUnknown => write!(f, "can't tell whether somebody is using it"),
            Reason::OnBattery { percent } => write!(f, "on battery ({percent} %)"),
            Reason::OthersBusy { percent } => write!(f, "other programs use {percent} % of it"),
            Reason::Settling { again_in_ms } => {
                write!(f, "was busy a moment ago: {} more", Lasting(*again_in_ms))
            }
            Reason::Hot { celsius } => write!(f, "too hot ({celsius} °C)"),
            Reason::OutOfHours => write!(f, "not at this time of day"),
            Reason::TrafficSpent => write!(f, "today's traffic is used up"),
        }
    }
}

struct Lasting(u64);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_ceil(1000);
        match seconds {
            0..120 => write!(f, "{seconds} s"),
            _ => write!(f, "{} min", seconds.div_ceil(60)),
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Foreign work may run.
    Work,
    /// It may not, for these reasons, the most telling first.
    Wait(Vec<Reason>),
}

/// Decides, and remembers what it needs to for that.
#[derive(Debug, Clone, Default)]
pub struct Governor {
    last_ms: Option<u64>,
    busy_ms: Option<u64>,
    hot: bool,
    paused: bool,
}

impl Governor {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Governor::default()
    }

    /// What the owner said: nothing runs until it is taken back.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Whether work may run.
    pub fn decide(&mut self, policy: &Policy, seen: &Observation) -> Verdict {
        let now = seen.at_ms;
        let slept = self.last_ms.is_none_or(|last| now.saturating_sub(last) > GAP_MS);
        self.last_ms = Some(now);

        let others_percent = (seen.others_cpu_permille / 10).min(100) as u8;
        let asked = policy.others_cpu_max_percent < 100;
        let busy =
            asked && seen.others_cpu_permille >= u16::from(policy.others_cpu_max_percent) * 10;
        // After sleep everything wakes up and wants something.
        if busy || (slept && asked) {
            self.busy_ms = Some(now);
        }
        let limit = i32::from(policy.temperature_max_celsius) * 1000;
        match seen.temperature_millicelsius {
            Some(hottest) if hottest >= limit => self.hot = true,
            Some(hottest) if hottest >= limit - COOLING_CELSIUS * 1000 => {}
            _ => self.hot = false,
        }

        let mut reasons = Vec::new();
        if self.paused {
            reasons.push(Reason::Paused);
        }
        if policy.idle_s > 0 {
            match seen.presence {
                Presence::Idle { for_ms } => {
                    let again_in_ms = (u64::from(policy.idle_s) * 1000).saturating_sub(for_ms);
                    if again_in_ms > 0 {
                        reasons.push(Reason::InUse { again_in_ms });
                    }
                }
                Presence::Unknown => reasons.push(Reason::PresenceUnknown),
                Presence::Nobody => {}
            }
        }
        if let Power::Battery { percent } = seen.power
            && !policy.on_battery
        {
            reasons.push(Reason::OnBattery { percent });
        }
        if busy {
            reasons.push(Reason::OthersBusy { percent: others_percent });
        } else if let Some(since) = self.busy_ms.map(|busy| now.saturating_sub(busy)) {
            if since < CALM_MS {
                reasons.push(Reason::Settling { again_in_ms: CALM_MS - since });
            } else {
                self.busy_ms = None;
            }
        }
        if self.hot {
            let celsius = seen.temperature_millicelsius.unwrap_or(limit) / 1000;
            reasons.push(Reason::Hot { celsius });
        }
        if !policy.hours.is_empty()
            && !policy.hours.iter().any(|hours| hours.contain(seen.minute_of_day))
        {
            reasons.push(Reason::OutOfHours);
        }
        if seen.traffic_today_bytes >= policy.traffic_max_bytes_per_day {
            reasons.push(Reason::TrafficSpent);
        }
        if reasons.is_empty() { Verdict::Work } else { Verdict::Wait(reasons) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Hours;

    /// An empty house at night.
    fn quiet(at_ms: u64) -> Observation {
        Observation {
            at_ms,
            minute_of_day: 180,
            presence: Presence::Idle { for_ms: 3_600_000 },
            power: Power::Mains,
            others_cpu_permille: 20,
            temperature_millicelsius: Some(45_000),
            traffic_today_bytes: 0,
        }
    }

    /// Has seen a quiet computer for long enough, at time 0.
    fn settled() -> Governor {
        let mut governor = Governor::new();
        for at in [0, CALM_MS] {
            governor.decide(&Policy::default(), &quiet(at));
        }
        Governor { last_ms: Some(0), ..governor }
    }

    fn reasons(verdict: Verdict) -> Vec<String> {
        match verdict {
            Verdict::Work => Vec::new(),
            Verdict::Wait(reasons) => reasons.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn each_limit_stops_it_on_one_observation() {
        let at = quiet(1000);
        for (seen, expected) in [
            (at, ""),
            (Observation { presence: Presence::Nobody, ..at }, ""),
            (Observation { temperature_millicelsius: None, ..at }, ""),
            (
                Observation { presence: Presence::Idle { for_ms: 0 }, ..at },
                "in use: 5 min more if it is left alone",
            ),
            (
                Observation { presence: Presence::Idle { for_ms: 299_001 }, ..at },
                "in use: 1 s more if it is left alone",
            ),
            (
                Observation { presence: Presence::Unknown, ..at },
                "can't tell whether somebody is using it",
            ),
            (Observation { power: Power::Battery { percent: 97 }, ..at }, "on battery (97 %)"),
            (Observation { others_cpu_permille: 249, ..at }, ""),
            (Observation { others_cpu_permille: 250, ..at }, "other programs use 25 % of it"),
            (Observation { temperature_millicelsius: Some(79_999), ..at }, ""),
            (Observation { temperature_millicelsius: Some(80_000), ..at }, "too hot (80 °C)"),
            (
                Observation { traffic_today_bytes: 5_000_000_000, ..at },
                "today's traffic is used up",
            ),
        ] {
            let said = reasons(settled().decide(&Policy::default(), &seen));
            assert_eq!(said.join(", "), expected, "{seen:?}");
        }
    }

    #[test]
    fn owners_may_allow_more() {
        let night: Hours = "22:00-07:00".parse().unwrap();
        let generous = Policy {
            idle_s: 0,
            on_battery: true,
            others_cpu_max_percent: 100,
            temperature_max_celsius: 95,
            hours: vec![night],
            ..Policy::default()
        };
        let there = Observation {
            presence: Presence::Unknown,
            power: Power::Battery { percent: 40 },
            others_cpu_permille: 1000,
            temperature_millicelsius: Some(94_999),
            ..quiet(0)
        };
        assert_eq!(Governor::new().decide(&generous, &there), Verdict::Work);
        let noon = Observation { minute_of_day: 720, ..there };
        assert_eq!(
            Governor::new().decide(&generous, &noon),
            Verdict::Wait(vec![Reason::OutOfHours])
        );
        let mut governor = Governor::new();
        governor.pause(true);
        assert_eq!(governor.decide(&generous, &there), Verdict::Wait(vec![Reason::Paused]));
        governor.pause(false);
        assert_eq!(governor.decide(&generous, &there), Verdict::Work);
    }

    #[test]
    fn it_begins_only_after_a_calm_while() {
        let mut governor = settled();
        let policy = Policy::default();
        let busy = Observation { others_cpu_permille: 900, ..quiet(1000) };
        assert_eq!(reasons(governor.decide(&policy, &busy)), ["other programs use 90 % of it"]);
        let said = reasons(governor.decide(&policy, &quiet(2000)));
        assert_eq!(said, ["was busy a moment ago: 29 s more"]);
        assert_eq!(reasons(governor.decide(&policy, &quiet(30_999))).len(), 1);
        assert_eq!(governor.decide(&policy, &quiet(31_000)), Verdict::Work);
        // It slept: what was calm before says nothing of now.
        let woke = 31_000 + GAP_MS + 1;
        let said = reasons(governor.decide(&policy, &quiet(woke)));
        assert_eq!(said, ["was busy a moment ago: 30 s more"]);
        assert_eq!(governor.decide(&policy, &quiet(woke + CALM_MS)), Verdict::Work);
    }

    #[test]
    fn a_hot_computer_cools_down_before_it_works_again() {
        let mut governor = settled();
        let policy = Policy::default();
        let degrees = [79, 80, 79, 73, 72, 71, 79, 80];
        let works: Vec<bool> = (1_u64..)
            .zip(degrees)
            .map(|(at, celsius)| {
                let seen =
                    Observation { temperature_millicelsius: Some(celsius * 1000), ..quiet(at) };
                governor.decide(&policy, &seen) == Verdict::Work
            })
            .collect();
        assert_eq!(works, [true, false, false, false, false, true, true, false]);
    }

    fn any_observation() -> impl Strategy<Value = Observation> {
        let presence = prop_oneof![
            (0..1_000_000_u64).prop_map(|for_ms| Presence::Idle { for_ms }),
            Just(Presence::Nobody),
            Just(Presence::Unknown),
        ];
        let power = prop_oneof![
            Just(Power::Mains),
            (0..=100_u8).prop_map(|percent| Power::Battery { percent })
        ];
        let heat = proptest::option::of(20_000..100_000);
        (0..120_000_u64, 0..1440_u16, presence, power, 0..=1000_u16, heat, 0..6_000_000_000_u64)
            .prop_map(|(at_ms, minute_of_day, presence, power, others, heat, traffic)| {
                Observation {
                    at_ms,
                    minute_of_day,
                    presence,
                    power,
                    others_cpu_permille: others,
                    temperature_millicelsius: heat,
                    traffic_today_bytes: traffic,
                }
            })
    }

    proptest! {
        /// Whatever came before: work means that each limit is kept now, and that the owner's
        /// programs have been quiet for a while.
        #[test]
        fn work_means_that_nobody_minds(
            steps in proptest::collection::vec(any_observation(), 1..200),
            night: bool,
        ) {
            let mut policy = Policy::default();
            if night {
                policy.hours = vec!["22:00-07:00".parse().unwrap()];
            }
            let mut governor = Governor::new();
            let (mut now, mut busy) = (0, 0);
            for step in steps {
                let gap = step.at_ms;
                now += gap;
                let seen = Observation { at_ms: now, ..step };
                if seen.others_cpu_permille >= 250 || gap > GAP_MS {
                    busy = now;
                }
                match governor.decide(&policy, &seen) {
                    Verdict::Wait(reasons) => prop_assert!(!reasons.is_empty()),
                    Verdict::Work => {
                        let away = match seen.presence {
                            Presence::Idle { for_ms } => for_ms >= 300_000,
                            Presence::Nobody => true,
                            Presence::Unknown => false,
                        };
                        prop_assert!(away && seen.power == Power::Mains);
                        prop_assert!(now - busy >= CALM_MS);
                        prop_assert!(seen.temperature_millicelsius.is_none_or(|t| t < 80_000));
                        prop_assert!(seen.traffic_today_bytes < 5_000_000_000);
                        prop_assert!(policy.hours.iter().all(|h| h.contain(seen.minute_of_day)));
                    }
                }
            }
        }
    }
}
