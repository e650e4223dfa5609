//! The independent recomputation: usage by running every task again here, money by the formula
//! that the invoice publishes. Of the exchange only two things are taken: where in each task's
//! fuel machines changed, and what each lease's price was.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::{LeaseId, Usage};
use runtime::checkpoint::Checkpoint;
use runtime::protocol::{End, Start};
use runtime::sandbox::Weakening;
use runtime::task::Task;
use wire::{Invoice, JobView, TariffView, TaskView};

use crate::amount;
use crate::cmd::exec;
use crate::error::{CliError, CliResult};
use crate::local::{self, LocalEnd};

use super::stage::Narrator;

/// What came out.
pub struct Recomputed {
    /// Per lease: usage, and what it should have been paid.
    pub leases: BTreeMap<LeaseId, (Usage, i64)>,
    /// The sum of the payments.
    pub total_nanocredits: i64,
    /// What does not agree with the exchange; empty or something is broken.
    pub differences: Vec<String>,
}

/// A task run again, cut at the given points.
struct Rerun {
    /// Cumulative usage at each cut, and at the end.
    usages: Vec<Usage>,
    stdout: Vec<u8>,
}

/// Runs everything again, on as many cores as there are.
pub fn recompute(
    job: &JobView,
    invoice: &Invoice,
    tasks: &[Task],
    outputs: &[String],
    narrator: &Narrator,
) -> CliResult<Recomputed> {
    let work: Vec<(&Task, Vec<u64>)> =
        tasks.iter().zip(&job.tasks).map(|(task, view)| (task, cuts(view))).collect();
    let reruns = in_parallel(&work)?;
    let mut usage_of: BTreeMap<LeaseId, Usage> = BTreeMap::new();
    let mut differences = Vec::new();
    for (index, (view, rerun)) in job.tasks.iter().zip(&reruns).enumerate() {
        if String::from_utf8_lossy(&rerun.stdout).trim() != outputs[index] {
            differences.push(format!("task {index}: another output"));
        }
        let mut credited = Usage::ZERO;
        let mut next = rerun.usages.iter();
        for attempt in &view.attempts {
            if attempt.from != credited {
                differences.push(format!("task {index}: intervals leave a gap or overlap"));
            }
            if attempt.to == attempt.from {
                continue;
            }
            let Some(at) = next.next().copied() else { break };
            if at != attempt.to {
                differences.push(format!("task {index}: {:?} here, {:?} billed", at, attempt.to));
            }
            let interval = at.since(credited).ok_or_else(|| overflow("usage"))?;
            let sum = usage_of.entry(attempt.lease).or_insert(Usage::ZERO);
            *sum = sum.plus(interval).ok_or_else(|| overflow("usage"))?;
            credited = at;
        }
        if credited != view.usage {
            differences.push(format!("task {index}: {credited:?} here, {:?} in all", view.usage));
        }
    }
    let mut leases = BTreeMap::new();
    let mut total = 0;
    for line in &invoice.lines {
        let usage = usage_of.remove(&line.lease).unwrap_or(Usage::ZERO);
        let due = payment(usage, line.price_nanocredits_per_tfuel, &invoice.tariff)
            .ok_or_else(|| overflow("a bill"))?;
        if usage != line.usage || due != line.paid_nanocredits {
            differences.push(format!(
                "lease {}: {due} nanocredits due, {} paid",
                line.lease, line.paid_nanocredits
            ));
        }
        total += due;
        leases.insert(line.lease, (usage, due));
    }
    for lease in usage_of.keys() {
        differences.push(format!("lease {lease} worked and is not on the invoice"));
    }
    let fuel: u64 = job.tasks.iter().map(|task| task.usage.fuel).sum();
    narrator.say(&format!(
        "    {} tasks, {}: every output and every unit of usage {}",
        reruns.len(),
        amount::fuel(fuel),
        if differences.is_empty() { "is the same" } else { "is NOT the same" }
    ));
    Ok(Recomputed { leases, total_nanocredits: total, differences })
}

fn overflow(what: &str) -> CliError {
    CliError::new(format!("{what} is out of range"))
}

