//! TLS by file, and the headers by which browsers guard their users.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use exchange::{ExchangeError, TlsFiles};
use reqwest::Method;
use tls::Trust;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Client, Server, guard};

fn given(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/tests/certificates").join(name)
}

fn files() -> TlsFiles {
    TlsFiles { certificate: given("server.pem"), key: given("server.key") }
}

/// A client that trusts an authority, and makes a connection for each request.
fn client(ca: Option<&Path>) -> reqwest::Client {
    let trust = Trust::of("https://", ca).unwrap();
    let config = tls::rustls::ClientConfig::clone(trust.config().unwrap());
    let builder = reqwest::Client::builder().use_preconfigured_tls(config).tls_info(true);
    builder.pool_max_idle_per_host(0).timeout(Duration::from_secs(30)).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_is_private_and_the_other_end_is_known() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.tls = Some(files())).await;
    let url = format!("https://{}", server.address);
    let trusting = client(Some(&given("ca.pem")));
    let answer = trusting.get(format!("{url}/v1/exchange")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    // The public URL is derived from it, so browsers are told to stay with it.
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    let front = trusting.get(&url).send().await.unwrap().text().await.unwrap();
    assert!(front.contains(&url), "{front}");

    // Who trusts others, or believes the certificate to be somebody else's, says nothing.
    for (ca, host) in [(given("server.pem"), "127.0.0.1"), (given("ca.pem"), "127.0.0.2")] {
        let asked = format!("https://{host}:{}/v1/exchange", server.address.port());
        let resolved = client(Some(&ca)).get(asked).send().await;
        assert!(resolved.unwrap_err().is_connect());
    }
    // Plain HTTP gets no answer from the exchange, and an open connection holds nothing up.
    let plain = Client::new(server.address, "").request(Method::GET, "/healthz").send().await;
    assert!(plain.is_err());
    let silent = TcpStream::connect(server.address).await.unwrap();
    server.stop().await;
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_without_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let (certificate, key) = (data.path().join("certificate"), data.path().join("key"));
    std::fs::copy(given("server.pem"), &certificate).unwrap();
    std::fs::copy(given("server.key"), &key).unwrap();
    let tls = TlsFiles { certificate: certificate.clone(), key: key.clone() };
    let server = Server::start_with(&data.path().join("data"), |config| {
        config.tls = Some(tls);
        config.tls_refresh_ms = 5;
    })
    .await;
    let shown = async || {
        // A client that was here before would resume its session, with the certificate of then.
        let stranger = client(Some(&given("ca.pem")));
        let answer = stranger.get(format!("https://{}/healthz", server.address)).send().await;
        let answer = answer.unwrap();
        let info = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
        info.peer_certificate().unwrap().to_vec()
    };
    let first = shown().await;
    assert_eq!(shown().await, first);
    std::fs::copy(given("other.pem"), &certificate).unwrap();
    std::fs::copy(given("other.key"), &key).unwrap();
    let later = SystemTime::now() + Duration::from_secs(5);
    for path in [&certificate, &key] {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
    }
    guard(async { while shown().await == first {} }).await;
    // What can't be used is not: the last good one stays.
    std::fs::write(&certificate, "no certificate at all").unwrap();
    let second = shown().await;
    for _ in 0..20 {
        assert_eq!(shown().await, second);
    }
    server.stop().await;
}

#[tokio::test]
async fn without_a_certificate_that_can_be_used_nothing_starts() {
    let data = tempfile::tempdir().unwrap();
    let mut config = exchange::Config::new(data.path(), "127.0.0.1:0".parse().unwrap());
    config.tls = Some(TlsFiles { key: given("other.key"), ..files() });
    let started = exchange::run(config, std::future::pending(), |_| panic!("it must not start"));
    let error = guard(started).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Tls(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_somebody_else_reads_what_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, ada) = server.account("Ada", 0).await;
    for (method, path) in [
        (Method::GET, "/v1/wallet"),
        (Method::GET, "/v1/nothing"),
        (Method::GET, "/v1/reference"),
        (Method::OPTIONS, "/v1/jobs"),
    ] {
        let asked = ada.request(method.clone(), path).header("origin", "https://evil.example");
        let asked = asked.header("access-control-request-method", "POST");
        let answer = asked.header("access-control-request-headers", "authorization");
        let answer = answer.send().await.unwrap();
        let headers = answer.headers();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(headers[name], value, "{method} {path}");
        }
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("script"), "{policy}");
        assert!(!headers.contains_key("strict-transport-security"), "it is plain HTTP");
        let cors =
            |name: &&reqwest::header::HeaderName| name.as_str().starts_with("access-control");
        assert_eq!(headers.keys().find(cors), None, "{method} {path}");
        assert!(method != Method::OPTIONS || !answer.status().is_success());
    }
    // What begins with TLS is no request to an exchange without a certificate.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]).await.unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    guard(stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    server.stop().await;
}
