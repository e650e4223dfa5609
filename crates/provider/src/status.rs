//! What an owner sees of a running agent. Scripts read it, too: fields are only ever added.

use serde::{Deserialize, Serialize};

/// An agent at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The agent's program version.
    pub agent_version: String,
    /// The machine's name.
    pub name: String,
    /// Its id.
    pub machine: String,
    /// The exchange's URL.
    pub exchange: String,
    /// Whether it is connected.
    pub connected: bool,
    /// What it is doing.
    pub state: State,
    /// Why it isn't working, the most telling first.
    pub reasons: Vec<String>,
    /// Tasks that may run at once.
    pub slots: u32,
    /// What it asks.
    pub price_nanocredits_per_tfuel: i64,
    /// Why that, in words.
    pub price_because: String,
    /// What the electricity for a Tfuel costs, once the speed is known.
    pub break_even_nanocredits_per_tfuel: Option<i64>,
    /// How fast a core was measured at, in millions of fuel per second; 0 before.
    pub mfuel_per_s: u32,
    /// What runs.
    pub tasks: Vec<TaskStatus>,
    /// The hottest sensor, where there is one.
    pub temperature_celsius: Option<i32>,
    /// What the owner's programs use of all cores.
    pub others_cpu_percent: u32,
    /// What is left in the battery that it runs on.
    pub battery_percent: Option<u8>,
    /// In and out today.
    pub traffic_today_bytes: u64,
    /// And what it may be.
    pub traffic_max_bytes_per_day: u64,
    /// Earned today, on the owner's calendar.
    pub earned_today_nanocredits: i64,
    /// In this month.
    pub earned_month_nanocredits: i64,
    /// What the electricity for today's work costs, by the settings.
    pub electricity_today_nanocredits: i64,
    /// In this month.
    pub electricity_month_nanocredits: i64,
    /// Of all slots together.
    pub worked_today_s: u64,
    /// In this month.
    pub worked_month_s: u64,
    /// Why the settings file is not what holds.
    pub settings_problem: Option<String>,
}

/// What an agent is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It offers what is free and runs what is bought.
    #[default]
    Working,
    /// It leaves the computer to its owner.
    Resting,
    /// It failed, and waits before it offers anything again.
    Recovering,
    /// It is ending.
    Draining,
}

/// A task here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskStatus {
    /// The task.
    pub task: String,
    /// Its job.
    pub job: String,
    /// How far it is.
    pub fuel: u64,
    /// How much of that was computed here.
    pub fuel_here: u64,
    /// Since when it is here.
    pub here_for_s: u64,
    /// Its pace here, in millions of fuel a second.
    pub mfuel_per_s: u64,
}
