//! REST types of leases for a fixed time: a unit by the hour, prepaid, under a seller's bond.

use base::{AccountId, LeaseId, MachineId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a machine lets by the hour from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewFixedOffer {
    /// Such as `test.fixed`.
    pub instrument: String,
    /// Units at once, let ones included; 0 takes the offer back and leaves open leases as they are.
    pub units: u32,
    /// What a unit costs for an hour.
    pub price_nanocredits_per_hour: i64,
}

/// What a machine lets by the hour, and under which terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FixedOfferView {
    /// The machine.
    pub machine: MachineId,
    /// Such as `test.fixed`.
    pub instrument: String,
    /// Units at once, let ones included.
    pub units: u32,
    /// Of these, let ones.
    pub units_let: u32,
    /// What a unit costs for an hour.
    pub price_nanocredits_per_hour: i64,
    /// Since when at these terms: of two at one price the older one is taken first.
    pub since_ms: i64,
    /// What the seller puts at stake for a lease.
    pub bond_nanocredits: i64,
    /// So many times the price of its time an outage pays, on top of not being paid for.
    pub outage_multiple: u32,
    /// The notice that the seller owes; leaving without it is an outage of that length.
    pub seller_notice_ms: i64,
    /// The notice that the buyer owes.
    pub buyer_notice_ms: i64,
}

/// Take the best offer within a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewFixedLease {
    /// The account's own id: asked again under it with the same content, it is the same lease.
    pub client_lease_id: String,
    /// Such as `test.fixed`.
    pub instrument: String,
    /// The most to pay for an hour.
    pub limit_nanocredits_per_hour: i64,
}

/// Where a fixed lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FixedLeaseState {
    /// The unit answers.
    Open,
    /// The exchange's last probe was not answered.
    Down,
    /// It is over.
    Closed,
}

/// Why a fixed lease is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FixedLeaseEnd {
    /// The buyer gave notice.
    Buyer,
    /// The seller gave notice.
    Seller,
    /// The seller left without the notice that it owes.
    WithoutNotice,
    /// The next hour could not be prepaid.
    Unpaid,
    /// It was down for too long, or the bond was used up.
    Outage,
}

/// A lease for a fixed time, as its buyer and its seller see it. It goes on from hour to hour
/// while the next one can be prepaid and nobody gives notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FixedLeaseView {
    /// The lease.
    pub lease: LeaseId,
    /// The buyer's own id.
    pub client_lease_id: String,
    /// Who pays.
    pub account: AccountId,
    /// Whose unit.
    pub machine: MachineId,
    /// Such as `test.fixed`.
    pub instrument: String,
    /// What an hour costs.
    pub price_nanocredits_per_hour: i64,
    /// Where it is.
    pub state: FixedLeaseState,
    /// Why it is over.
    pub end: Option<FixedLeaseEnd>,
    /// When it opened.
    pub opened_at_ms: i64,
    /// Paid for until then.
    pub prepaid_until_ms: i64,
    /// Notice was given: when it ends.
    pub ends_at_ms: Option<i64>,
    /// When it ended.
    pub closed_at_ms: Option<i64>,
    /// Down since then.
    pub down_since_ms: Option<i64>,
    /// Outages that are over, together; with what counts as one.
    pub outage_ms: i64,
    /// So many times the price of its time an outage pays, on top of not being paid for.
    pub outage_multiple: u32,
    /// Put into escrow by the buyer.
    pub prepaid_nanocredits: i64,
    /// Paid to the seller for time that was up.
    pub paid_nanocredits: i64,
    /// Given back to the buyer from escrow.
    pub refunded_nanocredits: i64,
    /// Put at stake by the seller.
    pub bond_nanocredits: i64,
    /// Paid to the buyer from the bond.
    pub compensated_nanocredits: i64,
    /// Given back to the seller from the bond.
    pub bond_returned_nanocredits: i64,
    /// The exchange's probes since it started, and how many were answered in time.
    pub probes: u64,
    /// See `probes`.
    pub probes_answered: u64,
}
