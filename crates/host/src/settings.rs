//! The owner's settings: one file that can be read, with every default in a comment.
//!
//! A line `# key = value` is a default, a line `key = value` is what the owner set. [`set`] changes
//! one line and leaves all others as they are, so that the owner's own comments stay.

use serde::Deserialize;

use crate::economy::{Electricity, amount};
use crate::policy::{Hours, NotHours, Policy};

/// All that an owner can set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// When and how much.
    pub policy: Policy,
    /// Nothing runs until this is taken back.
    pub paused: bool,
    /// What to ask for a Tfuel; absent is automatic.
    pub price_nanocredits_per_tfuel: Option<i64>,
    /// What a kWh costs.
    pub electricity: Electricity,
    /// What a busy core takes; absent is as such computers do.
    pub milliwatts_per_core: Option<u32>,
}

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It isn't TOML, or a key is unknown or of another type.
    #[error("{0}")]
    Format(String),
    /// A number that makes no sense there.
    #[error("{key} = {value} is out of range: {min} to {max}")]
    Range {
        /// Which.
        key: &'static str,
        /// What it says.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A part of the day that is none.
    #[error(transparent)]
    Hours(#[from] NotHours),
    /// There is no such setting.
    #[error("there is no setting `{0}`")]
    NoKey(String),
    /// The value isn't of the setting's kind.
    #[error("`{value}` is nothing that {key} can be: {kind}")]
    Value {
        /// Which.
        key: &'static str,
        /// What was given.
        value: String,
        /// What it takes.
        kind: &'static str,
    },
}

/// How a value is written.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Number {
        min: u64,
        max: u64,
    },
    Flag,
    Hours,
    /// An amount, or a word instead.
    Amount,
}

struct Key {
    name: &'static str,
    kind: Kind,
    comment: &'static str,
}

const HEAD: &str = "\
# What `jusha provide` may do with this computer. A line that begins with `#` and a key is a default.
# `jusha provide set KEY VALUE` changes one of them at once, and so does editing this file;
# `jusha provide set KEY default` goes back.
";

/// Most bytes that TOML can say.
const LARGE: u64 = i64::MAX as u64 / 1_000_000;

const KEYS: [Key; 13] = [
    Key {
        name: "idle_s",
        kind: Kind::Number { min: 0, max: 86_400 },
        comment: "Seconds for which nobody must have touched the computer; 0 works beside you.",
    },
    Key { name: "on_battery", kind: Kind::Flag, comment: "Whether to work on battery, too." },
    Key {
        name: "others_cpu_max_percent",
        kind: Kind::Number { min: 1, max: 100 },
        comment: "Your own programs may use so much of all cores; 100 doesn't ask.",
    },
    Key {
        name: "temperature_max_celsius",
        kind: Kind::Number { min: 30, max: 255 },
        comment: "At this temperature of the processor it stops, until it is 8 degrees cooler.",
    },
    Key {
        name: "hours",
        kind: Kind::Hours,
        comment: "Only at these times of day, such as [\"22:00-07:00\"]; none is always.",
    },
    Key {
        name: "cores_percent",
        kind: Kind::Number { min: 1, max: 100 },
        comment: "How many of the cores it may use.",
    },
    Key {
        name: "memory_percent",
        kind: Kind::Number { min: 1, max: 90 },
        comment: "How much of the memory it may use.",
    },
    Key {
        name: "traffic_max_mb_per_day",
        kind: Kind::Number { min: 1, max: LARGE },
        comment: "In and out together, in millions of bytes.",
    },
    Key {
        name: "upload_max_kb_per_s",
        kind: Kind::Number { min: 10, max: LARGE },
        comment: "Out, in thousands of bytes.",
    },
    Key {
        name: "price",
        kind: Kind::Amount,
        comment: "The least to work for, in credits per Tfuel such as \"0.0003\"; \"auto\" follows the index, never\n\
                  # below what electricity costs.",
    },
    Key {
        name: "electricity",
        kind: Kind::Amount,
        comment: "Credits (US dollars) per kWh such as \"0.31\", or a country such as \"de\"; \"auto\" goes by the time\n\
                  # zone.",
    },
    Key {
        name: "watts_per_core",
        kind: Kind::Amount,
        comment: "What a busy core takes more than an idle one, such as \"7.5\"; \"auto\" guesses.",
    },
    Key {
        name: "paused",
        kind: Kind::Flag,
        comment: "What `jusha provide pause` and `resume` set.",
    },
];

