//! Blobs over HTTP.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, VARY,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use base::Digest;
use futures_util::{StreamExt, stream};
use wire::{BlobQuery, BlobStored, Decoder, ZSTD, accepts_zstd};

use super::body::broken;
use super::quota;
use super::{Answer, BlobUser, Id, JsonBody, Shared, octets};
use crate::app::App;
use crate::blobs::{BlobError, BlobStore, BlobWriter};
use crate::config::limits;
use crate::error::ApiError;
use crate::grants::{Granted, Reader};
use crate::holds::NOBODY;
use crate::sequencer::unix_ms;
use crate::spec::MODULE_HEADER;

/// Upload bytes gathered before a thread is bothered with them.
const PIECE_BYTES: usize = 256 << 10;
/// What is handed to a connection at a time on the way down, of which there may be thousands.
const SENT_BYTES: usize = 64 << 10;

/// Store a blob
///
/// With an account's or a machine's token. The same content is stored once, and is held by
/// everybody who sent it, within a quota. It may come in zstd
/// (`content-encoding`); the address is that of the content as it is.
#[utoipa::path(
    post, path = "/v1/blobs", operation_id = "store_blob", tag = "blobs",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = OK, body = BlobStored, description = "Its address")),
)]
pub(super) async fn store(
    BlobUser(reader): BlobUser,
    State(app): Shared,
    request: Request,
) -> Answer<BlobStored> {
    let blob_max = app.config.blob_max_bytes;
    // What is refused at once; the rest when it has said what it is.
    let max = app.config.module_max_bytes.max(blob_max);
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > max) {
        return Err(ApiError::BlobTooLarge { max });
    }
    let quota = quota::of(&app, reader).await?;
    let holder = reader.holder();
    if app.holds.held_bytes(&holder)? >= quota && announced != Some(0) {
        return Err(ApiError::QuotaExceeded { wanted: quota.saturating_add(1), quota });
    }
    let coding = request.headers().get(CONTENT_ENCODING);
    let coding = coding.map(|value| value.to_str().unwrap_or("(not text)"));
    let decoder = Decoder::new(coding, max)?;
    // Held to the end: what is in memory of all uploads together stays bounded.
    let _turn = app.blob_writes.acquire().await.map_err(|_| ApiError::Internal)?;
    let mut body = request.into_body().into_data_stream();
    let writer = app.with_blobs(|blobs| blobs.begin()).await?;
    let mut upload = Upload { decoder, writer, head: Vec::new(), bytes: 0, blob_max };
    let (mut piece, mut total) = (Vec::new(), 0);
    loop {
        let next = body.next().await.transpose().map_err(broken)?;
        let ended = next.is_none();
        if let Some(bytes) = next {
            total += bytes.len() as u64;
            if total > max {
                return Err(ApiError::BlobTooLarge { max });
            }
            piece.extend_from_slice(&bytes);
        }
        if ended {
            let (digest, bytes) = end(&app, upload, piece, holder, quota).await?;
            if app.reading(move |reader| reader.is_blocked(&digest)).await? {
                app.with_blobs(move |blobs| blobs.remove(&digest)).await?;
                app.holds.forget(&digest)?;
                return Err(ApiError::BlobRemoved);
            }
            return Ok(Json(BlobStored { digest, bytes }));
        }
        if piece.len() >= PIECE_BYTES {
            let took = app.with_blobs(move |_| {
                Ok(upload.take(&piece).map(|()| {
                    piece.clear();
                    (upload, piece)
                }))
            });
            (upload, piece) = took.await??;
        }
    }
}

/// The blob is whole: it is stored, and held by who sent it.
async fn end(
    app: &Arc<App>,
    upload: Upload,
    piece: Vec<u8>,
    holder: String,
    quota: u64,
) -> Result<(Digest, u64), ApiError> {
    let holding = Arc::clone(app);
    let stored = tokio::task::spawn_blocking(move || {
        let _turn = holding.holds.storing();
        let (digest, bytes) = upload.end(&piece)?;
        let (now_ms, nobody) = (unix_ms(), BTreeSet::new());
        if !holding.holds.is_held(&digest, &holder, &nobody, now_ms)? {
            let wanted = holding.holds.held_bytes(&holder)?.saturating_add(bytes);
            if wanted > quota {
                // Nobody's, and so the next to be collected, unless it is somebody else's.
                holding.holds.hold(NOBODY, &[(digest, bytes)], i64::MIN)?;
                return Err(ApiError::QuotaExceeded { wanted, quota });
            }
        }
        holding.holds.hold(&holder, &[(digest, bytes)], now_ms)?;
        Ok((digest, bytes))
    });
    stored.await.map_err(|_| ApiError::Internal)?
}

/// A blob on its way in.
struct Upload {
    decoder: Decoder,
    writer: Box<dyn BlobWriter>,
    /// Its first bytes, and how many there were so far: what begins as a module may be larger.
    head: Vec<u8>,
    bytes: u64,
    blob_max: u64,
}

impl Upload {
    fn take(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        let Upload { decoder, writer, head, bytes, blob_max } = self;
        decoder.push(piece, |part| {
            let room = MODULE_HEADER.len() - head.len();
            head.extend(part.iter().take(room));
            *bytes += part.len() as u64;
            if *bytes > *blob_max && *head != MODULE_HEADER {
                return Err(ApiError::BlobTooLarge { max: *blob_max });
            }
            Ok(writer.write(part)?)
        })
    }

