//! What is traded is the operator's to say: in the configuration, and while it runs.

use reqwest::Method;
use serde_json::json;
use wire::{
    Act, InstrumentList, InstrumentView, NewInstrument, NewOrder, OperatorAct, OrderView,
    ReferencePrices, TickerView,
};

use crate::harness::{Agent, Client, Server, refusal};

fn instrument(name: &str, fields: serde_json::Value) -> NewInstrument {
    let mut value = json!({"name": name, "memory_mib": 2048});
    value.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

fn order(agent: &Agent, name: &str, key: &str) -> NewOrder {
    serde_json::from_value(json!({
        "client_order_id": key, "machine": agent.machine, "instrument": name, "quantity": 1,
        "price_nanocredits_per_tfuel": 300_000,
    }))
    .unwrap()
}

async fn set(client: &Client, list: &InstrumentList) -> Result<Vec<InstrumentView>, String> {
    let request = client.request(Method::PUT, "/v1/operator/instruments").json(list);
    let response = request.try_clone().unwrap().send().await.unwrap();
    if response.status().is_success() {
        return Ok(response.json().await.unwrap());
    }
    Err(refusal(request).await.1.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_says_what_is_traded_and_machines_must_be_that() {
    let data = tempfile::tempdir().unwrap();
    let first = vec![
        instrument("cpu.2g.any", json!({})),
        instrument(
            "cpu.2g.eu",
            json!({"region": "eu", "lot": 2, "tick_nanocredits": 1_000,
                                        "price_min_nanocredits": 1_000}),
        ),
        instrument("cpu.2g.fast", json!({"speed_min_mfuel_per_s": 3_000})),
        instrument("gpu.1x.any", json!({"priced_per": "hour", "slots": 1, "memory_mib": 0})),
    ];
    let at_start = first.clone();
    let server =
        Server::start_with(data.path(), |config| config.instruments = Some(at_start)).await;
    let traded: Vec<InstrumentView> = server.client("").get("/v1/instruments").await;
    let of = |name: &str| traded.iter().find(|one| one.instrument == name).unwrap();
    assert!(of("cpu.4g.any").suspended, "what the list doesn't name takes no orders");
    assert!(!of("cpu.2g.any").suspended);
    assert_eq!((of("cpu.2g.eu").lot, of("cpu.2g.eu").tick_nanocredits_per_tfuel), (2, 1_000));
    let defined: Vec<NewInstrument> = server.operator.get("/v1/operator/instruments").await;
    assert!(first.iter().all(|one| defined.contains(one)), "{defined:#?}");

    let (_, owner) = server.account("Pia", 0).await;
    let mut home = Agent::enrol(&server, &owner, "home", 1).await;
    home.connect(&server, 4).await;
    let mut abroad = Agent::enrol(&server, &owner, "abroad", 2).await;
    abroad.region = "eu".to_owned();
    abroad.connect(&server, 4).await;
    for (agent, name, expected) in [
        (&home, "cpu.2g.eu", "other_region"),
        (&abroad, "cpu.2g.eu", "quantity_out_of_range"),
        (&home, "cpu.2g.fast", "too_slow"),
        (&home, "cpu.4g.any", "instrument_suspended"),
        (&home, "cpu.8g.any", "unknown_instrument"),
    ] {
        let quantity = if agent.machine == home.machine { 2 } else { 1 };
        let new = NewOrder { quantity, ..order(agent, name, name) };
        let (_, error) = owner.refused("/v1/orders", &new).await;
        assert_eq!(error.code, expected, "{name}");
    }
    let pair = NewOrder { quantity: 2, ..order(&abroad, "cpu.2g.eu", "pair") };
    let placed: OrderView = owner.post("/v1/orders", &pair).await;
    assert_eq!(placed.status, "open");
    // A machine that moves leaves the book.
    abroad.region = String::new();
    abroad.connect(&server, 4).await;
    let gone: OrderView = owner.get(&format!("/v1/orders/{}", placed.order)).await;
    assert_eq!(gone.status, "cancelled");

    let resting: OrderView = owner.post("/v1/orders", &order(&home, "cpu.2g.any", "rests")).await;
    let list = |instruments: Vec<NewInstrument>| InstrumentList {
        instruments,
        reason: "less is more".to_owned(),
    };
    let other_unit = instrument("cpu.2g.any", json!({"memory_mib": 1_024}));
    for (client, new, expected) in [
        (&owner, list(first.clone()), "operator_only"),
        (&server.operator, list(vec![instrument("a b", json!({}))]), "instrument_flawed"),
        (&server.operator, list(vec![first[0].clone(), first[0].clone()]), "instrument_flawed"),
        (&server.operator, list(vec![first[1].clone(), other_unit]), "instrument_flawed"),
        (
            &server.operator,
            InstrumentList { reason: String::new(), ..list(first.clone()) },
            "invalid_name",
        ),
    ] {
        assert_eq!(set(client, &new).await.unwrap_err(), expected);
    }
    let now: Vec<InstrumentView> = server.client("").get("/v1/instruments").await;
    assert!(now.iter().filter(|one| !one.suspended).count() == 4, "all of a list, or nothing");

    // Faster machines only: who was not measured leaves.
    let fast = instrument("cpu.2g.any", json!({"speed_min_mfuel_per_s": 1}));
    set(&server.operator, &list(vec![fast])).await.unwrap();
    let gone: OrderView = owner.get(&format!("/v1/orders/{}", resting.order)).await;
    assert_eq!(gone.status, "cancelled");
    let acts: Vec<OperatorAct> = server.operator.get("/v1/operator/acts").await;
    assert!(matches!(&acts[0].act, Act::InstrumentsSet { names } if names == &["cpu.2g.any"]));
    server.sound().await;
    // It is in the journal, and an exchange that starts without a list leaves it.
    server.stop().await;
    let server = Server::start(data.path()).await;
    let after: Vec<InstrumentView> = server.client("").get("/v1/instruments").await;
    let open: Vec<_> = after.iter().filter(|one| !one.suspended).collect();
    assert_eq!((open.len(), open[0].speed_min_mfuel_per_s), (1, 1));
    server.stop().await;

    let wrong = vec![instrument("cpu.2g.any", json!({"memory_mib": 512}))];
    let mut config = exchange::Config::new(data.path(), ([127, 0, 0, 1], 0).into());
    config.instruments = Some(wrong);
    let error = exchange::run(config, std::future::pending(), |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("cpu.2g.any"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_are_shown_beside_prices_elsewhere() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let anyone = server.client("");
    let ticker: TickerView = anyone.get("/v1/instruments/cpu.2g.any/ticker").await;
    assert!(ticker.compared.is_empty(), "there is no price yet");
    let (_, owner) = server.account("Pia", 0).await;
    let mut agent = Agent::enrol(&server, &owner, "pi", 1).await;
    agent.connect(&server, 4).await;
    let _: OrderView = owner.post("/v1/orders", &order(&agent, "cpu.2g.any", "one")).await;
    let ticker: TickerView = anyone.get("/v1/instruments/cpu.2g.any/ticker").await;
    let table: ReferencePrices = anyone.get("/v1/reference-prices").await;
    for one in &ticker.compared {
        let factor = table.factors.iter().find(|factor| factor.program == one.program).unwrap();
        assert_eq!(factor.gfuel_per_vcpu_hour, one.gfuel_per_vcpu_hour);
        assert_eq!(one.nanocredits_per_vcpu_hour, 300_000 * one.gfuel_per_vcpu_hour / 1_000);
    }
    let computing = |one: &&wire::ReferencePrice| one.nanodollars_per_vcpu_hour.is_some();
    let references = table.references.iter().filter(computing).count();
    assert_eq!(ticker.compared.len(), references * table.factors.len());
}
