//! A real exchange on loopback, a client and a scripted agent that speaks the real protocol.

mod agent;

pub use agent::{Agent, enrolment};

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base::{AccountId, Digest, JobId, TransferId};
use exchange::{Config, ExchangeError};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire::{
    AccountCreated, BlobStored, ErrorBody, ExchangeInfo, InputFile, JobView, LedgerAudit,
    NewAccount, NewDeposit, NewJob, TaskSpec, Wallet,
};

/// Nothing here takes this long; whatever does has failed.
pub const GUARD: Duration = Duration::from_secs(30);

/// What a task of these tests costs, roughly, is far below this.
pub const CREDIT: i64 = 1_000_000_000;

pub struct Server {
    pub address: SocketAddr,
    pub operator: Client,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ExchangeError>>,
}

impl Server {
    pub async fn start(data: &Path) -> Server {
        Server::start_with(data, |_| {}).await
    }

    pub async fn start_with(data: &Path, change: impl FnOnce(&mut Config)) -> Server {
        let mut config = Config::new(data, SocketAddr::from(([127, 0, 0, 1], 0)));
        // Nobody lapses by chance on a busy computer, unless a test asks for it.
        config.lapse_after_ms = 60_000;
        config.reconnect_grace_ms = 60_000;
        change(&mut config);
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let running = tokio::spawn(exchange::run(config, shutdown, move |address| {
            let _ = ready.send(address);
        }));
        let address = guard(address).await.expect("the exchange starts");
        let token = std::fs::read_to_string(data.join(exchange::OPERATOR_TOKEN_FILE)).unwrap();
        let operator = Client::new(address, token.trim());
        Server { address, operator, stop, running }
    }

    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        guard(self.running).await.unwrap().unwrap();
    }

    pub fn client(&self, token: &str) -> Client {
        Client::new(self.address, token)
    }

    /// An account with that much money.
    pub async fn account(&self, name: &str, nanocredits: i64) -> (AccountId, Client) {
        let new = NewAccount::named(name);
        let created: AccountCreated = self.operator.post("/v1/accounts", &new).await;
        if nanocredits > 0 {
            self.deposit(created.account, nanocredits, name).await;
        }
        (created.account, self.client(&created.token))
    }

    pub async fn deposit(&self, account: AccountId, amount: i64, key: &str) -> Wallet {
        let transfer = TransferId::derive(&[key.as_bytes()]);
        let deposit = NewDeposit { account, amount_nanocredits: amount, transfer };
        self.operator.post("/v1/deposits", &deposit).await
    }

    pub async fn info(&self) -> ExchangeInfo {
        self.operator.get("/v1/exchange").await
    }

    /// The audit, which must find nothing.
    pub async fn sound(&self) -> LedgerAudit {
        let audit: LedgerAudit = self.operator.get("/v1/audit").await;
        assert_eq!(audit.sum_nanocredits, 0);
        assert_eq!(audit.mismatched_accounts, [] as [String; 0]);
        assert_eq!(audit.negative_accounts, [] as [String; 0]);
        assert_eq!(audit.state_digest, audit.replayed_digest);
        audit
    }
}

#[derive(Clone)]
pub struct Client {
    pub base: String,
    pub token: String,
    http: reqwest::Client,
}

impl Client {
    pub fn new(address: SocketAddr, token: &str) -> Client {
        let http = reqwest::Client::builder().timeout(GUARD).build().unwrap();
        Client { base: format!("http://{address}"), token: token.to_owned(), http }
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> T {
        answer(self.request(Method::DELETE, path)).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> T {
        answer(self.request(Method::POST, path).json(body)).await
    }

    /// The status and code of a refusal.
    pub async fn refused(&self, path: &str, body: &impl Serialize) -> (u16, ErrorBody) {
        refusal(self.request(Method::POST, path).json(body)).await
    }

    pub async fn get_refused(&self, path: &str) -> (u16, ErrorBody) {
        refusal(self.request(Method::GET, path)).await
    }

    pub async fn put_blob(&self, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let expected = Digest::of(&bytes);
        let stored: BlobStored = answer(self.request(Method::POST, "/v1/blobs").body(bytes)).await;
        assert_eq!(stored.digest, expected);
        stored.digest
    }

    pub async fn put_json(&self, value: &impl Serialize) -> Digest {
        self.put_blob(serde_json::to_vec(value).unwrap()).await
    }

    /// A spec whose blobs are all in the store.
    pub async fn spec(&self, argument: &str) -> TaskSpec {
        let content = self.put_blob(argument).await;
        TaskSpec {
            version: 1,
            module: self.put_blob(MODULE).await,
            base: None,
            args: vec!["program".to_owned(), argument.to_owned()],
            env: vec![],
            stdin: None,
            inputs: vec![InputFile { name: "data".to_owned(), content }],
            memory_max_pages: 8192,
            output_max_bytes: 1 << 20,
            fuel_max: 1 << 40,
            segment_fuel: 1 << 30,
            seed: Digest::default(),
            clock_start_ms: 0,
        }
    }

    /// A job of that many tasks, not yet submitted.
    pub async fn job(&self, name: &str, tasks: usize) -> NewJob {
        let mut specs = Vec::new();
        for index in 0..tasks {
            let spec = self.spec(&format!("{name} {index}")).await;
            specs.push(self.put_json(&spec).await);
        }
        NewJob {
            job: JobId::derive(&[name.as_bytes()]),
            name: name.to_owned(),
            instrument: "cpu.2g.any".to_owned(),
            tasks: specs,
            max_price_nanocredits_per_tfuel: 1_000_000,
            slots: 8,
            budget_nanocredits: CREDIT,
            ask: None,
            filters: Default::default(),
        }
    }

    pub async fn submit(&self, job: &NewJob) -> JobView {
        self.post("/v1/jobs", job).await
    }

    pub async fn job_view(&self, job: JobId) -> JobView {
        self.get(&format!("/v1/jobs/{job}")).await
    }

    /// Long-polls until the job is as wanted.
    pub async fn job_until(&self, job: JobId, wanted: impl Fn(&JobView) -> bool) -> JobView {
        guard(async {
            let mut view = self.job_view(job).await;
            while !wanted(&view) {
                view = self.get(&format!("/v1/jobs/{job}?after={}", view.version)).await;
            }
            view
        })
        .await
    }
}

/// An empty module: these tests never run one.
pub const MODULE: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> T {
    let response = request.send().await.unwrap();
    let (url, status) = (response.url().clone(), response.status());
    let text = response.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{url}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url}: {error}: {text}"))
}

pub async fn refusal(request: reqwest::RequestBuilder) -> (u16, ErrorBody) {
    let response = request.send().await.unwrap();
    let status = response.status();
    assert!(!status.is_success(), "{} was not refused", response.url());
    (status.as_u16(), response.json().await.unwrap())
}

/// Fails a test that waits for something that never comes.
pub async fn guard<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future).await.expect("nothing happened in time")
}
