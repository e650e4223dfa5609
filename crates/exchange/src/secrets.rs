//! Tokens and codes. A secret is shown once, to whom it is for; the exchange keeps digests.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base::Digest;

use crate::error::ExchangeError;

/// `N` random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A new secret of 256 bits that says what it is for.
pub(crate) fn secret(prefix: &str) -> Result<String, getrandom::Error> {
    Ok(format!("{prefix}_{}", wire::hex(&random::<32>()?)))
}

/// How a secret is kept. It has 256 random bits, so a plain digest can't be guessed back.
pub(crate) fn digest(secret: &str) -> Digest {
    Digest::of_parts("jusha secret v1", &[secret.as_bytes()])
}

/// The operator's token: in a file that only the exchange's user can read, made at first start.
pub(crate) fn operator_token(path: &Path) -> Result<String, ExchangeError> {
    let failed = |source| ExchangeError::Data { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(token) if !token.trim().is_empty() => return Ok(token.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let token = secret("operator").map_err(ExchangeError::Random)?;
    write_private(path, format!("{token}\n").as_bytes()).map_err(failed)?;
    Ok(token)
}

/// Writes a file that only its owner may read. Renamed into place, so that a crash can't leave
/// half a secret.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("token.new");
    if temporary.exists() {
        fs::remove_file(&temporary)?;
    }
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_operator_token_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("operator.token");
        let token = operator_token(&path).unwrap();
        assert_eq!(operator_token(&path).unwrap(), token);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
