//! Market data and one's own account as they happen, from a connection that comes back by itself.
//!
//! [`Follower`] does the arithmetic without I/O: it keeps the books, notices what was missed and
//! says what to ask for anew. [`Feed`] is the WebSocket around it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tls::Trust;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};
use wire::{
    AccountSnapshot, AccountUpdate, BookUpdate, FeedMessage, FeedRequest, LocalBook, TradeView,
};

use crate::{Client, ClientError};

/// For connecting.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The exchange says something every five seconds: after so long the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// First wait after a loss; doubled up to the last.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(10);
/// Refusals that end a subscription for good. Others pass: the connection is made again.
const FINAL: [&str; 8] = [
    "not_found",
    "token_missing",
    "unknown_token",
    "account_only",
    "account_banned",
    "scope_lacking",
    "invalid_json",
    "invalid_query",
];

/// What a reader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedNews {
    /// A book as it is now: the first, or a new one after something was missed.
    Book {
        /// Whose, see [`Follower::book`].
        instrument: String,
        /// Whether an earlier one was given up.
        again: bool,
    },
    /// A book changed; it is changed already in [`Follower::book`].
    Changed(BookUpdate),
    /// One's account as it is now.
    Account(Box<AccountSnapshot>),
    /// What changed in it.
    AccountChanged(Box<AccountUpdate>),
    /// The connection is gone and will be made again.
    Lost {
        /// For people.
        reason: String,
    },
}

/// Follows subscriptions over one connection after the other.
#[derive(Debug, Default)]
pub struct Follower {
    /// Subscribed instruments, with their books once there was a snapshot.
    books: BTreeMap<String, Option<LocalBook>>,
    /// The token by which one's account is subscribed.
    token: Option<String>,
    /// The sequence of the last message about it.
    account: Option<u64>,
    /// Asked for anew, and not yet answered: until then what comes is of the old chain.
    awaited: std::collections::BTreeSet<String>,
    account_awaited: bool,
}

/// What follows from a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// For the reader.
    pub news: Option<FeedNews>,
    /// For the exchange.
    pub requests: Vec<FeedRequest>,
}

impl Follower {
    /// One more instrument; what to ask for.
    pub fn subscribe(&mut self, instrument: &str) -> FeedRequest {
        self.books.insert(instrument.to_owned(), None);
        self.ask(instrument)
    }

    /// One's account; what to ask for.
    pub fn subscribe_account(&mut self, token: &str) -> FeedRequest {
        self.token = Some(token.to_owned());
        self.account_awaited = true;
        FeedRequest::SubscribeAccount { token: self.token.clone() }
    }

    /// What to ask for on a new connection.
    pub fn connected(&mut self) -> Vec<FeedRequest> {
        let instruments: Vec<String> = self.books.keys().cloned().collect();
        let mut requests: Vec<_> = instruments.iter().map(|name| self.ask(name)).collect();
        if let Some(token) = self.token.clone() {
            requests.push(self.subscribe_account(&token));
        }
        requests
    }

    /// A subscribed instrument's book.
    pub fn book(&self, instrument: &str) -> Option<&LocalBook> {
        self.books.get(instrument)?.as_ref()
    }

    fn ask(&mut self, instrument: &str) -> FeedRequest {
        self.awaited.insert(instrument.to_owned());
        FeedRequest::Subscribe { instrument: instrument.to_owned() }
    }

    /// Follows a message.
    pub fn hear(&mut self, message: FeedMessage) -> Step {
        match message {
            FeedMessage::Snapshot(snapshot) => {
                let Some(book) = self.books.get_mut(&snapshot.instrument) else {
                    return Step::default();
                };
                self.awaited.remove(&snapshot.instrument);
                let again = book.replace(LocalBook::new(&snapshot)).is_some();
                Step::news(FeedNews::Book { instrument: snapshot.instrument, again })
            }
            FeedMessage::Update(update) => self.update(update),
            FeedMessage::AccountSnapshot(snapshot) => {
                self.account_awaited = false;
                self.account = Some(snapshot.sequence);
                Step::news(FeedNews::Account(Box::new(snapshot)))
            }
            FeedMessage::AccountUpdate(update) => {
                let Some(last) = self.account.filter(|_| !self.account_awaited) else {
                    return Step::default();
                };
                if update.previous != last {
                    return Step { requests: self.account_again(), ..Step::default() };
                }
                self.account = Some(update.sequence);
                Step::news(FeedNews::AccountChanged(Box::new(update)))
            }
            FeedMessage::Heartbeat { instruments, account } => {
                let missed = instruments.into_iter().filter(|(name, last)| {
                    !self.awaited.contains(name)
                        && self.book(name).is_some_and(|book| book.check(*last).is_err())
                });
                let missed: Vec<String> = missed.map(|(name, _)| name).collect();
                let mut requests: Vec<_> = missed.iter().map(|name| self.ask(name)).collect();
                if !self.account_awaited && self.account.zip(account).is_some_and(|(a, b)| a < b) {
                    requests.extend(self.account_again());
                }
                Step { requests, ..Step::default() }
            }
            FeedMessage::Refused { .. } => Step::default(),
        }
    }

