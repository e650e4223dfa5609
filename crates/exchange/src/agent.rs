//! The WebSocket of one agent: who it is, and then messages to and fro.
//!
//! One task reads, one writes. What an agent asks is decided one at a time, so that an agent
//! can't crowd the sequencer; what it is told waits in a bounded queue, so that it can't hold
//! it up. Either end of the connection takes the other with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use base::{AccountId, AttemptId, Digest, MachineId, OrderId};
use clearing::fixed::FixedCommand;
use clearing::{Command, OrderLink};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use market::Instrument;
use tokio::sync::{mpsc, oneshot};
use wire::{OfferTerms, Qualified, RuntimeTerms, SignedReceipt, Standing, ToAgent, ToExchange};

use crate::app::App;
use crate::blobs::BlobStore;
use crate::config::limits;
use crate::core::Core;
use crate::error::ApiError;
use crate::grants::{Granted, Reader};
use crate::measuring::{Found, Measuring, Next, Subject};
use crate::outbox;
use crate::presence::Link;
use crate::receipts::{self, ReceiptFlaw};
use crate::secrets;
use crate::sequencer::{About, Failure, Request, unix_ms};
use crate::text;

const TIMEOUT: Duration = Duration::from_secs(limits::AGENT_TIMEOUT_S);
/// Between two looks whether a machine is to be measured, and what it may be offered in.
const LOOK: Duration = Duration::from_secs(60);

/// The WebSocket of one agent
///
/// Its messages are those of `wire::ToExchange` and `wire::ToAgent`, which are for the agent of this
/// project and may change with its protocol's version. A machine proves its key on it.
#[utoipa::path(
    get, path = "/v1/agent", operation_id = "connect_agent", tag = "machines",
    security(()),
    responses((status = SWITCHING_PROTOCOLS, description = "Messages follow")),
)]
pub(crate) async fn connect(
    State(app): State<Arc<App>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade =
        upgrade.map_err(|rejection| ApiError::WebSocketExpected(rejection.body_text()))?;
    Ok(upgrade
        .max_message_size(limits::AGENT_MESSAGE_BYTES)
        .max_frame_size(limits::AGENT_MESSAGE_BYTES)
        .on_upgrade(move |socket| serve(app, socket)))
}

/// A machine that proved its key.
struct Known {
    machine: MachineId,
    owner: AccountId,
    public_key: [u8; 32],
    measurable: bool,
    runtimes: Vec<RuntimeTerms>,
}

/// Why a connection ends before it began.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the agent went away")]
    Gone,
    #[error("the first message must be a Hello: {0}")]
    NotHello(String),
    #[error("the agent speaks protocol {agent}, this exchange {exchange}: update the older one")]
    Protocol { agent: u32, exchange: u32 },
    #[error("{0} is not enrolled here: enrol it with a join code")]
    UnknownMachine(MachineId),
    #[error("{0} was retired by its owner: enrol again with a new key")]
    Retired(MachineId),
    #[error("{0}: use the key that the machine enrolled with")]
    Signature(#[from] wire::SignatureError),
    #[error("{0}")]
    Failure(#[from] Failure),
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

impl Refusal {
    fn code(&self) -> &str {
        match self {
            Refusal::Gone => "gone",
            Refusal::NotHello(_) => "hello_expected",
            Refusal::Protocol { .. } => "protocol_unsupported",
            Refusal::UnknownMachine(_) => "unknown_machine",
            Refusal::Retired(_) => "machine_retired",
            Refusal::Signature(_) => "bad_signature",
            Refusal::Failure(failure) => failure.code(),
            Refusal::Random(_) => "internal",
        }
    }
}

async fn serve(app: Arc<App>, socket: WebSocket) {
    let (mut sink, mut stream) = socket.split();
    let known = match greet(&app, &mut sink, &mut stream).await {
        Ok(known) => known,
        Err(refusal) => {
            tracing::info!(%refusal, "agent refused");
            let (code, message) = (refusal.code().to_owned(), refusal.to_string());
            send(&mut sink, &ToAgent::Refused { code, message }).await;
            close(sink).await;
            return;
        }
    };
    let machine = known.machine;
    let connection = app.connections.fetch_add(1, Ordering::Relaxed);
    let (sender, mut outgoing) = mpsc::channel(limits::AGENT_QUEUE);
    // Answers that need no decision; the sequencer's link is the sequencer's alone, since its
    // end must be the end of the connection.
    let (direct, mut answers) = mpsc::channel::<ToAgent>(1);
    let writer = tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                // The Welcome goes before anything else.
                biased;
                message = outgoing.recv() => message,
                Some(message) = answers.recv() => Some(message),
            };
            let Some(message) = message else { break };
            if !send(&mut sink, &message).await {
                break;
            }
        }
        close(sink).await;
    });
    tracing::info!(%machine, connection, "agent connected");
    let mut known = known;
    let link = Link { connection, sender, runtimes: std::mem::take(&mut known.runtimes) };
    if app.sequencer.send(Request::Connect { machine, link }).await.is_ok() {
        let agent = Agent { app: &app, known, connection, direct };
        tokio::select! {
            () = agent.listen(&mut stream) => {}
            _ = agent.direct.closed() => {}
        }
        drop(agent);
        // If this fails, the exchange stops, and nobody needs to know.
        let _ = app.sequencer.send(Request::Disconnect { machine, connection }).await;
    }
    tracing::info!(%machine, connection, "agent disconnected");
    // Its queue ends when the sequencer drops the link.
    let _ = writer.await;
}

