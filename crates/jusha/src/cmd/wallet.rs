//! `jusha wallet`: the account's money.

use base::PaymentId;
use clap::{Args, Subcommand};
use wire::PaymentDirection;

use super::payments::{self, Ask};
use super::statement::{self, Period};
use crate::config::Access;
use crate::error::CliResult;
use crate::{amount, terminal};

/// The account's money: show, transfers, statement, deposits and withdrawals
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
    /// Write what happened in a period, oldest first, with what there was before and after
    Statement(Period),
    /// Ask for money to come in; the operator decides
    Deposit(Ask),
    /// Ask for money to be paid out; it is taken from what is available at once
    Withdraw(Ask),
    /// List deposits and withdrawals and where they are, newest first
    Payments {
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Take a deposit or withdrawal back that was not approved yet
    CancelPayment {
        /// The payment
        payment: PaymentId,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Show what the exchange charges
    Fees {
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
pub async fn main(options: &Wallet) -> CliResult {
    let client = options.access.client()?;
    match &options.verb {
        Verb::Show { json } => {
            let wallet = client.wallet().await?;
            if *json {
                terminal::json(&wallet)?;
            } else {
                terminal::line(&format!(
                    "{}  {}\navailable  {} credits\nset aside  {} credits\n\
                     going out  {} credits",
                    wallet.name,
                    wallet.account,
                    amount::credits(wallet.available_nanocredits),
                    amount::credits(wallet.escrow_nanocredits),
                    amount::credits(wallet.outgoing_nanocredits),
                ))?;
            }
        }
        Verb::Transfers { json } => {
            let transfers = client.transfers().await?;
            let head = ["when", "reason", "credits", "from", "to"];
            terminal::list(*json, &transfers, "no transfers", &head, |transfer| {
                vec![
                    terminal::time(transfer.at_ms),
                    transfer.reason.clone(),
                    amount::credits(transfer.amount_nanocredits),
                    transfer.from.clone(),
                    transfer.to.clone(),
                ]
            })?;
        }
        Verb::Statement(period) => statement::write(&client, None, period).await?,
        Verb::Deposit(ask) => payments::ask(&client, PaymentDirection::Deposit, ask).await?,
        Verb::Withdraw(ask) => payments::ask(&client, PaymentDirection::Withdrawal, ask).await?,
        Verb::Payments { json } => payments::list(&client.payments().await?, *json)?,
        Verb::CancelPayment { payment, json } => {
            payments::show(&client.cancel_payment(*payment).await?, *json)?;
        }
        Verb::Fees { json } => payments::fees(&client, None, *json).await?,
    }
    Ok(0)
}
