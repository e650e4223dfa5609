//! Orders and what everybody sees of the market, in the REST API.

use base::{JobId, MachineId, OrderId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a buyer wants of machines beyond what the instrument guarantees. A bid with filters is
/// no public depth, since most sellers can't take it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Filters {
    /// Slowest speed, in millions of fuel per second and slot, as the exchange measured it.
    #[serde(default)]
    pub speed_min_mfuel_per_s: u32,
    /// Least trust.
    #[serde(default)]
    pub trust_min: u32,
    /// Of a machine's last 100 leases, at most so many may have been ended by its side.
    #[serde(default)]
    pub seller_ended_max: Option<u32>,
    /// Not these machines; at most 16.
    #[serde(default)]
    pub exclude_machines: Vec<MachineId>,
}

/// Places an ask for slots of one's own machine. (Bids belong to jobs.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewOrder {
    /// The client's own id: the idempotency key.
    pub client_order_id: String,
    /// The machine whose slots are offered.
    pub machine: MachineId,
    /// Such as `cpu.2g.any`.
    pub instrument: String,
    /// Slots.
    pub quantity: u32,
    /// The least it takes. Absent: a market order, which takes the best bids within the
    /// instrument's protection, and whose rest is cancelled.
    #[serde(default)]
    pub price_nanocredits_per_tfuel: Option<i64>,
    /// How long it may wait.
    #[serde(default)]
    pub time_in_force: TimeInForce,
    /// Of `gtt`: until when, in milliseconds UTC.
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
    /// Refused rather than matched at once.
    #[serde(default)]
    pub post_only: bool,
}

/// How long an order may wait in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeInForce {
    /// Until it is filled or cancelled.
    #[default]
    Gtc,
    /// Until it is filled or cancelled, or its time has come.
    Gtt,
    /// What isn't filled at once is cancelled.
    Ioc,
    /// Filled at once as a whole, or refused.
    Fok,
}

/// A dead man's switch: all of one's asks are withdrawn then, unless it is set again before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelAfter {
    /// From now; 0 takes the switch away.
    pub after_ms: i64,
}

/// When the dead man's switch trips.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelAfterSet {
    /// Milliseconds UTC; absent when it is not set.
    pub due_at_ms: Option<i64>,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderView {
    /// The order.
    pub order: OrderId,
    /// The client's own id.
    pub client_order_id: String,
    /// `ask` or `bid`.
    pub side: String,
    /// Its instrument.
    pub instrument: String,
    /// Its limit price.
    pub price_nanocredits_per_tfuel: i64,
    /// Slots at first.
    pub quantity: u32,
    /// Slots not yet filled.
    pub leaves_quantity: u32,
    /// Slots filled.
    pub cumulative_quantity: u32,
    /// How long it may wait.
    #[serde(default)]
    pub time_in_force: TimeInForce,
    /// Of `gtt`: until when.
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
    /// Whether it was to be refused rather than matched at once.
    #[serde(default)]
    pub post_only: bool,
    /// Whether it takes only some of what its price would take: then it is no public depth.
    #[serde(default)]
    pub conditional: bool,
    /// `open`, `filled`, `cancelled`, or `expired`: cancelled because its time had come.
    pub status: String,
    /// Why it was cancelled, in words.
    #[serde(default)]
    pub cancel_reason: Option<String>,
    /// When it was placed.
    pub placed_at_ms: i64,
    /// When it left the book.
    #[serde(default)]
    pub ended_at_ms: Option<i64>,
    /// The job that a bid is for.
    pub job: Option<JobId>,
    /// The machine that an ask is for.
    pub machine: Option<MachineId>,
}

/// A thing that is traded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstrumentView {
    /// Such as `cpu.2g.any`.
    pub instrument: String,
    /// In words.
    pub description: String,
    /// Prices are multiples of this.
    pub tick_nanocredits_per_tfuel: i64,
    /// Memory of a slot.
    pub memory_mib: u32,
    /// What prices are per: `tfuel`, `hour` or `gigabyte`.
    pub priced_per: String,
    /// Where the machines are; `any` is everywhere.
    pub region: String,
    /// The slowest machine that qualifies, in millions of fuel per second and slot.
    pub speed_min_mfuel_per_s: u32,
    /// The lowest price.
    pub price_min_nanocredits_per_tfuel: i64,
    /// The highest price.
    pub price_max_nanocredits_per_tfuel: i64,
    /// Quantities are multiples of this.
    pub lot: u32,
    /// Most slots in one order.
    pub quantity_max: u32,
    /// Most open orders of one account.
    pub open_orders_max: u32,
    /// How far from the best price a market order may trade, in hundredths of a percent.
    pub protection_basis_points: u32,
    /// Takes no new orders.
    pub suspended: bool,
    /// Best ask, if any.
    pub best_ask_nanocredits_per_tfuel: Option<i64>,
    /// Best bid, if any.
    pub best_bid_nanocredits_per_tfuel: Option<i64>,
    /// Price of the last fill.
    pub last_price_nanocredits_per_tfuel: Option<i64>,
}

/// Depth of a book, best first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BookView {
    /// The instrument.
    pub instrument: String,
    /// Buyers.
    pub bids: Vec<PriceLevel>,
    /// Sellers.
    pub asks: Vec<PriceLevel>,
    /// Open asks one by one, best first: what `--ask ID` takes.
    pub ask_orders: Vec<OrderView>,
}

/// All orders at one price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceLevel {
    /// The price.
    pub price_nanocredits_per_tfuel: i64,
    /// Slots.
    pub quantity: u64,
    /// Orders.
    pub orders: u32,
}

/// A fill, as the public sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TradeView {
    /// When.
    pub at_ms: i64,
    /// The price.
    pub price_nanocredits_per_tfuel: i64,
    /// Slots.
    pub quantity: u32,
}

/// What was traded and settled in a stretch of time. Stretches without both have no candle; one
/// without trades has the price before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CandleView {
    /// When the stretch begins.
    pub start_ms: i64,
    /// The first price.
    pub open_nanocredits_per_tfuel: i64,
    /// The highest price.
    pub high_nanocredits_per_tfuel: i64,
    /// The lowest price.
    pub low_nanocredits_per_tfuel: i64,
    /// The last price.
    pub close_nanocredits_per_tfuel: i64,
    /// Slots.
    pub quantity: i64,
    /// Sum of price × slots: divided by the slots it is the average price.
    pub turnover_nanocredits_per_tfuel: i64,
    /// Fills.
    pub trades: i64,
    /// Billable fuel that was settled: what was really done, whenever its slots were filled.
    #[serde(default)]
    pub volume_fuel: i64,
}

/// An instrument at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TickerView {
    /// The instrument.
    pub instrument: String,
    /// The best public bid.
    pub best_bid: Option<PriceLevel>,
    /// The best public ask.
    pub best_ask: Option<PriceLevel>,
    /// Price of the last fill.
    pub last_price_nanocredits_per_tfuel: Option<i64>,
    /// Median of the last price, the middle of the book and the last hour's average, of those
    /// that there are: one odd fill or one odd order doesn't move it.
    pub index_price_nanocredits_per_tfuel: Option<i64>,
    /// The best ask, or else the index price, beside prices elsewhere: estimates.
    #[serde(default)]
    pub compared: Vec<crate::Comparison>,
    /// Of the last 24 hours.
    pub day: Option<CandleView>,
}
