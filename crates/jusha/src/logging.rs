//! Logs of what runs for long: on standard error, lines for people or an object per line.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cmd::exchange::LogFormat;

/// Starts logging. `RUST_LOG` chooses what; `info` by default.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Started twice, it goes on as it was.
    let _ = match format {
        LogFormat::Json => subscriber.json().try_init(),
        LogFormat::Text => {
            subscriber.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
        }
    };
}
