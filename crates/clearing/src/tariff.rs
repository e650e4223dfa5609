//! What usage costs.

use base::{FUEL_PER_TFUEL, Usage};

/// The version that new leases are opened under.
pub const TARIFF_VERSION: u32 = 1;

/// Integer weights that turn usage into billable fuel: the weighted sum ÷ `divisor`, exactly.
///
/// Set-up charges (opening a lease, starting a task, compilation) are 0 in version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tariff {
    /// Its version.
    pub version: u32,
    /// Per unit of fuel.
    pub fuel_weight: i64,
    /// Per 64 KiB page held for one unit of fuel.
    pub memory_page_fuel_weight: i64,
    /// Per byte of changed state.
    pub state_byte_weight: i64,
    /// Per byte of traffic.
    pub traffic_byte_weight: i64,
    /// What the sum is divided by.
    pub divisor: i64,
}

/// From the ratios of a large cloud's list prices: 1 GiB held for 1 Gfuel costs as much as
/// 0.11 Gfuel, a changed byte as much as 4 fuel, 1 GiB of traffic as much as 2.4 Tfuel (a tenth
/// of what a cloud asks: homes aren't clouds).
const VERSION_1: Tariff = Tariff {
    version: 1,
    fuel_weight: 1_638_400,
    memory_page_fuel_weight: 11,
    state_byte_weight: 4 * 1_638_400,
    traffic_byte_weight: 2_235 * 1_638_400,
    divisor: 1_638_400,
};

impl Tariff {
    /// The tariff of a version.
    pub fn of_version(version: u32) -> Option<&'static Tariff> {
        (version == 1).then_some(&VERSION_1)
    }

    /// The tariff that new leases are opened under.
    pub fn current() -> &'static Tariff {
        &VERSION_1
    }

    /// Billable fuel × `divisor`. Cannot overflow: 64 bits by less than 40 bits, four times.
    pub fn billable_numerator(&self, usage: Usage) -> i128 {
        i128::from(usage.fuel) * i128::from(self.fuel_weight)
            + i128::from(usage.memory_page_fuel) * i128::from(self.memory_page_fuel_weight)
            + i128::from(usage.state_bytes) * i128::from(self.state_byte_weight)
            + i128::from(usage.traffic_bytes) * i128::from(self.traffic_byte_weight)
    }

    /// floor(price × billable fuel ÷ 10¹²): what is due for `usage` in all. Rounded once, so
    /// apply it to cumulative usage only. Saturates at the largest amount.
    pub fn payment_nanocredits(&self, price_nanocredits_per_tfuel: i64, usage: Usage) -> i64 {
        i128::from(price_nanocredits_per_tfuel)
            .checked_mul(self.billable_numerator(usage))
            .map(|product| product / self.denominator())
            .and_then(|payment| i64::try_from(payment).ok())
            .unwrap_or(i64::MAX)
    }

    /// [`Tariff::payment_nanocredits`] by what was used, in the order of [`Usage`]'s fields: CPU,
    /// memory, state, traffic. Only prefixes are rounded, so that the parts add up to the whole.
    pub fn parts_nanocredits(&self, price_nanocredits_per_tfuel: i64, usage: Usage) -> [i64; 4] {
        let Usage { fuel, memory_page_fuel, state_bytes, traffic_bytes } = usage;
        let mut prefix = Usage::ZERO;
        let mut before = 0;
        let mut part = |prefix: Usage| {
            let payment = self.payment_nanocredits(price_nanocredits_per_tfuel, prefix);
            payment - std::mem::replace(&mut before, payment)
        };
        prefix.fuel = fuel;
        let cpu = part(prefix);
        prefix.memory_page_fuel = memory_page_fuel;
        let memory = part(prefix);
        prefix.state_bytes = state_bytes;
        let state = part(prefix);
        prefix.traffic_bytes = traffic_bytes;
        [cpu, memory, state, part(prefix)]
    }

    /// What price × numerator is divided by.
    pub(crate) fn denominator(&self) -> i128 {
        i128::from(self.divisor) * i128::from(FUEL_PER_TFUEL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn billable(usage: Usage) -> i128 {
        VERSION_1.billable_numerator(usage) / i128::from(VERSION_1.divisor)
    }

    #[test]
    fn the_ratios_are_those_that_were_set() {
        let gfuel = 1_000_000_000;
        assert_eq!(billable(Usage { fuel: gfuel, ..Usage::ZERO }), 1_000_000_000);
        let gib_for_a_gfuel = Usage { memory_page_fuel: 16_384 * gfuel, ..Usage::ZERO };
        assert_eq!(billable(gib_for_a_gfuel), 110_000_000);
        assert_eq!(billable(Usage { state_bytes: 65_536, ..Usage::ZERO }), 262_144);
        let gib = Usage { traffic_bytes: 1 << 30, ..Usage::ZERO };
        assert_eq!(billable(gib), 2_399_812_976_640);
    }

    #[test]
    fn payment_is_the_floor_of_the_whole_and_saturates() {
        let usage = |fuel| Usage { fuel, ..Usage::ZERO };
        assert_eq!(VERSION_1.payment_nanocredits(300_000, usage(FUEL_PER_TFUEL)), 300_000);
        assert_eq!(VERSION_1.payment_nanocredits(300_000, usage(FUEL_PER_TFUEL - 1)), 299_999);
        assert_eq!(VERSION_1.payment_nanocredits(300_000, usage(3_333_333)), 0);
        assert_eq!(VERSION_1.payment_nanocredits(300_000, usage(3_333_334)), 1);
        assert_eq!(VERSION_1.payment_nanocredits(300_000, Usage::ZERO), 0);
        let all = Usage {
            fuel: u64::MAX,
            memory_page_fuel: u64::MAX,
            state_bytes: u64::MAX,
            traffic_bytes: u64::MAX,
        };
        assert_eq!(VERSION_1.payment_nanocredits(i64::MAX, all), i64::MAX);
    }

    #[test]
    fn the_parts_add_up_to_the_whole() {
        let usage = Usage {
            fuel: 1_234_567_890_123,
            memory_page_fuel: 7_777_777_777_777,
            state_bytes: 99_999_999,
            traffic_bytes: 12_345,
        };
        for price in [1, 7, 300_000, 1_000_000_007] {
            let parts = VERSION_1.parts_nanocredits(price, usage);
            assert_eq!(parts.iter().sum::<i64>(), VERSION_1.payment_nanocredits(price, usage));
            for (part, alone) in parts.into_iter().zip([
                Usage { fuel: usage.fuel, ..Usage::ZERO },
                Usage { memory_page_fuel: usage.memory_page_fuel, ..Usage::ZERO },
                Usage { state_bytes: usage.state_bytes, ..Usage::ZERO },
                Usage { traffic_bytes: usage.traffic_bytes, ..Usage::ZERO },
            ]) {
                let alone = VERSION_1.payment_nanocredits(price, alone);
                assert!((part - alone).abs() <= 1, "{part} instead of {alone}");
            }
        }
    }
}
