//! `jusha login`: which exchange and account the other commands use.

use std::path::PathBuf;

use clap::Args;
use client::{Client, Reach};

use crate::config::{self, Stored};
use crate::error::{CliResult, io};
use crate::terminal;

/// Store which exchange and which account to use
#[derive(Debug, Args)]
pub struct Login {
    /// The exchange's URL
    url: String,
    /// The account's token
    token: String,
    /// A file with the certificate authority to trust (PEM), for https [default: this computer's]
    #[arg(long, env = "JUSHA_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Runs it.
pub async fn main(options: &Login) -> CliResult {
    // Found again from wherever the next command is run.
    let whole = |path: &PathBuf| io(path.canonicalize(), format_args!("read {}", path.display()));
    let reach = Reach { ca: options.ca.as_ref().map(whole).transpose()?, at: None };
    let client = Client::reaching(&options.url, &options.token, &reach)?;
    let wallet = client.wallet().await?;
    let (url, token) = (client.url().to_owned(), options.token.trim().to_owned());
    let stored = Stored { url, token, ca: reach.ca };
    let kept = config::store(&stored)?;
    terminal::line(&format!("logged in to {} as {}", stored.url, wallet.name))?;
    if let Some(kept) = kept {
        terminal::line(&format!("what was configured before is in {}", kept.display()))?;
    }
    Ok(0)
}
