//! What an owner is told before a computer is offered for the first time: how fast it is, what its
//! time costs and would bring, and what of it may be used when.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::{Client, Reach};
use host::economy::{Costs, Credits, Pricer, Terms, milliwatts_per_core};
use host::linux::Linux;
use host::settings::{self, Settings};
use runtime::launch::Launcher;
use runtime::protocol::{FromWorker, Outcome, Start};
use runtime::task::Task;

use crate::error::{CliError, CliResult, io};

/// A Lucas-Lehmer test: what most of a core's time here is like, and some tenths of a second.
const PROGRAM: &[u8] = include_bytes!("../../../../../guests/mersenne.wasm");
const EXPONENT: &[u8] = b"11213\n";
/// Runs of which the best counts: others may take the core meanwhile.
const RUNS: u32 = 3;
/// For the exchange to say its prices; without them the rest is told.
const PRICES_MAX: Duration = Duration::from_secs(5);

/// What is to be told about.
pub struct Plan<'a> {
    /// The agent's directory.
    pub data: &'a Path,
    /// The computer's own.
    pub root: &'a Path,
    /// Where the machine is to join.
    pub exchange: &'a str,
    /// Whom to trust.
    pub ca: Option<&'a PathBuf>,
    /// The instrument that is offered first.
    pub instrument: &'a str,
    /// Of one slot.
    pub memory_mib: u32,
    /// Given on the command line.
    pub slots: Option<u32>,
    /// Given on the command line.
    pub price_nanocredits_per_tfuel: Option<i64>,
}

/// Millions of fuel per second of one core.
pub fn measure(launcher: &Launcher) -> CliResult<u32> {
    let mut best = 0;
    for _ in 0..RUNS {
        let task = Task { stdin: EXPONENT.to_vec(), ..Task::new(PROGRAM.to_vec()) };
        let start = Start { fuel_max: base::TASK_FUEL_MAX, ..Start::new(task) };
        let (_worker, mut events) = io(launcher.start(start), "start a worker")?;
        let mut begun = Instant::now();
        loop {
            match events.next_event() {
                // It is compiled by now.
                FromWorker::Started => begun = Instant::now(),
                FromWorker::Ended(end) if end.outcome == Outcome::Exited(0) => {
                    let took_us = begun.elapsed().as_micros().max(1);
                    let speed = u128::from(end.usage.fuel) / took_us;
                    best = best.max(u32::try_from(speed).unwrap_or(u32::MAX));
                    break;
                }
                FromWorker::Refused { reason } | FromWorker::Fault { reason } => {
                    return Err(CliError::new(format!("can't measure this computer: {reason}")));
                }
                event if event.is_final() => {
                    return Err(CliError::new("can't measure this computer: a run ended early"));
                }
                _ => {}
            }
        }
    }
    Ok(best)
}

