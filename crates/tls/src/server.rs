//! Which certificate a server shows, and how a new one takes its place.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::{TlsError, provider};

/// The certificate in two files, as of when they were last read. Connections that are open keep
/// theirs; each new one gets the present one.
#[derive(Debug)]
pub struct Shown {
    certificate: PathBuf,
    key: PathBuf,
    present: Arc<Present>,
    seen: Option<[Mark; 2]>,
}

/// By which a changed file is known.
type Mark = (Option<SystemTime>, u64);

#[derive(Debug)]
struct Present(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Present {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Shown {
    /// Reads a chain of certificates, the server's own first, and its key.
    pub fn read(certificate: &Path, key: &Path) -> Result<Shown, TlsError> {
        let seen = marks(certificate, key);
        let present = Arc::new(Present(RwLock::new(Arc::new(read(certificate, key)?))));
        Ok(Shown { certificate: certificate.to_owned(), key: key.to_owned(), present, seen })
    }

    /// For whoever accepts connections. It follows [`Shown::refresh`].
    pub fn config(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.present) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// Reads the files again if they changed; whether they did. After an error (of two files that
    /// are replaced one after the other, only one is new for a moment) what was shown is shown
    /// still, and the next call tries again.
    pub fn refresh(&mut self) -> Result<bool, TlsError> {
        let marks = marks(&self.certificate, &self.key);
        if marks == self.seen {
            return Ok(false);
        }
        let fresh = Arc::new(read(&self.certificate, &self.key)?);
        *self.present.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.seen = marks;
        Ok(true)
    }
}

fn marks(certificate: &Path, key: &Path) -> Option<[Mark; 2]> {
    let mark = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok(), found.len()))
    };
    Some([mark(certificate)?, mark(key)?])
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .map_err(at(certificate))?
        .collect::<Result<_, _>>()
        .map_err(at(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: certificate.to_owned(), what: "certificate" });
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|source| match source {
        rustls::pki_types::pem::Error::NoItemsFound => {
            TlsError::Empty { path: key.to_owned(), what: "private key" }
        }
        source => TlsError::File { path: key.to_owned(), source },
    })?;
    // Also finds out whether they belong together.
    CertifiedKey::from_der(chain, secret, &provider())
        .map_err(|source| TlsError::Unusable { path: certificate.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn given(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
    }

    fn shown(shown: &Shown) -> Vec<u8> {
        shown.present.0.read().unwrap().cert[0].to_vec()
    }

    #[test]
    fn a_certificate_is_replaced_when_both_files_fit() {
        let directory = tempdir("replaced");
        let (certificate, key) = (directory.join("certificate"), directory.join("key"));
        fs::copy(given("server.pem"), &certificate).unwrap();
        fs::copy(given("server.key"), &key).unwrap();
        let mut server = Shown::read(&certificate, &key).unwrap();
        let first = shown(&server);
        assert!(!server.refresh().unwrap(), "nothing changed");
        fs::copy(given("other.pem"), &certificate).unwrap();
        // Files of one length within one tick of the clock look alike.
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        fs::File::open(&certificate).unwrap().set_modified(later).unwrap();
        assert!(matches!(server.refresh(), Err(TlsError::Unusable { .. })), "half of a new one");
        assert_eq!(shown(&server), first);
        fs::copy(given("other.key"), &key).unwrap();
        fs::File::open(&key).unwrap().set_modified(later).unwrap();
        assert!(server.refresh().unwrap());
        assert_ne!(shown(&server), first);
        fs::remove_file(&certificate).unwrap();
        assert!(matches!(server.refresh(), Err(TlsError::File { .. })));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_is_no_certificate_is_said() {
        let pem = given("server.pem");
        for (certificate, key, problem) in [
            (given("server.key"), given("server.key"), "holds no certificate"),
            (pem.clone(), pem.clone(), "holds no private key"),
            (pem.clone(), given("nothing"), "can't read"),
            (pem.clone(), given("other.key"), "can't be used"),
        ] {
            let error = Shown::read(&certificate, &key).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    fn tempdir(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("jusha-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }
}
