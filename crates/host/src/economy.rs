//! What a computer's time costs its owner, and what to ask for it. Pure, in integers.
//!
//! The floor is the electricity that work takes on top of what the computer takes anyway. Above it
//! an automatic price follows the index, and this machine's own luck: while slots stay empty it
//! comes down, while all are sold it goes up.

use std::fmt;

/// Nanocredits in a credit, which is quoted as one US dollar.
const NANOCREDITS: i64 = 1_000_000_000;
/// Without an index, before anything was ever traded: what a core at home has been offered for.
pub const START_NANOCREDITS_PER_TFUEL: i64 = 300_000;
/// Between two steps of the automatic price.
pub const STEP_MS: u64 = 600_000;
/// How far a step goes, and all of them together, in hundredths of a per cent of the index.
const STEP_BASIS_POINTS: i64 = 300;
const FACTOR: std::ops::RangeInclusive<i64> = 5_000..=15_000;
/// Above its costs an owner wants something for it.
const MARGIN_BASIS_POINTS: i64 = 1_000;

/// What electricity costs households, all taxes included, in thousandths of a US dollar per kWh,
/// and the time zones by which a computer is known to be there. Rough guesses that have no source
/// yet; they hold until the owner says what it is.
const COUNTRIES: [(&str, u16, &[&str]); 24] = [
    ("at", 330, &["Europe/Vienna"]),
    ("au", 250, &["Australia/"]),
    ("be", 400, &["Europe/Brussels"]),
    ("br", 160, &["America/Sao_Paulo", "America/Bahia", "America/Fortaleza"]),
    ("ca", 120, &["America/Toronto", "America/Vancouver", "America/Edmonton", "America/Halifax"]),
    ("ch", 330, &["Europe/Zurich"]),
    ("cn", 80, &["Asia/Shanghai", "Asia/Urumqi"]),
    ("cz", 340, &["Europe/Prague"]),
    ("de", 400, &["Europe/Berlin", "Europe/Busingen"]),
    ("dk", 380, &["Europe/Copenhagen"]),
    ("es", 250, &["Europe/Madrid", "Atlantic/Canary"]),
    ("fi", 250, &["Europe/Helsinki"]),
    ("fr", 280, &["Europe/Paris"]),
    ("gb", 340, &["Europe/London", "Europe/Belfast"]),
    ("in", 80, &["Asia/Kolkata", "Asia/Calcutta"]),
    ("it", 370, &["Europe/Rome"]),
    ("jp", 230, &["Asia/Tokyo"]),
    ("kr", 130, &["Asia/Seoul"]),
    ("mx", 100, &["America/Mexico_City", "America/Tijuana", "America/Monterrey"]),
    ("nl", 350, &["Europe/Amsterdam"]),
    ("no", 150, &["Europe/Oslo"]),
    ("pl", 250, &["Europe/Warsaw"]),
    ("se", 240, &["Europe/Stockholm"]),
    (
        "us",
        165,
        &[
            "America/New_York",
            "America/Chicago",
            "America/Denver",
            "America/Phoenix",
            "America/Los_Angeles",
            "America/Detroit",
            "America/Indiana/",
            "America/Anchorage",
            "Pacific/Honolulu",
        ],
    ),
];
/// Where nobody knows: rather too much than too little, since it is a floor.
const ELSEWHERE_MILLICREDITS_PER_KWH: u16 = 300;

/// What electricity costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Electricity {
    /// As households pay where the computer's time zone is.
    #[default]
    ByTimeZone,
    /// As households pay in a country.
    Country(&'static str),
    /// As the owner says.
    NanocreditsPerKwh(i64),
}

impl Electricity {
    /// A country's code, such as `de`.
    pub fn country(code: &str) -> Option<Electricity> {
        let found = COUNTRIES.iter().find(|(name, ..)| *name == code)?;
        Some(Electricity::Country(found.0))
    }

