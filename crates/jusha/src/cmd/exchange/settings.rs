//! How an exchange is set up: from the command line, the environment, a file, and defaults, in
//! this order of precedence for each setting by itself. `docs/operation.md` has the table.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use exchange::TlsFiles;
use serde::{Deserialize, Serialize};

use super::instruments;
use crate::error::{CliError, CliResult, io};

/// Where an exchange listens unless told otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:7480";
/// The file in the data directory.
pub const FILE: &str = "exchange.toml";

/// What can be set, each by an option, a variable and a line of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7480]
    #[arg(long, global = true, value_name = "ADDRESS", env = "JUSHA_EXCHANGE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// How others reach it, for join strings [default: http:// and the address]
    #[arg(long, global = true, value_name = "URL", env = "JUSHA_EXCHANGE_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// The certificate to show, with its chain, in PEM; without one it speaks plain HTTP
    #[arg(long, global = true, value_name = "FILE", env = "JUSHA_EXCHANGE_TLS_CERTIFICATE")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, global = true, value_name = "FILE", env = "JUSHA_EXCHANGE_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// How often machines send a sign of life, in milliseconds [default: 2000]
    #[arg(long, global = true, value_name = "MS", env = "JUSHA_EXCHANGE_HEARTBEAT_MS")]
    pub heartbeat_ms: Option<u64>,
    /// A machine silent for so long loses its leases, in milliseconds [default: 6000]
    #[arg(long, global = true, value_name = "MS", env = "JUSHA_EXCHANGE_LAPSE_MS")]
    pub lapse_ms: Option<u64>,
    /// A machine whose connection closed loses its leases after so long, in milliseconds
    /// [default: 3000]
    #[arg(long, global = true, value_name = "MS", env = "JUSHA_EXCHANGE_RECONNECT_GRACE_MS")]
    pub reconnect_grace_ms: Option<u64>,
    /// How often units let by the hour are probed, in milliseconds [default: 5000]
    #[arg(long, global = true, value_name = "MS", env = "JUSHA_EXCHANGE_PROBE_MS")]
    pub probe_ms: Option<u64>,
    /// How long what is over stays in memory, in milliseconds; then it is read from the database
    /// [default: 600000]
    #[arg(long, global = true, value_name = "MS", env = "JUSHA_EXCHANGE_KEEP_ENDED_MS")]
    pub keep_ended_ms: Option<u32>,
    /// Let people open accounts for themselves [default: false]
    #[arg(long, global = true, value_name = "BOOL", env = "JUSHA_EXCHANGE_SIGN_UP", num_args = 0..=1,
          default_missing_value = "true")]
    pub sign_up: Option<bool>,
    /// Requests per second of one account, in the long run; 0 is without limit [default: 1000]
    #[arg(long, global = true, value_name = "N", env = "JUSHA_EXCHANGE_REQUESTS_PER_SECOND")]
    pub requests_per_second: Option<u32>,
    /// Connections at once [default: 20000]
    #[arg(long, global = true, value_name = "N", env = "JUSHA_EXCHANGE_CONNECTIONS")]
    pub connections: Option<usize>,
    /// What an account may hold in blobs, in bytes [default: 16 GiB]
    #[arg(long, global = true, value_name = "BYTES", env = "JUSHA_EXCHANGE_BLOB_QUOTA_BYTES")]
    pub blob_quota_bytes: Option<u64>,
    /// Proxies whose `x-forwarded-for` is believed, with commas between
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        env = "JUSHA_EXCHANGE_TRUSTED_PROXIES",
        value_delimiter = ','
    )]
    pub trusted_proxies: Option<Vec<IpAddr>>,
    /// The file that says what is traded [default: instruments.toml in the data directory, if it is
    /// there]
    #[arg(long, global = true, value_name = "FILE", env = "JUSHA_EXCHANGE_INSTRUMENTS")]
    pub instruments: Option<PathBuf>,
    /// What the log looks like [default: text]
    #[arg(long, global = true, value_enum, env = "JUSHA_EXCHANGE_LOG")]
    pub log: Option<LogFormat>,
}

/// What a log looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object per line.
    Json,
}

