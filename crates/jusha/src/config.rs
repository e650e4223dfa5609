//! Which exchange, as whom: from the command line, the environment, or what `jusha login` and
//! `jusha up` stored.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use client::{Client, Reach};
use serde::{Deserialize, Serialize};

use crate::error::{CliError, CliResult, io};

/// Options of every command that talks to an exchange.
#[derive(Debug, Args)]
#[command(next_help_heading = "Exchange")]
pub struct Access {
    /// The exchange's URL
    #[arg(long, env = "JUSHA_URL", value_name = "URL", global = true)]
    pub url: Option<String>,
    /// The account's token
    #[arg(long, env = "JUSHA_TOKEN", value_name = "TOKEN", hide_env_values = true, global = true)]
    pub token: Option<String>,
    /// A file with the certificate authority to trust (PEM), for https [default: this computer's]
    #[arg(long, env = "JUSHA_CA", value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
}

/// What is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The exchange's URL.
    pub url: String,
    /// The account's token.
    pub token: String,
    /// The authority to trust, instead of this computer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl Access {
    /// A client for the chosen exchange and account.
    pub fn client(&self) -> CliResult<Client> {
        let stored = match (&self.url, &self.token) {
            (Some(_), Some(_)) => None,
            _ => load()?,
        };
        let url = self.url.clone().or_else(|| stored.as_ref().map(|stored| stored.url.clone()));
        // A stored token is for the stored exchange: it is not sent to another one.
        let stored = stored.filter(|stored| Some(&stored.url) == url.as_ref());
        let (token, ca) = stored.map(|stored| (stored.token, stored.ca)).unzip();
        let token = self.token.clone().or(token);
        let reach = Reach { ca: self.ca.clone().or(ca.flatten()), at: None };
        let Some(url) = url else {
            return Err(CliError::new("no exchange is configured")
                .hint("`jusha up` starts one here; `jusha login URL TOKEN` uses another one's"));
        };
        Ok(Client::reaching(&url, token.as_deref().unwrap_or(""), &reach)?)
    }
}

fn base(variable: &str, below_home: &str) -> CliResult<PathBuf> {
    let absolute =
        |value: std::ffi::OsString| Some(PathBuf::from(value)).filter(|p| p.is_absolute());
    if let Some(path) = std::env::var_os(variable).and_then(absolute) {
        return Ok(path.join("jusha"));
    }
    match std::env::var_os("HOME").and_then(absolute) {
        Some(home) => Ok(home.join(below_home).join("jusha")),
        None => Err(CliError::new("no home directory is known").hint("set HOME")),
    }
}

/// Where the configuration is.
pub fn path() -> CliResult<PathBuf> {
    Ok(base("XDG_CONFIG_HOME", ".config")?.join("config.toml"))
}

/// Where data is kept unless `--data` says otherwise.
pub fn data_dir(name: &str) -> CliResult<PathBuf> {
    Ok(base("XDG_DATA_HOME", ".local/share")?.join(name))
}

/// Where compiled modules are kept for local runs; none if there is no such place.
pub fn artefacts_dir() -> Option<PathBuf> {
    let path = base("XDG_CACHE_HOME", ".cache").ok()?.join("artefacts");
    fs::create_dir_all(&path).ok().map(|()| path)
}

/// The stored configuration, if there is one.
pub fn load() -> CliResult<Option<Stored>> {
    let path = path()?;
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => io(other, format_args!("read {}", path.display()))?,
    };
    toml::from_str(&text).map(Some).map_err(|error| {
        CliError::new(format!("{} is damaged: {}", path.display(), error.message()))
            .hint("`jusha login URL TOKEN` writes it anew")
    })
}

/// Stores it, readable by the owner only. What was there for another exchange is kept beside
/// it; the answer is where.
pub fn store(new: &Stored) -> CliResult<Option<PathBuf>> {
    let path = path()?;
    let mut kept = None;
    if !matches!(load(), Ok(None)) && !matches!(load(), Ok(Some(old)) if old.url == new.url) {
        let beside = path.with_extension("toml.before");
        io(fs::rename(&path, &beside), format_args!("keep {}", path.display()))?;
        kept = Some(beside);
    }
    let text = toml::to_string(new).map_err(|error| CliError::new(error.to_string()))?;
    write_private(&path, text.as_bytes())?;
    Ok(kept)
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> CliResult<()> {
    write_whole(path, bytes, true)
}

/// Writes a file, whole or not at all: on a full disk, what was there before stays.
pub fn write_file(path: &Path, bytes: &[u8]) -> CliResult<()> {
    write_whole(path, bytes, false)
}

fn write_whole(path: &Path, bytes: &[u8], private: bool) -> CliResult<()> {
    let wanted = format_args!("write {}", path.display());
    // A device or a pipe is written to, not replaced.
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return io(fs::write(path, bytes), wanted);
    }
    // What a link points to is replaced, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    io(fs::create_dir_all(directory), format_args!("make {}", directory.display()))?;
    let mode = if private { 0o600 } else { 0o666 };
    let mut beside = tempfile::Builder::new();
    beside.prefix(".jusha-").permissions(fs::Permissions::from_mode(mode));
    let written = beside.tempfile_in(directory).and_then(|mut file| {
        file.write_all(bytes)?;
        // A key, a token or a checkpoint can't be had again.
        if private {
            file.as_file().sync_all()?;
        }
        file.persist(&target).map_err(|error| error.error)
    });
    io(written, wanted).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_a_device_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        write_file(&file, b"one").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write_private(&link, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        write_file(Path::new("/dev/null"), b"three").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        assert!(write_file(dir.path(), b"four").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside");
    }
}
