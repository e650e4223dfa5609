//! What computing costs elsewhere, and how prices here compare with it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Prices elsewhere, and the factors by which they can be compared with prices of fuel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReferencePrices {
    /// How much fuel the work of a native vCPU-hour takes, per kind of program.
    pub factors: Vec<NativeFactor>,
    /// List prices.
    pub references: Vec<ReferencePrice>,
}

/// How much billable fuel a kind of program takes here for what a vCPU does with it natively in
/// an hour: an estimate, for comparing prices and never for bills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NativeFactor {
    /// Such as `C`.
    pub program: String,
    /// The factor, in 10⁹ fuel.
    pub gfuel_per_vcpu_hour: i64,
    /// The least of the programs that were measured.
    pub least_gfuel_per_vcpu_hour: i64,
    /// The most of them.
    pub most_gfuel_per_vcpu_hour: i64,
    /// When it was measured.
    pub date: String,
    /// With what.
    pub source: String,
}

/// What somebody else charges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReferencePrice {
    /// Who, for what.
    pub name: String,
    /// Of computing: in 10⁻⁹ dollars, per hour of a vCPU.
    #[serde(default)]
    pub nanodollars_per_vcpu_hour: Option<i64>,
    /// Of memory, where it is charged by itself.
    #[serde(default)]
    pub nanodollars_per_gb_hour: Option<i64>,
    /// Of traffic.
    #[serde(default)]
    pub nanodollars_per_gb: Option<i64>,
    /// What to know about it.
    pub note: String,
    /// As of when.
    pub date: String,
    /// By whose word.
    pub source: String,
}

/// A price here beside one elsewhere, for the same work of one kind of program. One credit is
/// quoted as one dollar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Comparison {
    /// Such as `AWS Fargate, us-east-1`.
    pub reference: String,
    /// Such as `C`.
    pub program: String,
    /// The factor that was used.
    pub gfuel_per_vcpu_hour: i64,
    /// What the work of a vCPU-hour costs here.
    pub nanocredits_per_vcpu_hour: i64,
    /// And there.
    pub nanodollars_per_vcpu_hour: i64,
    /// The one as hundredths of a percent of the other.
    pub basis_points: i64,
}
