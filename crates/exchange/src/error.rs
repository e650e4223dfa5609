//! What goes wrong, once for whoever runs an exchange and once for whoever calls it.
//!
//! | status | codes |
//! |---|---|
//! | 400 | `invalid_json`, `invalid_query`, `invalid_id`, `invalid_name`, `invalid_signature`, `invalid_key`, `broken_body`, `websocket_expected` |
//! | 401 | `token_missing`, `unknown_token` |
//! | 402 | `insufficient_funds` |
//! | 403 | `operator_only`, `account_only`, `blobs_only`, `join_code_refused` |
//! | 404 | `not_found`, `no_such_path`, rejections that begin with `unknown_` |
//! | 405 | `method_not_allowed` |
//! | 409 | `machine_owned`, rejections that end with `_conflict` |
//! | 413 | `blob_too_large`, `body_too_large` |
//! | 422 | `invalid_task`, `missing_blob`, `too_many_live_tasks`, every other rejection of clearing |
//! | 500, 503, 507 | `internal`, `storage_failed`, `shutting_down`, `storage_full` |

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base::Digest;
use wire::ErrorBody;

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
    #[error("this path takes WebSockets only: {0}")]
    WebSocketExpected(String),
    #[error("the upload broke off: send the blob again")]
    BrokenBody,
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

impl ApiError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            ApiError::TokenMissing => "token_missing",
            ApiError::UnknownToken => "unknown_token",
            ApiError::OperatorOnly => "operator_only",
            ApiError::AccountOnly => "account_only",
            ApiError::BlobsOnly => "blobs_only",
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
            ApiError::WebSocketExpected(_) => "websocket_expected",
            ApiError::BrokenBody => "broken_body",
            ApiError::MissingBlob { .. } => "missing_blob",
            ApiError::InvalidTask { .. } => "invalid_task",
            ApiError::Blob(BlobError::Full) | ApiError::Store(StoreError::Full) => "storage_full",
            ApiError::Blob(BlobError::Io { .. }) | ApiError::Store(_) => "storage_failed",
            ApiError::Failure(failure) => failure.code(),
            ApiError::Internal => "internal",
        }
    }

    fn status(&self) -> StatusCode {
        match self.code() {
            "token_missing" | "unknown_token" => StatusCode::UNAUTHORIZED,
            "insufficient_funds" => StatusCode::PAYMENT_REQUIRED,
            "operator_only" | "account_only" | "blobs_only" | "join_code_refused" => {
                StatusCode::FORBIDDEN
            }
            "not_found" | "no_such_path" => StatusCode::NOT_FOUND,
            "method_not_allowed" => StatusCode::METHOD_NOT_ALLOWED,
            "body_too_large" | "blob_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_task" | "missing_blob" => StatusCode::UNPROCESSABLE_ENTITY,
            "storage_full" => StatusCode::INSUFFICIENT_STORAGE,
            "storage_failed" | "shutting_down" => StatusCode::SERVICE_UNAVAILABLE,
            "internal" => StatusCode::INTERNAL_SERVER_ERROR,
            rejection if matches!(self, ApiError::Failure(_)) => rejection_status(rejection),
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Rejections say by their names what kind they are.
fn rejection_status(code: &str) -> StatusCode {
    if code.starts_with("unknown_") {
        StatusCode::NOT_FOUND
    } else if code.ends_with("_conflict") || code == "machine_owned" {
        StatusCode::CONFLICT
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
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

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::error!(error = ?self, "request failed");
        }
        let body = ErrorBody { code: self.code().to_owned(), message: self.to_string() };
        (status, Json(body)).into_response()
    }
}
