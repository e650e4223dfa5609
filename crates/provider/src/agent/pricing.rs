//! What the machine asks: what its owner set, or what the market and its own luck say.

use std::time::Duration;

use host::economy::{Costs, Price, Pricer, Terms, Why, milliwatts_per_core};
use host::linux::Linux;
use host::settings::Settings;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Agent;
use crate::quotes::Quote;

/// For the market's first answer: an exchange that doesn't say its ticks gets a round price.
const QUOTE_MAX: Duration = Duration::from_secs(10);
/// Until then.
const ROUND_NANOCREDITS: i64 = 10_000;
/// Below a change of so many hundredths of a per cent nothing is asked anew: an ask that is replaced
/// loses its place in the queue.
const WORTH_BASIS_POINTS: i64 = 100;

/// See the module.
pub(super) struct Pricing {
    /// For this run, instead of what the settings say.
    given_nanocredits_per_tfuel: Option<i64>,
    quotes: watch::Receiver<Option<Quote>>,
    pricer: Pricer,
    pub(super) price: Price,
    time_zone: Option<String>,
    has_battery: bool,
    asked_at: Instant,
}

impl Pricing {
    /// Before anything is known of the market.
    pub(super) fn new(
        given_nanocredits_per_tfuel: Option<i64>,
        quotes: watch::Receiver<Option<Quote>>,
        computer: &Linux,
    ) -> Self {
        let pricer = Pricer::default();
        let price = pricer.price(&Terms::default());
        let (time_zone, has_battery) = (computer.time_zone(), computer.has_battery());
        let asked_at = Instant::now();
        Pricing {
            given_nanocredits_per_tfuel,
            quotes,
            pricer,
            price,
            time_zone,
            has_battery,
            asked_at,
        }
    }

    /// What this computer's work costs its owner.
    pub(super) fn costs(&self, settings: &Settings, mfuel_per_s: u32) -> Costs {
        let zone = self.time_zone.as_deref();
        let guess = || milliwatts_per_core(self.has_battery, std::env::consts::ARCH);
        Costs {
            milliwatts: settings.milliwatts_per_core.unwrap_or_else(guess),
            nanocredits_per_kwh: settings.electricity.nanocredits_per_kwh(zone).0,
            mfuel_per_s,
        }
    }

    /// Whether a price is one that the exchange takes, as far as can be known.
    fn is_ready(&self, settings: &Settings) -> bool {
        self.given_nanocredits_per_tfuel.or(settings.price_nanocredits_per_tfuel).is_some()
            || self.quotes.borrow().is_some()
            || self.asked_at.elapsed() >= QUOTE_MAX
    }

    /// What to ask now.
    fn now(&self, settings: &Settings, mfuel_per_s: u32) -> Price {
        let owners = self.given_nanocredits_per_tfuel.or(settings.price_nanocredits_per_tfuel);
        if let Some(nanocredits_per_tfuel) = owners {
            return Price { nanocredits_per_tfuel, why: Why::Owner };
        }
        let costs = self.costs(settings, mfuel_per_s);
        let quote = *self.quotes.borrow();
        self.pricer.price(&Terms {
            index_nanocredits_per_tfuel: quote.and_then(|q| q.index_nanocredits_per_tfuel),
            tick_nanocredits_per_tfuel: quote
                .map_or(ROUND_NANOCREDITS, |q| q.tick_nanocredits_per_tfuel),
            price_min_nanocredits_per_tfuel: quote.map_or(1, |q| q.price_min_nanocredits_per_tfuel),
            break_even_nanocredits_per_tfuel: costs.break_even_nanocredits_per_tfuel(),
        })
    }
}

impl Agent {
    /// Before anything is offered, and after each look at the computer: time has passed, and the
    /// market may say something else. `None` before a price can be said, else whether it is new.
    pub(super) fn reprice(&mut self) -> Option<bool> {
        let sight = self.lookout.sight.borrow().clone();
        if !self.pricing.is_ready(&sight.settings) {
            return None;
        }
        if !self.is_leaving() && *self.connected.borrow() {
            let sold = self.leases.len().min(self.slots as usize);
            let empty = self.slots as usize - sold;
            self.pricing.pricer.observe(sight.seen.at_ms, empty, sold);
        }
        let new = self.pricing.now(&sight.settings, self.books.mfuel_per_s());
        let old = self.asks.price_nanocredits_per_tfuel();
        let moved = (i128::from(new.nanocredits_per_tfuel) - i128::from(old)).abs();
        let is_worth = moved * 10_000 >= i128::from(old) * i128::from(WORTH_BASIS_POINTS);
        // An owner's word and a floor hold at once.
        let must = matches!(new.why, Why::Owner | Why::BreakEven { .. } | Why::Least);
        if moved == 0 {
            self.pricing.price = new;
        }
        if moved == 0 || !(is_worth || must) {
            return Some(false);
        }
        tracing::info!("asking {} nanocredits per Tfuel: {}", new.nanocredits_per_tfuel, new.why);
        self.pricing.price = new;
        self.asks.set_price(new.nanocredits_per_tfuel);
        Some(true)
    }
}
