//! Blobs: uploaded only when the exchange lacks them, checked when they come back.

use base::Digest;
use futures_util::stream::{self, TryStreamExt};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use reqwest::{Method, StatusCode};
use wire::{Arriving, BLOB_BYTES_MAX, BlobQuery, BlobStored, ZSTD, accepts_zstd};

use crate::{Client, ClientError};

/// Uploads at once.
const CONCURRENCY: usize = 8;
/// Digests in one question.
const QUERY_DIGESTS_MAX: usize = 4096;

impl Client {
    /// Uploads those of `blobs` that the exchange lacks for this account.
    pub async fn store(&self, blobs: &[&[u8]]) -> Result<(), ClientError> {
        let addressed: Vec<(Digest, &[u8])> =
            blobs.iter().map(|bytes| (Digest::of(bytes), *bytes)).collect();
        for batch in addressed.chunks(QUERY_DIGESTS_MAX) {
            let query = BlobQuery { digests: batch.iter().map(|(digest, _)| *digest).collect() };
            let question = self.request(Method::POST, "/v1/blobs/missing").json(&query);
            let answer = self.answer(question).await?;
            let mut accepted = answer.headers().get_all(ACCEPT_ENCODING).iter();
            let zstd = accepted.any(|value| value.to_str().is_ok_and(accepts_zstd));
            let lacking: BlobQuery = self.read(answer).await?;
            let mut wanted: Vec<_> =
                batch.iter().filter(|(digest, _)| lacking.digests.contains(digest)).collect();
            wanted.sort_by_key(|(digest, _)| *digest);
            wanted.dedup_by_key(|(digest, _)| *digest);
            stream::iter(wanted.into_iter().map(Ok))
                .try_for_each_concurrent(CONCURRENCY, |(digest, bytes)| {
                    self.upload(*digest, bytes, zstd)
                })
                .await?;
        }
        Ok(())
    }

    async fn upload(&self, digest: Digest, bytes: &[u8], zstd: bool) -> Result<(), ClientError> {
        let request = self.request(Method::POST, "/v1/blobs");
        let request = match zstd.then(|| wire::encode(bytes)).flatten() {
            Some(encoded) => request.header(CONTENT_ENCODING, ZSTD).body(encoded),
            None => request.body(bytes.to_vec()),
        };
        let response = self.answer(request).await?;
        let stored: BlobStored = self.read(response).await?;
        if stored.digest == digest { Ok(()) } else { Err(ClientError::Altered(digest)) }
    }

    /// A blob, checked against its address.
    pub async fn blob(&self, digest: Digest) -> Result<Vec<u8>, ClientError> {
        if digest == Digest::of(b"") {
            return Ok(Vec::new());
        }
        let request = self.request(Method::GET, &format!("/v1/blobs/{digest}"));
        let request = request.header(ACCEPT_ENCODING, ZSTD);
        let mut response = match self.answer(request).await {
            Err(ClientError::NotAnExchange { .. }) => {
                return Err(ClientError::Refused {
                    status: StatusCode::NOT_FOUND.as_u16(),
                    code: "unknown_blob".to_owned(),
                    message: format!("the exchange does not have blob {digest}"),
                });
            }
            other => other?,
        };
        let coding = |source| ClientError::Coding { digest, source };
        let named = response.headers().get(CONTENT_ENCODING);
        let named = named.map(|value| value.to_str().unwrap_or("(not text)"));
        let mut arriving = Arriving::new(named, BLOB_BYTES_MAX).map_err(coding)?;
        while let Some(piece) = response.chunk().await.map_err(|e| self.unreachable(e))? {
            arriving.push(&piece).map_err(coding)?;
        }
        let bytes = arriving.finish().map_err(coding)?;
        if Digest::of(&bytes) == digest { Ok(bytes) } else { Err(ClientError::Altered(digest)) }
    }

    /// A JSON blob such as a spec or a result.
    pub async fn json_blob<T: serde::de::DeserializeOwned>(
        &self,
        digest: Digest,
    ) -> Result<T, ClientError> {
        let bytes = self.blob(digest).await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::NotAnExchange {
            url: self.url().to_owned(),
            problem: format!("blob {digest}: {error}"),
        })
    }
}
