//! Blobs go through the exchange over HTTP; modules and inputs are kept on disk.
//!
//! Nothing is used before its digest was checked, whether it comes from the network or from
//! the cache: the cache may be damaged by a crash or a full disk, and costs only a download.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base::Digest;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use reqwest::{Body, RequestBuilder, StatusCode};
use tls::Trust;
use tokio::time::{Instant, sleep_until};
use wire::{
    Arriving, BLOB_BYTES_MAX, BlobQuery, BlobStored, CodingError, ErrorBody, ZSTD, accepts_zstd,
};

use crate::pace::Line;
use crate::{Runtime, durable};

/// The cache is trimmed to this when it has grown past it.
const CACHE_BYTES_MAX: u64 = 4 << 30;
/// Transfers at once per attempt.
const CONCURRENCY: usize = 8;
/// Digests in one question: about 270 kB of JSON.
const QUERY_DIGESTS_MAX: usize = 4096;
/// For one upload at the owner's rate.
const PACED_MAX: Duration = Duration::from_secs(900);
/// What is sent in one go when the owner limits the rate.
const PIECE_BYTES: usize = 16 << 10;
/// A transfer that stands still for so long is tried again.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Access to the exchange's blobs.
#[derive(Clone)]
pub(crate) struct Blobs {
    http: reqwest::Client,
    /// For uploads at the owner's rate, during which nothing is heard for long.
    patient: reqwest::Client,
    url: String,
    token: String,
    cache: PathBuf,
    /// What is on this computer anyway.
    installed: Arc<BTreeMap<Digest, PathBuf>>,
    line: Line,
}

/// Why a blob could not be had or stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("the exchange can't be reached for a blob")]
    Unreachable(#[source] reqwest::Error),
    #[error("the exchange does not have blob {0}")]
    Absent(Digest),
    #[error("blob {0} arrived altered")]
    Altered(Digest),
    #[error("blob {0} can't be read")]
    Coding(Digest, #[source] CodingError),
    #[error("the exchange refused a blob request: {message} ({code}, {status})")]
    Refused { status: StatusCode, code: String, message: String },
}

impl BlobError {
    /// Whether it is worth trying again.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            BlobError::Unreachable(_) | BlobError::Altered(_) => true,
            BlobError::Absent(_) | BlobError::Coding(_, CodingError::TooLong { .. }) => false,
            BlobError::Coding(..) => true,
            // A full disk at the exchange (507) is mended sooner or later, too.
            BlobError::Refused { status, .. } => {
                status.is_server_error()
                    || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status)
            }
        }
    }
}

impl Blobs {
    pub(crate) fn new(url: &str, trust: &Trust, token: &str, cache: PathBuf) -> Self {
        trim(&cache, CACHE_BYTES_MAX);
        let builder = || {
            let builder = crate::enrol::http(reqwest::Client::builder(), trust);
            builder.connect_timeout(Duration::from_secs(10))
        };
        let http = builder().read_timeout(STALL_MAX).build().unwrap_or_default();
        let patient = builder().timeout(PACED_MAX).build().unwrap_or_default();
        let installed = Arc::default();
        let (url, token, line) = (url.to_owned(), token.to_owned(), Line::default());
        Blobs { http, patient, url, token, cache, installed, line }
    }

    /// Takes modules and bases of these from where they are.
    pub(crate) fn with_runtimes(self, runtimes: &[Runtime]) -> Self {
        let installed = runtimes
            .iter()
            .flat_map(|runtime| {
                [runtime.module.clone(), (runtime.terms.base, runtime.base.clone())]
            })
            .collect();
        Blobs { installed: Arc::new(installed), ..self }
    }

    /// The owner's line, which all transfers share.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// Keeps the cache within its limit. Blocks on the disk.
    pub(crate) fn trim(&self) {
        trim(&self.cache, CACHE_BYTES_MAX);
    }

