//! What is traded. An instrument holds all that makes units interchangeable; anything finer
//! is a bid's filter.

use serde::{Deserialize, Serialize};

use crate::capacity::Capacity;

/// What a price is per.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PricedPer {
    /// 10¹² billable fuel: metered slots.
    Tfuel,
    /// An hour of the lease: fixed leases.
    Hour,
    /// 10⁹ bytes.
    Gigabyte,
}

/// A thing that is traded. Two units of one instrument are as good as each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    /// Such as `cpu.2g.any`: kind, grade, region.
    pub name: String,
    /// In words.
    pub description: String,
    /// What a price is per.
    pub priced_per: PricedPer,
    /// Memory of a unit.
    pub memory_mib: u32,
    /// Only machines whose memory the exchange has measured qualify. One that was found to have
    /// less never does.
    #[serde(default)]
    pub memory_measured: bool,
    /// Where the machine is; `any` is everywhere.
    pub region: String,
    /// The slowest machine that qualifies, in millions of fuel per second and slot, as the
    /// exchange measured it; 0 admits every machine, measured or not.
    pub speed_min_mfuel_per_s: u32,
    /// What a unit takes of its seller's capacity.
    pub unit: Capacity,
    /// Prices are multiples of this.
    pub tick_nanocredits: i64,
    /// The lowest price.
    pub price_min_nanocredits: i64,
    /// The highest price.
    pub price_max_nanocredits: i64,
    /// Quantities are multiples of this.
    pub lot: u32,
    /// Most units in one order.
    pub quantity_max: u32,
    /// Most open orders of one owner.
    pub open_orders_max: u32,
    /// How far from the best price a market order may trade, in hundredths of a percent.
    pub protection_basis_points: u32,
    /// Takes no new orders; what rests may be cancelled.
    pub suspended: bool,
}

/// A metered slot of that much memory, with the limits that exchanges begin with.
fn cpu(name: &str, description: &str, memory_mib: u32) -> Instrument {
    Instrument {
        name: name.to_owned(),
        description: description.to_owned(),
        priced_per: PricedPer::Tfuel,
        memory_mib,
        memory_measured: false,
        region: "any".to_owned(),
        speed_min_mfuel_per_s: 0,
        unit: Capacity([1, memory_mib, 0, 0]),
        tick_nanocredits: 100,
        price_min_nanocredits: 100,
        // One credit per Tfuel: some 250 times a large cloud's list price.
        price_max_nanocredits: 1_000_000_000,
        lot: 1,
        quantity_max: 1_000,
        open_orders_max: 1_000,
        protection_basis_points: 1_000,
        suspended: false,
    }
}

/// What a new exchange trades until its operator says otherwise.
pub fn first_instruments() -> Vec<Instrument> {
    vec![
        cpu("cpu.512m.any", "one core with up to 512 MiB, any region, metered in fuel", 512),
        cpu("cpu.2g.any", "one core with up to 2 GiB, any region, metered in fuel", 2_048),
        cpu("cpu.4g.any", "one core with up to 4 GiB, any region, metered in fuel", 4_096),
    ]
}

/// Why an order doesn't fit its instrument, in order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, thiserror::Error)]
pub enum InstrumentRejection {
    /// There is no such instrument.
    #[error("there is no instrument `{name}`: `jusha market list` lists them")]
    UnknownInstrument {
        /// What was given.
        name: String,
    },
    /// The operator stopped it.
    #[error("{instrument} takes no new orders at the moment: cancel, or wait for the operator")]
    Suspended {
        /// The instrument.
        instrument: String,
    },
    /// Too cheap, too dear, zero or negative.
    #[error(
        "the price {price_nanocredits} nanocredits is out of range: {instrument} trades from \
         {min} to {max}"
    )]
    PriceOutOfRange {
        /// The instrument.
        instrument: String,
        /// What was given.
        price_nanocredits: i64,
        /// The lowest.
        min: i64,
        /// The highest.
        max: i64,
    },
    /// Not a multiple of the tick.
    #[error(
        "the price {price_nanocredits} nanocredits is between two ticks: {instrument} trades in \
         multiples of {tick}"
    )]
    PriceOffTick {
        /// The instrument.
        instrument: String,
        /// What was given.
        price_nanocredits: i64,
        /// The tick.
        tick: i64,
    },
    /// Nothing, or more than one order may have.
    #[error("{quantity} units are out of range: an order in {instrument} has {lot} to {max}")]
    QuantityOutOfRange {
        /// The instrument.
        instrument: String,
        /// What was given.
        quantity: u32,
        /// The least.
        lot: u32,
        /// The most.
        max: u32,
    },
    /// Not a multiple of the lot.
    #[error("{quantity} units are between two lots: {instrument} trades in multiples of {lot}")]
    QuantityOffLot {
        /// The instrument.
        instrument: String,
        /// What was given.
        quantity: u32,
        /// The lot.
        lot: u32,
    },
}

