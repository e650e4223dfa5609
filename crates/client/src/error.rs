//! What can go wrong between a client and an exchange.

use base::Digest;
use wire::CodingError;

/// A request was not answered, or answered by a refusal.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is not one.
    #[error("`{url}` is not the URL of an exchange: {problem}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Whom to trust is unclear.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// What answers there shows a certificate that is not to be trusted. Nothing was said to it.
    #[error("what answers at {url} is not trusted")]
    Untrusted {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// No answer. Whether the request was carried out is unknown: ask again.
    #[error("the exchange at {url} can't be reached")]
    Unreachable {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The feed can't be had.
    #[error("the feed of {url} can't be had: {problem}")]
    NoFeed {
        /// The URL.
        url: String,
        /// Why.
        problem: String,
    },
    /// The exchange refused.
    #[error("{message} ({code})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable code.
        code: String,
        /// In words, with what to do.
        message: String,
    },
    /// Something between here and the exchange can't reach it.
    #[error("a proxy before the exchange at {url} answered {status}")]
    Gateway {
        /// The URL.
        url: String,
        /// HTTP status: 502, 503 or 504.
        status: u16,
    },
    /// What answers there doesn't speak as an exchange does.
    #[error("what answers at {url} is not an exchange that this program understands: {problem}")]
    NotAnExchange {
        /// The URL.
        url: String,
        /// What was unexpected.
        problem: String,
    },
    /// A blob does not have its address.
    #[error("blob {0} arrived altered")]
    Altered(Digest),
    /// A blob can't be decoded.
    #[error("blob {digest} can't be read")]
    Coding {
        /// Which.
        digest: Digest,
        /// Why.
        #[source]
        source: CodingError,
    },
}

impl ClientError {
    /// Whether asking again may help: no answer, or a failure on the exchange's side.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::NoFeed { .. }
            | ClientError::Gateway { .. }
            | ClientError::Altered(_) => true,
            ClientError::Coding { source, .. } => !matches!(source, CodingError::TooLong { .. }),
            ClientError::Refused { status, .. } => *status >= 500 || matches!(*status, 408 | 429),
            ClientError::Url { .. }
            | ClientError::Tls(_)
            | ClientError::Untrusted { .. }
            | ClientError::NotAnExchange { .. } => false,
        }
    }

    /// The exchange's stable code, if it refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            ClientError::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}
