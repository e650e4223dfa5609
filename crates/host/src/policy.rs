//! What an owner allows.

use std::fmt;
use std::str::FromStr;

/// When and how much may be sold. The defaults are what somebody who never changes them would
/// have chosen: nobody notices that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long the owner must have been away, in seconds; 0 works beside the owner.
    pub idle_s: u32,
    /// Whether to work on battery.
    pub on_battery: bool,
    /// The owner's own programs may use so much of all cores, in per cent; 100 doesn't ask.
    pub others_cpu_max_percent: u8,
    /// Above this it stops, in degrees Celsius.
    pub temperature_max_celsius: u8,
    /// When on the owner's clock; none is always.
    pub hours: Vec<Hours>,
    /// Of all cores, in per cent.
    pub cores_percent: u8,
    /// Of the memory, in per cent.
    pub memory_percent: u8,
    /// In and out, per day.
    pub traffic_max_bytes_per_day: u64,
    /// Out.
    pub upload_max_bytes_per_s: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            idle_s: 300,
            on_battery: false,
            others_cpu_max_percent: 25,
            temperature_max_celsius: 80,
            hours: Vec::new(),
            cores_percent: 50,
            memory_percent: 50,
            traffic_max_bytes_per_day: 5_000_000_000,
            upload_max_bytes_per_s: 1_000_000,
        }
    }
}

impl Policy {
    /// For a computer that is for nothing else: whatever happens on it, it works.
    pub fn always() -> Self {
        Policy {
            idle_s: 0,
            on_battery: true,
            others_cpu_max_percent: 100,
            temperature_max_celsius: u8::MAX,
            hours: Vec::new(),
            cores_percent: 100,
            memory_percent: 100,
            traffic_max_bytes_per_day: u64::MAX,
            upload_max_bytes_per_s: u64::MAX,
        }
    }

    /// How many tasks may run at once on so many cores, each with so much memory; one at least.
    pub fn slots(&self, cores: u32, memory_bytes: u64, slot_bytes: u64) -> u32 {
        let by_cores = u64::from(cores) * u64::from(self.cores_percent) / 100;
        let memory = u128::from(memory_bytes) * u128::from(self.memory_percent) / 100;
        let by_memory = memory / u128::from(slot_bytes.max(1));
        let slots = u128::from(by_cores).min(by_memory).max(1);
        u32::try_from(slots).unwrap_or(u32::MAX)
    }
}

/// A part of each day, such as `22:00-07:00`, which goes over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: u16,
    until: u16,
}

const DAY_MINUTES: u16 = 24 * 60;

/// A text that is no part of a day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time of day: write it like 22:00-07:00, from 00:00 to 24:00")]
pub struct NotHours(String);

impl Hours {
    /// Whether a minute of the day lies in it: its first does, its last doesn't.
    pub fn contain(&self, minute_of_day: u16) -> bool {
        let minute = minute_of_day % DAY_MINUTES;
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }
}

impl FromStr for Hours {
    type Err = NotHours;

    fn from_str(text: &str) -> Result<Self, NotHours> {
        let time = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            let two = |text: &str| {
                let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse::<u16>().ok().filter(|_| plain)
            };
            let (hours, minutes) = (two(hours)?, two(minutes)?);
            let minute = hours * 60 + minutes;
            (minutes < 60 && minute <= DAY_MINUTES).then_some(minute)
        };
        let ends = text.split_once('-').and_then(|(from, until)| Some((time(from)?, time(until)?)));
        match ends {
            // Twice the same would be nothing or everything: nobody can tell which is meant.
            Some((from, until)) if from < DAY_MINUTES && from != until => Ok(Hours { from, until }),
            _ => Err(NotHours(text.to_owned())),
        }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hours { from, until } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_leave_the_owner_half_of_everything() {
        let policy = Policy::default();
        let slots = |cores, gib: u64| policy.slots(cores, gib << 30, 2 << 30);
        assert_eq!([slots(16, 64), slots(16, 16), slots(3, 64), slots(1, 1)], [8, 4, 1, 1]);
        assert_eq!(Policy::always().slots(16, 64 << 30, 2 << 30), 16);
    }

    #[test]
    fn hours_may_go_over_midnight() {
        for (text, inside, outside) in [
            ("22:00-07:00", &[22 * 60, 0, 7 * 60 - 1][..], &[7 * 60, 12 * 60, 22 * 60 - 1][..]),
            ("09:30-17:00", &[9 * 60 + 30, 16 * 60 + 59], &[0, 9 * 60 + 29, 17 * 60]),
            ("00:00-24:00", &[0, 1439], &[]),
        ] {
            let hours: Hours = text.parse().unwrap();
            assert_eq!(hours.to_string(), text);
            assert!(inside.iter().all(|&minute| hours.contain(minute)), "{text}");
            assert!(!outside.iter().any(|&minute| hours.contain(minute)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_of_day_is_named() {
        for text in [
            "",
            "22-7",
            "22:00",
            "7:00-8:00",
            "24:00-01:00",
            "10:60-11:00",
            "08:00-08:00",
            "00:00-24:01",
            "+1:00-02:00",
            "22:00-07:00 ",
        ] {
            let error = text.parse::<Hours>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }
}