    /// A blob that may be wanted again: looked for in the cache first, kept there afterwards.
    pub(crate) async fn fetch(&self, digest: Digest) -> Result<Vec<u8>, BlobError> {
        if let Some(path) = self.installed.get(&digest)
            && let Some(bytes) = fs::read(path).ok().filter(|bytes| Digest::of(bytes) == digest)
        {
            return Ok(bytes);
        }
        let path = self.cache.join(digest.to_hex());
        if let Some(bytes) = cached(&path, digest) {
            return Ok(bytes);
        }
        let bytes = self.download(digest).await?;
        if let Err(error) = durable::keep(&path, &bytes) {
            tracing::warn!("blob {digest} is not cached: {error}");
        }
        Ok(bytes)
    }

    /// A blob that won't be wanted again.
    pub(crate) async fn download(&self, digest: Digest) -> Result<Vec<u8>, BlobError> {
        // What everybody knows need not travel: most tasks have empty output.
        if digest == Digest::of(b"") {
            return Ok(Vec::new());
        }
        let mut response = self
            .http
            .get(format!("{}/v1/blobs/{digest}", self.url))
            .bearer_auth(&self.token)
            .header(ACCEPT_ENCODING, ZSTD)
            .send()
            .await
            .map_err(BlobError::Unreachable)?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(BlobError::Absent(digest));
        }
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let coding = |error| BlobError::Coding(digest, error);
        let named = response.headers().get(CONTENT_ENCODING);
        let named = named.map(|value| value.to_str().unwrap_or("(not text)"));
        let mut arriving = Arriving::new(named, BLOB_BYTES_MAX).map_err(coding)?;
        while let Some(piece) = response.chunk().await.map_err(BlobError::Unreachable)? {
            self.line.moved(piece.len() as u64);
            arriving.push(&piece).map_err(coding)?;
        }
        let bytes = arriving.finish().map_err(coding)?;
        if Digest::of(&bytes) == digest { Ok(bytes) } else { Err(BlobError::Altered(digest)) }
    }

    /// Several at once.
    pub(crate) async fn download_all(
        &self,
        digests: Vec<Digest>,
    ) -> Result<Vec<(Digest, Vec<u8>)>, BlobError> {
        stream::iter(digests)
            .map(|digest| async move { Ok((digest, self.download(digest).await?)) })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    /// Uploads those of `blobs` that the exchange lacks.
    pub(crate) async fn store(&self, blobs: &[(Digest, &[u8])]) -> Result<(), BlobError> {
        for batch in blobs.chunks(QUERY_DIGESTS_MAX) {
            let (lacking, zstd) =
                self.lacking(batch.iter().map(|(digest, _)| *digest).collect()).await?;
            stream::iter(batch.iter().filter(|(digest, _)| lacking.contains(digest)).map(Ok))
                .try_for_each_concurrent(CONCURRENCY, |(digest, bytes)| {
                    self.upload(*digest, bytes, zstd)
                })
                .await?;
        }
        Ok(())
    }

    /// Which of them the exchange lacks, and whether it takes them in zstd.
    async fn lacking(&self, digests: Vec<Digest>) -> Result<(Vec<Digest>, bool), BlobError> {
        let response = self
            .http
            .post(format!("{}/v1/blobs/missing", self.url))
            .bearer_auth(&self.token)
            .json(&BlobQuery { digests })
            .send()
            .await
            .map_err(BlobError::Unreachable)?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let mut accepted = response.headers().get_all(ACCEPT_ENCODING).iter();
        let zstd = accepted.any(|value| value.to_str().is_ok_and(accepts_zstd));
        let answer: BlobQuery = response.json().await.map_err(BlobError::Unreachable)?;
        Ok((answer.digests, zstd))
    }

    async fn upload(&self, digest: Digest, bytes: &[u8], zstd: bool) -> Result<(), BlobError> {
        let client = match self.line.upload_bytes_per_s() {
            Some(_) => &self.patient,
            None => &self.http,
        };
        let request = client.post(format!("{}/v1/blobs", self.url)).bearer_auth(&self.token);
        // Outputs can be long.
        let encoded = tokio::task::block_in_place(|| zstd.then(|| wire::encode(bytes)).flatten());
        let request = match encoded {
            Some(encoded) => self.with_body(request.header(CONTENT_ENCODING, ZSTD), encoded),
            None => self.with_body(request, bytes.to_vec()),
        };
        let response = request.send().await.map_err(BlobError::Unreachable)?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let stored: BlobStored = response.json().await.map_err(BlobError::Unreachable)?;
        if stored.digest == digest { Ok(()) } else { Err(BlobError::Altered(digest)) }
    }
}