/// Challenge, Hello, and the offer if it changed.
async fn greet(
    app: &Arc<App>,
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
) -> Result<Known, Refusal> {
    let nonce = Digest(secrets::random()?);
    let (protocol, exchange) = (wire::PROTOCOL_VERSION, app.exchange);
    if !send(sink, &ToAgent::Challenge { protocol, exchange, nonce }).await {
        return Err(Refusal::Gone);
    }
    let text = tokio::time::timeout(TIMEOUT, next_text(stream))
        .await
        .ok()
        .flatten()
        .ok_or(Refusal::Gone)?;
    let hello =
        serde_json::from_str(&text).map_err(|error| Refusal::NotHello(error.to_string()))?;
    let ToExchange::Hello { protocol, machine, signature, offer } = hello else {
        return Err(Refusal::NotHello("another message came".to_owned()));
    };
    if protocol != wire::PROTOCOL_VERSION {
        return Err(Refusal::Protocol { agent: protocol, exchange: wire::PROTOCOL_VERSION });
    }
    let found = app.sequencer.read(move |core| core.state.machine(machine).cloned()).await?;
    let found = found.ok_or(Refusal::UnknownMachine(machine))?;
    if found.retired {
        return Err(Refusal::Retired(machine));
    }
    let bytes = wire::challenge_bytes(exchange, machine, &nonce);
    wire::verify_signature(&found.public_key, &bytes, &signature)?;
    let OfferTerms { slots, memory_mib_per_slot, transforms, region, measurable, .. } = offer;
    let agent_version = offer.agent_version;
    let region = text::cleaned(&region);
    let mut runtimes = offer.runtimes;
    runtimes.truncate(limits::RUNTIMES);
    for runtime in &mut runtimes {
        for text in [&mut runtime.name, &mut runtime.version] {
            *text = text::cleaned(text).chars().take(limits::RUNTIME_NAME).collect();
        }
    }
    runtimes.sort();
    runtimes.dedup();
    tracing::debug!(%machine, agent_version, slots, "hello");
    if (slots, memory_mib_per_slot, &transforms, &region)
        != (found.slots, found.memory_mib_per_slot, &found.transforms, &found.region)
    {
        let command = Command::SetOffer { machine, slots, memory_mib_per_slot, transforms, region };
        app.sequencer.command(command).await?;
    }
    Ok(Known { machine, owner: found.owner, public_key: found.public_key, measurable, runtimes })
}

/// One connected agent.
struct Agent<'a> {
    app: &'a Arc<App>,
    known: Known,
    connection: u64,
    direct: mpsc::Sender<ToAgent>,
}

