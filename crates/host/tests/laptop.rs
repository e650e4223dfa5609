//! Days in the life of a laptop, second by second, through the policy that agents have: its owner
//! works, closes the lid, takes a train, plays, watches, and the sun shines on the desk.
//!
//! What the owner does is drawn from a seed; what the agent may do is worked out beside it from the
//! truth, without the policy's code. `JUSHA_LAPTOPS=N` plays so many laptops, `JUSHA_SEED=N` one.

use std::collections::BTreeMap;

use host::governor::{CALM_MS, GAP_MS, Governor, Reason, Verdict};
use host::policy::Policy;
use host::{Observation, Power, Presence};

const DAY_S: u64 = 86_400;
const DAYS: u64 = 3;
/// As the settings' defaults say it, and not taken from there.
const IDLE_S: u64 = 300;

/// splitmix64: a seed repeats everything.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.of(0..100) < percent
    }
}

/// What the owner is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    /// Types, with pauses for thought and coffee.
    Desk,
    /// The same without a plug.
    Cafe,
    /// Lid closed: nothing of the computer runs.
    Lid,
    /// Lid closed, and when it opens the clock on the wall is another one.
    Travel,
    /// A gamepad, which is nothing that is touched by the kernel's count; all cores hot.
    Game,
    /// Builds something for long and is away.
    Build,
    /// Away, plugged in.
    Away,
    /// Away, unplugged.
    AwayOnBattery,
}

/// The truth.
struct Laptop {
    random: Random,
    life: Life,
    until_s: u64,
    touched_s: u64,
    /// Seconds that the wall clock is off the beginning's.
    zone_s: u64,
    others_permille: u16,
    millicelsius: i32,
    battery: u8,
}

impl Laptop {
    fn new(seed: u64) -> Self {
        Laptop {
            random: Random(seed),
            life: Life::Desk,
            until_s: 0,
            touched_s: 0,
            zone_s: 0,
            others_permille: 0,
            millicelsius: 45_000,
            battery: 90,
        }
    }

    fn minute(&self, now_s: u64) -> u16 {
        ((now_s + self.zone_s) % DAY_S / 60) as u16
    }

    /// What comes next, by the time of day.
    fn decide(&mut self, now_s: u64) {
        let hour = self.minute(now_s) / 60;
        let draw = self.random.of(0..100);
        self.life = match (hour, draw) {
            (0..7, 0..70) => Life::Away,
            (0..7, 70..85) => Life::Lid,
            (0..7, _) => Life::AwayOnBattery,
            (7..19, 0..40) => Life::Desk,
            (7..19, 40..55) => Life::Away,
            (7..19, 55..70) => Life::Lid,
            (7..19, 70..80) => Life::Build,
            (7..19, 80..90) => Life::Cafe,
            (7..19, _) => Life::Travel,
            (_, 0..40) => Life::Game,
            (_, 40..60) => Life::Desk,
            (_, 60..90) => Life::Away,
            _ => Life::Lid,
        };
        let minutes = match self.life {
            Life::Travel => self.random.of(60..600),
            Life::Away | Life::AwayOnBattery => self.random.of(10..240),
            _ => self.random.of(3..120),
        };
        self.until_s = now_s + minutes * 60;
        if self.life == Life::Travel {
            self.zone_s = (self.zone_s + self.random.of(1..23) * 3600) % DAY_S;
        }
    }

    /// One second passes; `works` is what the agent did in it. Whether the computer was awake.
    fn second(&mut self, now_s: u64, works: bool) -> bool {
        if now_s >= self.until_s {
            self.decide(now_s);
            // Whatever begins, begins by a touch; even leaving.
            self.touched_s = now_s;
        }
        if matches!(self.life, Life::Lid | Life::Travel) {
            return false;
        }
        let quiet = self.random.of(10..60) as u16;
        self.others_permille = match self.life {
            Life::Game => 400 + self.random.of(0..500) as u16,
            // Each takes its breaks.
            Life::Build if now_s % 600 < 500 => 700 + self.random.of(0..300) as u16,
            Life::Desk | Life::Cafe if self.random.chance(3) => 600,
            // The system's own chores.
            Life::Away if now_s % 7200 < 120 => 450,
            _ => quiet,
        };
        if matches!(self.life, Life::Desk | Life::Cafe) && self.random.chance(2) {
            self.touched_s = now_s;
        }
        // What it does makes it warm, and so do we.
        let load = i32::from(self.others_permille) + if works { 500 } else { 0 };
        let room = if self.random.of(0..1000) < 500 { 42_000 } else { 44_000 };
        let target = room + load * 60;
        self.millicelsius += (target - self.millicelsius) / 40;
        self.battery = match self.power() {
            Power::Mains => 100.min(self.battery + 1),
            Power::Battery { .. } => {
                self.battery.saturating_sub(u8::from(now_s.is_multiple_of(120))).max(1)
            }
        };
        true
    }

