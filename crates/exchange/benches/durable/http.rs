//! The smallest command over REST (a dead man's switch), from 64 connections on the same computer,
//! whose cores the clients share with the exchange.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use exchange::{Config, Rate};
use tokio::sync::oneshot;
use wire::{AccountCreated, CancelAfter, NewAccount};

/// Requests under way at once.
const CONNECTIONS: usize = 64;

struct Server {
    http: reqwest::Client,
    base: String,
    token: String,
    stop: oneshot::Sender<()>,
    running: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(data: &Path) -> Server {
        let mut config = Config::new(data, SocketAddr::from(([127, 0, 0, 1], 0)));
        config.account_rate = Rate { per_second: 0, burst: 0 };
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = oneshot::channel();
        let running = tokio::spawn(async move {
            let shutdown = async move {
                // Dropped means the same.
                let _ = stopped.await;
            };
            let run = exchange::run(config, shutdown, |address| {
                let _ = ready.send(address);
            });
            run.await.expect("an exchange");
        });
        let address = address.await.expect("an address");
        let token = std::fs::read_to_string(data.join(exchange::OPERATOR_TOKEN_FILE));
        let token = token.expect("the operator's token").trim().to_owned();
        let http = reqwest::Client::builder().pool_max_idle_per_host(CONNECTIONS).build();
        let http = http.expect("a client");
        let base = format!("http://{address}");
        let open = http.post(format!("{base}/v1/accounts")).bearer_auth(token);
        let opened = open.json(&NewAccount::named("trader")).send().await.expect("an answer");
        let opened: AccountCreated = opened.json().await.expect("an account");
        Server { http, base, token: opened.token, stop, running }
    }

    /// One durable command.
    async fn command(&self, number: usize) {
        let path = format!("{}/v1/orders/cancel-after", self.base);
        let body = CancelAfter { after_ms: 60_000 + number as i64 };
        let request = self.http.post(path).bearer_auth(&self.token).json(&body);
        let response = request.send().await.expect("an answer");
        let (status, text) = (response.status(), response.text().await.expect("a body"));
        assert!(status.is_success(), "{status}: {text}");
    }

    async fn stop(self) {
        drop(self.stop);
        let _ = self.running.await;
    }
}

/// Commands per second.
pub async fn rate(data: &Path, commands: usize) -> f64 {
    let server = Arc::new(Server::start(data).await);
    let begun = Instant::now();
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|worker| {
            let server = server.clone();
            tokio::spawn(async move {
                for number in (worker..commands).step_by(CONNECTIONS) {
                    server.command(number).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no panic");
    }
    let rate = commands as f64 / begun.elapsed().as_secs_f64();
    if let Ok(server) = Arc::try_unwrap(server) {
        server.stop().await;
    }
    rate
}

/// See [`crate::paced`].
pub async fn latencies(data: &Path, per_second: f64, during: Duration) -> Vec<Duration> {
    let server = Arc::new(Server::start(data).await);
    let latencies = crate::paced(per_second, during, |number| {
        let server = server.clone();
        async move { server.command(number).await }
    })
    .await;
    if let Ok(server) = Arc::try_unwrap(server) {
        server.stop().await;
    }
    latencies
}
