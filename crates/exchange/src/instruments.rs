//! Between the operator's words for what is traded and the market's.

use market::{Capacity, Instrument};
use wire::{NewInstrument, PricedPer};

/// An instrument that an exchange would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("instrument `{name}`: {why}")]
pub struct InstrumentFlaw {
    /// Its name.
    pub name: String,
    /// What to change.
    pub why: &'static str,
}

/// Says what a list of instruments would be refused for, before anything runs. Whether it
/// changes what a unit is, only the exchange itself knows.
pub fn check_instruments(list: &[NewInstrument]) -> Result<(), InstrumentFlaw> {
    for (index, new) in list.iter().enumerate() {
        let flaw = |why| InstrumentFlaw { name: new.name.clone(), why };
        if list[..index].iter().any(|other| other.name == new.name) {
            return Err(flaw("it is in the list twice"));
        }
        of_wire(new).check().map_err(flaw)?;
    }
    Ok(())
}

pub(crate) fn of_wire(new: &NewInstrument) -> Instrument {
    let new = new.clone();
    Instrument {
        unit: Capacity([new.slots, new.memory_mib, 0, 0]),
        name: new.name,
        description: new.description,
        priced_per: match new.priced_per {
            PricedPer::Tfuel => market::PricedPer::Tfuel,
            PricedPer::Hour => market::PricedPer::Hour,
            PricedPer::Gigabyte => market::PricedPer::Gigabyte,
        },
        memory_mib: new.memory_mib,
        memory_measured: new.memory_measured,
        region: new.region,
        speed_min_mfuel_per_s: new.speed_min_mfuel_per_s,
        tick_nanocredits: new.tick_nanocredits,
        price_min_nanocredits: new.price_min_nanocredits,
        price_max_nanocredits: new.price_max_nanocredits,
        lot: new.lot,
        quantity_max: new.quantity_max,
        open_orders_max: new.open_orders_max,
        protection_basis_points: new.protection_basis_points,
        suspended: new.suspended,
    }
}

pub(crate) fn to_wire(found: &Instrument) -> NewInstrument {
    let found = found.clone();
    NewInstrument {
        slots: found.unit.0[0],
        name: found.name,
        description: found.description,
        priced_per: match found.priced_per {
            market::PricedPer::Tfuel => PricedPer::Tfuel,
            market::PricedPer::Hour => PricedPer::Hour,
            market::PricedPer::Gigabyte => PricedPer::Gigabyte,
        },
        memory_mib: found.memory_mib,
        memory_measured: found.memory_measured,
        region: found.region,
        speed_min_mfuel_per_s: found.speed_min_mfuel_per_s,
        tick_nanocredits: found.tick_nanocredits,
        price_min_nanocredits: found.price_min_nanocredits,
        price_max_nanocredits: found.price_max_nanocredits,
        lot: found.lot,
        quantity_max: found.quantity_max,
        open_orders_max: found.open_orders_max,
        protection_basis_points: found.protection_basis_points,
        suspended: found.suspended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_new_exchange_trades_can_be_written_down_and_read_again() {
        for first in market::first_instruments() {
            assert_eq!(of_wire(&to_wire(&first)), first);
            // And so little says the same.
            let short = serde_json::json!({
                "name": first.name, "description": first.description,
                "memory_mib": first.memory_mib,
            });
            let short: NewInstrument = serde_json::from_value(short).unwrap();
            assert_eq!(of_wire(&short), first);
        }
    }
}
