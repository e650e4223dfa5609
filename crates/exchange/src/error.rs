//! What goes wrong, once for whoever runs an exchange and once for whoever calls it.
//!
//! `docs/errors.md` lists every code; a test compares it with what is written here and in the
//! other places that name codes.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base::Digest;
use serde_json::{Map, Value, json};
use wire::{CodingError, ErrorBody, Scope};

use crate::blobs::BlobError;
use crate::sequencer::Failure;
use crate::store::StoreError;

/// The exchange can't start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The data directory can't be used.
    #[error("can't use {path}: check that it may be written and that its disk is not full")]
    Data {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another exchange has the data directory.
    #[error("another exchange runs on {path}: stop it, or give this one its own --data")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// What the operator wants traded can't be.
    #[error("the instruments can't be set: {0}")]
    Instruments(String),
    /// The address can't be listened on.
    #[error("can't listen on {address}: another program may have the port; try --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database can't be opened or folded.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blob store can't be opened.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The system gives no randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// The system gives no thread.
    #[error("no thread can be started: raise the limit on processes")]
    Thread(#[source] io::Error),
    /// The certificate can't be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The server failed.
    #[error("the HTTP server failed")]
    Serve(#[source] io::Error),
    /// The deciding thread died: a bug. What was answered is in the journal.
    #[error("the sequencer died; see the log above, report it, and start the exchange again")]
    SequencerDied,
}

/// A request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("give a token: `Authorization: Bearer TOKEN`")]
    TokenMissing,
    #[error("the token is unknown: check that it is whole and of this exchange")]
    UnknownToken,
    #[error("this needs the operator's token (operator.token in the exchange's data directory)")]
    OperatorOnly,
    #[error("this needs an account's token, not the operator's or a machine's")]
    AccountOnly,
    #[error("the operator's token opens no blobs: use an account's or a machine's")]
    BlobsOnly,
    #[error("the login or the password is wrong")]
    WrongPassword,
    #[error("the login `{login}` is taken: choose another one")]
    LoginTaken { login: String },
    #[error("the password has {bytes} bytes: give it {min} to {max}")]
    InvalidPassword { bytes: usize, min: usize, max: usize },
    #[error("the operator opens accounts here: ask for one")]
    SignUpClosed,
    #[error("this account is frozen: it may look and cancel; ask the operator why")]
    AccountFrozen,
    #[error("this account is banned; ask the operator why")]
    AccountBanned,
    #[error("this needs the scope {}, which the token or its account lacks", scope_name(.scope))]
    ScopeLacking { scope: Scope },
    #[error("this needs a session, or a token that may do everything that the account may")]
    WholeTokenOnly,
    #[error("the account has {held} tokens, and {max} are the most: revoke some")]
    TooManyTokens { held: usize, max: usize },
    #[error("the operator took this blob down")]
    BlobRemoved,
    #[error("{0}")]
    InvalidJson(String),
    #[error("{0}")]
    InvalidQuery(String),
    #[error("{0}")]
    InvalidId(String),
    #[error("{what} has {length} bytes: give it 1 to {max}, without control characters")]
    InvalidName { what: &'static str, length: usize, max: usize },
    #[error("`public_key` is not 64 hex digits")]
    InvalidKey,
    #[error("{0}")]
    InvalidSignature(#[from] wire::SignatureError),
    #[error("there is no {what} {id} here, or it is not yours")]
    NotFound { what: &'static str, id: String },
    #[error("there is nothing at this path: see the API's documentation")]
    NoSuchPath,
    #[error("this path has no such method: see the API's documentation")]
    MethodNotAllowed,
    #[error("the body is larger than {max} bytes")]
    BodyTooLarge { max: usize },
    #[error("the blob is larger than {max} bytes, the most this exchange stores: split it")]
    BlobTooLarge { max: u64 },
    #[error(
        "with it there would be {wanted} bytes in the store, and the quota is {quota}: what no job \
         needs goes by itself after a while, or ask the operator for more"
    )]
    QuotaExceeded { wanted: u64, quota: u64 },
    #[error("this path takes WebSockets only: {0}")]
    WebSocketExpected(String),
    #[error("the body broke off: send it again")]
    BrokenBody,
    #[error("the body came too slowly: send at least {bytes_per_second} bytes per second")]
    BodyTooSlow { bytes_per_second: u64 },
    #[error("too many requests: ask again in {} ms", .retry_after.as_millis())]
    RateLimited { retry_after: Duration },
    #[error("no answer in {ms} ms; whether it was done is unknown: ask again with the same id")]
    TimedOut { ms: u64 },
    #[error("the blob can't be read: {0}")]
    Coding(CodingError),
    #[error("{what} {digest} is not in the store: upload it to /v1/blobs first")]
    MissingBlob { what: String, digest: Digest },
    #[error("task {index}: {message}")]
    InvalidTask { index: usize, message: String },
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error("the exchange failed inside: see its log, and report it")]
    Internal,
}

impl From<CodingError> for ApiError {
    fn from(error: CodingError) -> Self {
        match error {
            CodingError::TooLong { max } => ApiError::BlobTooLarge { max },
            other => ApiError::Coding(other),
        }
    }
}

impl ApiError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            ApiError::TokenMissing => "token_missing",
            ApiError::UnknownToken => "unknown_token",
            ApiError::OperatorOnly => "operator_only",
            ApiError::AccountOnly => "account_only",
            ApiError::BlobsOnly => "blobs_only",
            ApiError::WrongPassword => "wrong_password",
            ApiError::LoginTaken { .. } => "login_conflict",
            ApiError::InvalidPassword { .. } => "invalid_password",
            ApiError::SignUpClosed => "sign_up_closed",
            ApiError::AccountFrozen => "account_frozen",
            ApiError::AccountBanned => "account_banned",
            ApiError::ScopeLacking { .. } => "scope_lacking",
            ApiError::WholeTokenOnly => "whole_token_only",
            ApiError::TooManyTokens { .. } => "too_many_tokens",
            ApiError::BlobRemoved => "blob_removed",
            ApiError::InvalidJson(_) => "invalid_json",
            ApiError::InvalidQuery(_) => "invalid_query",
            ApiError::InvalidId(_) => "invalid_id",
            ApiError::InvalidName { .. } => "invalid_name",
            ApiError::InvalidKey => "invalid_key",
            ApiError::InvalidSignature(_) => "invalid_signature",
            ApiError::NotFound { .. } => "not_found",
            ApiError::NoSuchPath => "no_such_path",
            ApiError::MethodNotAllowed => "method_not_allowed",
            ApiError::BodyTooLarge { .. } => "body_too_large",
            ApiError::BlobTooLarge { .. } => "blob_too_large",
            ApiError::QuotaExceeded { .. } => "quota_exceeded",
            ApiError::WebSocketExpected(_) => "websocket_expected",
            ApiError::BrokenBody => "broken_body",
            ApiError::Coding(CodingError::Unknown(_)) => "unknown_coding",
            ApiError::Coding(_) => "invalid_coding",
            ApiError::BodyTooSlow { .. } => "body_too_slow",
            ApiError::RateLimited { .. } => "rate_limited",
            ApiError::TimedOut { .. } => "timed_out",
            ApiError::MissingBlob { .. } => "missing_blob",
            ApiError::InvalidTask { .. } => "invalid_task",
            ApiError::Blob(BlobError::Full) | ApiError::Store(StoreError::Full) => "storage_full",
            ApiError::Blob(BlobError::Io { .. } | BlobError::Holds) | ApiError::Store(_) => {
                "storage_failed"
            }
            ApiError::Failure(failure) => failure.code(),
            ApiError::Internal => "internal",
        }
    }

    /// The figures of the message, for programs.
    fn details(&self) -> Map<String, Value> {
        let details = match self {
            ApiError::InvalidName { what, length, max } => {
                json!({ "field": what, "bytes": length, "max_bytes": max })
            }
            ApiError::LoginTaken { login } => json!({ "login": login }),
            ApiError::InvalidPassword { bytes, min, max } => {
                json!({ "bytes": bytes, "min_bytes": min, "max_bytes": max })
            }
            ApiError::ScopeLacking { scope } => json!({ "scope": scope }),
            ApiError::TooManyTokens { held, max } => json!({ "held": held, "max": max }),
            ApiError::NotFound { what, id } => json!({ "what": what, "id": id }),
            ApiError::BodyTooLarge { max } => json!({ "max_bytes": max }),
            ApiError::BlobTooLarge { max } => json!({ "max_bytes": max }),
            ApiError::QuotaExceeded { wanted, quota } => {
                json!({ "wanted_bytes": wanted, "quota_bytes": quota })
            }
            ApiError::BodyTooSlow { bytes_per_second } => {
                json!({ "bytes_per_second": bytes_per_second })
            }
            ApiError::RateLimited { retry_after } => {
                json!({ "retry_after_ms": retry_after.as_millis() as u64 })
            }
            ApiError::TimedOut { ms } => json!({ "ms": ms }),
            ApiError::MissingBlob { digest, .. } => json!({ "digest": digest }),
            ApiError::InvalidTask { index, .. } => json!({ "task": index }),
            ApiError::Failure(failure) => failure.details(),
            _ => Value::Null,
        };
        match details {
            Value::Object(details) => details,
            _ => Map::new(),
        }
    }
}