impl Settings {
    /// These, and for what they leave open those of the file: `named`, or the one in the data
    /// directory if there is one.
    pub fn with_file(self, data: &Path, named: Option<&Path>) -> CliResult<Settings> {
        let in_data = data.join(FILE);
        let path = match named {
            Some(path) => path,
            None if in_data.exists() => &in_data,
            None => return Ok(self),
        };
        let text = io(fs::read_to_string(path), format_args!("read {}", path.display()))?;
        let file = toml::from_str(&text).map_err(|error| {
            CliError::new(format!("{}: {}", path.display(), error.message().trim())).hint(
                "`jusha exchange --help` lists the settings; in the file they have `_` for `-`",
            )
        })?;
        Ok(self.or(file))
    }

    fn or(self, file: Settings) -> Settings {
        Settings {
            listen: self.listen.or(file.listen),
            public_url: self.public_url.or(file.public_url),
            tls_certificate: self.tls_certificate.or(file.tls_certificate),
            tls_key: self.tls_key.or(file.tls_key),
            heartbeat_ms: self.heartbeat_ms.or(file.heartbeat_ms),
            lapse_ms: self.lapse_ms.or(file.lapse_ms),
            reconnect_grace_ms: self.reconnect_grace_ms.or(file.reconnect_grace_ms),
            probe_ms: self.probe_ms.or(file.probe_ms),
            keep_ended_ms: self.keep_ended_ms.or(file.keep_ended_ms),
            sign_up: self.sign_up.or(file.sign_up),
            requests_per_second: self.requests_per_second.or(file.requests_per_second),
            connections: self.connections.or(file.connections),
            blob_quota_bytes: self.blob_quota_bytes.or(file.blob_quota_bytes),
            trusted_proxies: self.trusted_proxies.or(file.trusted_proxies),
            instruments: self.instruments.or(file.instruments),
            log: self.log.or(file.log),
        }
    }

