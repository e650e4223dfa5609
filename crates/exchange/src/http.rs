//! The REST API: who asks, for what, in which words. Each handler turns wire types into a
//! command or a look at the state and back; it decides nothing.

mod accounts;
mod blobs;
mod jobs;
mod machines;
mod market;
mod refused_body;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use base::AccountId;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::config::limits;
use crate::error::ApiError;
use crate::secrets;
use crate::store::Principal;
use crate::text;

type Shared = State<Arc<App>>;
type Answer<T> = Result<Json<T>, ApiError>;

/// Every path of the exchange.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(front_page))
        .route("/v1/exchange", get(accounts::exchange))
        .route("/v1/accounts", post(accounts::open))
        .route("/v1/deposits", post(accounts::deposit))
        .route("/v1/wallet", get(accounts::wallet))
        .route("/v1/transfers", get(accounts::transfers))
        .route("/v1/audit", get(accounts::audit))
        .route("/v1/join-codes", post(machines::join_code))
        .route("/v1/machines", get(machines::list).post(machines::enrol))
        .route("/v1/machines/{id}", get(machines::show).delete(machines::retire))
        .route("/v1/blobs", post(blobs::store))
        // HEAD is GET without the body, but needs no reading of the file.
        .route("/v1/blobs/{digest}", get(blobs::fetch).head(blobs::length))
        .route("/v1/blobs/missing", post(blobs::missing))
        .route("/v1/jobs", get(jobs::list).post(jobs::submit))
        .route("/v1/jobs/{id}", get(jobs::show))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/jobs/{id}/top-up", post(jobs::top_up))
        .route("/v1/jobs/{id}/invoice", get(jobs::invoice))
        .route("/v1/leases", get(jobs::leases))
        .route("/v1/orders", get(market::orders).post(market::place))
        .route("/v1/orders/{id}", get(market::order).delete(market::cancel))
        .route("/v1/instruments", get(market::instruments))
        .route("/v1/instruments/{id}/book", get(market::book))
        .route("/v1/instruments/{id}/trades", get(market::trades))
        .route("/v1/agent", get(crate::agent::connect))
        .fallback(async || ApiError::NoSuchPath)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(from_fn(refused_body::read_out))
        .with_state(app)
}

/// For people who open a join string in a browser.
async fn front_page(State(app): Shared) -> String {
    format!(
        "This is a Jusha exchange ({}).\n\nTo offer this computer on it, run `jusha provide` with \
         the whole string that led here, in quotes.\nTo buy computing, run `jusha login {} \
         TOKEN`.\n",
        app.exchange, app.public_url
    )
}

/// Whose token a request shows.
enum Caller {
    Operator,
    Known(Principal),
}

async fn caller(parts: &Parts, app: &Arc<App>) -> Result<Caller, ApiError> {
    let token = parts
        .headers
        .get(AUTHORIZATION)
        .ok_or(ApiError::TokenMissing)?
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(ApiError::TokenMissing)?;
    let digest = secrets::digest(token);
    if digest == app.operator_token {
        return Ok(Caller::Operator);
    }
    let found = app.reading(move |reader| reader.principal(&digest)).await?;
    found.map(Caller::Known).ok_or(ApiError::UnknownToken)
}

/// The account whose token the request shows.
struct Account(AccountId);

impl FromRequestParts<Arc<App>> for Account {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        match caller(parts, app).await? {
            Caller::Known(Principal::Account(account)) => Ok(Account(account)),
            _ => Err(ApiError::AccountOnly),
        }
    }
}

/// The request shows the operator's token.
struct Operator;

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        match caller(parts, app).await? {
            Caller::Operator => Ok(Operator),
            Caller::Known(_) => Err(ApiError::OperatorOnly),
        }
    }
}

/// The request shows an account's or a machine's token.
struct BlobUser;

impl FromRequestParts<Arc<App>> for BlobUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        match caller(parts, app).await? {
            Caller::Known(_) => Ok(BlobUser),
            Caller::Operator => Err(ApiError::BlobsOnly),
        }
    }
}

/// A JSON body; an error names the field. The content type isn't insisted upon.
struct JsonBody<T>(T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, ApiError> {
        let max = limits::JSON_BODY_BYTES;
        let bytes =
            to_bytes(request.into_body(), max).await.map_err(|_| ApiError::BodyTooLarge { max })?;
        let Json(value) =
            Json::from_bytes(&bytes).map_err(|error| ApiError::InvalidJson(error.body_text()))?;
        Ok(JsonBody(value))
    }
}

/// An id, a digest or a name from the path.
struct Id<T>(T);

impl<T> FromRequestParts<Arc<App>> for Id<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|error| ApiError::InvalidId(error.body_text()))?;
        text.parse().map(Id).map_err(|error: T::Err| ApiError::InvalidId(error.to_string()))
    }
}

/// A name that people will see: bounded, and without anything that moves a cursor.
fn checked_name(what: &'static str, name: &str) -> Result<(), ApiError> {
    let max = limits::NAME_BYTES;
    if name.is_empty() || name.len() > max || name.chars().any(text::is_unsafe) {
        return Err(ApiError::InvalidName { what, length: name.len(), max });
    }
    Ok(())
}

/// Bytes as an answer, of which a part at a time is in the connection's hands.
fn octets(body: Body, length: u64) -> axum::response::Response {
    use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
    use axum::response::IntoResponse;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, length.to_string()),
    ];
    (headers, body).into_response()
}
