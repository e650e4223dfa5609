//! Whether an order may enter: what its owner, its instrument and its kind allow. Questions
//! without effects, asked by the driver before it places anything.

use std::collections::BTreeMap;

use base::AccountId;
use serde::Serialize;

use crate::book::Market;
use crate::capacity::{Capacity, GroupId};
use crate::instrument::InstrumentRejection;
use crate::matching::{Match, Scan};
use crate::order::{EXCLUDED_MAX, InstrumentId, Order, Side, TimeInForce};

/// Most open asks of one group: a fill looks at each of them.
pub const GROUP_ASKS_MAX: u32 = 64;

/// Why an order may not enter, in order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum OrderRejection {
    /// It doesn't fit its instrument.
    #[error(transparent)]
    Instrument(#[from] InstrumentRejection),
    /// More filters than are looked at.
    #[error("{given} excluded machines are too many: name at most {max}")]
    TooManyExcluded {
        /// What was given.
        given: usize,
        /// The most.
        max: usize,
    },
    /// Post-only, and yet not to rest.
    #[error("an order that is {time_in_force} never rests: leave post-only out")]
    PostOnlyNeverRests {
        /// `ioc` or `fok`.
        time_in_force: &'static str,
    },
    /// It would expire before it came.
    #[error("the order expires at {until_ms} and it is {now_ms} now: give a later time")]
    ExpiresInThePast {
        /// What was given.
        until_ms: i64,
        /// Milliseconds UTC.
        now_ms: i64,
    },
    /// The owner has as many orders as one may have.
    #[error(
        "{open} orders are open, the most that an account may have in {instrument}: cancel one"
    )]
    TooManyOpenOrders {
        /// The instrument.
        instrument: String,
        /// What is open.
        open: u32,
    },
    /// The group has as many asks as one may have.
    #[error("the machine has {open} open asks, the most that one may have: cancel one")]
    TooManyAsks {
        /// What is open.
        open: u32,
    },
    /// Post-only, and something would be taken.
    #[error(
        "a post-only order at {price_nanocredits} would trade at once: move the price, or leave \
         post-only out"
    )]
    WouldTake {
        /// Its price.
        price_nanocredits: i64,
    },
    /// Fill-or-kill, and not all of it can be filled.
    #[error("only {available} of {quantity} can be filled at once at this price")]
    NotFillable {
        /// What was given.
        quantity: u32,
        /// What is there.
        available: u32,
    },
    /// More orders would have to be examined than one command may.
    #[error(
        "the order would have to be compared with too many others: try another price or filter"
    )]
    ScanLimit,
    /// Nobody is there to trade with.
    #[error("nobody trades on the other side of {instrument}: give a limit price and wait")]
    NoMarket {
        /// The instrument.
        instrument: String,
    },
}

impl OrderRejection {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            OrderRejection::Instrument(rejection) => rejection.code(),
            OrderRejection::TooManyExcluded { .. } => "too_many_excluded",
            OrderRejection::PostOnlyNeverRests { .. } => "post_only_never_rests",
            OrderRejection::ExpiresInThePast { .. } => "expires_in_the_past",
            OrderRejection::TooManyOpenOrders { .. } => "too_many_open_orders",
            OrderRejection::TooManyAsks { .. } => "too_many_asks",
            OrderRejection::WouldTake { .. } => "post_only_would_take",
            OrderRejection::NotFillable { .. } => "not_fillable",
            OrderRejection::ScanLimit => "scan_limit",
            OrderRejection::NoMarket { .. } => "no_market",
        }
    }
}

impl Market {
    /// Whether an order may enter at `now_ms`.
    pub fn admit(&self, order: &Order, now_ms: i64) -> Result<(), OrderRejection> {
        let instrument = self.instrument_of(order.instrument);
        instrument.admit(order.price_nanocredits, order.quantity)?;
        let excluded = order.terms.as_ref().map_or(0, |terms| terms.filters.excluded.len());
        if excluded > EXCLUDED_MAX {
            return Err(OrderRejection::TooManyExcluded { given: excluded, max: EXCLUDED_MAX });
        }
        match order.time_in_force {
            TimeInForce::Ioc if order.post_only => {
                return Err(OrderRejection::PostOnlyNeverRests { time_in_force: "ioc" });
            }
            TimeInForce::Fok if order.post_only => {
                return Err(OrderRejection::PostOnlyNeverRests { time_in_force: "fok" });
            }
            TimeInForce::Gtt { until_ms } if until_ms <= now_ms => {
                return Err(OrderRejection::ExpiresInThePast { until_ms, now_ms });
            }
            _ => {}
        }
        self.admit_open_orders(order.owner, order.instrument)?;
        if let Some(group) = order.group {
            let open = self.group_open_asks(group);
            if open >= GROUP_ASKS_MAX {
                return Err(OrderRejection::TooManyAsks { open });
            }
        }
        if order.post_only {
            self.admit_post_only(order, now_ms)?;
        }
        if order.time_in_force == TimeInForce::Fok {
            self.admit_fok(order, now_ms)?;
        }
        Ok(())
    }

