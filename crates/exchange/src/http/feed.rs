//! The WebSocket of one reader of market data.
//!
//! It listens to the rings from its first moment and asks for a snapshot when it subscribes, so
//! that nothing falls between the two: news that the snapshot has already are left out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::header::AUTHORIZATION;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method};
use axum::response::Response;
use base::{AccountId, Digest};
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use wire::{AccountUpdate, FeedMessage, FeedRequest, Scope, Standing};

use super::caller::{self, Caller, Shown};
use crate::app::App;
use crate::config::limits;
use crate::core::Core;
use crate::error::ApiError;
use crate::feed::{AccountNews, InstrumentNews};
use crate::sequencer::unix_ms;
use crate::store::Principal;

/// A message that can't go out within this ends the connection.
const TIMEOUT: Duration = Duration::from_secs(limits::AGENT_TIMEOUT_S);

/// Market data and one's own account, as they happen
///
/// A WebSocket. Send `{"type":"subscribe","instrument":"cpu.2g.any"}` for a snapshot of the book and
/// then every change of it with absolute quantities, and every fill; `{"type":"subscribe_account"}`,
/// with a token, for one's own orders, fills, leases, receipts and balances. Each update names the
/// sequence before it as `previous`: if that is not the last that was heard, something was missed,
/// and subscribing again gives a new snapshot. A reader that is too far behind is told
/// `slow_consumer` and disconnected. The messages are `wire::FeedRequest` and `wire::FeedMessage`.
#[utoipa::path(
    get, path = "/v1/feed", operation_id = "connect_feed", tag = "market",
    security((), ("token" = [])),
    responses((status = SWITCHING_PROTOCOLS, description = "Messages follow")),
)]
pub(super) async fn connect(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let caller = caller::of(&extensions);
    let shown = extensions.get::<Shown>().map(|shown| shown.0);
    let upgrade =
        upgrade.map_err(|rejection| ApiError::WebSocketExpected(rejection.body_text()))?;
    let public = app.sequencer.read(|core| core.feed.public()).await?;
    let private = app.sequencer.read(|core| core.feed.private()).await?;
    Ok(upgrade
        .max_message_size(limits::FEED_REQUEST_BYTES)
        .max_frame_size(limits::FEED_REQUEST_BYTES)
        .on_upgrade(move |socket| async move {
            let (sink, stream) = socket.split();
            let mut reader =
                Reader { app, caller, shown, sink, last: BTreeMap::new(), account: None };
            if let Err(end) = reader.serve(stream, public, private).await {
                reader.end(end).await;
            }
        }))
}

/// One connection.
struct Reader {
    app: Arc<App>,
    caller: Caller,
    /// Digest of the token that opened the socket.
    shown: Option<Digest>,
    sink: SplitSink<WebSocket, Message>,
    /// The sequence that was sent last, per subscription.
    last: BTreeMap<String, u64>,
    account: Option<Subscriber>,
}

/// Whose account is listened to.
struct Subscriber {
    account: AccountId,
    /// Digest of the token that allows it.
    token: Digest,
    /// The sequence that was sent last.
    last: u64,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the reader went away")]
    Gone,
    #[error("too far behind: read faster, or subscribe to less")]
    SlowConsumer,
    #[error("the exchange is shutting down; try again in a moment")]
    Stopped,
}

impl End {
    fn code(&self) -> &'static str {
        match self {
            End::Gone => "gone",
            End::SlowConsumer => "slow_consumer",
            End::Stopped => "shutting_down",
        }
    }
}

