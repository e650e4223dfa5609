//! The REST API: who asks, for what, in which words. Each handler turns wire types into a
//! command or a look at the state and back; it decides nothing.

mod accounts;
mod blobs;
#[cfg(test)]
mod codes;
mod document;
mod jobs;
mod machines;
mod market;
mod page;
mod reference;
mod refused_body;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::from_fn;
use axum::routing::get;
use base::AccountId;
use serde::de::DeserializeOwned;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::config::limits;
use crate::error::ApiError;
use crate::secrets;
use crate::store::Principal;
use crate::text;

use document::Document;
use page::{Page, Rows};

type Shared = State<Arc<App>>;
type Answer<T> = Result<Json<T>, ApiError>;
type Listed<T> = Result<Rows<T>, ApiError>;

/// Every path of the exchange.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (routes, description) = described_routes();
    let described = Document::new(&description);
    let page = described.clone();
    routes
        .route("/", get(front_page))
        .route("/v1/openapi.json", get(async move || described.serve_json()))
        .route("/v1/reference", get(async move || page.serve_page()))
        .fallback(async || ApiError::NoSuchPath)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(from_fn(refused_body::read_out))
        .with_state(app)
}

/// The API and its description, of one making: a route that isn't described can't be added here.
fn described_routes() -> (Router<Arc<App>>, OpenApi) {
    let (routes, description) = OpenApiRouter::with_openapi(document::base())
        .routes(routes!(accounts::exchange))
        .routes(routes!(accounts::open))
        .routes(routes!(accounts::deposit))
        .routes(routes!(accounts::wallet))
        .routes(routes!(accounts::transfers))
        .routes(routes!(accounts::audit))
        .routes(routes!(machines::join_code))
        .routes(routes!(machines::list, machines::enrol))
        .routes(routes!(machines::show, machines::retire))
        .routes(routes!(blobs::store))
        // HEAD is GET without the body, but needs no reading of the file.
        .routes(routes!(blobs::fetch, blobs::length))
        .routes(routes!(blobs::missing))
        .routes(routes!(jobs::list, jobs::submit))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::top_up))
        .routes(routes!(jobs::invoice))
        .routes(routes!(jobs::leases))
        .routes(routes!(market::orders, market::place))
        .routes(routes!(market::order, market::cancel))
        .routes(routes!(market::instruments))
        .routes(routes!(market::book))
        .routes(routes!(market::trades))
        .routes(routes!(crate::agent::connect))
        .split_for_parts();
    (routes, document::complete(description))
}

/// For people who open a join string in a browser.
async fn front_page(State(app): Shared) -> String {
    format!(
        "This is a Jusha exchange ({}).\n\nTo offer this computer on it, run `jusha provide` with \
         the whole string that led here, in quotes.\nTo buy computing, run `jusha login {url} \
         TOKEN`.\nThe API is described at {url}/v1/reference\n",
        app.exchange,
        url = app.public_url
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
