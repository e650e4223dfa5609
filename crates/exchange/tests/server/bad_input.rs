//! Whatever is sent, the exchange refuses it by name: no answer is a failure of its own, every
//! refusal has the body that clients read, and afterwards it works as before.
//!
//! Routes come out of the API's own description, so that a new one is tried without being named
//! here. `JUSHA_TEST_REQUESTS` says how many requests, `JUSHA_TEST_SEED` which.

use std::collections::BTreeMap;

use crate::harness::{Agent, CREDIT, Client, Server};
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;
use wire::{ErrorBody, Wallet};

/// SplitMix64: the same seed, the same requests.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

fn figure(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Values that somebody once forgot about.
fn odd_values() -> Vec<Value> {
    let mut values = vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(u32::MAX),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!(" "),
        json!("a\u{0}b"),
        json!("\u{202e}txt\u{1b}[2J"),
        json!("x".repeat(100_000)),
        json!("cpu.2g.any"),
        json!("NaN"),
        json!([]),
        json!({}),
        json!([[[[1]]]]),
        json!({ "kind": "unheard" }),
        json!("00".repeat(32)),
    ];
    for prefix in ["acct", "exch", "mach", "ord", "lease", "job", "task", "att", "xfer"] {
        values.push(json!(format!("{prefix}_{:032x}", 0)));
        values.push(json!(format!("{prefix}_{:032x}", u128::MAX)));
    }
    values
}

/// The API as it describes itself.
struct Description {
    document: Value,
    routes: Vec<(Method, String, Value)>,
    values: Vec<Value>,
}