impl Blobs {
    /// A body that leaves no faster than the owner lets it.
    fn with_body(&self, request: RequestBuilder, bytes: Vec<u8>) -> RequestBuilder {
        if self.line.upload_bytes_per_s().is_none() {
            self.line.moved(bytes.len() as u64);
            return request.body(bytes);
        }
        let request = request.header(CONTENT_LENGTH, bytes.len());
        let (line, bytes) = (self.line.clone(), Arc::<[u8]>::from(bytes));
        let pieces = stream::unfold(0, move |at| {
            let (line, bytes) = (line.clone(), bytes.clone());
            async move {
                let piece = bytes.get(at..)?.chunks(PIECE_BYTES).next()?.to_vec();
                sleep_until(line.reserve(piece.len() as u64, Instant::now())).await;
                line.moved(piece.len() as u64);
                let next = at + piece.len();
                Some((Ok::<_, io::Error>(piece), next))
            }
        });
        request.body(Body::wrap_stream(pieces))
    }
}

async fn refused(response: reqwest::Response) -> BlobError {
    let status = response.status();
    let body = response.json::<ErrorBody>().await.unwrap_or_else(|_| ErrorBody {
        code: "no_error_body".to_owned(),
        message: "it gave no reason".to_owned(),
        details: Default::default(),
    });
    BlobError::Refused { status, code: body.code, message: body.message }
}

fn cached(path: &Path, digest: Digest) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    if Digest::of(&bytes) != digest {
        let _ = fs::remove_file(path);
        return None;
    }
    // Marks it as used, for `trim`; a failure only makes it look older.
    let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
    Some(bytes)
}