    /// The codes of all countries that are known.
    pub fn countries() -> impl Iterator<Item = &'static str> {
        COUNTRIES.iter().map(|(code, ..)| *code)
    }

    /// The price of a kWh, and by whose word.
    pub fn nanocredits_per_kwh(&self, time_zone: Option<&str>) -> (i64, &'static str) {
        let of = |millicredits: u16| i64::from(millicredits) * NANOCREDITS / 1000;
        match self {
            Electricity::NanocreditsPerKwh(price) => (*price, "your own figure"),
            Electricity::Country(code) => {
                let found = COUNTRIES.iter().find(|(name, ..)| name == code);
                found.map_or((of(ELSEWHERE_MILLICREDITS_PER_KWH), "a guess"), |found| {
                    (of(found.1), found.0)
                })
            }
            Electricity::ByTimeZone => {
                let zone = time_zone.unwrap_or_default();
                let there = |name: &&str| match name.ends_with('/') {
                    true => zone.starts_with(name),
                    false => zone == *name,
                };
                let found = COUNTRIES.iter().find(|(.., zones)| zones.iter().any(there));
                found.map_or((of(ELSEWHERE_MILLICREDITS_PER_KWH), "a guess"), |found| {
                    (of(found.1), found.0)
                })
            }
        }
    }
}

/// Milliwatts that a busy core takes more than an idle one. A guess from what such computers take
/// at the plug; the owner may know better.
pub fn milliwatts_per_core(has_battery: bool, architecture: &str) -> u32 {
    match (architecture, has_battery) {
        ("aarch64" | "arm" | "riscv64", _) => 3_000,
        (_, true) => 6_000,
        _ => 10_000,
    }
}

/// What one computer's work costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// Of one core.
    pub milliwatts: u32,
    /// Of electricity.
    pub nanocredits_per_kwh: i64,
    /// Millions of fuel per second and core, as measured.
    pub mfuel_per_s: u32,
}

impl Costs {
    /// Electricity of one core in an hour.
    pub fn nanocredits_per_core_hour(&self) -> i64 {
        let product = i128::from(self.milliwatts) * i128::from(self.nanocredits_per_kwh);
        saturated(product / 1_000_000)
    }

    /// What a Tfuel costs, rounded up; `None` before the speed is known.
    pub fn break_even_nanocredits_per_tfuel(&self) -> Option<i64> {
        if self.mfuel_per_s == 0 {
            return None;
        }
        // 10¹² fuel take 10⁶ ÷ (millions of fuel per second) seconds.
        let nano_watt_seconds = i128::from(self.milliwatts) * i128::from(self.nanocredits_per_kwh);
        let divisor = 3_600 * i128::from(self.mfuel_per_s);
        Some(saturated((nano_watt_seconds + divisor - 1) / divisor))
    }

    /// What one core earns in a day at a price, electricity taken off: less than nothing where it
    /// isn't worth it.
    pub fn profit_nanocredits_per_core_day(&self, price_nanocredits_per_tfuel: i64) -> i64 {
        let fuel_per_day = i128::from(self.mfuel_per_s) * 1_000_000 * 86_400;
        let earned = fuel_per_day * i128::from(price_nanocredits_per_tfuel) / 1_000_000_000_000;
        saturated(earned - i128::from(self.nanocredits_per_core_hour()) * 24)
    }
}

fn saturated(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// What to ask, by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pricer {
    /// Of the index.
    factor_basis_points: i64,
    stepped_at_ms: Option<u64>,
}

/// What the market says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// Of the instrument, if anything was traded or offered yet.
    pub index_nanocredits_per_tfuel: Option<i64>,
    /// Prices are multiples of it.
    pub tick_nanocredits_per_tfuel: i64,
    /// The lowest that it allows.
    pub price_min_nanocredits_per_tfuel: i64,
    /// What a Tfuel costs here, if that is known.
    pub break_even_nanocredits_per_tfuel: Option<i64>,
}

/// A price and why it is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// To ask.
    pub nanocredits_per_tfuel: i64,
    /// Its reason.
    pub why: Why,
}

/// Why an automatic price is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The owner said so.
    Owner,
    /// It follows the index at so many hundredths of a per cent of it.
    Index {
        /// The index.
        index_nanocredits_per_tfuel: i64,
        /// Of it.
        factor_basis_points: i64,
    },
    /// Nothing was traded yet.
    NoIndex {
        /// Of where it starts.
        factor_basis_points: i64,
    },
    /// Electricity costs more than that would bring.
    BreakEven {
        /// What it costs.
        break_even_nanocredits_per_tfuel: i64,
    },
    /// The instrument takes no less.
    Least,
}

impl Default for Pricer {
    fn default() -> Self {
        Pricer { factor_basis_points: 10_000, stepped_at_ms: None }
    }
}

