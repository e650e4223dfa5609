//! Bodies of requests: how much is taken, how slowly, and what becomes of one that nobody wants.
//!
//! **A pace.** A body that comes more slowly than [`BYTES_PER_SECOND`] in the long run is broken
//! off, so that no sender can keep a connection and what belongs to it for ever.
//!
//! **Memory.** What is gathered for one request stays small, but for a few at a time: ten thousand
//! senders of large JSON take turns.
//!
//! **Refusals.** A server that answers early and closes makes the client's kernel report a broken
//! pipe, and throw the answer away: "too large" and "disk full" would look like an exchange that
//! can't be reached, which is worth trying again. So what is left of a refused body is read, and
//! dropped.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep_until};

use super::caller;
use crate::app::App;
use crate::config::limits;
use crate::error::ApiError;

/// The least pace: an hour and eight minutes for the largest blob.
const BYTES_PER_SECOND: u64 = 16 << 10;
/// What is gathered of a JSON body without waiting for a turn; also the most that somebody may
/// send who shows no token.
const SMALL_BYTES: usize = 64 << 10;
/// What is read of a refused body, and for how long: a client that goes on beyond that is cut
/// off, and may not hear why.
const REFUSED_BYTES_MAX: usize = 256 << 20;
const REFUSED_TIME_MAX: Duration = Duration::from_secs(10);

/// A body came too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
struct TooSlow;

/// A body under way, and until when its next piece must come.
struct Paced {
    body: BodyDataStream,
    begun: Instant,
    grace: Duration,
    received: u64,
    due: Pin<Box<Sleep>>,
}

impl Paced {
    fn new(body: Body, grace: Duration) -> Self {
        let begun = Instant::now();
        let due = Box::pin(sleep_until(begun + grace));
        Paced { body: body.into_data_stream(), begun, grace, received: 0, due }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
        let polled = self.body.poll_next_unpin(context);
        match &polled {
            Poll::Ready(Some(Ok(piece))) => {
                self.received += piece.len() as u64;
                let earned = Duration::from_millis(self.received * 1_000 / BYTES_PER_SECOND);
                self.due.as_mut().reset(self.begun + self.grace + earned);
            }
            Poll::Ready(_) => {}
            Poll::Pending => {
                if self.due.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
                }
            }
        }
        polled
    }
}

/// Hands the handler a body that keeps its pace; if it refuses before the end, reads the rest in
/// the background.
pub(super) async fn watch(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST && request.method() != Method::PUT {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let grace = Duration::from_millis(app.config.body_grace_ms);
    let body = Arc::new(Mutex::new(Paced::new(body, grace)));
    let lent = Arc::clone(&body);
    let lent = stream::poll_fn(move |context| {
        lent.lock().unwrap_or_else(PoisonError::into_inner).poll(context)
    });
    let response = next.run(Request::from_parts(parts, Body::from_stream(lent))).await;
    // The handler's end of it is gone by now, unless something still reads on: then it is its.
    if !response.status().is_success()
        && let Some(body) = Arc::into_inner(body)
    {
        let rest = body.into_inner().unwrap_or_else(PoisonError::into_inner).body;
        tokio::spawn(tokio::time::timeout(REFUSED_TIME_MAX, drop_rest(rest)));
    }
    response
}

async fn drop_rest(mut rest: BodyDataStream) {
    let mut read = 0;
    while let Some(Ok(piece)) = rest.next().await {
        read += piece.len();
        if read > REFUSED_BYTES_MAX {
            break;
        }
    }
}

/// What a body's error means to whoever sent it.
pub(super) fn broken(error: axum::Error) -> ApiError {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        if error.is::<TooSlow>() {
            return ApiError::BodyTooSlow { bytes_per_second: BYTES_PER_SECOND };
        }
        cause = error.source();
    }
    ApiError::BrokenBody
}

/// A query; an error names the parameter.
pub(super) struct QueryOf<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Query(query) = Query::<T>::from_request_parts(parts, app)
            .await
            .map_err(|error| ApiError::InvalidQuery(error.body_text()))?;
        Ok(QueryOf(query))
    }
}

/// A JSON body; an error names the field. The content type isn't insisted upon.
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let known = caller::of(request.extensions()).is_known();
        let max = if known { limits::JSON_BODY_BYTES } else { SMALL_BYTES };
        let mut body = request.into_body().into_data_stream();
        let (mut bytes, mut turn) = (Vec::new(), None);
        while let Some(piece) = body.next().await.transpose().map_err(broken)? {
            let length = bytes.len() + piece.len();
            if length > max {
                return Err(ApiError::BodyTooLarge { max });
            }
            if length > SMALL_BYTES && turn.is_none() {
                let waited = app.large_bodies.acquire().await;
                turn = Some(waited.map_err(|_| ApiError::Internal)?);
            }
            bytes.extend_from_slice(&piece);
        }
        let Json(value) =
            Json::from_bytes(&bytes).map_err(|error| ApiError::InvalidJson(error.body_text()))?;
        Ok(JsonBody(value))
    }
}
