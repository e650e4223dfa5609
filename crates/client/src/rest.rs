//! One method per route.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base::{AccountId, Digest, JobId, MachineId};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tls::Trust;
use tls::rustls::ClientConfig;
use wire::{
    AccountCreated, AccountView, ErrorBody, ExchangeInfo, Invoice, JobView, JoinCode, LeaseView,
    LedgerAudit, MachineView, NewAccount, NewDeposit, NewJob, NewStanding, NewToken, OperatorAct,
    Reason, TokenCreated, TokenView, TopUp, TransferView, Wallet,
};

use crate::ClientError;

/// Longer than the exchange's long poll.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How an exchange is reached, beside its URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// For `https`: a file with the authorities to trust, instead of this computer's.
    pub ca: Option<PathBuf>,
    /// Connect here, whatever address the URL's host has; for the exchange's own computer.
    pub at: Option<SocketAddr>,
}

/// A connection to one exchange as one account (or as its operator).
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
    trust: Trust,
}

impl Client {
    /// A client for the exchange at `url`. Nothing is sent yet.
    pub fn new(url: &str, token: &str) -> Result<Self, ClientError> {
        Client::reaching(url, token, &Reach::default())
    }

    /// A client for an exchange that is not reached by its URL alone.
    pub fn reaching(url: &str, token: &str, reach: &Reach) -> Result<Self, ClientError> {
        let refuse =
            |problem: &str| ClientError::Url { url: url.to_owned(), problem: problem.into() };
        let parsed = reqwest::Url::parse(url).map_err(|error| refuse(&error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(refuse("it begins neither with https:// nor with http://"));
        }
        let mut http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(ANSWER_MAX);
        let trust = Trust::of(url, reach.ca.as_deref())?;
        if let Some(config) = trust.config() {
            http = http.use_preconfigured_tls(ClientConfig::clone(config));
        }
        if let (Some(at), Some(host)) = (reach.at, parsed.domain()) {
            http = http.resolve(host, at);
        }
        let http = http
            .build()
            .map_err(|source| ClientError::Unreachable { url: url.to_owned(), source })?;
        Ok(Client {
            http,
            url: url.trim_end_matches('/').to_owned(),
            token: token.trim().to_owned(),
            trust,
        })
    }

    /// Where the exchange is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The account's token; empty without one.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Whom it trusts to be the exchange.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Who the exchange is and how far its journal is.
    pub async fn exchange(&self) -> Result<ExchangeInfo, ClientError> {
        self.get("/v1/exchange").await
    }

    /// Opens a trader's account; for operators.
    pub async fn open_account(&self, name: &str) -> Result<AccountCreated, ClientError> {
        self.open_account_as(&NewAccount::named(name)).await
    }

    /// Opens an account; for operators.
    pub async fn open_account_as(&self, new: &NewAccount) -> Result<AccountCreated, ClientError> {
        self.post("/v1/accounts", new).await
    }

    /// Some accounts after one, by id; for operators.
    pub async fn accounts(
        &self,
        after: Option<AccountId>,
    ) -> Result<Vec<AccountView>, ClientError> {
        let cursor = after.map(|after| format!("?cursor={after}")).unwrap_or_default();
        self.get(&format!("/v1/operator/accounts{cursor}")).await
    }

    /// Freezes, bans or restores an account; for operators.
    pub async fn set_standing(
        &self,
        account: AccountId,
        new: &NewStanding,
    ) -> Result<AccountView, ClientError> {
        self.post(&format!("/v1/operator/accounts/{account}/standing"), new).await
    }

    /// Cancels anybody's job; for operators.
    pub async fn kill_job(&self, job: JobId, why: &Reason) -> Result<JobView, ClientError> {
        self.post(&format!("/v1/operator/jobs/{job}/kill"), why).await
    }

    /// Takes a blob down; for operators.
    pub async fn remove_blob(&self, digest: Digest, why: &Reason) -> Result<Reason, ClientError> {
        self.post(&format!("/v1/operator/blobs/{digest}/remove"), why).await
    }

    /// What operators did, newest first; for operators.
    pub async fn acts(&self) -> Result<Vec<OperatorAct>, ClientError> {
        self.get("/v1/operator/acts").await
    }

    /// The account's tokens.
    pub async fn tokens(&self) -> Result<Vec<TokenView>, ClientError> {
        self.get("/v1/tokens").await
    }

    /// A token of limited use.
    pub async fn make_token(&self, new: &NewToken) -> Result<TokenCreated, ClientError> {
        self.post("/v1/tokens", new).await
    }

    /// Ends a token.
    pub async fn revoke_token(&self, id: &str) -> Result<TokenView, ClientError> {
        self.json(self.request(Method::DELETE, &format!("/v1/tokens/{id}"))).await
    }

    /// Brings money in; needs the operator's token.
    pub async fn deposit(&self, deposit: &NewDeposit) -> Result<Wallet, ClientError> {
        self.post("/v1/deposits", deposit).await
    }

    /// The account's money.
    pub async fn wallet(&self) -> Result<Wallet, ClientError> {
        self.get("/v1/wallet").await
    }

    /// The account's transfers, newest first.
    pub async fn transfers(&self) -> Result<Vec<TransferView>, ClientError> {
        self.get("/v1/transfers").await
    }

    /// A one-time code for a new machine.
    pub async fn join_code(&self) -> Result<JoinCode, ClientError> {
        self.json(self.request(Method::POST, "/v1/join-codes")).await
    }

    /// The account's machines.
    pub async fn machines(&self) -> Result<Vec<MachineView>, ClientError> {
        self.get("/v1/machines").await
    }

    /// One machine.
    pub async fn machine(&self, machine: MachineId) -> Result<MachineView, ClientError> {
        self.get(&format!("/v1/machines/{machine}")).await
    }

    /// Removes a machine for good.
    pub async fn retire_machine(&self, machine: MachineId) -> Result<MachineView, ClientError> {
        self.json(self.request(Method::DELETE, &format!("/v1/machines/{machine}"))).await
    }

    /// Submits a job. The same job twice is one job.
    pub async fn submit(&self, job: &NewJob) -> Result<JobView, ClientError> {
        self.post("/v1/jobs", job).await
    }

    /// The account's jobs, newest first.
    pub async fn jobs(&self) -> Result<Vec<JobView>, ClientError> {
        self.get("/v1/jobs").await
    }

    /// A job as it is now.
    pub async fn job(&self, job: JobId) -> Result<JobView, ClientError> {
        self.get(&format!("/v1/jobs/{job}")).await
    }

    /// A job when it is newer than `version`, or after a while as it is.
    pub async fn job_after(&self, job: JobId, version: u64) -> Result<JobView, ClientError> {
        self.get(&format!("/v1/jobs/{job}?after={version}")).await
    }

    /// Stops a job.
    pub async fn cancel_job(&self, job: JobId) -> Result<JobView, ClientError> {
        self.json(self.request(Method::POST, &format!("/v1/jobs/{job}/cancel"))).await
    }

    /// More money for a job.
    pub async fn top_up(&self, job: JobId, top_up: &TopUp) -> Result<JobView, ClientError> {
        self.post(&format!("/v1/jobs/{job}/top-up"), top_up).await
    }

    /// What a job cost.
    pub async fn invoice(&self, job: JobId) -> Result<Invoice, ClientError> {
        self.get(&format!("/v1/jobs/{job}/invoice")).await
    }

    /// The account's leases, bought and sold.
    pub async fn leases(&self) -> Result<Vec<LeaseView>, ClientError> {
        self.get("/v1/leases").await
    }

    /// The proof that no money was made or lost; needs the operator's token.
    pub async fn audit(&self) -> Result<LedgerAudit, ClientError> {
        self.get("/v1/audit").await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    pub(crate) async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, ClientError> {
        self.json(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post<B: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<A, ClientError> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn json<A: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<A, ClientError> {
        self.read(self.answer(request).await?).await
    }

    /// An answer's JSON.
    pub(crate) async fn read<A: DeserializeOwned>(
        &self,
        response: Response,
    ) -> Result<A, ClientError> {
        let bytes = response.bytes().await.map_err(|e| self.unreachable(e))?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::NotAnExchange {
            url: self.url.clone(),
            problem: error.to_string(),
        })
    }

    /// Sends, and turns everything but success into an error.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.map_err(|source| self.unreachable(source))?;
        Err(self.refusal(status, &bytes))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let url = self.url.clone();
        match (serde_json::from_slice::<ErrorBody>(body), status.as_u16()) {
            (Ok(ErrorBody { code, message, .. }), status) => {
                ClientError::Refused { status, code, message }
            }
            (Err(_), status @ 502..=504) => ClientError::Gateway { url, status },
            (Err(_), _) => ClientError::NotAnExchange {
                url,
                problem: format!("it answered {status} without an error of an exchange"),
            },
        }
    }

    pub(crate) fn unreachable(&self, source: reqwest::Error) -> ClientError {
        let url = self.url.clone();
        match tls::is_distrust(&source) {
            true => ClientError::Untrusted { url, source },
            false => ClientError::Unreachable { url, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_word_a_refusal_is() {
        let client = Client::new("http://localhost:1", "").unwrap();
        let check = |status: u16, body: &str, expected: &str, transient: bool| {
            let error = client.refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.is_transient(), transient, "{error}");
        };
        let ours = r#"{"code":"storage_full","message":"no space"}"#;
        check(507, ours, "no space (storage_full)", true);
        check(422, ours, "no space (storage_full)", false);
        for status in [502, 503, 504] {
            check(status, "<html>Bad Gateway</html>", "a proxy", true);
            check(status, "", "a proxy", true);
        }
        for status in [301, 404, 500] {
            check(status, "<html></html>", "not an exchange", false);
        }
    }
}
