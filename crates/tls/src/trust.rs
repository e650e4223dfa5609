//! Whom a client trusts.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::{TlsError, provider};

/// Whether a URL asks for TLS.
pub fn is_private(url: &str) -> bool {
    url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

/// What a client needs for one URL: nothing where it is plain HTTP.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    config: Option<Arc<ClientConfig>>,
}

impl Trust {
    /// For an `https` URL: the authorities in the file `ca` and no others, or without one those
    /// of this computer.
    pub fn of(url: &str, ca: Option<&Path>) -> Result<Trust, TlsError> {
        if !is_private(url) {
            return Ok(Trust { config: None });
        }
        let roots = match ca {
            Some(path) => named(path)?,
            None => of_this_computer()?,
        };
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust { config: Some(Arc::new(config)) })
    }

    /// The configuration, if there is to be TLS.
    pub fn config(&self) -> Option<&Arc<ClientConfig>> {
        self.config.as_ref()
    }
}

/// Whether a failed request failed since the other end's certificate is not to be trusted: then
/// asking again helps nobody.
pub fn is_distrust(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // An I/O error has what it is made of inside, not as its source.
        let inside = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        let own = error.downcast_ref::<rustls::Error>();
        let found = own.or_else(|| inside.and_then(|inside| inside.downcast_ref()));
        if matches!(found, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    false
}

fn named(path: &Path) -> Result<RootCertStore, TlsError> {
    let file = |source| TlsError::File { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(file)? {
        roots.add(certificate.map_err(file)?).map_err(|source| {
            let path = path.to_owned();
            TlsError::Unusable { path, source }
        })?;
    }
    if roots.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned(), what: "certificate" });
    }
    Ok(roots)
}

fn of_this_computer() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Of a hundred old ones some can't be read any more; the others do.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
    }

    #[test]
    fn only_https_needs_anything() {
        assert!(Trust::of("http://host", None).unwrap().config().is_none());
        let missing = Trust::of("http://host", Some(Path::new("/nonexistent")));
        assert!(missing.unwrap().config().is_none());
        for url in ["https://host", "HTTPS://host"] {
            let trust = Trust::of(url, Some(&certificate("ca.pem"))).unwrap();
            assert!(trust.config().is_some());
        }
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        for (file, problem) in [("server.key", "holds no certificate"), ("none", "can't read")] {
            let error = Trust::of("https://host", Some(&certificate(file))).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert!(error.to_string().contains(file), "{error}");
        }
    }
}
