//! Blobs over HTTP.

use crate::harness::{Server, refusal};
use base::Digest;
use futures_util::stream;
use reqwest::{Body, Method};
use wire::{BlobQuery, BlobStored};

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_comes_back_as_it_went() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, client) = server.account("Ada", 0).await;
    // More than one piece, and not a multiple of one.
    let bytes: Vec<u8> = (0..3_000_001_u32).map(|i| (i % 251) as u8).collect();
    let digest = client.put_blob(bytes.clone()).await;
    let path = format!("/v1/blobs/{digest}");
    let got = client.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(got.content_length(), Some(bytes.len() as u64));
    assert_eq!(got.bytes().await.unwrap(), bytes);
    let head = client.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-length"], "3000001");

    let lost = Digest::of(b"lost");
    let (status, error) = client.get_refused(&format!("/v1/blobs/{lost}")).await;
    assert_eq!((status, error.code.as_str()), (404, "not_found"));
    let query = BlobQuery { digests: vec![digest, lost] };
    let missing: BlobQuery = client.post("/v1/blobs/missing", &query).await;
    assert_eq!(missing.digests, [lost]);
    let (status, _) = client.get_refused("/v1/blobs/xyz").await;
    assert_eq!(status, 400);

    let anyone = server.client("").request(Method::POST, "/v1/blobs").body("x");
    assert_eq!(refusal(anyone).await.0, 401);
    let operator = server.operator.request(Method::POST, "/v1/blobs").body("x");
    assert_eq!(refusal(operator).await.1.code, "blobs_only");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_over_the_limit_is_refused_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.blob_max_bytes = 100_000).await;
    let (_, client) = server.account("Ada", 0).await;
    client.put_blob(vec![7; 100_000]).await;
    let announced = client.request(Method::POST, "/v1/blobs").body(vec![7; 100_001]);
    let (status, error) = refusal(announced).await;
    assert_eq!((status, error.code.as_str()), (413, "blob_too_large"));
    assert!(error.message.contains("100000"), "{}", error.message);
    // Without a length in front.
    let pieces = (0..101).map(|_| Ok::<_, std::io::Error>(vec![7; 1_000]));
    let streamed =
        client.request(Method::POST, "/v1/blobs").body(Body::wrap_stream(stream::iter(pieces)));
    assert_eq!(refusal(streamed).await.1.code, "blob_too_large");
    // An upload that breaks off is no blob either.
    let broken = stream::iter([Ok(vec![1; 1_000]), Err(std::io::Error::other("unplugged"))]);
    let sent = client.request(Method::POST, "/v1/blobs").body(Body::wrap_stream(broken));
    assert!(sent.send().await.is_err());
    let stored: BlobStored = client.post("/v1/blobs", &"ok").await;
    assert_eq!(stored.bytes, 4);
    server.stop().await;
    let left = std::fs::read_dir(data.path().join("blobs/tmp")).unwrap().count();
    assert_eq!(left, 0);
}
