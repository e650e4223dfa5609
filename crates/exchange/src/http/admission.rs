//! What every request passes first: who asks, whether they ask too often, and how long the
//! answer may take.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller;
use crate::app::App;
use crate::error::ApiError;
use crate::rate::{Payer, Verdict};

/// Names of the figures that every answer carries, as in the IETF's draft that most use.
pub(super) const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
pub(super) const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
pub(super) const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Requests that one with a password counts for.
const PASSWORD_COST: u32 = 20;

/// Finds out who asks, and lets pass what is within their limits.
pub(super) async fn admit(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let address =
        caller::address(request.headers(), request.extensions(), &app.config.trusted_proxies);
    let identified = caller::identify(request.method(), request.headers(), &app).await;
    let (caller, shown) = match identified {
        Ok(identified) => identified,
        Err(error) => return error.into_response(),
    };
    let cost = cost(&request);
    let verdict = caller.payer(address).and_then(|payer| {
        let rate = match payer {
            Payer::Address(_) | Payer::Login(_) => app.config.address_rate,
            Payer::Account(_) | Payer::Machine(_) => app.config.account_rate,
        };
        let mut buckets = app.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(payer, rate, cost, Instant::now())
    });
    let refused = verdict.and_then(|verdict| verdict.retry_after);
    let mut response = match refused {
        Some(retry_after) => {
            let seconds = whole_seconds(retry_after);
            let mut refused = ApiError::RateLimited { retry_after }.into_response();
            refused.headers_mut().insert(RETRY_AFTER, seconds.into());
            refused
        }
        None => {
            request.extensions_mut().insert(caller);
            if let Some(digest) = shown {
                request.extensions_mut().insert(caller::Shown(digest));
            }
            in_time(&app, request, next).await
        }
    };
    if let Some(verdict) = verdict {
        note(&mut response, verdict);
    }
    response
}

/// What is made to be slow costs more than a look.
fn cost(request: &Request) -> u32 {
    match request.uri().path() {
        "/v1/sessions" | "/v1/sign-up" if request.method() == Method::POST => PASSWORD_COST,
        _ => 1,
    }
}

/// Runs the handler for as long as an answer may take. What it asked of the sequencer may still be
/// done after that, so the answer is that nobody knows.
async fn in_time(app: &App, request: Request, next: Next) -> Response {
    let most = match request.uri().path() {
        // A body has a pace of its own to keep, see `body`; an audit reads everything there is.
        "/v1/blobs" | "/v1/audit" => app.config.long_request_ms,
        _ => app.config.request_ms,
    };
    match tokio::time::timeout(Duration::from_millis(most), next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::TimedOut { ms: most }.into_response(),
    }
}

fn note(response: &mut Response, verdict: Verdict) {
    let headers = response.headers_mut();
    headers.insert(LIMIT, verdict.limit.into());
    headers.insert(REMAINING, verdict.remaining.into());
    headers.insert(RESET, HeaderValue::from(whole_seconds(verdict.reset)));
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX)
}
