//! What every case of bad input must show.

mod access;
mod checkpoints;
mod disks;
mod limits;
mod missing;
mod modules;
mod money;
mod outputs;

use client::ClientError;
use reqwest::Method;
use wire::{ErrorBody, Wallet};

use crate::stage::{Ran, Stage};

/// Documented exit statuses.
pub const WRONG_COMMAND_LINE: i32 = 2;
/// A limit was reached.
pub const LIMIT: i32 = 122;
/// Program, input or checkpoint can't be used.
pub const REFUSED: i32 = 124;
/// Anything else in the way.
pub const FAILED: i32 = 125;

impl Ran {
    /// Checks the exit status, that nothing looks like a result, and what is said: all of
    /// `words` in the message.
    pub fn assert_refused(&self, status: i32, words: &[&str]) {
        // `--nocapture` shows every message.
        println!("{}: {}", self.status, self.stderr.trim_end());
        assert_eq!((self.status, self.stdout.as_str()), (status, ""), "{self:#?}");
        assert!(self.stderr.contains("error: "), "{self:#?}");
        self.assert_says(words);
    }

    /// Checks what is said on standard error.
    pub fn assert_says(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "it does not say {word:?}: {self:#?}");
        }
    }
}

/// Everybody's money, and how far the journal is.
#[derive(Debug, PartialEq, Eq)]
pub struct Standing {
    wallets: Vec<Wallet>,
    journal: Option<u64>,
}

impl Stage {
    /// Everybody's money, after an audit.
    pub async fn wallets(&self) -> Standing {
        self.audit().await;
        let mut wallets = vec![self.buyer.wallet().await.unwrap()];
        for machine in &self.machines {
            wallets.push(machine.owner.wallet().await.unwrap());
        }
        Standing { wallets, journal: None }
    }

    /// The same, and that nothing at all happens in between.
    pub async fn everything(&self) -> Standing {
        let journal = Some(self.audit().await.journal_sequence);
        Standing { journal, ..self.wallets().await }
    }

    /// Requests to the exchange that no client of ours would send.
    pub fn raw(&self, token: &str) -> Raw {
        Raw { http: reqwest::Client::new(), url: self.url.clone(), token: token.to_owned() }
    }
}

/// See [`Stage::raw`].
pub struct Raw {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Raw {
    /// Posts a text that is to be refused: status and error.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, ErrorBody) {
        let url = format!("{}{path}", self.url);
        let request = self.http.request(Method::POST, &url).bearer_auth(&self.token).body(body);
        let answer = request.send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(!status.is_success(), "{url} was not refused: {text}");
        let body = serde_json::from_str(&text);
        (status.as_u16(), body.unwrap_or_else(|error| panic!("{url}: {error}: {text}")))
    }
}

/// Checks a refusal by the exchange.
pub fn assert_refusal(refusal: &(u16, ErrorBody), status: u16, code: &str, words: &[&str]) {
    let (found, ErrorBody { code: found_code, message, .. }) = refusal;
    println!("{found} {found_code}: {message}");
    assert_eq!((*found, found_code.as_str()), (status, code), "{message}");
    for word in words {
        assert!(message.contains(word), "it does not say {word:?}: {message}");
    }
}

/// A refusal as a client of ours has it.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (u16, ErrorBody) {
    match result {
        Err(ClientError::Refused { status, code, message }) => {
            (status, ErrorBody { code, message, details: Default::default() })
        }
        other => panic!("not refused: {other:?}"),
    }
}