/// Tells it all; whether to go on.
pub async fn tell(plan: &Plan<'_>, mfuel_per_s: u32, ask: bool) -> CliResult<bool> {
    let path = plan.data.join(provider::SETTINGS_FILE);
    let settings = match std::fs::read_to_string(&path) {
        Ok(text) => settings::parse(&text).map_err(|error| {
            CliError::new(format!("{} is not in order: {error}", path.display()))
        })?,
        Err(_) => Settings::default(),
    };
    let market = tokio::time::timeout(PRICES_MAX, terms(plan)).await.ok().flatten();
    eprint!("{}", text(plan, &settings, mfuel_per_s, market));
    if !ask || !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    eprint!("offer it? [Y/n] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    io(std::io::stdin().lock().read_line(&mut answer), "read an answer")?;
    Ok(matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}

async fn terms(plan: &Plan<'_>) -> Option<Terms> {
    let reach = Reach { ca: plan.ca.cloned(), at: None };
    let anybody = Client::reaching(plan.exchange, "", &reach).ok()?;
    let instruments = anybody.instruments().await.ok()?;
    let found = instruments.iter().find(|view| view.instrument == plan.instrument)?;
    let ticker = anybody.ticker(plan.instrument).await.ok()?;
    Some(Terms {
        index_nanocredits_per_tfuel: ticker.index_price_nanocredits_per_tfuel,
        tick_nanocredits_per_tfuel: found.tick_nanocredits_per_tfuel,
        price_min_nanocredits_per_tfuel: found.price_min_nanocredits_per_tfuel,
        break_even_nanocredits_per_tfuel: None,
    })
}

/// The whole text.
fn text(plan: &Plan<'_>, settings: &Settings, mfuel_per_s: u32, market: Option<Terms>) -> String {
    let computer = Linux::new(plan.root);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let memory = computer.memory_bytes().unwrap_or(0);
    let policy = &settings.policy;
    let slot_bytes = u64::from(plan.memory_mib) << 20;
    let slots = plan.slots.unwrap_or_else(|| policy.slots(cores, memory, slot_bytes));
    let zone = computer.time_zone();
    let (nanocredits_per_kwh, whose) = settings.electricity.nanocredits_per_kwh(zone.as_deref());
    let guess = || milliwatts_per_core(computer.has_battery(), std::env::consts::ARCH);
    let milliwatts = settings.milliwatts_per_core.unwrap_or_else(guess);
    let costs = Costs { milliwatts, nanocredits_per_kwh, mfuel_per_s };
    let break_even = costs.break_even_nanocredits_per_tfuel();
    let terms =
        Terms { break_even_nanocredits_per_tfuel: break_even, ..market.unwrap_or_default() };
    let automatic = Pricer::default().price(&terms);
    let given = plan.price_nanocredits_per_tfuel.or(settings.price_nanocredits_per_tfuel);
    let price = given.unwrap_or(automatic.nanocredits_per_tfuel);
    let because =
        if given.is_some() { "as you set it".to_owned() } else { automatic.why.to_string() };

    let mut text = String::new();
    let index = terms.index_nanocredits_per_tfuel;
    if let (Some(costs), Some(index)) = (break_even, index)
        && index < costs
    {
        text += &format!(
            "NOT WORTH IT HERE: electricity costs {} per Tfuel, and the market pays {}.\n\n",
            Credits(costs),
            Credits(index)
        );
    }
    let mut row = |name: &str, value: String| text += &format!("{name:<12} {value}\n");
    row(
        "offers",
        format!(
            "{slots} of {cores} cores, {} MiB each ({} of {} GiB)",
            plan.memory_mib,
            gib(slot_bytes * u64::from(slots)),
            gib(memory)
        ),
    );
    let speed = f64::from(mfuel_per_s) / 1000.0;
    row("speed", format!("{speed:.1} Gfuel/s per core, measured just now"));
    row(
        "electricity",
        format!(
            "{} per kWh ({whose}), {} W per busy core",
            Credits(nanocredits_per_kwh),
            f64::from(milliwatts) / 1000.0
        ),
    );
    if let Some(costs) = break_even {
        row("break-even", format!("{} per Tfuel", Credits(costs)));
    }
    row("asks", format!("{} per Tfuel: {because}", Credits(price)));
    let market_price = index.unwrap_or(price);
    let daily = |price| costs.profit_nanocredits_per_core_day(price).saturating_mul(slots.into());
    let electricity = costs.nanocredits_per_core_hour() * 24 * i64::from(slots);
    row(
        "earns",
        format!(
            "up to {} credits in a day that is all sold{}, electricity taken off ({})",
            cents(daily(market_price)),
            if index.is_some() { " at today's index" } else { " at that price" },
            cents(electricity)
        ),
    );
    row(
        "works",
        match policy.idle_s {
            0 => "beside you, at the lowest priority".to_owned(),
            seconds => format!("when nobody touched it for {seconds} s, and stops at once"),
        },
    );
    let mains = if policy.on_battery { "on battery, too" } else { "on mains only" };
    row(
        "",
        format!(
            "{mains}, other programs < {} %, < {} °C, {} MB a day",
            policy.others_cpu_max_percent,
            policy.temperature_max_celsius,
            policy.traffic_max_bytes_per_day / 1_000_000
        ),
    );
    row("change it", "jusha provide set KEY VALUE; `jusha provide set` shows all".to_owned());
    text
}

fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 30))
}

/// To a hundredth: what is an estimate needn't look exact.
fn cents(nanocredits: i64) -> String {
    format!("{:.2}", nanocredits as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan<'static> {
        Plan {
            data: Path::new("/nonexistent"),
            root: Path::new("/nonexistent"),
            exchange: "http://127.0.0.1:9",
            ca: None,
            instrument: provider::INSTRUMENT,
            memory_mib: 2048,
            slots: Some(2),
            price_nanocredits_per_tfuel: None,
        }
    }

    #[test]
    fn whoever_would_lose_by_it_reads_that_first() {
        let electricity = host::economy::Electricity::NanocreditsPerKwh(400_000_000);
        let settings =
            Settings { electricity, milliwatts_per_core: Some(10_000), ..Settings::default() };
        let said = |index| {
            let index_nanocredits_per_tfuel = Some(index);
            let terms = Terms { index_nanocredits_per_tfuel, ..Terms::default() };
            text(&plan(), &settings, 4_000, Some(terms))
        };
        let dear = said(100_000);
        assert!(
            dear.starts_with(
                "NOT WORTH IT HERE: electricity costs 0.000277778 per Tfuel, and the market pays \
                 0.0001.\n"
            ),
            "{dear}"
        );
        assert!(dear.contains("asks         0.000305556 per Tfuel: a tenth above"), "{dear}");
        assert!(dear.contains("up to -0.12 credits in a day"), "{dear}");
        let good = said(1_000_000);
        assert!(good.starts_with("offers       2 of "), "{good}");
        // 691.2 Tfuel of two cores at 0.001, less 0.192 of electricity.
        assert!(good.contains("up to 0.50 credits in a day that is all sold at today's"), "{good}");
        assert!(good.contains("when nobody touched it for 300 s"), "{good}");
    }
}
