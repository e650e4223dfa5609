//! Signing up, signing in, and tokens.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Response};
use base::{AccountId, Digest};
use clearing::Command;
use serde::Deserialize;
use utoipa::IntoParams;
use wire::{NewToken, Session, SignIn, SignUp, Standing, TokenCreated, TokenView};

use super::caller::{Owner, SESSION_COOKIE, Shown};
use super::{Answer, JsonBody, Shared, checked_name};
use crate::app::App;
use crate::error::ApiError;
use crate::rate::{Payer, Rate};
use crate::secrets;
use crate::sequencer::unix_ms;
use crate::store::CredentialChange;
use crate::store::access::{Login, Scopes, TokenKept, token_id};

/// How long a session lasts.
const SESSION_MS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// Tokens of one account.
const TOKENS_MAX: usize = 200;
/// Tries to sign in with one login: ten at once, then one in twenty seconds.
const LOGIN_RATE: Rate = Rate { per_second: 1, burst: 200 };
const LOGIN_COST: u32 = 20;

/// How the session is handed over.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Handing {
    /// Set a cookie instead of showing the token: for pages of this exchange.
    #[serde(default)]
    cookie: bool,
}

/// Open an account for oneself
///
/// If the operator allows it. The answer is the first session.
#[utoipa::path(
    post, path = "/v1/sign-up", operation_id = "sign_up", tag = "accounts",
    params(Handing),
    request_body = SignUp,
    security(()),
    responses((status = OK, body = Session, description = "The first session")),
)]
pub(super) async fn sign_up(
    State(app): Shared,
    handing: Result<Query<Handing>, axum::extract::rejection::QueryRejection>,
    JsonBody(new): JsonBody<SignUp>,
) -> Result<Response, ApiError> {
    let Query(handing) = handing.map_err(|error| ApiError::InvalidQuery(error.body_text()))?;
    if !app.config.sign_up {
        return Err(ApiError::SignUpClosed);
    }
    checked_name("name", &new.name)?;
    checked_name("login", &new.login)?;
    let login = normal(&new.login);
    let taken = || ApiError::LoginTaken { login: login.clone() };
    let wanted = login.clone();
    if app.reading(move |reader| reader.login(&wanted)).await?.is_some() {
        return Err(taken());
    }
    let password = app.passwords.hash(new.password).await?;
    let account = secrets::random().map_err(|_| ApiError::Internal)?;
    let account = AccountId(u128::from_be_bytes(account));
    let (session, token) = session(account)?;
    let change = CredentialChange::Several(vec![
        CredentialChange::SetLogin { login: login.clone(), kept: Login { account, password } },
        CredentialChange::AddToken(token),
    ]);
    app.sequencer.command_with(Command::OpenAccount { account, name: new.name }, change).await?;
    // Of two who wanted one login at once, the other's account stays empty and out of reach.
    let wanted = login.clone();
    let kept = app.reading(move |reader| reader.login(&wanted)).await?;
    if kept.is_none_or(|kept| kept.account != account) {
        app.sequencer.change(CredentialChange::RevokeTokens { account }).await?;
        return Err(taken());
    }
    Ok(handed_over(&app, session, &handing))
}

/// Sign in
#[utoipa::path(
    post, path = "/v1/sessions", operation_id = "sign_in", tag = "accounts",
    params(Handing),
    request_body = SignIn,
    security(()),
    responses((status = OK, body = Session, description = "The session")),
)]
pub(super) async fn sign_in(
    State(app): Shared,
    handing: Result<Query<Handing>, axum::extract::rejection::QueryRejection>,
    JsonBody(SignIn { login, password }): JsonBody<SignIn>,
) -> Result<Response, ApiError> {
    let Query(handing) = handing.map_err(|error| ApiError::InvalidQuery(error.body_text()))?;
    let login = normal(&login);
    let payer = Payer::Login(Digest::of(login.as_bytes()));
    let verdict = {
        let mut buckets = app.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(payer, LOGIN_RATE, LOGIN_COST, Instant::now())
    };
    if let Some(retry_after) = verdict.and_then(|verdict| verdict.retry_after) {
        return Err(ApiError::RateLimited { retry_after });
    }
    let kept = app.reading(move |reader| reader.login(&login)).await?;
    let hash = kept.as_ref().map(|kept| kept.password.clone());
    if !app.passwords.fits(password, hash).await? {
        return Err(ApiError::WrongPassword);
    }
    let account = kept.map(|kept| kept.account).ok_or(ApiError::WrongPassword)?;
    if app.reading(move |reader| reader.access(account)).await?.standing == Standing::Banned {
        return Err(ApiError::AccountBanned);
    }
    let (session, token) = session(account)?;
    app.sequencer.change(CredentialChange::AddToken(token)).await?;
    Ok(handed_over(&app, session, &handing))
}

