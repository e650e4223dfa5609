//! `jusha provide set`, `pause`, `resume` and `status`: what an owner tells and asks an agent, which
//! may run or not.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use host::settings;
use provider::control::{self, ControlError, Request};
use provider::status::{State, Status};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{self, write_private};
use crate::error::{CliError, CliResult, io};
use crate::{amount, terminal};

/// Between two looks of the live view.
const INTERVAL: Duration = Duration::from_secs(1);

/// Which agent.
#[derive(Debug, Args)]
pub struct Agent {
    /// The agent's directory [default: ~/.local/share/jusha/provider]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Agent {
    /// Its directory.
    pub fn data(&self) -> CliResult<PathBuf> {
        self.data.clone().map_or_else(|| config::data_dir("provider"), Ok)
    }
}

/// Change one of the settings, or show them all
#[derive(Debug, Args)]
pub struct Set {
    /// Which; without it all are shown
    key: Option<String>,
    /// What it is to be; `default` goes back to the default
    #[arg(requires = "key", allow_hyphen_values = true)]
    value: Option<String>,
    #[command(flatten)]
    agent: Agent,
}

/// Show what the agent is doing and why
#[derive(Debug, Args)]
pub struct Show {
    /// As JSON, once
    #[arg(long)]
    json: bool,
    /// Once, also on a terminal
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    agent: Agent,
}

/// Runs `set`.
pub async fn set(options: &Set) -> CliResult {
    let data = options.agent.data()?;
    let path = data.join(provider::SETTINGS_FILE);
    match (&options.key, &options.value) {
        (Some(key), Some(value)) => change(&data, key, value).await?,
        (Some(key), None) => {
            return Err(CliError::new(format!("no value for `{key}`"))
                .hint(format!("`jusha provide set {key} default` goes back to the default")));
        }
        _ => {
            let text = read(&path)?;
            terminal::line(&format!("# {}", path.display()))?;
            terminal::line(text.trim_end())?;
        }
    }
    Ok(0)
}

/// Runs `pause` and `resume`.
pub async fn pause(agent: &Agent, paused: bool) -> CliResult {
    change(&agent.data()?, "paused", if paused { "yes" } else { "default" }).await?;
    Ok(0)
}

/// Writes the file, and tells the agent, if there is one, that it did.
async fn change(data: &Path, key: &str, value: &str) -> CliResult<()> {
    let path = data.join(provider::SETTINGS_FILE);
    let text = settings::set(&read(&path)?, key, value).map_err(|error| {
        let keys: Vec<&str> = settings::keys().collect();
        CliError::new(error.to_string()).hint(format!("the settings are {}", keys.join(", ")))
    })?;
    io(std::fs::create_dir_all(data), format_args!("make {}", data.display()))?;
    write_private(&path, text.as_bytes())?;
    match control::ask(data, Request::Look).await {
        Ok(_) | Err(ControlError::NotRunning { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn read(path: &Path) -> CliResult<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(settings::template()),
        read => io(read, format_args!("read {}", path.display())),
    }
}

/// Runs `status`.
pub async fn show(options: &Show) -> CliResult {
    let data = options.agent.data()?;
    let status = control::ask(&data, Request::Status).await?;
    if options.json {
        terminal::json(&status)?;
        return Ok(0);
    }
    if options.once || !std::io::stdout().is_terminal() {
        terminal::out(view(&status).as_bytes())?;
        return Ok(0);
    }
    let mut interrupt = io(signal(SignalKind::interrupt()), "listen for Ctrl-C")?;
    let mut text = view(&status);
    loop {
        // Over what was there: no flicker, and nothing of a longer view stays.
        let lines = text.replace('\n', "\x1b[K\n");
        let screen = format!("\x1b[H{lines}\x1b[K\n\x1b[2mCtrl-C ends this view\x1b[0m\x1b[J");
        terminal::out(screen.as_bytes())?;
        tokio::select! {
            _ = interrupt.recv() => break,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        text = match control::ask(&data, Request::Status).await {
            Ok(status) => view(&status),
            Err(error) => format!("{error}\n"),
        };
    }
    terminal::line("")?;
    Ok(0)
}

/// So many seconds, in the two units that matter.
fn lasting(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// The whole view.
fn view(status: &Status) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    let doing = match (status.state, status.tasks.len()) {
        (State::Working, 0) => "waiting for work".to_owned(),
        (State::Working, 1) => "working on 1 task".to_owned(),
        (State::Working, tasks) => format!("working on {tasks} tasks"),
        (State::Resting, 0) => "resting".to_owned(),
        (State::Resting, tasks) => format!("stopping {tasks} tasks at checkpoints"),
        (State::Recovering, _) => "failed, and waits a while".to_owned(),
        (State::Draining, tasks) => format!("ending, {tasks} tasks to stop"),
    };
    rows.push(("state", doing));
    for (index, reason) in status.reasons.iter().enumerate() {
        rows.push((if index == 0 { "because" } else { "" }, reason.clone()));
    }
    let away = if status.connected { "" } else { " (not connected; trying)" };
    rows.push(("exchange", format!("{}{away}", terminal::clean(&status.exchange))));
    rows.push(("machine", terminal::clean(&status.name).into_owned()));
    rows.push((
        "price",
        format!(
            "{} per Tfuel: {}",
            amount::credits(status.price_nanocredits_per_tfuel),
            terminal::clean(&status.price_because)
        ),
    ));
    if let Some(costs) = status.break_even_nanocredits_per_tfuel {
        rows.push((
            "costs",
            format!(
                "{} of electricity per Tfuel, at {:.1} Gfuel/s per core",
                amount::credits(costs),
                f64::from(status.mfuel_per_s) / 1000.0
            ),
        ));
    }
    for task in &status.tasks {
        rows.push((
            "task",
            format!(
                "{} at {} Gfuel, {:.2} Gfuel/s, {} here",
                task.task.get(..17).unwrap_or(&task.task),
                task.fuel / 1_000_000_000,
                task.mfuel_per_s as f64 / 1000.0,
                lasting(task.here_for_s),
            ),
        ));
    }
    let mut computer = format!("other programs {} %", status.others_cpu_percent);
    if let Some(celsius) = status.temperature_celsius {
        computer += &format!(", {celsius} °C");
    }
    computer += &match status.battery_percent {
        Some(percent) => format!(", on battery at {percent} %"),
        None => ", on mains".to_owned(),
    };
    rows.push(("computer", computer));
    let earned = |nanocredits, electricity, worked_s| {
        format!(
            "{} credits for {} of work, electricity {}",
            amount::credits(nanocredits),
            lasting(worked_s),
            amount::credits(electricity)
        )
    };
    let (today, month) = (status.earned_today_nanocredits, status.earned_month_nanocredits);
    let (of_today, of_month) =
        (status.electricity_today_nanocredits, status.electricity_month_nanocredits);
    rows.push(("today", earned(today, of_today, status.worked_today_s)));
    rows.push(("month", earned(month, of_month, status.worked_month_s)));
    let of = match status.traffic_max_bytes_per_day {
        u64::MAX => String::new(),
        most => format!(" of {} MB", most / 1_000_000),
    };
    rows.push(("traffic", format!("{} MB{of} today", status.traffic_today_bytes / 1_000_000)));
    if let Some(problem) = &status.settings_problem {
        rows.push(("settings", format!("NOT IN ORDER, nothing of them changed: {problem}")));
    }
    rows.iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect()
}
