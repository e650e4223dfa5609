//! Who asks: found out once per request, before anything else is done for it, so that limits
//! can be each account's own.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method};
use base::{AccountId, Digest};
use wire::{Scope, Standing};

use crate::app::App;
use crate::error::ApiError;
use crate::grants::Reader;
use crate::rate::{Payer, subscriber};
use crate::secrets;
use crate::sequencer::unix_ms;
use crate::store::Principal;
use crate::store::access::Scopes;

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub IpAddr);

/// The cookie of a session.
pub(super) const SESSION_COOKIE: &str = "jusha_session";

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    Nobody,
    /// A token that nobody has.
    Stranger,
    /// The token in the operator's file.
    Operator,
    Known(Principal),
}

/// Whose token is it? Also the digest of it.
pub(super) async fn identify(
    method: &Method,
    headers: &HeaderMap,
    app: &Arc<App>,
) -> Result<(Caller, Option<Digest>), ApiError> {
    let token = match headers.get(AUTHORIZATION) {
        Some(value) => bearer(value),
        None if may_use_cookie(method, headers) => cookie(headers),
        None => None,
    };
    let Some(token) = token else { return Ok((Caller::Nobody, None)) };
    let digest = secrets::digest(token);
    if digest == app.operator_token {
        return Ok((Caller::Operator, None));
    }
    let found = app.reading(move |reader| reader.principal(&digest, unix_ms())).await?;
    Ok((found.map_or(Caller::Stranger, Caller::Known), Some(digest)))
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(SESSION_COOKIE)?.strip_prefix('='))
}

/// A browser sends a cookie whoever wrote the page that made it ask. What changes something must
/// come from a page of ours, as the browser itself says in headers that no page can set.
fn may_use_cookie(method: &Method, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return true;
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (header("sec-fetch-site"), header("origin"), header("host")) {
        (Some(site), _, _) => site == "same-origin",
        (None, Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host))
        }
        _ => false,
    }
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
            Caller::Known(Principal::Account { account, .. }) => Some(Payer::Account(account)),
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

/// Who may see what is an account's: itself, and an operator.
pub(super) enum Viewer {
    Operator,
    Account(AccountId),
}

impl Viewer {
    /// Whose lists it sees: an operator everybody's.
    pub fn owner(&self) -> Option<AccountId> {
        match self {
            Viewer::Operator => None,
            Viewer::Account(account) => Some(*account),
        }
    }
}

impl FromRequestParts<Arc<App>> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        if Operator::from_request_parts(parts, app).await.is_ok() {
            return Ok(Viewer::Operator);
        }
        let Account(account) = Account::from_request_parts(parts, app).await?;
        Ok(Viewer::Account(account))
    }
}

/// The account whose token the request shows, which allows what the request does: to look with
/// `read`, to change something with `trade`.
pub(super) struct Account(pub AccountId);

impl FromRequestParts<Arc<App>> for Account {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let owner = Owner::from_request_parts(parts, app).await?;
        let changes = !parts.method.is_safe();
        let scope = if changes { Scope::Trade } else { Scope::Read };
        owner.needs(scope)?;
        // Who may do nothing new may still take back.
        let takes_back = parts.method == Method::DELETE || parts.uri.path().ends_with("/cancel");
        if owner.standing == Standing::Frozen && changes && !takes_back {
            return Err(ApiError::AccountFrozen);
        }
        Ok(Account(owner.account))
    }
}

/// The account whose token the request shows, whatever the token allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub account: AccountId,
    pub scopes: Scopes,
    is_whole: bool,
    standing: Standing,
}

impl Owner {
    fn needs(&self, scope: Scope) -> Result<(), ApiError> {
        if self.scopes.has(scope) { Ok(()) } else { Err(ApiError::ScopeLacking { scope }) }
    }

    /// A token of limited use makes and revokes no others.
    pub fn needs_whole(&self) -> Result<(), ApiError> {
        if self.is_whole { Ok(()) } else { Err(ApiError::WholeTokenOnly) }
    }
}

impl FromRequestParts<Arc<App>> for Owner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ApiError> {
        match known(parts)? {
            Caller::Known(Principal::Account { standing: Standing::Banned, .. }) => {
                Err(ApiError::AccountBanned)
            }
            Caller::Known(Principal::Account { account, scopes, is_whole, standing }) => {
                Ok(Owner { account, scopes, is_whole, standing })
            }
            _ => Err(ApiError::AccountOnly),
        }
    }
}

/// The digest of the token that the request shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown(pub Digest);

impl<S: Send + Sync> FromRequestParts<S> for Shown {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Shown>().copied().ok_or(ApiError::TokenMissing)
    }
}

/// An operator, and as whom the log calls him: the token in the operator's file, or an account's
/// that may operate.
pub(super) struct Operator(pub String);

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        if known(parts)? == Caller::Operator {
            return Ok(Operator("operator.token".to_owned()));
        }
        let owner = Owner::from_request_parts(parts, app).await;
        let owner = owner.map_err(|_| ApiError::OperatorOnly)?;
        if owner.standing != Standing::Active || owner.needs(Scope::Operate).is_err() {
            return Err(ApiError::OperatorOnly);
        }
        Ok(Operator(owner.account.to_string()))
    }
}

/// The account or the machine whose token the request shows.
pub(super) struct BlobUser(pub Reader);

impl FromRequestParts<Arc<App>> for BlobUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        match known(parts)? {
            Caller::Known(Principal::Machine(machine)) => Ok(BlobUser(Reader::Machine(machine))),
            Caller::Known(Principal::Account { account, .. }) => {
                // What is lacking is asked by POST, and changes nothing.
                if parts.uri.path().ends_with("/missing") {
                    Owner::from_request_parts(parts, app).await?.needs(Scope::Read)?;
                } else {
                    Account::from_request_parts(parts, app).await?;
                }
                Ok(BlobUser(Reader::Account(account)))
            }
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

    #[test]
    fn a_cookie_changes_nothing_for_pages_of_others() {
        let may = |method: Method, told: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in told {
                headers.insert(*name, value.parse().unwrap());
            }
            may_use_cookie(&method, &headers)
        };
        assert!(may(Method::GET, &[("sec-fetch-site", "cross-site")]), "SameSite sees to that");
        assert!(may(Method::POST, &[("sec-fetch-site", "same-origin")]));
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!may(Method::POST, &[("sec-fetch-site", site)]), "{site}");
        }
        let host = ("host", "jusha.example");
        assert!(may(Method::DELETE, &[host, ("origin", "https://jusha.example")]));
        for origin in ["https://evil.example", "null", "https://jusha.example.evil.example"] {
            assert!(!may(Method::DELETE, &[host, ("origin", origin)]), "{origin}");
        }
        assert!(!may(Method::POST, &[host]), "who says nothing is not believed");
    }

    #[test]
    fn a_session_is_found_among_cookies() {
        let found = |line: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, line.parse().unwrap());
            cookie(&headers).map(str::to_owned)
        };
        assert_eq!(found("a=b; jusha_session=s_1; c=d").as_deref(), Some("s_1"));
        assert_eq!(found("jusha_session_2=x"), None);
        assert_eq!(found("jusha_session"), None);
    }
}