impl Pricer {
    /// Time passed, with so many slots offered that nobody took, and so many sold. Rest doesn't
    /// count: who offers nothing learns nothing.
    pub fn observe(&mut self, now_ms: u64, empty: usize, sold: usize) {
        let since = self.stepped_at_ms.map(|at| now_ms.saturating_sub(at));
        match since {
            None => self.stepped_at_ms = Some(now_ms),
            Some(since) if since >= STEP_MS => {
                self.stepped_at_ms = Some(now_ms);
                let step = match (empty, sold) {
                    (0, 0) => 0,
                    (0, _) => STEP_BASIS_POINTS,
                    _ => -STEP_BASIS_POINTS,
                };
                let factor = self.factor_basis_points + step;
                self.factor_basis_points = factor.clamp(*FACTOR.start(), *FACTOR.end());
            }
            Some(_) => {}
        }
    }

    /// What to ask now.
    pub fn price(&self, terms: &Terms) -> Price {
        let factor_basis_points = self.factor_basis_points;
        let (base, why) = match terms.index_nanocredits_per_tfuel {
            Some(index) => {
                let index_nanocredits_per_tfuel = index;
                (index, Why::Index { index_nanocredits_per_tfuel, factor_basis_points })
            }
            None => (START_NANOCREDITS_PER_TFUEL, Why::NoIndex { factor_basis_points }),
        };
        let wanted = saturated(i128::from(base) * i128::from(factor_basis_points) / 10_000);
        let floor = terms.break_even_nanocredits_per_tfuel.map(|cost| {
            let margin = i128::from(cost) * i128::from(10_000 + MARGIN_BASIS_POINTS);
            (cost, saturated((margin + 9_999) / 10_000))
        });
        let (price, why) = match floor {
            Some((break_even_nanocredits_per_tfuel, floor)) if floor > wanted => {
                (floor, Why::BreakEven { break_even_nanocredits_per_tfuel })
            }
            _ => (wanted, why),
        };
        let least = terms.price_min_nanocredits_per_tfuel.max(1);
        let (price, why) = if price < least { (least, Why::Least) } else { (price, why) };
        // Up: below the floor nothing is asked.
        let tick = terms.tick_nanocredits_per_tfuel.max(1);
        let ticks = price.saturating_add(tick - 1) / tick;
        Price { nanocredits_per_tfuel: ticks.saturating_mul(tick), why }
    }
}

/// An amount above nothing such as `0.0003` in billionths; `None` if it is none.
pub fn amount(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    format!("{whole}{fraction:0<9}").parse().ok().filter(|amount| *amount > 0)
}