/// floor(price × billable fuel ÷ 10¹²), where billable fuel is the tariff's weighted sum: rounded
/// once. `None` on overflow.
fn payment(usage: Usage, price: i64, tariff: &TariffView) -> Option<i64> {
    let parts = [
        (usage.fuel, tariff.fuel_weight),
        (usage.memory_page_fuel, tariff.memory_page_fuel_weight),
        (usage.state_bytes, tariff.state_byte_weight),
        (usage.traffic_bytes, tariff.traffic_byte_weight),
    ];
    let weighted = parts.iter().try_fold(0_i128, |sum, (amount, weight)| {
        sum.checked_add(i128::from(*amount).checked_mul(i128::from(*weight))?)
    })?;
    let divisor = i128::from(tariff.divisor).checked_mul(i128::from(base::FUEL_PER_TFUEL))?;
    let due = weighted.checked_mul(i128::from(price))?.checked_div_euclid(divisor)?;
    i64::try_from(due).ok()
}

/// Where in a task's fuel the machines changed: the ends of all intervals but the last.
fn cuts(task: &TaskView) -> Vec<u64> {
    let mut ends: Vec<u64> = task
        .attempts
        .iter()
        .filter(|attempt| attempt.to != attempt.from)
        .map(|attempt| attempt.to.fuel)
        .collect();
    ends.pop();
    ends
}

fn in_parallel(work: &[(&Task, Vec<u64>)]) -> CliResult<Vec<Rerun>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, CliResult<Rerun>>> = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((task, cuts)) = work.get(index) else { break };
                    let rerun = rerun(task, cuts);
                    if let Ok(mut done) = done.lock() {
                        done.insert(index, rerun);
                    }
                }
            });
        }
    });
    let done = done.into_inner().map_err(|_| CliError::new("a rerun broke down"))?;
    done.into_values().collect()
}

/// From beginning to end, stopping at each cut: each leg in a process of its own.
fn rerun(task: &Task, cuts: &[u64]) -> CliResult<Rerun> {
    let mut usages = Vec::new();
    let mut resume: Option<Checkpoint> = None;
    for cut in cuts {
        // The first safepoint past one unit less is the one at the cut.
        match leg(task, resume.take(), Some(cut - 1))? {
            LocalEnd::Stopped(checkpoint) => {
                usages.push(checkpoint.usage());
                resume = Some(checkpoint);
            }
            _ => return Err(CliError::new(format!("a task ended before its cut at {cut}"))),
        }
    }
    match leg(task, resume, None)? {
        LocalEnd::Ended(end) => {
            let End { usage, stdout, .. } = *end;
            usages.push(usage);
            Ok(Rerun { usages, stdout })
        }
        LocalEnd::Refused(reason) => Err(CliError::refused(reason)),
        LocalEnd::Fault(reason) => Err(exec::fault(&reason)),
        _ => Err(CliError::new("a task did not end")),
    }
}

fn leg(task: &Task, resume: Option<Checkpoint>, stop_at: Option<u64>) -> CliResult<LocalEnd> {
    let start = Start { resume, stop_at_fuel: stop_at, ..Start::new(task.clone()) };
    local::run(&local::launcher(Weakening::default())?, start, |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARIFF: TariffView = TariffView {
        fuel_weight: 10,
        memory_page_fuel_weight: 1,
        state_byte_weight: 0,
        traffic_byte_weight: 20,
        divisor: 10,
    };

    #[test]
    fn a_payment_is_rounded_once_and_down() {
        let usage = Usage {
            fuel: 1_500_000_000_000,
            memory_page_fuel: 10_000_000_000,
            state_bytes: 5,
            traffic_bytes: 500_000_000,
        };
        // 1.5 T + 0.001 T + 0.001 T of billable fuel at 300,001.
        assert_eq!(payment(usage, 300_001, &TARIFF), Some(450_601));
        assert_eq!(payment(Usage::ZERO, 300_000, &TARIFF), Some(0));
        let absurd = Usage { memory_page_fuel: u64::MAX, ..usage };
        assert_eq!(payment(absurd, i64::MAX, &TariffView { divisor: 1, ..TARIFF }), None);
    }
}