impl Description {
    async fn of(server: &Server) -> Self {
        let document: Value = server.client("").get("/v1/openapi.json").await;
        let mut routes = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                // WebSockets have a test of their own, an audit folds the journal each time, and
                // who signs out is refused everything else.
                let name = operation["operationId"].as_str().unwrap();
                if !["connect_agent", "audit", "sign_out"].contains(&name) {
                    routes.push((method, path.clone(), operation.clone()));
                }
            }
        }
        assert!(routes.len() > 30, "{} routes", routes.len());
        Description { document, routes, values: odd_values() }
    }

    /// A value that fits the schema, most often, and is odd at other times.
    fn value(&self, schema: &Value, random: &mut Random, depth: u32) -> Value {
        if random.below(6) == 0 || depth > 6 {
            return random.one(&self.values).clone();
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|link| link.rsplit('/').next()) {
            return self.value(&self.document["components"]["schemas"][name], random, depth + 1);
        }
        for several in ["oneOf", "anyOf", "allOf"] {
            if let Some(all) = schema[several].as_array() {
                return self.value(random.one(all), random, depth + 1);
            }
        }
        if let Some(values) = schema["enum"].as_array() {
            return random.one(values).clone();
        }
        if let Some(examples) = schema["examples"].as_array() {
            return random.one(examples).clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => random.one(kinds).clone(),
            kind => kind.clone(),
        };
        match kind.as_str().unwrap_or_default() {
            "object" => {
                let mut object = Map::new();
                for (name, of) in schema["properties"].as_object().into_iter().flatten() {
                    if random.below(12) > 0 {
                        object.insert(name.clone(), self.value(of, random, depth + 1));
                    }
                }
                Value::Object(object)
            }
            "array" => {
                let length = random.below(4);
                (0..length).map(|_| self.value(&schema["items"], random, depth + 1)).collect()
            }
            "integer" => json!(random.next() as i64 >> random.below(64)),
            "boolean" => json!(random.below(2) == 0),
            "null" => Value::Null,
            _ => json!(format!("text {}", random.below(3))),
        }
    }

    fn body(&self, operation: &Value, random: &mut Random) -> Option<Vec<u8>> {
        let content = operation["requestBody"]["content"].as_object()?;
        let (media, body) = content.iter().next()?;
        if media != "application/json" {
            return Some(vec![7; random.below(3_000)]);
        }
        let mut bytes = serde_json::to_vec(&self.value(&body["schema"], random, 0)).unwrap();
        match random.below(20) {
            // Cut off, not UTF-8, nothing, or nested beyond reason.
            0 => bytes.truncate(random.below(bytes.len() + 1)),
            1 => bytes.push(0xff),
            2 => bytes.clear(),
            3 => bytes = b"[".repeat(50_000),
            _ => {}
        }
        Some(bytes)
    }

    fn path(&self, path: &str, operation: &Value, random: &mut Random) -> String {
        let mut path = path.to_owned();
        let mut query = Vec::new();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let value = match self.value(&parameter["schema"], random, 0) {
                Value::String(text) => text.chars().take(3_000).collect(),
                other => other.to_string(),
            };
            let value: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            match parameter["in"].as_str() {
                Some("path") => path = path.replace(&format!("{{{name}}}"), &value),
                _ if random.below(2) == 0 => query.push(format!("{name}={value}")),
                _ => {}
            }
        }
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_no_answer_is_a_failure() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| {
        config.sign_up = true;
        config.account_rate.per_second = 0;
        config.address_rate.per_second = 0;
        // A wait for news of a job would be most of this test.
        config.long_poll_ms = 1;
    })
    .await;
    let description = Description::of(&server).await;
    let (_, ada) = server.account("Ada", 1_000 * CREDIT).await;
    let callers: [&Client; 4] = [&ada, &server.operator, &server.client(""), &server.client("x")];
    let seed = figure("JUSHA_TEST_SEED", 1);
    let mut random = Random(seed);
    let mut seen: BTreeMap<u16, u32> = BTreeMap::new();
    for number in 0..figure("JUSHA_TEST_REQUESTS", 3_000) {
        let (method, path, operation) = random.one(&description.routes);
        // Passwords are slow by design.
        if path.contains("sign-up") && random.below(20) > 0 {
            continue;
        }
        let path = description.path(path, operation, &mut random);
        let caller = callers[if random.below(3) > 0 { 0 } else { random.below(4) }];
        let mut request = caller.request(method.clone(), &path);
        let body = description.body(operation, &mut random);
        if let Some(body) = &body {
            request = request.body(body.clone());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        *seen.entry(status.as_u16()).or_insert(0) += 1;
        let text = answer.bytes().await.unwrap();
        let told = || {
            let body = body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let body: String = body.chars().take(500).collect();
            let text = String::from_utf8_lossy(&text);
            format!("seed {seed}, request {number}: {method} {path} {body}\n{status}: {text}")
        };
        assert!(!status.is_server_error(), "{}", told());
        if status.is_client_error() && method != Method::HEAD {
            let refused: Result<ErrorBody, _> = serde_json::from_slice(&text);
            assert!(refused.is_ok_and(|refused| !refused.code.is_empty()), "{}", told());
        }
    }
    println!("seed {seed}: {seen:?}");
    assert!(seen.keys().any(|status| *status == 200) && seen.len() > 4, "{seen:?}");
    let _: Wallet = ada.get("/v1/wallet").await;
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_agent_says_the_exchange_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, owner) = server.account("Ada", CREDIT).await;
    let mut agent = Agent::enrol(&server, &owner, "pi", 1).await;
    agent.connect(&server, 4).await;
    let ask = agent.ask(1, 300_000).await;
    let seed = figure("JUSHA_TEST_SEED", 1);
    let (mut random, values) = (Random(seed), odd_values());
    let url = format!("ws://{}/v1/agent", server.address);
    let samples = [
        json!({ "type": "hello", "protocol": 1, "machine": "mach_0", "signature": "", "offer": {} }),
        json!({ "type": "heartbeat", "progress": [{ "attempt": "att_0", "fuel": 1 }] }),
        json!({ "type": "place_ask", "client_order_id": "a", "instrument": "cpu.2g.any",
                "quantity": 1, "price_nanocredits_per_tfuel": 300_000 }),
        json!({ "type": "cancel_ask", "order": "ord_0" }),
        json!({ "type": "close_lease", "lease": "lease_0", "reason": "x" }),
        json!({ "type": "receipt", "receipt": {}, "signature": "" }),
    ];
    for _ in 0..60 {
        // Strangers: whatever comes first is no Hello.
        let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
        let mut message = random.one(&samples).clone();
        for (_, value) in message.as_object_mut().unwrap() {
            if random.below(2) == 0 {
                *value = random.one(&values).clone();
            }
        }
        let message = match random.below(4) {
            0 => Message::Binary(vec![random.next() as u8; random.below(2_000)].into()),
            1 => Message::Text("[".repeat(random.below(60_000)).into()),
            _ => Message::Text(message.to_string().into()),
        };
        // Either may fail, since the exchange may close at any time.
        let _ = socket.send(message).await;
        let closed = async { while let Some(Ok(_)) = socket.next().await {} };
        crate::harness::guard(closed).await;
    }
    // Those who were there before notice nothing.
    let order: wire::OrderView = owner.get(&format!("/v1/orders/{}", ask.order)).await;
    assert_eq!(order.status, "open");
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_reader_of_the_feed_says_it_is_refused_and_others_go_on() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let seed = figure("JUSHA_TEST_SEED", 1);
    let (mut random, values) = (Random(seed), odd_values());
    let url = format!("ws://{}/v1/feed", server.address);
    let connect = async || tokio_tungstenite::connect_async(&url).await.unwrap().0;
    let samples = [
        json!({ "type": "subscribe", "instrument": "cpu.2g.any" }),
        json!({ "type": "unsubscribe", "instrument": "cpu.2g.any" }),
        json!({ "type": "subscribe_account", "token": "x" }),
    ];
    let subscribe = samples[0].to_string();
    let mut steady = connect().await;
    let mut socket = connect().await;
    let (mut refused, mut answered) = (0, 0);
    for _ in 0..300 {
        let mut message = random.one(&samples).clone();
        for (_, value) in message.as_object_mut().unwrap() {
            if random.below(2) == 0 {
                *value = random.one(&values).clone();
            }
        }
        let text = message.to_string();
        let message = match random.below(8) {
            0 => Message::Binary(vec![random.next() as u8; random.below(2_000)].into()),
            1 => Message::Text("[".repeat(random.below(4_000)).into()),
            2 => Message::Text(text.chars().take(random.below(60)).collect::<String>().into()),
            _ => Message::Text(text.into()),
        };
        // Everything but what takes a subscription back is answered; too much at once ends it.
        let _ = socket.send(message).await;
        let _ = socket.send(Message::Text(subscribe.clone().into())).await;
        loop {
            match crate::harness::guard(socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let said: Value = serde_json::from_str(&text).unwrap();
                    match said["type"].as_str().unwrap() {
                        "snapshot" => {
                            answered += 1;
                            break;
                        }
                        "refused" => {
                            assert!(!said["code"].as_str().unwrap().is_empty());
                            refused += 1;
                        }
                        "heartbeat" => {}
                        other => panic!("seed {seed}: {other}"),
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    socket = connect().await;
                    break;
                }
            }
        }
    }
    assert!(refused > 50 && answered > 100, "seed {seed}: {refused} refused, {answered} answered");
    steady.send(Message::Text(subscribe.into())).await.unwrap();
    let snapshot = crate::harness::guard(steady.next()).await.unwrap().unwrap();
    assert!(snapshot.to_text().unwrap().contains("snapshot"), "{snapshot:?}");
    server.stop().await;
}
