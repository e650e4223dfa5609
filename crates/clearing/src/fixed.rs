//! Leases for a fixed time: a unit that is the buyer's by the hour, prepaid, under a guarantee.
//!
//! ```text
//! offer ──open──▶ open ⇄ down            hour over: pay the seller, prepay the next hour
//!                  │       │             outage:    not paid for, and the bond pays a multiple
//!                  └───────┴──▶ closed   closed:    pro rata; the rest of escrow and bond go back
//! ```
//!
//! Whether a unit is there is found by the exchange's own probes, never by the seller's word; the
//! edge reports each change. All sums are floors over the whole lease: what the seller earned is
//! price × time that was up, and what an outage pays is multiple × price × time that was down, at
//! most the bond. Ending without the notice that a seller owes counts as an outage of that length.
//!
//! What a unit *is* (a heartbeat today, a virtual machine one day) is the edge's.

use std::collections::BTreeSet;

use base::{AccountId, LeaseId, MachineId};
use serde::{Deserialize, Serialize};

use crate::fees::LeaseFees;

/// What fixed leases are for today: a unit that only answers probes.
pub const TEST_FIXED: &str = "test.fixed";

/// Milliseconds in the hour by which prices are quoted and time is prepaid.
pub const HOUR_MS: i64 = 3_600_000;

/// A machine's standing offer of units. Taken best price first, then oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedOffer {
    /// Such as `test.fixed`.
    pub instrument: String,
    /// Units at once, let ones included.
    pub units: u32,
    /// What an hour costs.
    pub price_nanocredits_per_hour: i64,
    /// Since when at these terms.
    pub since_ms: i64,
    /// Open leases under it.
    pub open: BTreeSet<LeaseId>,
}

impl FixedOffer {
    /// Its place among the offers of its instrument, if a unit is free.
    pub(crate) fn priority(&self, machine: MachineId) -> Option<FixedPriority> {
        let free = self.open.len() < self.units as usize;
        free.then_some((self.price_nanocredits_per_hour, self.since_ms, machine))
    }
}

/// Price, then time: what is taken first is least.
pub(crate) type FixedPriority = (i64, i64, MachineId);

/// Why a fixed lease is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FixedEnd {
    /// The buyer gave notice.
    Buyer,
    /// The seller gave notice.
    Seller,
    /// The seller left without the notice that it owes.
    WithoutNotice,
    /// The next hour could not be prepaid.
    Unpaid,
    /// It was down for too long, or the bond is used up.
    Outage,
}

/// A fixed lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedLease {
    /// Derived from the buyer and its own id.
    pub lease: LeaseId,
    /// Who pays.
    pub account: AccountId,
    /// The buyer's own id: idempotency key.
    pub client_lease_id: String,
    /// The most that the buyer would have paid; part of what a repetition is compared with.
    pub limit_nanocredits_per_hour: i64,
    /// Whose unit.
    pub machine: MachineId,
    /// Such as `test.fixed`.
    pub instrument: String,
    /// The offer's price.
    pub price_nanocredits_per_hour: i64,
    /// What both sides pay the exchange.
    pub fees: LeaseFees,
    /// How many times its price an outage pays.
    pub outage_multiple: u32,
    /// When it opened.
    pub opened_at_ms: i64,
    /// Paid for until then.
    pub prepaid_until_ms: i64,
    /// The buyer was told that it ends unless there is money.
    pub warned: bool,
    /// There was money for the next hour when it was last looked for; it is again then.
    #[serde(default)]
    pub look_at_ms: Option<i64>,
    /// Notice was given: by the seller or not, and when it ends.
    pub notice: Option<(bool, i64)>,
    /// Down since then.
    pub down_since_ms: Option<i64>,
    /// Outages that are over, together.
    pub outage_ms: i64,
    /// Put into escrow by the buyer.
    pub prepaid_nanocredits: i64,
    /// Paid to the seller, its fee included.
    pub paid_nanocredits: i64,
    /// Given back to the buyer from escrow.
    pub refunded_nanocredits: i64,
    /// Put at stake by the seller.
    pub bond_nanocredits: i64,
    /// Paid to the buyer from the bond.
    pub compensated_nanocredits: i64,
    /// Given back to the seller from the bond.
    pub bond_returned_nanocredits: i64,
    /// When and why it ended.
    pub closed: Option<(i64, FixedEnd)>,
}