    fn admit_open_orders(
        &self,
        owner: AccountId,
        instrument: InstrumentId,
    ) -> Result<(), OrderRejection> {
        let instrument = self.instrument_of(instrument);
        let open = self.owner_open_orders(owner);
        if open >= instrument.open_orders_max {
            let instrument = instrument.name.clone();
            return Err(OrderRejection::TooManyOpenOrders { instrument, open });
        }
        Ok(())
    }

    fn admit_post_only(&self, order: &Order, now_ms: i64) -> Result<(), OrderRejection> {
        let price_nanocredits = order.price_nanocredits;
        let mut scan = Scan::default();
        match self.first_match(order, now_ms, &mut scan) {
            Match::Nothing => Ok(()),
            Match::Found { .. } => Err(OrderRejection::WouldTake { price_nanocredits }),
            Match::ScanLimit => Err(OrderRejection::ScanLimit),
        }
    }

    /// Whether all of it meets something. Asks of one group share its capacity, so each counts
    /// only as far as its siblings before it leave something.
    fn admit_fok(&self, order: &Order, now_ms: i64) -> Result<(), OrderRejection> {
        let unit = &self.instrument_of(order.instrument).unit;
        let mut used = BTreeMap::<GroupId, Capacity>::new();
        let (mut available, mut examined) = (0u32, 0u32);
        for resting in self.candidates(order) {
            if available >= order.quantity {
                break;
            }
            if examined >= crate::SCAN_LIMIT {
                return Err(OrderRejection::ScanLimit);
            }
            examined += 1;
            let (ask, bid) = match order.side {
                Side::Ask => (order, resting),
                Side::Bid => (resting, order),
            };
            if resting.is_expired(now_ms) || !self.takes(ask, bid, now_ms) {
                continue;
            }
            let mut units = resting.leaves_quantity;
            if let Some(group) = resting.group {
                let used = used.entry(group).or_insert_with(|| self.group_used(group));
                units = units.min(self.group_capacity(group).fits(used, unit));
                used.add(unit, units);
            }
            available = available.saturating_add(units);
        }
        let quantity = order.quantity;
        if available < quantity {
            return Err(OrderRejection::NotFillable { quantity, available });
        }
        Ok(())
    }

    /// What an order that isn't placed would be matched with first.
    fn first_match(&self, order: &Order, now_ms: i64, scan: &mut Scan) -> Match {
        for resting in self.candidates(order) {
            if scan.is_spent() {
                return Match::ScanLimit;
            }
            scan.spend(1);
            let (ask, bid) = match order.side {
                Side::Ask => (order, resting),
                Side::Bid => (resting, order),
            };
            if !resting.is_expired(now_ms) && self.takes(ask, bid, now_ms) {
                return Match::Found {
                    ask: ask.order,
                    bid: bid.order,
                    price_nanocredits: resting.price_nanocredits,
                    quantity: ask.leaves_quantity.min(bid.leaves_quantity),
                };
            }
        }
        Match::Nothing
    }

    fn candidates<'a>(&'a self, order: &Order) -> impl Iterator<Item = &'a Order> {
        self.walk(order, None).map(|entry| &entry.order)
    }

    /// The limit price of a market order: the best price of the other side, and as much worse
    /// as the instrument's protection allows, on a tick and within the instrument's range. So a
    /// market order pays what it saw and a little more, never what an empty book asks.
    pub fn protected_price(
        &self,
        instrument: InstrumentId,
        side: Side,
    ) -> Result<i64, OrderRejection> {
        let traded = self.instrument_of(instrument);
        let other = match side {
            Side::Ask => Side::Bid,
            Side::Bid => Side::Ask,
        };
        let Some(best) = self.levels(instrument, other).next() else {
            return Err(OrderRejection::NoMarket { instrument: traded.name.clone() });
        };
        let price = i128::from(best.price_nanocredits);
        let distance = price * i128::from(traded.protection_basis_points) / 10_000;
        let tick = i128::from(traded.tick_nanocredits);
        let bound = match side {
            Side::Bid => (price + distance) / tick * tick,
            Side::Ask => (price - distance + tick - 1) / tick * tick,
        };
        let range = traded.price_min_nanocredits..=traded.price_max_nanocredits;
        let bound = bound.clamp((*range.start()).into(), (*range.end()).into());
        Ok(i64::try_from(bound).expect("it lies within the instrument's range"))
    }
}
