//! REST types of what was bought and what was paid: invoices per job, statements per account.

use base::{AccountId, JobId, LeaseId, MachineId, TransferId, Usage};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TariffView;

/// What a job cost, per lease and per unit, with everything needed to recompute it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invoice {
    /// The job.
    pub job: JobId,
    /// Version of the tariff that turned usage into billable fuel.
    pub tariff_version: u32,
    /// Its weights.
    pub tariff: TariffView,
    /// A line per lease.
    pub lines: Vec<InvoiceLine>,
    /// Paid to sellers: the sum over the lines.
    pub paid_nanocredits: i64,
    /// Paid to the exchange on top of it: the sum over the lines.
    pub fees_nanocredits: i64,
    /// What the job cost its buyer so far: paid and fees.
    pub total_nanocredits: i64,
}

/// One lease of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvoiceLine {
    /// The lease.
    pub lease: LeaseId,
    /// Its machine.
    pub machine: MachineId,
    /// The machine's name.
    pub machine_name: String,
    /// The fill's price.
    pub price_nanocredits_per_tfuel: i64,
    /// Sum of the intervals credited to the lease.
    pub usage: Usage,
    /// The usage by unit. The amounts add up to what is due, exactly.
    pub units: Vec<InvoiceUnit>,
    /// What the usage costs.
    pub due_nanocredits: i64,
    /// What was paid for it: what is due, unless the job's money ran out.
    pub paid_nanocredits: i64,
    /// The buyer's fee on what was paid.
    pub fee_nanocredits: i64,
}

/// What one kind of usage comes to: quantity ÷ `quantity_per_price` × price, to the nanocredit
/// (see `amount_nanocredits`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvoiceUnit {
    /// `cpu` (in fuel), `memory` (in pages of 64 KiB × fuel), `state` or `traffic` (in bytes).
    pub unit: String,
    /// How much was used.
    pub quantity: u64,
    /// How much the price is for: a Tfuel, a GiB held for a Tfuel, a GiB.
    pub quantity_per_price: u64,
    /// The price of that much, rounded down, for people: bills are made of the lease's price and
    /// the tariff's weights.
    pub price_nanocredits: i64,
    /// This unit's part of what is due. Only the sum over the units is rounded: a part is that
    /// sum up to and with its unit, less that sum before it.
    pub amount_nanocredits: i64,
}

/// What an account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Balances {
    /// Free to use.
    pub available_nanocredits: i64,
    /// With what is set aside for jobs, leases, bonds and withdrawals.
    pub total_nanocredits: i64,
}

/// What happened to an account's money in a period, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Statement {
    /// Whose.
    pub account: AccountId,
    /// The period's first millisecond.
    pub from_ms: i64,
    /// The first millisecond after the period.
    pub to_ms: i64,
    /// Before the first line.
    pub opening: Balances,
    /// A line per transfer that touched what the account has.
    pub lines: Vec<StatementLine>,
    /// After the last line.
    pub closing: Balances,
    /// If the period has more lines: what to pass as `cursor` for them.
    pub next_cursor: Option<String>,
}

/// One transfer and what it did to the account's money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatementLine {
    /// When.
    pub at_ms: i64,
    /// The transfer.
    pub transfer: TransferId,
    /// Why, as in [`crate::TransferView`].
    pub reason: String,
    /// The ledger account that paid.
    pub from: String,
    /// The ledger account that received.
    pub to: String,
    /// How much moved.
    pub amount_nanocredits: i64,
    /// By how much it changed what the account has in all: 0 when money was only set aside.
    pub change_nanocredits: i64,
    /// After it.
    pub balances: Balances,
}

/// The names of [`Statement::csv_rows`]'s columns.
pub const STATEMENT_CSV_HEAD: &str = "at_ms,transfer,reason,from,to,amount_nanocredits,\
                                      change_nanocredits,available_nanocredits,total_nanocredits\n";

impl Statement {
    /// The lines as CSV, without the head. Nothing in them was written by people, so nothing
    /// needs quotes and nothing is a formula.
    pub fn csv_rows(&self) -> String {
        let row = |line: &StatementLine| {
            format!(
                "{},{},{},{},{},{},{},{},{}\n",
                line.at_ms,
                line.transfer,
                line.reason,
                line.from,
                line.to,
                line.amount_nanocredits,
                line.change_nanocredits,
                line.balances.available_nanocredits,
                line.balances.total_nanocredits,
            )
        };
        self.lines.iter().map(row).collect()
    }
}
