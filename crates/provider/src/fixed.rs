//! What the machine lets by the hour: the offer that stands at the exchange, and the leases under it.
//!
//! Pure: it is told what happened and says what to send. What a unit of `test.fixed` does is to
//! answer probes, which the agent does for any lease at once, so there is nothing else to run.

use std::collections::BTreeSet;
use std::time::Duration;

use base::LeaseId;
use tokio::time::Instant;
use wire::{ToAgent, ToExchange};

/// What is let: a unit that only answers.
const INSTRUMENT: &str = "test.fixed";
/// Between two tries after the exchange refused or withdrew the offer: the owner's account may
/// have the bond again.
const RETRY: Duration = Duration::from_secs(60);

/// What the owner lets by the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedTerms {
    /// Units at once; 0 takes back what an earlier agent of this machine offered.
    pub units: u32,
    /// What an hour costs.
    pub price_nanocredits_per_hour: i64,
}

/// See the module.
pub(crate) struct Fixed {
    /// Absent: what the owner offers otherwise is the owner's affair.
    terms: Option<FixedTerms>,
    leases: BTreeSet<LeaseId>,
    /// Units that stand at the exchange, as far as is known.
    standing: u32,
    draining: bool,
    /// When to offer again.
    pub(crate) retry_at: Option<Instant>,
}

impl Fixed {
    pub(crate) fn new(terms: Option<FixedTerms>) -> Self {
        let (leases, standing) = (BTreeSet::new(), 0);
        Fixed { terms, leases, standing, draining: false, retry_at: None }
    }

    /// After a connection: what to say.
    pub(crate) fn connected(&mut self, leases: Vec<LeaseId>) -> Option<ToExchange> {
        self.leases = leases.into_iter().collect();
        self.offer()
    }

    /// What to say so that the owner's terms stand.
    pub(crate) fn offer(&mut self) -> Option<ToExchange> {
        self.retry_at = None;
        let FixedTerms { units, price_nanocredits_per_hour } = self.terms?;
        let units = if self.draining { 0 } else { units };
        // Until it is answered: what may stand is waited for before the agent ends.
        self.standing = self.standing.max(units);
        let instrument = INSTRUMENT.to_owned();
        Some(ToExchange::OfferFixed { instrument, units, price_nanocredits_per_hour })
    }

    /// What to answer to a message about leases by the hour.
    pub(crate) fn hear(&mut self, message: ToAgent, now: Instant) -> Option<ToExchange> {
        match message {
            ToAgent::Probe { lease, nonce } => {
                return Some(ToExchange::ProbeAnswer { lease, nonce });
            }
            ToAgent::FixedOffer { units, .. } => self.stands(units, now),
            ToAgent::FixedRefused { code, message } => {
                tracing::warn!("nothing is let by the hour: {message} ({code})");
                self.stands(0, now);
            }
            ToAgent::FixedOpened { lease, instrument, price_nanocredits_per_hour } => {
                let (lease_name, price) = (lease.short(), price_nanocredits_per_hour);
                tracing::info!("lease {lease_name} of {instrument} at {price} nanocredits an hour");
                self.leases.insert(lease);
            }
            ToAgent::FixedClosed { lease, paid_nanocredits, compensated_nanocredits } => {
                tracing::info!(
                    "lease {} is over; it earned {paid_nanocredits} nanocredits and outages cost \
                     {compensated_nanocredits}",
                    lease.short()
                );
                self.leases.remove(&lease);
            }
            // Nothing that concerns it.
            _ => {}
        }
        None
    }

    /// What stands at the exchange now. An offer may leave because the owner's bond is gone.
    fn stands(&mut self, units: u32, now: Instant) {
        self.standing = units;
        let wanted = self.terms.map_or(0, |terms| terms.units);
        self.retry_at = (units < wanted && !self.draining).then_some(now + RETRY);
    }

    /// What to say when the agent is to end: nothing more is let.
    pub(crate) fn drain(&mut self) -> Option<ToExchange> {
        self.draining = true;
        if !self.leases.is_empty() {
            tracing::warn!(
                "{} leases by the hour go on: until an agent is back they are down, and the bond \
                 pays for it",
                self.leases.len()
            );
        }
        self.offer()
    }

    /// Whether nothing is offered, as far as is known.
    pub(crate) fn none_stands(&self) -> bool {
        self.standing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(message: Option<ToExchange>) -> Option<u32> {
        match message? {
            ToExchange::OfferFixed { units, price_nanocredits_per_hour: 7, .. } => Some(units),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_owners_terms_stand_and_are_said_again_when_they_left() {
        let now = Instant::now();
        let terms = FixedTerms { units: 2, price_nanocredits_per_hour: 7 };
        let mut fixed = Fixed::new(Some(terms));
        assert_eq!(units(fixed.connected(vec![LeaseId(1)])), Some(2));
        fixed.stands(2, now);
        assert_eq!((fixed.retry_at, fixed.leases.len()), (None, 1));
        // The exchange found no bond.
        fixed.stands(0, now);
        assert_eq!(fixed.retry_at, Some(now + RETRY));
        assert_eq!(units(fixed.offer()), Some(2));
        let refused = ToAgent::FixedRefused { code: String::new(), message: String::new() };
        assert_eq!(fixed.hear(refused, now), None);
        assert_eq!(fixed.retry_at, Some(now + RETRY));
        assert_eq!(units(fixed.offer()), Some(2));
        assert_eq!(units(fixed.drain()), Some(0));
        assert!(!fixed.none_stands(), "not answered yet");
        fixed.stands(0, now);
        assert!(fixed.none_stands());
        assert_eq!(fixed.retry_at, None);
    }

    #[test]
    fn without_terms_nothing_is_said() {
        let mut fixed = Fixed::new(None);
        assert_eq!(fixed.connected(vec![]), None);
        fixed.stands(3, Instant::now());
        assert_eq!((fixed.retry_at, fixed.drain()), (None, None));
    }
}
