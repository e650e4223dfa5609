//! `jusha exchange`: runs an exchange, and what its operator does with it.

mod calibrate;
mod instruments;
mod settings;
mod upkeep;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base::{AccountId, TransferId};
use clap::{Args, Subcommand, ValueEnum};
use client::{Client, Reach};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use wire::{NewAccount, NewDeposit, Role};

use settings::Settings;

use crate::error::{CliError, CliResult, io};
use crate::{amount, config, logging, terminal};

/// Where a running exchange writes its URL, for its operator's commands.
const URL_FILE: &str = "url";

pub use instruments::{instruments_text, read_instruments};
pub use settings::LogFormat;

/// Run an exchange, set one up, copy one, or act as its operator (account, audit)
#[derive(Debug, Args)]
pub struct Exchange {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Where everything is kept [default: ~/.local/share/jusha/exchange]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// The file of settings [default: exchange.toml in the data directory]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// A file with the certificate authority (PEM) that its operator's commands trust, for https
    /// [default: this computer's]
    #[arg(long, env = "JUSHA_CA", value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Set up a new exchange: its settings and its first operator, whose token is printed once
    Init {
        /// The operator's name
        name: String,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Work out known answers, by which the exchange measures machines from its next start on
    Calibrate(calibrate::Calibrate),
    /// Say what the settings come to, without starting anything
    Check,
    /// Copy the exchange, which may be running, to a new directory
    Backup {
        /// The directory
        to: PathBuf,
    },
    /// Make a new data directory (--data) of a backup, and check all of it on the way
    Restore {
        /// The backup's directory
        from: PathBuf,
    },
    /// Accounts
    #[command(subcommand)]
    Account(AccountVerb),
    /// Prove that no money was made or lost, and that the journal gives the same state: of the
    /// exchange in --data, running or not, or of a backup
    Audit {
        /// A backup's directory, or a database
        #[arg(value_name = "PATH", conflicts_with = "url")]
        of: Option<PathBuf>,
        /// The exchange's URL [default: where the one in --data listens]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum AccountVerb {
    /// Open an account and print its token, the only time it is shown
    Add {
        /// The account's name
        name: String,
        /// What it is for: a trader buys and sells, read-only only looks, an operator does all
        #[arg(long, value_enum, default_value = "trader")]
        role: RoleName,
        /// Credits to begin with
        #[arg(long, value_name = "N", value_parser = amount::parse_credits,
              allow_hyphen_values = true)]
        credits: Option<i64>,
        /// The exchange's URL [default: where the one in --data listens]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
}

/// A role on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    Trader,
    ReadOnly,
    Operator,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Trader => Role::Trader,
            RoleName::ReadOnly => Role::ReadOnly,
            RoleName::Operator => Role::Operator,
        }
    }
}

/// Runs it.
pub async fn main(options: &Exchange) -> CliResult {
    let data = match &options.data {
        Some(data) => data.clone(),
        None => config::data_dir("exchange")?,
    };
    match &options.verb {
        None => serve(options, data).await,
        Some(Verb::Init { name, json }) => {
            upkeep::init(&data, options.settings.clone(), name, *json).await
        }
        Some(Verb::Calibrate(options)) => {
            let calibrate = options.clone();
            // Runs programs, which is not for threads that serve others.
            tokio::task::spawn_blocking(move || calibrate::run(&calibrate, &data))
                .await
                .map_err(|error| CliError::new(error.to_string()))?
        }
        Some(Verb::Check) => {
            let settings = options.settings.clone();
            upkeep::check(&data, &settings.with_file(&data, options.config.as_deref())?)
        }
        Some(Verb::Backup { to }) => upkeep::backup(&data, to),
        Some(Verb::Restore { from }) => upkeep::restore(from, &data),
        Some(Verb::Account(AccountVerb::Add { name, role, credits, url, json })) => {
            let operator = operator(&data, url.as_deref(), options.ca.as_deref())?;
            let credits = credits.unwrap_or(0);
            let opened = open_account_as(&operator, name, (*role).into(), credits).await?;
            if *json {
                terminal::json(&opened)?;
            } else {
                terminal::line(&format!("account  {}\ntoken    {}", opened.account, opened.token))?;
                eprintln!("use it with: jusha login {} {}", opened.url, opened.token);
            }
            Ok(0)
        }
        Some(Verb::Audit { of, url, json }) => {
            let audit = match of {
                Some(path) => audit_files(path).await?,
                None if url.is_some() || exchange::is_running(&data) => {
                    operator(&data, url.as_deref(), options.ca.as_deref())?.audit().await?
                }
                None => audit_files(&data).await?,
            };
            let sound = audit.sum_nanocredits == 0
                && audit.mismatched_accounts.is_empty()
                && audit.negative_accounts.is_empty()
                && audit.state_digest == audit.replayed_digest;
            if *json {
                terminal::json(&audit)?;
            } else {
                terminal::line(&format!(
                    "sum of all balances  {} nanocredits\naccounts that do not add up  {}\n\
                     accounts below zero  {}\ntransfers  {}\njournal entries  {}\n\
                     state      {}\nreplayed   {}\n{}",
                    audit.sum_nanocredits,
                    none_or(&audit.mismatched_accounts),
                    none_or(&audit.negative_accounts),
                    audit.transfers,
                    audit.journal_sequence,
                    audit.state_digest,
                    audit.replayed_digest,
                    if sound { "sound" } else { "NOT SOUND" },
                ))?;
            }
            Ok(if sound { 0 } else { 1 })
        }
    }
}

