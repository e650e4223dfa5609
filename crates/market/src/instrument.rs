//! What is traded. An instrument holds all that makes units interchangeable; anything finer
//! is a bid's filter.

/// A thing that is traded: one slot of a machine, metered in fuel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instrument {
    /// Such as `cpu.2g.any`.
    pub name: &'static str,
    /// In words.
    pub description: &'static str,
    /// Memory of a slot.
    pub memory_mib: u32,
    /// Prices are multiples of this.
    pub tick_nanocredits_per_tfuel: i64,
    /// The lowest price.
    pub price_min_nanocredits_per_tfuel: i64,
    /// The highest price.
    pub price_max_nanocredits_per_tfuel: i64,
    /// Most slots in one order.
    pub quantity_max: u32,
}

const fn cpu(name: &'static str, description: &'static str, memory_mib: u32) -> Instrument {
    Instrument {
        name,
        description,
        memory_mib,
        tick_nanocredits_per_tfuel: 100,
        price_min_nanocredits_per_tfuel: 100,
        // One credit per Tfuel: some 250 times a large cloud's list price.
        price_max_nanocredits_per_tfuel: 1_000_000_000,
        quantity_max: 1_000,
    }
}

static INSTRUMENTS: [Instrument; 3] = [
    cpu("cpu.512m.any", "one core with up to 512 MiB, any region, metered in fuel", 512),
    cpu("cpu.2g.any", "one core with up to 2 GiB, any region, metered in fuel", 2_048),
    cpu("cpu.4g.any", "one core with up to 4 GiB, any region, metered in fuel", 4_096),
];

/// Every instrument.
pub fn instruments() -> &'static [Instrument] {
    &INSTRUMENTS
}

/// The instrument of that name.
pub fn instrument(name: &str) -> Option<&'static Instrument> {
    INSTRUMENTS.iter().find(|instrument| instrument.name == name)
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
    /// Too cheap, too dear, zero or negative.
    #[error(
        "the price {price_nanocredits_per_tfuel} nanocredits per Tfuel is out of range: \
         {instrument} trades from {min} to {max}"
    )]
    PriceOutOfRange {
        /// The instrument.
        instrument: &'static str,
        /// What was given.
        price_nanocredits_per_tfuel: i64,
        /// The lowest.
        min: i64,
        /// The highest.
        max: i64,
    },
    /// Not a multiple of the tick.
    #[error(
        "the price {price_nanocredits_per_tfuel} nanocredits per Tfuel is between two ticks: \
         {instrument} trades in multiples of {tick}"
    )]
    PriceOffTick {
        /// The instrument.
        instrument: &'static str,
        /// What was given.
        price_nanocredits_per_tfuel: i64,
        /// The tick.
        tick: i64,
    },
    /// No slots, or more than one order may have.
    #[error("{quantity} slots are out of range: an order in {instrument} has 1 to {max}")]
    QuantityOutOfRange {
        /// The instrument.
        instrument: &'static str,
        /// What was given.
        quantity: u32,
        /// The most.
        max: u32,
    },
}

impl InstrumentRejection {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            InstrumentRejection::UnknownInstrument { .. } => "unknown_instrument",
            InstrumentRejection::PriceOutOfRange { .. } => "price_out_of_range",
            InstrumentRejection::PriceOffTick { .. } => "price_off_tick",
            InstrumentRejection::QuantityOutOfRange { .. } => "quantity_out_of_range",
        }
    }
}

impl Instrument {
    /// The instrument, if an order of that price and quantity fits it.
    pub fn admit(
        name: &str,
        price_nanocredits_per_tfuel: i64,
        quantity: u32,
    ) -> Result<&'static Instrument, InstrumentRejection> {
        let found = instrument(name)
            .ok_or_else(|| InstrumentRejection::UnknownInstrument { name: name.to_owned() })?;
        let (min, max) =
            (found.price_min_nanocredits_per_tfuel, found.price_max_nanocredits_per_tfuel);
        if !(min..=max).contains(&price_nanocredits_per_tfuel) {
            return Err(InstrumentRejection::PriceOutOfRange {
                instrument: found.name,
                price_nanocredits_per_tfuel,
                min,
                max,
            });
        }
        let tick = found.tick_nanocredits_per_tfuel;
        if price_nanocredits_per_tfuel % tick != 0 {
            return Err(InstrumentRejection::PriceOffTick {
                instrument: found.name,
                price_nanocredits_per_tfuel,
                tick,
            });
        }
        if quantity == 0 || quantity > found.quantity_max {
            return Err(InstrumentRejection::QuantityOutOfRange {
                instrument: found.name,
                quantity,
                max: found.quantity_max,
            });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        for (name, price, quantity, expected) in [
            ("cpu.2g.any", 300_000, 4, "ok"),
            ("cpu.3g.any", -1, 0, "unknown_instrument"),
            ("cpu.2g.any", 0, 1, "price_out_of_range"),
            ("cpu.2g.any", -100, 1, "price_out_of_range"),
            ("cpu.2g.any", i64::MAX, 1, "price_out_of_range"),
            ("cpu.2g.any", 300_050, 1, "price_off_tick"),
            ("cpu.2g.any", 300_000, 0, "quantity_out_of_range"),
            ("cpu.2g.any", 300_000, u32::MAX, "quantity_out_of_range"),
        ] {
            let status = match Instrument::admit(name, price, quantity) {
                Ok(_) => "ok",
                Err(rejection) => rejection.code(),
            };
            assert_eq!(status, expected, "{name} {price} {quantity}");
        }
    }
}
