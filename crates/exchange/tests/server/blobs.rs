//! Blobs over HTTP.

use crate::harness::{Server, refusal};
use base::Digest;
use futures_util::stream;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use reqwest::{Body, Method};
use wire::{Arriving, BlobQuery, BlobStored, ZSTD};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_module_may_be_larger_than_data() {
    let data = tempfile::tempdir().unwrap();
    let limits = |config: &mut exchange::Config| {
        (config.blob_max_bytes, config.module_max_bytes) = (100_000, 300_000);
    };
    let server = Server::start_with(data.path(), limits).await;
    let (_, client) = server.account("Ada", 0).await;
    let module = |bytes: usize| [&b"\0asm\x01\0\0\0"[..], &vec![7; bytes - 8]].concat();
    client.put_blob(module(300_000)).await;
    let sent = client.request(Method::POST, "/v1/blobs").header(CONTENT_ENCODING, ZSTD);
    let coded = wire::encode(&module(299_999)).unwrap();
    let stored: BlobStored = sent.body(coded).send().await.unwrap().json().await.unwrap();
    assert_eq!(stored.bytes, 299_999);
    // What it is shows in its first bytes, however few of them come at a time.
    let pieces = |bytes: Vec<u8>| {
        let (head, rest) = bytes.split_at(10);
        let each =
            head.chunks(1).chain([rest]).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
        Body::wrap_stream(stream::iter(each.collect::<Vec<_>>()))
    };
    let sent = client.request(Method::POST, "/v1/blobs").body(pieces(module(299_998)));
    let stored: BlobStored = sent.send().await.unwrap().json().await.unwrap();
    assert_eq!(stored.digest, Digest::of(&module(299_998)));
    for (bytes, most) in [(module(300_001), "300000"), (vec![0; 100_001], "100000")] {
        for body in [Body::from(bytes.clone()), pieces(bytes)] {
            let (status, error) =
                refusal(client.request(Method::POST, "/v1/blobs").body(body)).await;
            assert_eq!((status, error.code.as_str()), (413, "blob_too_large"));
            assert!(error.message.contains(most), "{}", error.message);
        }
    }
    server.stop().await;
    let left = std::fs::read_dir(data.path().join("blobs/tmp")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_travels_in_zstd_where_both_sides_know_it() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, client) = server.account("Ada", 0).await;
    let bytes: Vec<u8> = (0..1_000_001_u32).map(|i| (i % 251) as u8).collect();
    let digest = Digest::of(&bytes);
    // Who asks what is missing learns what may be sent.
    let query = BlobQuery { digests: vec![digest] };
    let asked = client.request(Method::POST, "/v1/blobs/missing").json(&query);
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.headers()[ACCEPT_ENCODING], ZSTD);
    assert_eq!(answer.json::<BlobQuery>().await.unwrap(), query);
    let coded = wire::encode(&bytes).unwrap();
    let sent = client.request(Method::POST, "/v1/blobs").header(CONTENT_ENCODING, ZSTD);
    let stored: BlobStored = sent.body(coded.clone()).send().await.unwrap().json().await.unwrap();
    assert_eq!(stored, BlobStored { digest, bytes: bytes.len() as u64 });

    let path = format!("/v1/blobs/{digest}");
    let wanted = client.request(Method::GET, &path).header(ACCEPT_ENCODING, "gzip, zstd");
    let got = wanted.send().await.unwrap();
    assert_eq!(
        (&got.headers()[CONTENT_ENCODING], got.content_length()),
        (&ZSTD.parse().unwrap(), None)
    );
    let got = got.bytes().await.unwrap();
    assert!(got.len() < bytes.len() / 10, "{} bytes", got.len());
    let mut arriving = Arriving::new(Some(ZSTD), bytes.len() as u64).unwrap();
    arriving.push(&got).unwrap();
    assert_eq!(arriving.finish().unwrap(), bytes);
    // Who doesn't know it gets what it always got.
    for request in [
        client.request(Method::GET, &path),
        client.request(Method::GET, &path).header(ACCEPT_ENCODING, "gzip, zstd;q=0"),
    ] {
        let got = request.send().await.unwrap();
        assert_eq!(got.headers().get(CONTENT_ENCODING), None);
        assert_eq!(got.bytes().await.unwrap(), bytes);
    }
    // And what gains nothing by it travels as it is.
    let small = client.put_blob(b"ok".to_vec()).await;
    let small = client.request(Method::GET, &format!("/v1/blobs/{small}"));
    let got = small.header(ACCEPT_ENCODING, ZSTD).send().await.unwrap();
    assert_eq!(got.headers().get(CONTENT_ENCODING), None);
    assert_eq!(got.bytes().await.unwrap(), &b"ok"[..]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_zstd_cannot_be_is_refused_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.blob_max_bytes = 100_000).await;
    let (_, client) = server.account("Ada", 0).await;
    let text: Vec<u8> = (0..90_000_u32).map(|i| (i.wrapping_mul(i) >> 9) as u8 & 63).collect();
    let coded = wire::encode(&text).unwrap();
    let bomb = wire::encode(&vec![0; 64 << 20]).unwrap();
    assert!(bomb.len() < 10_000, "{} bytes", bomb.len());
    for (coding, body, status, code) in [
        (ZSTD, bomb, 413, "blob_too_large"),
        (ZSTD, coded[..coded.len() - 1].to_vec(), 400, "invalid_coding"),
        (ZSTD, b"no zstd".to_vec(), 400, "invalid_coding"),
        (ZSTD, Vec::new(), 400, "invalid_coding"),
        ("gzip", coded.clone(), 415, "unknown_coding"),
    ] {
        let sent = client.request(Method::POST, "/v1/blobs").header(CONTENT_ENCODING, coding);
        let (got, error) = refusal(sent.body(body)).await;
        assert_eq!((got, error.code.as_str()), (status, code), "{}", error.message);
    }
    let sent = client.request(Method::POST, "/v1/blobs").header(CONTENT_ENCODING, ZSTD);
    let stored: BlobStored = sent.body(coded).send().await.unwrap().json().await.unwrap();
    assert_eq!(stored.digest, Digest::of(&text));
    server.stop().await;
    let left = std::fs::read_dir(data.path().join("blobs/tmp")).unwrap().count();
    assert_eq!(left, 0);
}
