//! A refusal must reach its client even while that is still sending.
//!
//! A server that answers early and closes makes the client's kernel report a broken pipe, and
//! throw the answer away: "too large" and "disk full" would look like an exchange that can't be
//! reached, which is worth trying again. So what is left of a refused body is read, and dropped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{StreamExt, stream};

/// What is read of a refused body, and for how long: a client that goes on beyond that is cut
/// off, and may not hear why.
const BYTES_MAX: usize = 256 << 20;
const TIME_MAX: Duration = Duration::from_secs(10);

/// Runs a handler; if it refuses before the end of the body, reads the rest in the background.
pub(super) async fn read_out(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body.into_data_stream()));
    let lent = Arc::clone(&body);
    let lent = stream::poll_fn(move |context| {
        lent.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(context)
    });
    let response = next.run(Request::from_parts(parts, Body::from_stream(lent))).await;
    // The handler's end of it is gone by now, unless something still reads on: then it is its.
    if !response.status().is_success()
        && let Some(body) = Arc::into_inner(body)
    {
        let rest = body.into_inner().unwrap_or_else(PoisonError::into_inner);
        tokio::spawn(tokio::time::timeout(TIME_MAX, drop_rest(rest)));
    }
    response
}

async fn drop_rest(mut rest: BodyDataStream) {
    let mut read = 0;
    while let Some(Ok(piece)) = rest.next().await {
        read += piece.len();
        if read > BYTES_MAX {
            break;
        }
    }
}