impl InstrumentRejection {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            InstrumentRejection::UnknownInstrument { .. } => "unknown_instrument",
            InstrumentRejection::Suspended { .. } => "instrument_suspended",
            InstrumentRejection::PriceOutOfRange { .. } => "price_out_of_range",
            InstrumentRejection::PriceOffTick { .. } => "price_off_tick",
            InstrumentRejection::QuantityOutOfRange { .. } => "quantity_out_of_range",
            InstrumentRejection::QuantityOffLot { .. } => "quantity_off_lot",
        }
    }
}

impl Instrument {
    /// Whether an order of that price and quantity fits.
    pub fn admit(&self, price_nanocredits: i64, quantity: u32) -> Result<(), InstrumentRejection> {
        let instrument = self.name.clone();
        if self.suspended {
            return Err(InstrumentRejection::Suspended { instrument });
        }
        self.admit_price(price_nanocredits)?;
        let (lot, max) = (self.lot, self.quantity_max);
        if quantity < lot || quantity > max {
            return Err(InstrumentRejection::QuantityOutOfRange { instrument, quantity, lot, max });
        }
        if !quantity.is_multiple_of(lot) {
            return Err(InstrumentRejection::QuantityOffLot { instrument, quantity, lot });
        }
        Ok(())
    }

    fn admit_price(&self, price_nanocredits: i64) -> Result<(), InstrumentRejection> {
        let (min, max) = (self.price_min_nanocredits, self.price_max_nanocredits);
        let instrument = self.name.clone();
        if !(min..=max).contains(&price_nanocredits) {
            return Err(InstrumentRejection::PriceOutOfRange {
                instrument,
                price_nanocredits,
                min,
                max,
            });
        }
        let tick = self.tick_nanocredits;
        if price_nanocredits % tick != 0 {
            return Err(InstrumentRejection::PriceOffTick { instrument, price_nanocredits, tick });
        }
        Ok(())
    }

    /// Whether its own figures make sense; what doesn't, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        let named = !self.name.is_empty()
            && self.name.len() <= 64
            && self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let prices = self.tick_nanocredits > 0
            && self.price_min_nanocredits > 0
            && self.price_min_nanocredits <= self.price_max_nanocredits
            // Ten thousand credits per unit: sums of many stay far from overflow.
            && self.price_max_nanocredits <= 10_000_000_000_000
            && self.price_min_nanocredits % self.tick_nanocredits == 0
            && self.price_max_nanocredits % self.tick_nanocredits == 0;
        let quantities =
            self.lot > 0 && self.lot <= self.quantity_max && self.quantity_max <= 10_000;
        if !named {
            return Err(
                "the name is empty, longer than 64 bytes, or not of a-z, 0-9, `.`, `-`, `_`",
            );
        }
        if !prices {
            return Err("the prices must be positive multiples of the tick, least below most");
        }
        if !quantities {
            return Err("the lot must be 1 or more and fit into quantity_max, at most 10,000");
        }
        if self.unit == Capacity::default() {
            return Err("a unit must take some capacity of its seller");
        }
        if self.open_orders_max == 0 || self.protection_basis_points > 10_000 {
            return Err(
                "open_orders_max must be 1 or more, protection at most 10,000 basis points",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        let plain = first_instruments().remove(1);
        assert_eq!(plain.check(), Ok(()));
        let lots = Instrument { lot: 4, ..plain.clone() };
        let stopped = Instrument { suspended: true, ..plain.clone() };
        for (instrument, price, quantity, expected) in [
            (&plain, 300_000, 4, "ok"),
            (&stopped, -1, 0, "instrument_suspended"),
            (&plain, 0, 1, "price_out_of_range"),
            (&plain, -100, 1, "price_out_of_range"),
            (&plain, i64::MAX, 1, "price_out_of_range"),
            (&plain, 300_050, 1, "price_off_tick"),
            (&plain, 300_000, 0, "quantity_out_of_range"),
            (&plain, 300_000, u32::MAX, "quantity_out_of_range"),
            (&lots, 300_000, 2, "quantity_out_of_range"),
            (&lots, 300_000, 6, "quantity_off_lot"),
            (&lots, 300_000, 8, "ok"),
        ] {
            let status = match instrument.admit(price, quantity) {
                Ok(_) => "ok",
                Err(rejection) => rejection.code(),
            };
            assert_eq!(status, expected, "{price} {quantity}");
        }
    }
}