    fn end(mut self, piece: &[u8]) -> Result<(Digest, u64), ApiError> {
        self.take(piece)?;
        self.decoder.finish()?;
        Ok(self.writer.finish()?)
    }
}

/// A blob's content
///
/// With the token of who sent it or works with who did: a machine reads what the job of its lease
/// needs, a buyer what its tasks came to. In zstd where `accept-encoding` lists it.
#[utoipa::path(
    get, path = "/v1/blobs/{digest}", operation_id = "fetch_blob", tag = "blobs",
    params(("digest" = Digest, Path, description = "The digest of its content")),
    responses((status = OK, body = Vec<u8>, content_type = "application/octet-stream", description = "Its bytes")),
)]
pub(super) async fn fetch(
    BlobUser(reader): BlobUser,
    State(app): Shared,
    Id(digest): Id<Digest>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // For as long as the disk takes, never for as long as the client does.
    let permit = app.blob_reads.acquire().await.map_err(|_| ApiError::Internal)?;
    let reader = granted(&app, reader, move |blobs| blobs.open(&digest)).await?;
    drop(permit);
    let reader = reader.ok_or_else(|| unknown(digest))?;
    let length = reader.length();
    let mut accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    let in_zstd = length >= wire::CODED_BYTES_MIN && accepted.any(accepts_zstd);
    let pieces = stream::try_unfold((app, reader), move |(app, mut reader)| async move {
        // Each holds a piece in memory at most, however slowly it is taken.
        let read = move |_: &dyn BlobStore| {
            let piece = reader.read(SENT_BYTES)?;
            let is_last = piece.is_empty();
            // Each is a frame by itself, so that nothing is kept between them.
            let piece = if in_zstd && !is_last { wire::frame(&piece) } else { Ok(piece) };
            Ok(piece.map(|piece| (!is_last).then_some((Bytes::from(piece), reader))))
        };
        let next = app.with_blobs(read).await?.map_err(|_| ApiError::Internal)?;
        Ok::<_, ApiError>(next.map(|(piece, reader)| (piece, (app, reader))))
    });
    let body = Body::from_stream(pieces);
    let mut response = if in_zstd {
        // How long it will be is known at its end.
        let headers = [(CONTENT_TYPE, "application/octet-stream"), (CONTENT_ENCODING, ZSTD)];
        (headers, body).into_response()
    } else {
        octets(body, length)
    };
    response.headers_mut().insert(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    Ok(response)
}

/// A blob's length
///
/// With an account's or a machine's token. The length is in `content-length`.
#[utoipa::path(
    head, path = "/v1/blobs/{digest}", operation_id = "measure_blob", tag = "blobs",
    params(("digest" = Digest, Path, description = "The digest of its content")),
    responses((status = OK, description = "It is there")),
)]
pub(super) async fn length(
    BlobUser(reader): BlobUser,
    State(app): Shared,
    Id(digest): Id<Digest>,
) -> Result<Response, ApiError> {
    let length = granted(&app, reader, move |blobs| blobs.length(&digest)).await?;
    Ok(octets(Body::empty(), length.ok_or_else(|| unknown(digest))?))
}

/// Which of these blobs are lacking?
///
/// With an account's or a machine's token: what need not be uploaded is left out.
#[utoipa::path(
    post, path = "/v1/blobs/missing", operation_id = "missing_blobs", tag = "blobs",
    request_body = BlobQuery,
    responses((status = OK, body = BlobQuery, description = "Those that are lacking")),
)]
pub(super) async fn missing(
    BlobUser(reader): BlobUser,
    State(app): Shared,
    JsonBody(query): JsonBody<BlobQuery>,
) -> Result<([(HeaderName, &'static str); 1], Json<BlobQuery>), ApiError> {
    if query.digests.len() > limits::QUERY_DIGESTS {
        let message = format!("digests: more than {}; ask in parts", limits::QUERY_DIGESTS);
        return Err(ApiError::InvalidJson(message));
    }
    let blobs = Granted::now(&app, reader).await?;
    let lacking = tokio::task::spawn_blocking(move || {
        let mut lacking = Vec::new();
        for digest in query.digests {
            if !blobs.contains(&digest)? {
                lacking.push(digest);
            }
        }
        Ok::<_, ApiError>(lacking)
    });
    let digests = lacking.await.map_err(|_| ApiError::Internal)??;
    // Whoever uploads asks this first, and so learns what may be sent.
    Ok(([(ACCEPT_ENCODING, ZSTD)], Json(BlobQuery { digests })))
}

/// Looks for something that the reader may read; once more with a fresh look at who works with
/// whom, since a lease may have opened this instant.
async fn granted<T: Send + 'static>(
    app: &Arc<App>,
    reader: Reader,
    look: impl Fn(&dyn BlobStore) -> Result<Option<T>, BlobError> + Clone + Send + 'static,
) -> Result<Option<T>, ApiError> {
    let (blobs, again) = (Granted::of(app, reader).await?, look.clone());
    let found = tokio::task::spawn_blocking(move || look(&blobs));
    if let Some(found) = found.await.map_err(|_| ApiError::Internal)?? {
        return Ok(Some(found));
    }
    let blobs = Granted::now(app, reader).await?;
    let found = tokio::task::spawn_blocking(move || again(&blobs));
    Ok(found.await.map_err(|_| ApiError::Internal)??)
}

fn unknown(digest: Digest) -> ApiError {
    ApiError::NotFound { what: "blob", id: digest.to_string() }
}
