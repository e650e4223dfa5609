//! `jusha machine`: the account's machines.

use base::MachineId;
use clap::{Args, Subcommand};
use wire::MachineView;

use crate::config::Access;
use crate::error::CliResult;
use crate::{amount, terminal};

/// Machines: list, show, join, retire
#[derive(Debug, Args)]
pub struct Machine {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
struct Which {
    /// The machine's id
    machine: MachineId,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the account's machines
    List {
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Show a machine
    Show(Which),
    /// Print a join string, with which one more machine joins this account
    Join {
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Remove a machine for good: its asks are cancelled, its tasks move on
    #[command(visible_alias = "cancel")]
    Retire(Which),
}

/// Runs it.
pub async fn main(options: &Machine) -> CliResult {
    let client = options.access.client()?;
    let one = |machine: &MachineView, json: bool| match json {
        true => terminal::json(machine),
        false => terminal::out(terminal::table(&HEAD, &[row(machine)]).as_bytes()),
    };
    match &options.verb {
        Verb::List { json } => {
            let machines = client.machines().await?;
            let nothing = "no machines; `jusha machine join` prints what one joins with";
            terminal::list(*json, &machines, nothing, &HEAD, row)?;
        }
        Verb::Show(which) => one(&client.machine(which.machine).await?, which.json)?,
        Verb::Retire(which) => one(&client.retire_machine(which.machine).await?, which.json)?,
        Verb::Join { json } => {
            let code = client.join_code().await?;
            if *json {
                terminal::json(&code)?;
            } else {
                terminal::line(&code.join)?;
                eprintln!(
                    "works once, until {}: jusha provide '{}' --slots 2 --price 0.0003",
                    terminal::time(code.expires_at_ms),
                    code.join
                );
            }
        }
    }
    Ok(0)
}

const HEAD: [&str; 8] = ["machine", "name", "state", "slots", "leased", "MiB", "Mfuel/s", "earned"];

fn row(machine: &MachineView) -> Vec<String> {
    let state = match (machine.active, machine.online) {
        (false, _) => "retired",
        (true, true) => "online",
        (true, false) => "offline",
    };
    vec![
        machine.machine.to_string(),
        machine.name.clone(),
        state.to_owned(),
        machine.slots.to_string(),
        machine.slots_leased.to_string(),
        // By the exchange's measure, else by the machine's own word.
        match machine.measured_mib_per_slot {
            Some(shown) => shown.min(machine.memory_mib_per_slot).to_string(),
            None => format!("{}?", machine.memory_mib_per_slot),
        },
        match machine.speed_mfuel_per_s {
            0 => "–".to_owned(),
            speed => speed.to_string(),
        },
        amount::credits(machine.earned_nanocredits),
    ]
}
