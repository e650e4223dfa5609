//! The market from the command line: looking, following, offering, withdrawing.

use std::fs;

use client::{Feed, FeedNews};
use serde_json::Value;

use wire::JobState;

use crate::stage::{Pace, Process, Ran, Scene, Stage, Watch, Work, guarded, submit, until};

/// As `jusha::exit` has it.
const FAILED: i32 = 125;

/// An instrument in which agents don't offer by themselves.
const OTHER: &str = "cpu.512m.any";

/// The command's JSON.
fn json(ran: &Ran) -> Value {
    assert_eq!(ran.status, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[tokio::test]
async fn an_owner_trades_from_the_command_line() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 123_456_700, 2).await;
    let (machine, token) = (stage.machines[0].id.to_string(), stage.machines[0].token.clone());
    let run = async |args: &[&str]| {
        let mut command = stage.scene.jusha(&[&["market"], args].concat());
        command.env("JUSHA_URL", &stage.url).env("JUSHA_TOKEN", &token);
        stage.scene.finish(command, b"").await
    };
    // Somebody watches, with a line per message.
    let mut watch =
        stage.scene.jusha(&["market", "watch", OTHER, "--json", "--count", "3", "--account"]);
    watch.env("JUSHA_URL", &stage.url).env("JUSHA_TOKEN", &token);
    let mut watch = Process::start(watch, &stage.scene.path("watch.log"));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let message: Value = serde_json::from_str(&watch.line().await).unwrap();
        kinds.push(message["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds, ["snapshot", "account_snapshot"]);

    // The agent offers both slots already; an ask in another instrument shares them.
    let terms = ["--price", "0.2", "--instrument", OTHER, "--client-order-id", "mine", "--json"];
    let sell = [&["sell", &machine, "2"], &terms[..]].concat();
    let sold = json(&run(&sell).await);
    assert_eq!(
        (sold["status"].as_str(), sold["leaves_quantity"].as_u64()),
        (Some("open"), Some(2))
    );
    assert_eq!(json(&run(&sell).await)["order"], sold["order"], "said twice, it is one order");
    let changed: Value = serde_json::from_str(&watch.line().await).unwrap();
    let other: Value = serde_json::from_str(&watch.line().await).unwrap();
    let of = |kind: &str| [&changed, &other].into_iter().find(|one| one["type"] == kind).cloned();
    let update = of("update").unwrap();
    assert_eq!(update["asks"][0]["price_nanocredits_per_tfuel"], 200_000_000);
    assert_eq!(of("account_update").unwrap()["orders"][0]["order"], sold["order"]);

    let book = run(&["book", OTHER]).await;
    assert!(book.stdout.contains("ask           0.2      2       1"), "{book:?}");
    assert_eq!(json(&run(&["orders", "--open", "--json"]).await).as_array().unwrap().len(), 2);
    let ticker = json(&run(&["ticker", "--json"]).await);
    let fargate = ticker["compared"].as_array().unwrap().iter().find(|one| {
        one["program"] == "C" && one["reference"].as_str().unwrap().contains("Fargate")
    });
    // 0.1234567 credits × 64 Tfuel beside $0.0405.
    assert_eq!(fargate.unwrap()["basis_points"], 1_950_920);
    assert!(run(&["ticker"]).await.stdout.contains("19509 %"));
    let elsewhere = run(&["elsewhere"]).await;
    assert!(elsewhere.stdout.contains("2026-09") && elsewhere.stdout.contains("Python"));

    let switch = json(&run(&["cancel-after", "3600", "--json"]).await);
    assert!(switch["due_at_ms"].as_i64().is_some());
    assert_eq!(run(&["cancel-after", "0"]).await.stdout, "no switch is set\n");
    let order = sold["order"].as_str().unwrap();
    assert_eq!(json(&run(&["cancel", order, "--json"]).await)["status"], "cancelled");
    assert!(watch.exit().await.success(), "three changes were asked for");

    for (args, words) in [
        (&["sell", &machine, "2", "--price", "0.00000015"][..], &["price_off_tick"][..]),
        (&["sell", &machine, "3", "--price", "0.2"], &["exceeds_free_slots"]),
        (&["sell", &machine, "1", "--instrument", "gpu", "--price", "1"], &["unknown_instrument"]),
        (&["sell", &machine, "1", "--instrument", OTHER], &["no_market"]),
        (&["sell", &machine, "1", "--post-only"], &["--price"]),
        (&["book", "cpu.9g.any"], &["not_found", "cpu.9g.any"]),
        (&["watch", "cpu.9g.any"], &["not_found"]),
    ] {
        let ran = run(args).await;
        assert_eq!(ran.status, FAILED, "{ran:?}");
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{words:?}: {ran:?}");
    }
    // The agent offers again what is withdrawn from under it.
    assert_eq!(run(&["cancel-all"]).await.status, 0);
    stage.all_offered().await;
}

#[tokio::test]
async fn a_machine_is_measured_by_work_whose_answer_is_known() {
    let scene = Scene::new();
    let data = scene.arg("exchange");
    let calibrate = ["exchange", "--data", &data, "calibrate", "--count", "3", "--size", "2203"];
    let ran = scene.run(&[&calibrate[..], &["--memory", "0"]].concat(), b"").await;
    let said = "3 on speed; on memory none";
    assert_eq!((ran.status, ran.stdout.contains(said)), (0, true), "{ran:?}");
    let mut stage = Stage::on(scene, Pace::PATIENT).await;
    stage.add_machine("ant", 123_456_700, 1).await;
    let (owner, id) = (stage.machines[0].owner.clone(), stage.machines[0].id);
    let measured = until("a measured machine", async || {
        let machine = owner.machine(id).await.unwrap();
        machine.speed_at_ms.map(|_| machine.speed_mfuel_per_s)
    })
    .await;
    assert!(measured > 0, "it answered rightly");
    // A bid that asks for so much finds it, and for more waits.
    let works = [Work::new("noop", &[])];
    let mut picky = stage.job(1, &works, 1);
    picky.filters.speed_min_mfuel_per_s = measured + 1;
    submit(&stage.buyer, &works, &picky).await;
    let mut content = stage.job(2, &works, 1);
    content.filters.speed_min_mfuel_per_s = measured;
    submit(&stage.buyer, &works, &content).await;
    Watch::new(&stage.buyer, content.job).end().await;
    assert_eq!(stage.buyer.job(picky.job).await.unwrap().state, JobState::Waiting);
    stage.audit().await;
}

#[tokio::test]
async fn a_machine_shows_its_memory_before_it_is_offered() {
    let scene = Scene::new();
    let data = scene.arg("exchange");
    let calibrate = ["exchange", "--data", &data, "calibrate", "--count", "1", "--size", "2203"];
    let memory = ["--memory", "48", "--memory", "96", "--memory-count", "3"];
    let ran = scene.run(&[&calibrate[..], &memory].concat(), b"").await;
    let said = "1 on speed; on memory 3 for 48 MiB, 3 for 96 MiB";
    assert_eq!((ran.status, ran.stdout.contains(said)), (0, true), "{ran:?}");
    let traded = "
        [[instrument]]
        name = 'cpu.96m.any'
        memory_mib = 96
        memory_measured = true
        [[instrument]]
        name = 'cpu.112m.any'
        memory_mib = 112
    ";
    fs::write(scene.path("exchange/instruments.toml"), traded).unwrap();
    let mut stage = Stage::on(scene, Pace::PATIENT).await;
    let owner = stage.operator.open_account("owner of ant").await.unwrap();
    // Each of both slots says so much, in all instruments that it may.
    stage.join_machine(&owner.token, "ant", 123_456_700, 2, &["--memory", "120"]).await;
    let (owner, id) = (stage.machines[0].owner.clone(), stage.machines[0].id);
    let shown =
        until("measured memory", async || owner.machine(id).await.unwrap().measured_mib_per_slot)
            .await;
    assert_eq!(shown, 96, "the largest size that was asked for");
    let offered = async |instrument: &str| -> u64 {
        let book = stage.operator.book(instrument).await.unwrap();
        book.asks.iter().map(|level| level.quantity).sum()
    };
    until("both slots offered", async || (offered("cpu.96m.any").await == 2).then_some(())).await;
    // Its word was enough before it was measured.
    until("no more", async || (offered("cpu.112m.any").await == 0).then_some(())).await;
}

#[tokio::test]
async fn a_feed_goes_on_when_the_exchange_comes_back() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    let mut feed = Feed::new(&stage.buyer);
    feed.subscribe("cpu.2g.any");
    feed.subscribe_account();
    let mut next = async || guarded("news", feed.next()).await.unwrap();
    assert!(matches!(next().await, FeedNews::Book { again: false, .. }));
    assert!(matches!(next().await, FeedNews::Account(_)));
    stage.kill_exchange().await;
    assert!(matches!(next().await, FeedNews::Lost { .. }));
    stage.restart_exchange().await;
    assert!(matches!(next().await, FeedNews::Book { again: true, .. }));
    assert!(matches!(next().await, FeedNews::Account(_)));
    let works = [Work::new("noop", &[])];
    submit(&stage.buyer, &works, &stage.job(1, &works, 1)).await;
    let (mut bids, mut orders) = (0, 0);
    while bids == 0 || orders == 0 {
        match next().await {
            FeedNews::Changed(update) => bids += update.bids.len(),
            FeedNews::AccountChanged(update) => orders += update.orders.len(),
            other => panic!("{other:?}"),
        }
    }
}