/// Removes what was used longest ago until the cache fits.
fn trim(cache: &Path, bytes_max: u64) {
    let files = || -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
        fs::read_dir(cache)?
            .map(|entry| {
                let entry = entry?;
                let meta = entry.metadata()?;
                Ok((meta.modified()?, meta.len(), entry.path()))
            })
            .collect()
    };
    let Ok(mut files) = files() else { return };
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total <= bytes_max {
            break;
        }
        if fs::remove_file(path).is_ok() {
            total -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// Blobs of an exchange that gives one prepared answer (head lines and body) per request, and
    /// the requests that it got.
    async fn exchange_of(
        answers: Vec<(&'static str, Vec<u8>)>,
    ) -> (Blobs, tokio::task::JoinHandle<Vec<(String, Vec<u8>)>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = tokio::spawn(async move {
            let mut requests = Vec::new();
            for (head, body) in answers {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let mut got = String::new();
                while !got.ends_with("\r\n\r\n") {
                    stream.read_line(&mut got).await.unwrap();
                }
                got.make_ascii_lowercase();
                let length = got.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut sent = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut sent).await.unwrap();
                requests.push((got, sent));
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n"
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&body).await.unwrap();
            }
            requests
        });
        (Blobs::new(&url, &Trust::default(), "token", PathBuf::from("/nonexistent")), requests)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_installed_is_not_fetched_unless_it_was_altered() {
        let dir = tempfile::tempdir().unwrap();
        let (module, base) = (dir.path().join("module"), dir.path().join("base"));
        fs::write(&module, b"the module").unwrap();
        fs::write(&base, b"another base").unwrap();
        let runtime = Runtime {
            terms: wire::RuntimeTerms {
                name: "python".to_owned(),
                version: "3".to_owned(),
                base: Digest::of(b"the base"),
            },
            module: (Digest::of(b"the module"), module),
            base: base.clone(),
        };
        let (blobs, requests) = exchange_of(vec![("", b"the base".to_vec())]).await;
        let blobs = blobs.with_runtimes(&[runtime]);
        assert_eq!(blobs.fetch(Digest::of(b"the module")).await.unwrap(), b"the module");
        assert_eq!(blobs.fetch(Digest::of(b"the base")).await.unwrap(), b"the base");
        assert_eq!(requests.await.unwrap().len(), 1);
        assert!(base.exists(), "what the owner installed is not removed");
    }

    async fn upload_to(accepts: &'static str, blob: &[u8]) -> (String, Vec<u8>) {
        let digest = Digest::of(blob);
        let lacking = serde_json::to_vec(&BlobQuery { digests: vec![digest] }).unwrap();
        let stored = BlobStored { digest, bytes: blob.len() as u64 };
        let stored = serde_json::to_vec(&stored).unwrap();
        let (blobs, requests) = exchange_of(vec![(accepts, lacking), ("", stored)]).await;
        blobs.store(&[(digest, blob)]).await.unwrap();
        requests.await.unwrap().pop().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_an_exchange_that_takes_zstd_gets_it() {
        let leaf: Vec<u8> = (0..65_536_u32).map(|i| (i >> 4) as u8).collect();
        // As version 0.1 answers.
        let (head, body) = upload_to("", &leaf).await;
        assert!(!head.contains("content-encoding") && body == leaf, "{head}");
        let (head, body) = upload_to("Accept-Encoding: zstd\r\n", &leaf).await;
        assert!(head.contains("content-encoding: zstd") && body.len() < leaf.len() / 8, "{head}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_sent_slowly_is_sent_whole_and_counted() {
        let blob: Vec<u8> =
            (0..100_000_u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        let digest = Digest::of(&blob);
        let stored = BlobStored { digest, bytes: blob.len() as u64 };
        let stored = serde_json::to_vec(&stored).unwrap();
        let (blobs, requests) = exchange_of(vec![("", stored)]).await;
        blobs.line().limit(10_000_000);
        blobs.upload(digest, &blob, false).await.unwrap();
        let (head, sent) = requests.await.unwrap().pop().unwrap();
        assert!(head.contains("content-length: 100000") && sent == blob, "{head}");
        assert_eq!(blobs.line().moved_bytes(), 100_000);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_blob_in_zstd_is_read_and_what_breaks_off_is_asked_for_again() {
        let leaf: Vec<u8> = (0..65_536_u32).map(|i| (i >> 4) as u8).collect();
        let (zstd, digest) = ("Content-Encoding: zstd\r\n", Digest::of(&leaf));
        let coded = wire::encode(&leaf).unwrap();
        let cut = coded[..coded.len() - 9].to_vec();
        let other = wire::encode(&[0; 4096]).unwrap();
        let answers = vec![(zstd, coded), (zstd, cut), (zstd, other), ("", leaf.clone())];
        let (blobs, requests) = exchange_of(answers).await;
        assert_eq!(blobs.download(digest).await.unwrap(), leaf);
        let broken = blobs.download(digest).await.unwrap_err();
        assert!(matches!(broken, BlobError::Coding(_, CodingError::Truncated)), "{broken:?}");
        assert!(broken.is_transient());
        let altered = blobs.download(digest).await.unwrap_err();
        assert!(matches!(altered, BlobError::Altered(_)), "{altered:?}");
        // As version 0.1 answers.
        assert_eq!(blobs.download(digest).await.unwrap(), leaf);
        for (head, _) in requests.await.unwrap() {
            assert!(head.contains("accept-encoding: zstd"), "{head}");
        }
    }

    #[test]
    fn a_damaged_cached_blob_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"sand");
        let path = dir.path().join(digest.to_hex());
        fs::write(&path, b"sand").unwrap();
        assert_eq!(cached(&path, digest).as_deref(), Some(b"sand".as_slice()));
        fs::write(&path, b"dust").unwrap();
        assert_eq!(cached(&path, digest), None);
        assert!(!path.exists());
    }

    #[test]
    fn trimming_keeps_what_was_used_last() {
        let dir = tempfile::tempdir().unwrap();
        for age in 0..4 {
            let path = dir.path().join(age.to_string());
            fs::write(&path, [0; 100]).unwrap();
            let used = SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(&path).unwrap().set_modified(used).unwrap();
        }
        trim(dir.path(), 400);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
        trim(dir.path(), 250);
        let left = ["0", "1", "2", "3"].map(|name| dir.path().join(name).exists());
        assert_eq!(left, [true, true, false, false]);
    }
}
