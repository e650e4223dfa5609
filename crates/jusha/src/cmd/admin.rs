//! `jusha admin`: what the operator of a running exchange does about accounts, jobs and blobs.
//! Everything it does is in the exchange's log, with its reason.

use std::path::PathBuf;

use base::{AccountId, Digest, JobId};
use clap::{Args, Subcommand};
use client::{Client, Reach};
use wire::{
    Act, InstrumentList, NewFees, NewQuota, NewStanding, PaymentDecision, Reason, Standing,
};

use super::exchange;
use super::payments::{self, Decide};
use super::statement::{self, Period};
use crate::error::CliResult;
use crate::{amount, config, terminal};

/// Act as an operator: decide payments, set fees, freeze and ban accounts, kill jobs, take blobs
/// down
#[derive(Debug, Args)]
pub struct Admin {
    #[command(subcommand)]
    verb: Verb,
    /// The exchange's data directory, on its own computer
    /// [default: ~/.local/share/jusha/exchange]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// The exchange's URL [default: where the one in --data listens]
    #[arg(long, env = "JUSHA_URL", value_name = "URL", global = true)]
    url: Option<String>,
    /// An operator's token, from another computer [default: the one in --data]
    #[arg(
        long,
        env = "JUSHA_OPERATOR_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        requires = "url",
        global = true
    )]
    token: Option<String>,
    /// A file with the certificate authority to trust (PEM), for https [default: this computer's]
    #[arg(long, env = "JUSHA_CA", value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// JSON on standard output
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List every account with its role and standing
    Accounts,
    /// Let an account only look and cancel; its asks leave the book, what runs goes on
    Freeze(OfAccount),
    /// Shut an account out: tokens revoked, jobs cancelled, machines retired
    Ban(OfAccount),
    /// Give an account its standing back
    Restore(OfAccount),
    /// Cancel anybody's job
    KillJob {
        /// The job
        job: JobId,
        /// Why, for the log
        #[arg(long)]
        reason: String,
    },
    /// Delete a blob and let nobody store it again
    RemoveBlob {
        /// Its digest
        digest: Digest,
        /// Why, for the log
        #[arg(long)]
        reason: String,
    },
    /// List everybody's deposits and withdrawals, newest first
    Payments,
    #[command(flatten)]
    Decide(Decide),
    /// Write an account's statement
    Statement {
        /// The account
        account: AccountId,
        #[command(flatten)]
        period: Period,
    },
    /// Show what leases pay the exchange, or set it for those that open from now on
    Fees {
        /// Basis points of the side whose order rested in the book
        #[arg(long, value_name = "N", requires = "taker")]
        maker: Option<u32>,
        /// Basis points of the side whose order met it
        #[arg(long, value_name = "N", requires = "maker")]
        taker: Option<u32>,
    },
    /// Print what is traded, as a file of instruments
    Instruments,
    /// Trade what a file of instruments says from now on; what it doesn't name takes no new orders
    SetInstruments {
        /// The file, such as `jusha admin instruments` prints
        file: PathBuf,
        /// Why, for the log
        #[arg(long)]
        reason: String,
    },
    /// Set how much an account may hold in blobs
    Quota {
        /// The account
        account: AccountId,
        /// How much, in MiB [default: as much as everybody]
        #[arg(long, value_name = "N")]
        blob_mib: Option<u32>,
        /// Why, for the log
        #[arg(long)]
        reason: String,
    },
    /// Show what operators did, newest first
    Log,
}

#[derive(Debug, Args)]
struct OfAccount {
    /// The account
    account: AccountId,
    /// Why, for the log
    #[arg(long)]
    reason: String,
}