    fn power(&self) -> Power {
        match self.life {
            Life::Cafe | Life::AwayOnBattery => Power::Battery { percent: self.battery },
            _ => Power::Mains,
        }
    }

    fn seen(&self, now_s: u64) -> Observation {
        Observation {
            at_ms: now_s * 1000,
            minute_of_day: self.minute(now_s),
            presence: Presence::Idle { for_ms: (now_s - self.touched_s) * 1000 },
            power: self.power(),
            others_cpu_permille: self.others_permille,
            temperature_millicelsius: Some(self.millicelsius),
            traffic_today_bytes: 0,
        }
    }
}

/// What a laptop's days came to, in seconds.
#[derive(Debug, Default)]
struct Tally {
    worked: u64,
    /// Nobody would have minded.
    eligible: u64,
    starts: u64,
    waited_for: BTreeMap<&'static str, u64>,
}

fn name(reason: &Reason) -> &'static str {
    match reason {
        Reason::Paused => "paused",
        Reason::InUse { .. } => "in use",
        Reason::PresenceUnknown => "presence unknown",
        Reason::OnBattery { .. } => "on battery",
        Reason::OthersBusy { .. } => "others busy",
        Reason::Settling { .. } => "settling",
        Reason::Hot { .. } => "hot",
        Reason::OutOfHours => "out of hours",
        Reason::TrafficSpent => "traffic spent",
    }
}

fn live(seed: u64, policy: &Policy) -> Tally {
    let mut laptop = Laptop::new(seed);
    let mut governor = Governor::new();
    let mut tally = Tally::default();
    let mut works = false;
    let (mut awake_s, mut minded_s) = (None, 0);
    for now_s in 0..DAYS * DAY_S {
        if !laptop.second(now_s, works) {
            // Asleep: nothing runs, nothing is looked at.
            works = false;
            continue;
        }
        let slept = awake_s.is_none_or(|last| (now_s - last) * 1000 > GAP_MS);
        awake_s = Some(now_s);
        let seen = laptop.seen(now_s);
        let hours = policy.hours.iter().any(|hours| hours.contain(seen.minute_of_day));
        let at_home = now_s - laptop.touched_s >= IDLE_S
            && seen.power == Power::Mains
            && (policy.hours.is_empty() || hours);
        let loaded = slept || seen.others_cpu_permille >= 250 || laptop.millicelsius >= 80_000;
        if loaded {
            minded_s = now_s;
        }
        let calm = (now_s - minded_s) * 1000 >= CALM_MS;
        let verdict = governor.decide(policy, &seen);
        let before = std::mem::replace(&mut works, verdict == Verdict::Work);
        let context = || format!("seed {seed}, second {now_s}, {:?}: {seen:?}", laptop.life);
        if works {
            assert!(at_home && !loaded, "{}", context());
        }
        // Hot is apart: it has to cool first.
        if at_home && calm {
            tally.eligible += 1;
            let hot = matches!(&verdict, Verdict::Wait(reasons)
                if reasons.iter().all(|reason| matches!(reason, Reason::Hot { .. })));
            assert!(works || hot, "{verdict:?}: {}", context());
        }
        tally.starts += u64::from(works && !before);
        match &verdict {
            Verdict::Work => tally.worked += 1,
            Verdict::Wait(reasons) => *tally.waited_for.entry(name(&reasons[0])).or_default() += 1,
        }
    }
    tally
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    match number("JUSHA_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("JUSHA_LAPTOPS").unwrap_or(20),
    }
}

#[test]
fn nobody_notices_and_no_quiet_hour_is_wasted() {
    let mut sum = Tally::default();
    for seed in seeds() {
        let tally = live(seed, &Policy::default());
        sum.worked += tally.worked;
        sum.eligible += tally.eligible;
        sum.starts += tally.starts;
        for (reason, seconds) in tally.waited_for {
            *sum.waited_for.entry(reason).or_default() += seconds;
        }
    }
    let laptops = seeds().count() as u64;
    let days = laptops * DAYS;
    println!("{laptops} laptops, {DAYS} days each; of a day of each:");
    println!("  worked {:>14} min, begun {} times", sum.worked / days / 60, sum.starts / days);
    for (reason, seconds) in &sum.waited_for {
        println!("  {reason:<16} {:>5} min", seconds / days / 60);
    }
    assert!(sum.worked * 100 >= sum.eligible * 95, "{sum:?}");
    assert!(sum.worked / days >= 2 * 3600, "a policy that never works is no use: {sum:?}");
    assert!(sum.starts / days <= 40, "to and fro: {sum:?}");
    for met in ["in use", "on battery", "others busy", "settling"] {
        assert!(sum.waited_for.contains_key(met), "the days lack `{met}`: {sum:?}");
    }
}

#[test]
fn nights_only_holds_over_time_zones() {
    let policy = Policy { hours: vec!["22:00-07:00".parse().unwrap()], ..Policy::default() };
    for seed in seeds() {
        let tally = live(seed, &policy);
        assert!(tally.waited_for.contains_key("out of hours"), "seed {seed}: {tally:?}");
    }
}