impl Agent<'_> {
    async fn listen(&self, stream: &mut SplitStream<WebSocket>) {
        let mut measuring = Measuring::new(self.known.machine);
        let mut told = None;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let text = tokio::select! {
                text = next_text(stream) => text,
                _ = look.tick() => {
                    if !self.look(&mut measuring, &mut told).await {
                        break;
                    }
                    continue;
                }
            };
            let Some(text) = text else { break };
            let going_on = match serde_json::from_str(&text) {
                Ok(
                    message @ (ToExchange::MeasureReady { .. }
                    | ToExchange::Measured { .. }
                    | ToExchange::MeasureFailed { .. }),
                ) => {
                    let was_at_work = !measuring.is_idle();
                    let going_on = self.measured(&mut measuring, &message).await;
                    // What is found may open other books to the machine, and be the ground for
                    // what is measured next.
                    let is_over = was_at_work && measuring.is_idle();
                    going_on && (!is_over || self.look(&mut measuring, &mut told).await)
                }
                Ok(message) => self.hear(message).await,
                // A newer agent may say things that are unknown here.
                Err(error) => {
                    let message = format!("the message can't be read: {error}");
                    self.refuse("invalid_message", message).await
                }
            };
            if !going_on {
                break;
            }
        }
    }

    /// False when there is nobody to go on for.
    async fn hear(&self, message: ToExchange) -> bool {
        let machine = self.known.machine;
        match message {
            ToExchange::Hello { .. } => {
                self.refuse("hello_again", "one Hello is enough".to_owned()).await
            }
            ToExchange::Heartbeat { progress } => {
                let connection = self.connection;
                let request = Request::Heartbeat { machine, connection, progress };
                self.app.sequencer.send(request).await.is_ok()
            }
            ToExchange::PlaceAsk {
                client_order_id,
                instrument,
                quantity,
                price_nanocredits_per_tfuel,
            } => {
                match self.may_sell().await {
                    Ok(true) => {}
                    Ok(false) => {
                        let message = "the machine's account is frozen or banned".to_owned();
                        return self.refuse("account_frozen", message).await;
                    }
                    Err(_) => return false,
                }
                if client_order_id.chars().any(text::is_unsafe) {
                    let message = "client_order_id: leave out control characters".to_owned();
                    return self.refuse("invalid_name", message).await;
                }
                let about = About::Ask { client_order_id: client_order_id.clone() };
                let command = Command::PlaceAsk {
                    machine,
                    client_order_id,
                    instrument,
                    quantity,
                    price_nanocredits_per_tfuel,
                    market: false,
                    time_in_force: market::TimeInForce::Gtc,
                    post_only: false,
                };
                self.command(command, about).await
            }
            ToExchange::CancelAsk { order } => {
                match self.owns_ask(order).await {
                    Ok(true) => {}
                    Ok(false) => {
                        let message = format!("{order} is no ask of {machine}");
                        return self.refuse("not_found", message).await;
                    }
                    Err(_) => return false,
                }
                let command = Command::CancelOrder { account: self.known.owner, order };
                self.command(command, About::Cancel { order }).await
            }
            ToExchange::CloseLease { lease, reason } => {
                let reason = text::cleaned(&reason);
                self.command(Command::CloseLease { machine, lease, reason }, About::Close).await
            }
            ToExchange::Receipt(signed) => self.receipt(signed).await,
            ToExchange::OfferFixed { instrument, units, price_nanocredits_per_hour } => {
                match self.may_sell().await {
                    Ok(true) => {}
                    // Who may not sell may still withdraw.
                    Ok(false) if units == 0 => {}
                    Ok(false) => {
                        let code = "account_frozen".to_owned();
                        let message = "the machine's account is frozen or banned".to_owned();
                        let refused = ToAgent::FixedRefused { code, message };
                        return self.direct.send(refused).await.is_ok();
                    }
                    Err(_) => return false,
                }
                let offer =
                    FixedCommand::Offer { machine, instrument, units, price_nanocredits_per_hour };
                self.command(Command::Fixed(offer), About::FixedOffer).await
            }
            ToExchange::ProbeAnswer { lease, nonce } => {
                let connection = self.connection;
                let request = Request::ProbeAnswer { machine, connection, lease, nonce };
                self.app.sequencer.send(request).await.is_ok()
            }
            ToExchange::MeasureReady { .. }
            | ToExchange::Measured { .. }
            | ToExchange::MeasureFailed { .. } => true,
        }
    }

    /// Says what the machine's slots may be offered in, if that changed, and measures it when it
    /// is time to, or gives that up.
    async fn look(&self, measuring: &mut Measuring, told: &mut Option<Vec<Qualified>>) -> bool {
        let machine = self.known.machine;
        let qualifying = move |core: &mut Core| {
            let all = core.state.qualifying(machine).into_iter();
            let qualified = |traded: &Instrument| Qualified {
                instrument: traded.name.clone(),
                tick_nanocredits: traded.tick_nanocredits,
                price_min_nanocredits: traded.price_min_nanocredits,
                price_max_nanocredits: traded.price_max_nanocredits,
            };
            all.map(qualified).collect::<Vec<_>>()
        };
        let Ok(instruments) = self.app.sequencer.read(qualifying).await else { return false };
        if told.as_ref() != Some(&instruments) {
            *told = Some(instruments.clone());
            if self.direct.send(ToAgent::Qualifies { instruments }).await.is_err() {
                return false;
            }
        }
        let Some(calibration) = self.app.calibration.as_ref().filter(|_| self.known.measurable)
        else {
            return true;
        };
        if !measuring.is_idle() {
            return self.act(measuring.tick(Instant::now())).await;
        }
        let every_ms = self.app.config.measure_every_ms;
        let due = move |core: &mut Core| {
            let found = core.state.machine(machine)?;
            let is_due =
                |at_ms: Option<i64>| at_ms.is_none_or(|at_ms| unix_ms() - at_ms >= every_ms);
            // A slot that is leased is the buyer's.
            match (is_due(found.speed_at_ms), core.state.slots_leased(machine)) {
                (true, leased) if leased < found.slots => Some(Subject::Speed),
                (false, 0) if is_due(found.memory_at_ms) => Some(Subject::Memory {
                    slots: found.slots,
                    memory_mib_per_slot: found.memory_mib_per_slot,
                    speed_mfuel_per_s: found.speed_mfuel_per_s,
                }),
                _ => None,
            }
        };
        match self.app.sequencer.read(due).await {
            Ok(Some(subject)) => {
                self.act(measuring.begin(subject, calibration, Instant::now())).await
            }
            Ok(None) => true,
            Err(_) => false,
        }
    }

    async fn measured(&self, measuring: &mut Measuring, message: &ToExchange) -> bool {
        let now = Instant::now();
        match &self.app.calibration {
            Some(calibration) => self.act(measuring.hear(message, calibration, now)).await,
            None => true,
        }
    }

    async fn act(&self, next: Next) -> bool {
        if let Some(message) = next.say
            && self.direct.send(message).await.is_err()
        {
            return false;
        }
        let Some(found) = next.found else { return true };
        let machine = self.known.machine;
        tracing::info!(%machine, ?found, "measured");
        let command = match found {
            Found::Speed { mfuel_per_s: speed_mfuel_per_s } => {
                Command::MeasureSpeed { machine, speed_mfuel_per_s }
            }
            Found::Memory { mib_per_slot: memory_mib_per_slot } => {
                Command::MeasureMemory { machine, memory_mib_per_slot }
            }
        };
        match self.app.sequencer.command(command).await {
            // It was retired meanwhile.
            Ok(()) | Err(Failure::Rejected(_)) => true,
            Err(failure) => {
                tracing::warn!(%machine, %failure, "what was measured is not noted");
                true
            }
        }
    }

    /// Makes what a task came to its buyer's own.
    async fn hand_over(
        &self,
        attempt: AttemptId,
        results: Vec<(Digest, u64)>,
    ) -> Result<(), ApiError> {
        if results.is_empty() {
            return Ok(());
        }
        let buyer = move |core: &mut Core| {
            let task = core.state.task(core.state.attempt(attempt)?.task)?;
            Some(core.state.job(task.job)?.account)
        };
        // An attempt that isn't known is clearing's to refuse.
        let Some(buyer) = self.app.sequencer.read(buyer).await? else { return Ok(()) };
        let app = Arc::clone(self.app);
        let held = tokio::task::spawn_blocking(move || {
            app.holds.hold(&buyer.to_string(), &results, unix_ms())
        });
        Ok(held.await.map_err(|_| ApiError::Internal)??)
    }

    async fn receipt(&self, signed: SignedReceipt) -> bool {
        let (attempt, sequence) = (signed.receipt.attempt, signed.receipt.sequence);
        tracing::debug!("heard receipt {sequence} of {attempt}");
        let exchange = self.app.exchange;
        let Known { machine, public_key, .. } = self.known;
        // What it may not read it can't have made: else it could hand its buyer what is others'.
        let Ok(blobs) = Granted::now(self.app, Reader::Machine(machine)).await else {
            return false;
        };
        let is_live = move |core: &mut Core| {
            core.state.attempt_to_run(attempt).is_some_and(|run| run.machine == machine)
        };
        let Ok(is_live) = self.app.sequencer.read(is_live).await else { return false };
        let checked = tokio::task::spawn_blocking(move || {
            let blobs: Option<&dyn BlobStore> = if is_live { Some(&blobs) } else { None };
            receipts::check(blobs, exchange, machine, &public_key, signed)
        });
        match checked.await {
            Ok(Ok((command, results))) => {
                // Before anybody hears that there is a result.
                if let Err(error) = self.hand_over(attempt, results).await {
                    tracing::warn!(%attempt, ?error, "a result was not handed over");
                    return false;
                }
                self.command(command, About::Receipt { attempt, sequence }).await
            }
            Ok(Err(flaw)) => {
                tracing::warn!(%machine, %attempt, sequence, error = ?flaw, "receipt refused");
                let rejected = ToAgent::ReceiptRejected {
                    attempt,
                    sequence,
                    code: flaw.code().to_owned(),
                    message: flaw.to_string(),
                    fatal: flaw.is_fatal(),
                };
                if self.direct.send(rejected).await.is_err() {
                    return false;
                }
                // Nobody else's word: the signature was right, and so is the connection's.
                match &flaw {
                    ReceiptFlaw::Malformed(_) => self.close_refused(attempt, flaw.code()).await,
                    _ => true,
                }
            }
            Err(_) => false,
        }
    }

    /// An attempt whose receipts can't be read doesn't keep its lease.
    async fn close_refused(&self, attempt: AttemptId, code: &'static str) -> bool {
        let machine = self.known.machine;
        let close = move |core: &mut Core| outbox::close_refused(core, machine, attempt, code);
        match self.app.sequencer.read(close).await {
            Ok(Some(command)) => self.command(command, About::Close).await,
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Whether the owner may offer anything new.
    async fn may_sell(&self) -> Result<bool, ApiError> {
        let owner = self.known.owner;
        let access = self.app.reading(move |reader| reader.access(owner)).await?;
        Ok(access.standing == Standing::Active)
    }

    /// An owner may have many machines: each speaks for itself only.
    async fn owns_ask(&self, order: OrderId) -> Result<bool, Failure> {
        let this = self.known.machine;
        let owns = move |core: &mut Core| {
            let found = core.state.order(order);
            found.is_some_and(
                |info| matches!(info.link, OrderLink::Ask { machine, .. } if *machine == this),
            )
        };
        self.app.sequencer.read(owns).await
    }

    /// Waits for the decision, which the sequencer answers over the link.
    async fn command(&self, command: Command, about: About) -> bool {
        let (done, decided) = oneshot::channel();
        let request = Request::Agent {
            machine: self.known.machine,
            connection: self.connection,
            command,
            about,
            done,
        };
        let sent = self.app.sequencer.send(request).await.is_ok();
        // Dropped, not sent, when it is decided.
        let _ = decided.await;
        sent
    }

    async fn refuse(&self, code: &str, message: String) -> bool {
        self.direct.send(ToAgent::Refused { code: code.to_owned(), message }).await.is_ok()
    }
}

/// The next text message; pings are answered by the library.
async fn next_text(stream: &mut SplitStream<WebSocket>) -> Option<String> {
    loop {
        match stream.next().await?.ok()? {
            Message::Text(text) => return Some(text.as_str().to_owned()),
            // Not ours, but to be named: an empty text is no message either.
            Message::Binary(_) => return Some(String::new()),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return None,
        }
    }
}

/// False when the message can't go out in time.
async fn send(sink: &mut SplitSink<WebSocket, Message>, message: &ToAgent) -> bool {
    let Ok(text) = serde_json::to_string(message) else { return false };
    let sent = tokio::time::timeout(TIMEOUT, sink.send(Message::Text(text.into()))).await;
    matches!(sent, Ok(Ok(())))
}

async fn close(mut sink: SplitSink<WebSocket, Message>) {
    // The other end may be gone already.
    let _ = tokio::time::timeout(TIMEOUT, sink.close()).await;
}
