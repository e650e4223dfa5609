//! What is traded: the operator's to say. And who may offer it.

use base::{MachineId, OrderId};
use market::Instrument;

use super::Desk;
use crate::event::Event;
use crate::records::Machine;
use crate::rejection::Rejection;
use crate::state::group;

/// The region that every machine is in.
const ANYWHERE: &str = "any";

/// Whether a machine is what an instrument promises its buyers.
pub(crate) fn qualifies(machine: &Machine, traded: &Instrument) -> Result<(), Rejection> {
    let (id, instrument) = (machine.machine, traded.name.clone());
    if machine.memory_mib_per_slot < traded.memory_mib {
        return Err(Rejection::SlotTooSmall {
            machine: id,
            memory_mib: machine.memory_mib_per_slot,
            instrument,
            needed_mib: traded.memory_mib,
        });
    }
    let shown_mib = machine.measured_mib_per_slot;
    let too_little = shown_mib.is_some_and(|shown_mib| shown_mib < traded.memory_mib);
    if too_little || traded.memory_measured && shown_mib.is_none() {
        return Err(Rejection::MemoryNotShown {
            machine: id,
            shown_mib: shown_mib.unwrap_or(0),
            instrument,
            needed_mib: traded.memory_mib,
        });
    }
    if traded.region != ANYWHERE && traded.region != machine.region {
        return Err(Rejection::OtherRegion {
            machine: id,
            region: machine.region.clone(),
            instrument,
            needed: traded.region.clone(),
        });
    }
    if machine.speed_mfuel_per_s < traded.speed_min_mfuel_per_s {
        return Err(Rejection::TooSlow {
            machine: id,
            speed_mfuel_per_s: machine.speed_mfuel_per_s,
            instrument,
            needed: traded.speed_min_mfuel_per_s,
        });
    }
    Ok(())
}

impl Desk<'_> {
    /// Sets some instruments, and with `only` suspends all others. What a unit takes of its
    /// seller can't change, since open leases give back what they took.
    pub(super) fn set_instruments(
        &mut self,
        instruments: &[Instrument],
        only: bool,
    ) -> Result<(), Rejection> {
        for (index, instrument) in instruments.iter().enumerate() {
            if instruments[..index].iter().any(|other| other.name == instrument.name) {
                return Err(flawed(instrument, "it is in the list twice"));
            }
            self.check_instrument(instrument)?;
        }
        let known =
            |instrument: &&Instrument| self.state.market.instrument(&instrument.name).is_some();
        let fresh = instruments.len() - instruments.iter().filter(known).count();
        let former: Vec<Instrument> =
            self.state.market.instruments().map(|(_, found)| found.clone()).collect();
        if former.len() + fresh > self.state.rules.instruments_max {
            let why = "there are as many instruments as one exchange may have";
            let first = instruments.iter().find(|found| !known(found)).or(instruments.first());
            return first.map_or(Ok(()), |first| Err(flawed(first, why)));
        }
        for instrument in instruments {
            if !former.contains(instrument) {
                self.push(Event::InstrumentSet { instrument: instrument.clone() });
                self.drop_unqualified_of(&instrument.name);
            }
        }
        let is_named = |name: &str| instruments.iter().any(|found| found.name == name);
        for gone in former.into_iter().filter(|found| only && !is_named(&found.name)) {
            if !gone.suspended {
                let instrument = Instrument { suspended: true, ..gone };
                self.push(Event::InstrumentSet { instrument });
            }
        }
        Ok(())
    }

    fn check_instrument(&self, instrument: &Instrument) -> Result<(), Rejection> {
        instrument.check().map_err(|why| flawed(instrument, why))?;
        let Some((_, former)) = self.state.market.instrument(&instrument.name) else {
            return Ok(());
        };
        let unit = |found: &Instrument| (found.unit, found.priced_per, found.memory_mib);
        if unit(former) != unit(instrument) {
            let why = "what a unit is can't change: give it another name";
            return Err(flawed(instrument, why));
        }
        Ok(())
    }

    /// A machine that changed leaves the books of which it is no longer what they promise.
    pub(super) fn drop_unqualified(&mut self, machine: MachineId) {
        let found = &self.state.machines[&machine];
        let market = &self.state.market;
        let asks = market.group_asks(group(machine));
        let unfit =
            asks.filter(|ask| qualifies(found, market.instrument_of(ask.instrument)).is_err());
        let unfit: Vec<OrderId> = unfit.map(|ask| ask.order).collect();
        for ask in unfit {
            self.reduce(ask, 0, "the machine is not what the instrument asks for any more");
        }
    }

    /// The same for an instrument that changed.
    fn drop_unqualified_of(&mut self, name: &str) {
        let market = &self.state.market;
        let Some((id, traded)) = market.instrument(name) else { return };
        let unfit = market.open_asks(id).filter(|ask| {
            let machine = ask.group.and_then(|group| self.state.machines.get(&MachineId(group.0)));
            machine.is_some_and(|machine| qualifies(machine, traded).is_err())
        });
        let unfit: Vec<OrderId> = unfit.map(|ask| ask.order).collect();
        for ask in unfit {
            self.reduce(ask, 0, "the instrument asks for more now than the machine is");
        }
    }
}

fn flawed(instrument: &Instrument, why: &'static str) -> Rejection {
    Rejection::InstrumentFlawed { instrument: instrument.name.clone(), why }
}
