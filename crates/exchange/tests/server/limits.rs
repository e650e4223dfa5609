//! How often, how much, how slowly.

use crate::harness::{Server, guard, refusal};
use exchange::Rate;
use futures_util::stream;
use reqwest::{Body, Method};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::Wallet;

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_ask_again_and_others_are_served() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| {
        config.account_rate = Rate { per_second: 1, burst: 3 };
        config.address_rate = Rate { per_second: 1, burst: 2 };
    })
    .await;
    let (_, eager) = server.account("Eager", 0).await;
    let (_, other) = server.account("Other", 0).await;
    for left in [2, 1, 0] {
        let answer = eager.request(Method::GET, "/v1/wallet").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["ratelimit-limit"], "3");
        assert_eq!(answer.headers()["ratelimit-remaining"], left.to_string().as_str());
    }
    let answer = eager.request(Method::GET, "/v1/wallet").send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(answer.headers()["ratelimit-remaining"], "0");
    let error: wire::ErrorBody = answer.json().await.unwrap();
    assert_eq!(error.code, "rate_limited");
    assert!(error.details["retry_after_ms"].as_u64().unwrap() <= 1_000);

    let _: Wallet = other.get("/v1/wallet").await;
    // Whoever shows no token that is known shares what the address has.
    let stranger = server.client("account_0123");
    let nobody = server.client("");
    assert_eq!(stranger.get_refused("/v1/wallet").await.1.code, "unknown_token");
    let _: serde_json::Value = nobody.get("/v1/instruments").await;
    assert_eq!(nobody.get_refused("/v1/instruments").await.1.code, "rate_limited");
    assert_eq!(stranger.get_refused("/v1/wallet").await.1.code, "rate_limited");
    for _ in 0..10 {
        server.info().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_most_and_a_stranger_a_smaller_one() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, client) = server.account("Ada", 0).await;
    // Without a length in front: what comes is counted.
    let endless = || {
        let piece = vec![b' '; 64 << 10];
        Body::wrap_stream(stream::iter(
            (0..80).map(move |_| Ok::<_, std::io::Error>(piece.clone())),
        ))
    };
    let (status, error) = refusal(client.request(Method::POST, "/v1/jobs").body(endless())).await;
    assert_eq!((status, error.code.as_str()), (413, "body_too_large"));
    assert_eq!(error.details["max_bytes"], 4 << 20);
    let stranger = server.client("");
    let (status, error) =
        refusal(stranger.request(Method::POST, "/v1/machines").body(endless())).await;
    assert_eq!((status, error.details["max_bytes"].as_u64()), (413, Some(64 << 10)));
    // Large, but not too large, and wrong only in the end.
    let large = json!({ "name": "x".repeat(3 << 20) });
    assert_eq!(client.refused("/v1/jobs", &large).await.1.code, "invalid_json");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_not_waited_for() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.body_grace_ms = 300).await;
    let (_, client) = server.account("Ada", 0).await;
    for (path, whole) in [("/v1/jobs", 100), ("/v1/blobs", 1_000_000)] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: \
             {whole}\r\n\r\n{{",
            client.token()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        guard(socket.read_exact(&mut answer)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408", "{path}");
    }
    server.stop().await;
}
