//! Folding what machines are.

use market::Capacity;

use super::FITS;
use crate::attributes;
use crate::event::Event;
use crate::records::Machine;
use crate::state::{State, capacity, group};

impl State {
    pub(super) fn fold_machine(&mut self, event: &Event) {
        match event {
            Event::MachineEnrolled { machine, owner, public_key, name } => {
                let enrolled = Machine {
                    machine: *machine,
                    owner: *owner,
                    public_key: *public_key,
                    name: name.clone(),
                    retired: false,
                    slots: 0,
                    memory_mib_per_slot: 0,
                    transforms: Vec::new(),
                    region: String::new(),
                    open_leases: Vec::new(),
                    earned_nanocredits: 0,
                    speed_mfuel_per_s: 0,
                    speed_at_ms: None,
                    measured_mib_per_slot: None,
                    memory_at_ms: None,
                    lease_ends: 0,
                };
                let attributes = attributes::of(&enrolled);
                self.market.set_group_attributes(group(*machine), attributes);
                assert!(self.machines.insert(*machine, enrolled).is_none(), "{FITS}");
                self.accounts.get_mut(owner).expect(FITS).machines.push(*machine);
            }
            Event::MachineRetired { machine } => {
                let retired = self.machine_mut(*machine);
                retired.retired = true;
                retired.slots = 0;
                self.market.set_group_capacity(group(*machine), Capacity::default());
            }
            Event::OfferSet { machine, slots, memory_mib_per_slot, transforms, region } => {
                let offering = self.machine_mut(*machine);
                if *slots > offering.slots || *memory_mib_per_slot > offering.memory_mib_per_slot {
                    offering.measured_mib_per_slot = None;
                    offering.memory_at_ms = None;
                }
                offering.slots = *slots;
                offering.memory_mib_per_slot = *memory_mib_per_slot;
                offering.transforms = transforms.clone();
                offering.region = region.clone();
                let capacity = capacity(*slots, *memory_mib_per_slot);
                self.market.set_group_capacity(group(*machine), capacity);
            }
            Event::SpeedMeasured { machine, speed_mfuel_per_s, at_ms } => {
                let measured = self.machine_mut(*machine);
                measured.speed_mfuel_per_s = *speed_mfuel_per_s;
                measured.speed_at_ms = Some(*at_ms);
                let attributes = attributes::of(measured);
                self.market.set_group_attributes(group(*machine), attributes);
            }
            Event::MemoryMeasured { machine, memory_mib_per_slot, at_ms } => {
                let measured = self.machine_mut(*machine);
                measured.measured_mib_per_slot = Some(*memory_mib_per_slot);
                measured.memory_at_ms = Some(*at_ms);
            }
            _ => unreachable!("{FITS}"),
        }
    }
}
