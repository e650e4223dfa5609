//! Before an exchange serves, and beside it: setting up, checking, backing up, restoring.

use std::fs;
use std::path::Path;

use client::Client;
use tokio::sync::oneshot;
use wire::Role;

use super::settings::{FILE, Settings};
use super::{Opened, open_account_as};
use crate::error::{CliError, CliResult, io};
use crate::{config, terminal};

/// Makes the data directory, its file of settings and the first operator's account.
pub async fn init(data: &Path, settings: Settings, name: &str, json: bool) -> CliResult {
    let file = data.join(FILE);
    if file.exists() {
        return Err(CliError::new(format!("{} is there already", file.display()))
            .hint("`jusha exchange` runs what was set up; --data DIR sets up another one"));
    }
    // What can't work is said before anything is written.
    let config = settings.config(data)?;
    let opened = first_operator(config, name).await?;
    let text = toml::to_string(&settings).map_err(|error| CliError::new(error.to_string()))?;
    let head = "# Settings of `jusha exchange`. Options and JUSHA_EXCHANGE_… variables go before \
                them;\n# docs/operation.md lists them all.\n";
    config::write_file(&file, format!("{head}{text}").as_bytes())?;
    if json {
        terminal::json(&opened)?;
        return Ok(0);
    }
    terminal::line(&format!("account  {}\ntoken    {}", opened.account, opened.token))?;
    eprintln!("settings are in {}; start it with: jusha exchange", file.display());
    if settings.tls_certificate.is_none() {
        eprintln!(
            "it speaks plain HTTP: for more than one computer set public_url to an https:// \
             address, and either tls_certificate and tls_key to the files of its certificate, or \
             trusted_proxies to where a proxy runs that speaks TLS"
        );
    }
    Ok(0)
}

/// Runs the exchange for as long as it takes to open one account, for this computer only.
async fn first_operator(mut config: exchange::Config, name: &str) -> CliResult<Opened> {
    config.listen = ([127, 0, 0, 1], 0).into();
    config.tls = None;
    let data = config.data.clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, address) = oneshot::channel();
    let shutdown = async move {
        // Dropped means the same.
        let _ = stopped.await;
    };
    let running = tokio::spawn(exchange::run(config, shutdown, |address| {
        // Nobody waits any more only if this function is over.
        let _ = ready.send(address);
    }));
    let opened = match address.await {
        Ok(address) => {
            let path = data.join(exchange::OPERATOR_TOKEN_FILE);
            let token = io(fs::read_to_string(&path), format_args!("read {}", path.display()))?;
            let operator = Client::new(&format!("http://{address}"), &token)?;
            Some(open_account_as(&operator, name, Role::Operator, 0).await)
        }
        Err(_) => None,
    };
    drop(stop);
    let ended = running.await.map_err(|error| CliError::new(error.to_string()))?;
    ended.map_err(|error| CliError::from_chain(&error))?;
    opened.unwrap_or_else(|| Err(CliError::new("the exchange did not start")))
}

/// Says what settings come to.
pub fn check(data: &Path, settings: &Settings) -> CliResult {
    let config = settings.config(data)?;
    if let Some(files) = &config.tls {
        files.check().map_err(|error| CliError::from_chain(&error))?;
    }
    terminal::line(&format!("{:<20} {}", "data", data.display()))?;
    terminal::line(&settings.described(&config))?;
    Ok(0)
}

/// Copies a running exchange.
pub fn backup(data: &Path, to: &Path) -> CliResult {
    let made = exchange::backup(data, to).map_err(|error| CliError::from_chain(&error))?;
    terminal::line(&format!(
        "{}  {} journal entries, {} blobs in {}",
        made.exchange,
        made.journal_sequence,
        made.blobs,
        to.display()
    ))?;
    Ok(0)
}

/// Makes a data directory of a backup.
pub fn restore(from: &Path, data: &Path) -> CliResult {
    let made = exchange::restore(from, data).map_err(|error| CliError::from_chain(&error))?;
    terminal::line(&format!(
        "{}  {} journal entries, {} blobs in {}",
        made.exchange,
        made.journal_sequence,
        made.blobs,
        data.display()
    ))?;
    eprintln!("start it with: jusha exchange --data {}", data.display());
    Ok(0)
}
