//! What an operator says is traded: in a file of instruments, and over the API in the same words.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a price is per.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PricedPer {
    /// 10¹² billable fuel: metered slots.
    #[default]
    Tfuel,
    /// An hour of the lease.
    Hour,
    /// 10⁹ bytes.
    Gigabyte,
}

/// An instrument as its operator defines it. What is left out has the value that is said here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInstrument {
    /// Such as `cpu.2g.any`: kind, grade, region; at most 64 of a–z, A–Z, 0–9, `.`, `-`, `_`.
    pub name: String,
    /// In words.
    #[serde(default)]
    pub description: String,
    /// What a price is per: `tfuel`, `hour` or `gigabyte`.
    #[serde(default)]
    pub priced_per: PricedPer,
    /// Slots of its machine that a unit takes: 1.
    #[serde(default = "one")]
    pub slots: u32,
    /// Memory of a unit, which a slot of its machine must have: none.
    #[serde(default)]
    pub memory_mib: u32,
    /// Only machines whose memory the exchange has measured qualify: false. One that was found to
    /// have less never does.
    #[serde(default)]
    pub memory_measured: bool,
    /// Where its machines say they are; `any`, which is everywhere.
    #[serde(default = "any")]
    pub region: String,
    /// The slowest machine that qualifies, in millions of fuel per second and slot, as the
    /// exchange measured it: 0, which admits every machine, measured or not.
    #[serde(default)]
    pub speed_min_mfuel_per_s: u32,
    /// Prices are multiples of this: 100.
    #[serde(default = "hundred")]
    pub tick_nanocredits: i64,
    /// The lowest price: 100.
    #[serde(default = "hundred")]
    pub price_min_nanocredits: i64,
    /// The highest price: 10⁹.
    #[serde(default = "credit")]
    pub price_max_nanocredits: i64,
    /// Quantities are multiples of this: 1.
    #[serde(default = "one")]
    pub lot: u32,
    /// Most units in one order: 1,000.
    #[serde(default = "thousand")]
    pub quantity_max: u32,
    /// Most open orders of one account: 1,000.
    #[serde(default = "thousand")]
    pub open_orders_max: u32,
    /// How far from the best price a market order may trade, in hundredths of a percent: 1,000.
    #[serde(default = "thousand")]
    pub protection_basis_points: u32,
    /// Takes no new orders; what rests may be cancelled.
    #[serde(default)]
    pub suspended: bool,
}

fn one() -> u32 {
    1
}

fn any() -> String {
    "any".to_owned()
}

fn hundred() -> i64 {
    100
}

fn credit() -> i64 {
    1_000_000_000
}

fn thousand() -> u32 {
    1_000
}

/// Everything that is traded; what it doesn't name takes no new orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstrumentList {
    /// The instruments.
    pub instruments: Vec<NewInstrument>,
    /// Why, for the log.
    pub reason: String,
}

/// The file of instruments: a table `[[instrument]]` for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentFile {
    /// The instruments.
    #[serde(rename = "instrument", default)]
    pub instruments: Vec<NewInstrument>,
}
