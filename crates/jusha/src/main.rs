//! The one binary: a subcommand per role, each a thin file over the crates that do the work.
//!
//! Standard output carries results only; everything said to people goes to standard error.
//! Exit statuses are those of [`exit`].

mod amount;
mod buy;
mod children;
mod cmd;
mod config;
mod containment;
mod demo;
mod error;
mod exit;
mod local;
mod logging;
mod progress;
mod stop;
mod summary;
mod terminal;
mod world;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{CliError, CliResult};

/// Personal cloud computing on an exchange: buy and sell metered, movable work.
#[derive(Debug, Parser)]
#[command(
    name = "jusha",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(cmd::run::Run),
    Map(cmd::map::Map),
    Jobs(cmd::jobs::Jobs),
    Market(cmd::market::Market),
    Order(cmd::order::Order),
    Lease(cmd::lease::Lease),
    Wallet(cmd::wallet::Wallet),
    Machine(cmd::machine::Machine),
    Login(cmd::login::Login),
    Up(cmd::up::Up),
    Demo(demo::Demo),
    Provide(cmd::provide::Provide),
    Exchange(cmd::exchange::Exchange),
    Admin(cmd::admin::Admin),
    Exec(cmd::exec::Exec),
    Runtime(cmd::runtime::Runtime),
    Verify(cmd::verify::Verify),
    Doctor(cmd::doctor::Doctor),
    /// Runs one task for the parent process
    #[command(hide = true)]
    Worker,
}

fn main() -> ExitCode {
    children::die_with_parent();
    match Cli::parse().command {
        Command::Worker => runtime::worker::worker_main(),
        command => match perform(&command) {
            Ok(status) => ExitCode::from(status),
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(error.exit)
            }
        },
    }
}

fn perform(command: &Command) -> CliResult {
    match command {
        // Local work is plain blocking code.
        Command::Exec(options) => return cmd::exec::main(options),
        Command::Verify(options) => return cmd::verify::main(options),
        Command::Runtime(options) => return cmd::runtime::main(options),
        Command::Doctor(options) => return cmd::doctor::main(options),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(format!("can't start threads: {error}")))?;
    runtime.block_on(async {
        match command {
            Command::Run(options) => cmd::run::main(options).await,
            Command::Map(options) => cmd::map::main(options).await,
            Command::Jobs(options) => cmd::jobs::main(options).await,
            Command::Market(options) => cmd::market::main(options).await,
            Command::Order(options) => cmd::order::main(options).await,
            Command::Lease(options) => cmd::lease::main(options).await,
            Command::Wallet(options) => cmd::wallet::main(options).await,
            Command::Machine(options) => cmd::machine::main(options).await,
            Command::Login(options) => cmd::login::main(options).await,
            Command::Up(options) => cmd::up::main(options).await,
            Command::Demo(options) => demo::main(options).await,
            Command::Provide(options) => cmd::provide::main(options).await,
            Command::Exchange(options) => cmd::exchange::main(options).await,
            Command::Admin(options) => cmd::admin::main(options).await,
            Command::Exec(options) => cmd::exec::main(options),
            Command::Runtime(options) => cmd::runtime::main(options),
            Command::Verify(options) => cmd::verify::main(options),
            Command::Doctor(options) => cmd::doctor::main(options),
            Command::Worker => Err(CliError::new("a worker is started before this")),
        }
    })
}
