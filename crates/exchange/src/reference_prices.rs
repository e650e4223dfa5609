//! Prices elsewhere beside prices here. The comparison is with the *native* program: a price of
//! fuel times the fuel that the work of a native vCPU-hour takes.
//!
//! The table is data with dates and sources, `reference-prices.json`; `guests/factors.sh` measures
//! the factors anew.

use std::sync::LazyLock;

use wire::{Comparison, NativeFactor, ReferencePrice, ReferencePrices};

static TABLE: LazyLock<ReferencePrices> = LazyLock::new(|| {
    // A test reads it, so that no exchange starts without.
    serde_json::from_str(include_str!("reference-prices.json")).expect("the table is sound")
});

/// The table.
pub(crate) fn table() -> &'static ReferencePrices {
    &TABLE
}

/// A price per Tfuel beside every list price of computing, for every kind of program.
pub(crate) fn compared(price_nanocredits_per_tfuel: i64) -> Vec<Comparison> {
    let table = table();
    let pairs = table
        .references
        .iter()
        .flat_map(|reference| table.factors.iter().map(move |factor| (reference, factor)));
    pairs
        .filter_map(|(reference, factor)| compare(price_nanocredits_per_tfuel, reference, factor))
        .collect()
}

fn compare(price: i64, reference: &ReferencePrice, factor: &NativeFactor) -> Option<Comparison> {
    let there = reference.nanodollars_per_vcpu_hour.filter(|there| *there > 0)?;
    let here = i128::from(price) * i128::from(factor.gfuel_per_vcpu_hour) / 1_000;
    Some(Comparison {
        reference: reference.name.clone(),
        program: factor.program.clone(),
        gfuel_per_vcpu_hour: factor.gfuel_per_vcpu_hour,
        nanocredits_per_vcpu_hour: i64::try_from(here).ok()?,
        nanodollars_per_vcpu_hour: there,
        basis_points: i64::try_from(here * 10_000 / i128::from(there)).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_and_says_where_it_is_from() {
        let table = table();
        for factor in &table.factors {
            let least = factor.least_gfuel_per_vcpu_hour;
            let range = least..=factor.most_gfuel_per_vcpu_hour;
            assert!(least > 0 && range.contains(&factor.gfuel_per_vcpu_hour), "{factor:?}");
            assert!(!factor.date.is_empty() && !factor.source.is_empty(), "{factor:?}");
        }
        for reference in &table.references {
            assert!(!reference.date.is_empty() && !reference.source.is_empty(), "{reference:?}");
        }
    }

    #[test]
    fn a_price_is_compared_through_the_factor() {
        let of = |price: i64| {
            let all = compared(price);
            let fargate = all.iter().filter(|one| one.reference.contains("Fargate"));
            let figures = fargate.map(|one| (one.program.clone(), one.basis_points));
            figures.collect::<Vec<_>>()
        };
        // 0.0003 credits × 64 Tfuel = 0.0192 credits, beside 0.0405 dollars.
        assert_eq!(of(300_000), [("C".to_owned(), 4_740), ("Python".to_owned(), 6_600)]);
        assert_eq!(of(0)[0].1, 0);
        assert!(compared(i64::MAX).is_empty(), "what can't be said is left out");
    }
}