fn scope_name(scope: &Scope) -> &'static str {
    match scope {
        Scope::Read => "`read`",
        Scope::Trade => "`trade`",
        Scope::Operate => "`operate`",
    }
}

/// The status that goes with a code.
pub(crate) fn status_of(code: &str) -> StatusCode {
    match code {
        "token_missing" | "unknown_token" | "wrong_password" => StatusCode::UNAUTHORIZED,
        "insufficient_funds" => StatusCode::PAYMENT_REQUIRED,
        "operator_only" | "account_only" | "blobs_only" | "join_code_refused"
        | "sign_up_closed" | "account_frozen" | "account_banned" | "scope_lacking"
        | "whole_token_only" | "quota_exceeded" => StatusCode::FORBIDDEN,
        "blob_removed" => StatusCode::GONE,
        "not_found" | "no_such_path" => StatusCode::NOT_FOUND,
        "method_not_allowed" => StatusCode::METHOD_NOT_ALLOWED,
        "machine_owned" => StatusCode::CONFLICT,
        "body_too_large" | "blob_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "unknown_coding" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "body_too_slow" => StatusCode::REQUEST_TIMEOUT,
        "rate_limited" => StatusCode::TOO_MANY_REQUESTS,
        "timed_out" => StatusCode::GATEWAY_TIMEOUT,
        "invalid_task" => StatusCode::UNPROCESSABLE_ENTITY,
        "broken_body" | "websocket_expected" => StatusCode::BAD_REQUEST,
        "storage_full" => StatusCode::INSUFFICIENT_STORAGE,
        "storage_failed" | "shutting_down" => StatusCode::SERVICE_UNAVAILABLE,
        "internal" => StatusCode::INTERNAL_SERVER_ERROR,
        // The others say by their names what kind they are; most are rejections of clearing.
        other if other.starts_with("invalid_") => StatusCode::BAD_REQUEST,
        other if other.starts_with("unknown_") => StatusCode::NOT_FOUND,
        other if other.ends_with("_conflict") => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl Failure {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Failure::Rejected(rejection) => rejection.code(),
            Failure::JoinCode(_) => "join_code_refused",
            Failure::TooManyLiveTasks { .. } => "too_many_live_tasks",
            Failure::StorageFull => "storage_full",
            Failure::StorageFailed => "storage_failed",
            Failure::Stopped => "shutting_down",
        }
    }
}

impl Failure {
    fn details(&self) -> Value {
        match self {
            Failure::Rejected(rejection) => fields(serde_json::to_value(rejection)),
            Failure::TooManyLiveTasks { live, tasks, max } => {
                json!({ "live": live, "tasks": tasks, "max": max })
            }
            _ => Value::Null,
        }
    }
}

/// The fields of a variant, without its name and that of the variant around it.
fn fields(variant: Result<Value, serde_json::Error>) -> Value {
    let mut fields = variant.unwrap_or_default();
    while let Value::Object(object) = &mut fields
        && object.len() == 1
        && let Some((name, inner)) = object.iter_mut().next()
        && name.starts_with(|first: char| first.is_ascii_uppercase())
    {
        fields = inner.take();
    }
    fields
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = status_of(self.code());
        if status.is_server_error() {
            tracing::error!(error = ?self, "request failed");
        }
        let body = ErrorBody {
            code: self.code().to_owned(),
            message: self.to_string(),
            details: self.details(),
        };
        (status, Json(body)).into_response()
    }
}