impl Key {
    /// What the file says where nothing is set.
    fn default(&self) -> String {
        let Policy {
            idle_s,
            on_battery,
            others_cpu_max_percent,
            temperature_max_celsius,
            hours: _,
            cores_percent,
            memory_percent,
            traffic_max_bytes_per_day,
            upload_max_bytes_per_s,
        } = Policy::default();
        match self.name {
            "idle_s" => idle_s.to_string(),
            "on_battery" => on_battery.to_string(),
            "others_cpu_max_percent" => others_cpu_max_percent.to_string(),
            "temperature_max_celsius" => temperature_max_celsius.to_string(),
            "hours" => "[]".to_owned(),
            "cores_percent" => cores_percent.to_string(),
            "memory_percent" => memory_percent.to_string(),
            "traffic_max_mb_per_day" => (traffic_max_bytes_per_day / 1_000_000).to_string(),
            "upload_max_kb_per_s" => (upload_max_bytes_per_s / 1000).to_string(),
            "price" | "electricity" | "watts_per_core" => "\"auto\"".to_owned(),
            _ => "false".to_owned(),
        }
    }

    /// A value as people say it, as TOML.
    fn toml(&self, value: &str) -> Result<String, SettingsError> {
        let wrong = |kind| SettingsError::Value { key: self.name, value: value.to_owned(), kind };
        match self.kind {
            Kind::Number { .. } => match value.parse::<u64>() {
                Ok(number) => Ok(number.to_string()),
                Err(_) => Err(wrong("a whole number")),
            },
            Kind::Flag => match value {
                "true" | "yes" | "on" => Ok("true".to_owned()),
                "false" | "no" | "off" => Ok("false".to_owned()),
                _ => Err(wrong("yes or no")),
            },
            Kind::Hours => {
                let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
                let parts: Vec<String> = parts
                    .map(|part| Ok(format!("\"{}\"", part.parse::<Hours>()?)))
                    .collect::<Result<_, NotHours>>()?;
                Ok(format!("[{}]", parts.join(", ")))
            }
            // What it means is seen when the whole file is read.
            Kind::Amount => Ok(format!("\"{}\"", value.replace(['"', '\\'], ""))),
        }
    }
}

/// The file as it is written at first.
pub fn template() -> String {
    let mut text = HEAD.to_owned();
    for key in &KEYS {
        text += &format!("\n# {}\n# {} = {}\n", key.comment, key.name, key.default());
    }
    text
}

/// The names of all settings.
pub fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    idle_s: Option<u64>,
    on_battery: Option<bool>,
    others_cpu_max_percent: Option<u64>,
    temperature_max_celsius: Option<u64>,
    hours: Option<Vec<String>>,
    cores_percent: Option<u64>,
    memory_percent: Option<u64>,
    traffic_max_mb_per_day: Option<u64>,
    upload_max_kb_per_s: Option<u64>,
    paused: Option<bool>,
    price: Option<String>,
    electricity: Option<String>,
    watts_per_core: Option<String>,
}

