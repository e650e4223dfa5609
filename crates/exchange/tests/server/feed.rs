//! Market data over the WebSocket: what readers see, what they miss, and what they hold up.

use base::Usage;
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use wire::{
    AccountSnapshot, AccountUpdate, BookUpdate, BookView, CandleView, FeedMessage, FeedRequest,
    LocalBook, NewOrder, NewToken, OrderView, Scope, TickerView, TimeInForce, TokenCreated,
};

use crate::harness::{Agent, Client, Server, guard};

const INSTRUMENT: &str = "cpu.2g.any";

struct Reader {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Reader {
    async fn connect(server: &Server) -> Reader {
        let url = format!("ws://{}/v1/feed", server.address);
        let (socket, _) = guard(tokio_tungstenite::connect_async(url)).await.unwrap();
        Reader { socket }
    }

    async fn say(&mut self, request: &FeedRequest) {
        let text = serde_json::to_string(request).unwrap();
        guard(self.socket.send(Message::Text(text.into()))).await.unwrap();
    }

    async fn subscribe(&mut self) {
        self.say(&FeedRequest::Subscribe { instrument: INSTRUMENT.to_owned() }).await;
    }

    /// The next message that is no heartbeat; `None` when the connection is over.
    async fn next(&mut self) -> Option<FeedMessage> {
        loop {
            match guard(self.socket.next()).await?.ok()? {
                Message::Text(text) => match serde_json::from_str(text.as_str()).unwrap() {
                    FeedMessage::Heartbeat { .. } => {}
                    message => return Some(message),
                },
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    async fn snapshot(&mut self) -> LocalBook {
        match self.next().await {
            Some(FeedMessage::Snapshot(snapshot)) => LocalBook::new(&snapshot),
            other => panic!("{other:?} instead of a snapshot"),
        }
    }

    async fn update(&mut self) -> BookUpdate {
        match self.next().await {
            Some(FeedMessage::Update(update)) => update,
            other => panic!("{other:?} instead of an update"),
        }
    }
}

async fn ask(owner: &Client, agent: &Agent, key: &str, price: i64) -> OrderView {
    let order = NewOrder {
        client_order_id: key.to_owned(),
        machine: agent.machine,
        instrument: INSTRUMENT.to_owned(),
        quantity: 2,
        price_nanocredits_per_tfuel: Some(price),
        time_in_force: TimeInForce::Gtc,
        expires_at_ms: None,
        post_only: false,
    };
    owner.post("/v1/orders", &order).await
}

async fn seller(server: &Server) -> (Client, Agent) {
    let (_, owner) = server.account("Pia", 0).await;
    let mut agent = Agent::enrol(server, &owner, "pi", 1).await;
    agent.connect(server, 4).await;
    (owner, agent)
}

/// The local book is the exchange's.
async fn assert_same(server: &Server, book: &LocalBook) {
    let view: BookView = server.client("").get(&format!("/v1/instruments/{INSTRUMENT}/book")).await;
    assert_eq!(book.asks().cloned().collect::<Vec<_>>(), view.asks);
    assert_eq!(book.bids().cloned().collect::<Vec<_>>(), view.bids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_misses_messages_notices_and_recovers() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.feed_heartbeat_ms = 100).await;
    let (owner, agent) = seller(&server).await;
    ask(&owner, &agent, "first", 900_000).await;
    let mut reader = Reader::connect(&server).await;
    reader.subscribe().await;
    let mut book = reader.snapshot().await;
    assert_same(&server, &book).await;

    let (mut dropped, mut gaps, mut heard) = (0, 0, 0);
    for step in 0..40u32 {
        let price = 500_000 + 100 * i64::from(step % 7);
        let placed = ask(&owner, &agent, &format!("ask {step}"), price).await;
        if step % 3 == 0 {
            let path = format!("/v1/orders/{}", placed.order);
            let _: OrderView = owner.delete(&path).await;
        }
        // The last entry of the journal is this step's, and each of them touched the book.
        let last = server.info().await.journal_sequence;
        let mut seen = 0;
        while seen < last {
            match reader.next().await {
                Some(FeedMessage::Snapshot(snapshot)) => {
                    seen = snapshot.sequence;
                    book = LocalBook::new(&snapshot);
                }
                Some(FeedMessage::Update(update)) => {
                    seen = update.sequence;
                    heard += 1;
                    // The network loses every fifth, and the last of all.
                    if heard % 5 == 0 || (step == 39 && seen == last) {
                        dropped += 1;
                    } else if book.apply(&update).is_err() {
                        gaps += 1;
                        seen = 0;
                        reader.subscribe().await;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(dropped > 4 && gaps > 4, "{dropped} dropped, {gaps} gaps");
    // What was lost last is noticed by a heartbeat, though nothing happens any more.
    let last = server.info().await.journal_sequence;
    assert!(book.sequence() < last);
    let told = loop {
        let Some(Ok(Message::Text(text))) = guard(reader.socket.next()).await else {
            panic!("the feed ended")
        };
        if let FeedMessage::Heartbeat { instruments, .. } =
            serde_json::from_str(text.as_str()).unwrap()
        {
            break instruments[INSTRUMENT];
        }
    };
    assert_eq!(told, last);
    assert!(book.check(told).is_err());
    reader.subscribe().await;
    book = reader.snapshot().await;
    assert_same(&server, &book).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_hears_of_its_orders_fills_leases_receipts_and_money() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (owner, mut agent) = seller(&server).await;
    let (_, buyer) = server.account("Ben", 10_000_000_000).await;
    let mut reader = Reader::connect(&server).await;
    let of =
        |client: &Client| FeedRequest::SubscribeAccount { token: Some(client.token().to_owned()) };
    for (token, expected) in [(None, "token_missing"), (Some("x"), "unknown_token")] {
        let token = token.map(str::to_owned);
        reader.say(&FeedRequest::SubscribeAccount { token }).await;
        let refused = reader.next().await;
        assert!(
            matches!(&refused, Some(FeedMessage::Refused { code, .. }) if code == expected),
            "{refused:?}"
        );
    }
    reader.say(&of(&buyer)).await;
    let Some(FeedMessage::AccountSnapshot(AccountSnapshot { sequence, wallet, .. })) =
        reader.next().await
    else {
        panic!("no snapshot")
    };
    assert_eq!(wallet.available_nanocredits, 10_000_000_000);
    ask(&owner, &agent, "one", 500_000).await;
    let job = buyer.job("heard", 1).await;
    buyer.submit(&job).await;
    let update = account_update(&mut reader).await;
    assert_eq!(update.previous, sequence);
    let wallet = update.wallet.expect("money was set aside");
    assert_eq!(wallet.escrow_nanocredits, job.budget_nanocredits);
    assert_eq!((update.orders.len(), update.fills.len(), update.leases.len()), (1, 1, 1));
    assert_eq!(update.fills[0].price_nanocredits_per_tfuel, 500_000);
    let start = agent.started().await;
    let usage = Usage { fuel: 5_000_000_000, ..Usage::ZERO };
    let receipt = agent.finish(&start, 1, usage).await;
    agent.send(receipt).await.unwrap();
    let done = account_update(&mut reader).await;
    assert_eq!(done.previous, update.sequence);
    assert_eq!((done.receipts.len(), done.leases.len()), (1, 1));
    assert!(done.receipts[0].lease_paid_nanocredits > 0);
    assert_eq!(done.wallet.unwrap().escrow_nanocredits, 0);

    let anyone = server.client("");
    let of = |what: &str| format!("/v1/instruments/{INSTRUMENT}/{what}");
    for interval in ["1m", "5m", "15m", "1h", "6h", "1d"] {
        let path = of(&format!("candles?interval={interval}"));
        let candles: Vec<CandleView> = anyone.get(&path).await;
        assert_eq!(candles.len(), 1, "{interval}");
        assert_eq!((candles[0].close_nanocredits_per_tfuel, candles[0].trades), (500_000, 1));
        // 5 Gfuel, and what its memory, state and traffic count for.
        assert!(candles[0].volume_fuel >= 5_000_000_000, "{:?}", candles[0]);
    }
    assert_eq!(anyone.get_refused(&of("candles?interval=2m")).await.0, 400);
    let ticker: TickerView = anyone.get(&of("ticker")).await;
    assert_eq!(ticker.last_price_nanocredits_per_tfuel, Some(500_000));
    assert_eq!(ticker.index_price_nanocredits_per_tfuel, Some(500_000));
    assert_eq!(ticker.day.unwrap().quantity, 1);
}

async fn account_update(reader: &mut Reader) -> AccountUpdate {
    match reader.next().await {
        Some(FeedMessage::AccountUpdate(update)) => update,
        other => panic!("{other:?} instead of an update"),
    }
}

/// A figure of `/metrics`.
async fn metric(server: &Server, name: &str) -> u64 {
    let text = guard(server.operator.request(Method::GET, "/metrics").send()).await.unwrap();
    let text = guard(text.text()).await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect(name).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_dropped_and_holds_nobody_up() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.feed_ring = 16).await;
    let (owner, agent) = seller(&server).await;
    for machine in 0..8 {
        let mut deep = Agent::enrol(&server, &owner, &format!("deep {machine}"), machine + 2).await;
        deep.connect(&server, 4).await;
        for step in 0..50 {
            let price = 500_000 + 100 * (i64::from(machine) * 50 + step);
            ask(&owner, &deep, &format!("deep {price}"), price).await;
        }
    }
    let mut slow = Reader::connect(&server).await;
    let mut quick = Reader::connect(&server).await;
    // Snapshots of some 40 kB each, far more than sockets hold: with none of them read, the
    // exchange's task can't get rid of one.
    for _ in 0..500 {
        slow.subscribe().await;
    }
    quick.subscribe().await;
    let mut book = quick.snapshot().await;
    // Between two updates the task serves a request at least every other time, so that it is
    // stuck long before the last ring of these.
    for step in 0..200 {
        let placed = ask(&owner, &agent, &format!("ask {step}"), 400_000).await;
        book.apply(&quick.update().await).unwrap();
        let _: OrderView = owner.delete(&format!("/v1/orders/{}", placed.order)).await;
        book.apply(&quick.update().await).unwrap();
    }
    assert_same(&server, &book).await;

    // When it reads at last, it finds what was sent before, and that it is dropped.
    let mut updates = 0;
    let told = loop {
        match slow.next().await {
            // Even one of now, where a request came before the news that something was missed.
            Some(FeedMessage::Snapshot(_)) => {}
            Some(FeedMessage::Update(_)) => updates += 1,
            Some(FeedMessage::Refused { code, .. }) => break Some(code),
            // On a computer that took more than the time-out for all this.
            None => break None,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(told.as_deref(), Some("slow_consumer") | None), "{told:?}");
    assert!(updates < 400, "it missed nothing");
    assert_eq!(slow.next().await, None);
    assert_eq!(metric(&server, "jusha_feed_readers_dropped_total").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_back_hears_no_more() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.feed_heartbeat_ms = 100).await;
    let (account, owner) = server.account("Ben", 0).await;
    let new = NewToken { name: "feed".to_owned(), scopes: vec![Scope::Read], expires_at_ms: None };
    let made: TokenCreated = owner.post("/v1/tokens", &new).await;
    let mut reader = Reader::connect(&server).await;
    let request = FeedRequest::SubscribeAccount { token: Some(made.token) };
    reader.say(&request).await;
    assert!(matches!(reader.next().await, Some(FeedMessage::AccountSnapshot(_))));
    let revoked = owner.request(Method::DELETE, &format!("/v1/tokens/{}", made.id)).send();
    assert!(guard(revoked).await.unwrap().status().is_success());
    let Some(FeedMessage::Refused { code, .. }) = reader.next().await else { panic!("not told") };
    assert_eq!(code, "unknown_token");
    server.deposit(account, 1, "unheard").await;
    reader.say(&request).await;
    let Some(FeedMessage::Refused { code, .. }) = reader.next().await else { panic!("heard") };
    assert_eq!(code, "unknown_token");
}
