//! The connection to the exchange: made, proven, watched and made again.
//!
//! It runs as a task of its own and hides everything about sockets: the agent sees
//! [`LinkEvent`]s. What is sent while there is no connection is dropped, on purpose: after
//! every `Welcome` the agent works out anew what has to be said.

use std::sync::Arc;
use std::time::Duration;

use base::{ExchangeId, MachineId};
use ed25519_dalek::{Signer, SigningKey};
use futures_util::{SinkExt, StreamExt};
use tls::Trust;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};
use wire::{AskState, AttemptStart, OfferTerms, ToAgent, ToExchange};

/// For connecting, and for each step of the introduction.
const STEP_MAX: Duration = Duration::from_secs(10);
/// First wait after a loss; doubled up to the last. An exchange that restarts is back soon, and
/// leases lapse within seconds: who waits longer than that loses them.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(2);
/// Heartbeats without any answer (a pong counts) before the connection is taken for dead.
const SILENT_HEARTBEATS_MAX: u32 = 4;
/// … but never sooner than this.
const SILENCE_MIN: Duration = Duration::from_secs(5);

/// Who connects to whom.
pub(crate) struct Introduction {
    pub url: String,
    pub trust: Trust,
    pub exchange: ExchangeId,
    pub machine: MachineId,
    pub key: Arc<SigningKey>,
    pub offer: OfferTerms,
}

/// What the agent hears.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// Connected, and what the exchange holds.
    Up {
        heartbeat: Duration,
        leases: Vec<base::LeaseId>,
        attempts: Vec<AttemptStart>,
        asks: Vec<AskState>,
        fixed_leases: Vec<base::LeaseId>,
    },
    /// Anything else that the exchange says.
    Said(ToAgent),
    /// The connection is gone; the next one is on its way.
    Down { reason: String },
    /// The exchange does not want this machine; there is no next one.
    Dismissed { code: String, message: String },
}

/// The agent's end.
pub(crate) struct Link {
    pub events: UnboundedReceiver<LinkEvent>,
    outgoing: UnboundedSender<ToExchange>,
}

impl Link {
    /// Starts connecting, until the returned end is dropped.
    pub(crate) fn start(introduction: Introduction) -> Link {
        let (event_sender, events) = mpsc::unbounded_channel();
        let (outgoing, messages) = mpsc::unbounded_channel();
        tokio::spawn(keep(introduction, event_sender, messages));
        Link { events, outgoing }
    }

    /// Another way to say something.
    pub(crate) fn sender(&self) -> UnboundedSender<ToExchange> {
        self.outgoing.clone()
    }