impl FixedLease {
    /// Time without the unit until `at_ms`.
    pub fn outage_ms(&self, at_ms: i64) -> i64 {
        let down = self.down_since_ms.map_or(0, |since_ms| (at_ms - since_ms).max(0));
        self.outage_ms.saturating_add(down)
    }

    /// When time next brings something, if nothing else happens before. What is due stays so
    /// until an event says that it was seen to.
    pub(crate) fn due_at_ms(&self, warning_ms: i64, outage_max_ms: i64) -> i64 {
        let paid_until_ms = self.prepaid_until_ms;
        let ends_at_ms = self.notice.map(|(_, ends_at_ms)| ends_at_ms);
        let ends_at_ms = ends_at_ms.filter(|ends_at_ms| *ends_at_ms <= paid_until_ms);
        let look_at_ms = self.look_at_ms.unwrap_or(paid_until_ms.saturating_sub(warning_ms));
        let warning = (!self.warned && ends_at_ms.is_none()).then_some(look_at_ms);
        // The outage that uses up the bond: what is rounded down reaches it there.
        let price = i128::from(self.price_nanocredits_per_hour) * i128::from(self.outage_multiple);
        let stake = i128::from(self.bond_nanocredits) * i128::from(HOUR_MS);
        let spent_ms = (stake + price - 1).checked_div(price).unwrap_or(0).max(1);
        let spent_ms = i64::try_from(spent_ms).unwrap_or(i64::MAX);
        let outage = match self.down_since_ms {
            Some(since_ms) => {
                let left_ms = spent_ms.saturating_sub(self.outage_ms).max(0).min(outage_max_ms);
                Some(since_ms.saturating_add(left_ms))
            }
            None => (self.outage_ms >= spent_ms).then_some(i64::MIN),
        };
        let all = [ends_at_ms, warning, outage];
        all.into_iter().flatten().fold(paid_until_ms, i64::min)
    }

    /// What the seller has earned until `at_ms`: one floor over all the time that it was up.
    pub fn earned_nanocredits(&self, at_ms: i64) -> i64 {
        let up_ms = at_ms - self.opened_at_ms - self.outage_ms(at_ms);
        for_time(self.price_nanocredits_per_hour, up_ms)
    }

    /// What outages of `outage_ms` together pay.
    pub fn compensation_nanocredits(&self, outage_ms: i64) -> i64 {
        let price = i128::from(self.price_nanocredits_per_hour) * i128::from(self.outage_multiple);
        let due = price * i128::from(outage_ms.max(0)) / i128::from(HOUR_MS);
        i64::try_from(due).unwrap_or(i64::MAX).min(self.bond_nanocredits)
    }

    /// What escrow must hold in all when it is prepaid until then.
    pub fn prepayment_nanocredits(&self, until_ms: i64) -> i64 {
        let price = for_time(self.price_nanocredits_per_hour, until_ms - self.opened_at_ms);
        self.fees.gross_nanocredits(price)
    }
}

/// floor(price × time ÷ hour).
pub(crate) fn for_time(price_nanocredits_per_hour: i64, time_ms: i64) -> i64 {
    let product = i128::from(price_nanocredits_per_hour) * i128::from(time_ms.max(0));
    i64::try_from(product / i128::from(HOUR_MS)).unwrap_or(i64::MAX)
}

/// The id of the lease that an account opened under its own id: scoped per account.
pub fn fixed_lease_id(account: AccountId, client_lease_id: &str) -> LeaseId {
    LeaseId::derive(&[b"fixed", &account.0.to_be_bytes(), client_lease_id.as_bytes()])
}

