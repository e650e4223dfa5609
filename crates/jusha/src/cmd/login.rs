//! `jusha login`: which exchange and account the other commands use.

use clap::Args;
use client::Client;

use crate::config::{self, Stored};
use crate::error::CliResult;
use crate::terminal;

/// Store which exchange and which account to use
#[derive(Debug, Args)]
pub struct Login {
    /// The exchange's URL
    url: String,
    /// The account's token
    token: String,
}

/// Runs it.
pub async fn main(options: &Login) -> CliResult {
    let client = Client::new(&options.url, &options.token)?;
    let wallet = client.wallet().await?;
    let stored = Stored { url: client.url().to_owned(), token: options.token.trim().to_owned() };
    let kept = config::store(&stored)?;
    terminal::line(&format!("logged in to {} as {}", stored.url, wallet.name))?;
    if let Some(kept) = kept {
        terminal::line(&format!("what was configured before is in {}", kept.display()))?;
    }
    Ok(0)
}
