//! TLS by file, the same for everyone who speaks it here: whom a client trusts, and which
//! certificate a server shows.
//!
//! Its own crate since client, agent and exchange need it, and none may depend on another. The
//! cryptography is *ring*'s: it builds in seconds with the C compiler that is needed anyway, where
//! its alternative takes minutes and more tools.
//!
//! Deliberately absent: getting certificates (ACME): a proxy or a timer does that, and the
//! exchange shows what lies in the files.

mod server;
mod trust;

pub use server::Shown;
pub use trust::{Trust, is_distrust, is_private};

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use rustls;

/// A file is not what it must be.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It can't be read.
    #[error("can't read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// It holds nothing of the kind.
    #[error("{path} holds no {what}: it must be PEM")]
    Empty {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// This computer trusts nobody.
    #[error(
        "this computer has no list of certificate authorities: install `ca-certificates`, or name \
         the one of the exchange (--ca FILE)"
    )]
    NoAuthorities,
    /// A certificate can't be used.
    #[error("{path} can't be used")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
