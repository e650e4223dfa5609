//! Who asks: found out once per request, before anything else is done for it, so that limits
//! can be each account's own.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use base::AccountId;

use crate::app::App;
use crate::error::ApiError;
use crate::rate::{Payer, subscriber};
use crate::secrets;
use crate::store::Principal;

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub IpAddr);

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    Nobody,
    /// A token that nobody has.
    Stranger,
    Operator,
    Known(Principal),
}

/// Whose token is it?
pub(super) async fn identify(headers: &HeaderMap, app: &Arc<App>) -> Result<Caller, ApiError> {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let Some(token) = token else { return Ok(Caller::Nobody) };
    let digest = secrets::digest(token);
    if digest == app.operator_token {
        return Ok(Caller::Operator);
    }
    let found = app.reading(move |reader| reader.principal(&digest)).await?;
    Ok(found.map_or(Caller::Stranger, Caller::Known))
}

/// Where it comes from. What a proxy of ours says is believed, and nobody else's word.
pub(super) fn address(headers: &HeaderMap, extensions: &Extensions, trusted: &[IpAddr]) -> IpAddr {
    let peer = extensions.get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
    let peer = peer.to_canonical();
    if !trusted.contains(&peer) {
        return peer;
    }
    // Each proxy adds the address that it saw at the end; those before it may be made up.
    let told = headers.get_all("x-forwarded-for").iter().next_back();
    let last = told.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    last.unwrap_or(peer)
}

impl Caller {
    /// Whose bucket a request is taken from. The operator's has no bottom.
    pub fn payer(self, address: IpAddr) -> Option<Payer> {
        match self {
            Caller::Nobody | Caller::Stranger => Some(Payer::Address(subscriber(address))),
            Caller::Operator => None,
            Caller::Known(Principal::Account(account)) => Some(Payer::Account(account)),
            Caller::Known(Principal::Machine(machine)) => Some(Payer::Machine(machine)),
        }
    }

    /// Whether somebody answers for what this caller sends.
    pub fn is_known(self) -> bool {
        matches!(self, Caller::Operator | Caller::Known(_))
    }
}

/// As found out by [`super::admission`].
pub(super) fn of(extensions: &Extensions) -> Caller {
    extensions.get::<Caller>().copied().unwrap_or(Caller::Nobody)
}

/// The caller, if there is one.
fn known(parts: &Parts) -> Result<Caller, ApiError> {
    match of(&parts.extensions) {
        Caller::Nobody => Err(ApiError::TokenMissing),
        Caller::Stranger => Err(ApiError::UnknownToken),
        caller => Ok(caller),
    }
}

/// Who may see what is an account's: itself, and the operator.
pub(super) enum Viewer {
    Operator,
    Account(AccountId),
}

impl FromRequestParts<Arc<App>> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ApiError> {
        match known(parts)? {
            Caller::Operator => Ok(Viewer::Operator),
            Caller::Known(Principal::Account(account)) => Ok(Viewer::Account(account)),
            _ => Err(ApiError::AccountOnly),
        }
    }
}

/// The account whose token the request shows.
pub(super) struct Account(pub AccountId);

impl FromRequestParts<Arc<App>> for Account {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ApiError> {
        match known(parts)? {
            Caller::Known(Principal::Account(account)) => Ok(Account(account)),
            _ => Err(ApiError::AccountOnly),
        }
    }
}

/// The request shows the operator's token.
pub(super) struct Operator;

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ApiError> {
        match known(parts)? {
            Caller::Operator => Ok(Operator),
            _ => Err(ApiError::OperatorOnly),
        }
    }
}

/// The request shows an account's or a machine's token.
pub(super) struct BlobUser;

impl FromRequestParts<Arc<App>> for BlobUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ApiError> {
        match known(parts)? {
            Caller::Known(_) => Ok(BlobUser),
            _ => Err(ApiError::BlobsOnly),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_its_own_word() {
        let seen = |peer: &str, told: &[&str]| {
            let mut extensions = Extensions::new();
            extensions.insert(Peer(peer.parse().unwrap()));
            let mut headers = HeaderMap::new();
            for line in told {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            address(&headers, &extensions, &["10.0.0.1".parse().unwrap()]).to_string()
        };
        assert_eq!(seen("192.0.2.7", &["1.2.3.4"]), "192.0.2.7");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(seen("::ffff:10.0.0.1", &["6.6.6.6, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "7.7.7.7, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
    }
}
