//! What is traded: the operator's to say.

use market::Instrument;

use super::Desk;
use crate::event::Event;
use crate::rejection::Rejection;

impl Desk<'_> {
    /// What a unit takes of its seller can't change, since open leases give back what they took.
    pub(super) fn set_instrument(&mut self, instrument: &Instrument) -> Result<(), Rejection> {
        let name = instrument.name.clone();
        if let Err(why) = instrument.check() {
            return Err(Rejection::InstrumentFlawed { instrument: name, why });
        }
        match self.state.market.instrument(&name) {
            Some((_, former)) if former == instrument => return Ok(()),
            Some((_, former))
                if (former.unit, former.priced_per, former.memory_mib)
                    != (instrument.unit, instrument.priced_per, instrument.memory_mib) =>
            {
                let why = "what a unit is can't change: give it another name";
                return Err(Rejection::InstrumentFlawed { instrument: name, why });
            }
            None if self.state.market.instruments().count() >= self.state.rules.instruments_max => {
                let why = "there are as many instruments as one exchange may have";
                return Err(Rejection::InstrumentFlawed { instrument: name, why });
            }
            _ => {}
        }
        self.push(Event::InstrumentSet { instrument: instrument.clone() });
        Ok(())
    }
}
