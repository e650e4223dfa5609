//! For whoever watches over the exchange: is it alive, does it serve, how is it doing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::caller::Operator;
use crate::app::App;
use crate::core::Core;
use crate::error::ApiError;
use crate::metrics::Now;
use crate::secrets;

/// By which a request is found in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Of an id that came with the request.
const REQUEST_ID_BYTES: usize = 64;
/// A sequencer that doesn't answer for so long serves nobody.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: requests are decided, too.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    if *app.closing.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    match tokio::time::timeout(READY_WITHIN, app.sequencer.read(|core| core.sequence)).await {
        Ok(Ok(_)) => "ready\n".into_response(),
        Ok(Err(failure)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", failure.code())).into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the sequencer is busy\n").into_response(),
    }
}

/// `GET /metrics`, for operators: figures are nobody else's business.
pub(super) async fn metrics(
    _: Operator,
    State(app): State<Arc<App>>,
) -> Result<Response, ApiError> {
    let waiting_requests = app.sequencer.waiting();
    let now = move |core: &mut Core| Now {
        journal_sequence: core.sequence,
        agents: core.presence.online(),
        waiting_requests,
        held: core.held(),
    };
    let text = app.metrics.text(app.sequencer.read(now).await?);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// Gives the request an id, which goes into the log and back with the answer, and counts it.
pub(super) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", id, %method, path);
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    app.metrics.answered(method.as_str(), status, took);
    span.in_scope(|| tracing::debug!(status, ms = took.as_millis() as u64, "answered"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The client's own, if it is one; else a new one.
fn request_id(request: &Request) -> String {
    let told = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_plain = |id: &&str| {
        (1..=REQUEST_ID_BYTES).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match told.filter(is_plain) {
        Some(id) => id.to_owned(),
        // Without randomness no connection would have come this far.
        None => secrets::random::<8>().map(|bytes| wire::hex(&bytes)).unwrap_or_default(),
    }
}