async fn audit_files(path: &Path) -> CliResult<wire::LedgerAudit> {
    let path = path.to_owned();
    let audited = tokio::task::spawn_blocking(move || exchange::audit(&path)).await;
    let audited = audited.map_err(|_| {
        CliError::new("the journal contradicts itself: an event doesn't fit what was before it")
            .hint("it was altered; restore a backup with `jusha exchange restore`")
    })?;
    audited.map_err(|error| CliError::from_chain(&error))
}

fn none_or(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

async fn serve(options: &Exchange, data: PathBuf) -> CliResult {
    let settings = options.settings.clone().with_file(&data, options.config.as_deref())?;
    logging::start(settings.log.unwrap_or_default());
    let config = settings.config(&data)?;
    let mut terminate = io(signal(SignalKind::terminate()), "listen for SIGTERM")?;
    let mut interrupt = io(signal(SignalKind::interrupt()), "listen for SIGINT")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let (public_url, is_private) = (config.public_url.clone(), config.tls.is_some());
    let ready = |address: SocketAddr| {
        let address = reachable(address);
        let url = local_url(address, public_url.as_deref(), is_private);
        // The operator's commands can be told the URL instead.
        if let Err(error) = fs::write(data.join(URL_FILE), format!("{url}\n{address}\n")) {
            tracing::warn!("the URL is not noted in {}: {error}", data.display());
        }
        // A closed standard output is no reason not to serve.
        let _ = terminal::line(&format!("listening on {url}"));
    };
    exchange::run(config, shutdown, ready).await.map_err(|error| CliError::from_chain(&error))?;
    Ok(0)
}

/// The URL by which this computer's commands find the exchange: with TLS, by the name that its
/// certificate has, which is the public one's.
fn local_url(address: SocketAddr, public_url: Option<&str>, is_private: bool) -> String {
    let host = public_url.and_then(|url| {
        let (_, rest) = url.split_once("://")?;
        let host = rest.split('/').next()?;
        // Without a port; an IPv6 address keeps its brackets.
        let end = if host.ends_with(']') { None } else { host.rfind(':') };
        Some(&host[..end.unwrap_or(host.len())])
    });
    match (is_private, host) {
        (false, _) => format!("http://{address}"),
        (true, Some(host)) => format!("https://{host}:{}", address.port()),
        (true, None) => format!("https://{address}"),
    }
}

/// How to connect from this computer to an address that was bound.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::from(([127, 0, 0, 1], v4.port()))
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], v6.port()))
        }
        other => other,
    }
}

/// A client with the operator's token of the exchange in `data`.
pub fn operator(data: &Path, url: Option<&str>, ca: Option<&Path>) -> CliResult<Client> {
    let hint = "--data DIR says where the exchange keeps its data; it must have been started once";
    let read = |file: &str| {
        let path = data.join(file);
        fs::read_to_string(&path).map_err(|error| {
            CliError::new(format!("can't read {}: {error}", path.display())).hint(hint)
        })
    };
    let token = read(exchange::OPERATOR_TOKEN_FILE)?;
    let ca = ca.map(Path::to_owned);
    let Some(url) = url else {
        let noted = read(URL_FILE)?;
        let mut lines = noted.lines();
        let url = lines.next().unwrap_or_default();
        let at = lines.next().and_then(|address| address.parse().ok());
        return Ok(Client::reaching(url, &token, &Reach { ca, at })?);
    };
    Ok(Client::reaching(url.trim(), &token, &Reach { ca, at: None })?)
}

/// A new account as its owner needs it.
#[derive(Debug, Serialize)]
pub struct Opened {
    /// The exchange's URL.
    pub url: String,
    /// The account.
    pub account: base::AccountId,
    /// Its token.
    pub token: String,
    /// What it begins with.
    pub available_nanocredits: i64,
}

/// Opens a trader's account with some credits.
pub async fn open_account(operator: &Client, name: &str, nanocredits: i64) -> CliResult<Opened> {
    open_account_as(operator, name, Role::Trader, nanocredits).await
}

async fn open_account_as(
    operator: &Client,
    name: &str,
    role: Role,
    nanocredits: i64,
) -> CliResult<Opened> {
    // Made here, so that asking again opens no second one.
    let account = Some(AccountId(client::random_id()));
    let new = NewAccount { account, role, ..NewAccount::named(name) };
    let patience = client::Patience::For(std::time::Duration::from_secs(30));
    let created = patience.ask(|_| (), || operator.open_account_as(&new)).await?;
    if nanocredits > 0 {
        let deposit = NewDeposit {
            account: created.account,
            amount_nanocredits: nanocredits,
            transfer: TransferId(client::random_id()),
        };
        patience.ask(|_| (), || operator.deposit(&deposit)).await?;
    }
    Ok(Opened {
        url: operator.url().to_owned(),
        account: created.account,
        token: created.token,
        available_nanocredits: nanocredits,
    })
}
