//! What the demo shows at its end, for people and as JSON.

use std::collections::BTreeMap;

use base::{MachineId, TaskId, Usage};
use serde::Serialize;
use wire::{Invoice, JobView, LedgerAudit};

use super::recompute::Recomputed;
use super::stage::Narrator;
use crate::cmd::jobs::{invoice_table, spans_table};
use crate::error::{CliError, CliResult};
use crate::{amount, summary};

/// Everything that is known at the end.
pub struct Report<'a> {
    /// The job.
    pub job: &'a JobView,
    /// Exponents by task.
    pub exponents: &'a [u32],
    /// What each task printed.
    pub outputs: &'a [String],
    /// What it cost.
    pub invoice: &'a Invoice,
    /// What it should have cost.
    pub recomputed: &'a Recomputed,
    /// The ledger.
    pub audit: &'a LedgerAudit,
    /// The right answer.
    pub known_primes: &'a [u32],
}

#[derive(Serialize)]
struct Json<'a> {
    primes: Vec<u32>,
    tasks: Vec<JsonTask<'a>>,
    moves: Vec<JsonMove>,
    invoices: &'a [wire::InvoiceLine],
    billed_nanocredits: i64,
    recomputed_nanocredits: i64,
    ledger_sum_nanocredits: i64,
}

#[derive(Serialize)]
struct JsonTask<'a> {
    task: TaskId,
    exponent: u32,
    output: &'a str,
    usage: Usage,
    spans: Vec<JsonSpan<'a>>,
}

#[derive(Serialize)]
struct JsonSpan<'a> {
    machine: MachineId,
    machine_name: &'a str,
    from: Usage,
    to: Usage,
    end: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonMove {
    task: TaskId,
    from: MachineId,
    to: MachineId,
    at_fuel: u64,
}

impl Report<'_> {
    fn primes(&self) -> Vec<u32> {
        let mut primes: Vec<u32> = self
            .outputs
            .iter()
            .filter_map(|output| output.strip_suffix(" prime")?.parse().ok())
            .collect();
        primes.sort_unstable();
        primes
    }

    /// For people.
    pub fn tell(&self, narrator: &Narrator) {
        narrator.head("What was found");
        for output in self.outputs {
            narrator.say(&format!("    {output}"));
        }
        narrator.head("Which spans ran where");
        let name = |index: usize| format!("p={}", self.exponents[index]);
        narrator.say(&indented(&spans_table(self.job, name)));
        let mut machines: BTreeMap<&str, u64> = BTreeMap::new();
        for attempt in self.job.tasks.iter().flat_map(|task| &task.attempts) {
            *machines.entry(&attempt.machine_name).or_default() +=
                attempt.to.fuel.saturating_sub(attempt.from.fuel);
        }
        for (machine, fuel) in machines {
            narrator.say(&format!("    {machine} was credited with {}", amount::fuel(fuel)));
        }
        narrator.head("The invoice");
        narrator.say(&indented(&invoice_table(self.invoice)));
        narrator.head("The proof");
        let same = |yes| if yes { "the same" } else { "NOT the same" };
        narrator.say(&format!(
            "    billed       {} credits\n    recomputed   {} credits: {}",
            amount::credits(self.invoice.total_nanocredits),
            amount::credits(self.recomputed.total_nanocredits),
            same(self.invoice.total_nanocredits == self.recomputed.total_nanocredits)
        ));
        for line in &self.invoice.lines {
            if let Some((usage, due)) = self.recomputed.leases.get(&line.lease) {
                narrator.say(&format!(
                    "      {:<10} {} recomputed, {} nanocredits due, {} paid",
                    line.machine_name,
                    amount::fuel(usage.fuel),
                    due,
                    line.paid_nanocredits
                ));
            }
        }
        narrator.say(&format!(
            "    the ledger's {} transfers sum to {}; the journal's {} entries give {} state",
            self.audit.transfers,
            self.audit.sum_nanocredits,
            self.audit.journal_sequence,
            same(self.audit.state_digest == self.audit.replayed_digest)
        ));
    }

    /// One line.
    pub fn json(&self) -> CliResult<String> {
        let tasks = self.job.tasks.iter().zip(self.exponents).zip(self.outputs);
        let json = Json {
            primes: self.primes(),
            tasks: tasks
                .map(|((task, exponent), output)| JsonTask {
                    task: task.task,
                    exponent: *exponent,
                    output,
                    usage: task.usage,
                    spans: task
                        .attempts
                        .iter()
                        .map(|attempt| JsonSpan {
                            machine: attempt.machine,
                            machine_name: &attempt.machine_name,
                            from: attempt.from,
                            to: attempt.to,
                            end: attempt.end.as_deref(),
                        })
                        .collect(),
                })
                .collect(),
            moves: summary::moves(self.job)
                .iter()
                .map(|one| JsonMove {
                    task: one.task.task,
                    from: one.from.machine,
                    to: one.to.machine,
                    at_fuel: one.from.to.fuel,
                })
                .collect(),
            invoices: &self.invoice.lines,
            billed_nanocredits: self.invoice.total_nanocredits,
            recomputed_nanocredits: self.recomputed.total_nanocredits,
            ledger_sum_nanocredits: self.audit.sum_nanocredits,
        };
        serde_json::to_string(&json).map_err(|error| CliError::new(error.to_string()))
    }

    /// Whether everything is as it must be.
    pub fn verdict(&self) -> CliResult {
        let mut wrong = self.recomputed.differences.clone();
        if self.primes() != self.known_primes {
            wrong.push(format!("the primes found are {:?}", self.primes()));
        }
        if summary::moves(self.job).is_empty() {
            wrong.push("no task moved".to_owned());
        }
        if self.invoice.total_nanocredits != self.recomputed.total_nanocredits
            || self.invoice.total_nanocredits != self.job.paid_nanocredits
        {
            wrong.push("the bill is not what it should be".to_owned());
        }
        if self.audit.sum_nanocredits != 0
            || !self.audit.mismatched_accounts.is_empty()
            || !self.audit.negative_accounts.is_empty()
        {
            wrong.push("the ledger does not add up".to_owned());
        }
        if self.audit.state_digest != self.audit.replayed_digest {
            wrong.push("the journal gives another state".to_owned());
        }
        match wrong.is_empty() {
            true => Ok(0),
            false => Err(CliError::new(wrong.join("; ")).exit(1)),
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
