//! What is known of a machine that buyers may ask for: the meaning of the market's attributes.

use market::Attributes;

use crate::records::Machine;

/// Millions of fuel per second and slot, as the exchange measured it; 0 before.
pub const SPEED: usize = 0;

/// Audited work for distinct buyers; 0 while nothing was audited.
pub const TRUST: usize = 1;

/// Of the last 100 leases, those that its side did not end. A new machine has 100: it has ended
/// none.
pub const KEPT_LEASES: usize = 2;

/// Leases that [`KEPT_LEASES`] looks back on.
pub const LEASES_REMEMBERED: u32 = 100;

/// A machine's attributes for the market.
pub(crate) fn of(machine: &Machine) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.0[SPEED] = machine.speed_mfuel_per_s;
    attributes.0[KEPT_LEASES] = LEASES_REMEMBERED - machine.seller_ended_leases();
    attributes
}
