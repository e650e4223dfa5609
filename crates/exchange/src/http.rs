//! The REST API: who asks, for what, in which words. Each handler turns wire types into a
//! command or a look at the state and back; it decides nothing.

mod accounts;
mod admission;
mod blobs;
mod body;
pub(crate) mod caller;
mod candles;
#[cfg(test)]
mod codes;
mod document;
mod feed;
mod fixed;
mod headers;
mod health;
mod history;
mod jobs;
mod machines;
mod market;
mod operator;
mod page;
mod payments;
mod quota;
mod reference;
mod sessions;
mod statements;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::config::limits;
use crate::error::ApiError;
use crate::text;

use body::{JsonBody, QueryOf};
use caller::{Account, BlobUser, Operator};
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
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/v1/openapi.json", get(async move || described.serve_json()))
        .route("/v1/reference", get(async move || page.serve_page()))
        .fallback(async || ApiError::NoSuchPath)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(from_fn_with_state(Arc::clone(&app), body::watch))
        .layer(from_fn_with_state(Arc::clone(&app), admission::admit))
        .layer(from_fn_with_state(Arc::clone(&app), headers::secure))
        .layer(from_fn_with_state(Arc::clone(&app), health::observe))
        .with_state(app)
}

/// The API and its description, of one making: a route that isn't described can't be added here.
fn described_routes() -> (Router<Arc<App>>, OpenApi) {
    let (routes, description) = OpenApiRouter::with_openapi(document::base())
        .routes(routes!(accounts::exchange))
        .routes(routes!(accounts::open))
        .routes(routes!(sessions::sign_up))
        .routes(routes!(sessions::sign_in, sessions::sign_out))
        .routes(routes!(sessions::list, sessions::make))
        .routes(routes!(sessions::revoke))
        .routes(routes!(operator::accounts))
        .routes(routes!(operator::standing))
        .routes(routes!(quota::show))
        .routes(routes!(quota::set))
        .routes(routes!(operator::kill))
        .routes(routes!(operator::remove_blob))
        .routes(routes!(operator::acts))
        .routes(routes!(operator::instruments, operator::set_instruments))
        .routes(routes!(accounts::deposit))
        .routes(routes!(accounts::wallet))
        .routes(routes!(accounts::transfers))
        .routes(routes!(statements::show))
        .routes(routes!(payments::list, payments::request))
        .routes(routes!(payments::show))
        .routes(routes!(payments::cancel))
        .routes(routes!(payments::decide))
        .routes(routes!(payments::fees, payments::set_fees))
        .routes(routes!(accounts::audit))
        .routes(routes!(machines::join_code))
        .routes(routes!(machines::list, machines::enrol))
        .routes(routes!(machines::show, machines::retire))
        .routes(routes!(machines::runtimes))
        .routes(routes!(blobs::store))
        // HEAD is GET without the body, but needs no reading of the file.
        .routes(routes!(blobs::fetch, blobs::length))
        .routes(routes!(blobs::missing))
        .routes(routes!(jobs::list, jobs::submit))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::top_up))
        .routes(routes!(jobs::invoice_of))
        .routes(routes!(jobs::leases))
        .routes(routes!(market::orders, market::place, market::cancel_all))
        .routes(routes!(market::order, market::cancel))
        .routes(routes!(market::cancel_after))
        .routes(routes!(market::instruments))
        .routes(routes!(market::book))
        .routes(routes!(market::trades))
        .routes(routes!(candles::candles))
        .routes(routes!(candles::ticker))
        .routes(routes!(candles::reference_prices))
        .routes(routes!(fixed::offers))
        .routes(routes!(fixed::list, fixed::open))
        .routes(routes!(fixed::show, fixed::notice))
        .routes(routes!(fixed::set_offer))
        .routes(routes!(feed::connect))
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