/// What a file says.
pub fn parse(text: &str) -> Result<Settings, SettingsError> {
    let file: File =
        toml::from_str(text).map_err(|error| SettingsError::Format(error.to_string()))?;
    let mut settings = Settings::default();
    let policy = &mut settings.policy;
    if let Some(value) = number("idle_s", file.idle_s)? {
        policy.idle_s = value as u32;
    }
    if let Some(value) = number("others_cpu_max_percent", file.others_cpu_max_percent)? {
        policy.others_cpu_max_percent = value as u8;
    }
    if let Some(value) = number("temperature_max_celsius", file.temperature_max_celsius)? {
        policy.temperature_max_celsius = value as u8;
    }
    if let Some(value) = number("cores_percent", file.cores_percent)? {
        policy.cores_percent = value as u8;
    }
    if let Some(value) = number("memory_percent", file.memory_percent)? {
        policy.memory_percent = value as u8;
    }
    if let Some(value) = number("traffic_max_mb_per_day", file.traffic_max_mb_per_day)? {
        policy.traffic_max_bytes_per_day = value * 1_000_000;
    }
    if let Some(value) = number("upload_max_kb_per_s", file.upload_max_kb_per_s)? {
        policy.upload_max_bytes_per_s = value * 1000;
    }
    policy.on_battery = file.on_battery.unwrap_or(policy.on_battery);
    let hours = file.hours.unwrap_or_default();
    policy.hours = hours.iter().map(|part| part.parse()).collect::<Result<_, NotHours>>()?;
    settings.paused = file.paused.unwrap_or(settings.paused);
    settings.price_nanocredits_per_tfuel =
        given("price", file.price, "credits per Tfuel such as 0.0003, or auto", amount)?;
    if let Some(electricity) = given(
        "electricity",
        file.electricity,
        "credits per kWh such as 0.31, a country such as de, or auto",
        |text| {
            Electricity::country(text)
                .or_else(|| Some(Electricity::NanocreditsPerKwh(amount(text)?)))
        },
    )? {
        settings.electricity = electricity;
    }
    settings.milliwatts_per_core =
        given("watts_per_core", file.watts_per_core, "watts such as 7.5, or auto", |text| {
            u32::try_from(amount(text)? / 1_000_000).ok().filter(|milliwatts| *milliwatts > 0)
        })?;
    Ok(settings)
}

