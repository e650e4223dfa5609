//! `jusha provide`: offers this computer's slots.

mod first_run;
mod owner;
mod service;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use provider::{Config, FixedTerms};

use crate::config;
use crate::containment::Containment;
use crate::error::{CliError, CliResult, io};
use crate::{amount, local, logging};

/// Offer this computer's slots at a price and run what is bought
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
SIGTERM or Ctrl-C drains: asks are withdrawn, every task stops at a checkpoint that is uploaded and
paid, then the command ends. A second one stops at once."
)]
pub struct Provide {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    offer: Offer,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Set(owner::Set),
    /// Run nothing until `resume`
    Pause(owner::Agent),
    /// Take back `pause`
    Resume(owner::Agent),
    Status(owner::Show),
    Log(service::Log),
    Service(service::Service),
}

/// What is offered, and how.
#[derive(Debug, Args)]
struct Offer {
    /// A join string such as 'http://HOST:PORT/#join=CODE'; needed once per data directory
    join: Option<String>,
    /// How many tasks may run at once [default: as many as the settings allow, half of this
    /// computer's cores; all with --always]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000),
          allow_negative_numbers = true)]
    slots: Option<u32>,
    /// The least to work for, per Tfuel: credits such as 0.0003, or nanocredits such as 300000n
    /// [default: what the settings say, which is to follow the index]
    #[arg(long, value_name = "PRICE", value_parser = amount::parse_price,
          allow_hyphen_values = true)]
    price: Option<i64>,
    /// Offer it without asking back
    #[arg(long)]
    yes: bool,
    /// Where the machine's key, enrolment and caches are kept
    /// [default: ~/.local/share/jusha/provider]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A file with the certificate authority to trust (PEM), for https; remembered with the
    /// enrolment [default: this computer's]
    #[arg(long, env = "JUSHA_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The machine's name, shown to people [default: this computer's]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Memory that one slot may use
    #[arg(long, value_name = "MIB", default_value_t = 2048,
          value_parser = clap::value_parser!(u32).range(16..=1048576), allow_negative_numbers = true)]
    memory: u32,
    /// Offer the slots in this instrument only; say it several times for several, which share the
    /// slots [default: all that this computer qualifies for]
    #[arg(long = "instrument", value_name = "NAME")]
    instruments: Vec<String>,
    /// Where this computer is, such as `eu`, for instruments that are for one region
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    region: String,
    /// Units of `test.fixed` to let by the hour, which do nothing but answer; 0 takes back what was
    /// offered. Each that is let has a bond of 24 hours at stake
    #[arg(long, value_name = "N", requires = "fixed_price",
          value_parser = clap::value_parser!(u32).range(0..=1000), allow_negative_numbers = true)]
    fixed_units: Option<u32>,
    /// What such a unit costs for an hour: credits such as 0.01, or nanocredits such as 10000000n
    #[arg(long, value_name = "PRICE", requires = "fixed_units",
          value_parser = amount::parse_price, allow_hyphen_values = true)]
    fixed_price: Option<i64>,
    /// Least time between two durable checkpoints of a task, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    checkpoint_interval_ms: u64,
    /// Work whatever else happens on this computer: for one that is for nothing else. Otherwise its
    /// owner comes first, as DIR/settings.toml says
    #[arg(long)]
    always: bool,
    /// Run tasks at ordinary priority, so that they share the cores with your own programs
    #[arg(long)]
    ordinary_priority: bool,
    /// What stands for this computer's root directory, for tests
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
    /// How long a drain may take, in seconds
    #[arg(long, value_name = "S", default_value_t = 60)]
    drain_s: u64,
    #[command(flatten)]
    containment: Containment,
}

/// Runs it.
pub async fn main(options: &Provide) -> CliResult {
    match &options.verb {
        None => offer(&options.offer).await,
        Some(Verb::Set(options)) => owner::set(options).await,
        Some(Verb::Pause(agent)) => owner::pause(agent, true).await,
        Some(Verb::Resume(agent)) => owner::pause(agent, false).await,
        Some(Verb::Status(options)) => owner::show(options).await,
        Some(Verb::Log(options)) => service::log(options).await,
        Some(Verb::Service(options)) => service::main(options),
    }
}

async fn offer(options: &Offer) -> CliResult {
    let data = match &options.data {
        Some(data) => data.clone(),
        None => config::data_dir("provider")?,
    };
    logging::start_with_file(&data.join(service::LOG_FILE));
    let launcher = local::launcher(options.containment.weakening())?;
    // Better no machine than one on which every attempt fails.
    if let Err(reason) = io(runtime::doctor::check(&launcher), "start a worker")? {
        return Err(CliError::new(reason));
    }
    let whole = |path: &PathBuf| io(path.canonicalize(), format_args!("read {}", path.display()));
    let ca = options.ca.as_ref().map(whole).transpose()?;
    let mut mfuel_per_s = provider::measured_mfuel_per_s(&data);
    if !options.always {
        if mfuel_per_s.is_none() {
            let launcher = launcher.clone();
            let measure = tokio::task::spawn_blocking(move || first_run::measure(&launcher));
            mfuel_per_s = Some(measure.await.map_err(|error| CliError::new(error.to_string()))??);
        }
        let exchange = options.join.as_deref().and_then(|join| join.split_once("/#"));
        if let Some((exchange, _)) = exchange
            && !data.join("enrolment.json").exists()
        {
            let plan = first_run::Plan {
                data: &data,
                root: &options.root,
                exchange,
                ca: ca.as_ref(),
                instrument: options.instruments.first().map_or(provider::INSTRUMENT, |i| i),
                memory_mib: options.memory,
                slots: options.slots,
                price_nanocredits_per_tfuel: options.price,
            };
            if !first_run::tell(&plan, mfuel_per_s.unwrap_or(0), !options.yes).await? {
                return Ok(0);
            }
        }
    }
    provider::run(Config {
        mfuel_per_s,
        data,
        join: options.join.clone(),
        ca,
        name: options.name.clone().unwrap_or_else(host_name),
        slots: options.slots,
        memory_mib_per_slot: options.memory,
        region: options.region.clone(),
        instruments: options.instruments.clone(),
        price_nanocredits_per_tfuel: options.price,
        fixed: options
            .fixed_units
            .zip(options.fixed_price)
            .map(|(units, price)| FixedTerms { units, price_nanocredits_per_hour: price }),
        checkpoint_interval: Duration::from_millis(options.checkpoint_interval_ms),
        drain_max: Duration::from_secs(options.drain_s),
        worker: launcher.program,
        artefacts: config::artefacts_dir(),
        runtimes: super::runtime::of_this_computer()?,
        always: options.always,
        lowest_priority: !options.always && !options.ordinary_priority,
        root: options.root.clone(),
        weakening: launcher.weakening,
    })
    .await?;
    Ok(0)
}

/// This computer's name.
pub fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "a computer".to_owned())
}