    /// What an exchange runs by, with defaults for what is still open.
    pub fn config(&self, data: &Path) -> CliResult<exchange::Config> {
        let listen = match self.listen {
            Some(listen) => listen,
            None => {
                LISTEN_DEFAULT.parse().map_err(|_| CliError::new("the default is no address"))?
            }
        };
        let mut config = exchange::Config::new(data, listen);
        if let Some(url) = &self.public_url
            && !url.starts_with("http://")
            && !url.starts_with("https://")
        {
            return Err(CliError::new(format!("public_url `{url}` is no URL"))
                .hint("it begins with http:// or https://"));
        }
        config.public_url = self.public_url.clone();
        config.tls = match (&self.tls_certificate, &self.tls_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
            }
            (certificate, _) => {
                let lacks = if certificate.is_some() { "tls_key" } else { "tls_certificate" };
                return Err(CliError::new(format!("{lacks} is lacking"))
                    .hint("TLS needs both, a certificate and its key"));
            }
        };
        config.heartbeat_ms = self.heartbeat_ms.unwrap_or(config.heartbeat_ms);
        config.lapse_after_ms = self.lapse_ms.unwrap_or(config.lapse_after_ms);
        // Asked for quick lapses, it should not be a lost connection that is waited for longer.
        let grace = config.reconnect_grace_ms.min(config.lapse_after_ms);
        config.reconnect_grace_ms = self.reconnect_grace_ms.unwrap_or(grace);
        if config.heartbeat_ms < 10 || config.lapse_after_ms <= config.heartbeat_ms {
            return Err(CliError::new(format!(
                "lapse_ms {} is not longer than heartbeat_ms {}, or that is below 10",
                config.lapse_after_ms, config.heartbeat_ms
            ))
            .hint("give it three heartbeats at least"));
        }
        if self.probe_ms.is_some_and(|probe_ms| probe_ms < 10) {
            return Err(CliError::new("probe_ms is below 10: nobody could answer in time"));
        }
        config.probe_ms = self.probe_ms.unwrap_or(config.probe_ms);
        config.keep_ended_ms = self.keep_ended_ms.map_or(config.keep_ended_ms, i64::from);
        config.sign_up = self.sign_up.unwrap_or(config.sign_up);
        if let Some(per_second) = self.requests_per_second {
            config.account_rate.per_second = per_second;
            config.account_rate.burst = per_second.saturating_mul(5);
        }
        if self.connections == Some(0) {
            return Err(CliError::new("connections is 0: nobody could connect"));
        }
        config.connections = self.connections.unwrap_or(config.connections);
        config.blob_quota_bytes = self.blob_quota_bytes.unwrap_or(config.blob_quota_bytes);
        config.trusted_proxies = self.trusted_proxies.clone().unwrap_or_default();
        let in_data = data.join(instruments::FILE);
        let named = self.instruments.as_deref().or(Some(&*in_data).filter(|path| path.exists()));
        config.instruments = named.map(instruments::read_instruments).transpose()?;
        Ok(config)
    }

    /// Every setting with the value that holds, a line each.
    pub fn described(&self, config: &exchange::Config) -> String {
        let proxies: Vec<String> = config.trusted_proxies.iter().map(IpAddr::to_string).collect();
        let file = |path: Option<&PathBuf>| match path {
            Some(path) => path.display().to_string(),
            None => "none".to_owned(),
        };
        let in_data = || config.data.join(instruments::FILE);
        let traded =
            config.instruments.as_ref().map(|_| self.instruments.clone().unwrap_or_else(in_data));
        let instruments = traded.map_or("as before".to_owned(), |file| file.display().to_string());
        let log = match self.log.unwrap_or_default() {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        [
            ("listen", config.listen.to_string()),
            ("public_url", config.public_url.clone().unwrap_or_else(|| "from listen".to_owned())),
            ("tls_certificate", file(config.tls.as_ref().map(|tls| &tls.certificate))),
            ("tls_key", file(config.tls.as_ref().map(|tls| &tls.key))),
            ("heartbeat_ms", config.heartbeat_ms.to_string()),
            ("lapse_ms", config.lapse_after_ms.to_string()),
            ("reconnect_grace_ms", config.reconnect_grace_ms.to_string()),
            ("probe_ms", config.probe_ms.to_string()),
            ("keep_ended_ms", config.keep_ended_ms.to_string()),
            ("sign_up", config.sign_up.to_string()),
            ("requests_per_second", config.account_rate.per_second.to_string()),
            ("connections", config.connections.to_string()),
            ("blob_quota_bytes", config.blob_quota_bytes.to_string()),
            ("trusted_proxies", proxies.join(",")),
            ("instruments", instruments),
            ("log", log.to_owned()),
        ]
        .map(|(name, value)| format!("{name:<20} {value}"))
        .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_goes_before_the_file_and_that_before_defaults() {
        let data = tempfile::tempdir().unwrap();
        let given = Settings { lapse_ms: Some(9_000), ..Settings::default() };
        let alone = given.clone().with_file(data.path(), None).unwrap();
        assert_eq!(alone, given);
        let file = data.path().join(FILE);
        fs::write(&file, "lapse_ms = 7000\nheartbeat_ms = 1000\nlog = \"json\"\n").unwrap();
        let settings = given.clone().with_file(data.path(), None).unwrap();
        let config = settings.config(data.path()).unwrap();
        assert_eq!((config.lapse_after_ms, config.heartbeat_ms), (9_000, 1_000));
        assert_eq!(config.reconnect_grace_ms, 3_000, "the default");
        assert!(settings.described(&config).contains("log                  json"));
        let other = data.path().join("other.toml");
        fs::write(&other, "").unwrap();
        assert_eq!(given.clone().with_file(data.path(), Some(&other)).unwrap(), given);

        fs::write(&file, "lapse = 7000\n").unwrap();
        let error = given.with_file(data.path(), None).unwrap_err().to_string();
        assert!(error.contains("unknown field `lapse`"), "{error}");
    }

    #[test]
    fn what_can_not_work_is_said_before_anything_runs() {
        for (settings, word) in [
            (Settings { heartbeat_ms: Some(6_000), ..Settings::default() }, "lapse_ms"),
            (
                Settings { public_url: Some("jusha.example".to_owned()), ..Settings::default() },
                "URL",
            ),
            (Settings { tls_key: Some("key".into()), ..Settings::default() }, "tls_certificate"),
            (Settings { probe_ms: Some(9), ..Settings::default() }, "probe_ms"),
            (Settings { connections: Some(0), ..Settings::default() }, "connections"),
        ] {
            let error = settings.config(Path::new("/nowhere")).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