/// Runs it.
pub async fn main(options: &Admin) -> CliResult {
    let client = client(options)?;
    let standing = async |of: &OfAccount, standing: Standing| -> CliResult {
        let new = NewStanding { standing, reason: of.reason.clone() };
        let account = client.set_standing(of.account, &new).await?;
        if options.json {
            terminal::json(&account)?;
        } else {
            let standing = standing_word(account.standing);
            terminal::line(&format!("{}  {}  {standing}", account.account, account.name))?;
        }
        Ok(0)
    };
    match &options.verb {
        Verb::Accounts => accounts(&client, options.json).await,
        Verb::Freeze(of) => standing(of, Standing::Frozen).await,
        Verb::Ban(of) => standing(of, Standing::Banned).await,
        Verb::Restore(of) => standing(of, Standing::Active).await,
        Verb::KillJob { job, reason } => {
            let why = Reason { reason: reason.clone() };
            let killed = client.kill_job(*job, &why).await?;
            if options.json {
                terminal::json(&killed)?;
            } else {
                terminal::line(&format!("{}  cancelled", killed.job))?;
            }
            Ok(0)
        }
        Verb::RemoveBlob { digest, reason } => {
            client.remove_blob(*digest, &Reason { reason: reason.clone() }).await?;
            terminal::line(&format!("{digest}  removed"))?;
            Ok(0)
        }
        Verb::Payments => {
            payments::list(&client.payments().await?, options.json)?;
            Ok(0)
        }
        Verb::Decide(decide) => {
            payments::decide(&client, decide, options.json).await?;
            Ok(0)
        }
        Verb::Statement { account, period } => {
            statement::write(&client, Some(*account), period).await?;
            Ok(0)
        }
        Verb::Fees { maker, taker } => {
            let set = maker.zip(*taker).map(|(maker_basis_points, taker_basis_points)| NewFees {
                maker_basis_points,
                taker_basis_points,
            });
            payments::fees(&client, set, options.json).await?;
            Ok(0)
        }
        Verb::Instruments => {
            let instruments = client.instrument_definitions().await?;
            if options.json {
                terminal::json(&instruments)?;
            } else {
                terminal::out(exchange::instruments_text(instruments)?.as_bytes())?;
            }
            Ok(0)
        }
        Verb::SetInstruments { file, reason } => {
            let instruments = exchange::read_instruments(file)?;
            let list = InstrumentList { instruments, reason: reason.clone() };
            let traded = client.set_instruments(&list).await?;
            let head = ["instrument", "takes orders", "description"];
            terminal::list(options.json, &traded, "nothing is traded", &head, |one| {
                let takes = if one.suspended { "no" } else { "yes" };
                vec![one.instrument.clone(), takes.to_owned(), one.description.clone()]
            })?;
            Ok(0)
        }
        Verb::Quota { account, blob_mib, reason } => {
            let blob_bytes = blob_mib.map(|mib| u64::from(mib) << 20);
            let new = NewQuota { blob_bytes, reason: reason.clone() };
            let quota = client.set_quota(*account, &new).await?;
            if options.json {
                terminal::json(&quota)?;
            } else {
                let (held, most) = (quota.held_bytes >> 20, quota.blob_bytes >> 20);
                terminal::line(&format!("{account}  holds {held} of {most} MiB"))?;
            }
            Ok(0)
        }
        Verb::Log => {
            let acts = client.acts().await?;
            let head = ["when", "who", "what", "reason"];
            terminal::list(options.json, &acts, "nothing yet", &head, |act| {
                let what = act_words(&act.act);
                vec![terminal::time(act.at_ms), act.who.clone(), what, act.reason.clone()]
            })?;
            Ok(0)
        }
    }
}

fn client(options: &Admin) -> CliResult<Client> {
    if let (Some(url), Some(token)) = (&options.url, &options.token) {
        let reach = Reach { ca: options.ca.clone(), at: None };
        return Ok(Client::reaching(url, token, &reach)?);
    }
    let data = match &options.data {
        Some(data) => data.clone(),
        None => config::data_dir("exchange")?,
    };
    exchange::operator(&data, options.url.as_deref(), options.ca.as_deref())
}

async fn accounts(client: &Client, json: bool) -> CliResult {
    let mut all = Vec::new();
    loop {
        let more = client.accounts(all.last().map(|last: &wire::AccountView| last.account)).await?;
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    let head = ["account", "name", "role", "standing", "available", "set aside"];
    terminal::list(json, &all, "no accounts", &head, |account| {
        vec![
            account.account.to_string(),
            account.name.clone(),
            role_word(account.role).to_owned(),
            standing_word(account.standing).to_owned(),
            amount::credits(account.available_nanocredits),
            amount::credits(account.escrow_nanocredits),
        ]
    })?;
    Ok(0)
}

fn role_word(role: wire::Role) -> &'static str {
    match role {
        wire::Role::Trader => "trader",
        wire::Role::ReadOnly => "read-only",
        wire::Role::Operator => "operator",
    }
}

fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Frozen => "frozen",
        Standing::Banned => "banned",
    }
}

fn act_words(act: &Act) -> String {
    match act {
        Act::AccountOpened { account, role } => format!("opened {account}, {}", role_word(*role)),
        Act::Deposited { account, amount_nanocredits, .. } => {
            format!("deposited {} credits to {account}", amount::credits(*amount_nanocredits))
        }
        Act::StandingChanged { account, standing } => {
            format!("{account} is {}", standing_word(*standing))
        }
        Act::JobKilled { job } => format!("killed {job}"),
        Act::QuotaSet { account, blob_bytes: None } => format!("took {account}'s quota away"),
        Act::QuotaSet { account, blob_bytes: Some(bytes) } => {
            format!("gave {account} a quota of {} MiB", bytes >> 20)
        }
        Act::BlobRemoved { digest } => format!("removed blob {digest}"),
        Act::PaymentDecided { payment, decision } => {
            let word = match decision {
                PaymentDecision::Approve => "approved",
                PaymentDecision::Refuse { .. } => "refused",
                PaymentDecision::Settle { .. } => "settled",
                PaymentDecision::Fail { .. } => "failed",
            };
            format!("{word} {payment}")
        }
        Act::FeesSet { maker_basis_points, taker_basis_points } => {
            format!("set fees of {maker_basis_points} (maker) and {taker_basis_points} (taker)")
        }
        Act::InstrumentsSet { names } => format!("set what is traded: {}", names.join(", ")),
    }
}
