//! What a job cost, as its buyer reads it: a line per lease, each by unit.

use base::{FUEL_PER_TFUEL, Usage};
use clearing::{Job, Lease, State, Tariff};
use wire::{Invoice, InvoiceLine, InvoiceUnit, TariffView};

const GIB: u64 = 1 << 30;

/// Pages of 64 KiB in a GiB.
const PAGES_PER_GIB: u64 = 16_384;

/// The invoice of a job, as far as it ran.
pub(crate) fn of(state: &State, job: &Job) -> Invoice {
    let lines: Vec<InvoiceLine> =
        state.job_leases(job.job).map(|lease| line(state, lease)).collect();
    let last = state.job_leases(job.job).last();
    let tariff = last.map_or(Tariff::current(), |lease| tariff(state, lease));
    let paid_nanocredits = lines.iter().map(|line| line.paid_nanocredits).sum();
    let fees_nanocredits = lines.iter().map(|line| line.fee_nanocredits).sum();
    Invoice {
        job: job.job,
        tariff_version: tariff.version,
        tariff: TariffView {
            fuel_weight: tariff.fuel_weight,
            memory_page_fuel_weight: tariff.memory_page_fuel_weight,
            state_byte_weight: tariff.state_byte_weight,
            traffic_byte_weight: tariff.traffic_byte_weight,
            divisor: tariff.divisor,
        },
        lines,
        paid_nanocredits,
        fees_nanocredits,
        total_nanocredits: paid_nanocredits + fees_nanocredits,
    }
}

fn tariff<'a>(state: &'a State, lease: &Lease) -> &'a Tariff {
    state.tariff(lease.tariff_version).unwrap_or(Tariff::current())
}

fn line(state: &State, lease: &Lease) -> InvoiceLine {
    let (tariff, price) = (tariff(state, lease), lease.price_nanocredits_per_tfuel);
    let machine = state.machine(lease.machine);
    InvoiceLine {
        lease: lease.lease,
        machine: lease.machine,
        machine_name: machine.map(|found| found.name.clone()).unwrap_or_default(),
        price_nanocredits_per_tfuel: price,
        usage: lease.usage,
        units: units(tariff, price, lease.usage),
        due_nanocredits: tariff.payment_nanocredits(price, lease.usage),
        paid_nanocredits: lease.paid_nanocredits,
        fee_nanocredits: lease.fees.buyer_nanocredits(lease.paid_nanocredits),
    }
}

fn units(tariff: &Tariff, price_nanocredits_per_tfuel: i64, usage: Usage) -> Vec<InvoiceUnit> {
    let [cpu, memory, state, traffic] =
        tariff.parts_nanocredits(price_nanocredits_per_tfuel, usage);
    let unit =
        |unit: &str, quantity: u64, per: u64, of: fn(u64) -> Usage, amount: i64| InvoiceUnit {
            unit: unit.to_owned(),
            quantity,
            quantity_per_price: per,
            price_nanocredits: tariff.payment_nanocredits(price_nanocredits_per_tfuel, of(per)),
            amount_nanocredits: amount,
        };
    vec![
        unit("cpu", usage.fuel, FUEL_PER_TFUEL, |fuel| Usage { fuel, ..Usage::ZERO }, cpu),
        unit(
            "memory",
            usage.memory_page_fuel,
            PAGES_PER_GIB * FUEL_PER_TFUEL,
            |memory_page_fuel| Usage { memory_page_fuel, ..Usage::ZERO },
            memory,
        ),
        unit(
            "state",
            usage.state_bytes,
            GIB,
            |state_bytes| Usage { state_bytes, ..Usage::ZERO },
            state,
        ),
        unit(
            "traffic",
            usage.traffic_bytes,
            GIB,
            |traffic_bytes| Usage { traffic_bytes, ..Usage::ZERO },
            traffic,
        ),
    ]
}
