//! Connections that are slow on purpose harm nobody but themselves.

use crate::harness::{Server, guard};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use wire::AccountCreated;

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_stop_no_download_and_are_closed() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.answer_stall_ms = 1_000).await;
    let new = wire::NewAccount::named("Ada");
    let created: AccountCreated = server.operator.post("/v1/accounts", &new).await;
    let client = server.client(&created.token);
    // More than the system's buffers take.
    let bytes = vec![7; 32 << 20];
    let digest = client.put_blob(bytes.clone()).await;

    let token = &created.token;
    let request = format!(
        "GET /v1/blobs/{digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let mut slow = Vec::new();
    for _ in 0..24 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        slow.push(stream);
    }
    let path = format!("/v1/blobs/{digest}");
    let got = guard(client.request(Method::GET, &path).send()).await.unwrap();
    assert_eq!(guard(got.bytes()).await.unwrap(), bytes);

    for mut stream in slow {
        // More than the exchange reads while it answers: a connection that it closes with bytes
        // unread is reset, which is told even to whoever reads nothing.
        guard(stream.write_all(&[b'x'; 64 << 10])).await.unwrap();
        guard(stream.ready(Interest::ERROR)).await.unwrap();
        // What the system's buffers hold, and then the end, or the news that it was cut off.
        let mut got = Vec::new();
        let _ = guard(stream.read_to_end(&mut got)).await;
        assert!(got.len() < bytes.len(), "{} bytes came", got.len());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_is_not_waited_for() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.request_head_ms = 300).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    let mut got = Vec::new();
    // Closed or reset: both are an end.
    let _ = guard(stream.read_to_end(&mut got)).await;
    server.stop().await;
}