/// An amount as credits, without zeros at the end.
pub struct Credits(pub i64);

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = NANOCREDITS.unsigned_abs();
        let amount = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let text = format!("{sign}{}.{:09}", amount / unit, amount % unit);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_cent = |basis_points: i64| (basis_points - 10_000).abs() / 100;
        let moved = |factor: i64| match factor {
            10_000 => String::new(),
            ..10_000 => format!(", {} % less since slots stayed empty", per_cent(factor)),
            _ => format!(", {} % more since all slots were sold", per_cent(factor)),
        };
        match self {
            Why::Owner => write!(f, "as you set it"),
            Why::Index { index_nanocredits_per_tfuel, factor_basis_points } => write!(
                f,
                "it follows the index of {}{}",
                Credits(*index_nanocredits_per_tfuel),
                moved(*factor_basis_points)
            ),
            Why::NoIndex { factor_basis_points } => {
                write!(
                    f,
                    "where it starts before anything was traded{}",
                    moved(*factor_basis_points)
                )
            }
            Why::BreakEven { break_even_nanocredits_per_tfuel } => write!(
                f,
                "a tenth above the {} that electricity costs here, since the market pays less",
                Credits(*break_even_nanocredits_per_tfuel)
            ),
            Why::Least => write!(f, "the lowest price that there may be"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GERMAN_DESKTOP: Costs =
        Costs { milliwatts: 10_000, nanocredits_per_kwh: 400_000_000, mfuel_per_s: 4_000 };

    fn terms(index: Option<i64>, break_even: Option<i64>) -> Terms {
        Terms {
            index_nanocredits_per_tfuel: index,
            tick_nanocredits_per_tfuel: 100,
            price_min_nanocredits_per_tfuel: 100,
            break_even_nanocredits_per_tfuel: break_even,
        }
    }

    #[test]
    fn costs_are_what_the_meter_says() {
        // 10 W for an hour at 0.40 a kWh; a Tfuel takes 250 s.
        assert_eq!(GERMAN_DESKTOP.nanocredits_per_core_hour(), 4_000_000);
        assert_eq!(GERMAN_DESKTOP.break_even_nanocredits_per_tfuel(), Some(277_778));
        let unknown = Costs { mfuel_per_s: 0, ..GERMAN_DESKTOP };
        assert_eq!(unknown.break_even_nanocredits_per_tfuel(), None);
        // 345.6 Tfuel a day.
        let profit = |price| GERMAN_DESKTOP.profit_nanocredits_per_core_day(price);
        assert_eq!(profit(300_000), 345_600 * 300 - 96_000_000);
        assert!(profit(277_777) < 0 && profit(277_778) > 0);
    }

    #[test]
    fn electricity_is_known_by_the_time_zone_or_by_its_owners_word() {
        let by_zone = |zone| Electricity::ByTimeZone.nanocredits_per_kwh(zone);
        assert_eq!(by_zone(Some("Europe/Berlin")), (400_000_000, "de"));
        assert_eq!(by_zone(Some("America/Indiana/Knox")), (165_000_000, "us"));
        assert_eq!(by_zone(Some("Etc/UTC")), (300_000_000, "a guess"));
        assert_eq!(by_zone(None), (300_000_000, "a guess"));
        let china = Electricity::country("cn").unwrap();
        assert_eq!(china.nanocredits_per_kwh(Some("Europe/Berlin")), (80_000_000, "cn"));
        let own = Electricity::NanocreditsPerKwh(1);
        assert_eq!(own.nanocredits_per_kwh(None), (1, "your own figure"));
        assert_eq!(Electricity::country("DE"), None);
    }

    #[test]
    fn the_price_comes_down_while_slots_stay_empty_and_goes_up_while_all_are_sold() {
        let mut pricer = Pricer::default();
        let mut at = 0;
        let mut price_after = |steps: u32, empty, sold| {
            for _ in 0..steps {
                at += STEP_MS;
                pricer.observe(at, empty, sold);
            }
            let price = pricer.price(&terms(Some(200_000), Some(100_000)));
            format!("{}: {}", price.nanocredits_per_tfuel, price.why)
        };
        assert_eq!(price_after(1, 2, 0), "200000: it follows the index of 0.0002");
        assert_eq!(
            price_after(2, 1, 1),
            "188000: it follows the index of 0.0002, 6 % less since slots stayed empty"
        );
        assert_eq!(price_after(3, 0, 0), price_after(0, 0, 0), "at rest nothing is learnt");
        assert_eq!(
            price_after(100, 3, 0),
            "110000: a tenth above the 0.0001 that electricity costs here, since the market pays less"
        );
        assert_eq!(
            price_after(100, 0, 3),
            "300000: it follows the index of 0.0002, 50 % more since all slots were sold"
        );
    }

    #[test]
    fn a_price_is_one_that_the_instrument_takes() {
        let price = |index, break_even| {
            let price = Pricer::default().price(&terms(index, break_even));
            (price.nanocredits_per_tfuel, price.why.to_string())
        };
        assert_eq!(price(Some(123_401), None).0, 123_500, "up to a tick");
        assert_eq!(price(Some(7), None), (100, "the lowest price that there may be".to_owned()));
        let start = "where it starts before anything was traded".to_owned();
        assert_eq!(price(None, None), (START_NANOCREDITS_PER_TFUEL, start));
    }

    proptest! {
        #[test]
        fn nothing_is_ever_asked_below_what_it_costs(
            index in proptest::option::of(1..i64::MAX),
            break_even in 1..1_000_000_000_000_i64,
            days in proptest::collection::vec((0..5_usize, 0..5_usize), 0..300),
        ) {
            let mut pricer = Pricer::default();
            let terms = terms(index, Some(break_even));
            for (at, (empty, sold)) in (0_u64..).zip(days) {
                pricer.observe(at * STEP_MS, empty, sold);
                prop_assert!(pricer.price(&terms).nanocredits_per_tfuel >= break_even);
            }
        }
    }
}