impl Reader {
    async fn serve(
        &mut self,
        mut stream: futures_util::stream::SplitStream<WebSocket>,
        mut public: Receiver<Arc<InstrumentNews>>,
        mut private: Receiver<Arc<AccountNews>>,
    ) -> Result<(), End> {
        let every = Duration::from_millis(self.app.config.feed_heartbeat_ms);
        let mut heartbeat = tokio::time::interval(every);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut closing = self.app.closing.clone();
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(Ok(Message::Text(text))) => self.hear(text.as_str()).await?,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Binary(_))) => self.hear("").await?,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(End::Gone),
                },
                news = public.recv() => self.instrument_news(&*news.map_err(lost)?).await?,
                news = private.recv() => self.account_news(&*news.map_err(lost)?).await?,
                _ = heartbeat.tick() => self.heartbeat().await?,
                () = stopped(&mut closing) => return Err(End::Stopped),
            }
        }
    }

    async fn hear(&mut self, text: &str) -> Result<(), End> {
        match serde_json::from_str(text) {
            Ok(FeedRequest::Subscribe { instrument }) => self.subscribe(instrument).await,
            Ok(FeedRequest::Unsubscribe { instrument }) => {
                self.last.remove(&instrument);
                Ok(())
            }
            Ok(FeedRequest::SubscribeAccount { token }) => self.subscribe_account(token).await,
            Err(error) => self.refuse(&ApiError::InvalidJson(error.to_string())).await,
        }
    }

    async fn subscribe(&mut self, instrument: String) -> Result<(), End> {
        if self.last.len() >= limits::FEED_SUBSCRIPTIONS && !self.last.contains_key(&instrument) {
            let message = format!("at most {} subscriptions", limits::FEED_SUBSCRIPTIONS);
            return self.refuse(&ApiError::InvalidQuery(message)).await;
        }
        let asked = instrument.clone();
        let found = self.app.sequencer.read(move |core: &mut Core| core.book_snapshot(&asked));
        match found.await.map_err(|_| End::Stopped)? {
            Some(snapshot) => {
                self.last.insert(instrument, snapshot.sequence);
                self.send(&FeedMessage::Snapshot(snapshot)).await
            }
            None => self.refuse(&ApiError::NotFound { what: "instrument", id: instrument }).await,
        }
    }

    async fn subscribe_account(&mut self, token: Option<String>) -> Result<(), End> {
        let (account, token) = match self.account_of(token).await {
            Ok(found) => found,
            Err(error) => return self.refuse(&error).await,
        };
        let read = self.app.sequencer.read(move |core: &mut Core| core.account_snapshot(account));
        let Some(snapshot) = read.await.map_err(|_| End::Stopped)? else {
            return self.refuse(&ApiError::UnknownToken).await;
        };
        self.account = Some(Subscriber { account, token, last: snapshot.sequence });
        self.send(&FeedMessage::AccountSnapshot(snapshot)).await
    }

    async fn account_of(&self, token: Option<String>) -> Result<(AccountId, Digest), ApiError> {
        let (caller, shown) = match token {
            None => (self.caller, self.shown),
            Some(token) => {
                let header = HeaderValue::try_from(format!("Bearer {token}"));
                let header = header.map_err(|_| ApiError::UnknownToken)?;
                let headers = HeaderMap::from_iter([(AUTHORIZATION, header)]);
                caller::identify(&Method::GET, &headers, &self.app).await?
            }
        };
        match (caller, shown) {
            (Caller::Known(principal), Some(token)) => Ok((may_listen(principal)?, token)),
            (Caller::Nobody, _) => Err(ApiError::TokenMissing),
            (Caller::Stranger, _) => Err(ApiError::UnknownToken),
            (Caller::Operator | Caller::Known(_), _) => Err(ApiError::AccountOnly),
        }
    }

    /// A token may end or be taken back while the socket stays open.
    async fn check_subscriber(&mut self) -> Result<(), End> {
        let Some(subscriber) = &self.account else { return Ok(()) };
        let token = subscriber.token;
        let found = self.app.reading(move |reader| reader.principal(&token, unix_ms())).await;
        let error = match found {
            Ok(Some(principal)) => may_listen(principal).err(),
            Ok(None) => Some(ApiError::UnknownToken),
            // The store can't say just now: asked again with the next heartbeat.
            Err(_) => None,
        };
        match error {
            None => Ok(()),
            Some(error) => {
                self.account = None;
                self.refuse(&error).await
            }
        }
    }

    async fn instrument_news(&mut self, news: &InstrumentNews) -> Result<(), End> {
        match self.last.get_mut(&news.instrument) {
            Some(last) if *last < news.sequence => *last = news.sequence,
            _ => return Ok(()),
        }
        self.send_text(news.text.clone()).await
    }

    async fn account_news(&mut self, news: &AccountNews) -> Result<(), End> {
        let Some(subscriber) = &mut self.account else { return Ok(()) };
        if subscriber.account != news.account || subscriber.last >= news.update.sequence {
            return Ok(());
        }
        let previous = std::mem::replace(&mut subscriber.last, news.update.sequence);
        let update = AccountUpdate { previous, ..news.update.clone() };
        self.send(&FeedMessage::AccountUpdate(update)).await
    }

    async fn heartbeat(&mut self) -> Result<(), End> {
        self.check_subscriber().await?;
        if self.last.is_empty() && self.account.is_none() {
            return Ok(());
        }
        let account = self.account.as_ref().map(|subscriber| subscriber.last);
        self.send(&FeedMessage::Heartbeat { instruments: self.last.clone(), account }).await
    }

    async fn refuse(&mut self, error: &ApiError) -> Result<(), End> {
        let (code, message) = (error.code().to_owned(), error.to_string());
        self.send(&FeedMessage::Refused { code, message }).await
    }

    async fn send(&mut self, message: &FeedMessage) -> Result<(), End> {
        let text = serde_json::to_string(message).map_err(|_| End::Gone)?;
        self.send_text(text).await
    }

    async fn send_text(&mut self, text: String) -> Result<(), End> {
        let sent = tokio::time::timeout(TIMEOUT, self.sink.send(Message::Text(text.into()))).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::SlowConsumer),
        }
    }

    /// Says why, if that still gets through, and closes.
    async fn end(&mut self, end: End) {
        tracing::debug!(%end, "a reader of the feed is gone");
        if matches!(end, End::SlowConsumer) {
            self.app.metrics.dropped_reader();
        }
        let refused =
            FeedMessage::Refused { code: end.code().to_owned(), message: end.to_string() };
        if !matches!(end, End::Gone) {
            let _ = self.send(&refused).await;
        }
        let _ = tokio::time::timeout(TIMEOUT, self.sink.close()).await;
    }
}

/// The account that a token's owner may listen to.
fn may_listen(principal: Principal) -> Result<AccountId, ApiError> {
    match principal {
        Principal::Account { standing: Standing::Banned, .. } => Err(ApiError::AccountBanned),
        Principal::Account { account, scopes, .. } if scopes.has(Scope::Read) => Ok(account),
        Principal::Account { .. } => Err(ApiError::ScopeLacking { scope: Scope::Read }),
        Principal::Machine(_) => Err(ApiError::AccountOnly),
    }
}

/// Returns when the exchange shuts down.
async fn stopped(closing: &mut tokio::sync::watch::Receiver<bool>) {
    // An error means that the other end is gone, which is a shutdown, too.
    let _ = closing.wait_for(|closing| *closing).await;
}

fn lost(error: RecvError) -> End {
    match error {
        RecvError::Lagged(_) => End::SlowConsumer,
        RecvError::Closed => End::Stopped,
    }
}
