//! Machines join by a code, prove their key, and leave.

use crate::harness::{Agent, CREDIT, Server, enrolment, guard};
use base::Digest;
use ed25519_dalek::SigningKey;
use wire::{Enrolled, JoinCode, MachineView, RuntimeTerms, RuntimeView, ToAgent, ToExchange};

fn code_of(join: &JoinCode) -> &str {
    join.join.split_once("/#join=").expect("a join string has a code").1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_code_enrols_one_machine() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (account, owner) = server.account("Pia", 0).await;
    let anyone = server.client("");
    let (one, two) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));

    let (status, error) = anyone.refused("/v1/machines", &enrolment(&one, "join_1234", "m")).await;
    assert_eq!((status, error.code.as_str()), (403, "join_code_refused"));
    assert!(error.message.contains("unknown"), "{}", error.message);

    let join: JoinCode = owner.post("/v1/join-codes", &()).await;
    assert!(join.join.starts_with(&format!("http://{}/#join=", server.address)), "{}", join.join);
    let code = code_of(&join);
    let mut forged = enrolment(&one, code, "m");
    forged.public_key = wire::hex(&two.verifying_key().to_bytes());
    let (status, error) = anyone.refused("/v1/machines", &forged).await;
    assert_eq!((status, error.code.as_str()), (400, "invalid_signature"));

    let first: Enrolled = anyone.post("/v1/machines", &enrolment(&one, code, "m")).await;
    assert_eq!(first.account, account);
    let (status, error) = anyone.refused("/v1/machines", &enrolment(&two, code, "m")).await;
    assert_eq!((status, error.code.as_str()), (403, "join_code_refused"));
    assert!(error.message.contains("used up"), "{}", error.message);
    // Whoever lost the answer asks again, and has a new token; the old one is dead.
    let again: Enrolled = anyone.post("/v1/machines", &enrolment(&one, code, "m")).await;
    assert_eq!(again.machine, first.machine);
    let path = format!("/v1/blobs/{}", Digest::of(b"nothing"));
    assert_eq!(server.client(&first.token).get_refused(&path).await.0, 401);
    assert_eq!(server.client(&again.token).get_refused(&path).await.0, 404);

    let machines: Vec<MachineView> = owner.get("/v1/machines").await;
    assert_eq!(machines.len(), 1);
    assert!(machines[0].active && !machines[0].online);
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_join_code_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.join_code_ttl_ms = 0).await;
    let (_, owner) = server.account("Pia", 0).await;
    let join: JoinCode = owner.post("/v1/join-codes", &()).await;
    let key = SigningKey::from_bytes(&[1; 32]);
    let enrolment = enrolment(&key, code_of(&join), "m");
    let (status, error) = server.client("").refused("/v1/machines", &enrolment).await;
    assert_eq!(status, 403);
    assert!(error.message.contains("expired"), "{}", error.message);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_proves_its_key_and_has_one_connection() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, owner) = server.account("Pia", 0).await;
    let mut agent = Agent::enrol(&server, &owner, "pi", 1).await;
    let key = std::mem::replace(&mut agent.key, SigningKey::from_bytes(&[9; 32]));
    let refused = agent.connect(&server, 2).await;
    assert!(matches!(&refused, ToAgent::Refused { code, .. } if code == "bad_signature"));
    assert_eq!(agent.next().await, None, "and the connection is closed");

    agent.key = key;
    let welcome = agent.connect(&server, 2).await;
    let ToAgent::Welcome { leases, attempts, asks, .. } = welcome else { panic!("{welcome:?}") };
    assert!(leases.is_empty() && attempts.is_empty() && asks.is_empty());
    agent.say(&ToExchange::Heartbeat { progress: vec![] }).await;
    let ask = agent.ask(2, 300_000).await;
    assert_eq!(agent.ask(2, 300_000).await, ask, "the same order is placed once");

    let sequence = server.info().await.journal_sequence;
    let mut newer = Agent::enrol(&server, &owner, "pi", 1).await;
    let welcome = newer.connect(&server, 2).await;
    let ToAgent::Welcome { asks, .. } = welcome else { panic!("{welcome:?}") };
    assert_eq!(asks, [ask], "the ask outlives the connection");
    assert_eq!(agent.next().await, None, "the older connection is closed");
    assert_eq!(server.info().await.journal_sequence, sequence, "an unchanged offer is no entry");

    let path = format!("/v1/machines/{}", newer.machine);
    let view: MachineView = owner.get(&path).await;
    assert!(view.online && view.slots == 2);
    let (_, stranger) = server.account("Eve", 0).await;
    assert_eq!(stranger.get_refused(&path).await.0, 404);
    let view: MachineView = owner.delete(&path).await;
    assert!(!view.active && !view.online);
    // What comes before the end are the asks that left the book.
    guard(async { while newer.next().await.is_some() {} }).await;
    let refused = newer.connect(&server, 2).await;
    assert!(matches!(&refused, ToAgent::Refused { code, .. } if code == "machine_retired"));
    let blob = format!("/v1/blobs/{}", Digest::of(b"nothing"));
    assert_eq!(newer.client.get_refused(&blob).await.0, 401, "its token is dead");
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_the_connection_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, owner) = server.account("Pia", CREDIT).await;
    let mut agent = Agent::enrol(&server, &owner, "pi", 1).await;
    agent.connect(&server, 2).await;
    for (instrument, quantity, price, expected) in [
        ("gold", 1, 300_000, "unknown_instrument"),
        ("cpu.2g.any", 0, 300_000, "quantity_out_of_range"),
        ("cpu.2g.any", 1, -100, "price_out_of_range"),
        ("cpu.2g.any", 1, i64::MAX, "price_out_of_range"),
        ("cpu.2g.any", 3, 300_000, "exceeds_free_slots"),
        ("cpu.4g.any", 1, 300_000, "slot_too_small"),
    ] {
        agent
            .say(&ToExchange::PlaceAsk {
                client_order_id: "x".to_owned(),
                instrument: instrument.to_owned(),
                quantity,
                price_nanocredits_per_tfuel: price,
            })
            .await;
        let code = agent
            .until(|message| match message {
                ToAgent::Refused { code, .. } => Some(code.clone()),
                _ => None,
            })
            .await;
        assert_eq!(code, expected);
    }
    assert_eq!(agent.ask(1, 300_000).await.leaves_quantity, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_withdraws_its_own_asks_only() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, owner) = server.account("Pia", 0).await;
    let mut one = Agent::enrol(&server, &owner, "one", 1).await;
    one.connect(&server, 1).await;
    let mut two = Agent::enrol(&server, &owner, "two", 2).await;
    two.connect(&server, 1).await;
    let ask = one.ask(1, 300_000).await;
    two.say(&ToExchange::CancelAsk { order: ask.order }).await;
    let code = two
        .until(|message| match message {
            ToAgent::Refused { code, .. } => Some(code.clone()),
            ToAgent::AskState(_) => panic!("withdrawn"),
            _ => None,
        })
        .await;
    assert_eq!(code, "not_found");
    one.say(&ToExchange::CancelAsk { order: ask.order }).await;
    let left = one
        .until(|message| match message {
            ToAgent::AskState(found) if found.order == ask.order => Some(found.leaves_quantity),
            _ => None,
        })
        .await;
    assert_eq!(left, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_see_which_runtimes_there_are() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, owner) = server.account("Pia", 0).await;
    let anyone = server.client("");
    let runtime = |name: &str, base: &str| RuntimeTerms {
        name: name.to_owned(),
        version: "3.12.0".to_owned(),
        base: Digest::of(base.as_bytes()),
    };
    let mut two = Agent::enrol(&server, &owner, "two", 1).await;
    two.runtimes =
        vec![runtime("python", "b"), runtime("py\u{1b}thon", "a"), runtime("python", "b")];
    two.connect(&server, 2).await;
    let mut many = Agent::enrol(&server, &owner, "many", 2).await;
    many.runtimes = (0..100).map(|at| runtime("python", &format!("base {at}"))).collect();
    many.runtimes[0] = runtime("python", "b");
    many.connect(&server, 3).await;
    // A machine of an older agent, which says nothing of runtimes.
    let mut plain = Agent::enrol(&server, &owner, "plain", 3).await;
    plain.connect(&server, 1).await;

    let seen: Vec<RuntimeView> = anyone.get("/v1/runtimes").await;
    let both = seen.iter().find(|found| found.base == Digest::of(b"b")).unwrap();
    assert_eq!((both.name.as_str(), both.machines, both.slots), ("python", 2, 5));
    let odd = seen.iter().find(|found| found.base == Digest::of(b"a")).unwrap();
    assert_eq!((odd.name.as_str(), odd.machines, odd.slots), ("py thon", 1, 2));
    assert_eq!(seen.len(), 2 + 15, "what one machine says is bounded");

    let shown: MachineView = owner.get(&format!("/v1/machines/{}", two.machine)).await;
    assert_eq!(shown.runtimes.len(), 2);
    let _: MachineView = owner.delete(&format!("/v1/machines/{}", many.machine)).await;
    let seen: Vec<RuntimeView> = anyone.get("/v1/runtimes").await;
    assert_eq!(seen.iter().map(|found| found.machines).collect::<Vec<_>>(), [1, 1]);
    server.stop().await;
}