/// Sign out
///
/// The token, or the cookie, that the request shows stops working.
#[utoipa::path(
    delete, path = "/v1/sessions", operation_id = "sign_out", tag = "accounts",
    responses((status = OK, body = TokenView, description = "The token that ended")),
)]
pub(super) async fn sign_out(
    owner: Owner,
    Shown(digest): Shown,
    State(app): Shared,
) -> Result<Response, ApiError> {
    let account = owner.account;
    let id = token_id(&digest);
    let tokens = app.reading(move |reader| reader.tokens(account)).await?;
    let ended = tokens.into_iter().find(|token| token.id == id).ok_or(ApiError::UnknownToken)?;
    app.sequencer.change(CredentialChange::RevokeToken { account, id }).await?;
    let gone = format!("{SESSION_COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    Ok(([(SET_COOKIE, gone)], Json(ended)).into_response())
}

/// One's tokens
#[utoipa::path(
    get, path = "/v1/tokens", operation_id = "list_tokens", tag = "accounts",
    responses((status = OK, body = [TokenView], description = "Newest first")),
)]
pub(super) async fn list(owner: Owner, State(app): Shared) -> Answer<Vec<TokenView>> {
    Ok(Json(app.reading(move |reader| reader.tokens(owner.account)).await?))
}

/// Make a token of limited use
///
/// Needs a session, or a token that may do everything that the account may.
#[utoipa::path(
    post, path = "/v1/tokens", operation_id = "make_token", tag = "accounts",
    request_body = NewToken,
    responses((status = OK, body = TokenCreated, description = "The only time it is shown")),
)]
pub(super) async fn make(
    owner: Owner,
    State(app): Shared,
    JsonBody(new): JsonBody<NewToken>,
) -> Answer<TokenCreated> {
    owner.needs_whole()?;
    checked_name("name", &new.name)?;
    if let Some(scope) = new.scopes.iter().find(|scope| !owner.scopes.has(**scope)) {
        return Err(ApiError::ScopeLacking { scope: *scope });
    }
    let account = owner.account;
    let held = app.reading(move |reader| reader.tokens(account)).await?.len();
    if held >= TOKENS_MAX {
        return Err(ApiError::TooManyTokens { held, max: TOKENS_MAX });
    }
    let token = secrets::secret("account").map_err(|_| ApiError::Internal)?;
    let kept = TokenKept {
        digest: secrets::digest(&token),
        account,
        name: new.name,
        scopes: new.scopes.into_iter().collect::<Scopes>(),
        is_session: false,
        created_at_ms: unix_ms(),
        expires_at_ms: new.expires_at_ms,
    };
    let id = token_id(&kept.digest);
    app.sequencer.change(CredentialChange::AddToken(kept)).await?;
    Ok(Json(TokenCreated { id, token }))
}

/// Revoke a token
///
/// It stops working at once. Needs a session, or a token that may do everything that the account
/// may.
#[utoipa::path(
    delete, path = "/v1/tokens/{id}", operation_id = "revoke_token", tag = "accounts",
    params(("id" = String, Path, description = "The token's id, as listed")),
    responses((status = OK, body = TokenView, description = "The token that ended")),
)]
pub(super) async fn revoke(
    owner: Owner,
    State(app): Shared,
    Path(id): Path<String>,
) -> Answer<TokenView> {
    owner.needs_whole()?;
    let account = owner.account;
    let tokens = app.reading(move |reader| reader.tokens(account)).await?;
    let ended = tokens.into_iter().find(|token| token.id == id);
    let ended = ended.ok_or_else(|| ApiError::NotFound { what: "token", id: id.clone() })?;
    app.sequencer.change(CredentialChange::RevokeToken { account, id }).await?;
    Ok(Json(ended))
}

/// Logins are the same however they are typed.
fn normal(login: &str) -> String {
    login.trim().to_lowercase()
}

fn session(account: AccountId) -> Result<(Session, TokenKept), ApiError> {
    let token = secrets::secret("session").map_err(|_| ApiError::Internal)?;
    let created_at_ms = unix_ms();
    let expires_at_ms = created_at_ms.saturating_add(SESSION_MS);
    let kept = TokenKept {
        digest: secrets::digest(&token),
        account,
        name: "session".to_owned(),
        scopes: Scopes::ALL,
        is_session: true,
        created_at_ms,
        expires_at_ms: Some(expires_at_ms),
    };
    Ok((Session { account, token: Some(token), expires_at_ms }, kept))
}

fn handed_over(app: &Arc<App>, session: Session, handing: &Handing) -> Response {
    let Some(token) = session.token.clone().filter(|_| handing.cookie) else {
        return Json(session).into_response();
    };
    let secure = if app.public_url.starts_with("https:") { "; Secure" } else { "" };
    let cookie = format!(
        "{SESSION_COOKIE}={token}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
        SESSION_MS / 1_000
    );
    // A script of the page has no use for it.
    ([(SET_COOKIE, cookie)], Json(Session { token: None, ..session })).into_response()
}
