//! `jusha wallet`: the account's money.

use clap::{Args, Subcommand};

use crate::config::Access;
use crate::error::CliResult;
use crate::{amount, terminal};

/// The account's money: show, transfers
#[derive(Debug, Args)]
pub struct Wallet {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what there is and what is set aside
    Show {
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// List every transfer, newest first
    #[command(visible_alias = "list")]
    Transfers {
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
pub async fn main(options: &Wallet) -> CliResult {
    let client = options.access.client()?;
    match options.verb {
        Verb::Show { json } => {
            let wallet = client.wallet().await?;
            if json {
                terminal::json(&wallet)?;
            } else {
                terminal::line(&format!(
                    "{}  {}\navailable  {} credits\nset aside  {} credits",
                    wallet.name,
                    wallet.account,
                    amount::credits(wallet.available_nanocredits),
                    amount::credits(wallet.escrow_nanocredits),
                ))?;
            }
        }
        Verb::Transfers { json } => {
            let transfers = client.transfers().await?;
            let head = ["when", "reason", "credits", "from", "to"];
            terminal::list(json, &transfers, "no transfers", &head, |transfer| {
                vec![
                    terminal::time(transfer.at_ms),
                    transfer.reason.clone(),
                    amount::credits(transfer.amount_nanocredits),
                    transfer.from.clone(),
                    transfer.to.clone(),
                ]
            })?;
        }
    }
    Ok(0)
}