/// What can be asked about fixed leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FixedCommand {
    /// A machine offers units; zero takes the offer back and leaves open leases as they are. Who
    /// offers a unit has the bond for it.
    Offer {
        /// Which.
        machine: MachineId,
        /// Such as `test.fixed`.
        instrument: String,
        /// Units at once.
        units: u32,
        /// What an hour costs.
        price_nanocredits_per_hour: i64,
    },
    /// Takes the best offer within the limit and prepays an hour.
    Open {
        /// Who pays.
        account: AccountId,
        /// Its own id: idempotency key.
        client_lease_id: String,
        /// Such as `test.fixed`.
        instrument: String,
        /// The most that it pays.
        limit_nanocredits_per_hour: i64,
    },
    /// Buyer or seller gives notice.
    Notice {
        /// The buyer, or the machine's owner.
        account: AccountId,
        /// Which.
        lease: LeaseId,
    },
    /// The exchange's own probe found the unit there or not. The edge reports every answer; only
    /// changes have consequences.
    Probed {
        /// Which.
        lease: LeaseId,
        /// Whether it answered.
        is_up: bool,
    },
}

/// What happened to fixed leases.
#[allow(missing_docs, reason = "the fields are those of the commands and of the records")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FixedEvent {
    /// A machine's terms from now on.
    Offered {
        machine: MachineId,
        instrument: String,
        units: u32,
        price_nanocredits_per_hour: i64,
        at_ms: i64,
    },
    /// A new lease; transfers into escrow and bond follow.
    Opened { lease: Box<FixedLease> },
    /// The next hour is prepaid.
    Prolonged { lease: LeaseId, prepaid_until_ms: i64 },
    /// The next hour can't be prepaid as things are.
    Warned { lease: LeaseId, ends_at_ms: i64 },
    /// There is money for the next hour as things are; it is looked for again then.
    Provided { lease: LeaseId, look_at_ms: i64 },
    /// Somebody gave notice.
    NoticeGiven { lease: LeaseId, by_seller: bool, ends_at_ms: i64 },
    /// A probe found nothing.
    WentDown { lease: LeaseId, at_ms: i64 },
    /// A probe found it again; all outages together.
    CameUp { lease: LeaseId, outage_ms: i64, at_ms: i64 },
    /// It is over; all outages together, with what counts as one. Money follows.
    Closed { lease: LeaseId, end: FixedEnd, outage_ms: i64, at_ms: i64 },
}

/// Where a fixed lease's money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FixedFlow {
    /// Into escrow.
    Prepayment,
    /// To the seller for time that was up.
    Settlement,
    /// The buyer's fee.
    BuyerFee,
    /// The seller's fee.
    SellerFee,
    /// What escrow still holds goes back.
    Refund,
    /// At stake.
    Bond,
    /// To the buyer for an outage.
    Compensation,
    /// What the bond still holds goes back.
    BondReturn,
}

/// Why a command about fixed leases is refused, in order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum FixedRejection {
    /// Not an instrument of fixed leases.
    #[error("`{instrument}` is not let by the hour: name {TEST_FIXED}")]
    Instrument {
        /// What was given.
        instrument: String,
    },
    /// The buyer's id was used for another lease.
    #[error("`{client_lease_id}` was used for another lease of this account: make a new id")]
    Conflict {
        /// What was given.
        client_lease_id: String,
    },
    /// Nobody lets one at this price who can put up the bond.
    #[error("nobody offers {instrument} within {limit_nanocredits_per_hour} nanocredits an hour")]
    NoOffer {
        /// The instrument.
        instrument: String,
        /// The limit.
        limit_nanocredits_per_hour: i64,
    },
}

impl FixedRejection {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            FixedRejection::Instrument { .. } => "not_a_fixed_instrument",
            FixedRejection::Conflict { .. } => "lease_conflict",
            FixedRejection::NoOffer { .. } => "no_offer",
        }
    }
}