    pub(crate) fn send(&self, message: ToExchange) {
        // The task ends only after it was dismissed, and then nobody listens.
        let _ = self.outgoing.send(message);
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a connection ended.
enum End {
    Lost(String),
    Dismissed {
        code: String,
        message: String,
    },
    /// The agent is gone.
    Unwanted,
}

async fn keep(
    introduction: Introduction,
    events: UnboundedSender<LinkEvent>,
    mut outgoing: UnboundedReceiver<ToExchange>,
) {
    let mut backoff = BACKOFF_FIRST;
    loop {
        let end = match connect(&introduction).await {
            Ok((socket, welcome)) => {
                backoff = BACKOFF_FIRST;
                // Nothing that was meant for the last connection goes into this one.
                while outgoing.try_recv().is_ok() {}
                let heartbeat = welcome_heartbeat(&welcome);
                match events.send(welcome) {
                    Ok(()) => converse(socket, heartbeat, &events, &mut outgoing).await,
                    Err(_) => End::Unwanted,
                }
            }
            Err(end) => end,
        };
        let event = match end {
            End::Unwanted => return,
            End::Dismissed { code, message } => {
                let _ = events.send(LinkEvent::Dismissed { code, message });
                return;
            }
            End::Lost(reason) => LinkEvent::Down { reason },
        };
        if events.send(event).is_err() {
            return;
        }
        tokio::time::sleep(jittered(backoff)).await;
        backoff = (backoff * 2).min(BACKOFF_LAST);
    }
}

fn welcome_heartbeat(welcome: &LinkEvent) -> Duration {
    match welcome {
        LinkEvent::Up { heartbeat, .. } => *heartbeat,
        _ => Duration::from_secs(1),
    }
}

/// Between half and all of `wait`, so that machines that lost the exchange together don't come
/// back together.
fn jittered(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    wait / 2 + (wait / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

async fn connect(introduction: &Introduction) -> Result<(Socket, LinkEvent), End> {
    let lost = |what: &str| End::Lost(what.to_owned());
    let url = match introduction.url.strip_prefix("http") {
        Some(rest) => format!("ws{rest}/v1/agent"),
        None => return Err(End::Lost(format!("{} is not an http URL", introduction.url))),
    };
    // Without Nagle's algorithm: small messages in both directions would wait 40 ms each.
    let private = introduction.trust.config().cloned().map(Connector::Rustls);
    let connecting = connect_async_tls_with_config(url, None, true, private);
    let (mut socket, _) = timeout(STEP_MAX, connecting)
        .await
        .map_err(|_| lost("no answer"))?
        .map_err(|error| End::Lost(error.to_string()))?;
    let nonce = match hear(&mut socket).await? {
        ToAgent::Challenge { protocol, exchange, nonce } => {
            if protocol < wire::PROTOCOL_VERSION {
                tracing::warn!("the exchange speaks version {protocol} of the protocol");
            }
            if exchange != introduction.exchange {
                return Err(End::Dismissed {
                    code: "other_exchange".to_owned(),
                    message: format!(
                        "{exchange} answers at {}, this machine is enrolled with {}",
                        introduction.url, introduction.exchange
                    ),
                });
            }
            nonce
        }
        ToAgent::Refused { code, message } => return Err(refused(code, message)),
        _ => return Err(lost("the exchange did not begin with a challenge")),
    };
    let bytes = wire::challenge_bytes(introduction.exchange, introduction.machine, &nonce);
    let hello = ToExchange::Hello {
        protocol: wire::PROTOCOL_VERSION,
        machine: introduction.machine,
        signature: wire::hex(&introduction.key.sign(&bytes).to_bytes()),
        offer: introduction.offer.clone(),
    };
    say(&mut socket, &hello).await?;
    match hear(&mut socket).await? {
        ToAgent::Welcome { heartbeat_ms, leases, attempts, asks, fixed_leases } => {
            let heartbeat = Duration::from_millis(heartbeat_ms.max(10));
            Ok((socket, LinkEvent::Up { heartbeat, leases, attempts, asks, fixed_leases }))
        }
        ToAgent::Refused { code, message } => Err(refused(code, message)),
        _ => Err(lost("the exchange did not answer the introduction")),
    }
}

/// Refusals that pass by themselves: the exchange is starting, stopping or out of disk. Any
/// other would be given again to every machine that asks for ever.
fn refused(code: String, message: String) -> End {
    const PASSING: [&str; 6] =
        ["gone", "hello_expected", "internal", "shutting_down", "storage_failed", "storage_full"];
    if PASSING.contains(&code.as_str()) {
        End::Lost(format!("refused: {message} ({code})"))
    } else {
        End::Dismissed { code, message }
    }
}

async fn say(socket: &mut Socket, message: &ToExchange) -> Result<(), End> {
    let text = serde_json::to_string(message).expect("messages are plain structs");
    timeout(STEP_MAX, socket.send(Message::text(text)))
        .await
        .map_err(|_| End::Lost("the exchange takes no messages".to_owned()))?
        .map_err(|error| End::Lost(error.to_string()))
}

async fn hear(socket: &mut Socket) -> Result<ToAgent, End> {
    let next = async {
        loop {
            let message = socket.next().await;
            if let Some(message) = understand(message)? {
                return Ok(message);
            }
        }
    };
    timeout(STEP_MAX, next).await.map_err(|_| End::Lost("the exchange is silent".to_owned()))?
}

/// A message of ours, or none in a ping or in something newer than this agent.
fn understand(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
) -> Result<Option<ToAgent>, End> {
    match message {
        None => Err(End::Lost("the exchange closed the connection".to_owned())),
        Some(Err(error)) => Err(End::Lost(error.to_string())),
        Some(Ok(Message::Close(frame))) => Err(End::Lost(match frame {
            Some(frame) => format!("the exchange closed the connection: {}", frame.reason),
            None => "the exchange closed the connection".to_owned(),
        })),
        Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
            Ok(message) => Ok(Some(message)),
            Err(error) => {
                tracing::warn!("a message was not understood and is ignored: {error}");
                Ok(None)
            }
        },
        Some(Ok(_)) => Ok(None),
    }
}

async fn converse(
    mut socket: Socket,
    heartbeat: Duration,
    events: &UnboundedSender<LinkEvent>,
    outgoing: &mut UnboundedReceiver<ToExchange>,
) -> End {
    let silence_max = (heartbeat * SILENT_HEARTBEATS_MAX).max(SILENCE_MIN);
    let mut heard_at = Instant::now();
    loop {
        let heard = tokio::select! {
            message = socket.next() => Some(message),
            message = outgoing.recv() => {
                let Some(message) = message else { return End::Unwanted };
                // A ping beside every heartbeat, so that a dead connection shows.
                if matches!(message, ToExchange::Heartbeat { .. })
                    && let Err(error) = socket.send(Message::Ping(Vec::new().into())).await
                {
                    return End::Lost(error.to_string());
                }
                if let Err(end) = say(&mut socket, &message).await {
                    return end;
                }
                None
            }
            () = tokio::time::sleep_until(heard_at + silence_max) => {
                return End::Lost(format!("no answer for {} s", silence_max.as_secs()));
            }
        };
        let Some(message) = heard else { continue };
        heard_at = Instant::now();
        match understand(message) {
            Ok(None) => {}
            Ok(Some(message)) => {
                if events.send(LinkEvent::Said(message)).is_err() {
                    return End::Unwanted;
                }
            }
            Err(end) => return end,
        }
    }
}