    fn update(&mut self, update: BookUpdate) -> Step {
        let name = &update.instrument;
        if self.awaited.contains(name) {
            return Step::default();
        }
        let Some(Some(book)) = self.books.get_mut(name) else { return Step::default() };
        let before = book.sequence();
        match book.apply(&update) {
            Ok(()) if book.sequence() == before => Step::default(),
            Ok(()) => Step::news(FeedNews::Changed(update)),
            Err(_) => Step { requests: vec![self.ask(&update.instrument)], ..Step::default() },
        }
    }

    fn account_again(&mut self) -> Vec<FeedRequest> {
        let token = self.token.clone();
        token.map(|token| self.subscribe_account(&token)).into_iter().collect()
    }
}

impl Step {
    fn news(news: FeedNews) -> Self {
        Step { news: Some(news), requests: Vec::new() }
    }
}

impl FeedNews {
    /// The fills in it, oldest first.
    pub fn trades(&self) -> &[TradeView] {
        match self {
            FeedNews::Changed(update) => &update.trades,
            _ => &[],
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection to `/v1/feed` that is made again when it is lost.
#[derive(Debug)]
pub struct Feed {
    url: String,
    token: String,
    trust: Trust,
    follower: Follower,
    socket: Option<Socket>,
    backoff: Duration,
    /// Whether it was connected before: the first failure is told at once.
    was_connected: bool,
}

impl Feed {
    /// A feed of the client's exchange. Nothing is sent yet.
    pub fn new(client: &Client) -> Self {
        Feed {
            url: client.url().to_owned(),
            token: client.token().to_owned(),
            trust: client.trust().clone(),
            follower: Follower::default(),
            socket: None,
            backoff: BACKOFF_FIRST,
            was_connected: false,
        }
    }

    /// Follow an instrument. Say it before the first [`Feed::next`].
    pub fn subscribe(&mut self, instrument: &str) {
        self.follower.subscribe(instrument);
    }

    /// Follow one's account. Say it before the first [`Feed::next`].
    pub fn subscribe_account(&mut self) {
        let token = self.token.clone();
        self.follower.subscribe_account(&token);
    }

    /// A subscribed instrument's book.
    pub fn book(&self, instrument: &str) -> Option<&LocalBook> {
        self.follower.book(instrument)
    }

    /// What is new. An error is final: what passes is waited for, unless it is the first connection
    /// that fails.
    pub async fn next(&mut self) -> Result<FeedNews, ClientError> {
        loop {
            let text = match &mut self.socket {
                None => {
                    self.connect().await?;
                    continue;
                }
                Some(socket) => match timeout(SILENCE_MAX, socket.next()).await {
                    Ok(Some(Ok(Message::Text(text)))) => text,
                    Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                    Ok(Some(Ok(_)) | None) => {
                        return Ok(self.lost("the exchange closed the connection".to_owned()));
                    }
                    Ok(Some(Err(error))) => return Ok(self.lost(error.to_string())),
                    Err(_) => return Ok(self.lost("nothing was heard for too long".to_owned())),
                },
            };
            // A newer exchange may say what is unknown here.
            let Ok(message) = serde_json::from_str(text.as_str()) else { continue };
            if let FeedMessage::Refused { code, message } = message {
                if FINAL.contains(&code.as_str()) {
                    return Err(ClientError::Refused { status: 0, code, message });
                }
                return Ok(self.lost(message));
            }
            let step = self.follower.hear(message);
            for request in step.requests {
                if let Err(reason) = self.say(&request).await {
                    return Ok(self.lost(reason));
                }
            }
            if let Some(news) = step.news {
                return Ok(news);
            }
        }
    }

    fn lost(&mut self, reason: String) -> FeedNews {
        self.socket = None;
        FeedNews::Lost { reason }
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        if self.was_connected {
            sleep(self.backoff).await;
            self.backoff = (self.backoff * 2).min(BACKOFF_LAST);
        }
        let url = format!("ws{}/v1/feed", self.url.strip_prefix("http").unwrap_or(&self.url));
        let private = self.trust.config().cloned().map(Connector::Rustls);
        // Without Nagle's algorithm: small messages would wait for each other.
        let connecting = connect_async_tls_with_config(url, None, true, private);
        let failed = match timeout(CONNECT_MAX, connecting).await {
            Ok(Ok((socket, _))) => {
                self.socket = Some(socket);
                self.was_connected = true;
                let mut said = Ok(());
                for request in self.follower.connected() {
                    said = said.and(self.say(&request).await);
                }
                if said.is_ok() {
                    self.backoff = BACKOFF_FIRST;
                } else {
                    self.socket = None;
                }
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it takes too long to answer".to_owned(),
        };
        if self.was_connected {
            return Ok(());
        }
        Err(ClientError::NoFeed { url: self.url.clone(), problem: failed })
    }

    async fn say(&mut self, request: &FeedRequest) -> Result<(), String> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let text = serde_json::to_string(request).map_err(|error| error.to_string())?;
        match timeout(CONNECT_MAX, socket.send(Message::Text(text.into()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the exchange does not read".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{BookSnapshot, PriceLevel};

    const NAME: &str = "cpu.2g.any";

    fn snapshot(sequence: u64) -> FeedMessage {
        FeedMessage::Snapshot(BookSnapshot {
            instrument: NAME.to_owned(),
            sequence,
            bids: vec![],
            asks: vec![],
            last_price_nanocredits_per_tfuel: None,
        })
    }

    fn update(previous: u64, sequence: u64) -> FeedMessage {
        let price_nanocredits_per_tfuel = 100 * sequence as i64;
        FeedMessage::Update(BookUpdate {
            instrument: NAME.to_owned(),
            previous,
            sequence,
            bids: vec![],
            asks: vec![PriceLevel { price_nanocredits_per_tfuel, quantity: 1, orders: 1 }],
            trades: vec![],
        })
    }

    fn heartbeat(last: u64) -> FeedMessage {
        FeedMessage::Heartbeat { instruments: [(NAME.to_owned(), last)].into(), account: None }
    }

    /// What is asked for and what is told, in short.
    fn outcome(step: &Step) -> &'static str {
        match (&step.news, step.requests.len()) {
            (Some(FeedNews::Book { again: false, .. }), 0) => "book",
            (Some(FeedNews::Book { again: true, .. }), 0) => "book again",
            (Some(FeedNews::Changed(_)), 0) => "changed",
            (None, 0) => "nothing",
            (None, 1) => "asks again",
            _ => "something else",
        }
    }

    #[test]
    fn what_was_missed_is_asked_for_once_and_mended_by_the_answer() {
        let mut follower = Follower::default();
        follower.subscribe(NAME);
        for (message, expected) in [
            (update(3, 4), "nothing"), // of a chain that was not subscribed yet
            (snapshot(5), "book"),
            (update(3, 5), "nothing"), // in the snapshot already
            (update(5, 8), "changed"),
            (heartbeat(8), "nothing"),
            (update(9, 11), "asks again"),
            (update(11, 12), "nothing"), // awaited: not asked for twice
            (heartbeat(12), "nothing"),
            (snapshot(12), "book again"),
            (update(12, 13), "changed"),
            (heartbeat(15), "asks again"),
            (snapshot(15), "book again"),
            (heartbeat(15), "nothing"),
        ] {
            let text = format!("{message:?}");
            assert_eq!(outcome(&follower.hear(message)), expected, "{text}");
        }
        assert_eq!(follower.book(NAME).unwrap().sequence(), 15);
        assert_eq!(follower.connected().len(), 1);
        assert_eq!(outcome(&follower.hear(update(15, 16))), "nothing", "of the old connection");
    }
}
