//! Accounts and machines.

use base::{AccountId, MachineId, TransferId};
use ledger::{AccountKey, Posted, Transfer};

use super::{Desk, not_found};
use crate::event::{Event, LeaseEnd, TransferReason};
use crate::records::Machine;
use crate::rejection::Rejection;

impl Desk<'_> {
    pub(super) fn open_account(&mut self, account: AccountId, name: &str) -> Result<(), Rejection> {
        self.check_text("the account's name", name)?;
        match self.state.accounts.get(&account) {
            Some(opened) if opened.name == name => Ok(()),
            Some(_) => Err(Rejection::AccountConflict { account }),
            None => {
                self.push(Event::AccountOpened { account, name: name.to_owned() });
                Ok(())
            }
        }
    }

    pub(super) fn deposit(
        &mut self,
        transfer: TransferId,
        account: AccountId,
        amount_nanocredits: i64,
    ) -> Result<(), Rejection> {
        if !self.state.accounts.contains_key(&account) {
            return Err(not_found("account", account));
        }
        self.check_amount(amount_nanocredits)?;
        let (from, to) = (AccountKey::Outside, AccountKey::Available(account));
        let posting = Transfer { transfer, from, to, amount_nanocredits };
        if self.state.ledger.examine(&posting)? == Posted::New {
            let reason = TransferReason::Deposit;
            self.push(Event::Transferred { transfer, from, to, amount_nanocredits, reason });
        }
        Ok(())
    }

    pub(super) fn enrol_machine(
        &mut self,
        machine: MachineId,
        owner: AccountId,
        public_key: [u8; 32],
        name: &str,
    ) -> Result<(), Rejection> {
        if !self.state.accounts.contains_key(&owner) {
            return Err(not_found("account", owner));
        }
        self.check_text("the machine's name", name)?;
        if let Some(enrolled) = self.state.machines.get(&machine) {
            if enrolled.owner != owner {
                return Err(Rejection::MachineOwned { machine });
            }
            if enrolled.public_key != public_key {
                return Err(Rejection::MachineKeyConflict { machine });
            }
            if enrolled.retired {
                return Err(Rejection::MachineRetired { machine });
            }
            return Ok(());
        }
        let name = name.to_owned();
        self.push(Event::MachineEnrolled { machine, owner, public_key, name });
        Ok(())
    }

    pub(super) fn retire_machine(
        &mut self,
        account: AccountId,
        machine: MachineId,
    ) -> Result<(), Rejection> {
        let retiring = self
            .state
            .machines
            .get(&machine)
            .filter(|found| found.owner == account)
            .ok_or_else(|| not_found("machine", machine))?;
        if retiring.retired {
            return Ok(());
        }
        self.cancel_asks(machine, "its machine was retired");
        self.fixed_retired(machine);
        let jobs = self.close_all_leases(machine, &LeaseEnd::Lapsed);
        self.push(Event::MachineRetired { machine });
        self.sync_jobs(&jobs);
        Ok(())
    }

    /// The machine, if it may still act.
    pub(super) fn active_machine(&self, machine: MachineId) -> Result<&Machine, Rejection> {
        let found =
            self.state.machines.get(&machine).ok_or_else(|| not_found("machine", machine))?;
        if found.retired {
            return Err(Rejection::MachineRetired { machine });
        }
        Ok(found)
    }

    /// Fewer slots than are leased close the newest leases, as if the seller had: what a
    /// machine says it no longer has can't run anything.
    pub(super) fn set_offer(
        &mut self,
        machine: MachineId,
        slots: u32,
        memory_mib_per_slot: u32,
        transforms: &[u32],
        region: &str,
    ) -> Result<(), Rejection> {
        let former = self.active_machine(machine)?;
        let max = self.state.rules.machine_slots_max;
        if slots > max {
            return Err(Rejection::SlotsOutOfRange { slots, max });
        }
        let max_bytes = self.state.rules.text_max_bytes;
        if region.len() > max_bytes {
            let (what, bytes) = ("the region", region.len());
            return Err(Rejection::TextLength { what, bytes, max: max_bytes });
        }
        if (former.slots, former.memory_mib_per_slot, &former.transforms[..], &former.region[..])
            == (slots, memory_mib_per_slot, transforms, region)
        {
            return Ok(());
        }
        self.push(Event::OfferSet {
            machine,
            slots,
            memory_mib_per_slot,
            transforms: transforms.to_vec(),
            region: region.to_owned(),
        });
        let surplus: Vec<_> = self
            .state
            .machine_open_leases(machine)
            .map(|lease| lease.lease)
            .skip(slots as usize)
            .collect();
        let mut jobs = Vec::new();
        for lease in surplus {
            let reason = "the machine offers fewer slots".to_owned();
            jobs.push(self.close_lease(lease, LeaseEnd::Seller { reason }));
        }
        self.drop_unqualified(machine);
        self.shrink_asks(machine);
        self.sync_jobs(&jobs);
        Ok(())
    }

    /// A machine below an instrument's speed leaves its book.
    pub(super) fn measure_speed(
        &mut self,
        machine: MachineId,
        speed_mfuel_per_s: u32,
    ) -> Result<(), Rejection> {
        self.active_machine(machine)?;
        let at_ms = self.now_ms();
        self.push(Event::SpeedMeasured { machine, speed_mfuel_per_s, at_ms });
        self.drop_unqualified(machine);
        Ok(())
    }

    /// A machine that has less than it says leaves the books of what it doesn't have.
    pub(super) fn measure_memory(
        &mut self,
        machine: MachineId,
        memory_mib_per_slot: u32,
    ) -> Result<(), Rejection> {
        self.active_machine(machine)?;
        let at_ms = self.now_ms();
        self.push(Event::MemoryMeasured { machine, memory_mib_per_slot, at_ms });
        self.drop_unqualified(machine);
        Ok(())
    }
}