/// What a text says, unless it leaves that to us.
fn given<T>(
    key: &'static str,
    value: Option<String>,
    kind: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, SettingsError> {
    let Some(value) = value.filter(|value| value != "auto") else { return Ok(None) };
    match read(&value) {
        Some(read) => Ok(Some(read)),
        None => Err(SettingsError::Value { key, value, kind }),
    }
}

fn number(name: &str, value: Option<u64>) -> Result<Option<u64>, SettingsError> {
    let (Some(key), Some(value)) = (KEYS.iter().find(|key| key.name == name), value) else {
        return Ok(None);
    };
    match key.kind {
        Kind::Number { min, max } if !(min..=max).contains(&value) => {
            Err(SettingsError::Range { key: key.name, value, min, max })
        }
        _ => Ok(Some(value)),
    }
}

/// The text with one setting changed; `default` goes back to what holds when nothing is said.
pub fn set(text: &str, name: &str, value: &str) -> Result<String, SettingsError> {
    let key = KEYS.iter().find(|key| key.name == name);
    let key = key.ok_or_else(|| SettingsError::NoKey(name.to_owned()))?;
    let line = match value {
        "default" => format!("# {} = {}", key.name, key.default()),
        value => format!("{} = {}", key.name, key.toml(value)?),
    };
    let is_it = |text: &str| {
        let text = text.trim_start_matches(['#', ' ']);
        text.strip_prefix(key.name).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    // What is set rather than its default, if the owner left both.
    let lines: Vec<&str> = text.lines().collect();
    let set = lines.iter().position(|text| is_it(text) && !text.starts_with('#'));
    let at = set.or_else(|| lines.iter().position(|text| is_it(text)));
    let mut lines: Vec<&str> = lines;
    match at {
        Some(at) => lines[at] = &line,
        None => lines.push(&line),
    }
    let text = lines.join("\n") + "\n";
    parse(&text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_says_the_defaults() {
        assert_eq!(parse(&template()).unwrap(), Settings::default());
        assert_eq!(parse("").unwrap(), Settings::default());
        // And each commented line is what it says it is.
        let spoken: String = template()
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| KEYS.iter().any(|key| line.starts_with(&format!("{} = ", key.name))))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(spoken.lines().count(), KEYS.len(), "{spoken}");
        assert_eq!(parse(&spoken).unwrap(), Settings::default());
    }

    #[test]
    fn one_line_changes_and_all_others_stay() {
        let text = set(&template(), "idle_s", "60").unwrap();
        let differing: Vec<(String, String)> = template()
            .lines()
            .zip(text.lines())
            .filter(|(before, after)| before != after)
            .map(|(before, after)| (before.to_owned(), after.to_owned()))
            .collect();
        assert_eq!(differing, [("# idle_s = 300".to_owned(), "idle_s = 60".to_owned())]);
        assert_eq!(parse(&text).unwrap().policy.idle_s, 60);
        assert_eq!(set(&text, "idle_s", "default").unwrap(), template());
        let text = set(&text, "hours", "22:00-07:00, 12:00-13:30").unwrap();
        assert!(text.contains("hours = [\"22:00-07:00\", \"12:00-13:30\"]\n"), "{text}");
        assert_eq!(parse(&text).unwrap().policy.hours.len(), 2);
        // A file that the owner wrote, without the line.
        let own = set("# mine\non_battery = true # on trains", "paused", "yes").unwrap();
        assert_eq!(own, "# mine\non_battery = true # on trains\npaused = true\n");
        let both = set("# idle_s = 300\nidle_s = 5\n", "idle_s", "7").unwrap();
        assert_eq!(both, "# idle_s = 300\nidle_s = 7\n");
    }

    #[test]
    fn money_is_said_in_credits_a_country_or_left_to_us() {
        let with = |name, value| parse(&set(&template(), name, value).unwrap()).unwrap();
        assert_eq!(with("price", "0.00025").price_nanocredits_per_tfuel, Some(250_000));
        assert_eq!(with("price", "auto").price_nanocredits_per_tfuel, None);
        let own = Electricity::NanocreditsPerKwh(310_000_000);
        assert_eq!(with("electricity", "0.31").electricity, own);
        assert_eq!(with("electricity", "de").electricity, Electricity::country("de").unwrap());
        assert_eq!(with("watts_per_core", "7.5").milliwatts_per_core, Some(7_500));
        for (name, value) in [
            ("price", "-1"),
            ("price", "0"),
            ("price", "cheap"),
            ("price", "0.0000000001"),
            ("electricity", "xx"),
            ("electricity", "\"0.1\" # "),
            ("watts_per_core", "0"),
            ("watts_per_core", "99999999"),
        ] {
            let error = set(&template(), name, value).unwrap_err();
            assert!(matches!(error, SettingsError::Value { .. }), "{name} {value}: {error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let said = |name, value| set(&template(), name, value).unwrap_err().to_string();
        assert_eq!(said("idle", "5"), "there is no setting `idle`");
        assert_eq!(
            said("idle_s", "a while"),
            "`a while` is nothing that idle_s can be: a whole number"
        );
        assert_eq!(
            said("on_battery", "maybe"),
            "`maybe` is nothing that on_battery can be: yes or no"
        );
        assert_eq!(said("cores_percent", "0"), "cores_percent = 0 is out of range: 1 to 100");
        assert_eq!(said("memory_percent", "95"), "memory_percent = 95 is out of range: 1 to 90");
        assert!(said("hours", "at night").contains("22:00-07:00"));
        let unknown = parse("idle_seconds = 3\n").unwrap_err().to_string();
        assert!(unknown.contains("idle_seconds"), "{unknown}");
        assert!(matches!(parse("idle_s = -1"), Err(SettingsError::Format(_))));
    }
}
