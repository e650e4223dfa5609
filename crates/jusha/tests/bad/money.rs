//! Orders and budgets with impossible figures, and too little money.

use base::{NANOCREDITS_PER_CREDIT, OrderId, TransferId};
use client::Client;
use serde_json::{Value, json};
use wire::{NewJob, TopUp};

use super::{FAILED, WRONG_COMMAND_LINE, assert_refusal, refusal};
use crate::stage::{FUNDS, Pace, Stage, Work, guest, submit};

#[tokio::test(flavor = "multi_thread")]
async fn impossible_figures_on_the_command_line_are_named() {
    let stage = Stage::new(Pace::PATIENT).await;
    let before = stage.everything().await;
    let noop = guest("noop");
    let noop = noop.to_str().unwrap();
    let data = stage.scene.arg("machine");
    let join = format!("{}/#join=join_1", stage.url);
    let money =
        ["0", "-1", "-0.5", "0.0000000001", "1e30", "1e-3", "abc", "NaN", "", "99999999999"];
    let count = ["0", "-1", "1.5", "1e30", "abc", "", "4294967296"];
    let run: &[&str] = &["run", noop];
    let provide: &[&str] = &["provide", &join, "--data", &data];
    let up: &[&str] = &["up", "--data", &data];
    let add: &[&str] = &["exchange", "account", "add", "x", "--data", &data];
    let top_up: &[&str] = &["jobs", "top-up", "job_1"];
    let cases: [(&[&str], &str, &[&str]); 11] = [
        (run, "--max-price", &money),
        (run, "--budget", &money),
        (run, "--slots", &count),
        (run, "--fuel-max", &["0", "-1", "1e30", "999999999"]),
        (run, "--memory-max", &["0", "-1", "1.5", "4097"]),
        (provide, "--price", &money),
        (provide, "--slots", &count),
        (up, "--price", &money),
        (up, "--slots", &count),
        (add, "--credits", &money),
        (top_up, "", &money),
    ];
    for (command, option, values) in cases {
        for value in values {
            let mut args = command.to_vec();
            args.extend((!option.is_empty()).then_some(option));
            args.push(value);
            let ran = stage.scene.finish(stage.buy(&args), b"").await;
            ran.assert_refused(WRONG_COMMAND_LINE, &[option, &format!("'{value}'"), "--help"]);
        }
    }
    assert!(!stage.scene.path("machine").exists(), "nothing was begun");
    assert_eq!(stage.everything().await, before);
}

/// Replaces a field of a request by any JSON, such as would not fit the type.
fn with(mut body: Value, field: &str, value: &str) -> String {
    body[field] = json!("REPLACED");
    body.to_string().replace("\"REPLACED\"", value)
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_figures_in_requests_are_named() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 300_000, 2).await;
    let works = [Work::new("noop", &[])];
    let (_, blobs) = works[0].blobs();
    let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    stage.buyer.store(&blobs).await.unwrap();
    let before = stage.everything().await;

    let not_whole = ["1.5", "1e30", "-1e30", "\"3\"", "null", "true", "[1]", "{}"];
    let huge = "99999999999999999999999999";
    let order = json!({
        "client_order_id": "mine", "machine": stage.machines[0].id,
        "instrument": "cpu.2g.any", "quantity": 1, "price_nanocredits_per_tfuel": 300_000,
    });
    let seller = stage.raw(&stage.machines[0].token);
    let job = serde_json::to_value(stage.job(1, &works, 1)).unwrap();
    let buyer = stage.raw(&stage.token);
    let deposit =
        json!({"account": stage.account, "amount_nanocredits": 1, "transfer": TransferId(9)});
    let operator = stage.raw(stage.scene.read("exchange/operator.token").trim());
    let price = "price_nanocredits_per_tfuel";
    for (raw, path, body, field) in [
        (&seller, "/v1/orders", &order, "quantity"),
        (&seller, "/v1/orders", &order, price),
        (&buyer, "/v1/jobs", &job, "max_price_nanocredits_per_tfuel"),
        (&buyer, "/v1/jobs", &job, "slots"),
        (&buyer, "/v1/jobs", &job, "budget_nanocredits"),
        (&operator, "/v1/deposits", &deposit, "amount_nanocredits"),
    ] {
        // An order without a price is one at the market, where nobody is on the other side.
        let optional = path == "/v1/orders" && field == price;
        for value in not_whole.iter().chain(&[huge]) {
            let refused = raw.post(path, with(body.clone(), field, value)).await;
            if optional && *value == "null" {
                assert_refusal(&refused, 422, "no_market", &["cpu.2g.any"]);
                continue;
            }
            assert_refusal(&refused, 400, "invalid_json", &[field, "expected"]);
        }
        let mut lacking = body.clone();
        lacking.as_object_mut().unwrap().remove(field);
        let refused = raw.post(path, lacking.to_string()).await;
        if optional {
            assert_refusal(&refused, 422, "no_market", &["cpu.2g.any"]);
        } else {
            assert_refusal(&refused, 400, "invalid_json", &["missing field", field]);
        }
        for value in ["NaN", "Infinity", "0x10", "01", "1_000", "+1"] {
            let refused = raw.post(path, with(body.clone(), field, value)).await;
            assert_refusal(&refused, 400, "invalid_json", &["line 1 column"]);
        }
    }

    let range = "price_out_of_range";
    let slots = "job_slots_out_of_range";
    let amount = "amount_out_of_range";
    let quantity = "quantity_out_of_range";
    let max_price = "max_price_nanocredits_per_tfuel";
    let budget = "budget_nanocredits";
    let trades = "trades from 100 to 1000000000";
    let million = "give 1 to 1000000000000000";
    for (raw, path, body, field, value, code, advice) in [
        (&seller, "/v1/orders", &order, "quantity", "0", quantity, "has 1 to"),
        (&seller, "/v1/orders", &order, "quantity", "4294967295", quantity, "has 1 to"),
        (
            &seller,
            "/v1/orders",
            &order,
            "quantity",
            "3",
            "exceeds_free_slots",
            "lower the quantity",
        ),
        (&seller, "/v1/orders", &order, price, "0", range, trades),
        (&seller, "/v1/orders", &order, price, "-300000", range, trades),
        (&seller, "/v1/orders", &order, price, "9223372036854775807", range, trades),
        (&seller, "/v1/orders", &order, price, "300001", "price_off_tick", "multiples of 100"),
        (&buyer, "/v1/jobs", &job, max_price, "0", range, trades),
        (&buyer, "/v1/jobs", &job, max_price, "-1", range, trades),
        (&buyer, "/v1/jobs", &job, max_price, "9223372036854775807", range, trades),
        (&buyer, "/v1/jobs", &job, "slots", "0", slots, "1 to 1000"),
        (&buyer, "/v1/jobs", &job, "slots", "4294967295", slots, "1 to 1000"),
        (&buyer, "/v1/jobs", &job, budget, "0", amount, million),
        (&buyer, "/v1/jobs", &job, budget, "-1", amount, million),
        (&buyer, "/v1/jobs", &job, budget, "9223372036854775807", amount, million),
        (&buyer, "/v1/jobs", &job, budget, "1", "budget_too_small", "give at least"),
        (&operator, "/v1/deposits", &deposit, "amount_nanocredits", "0", amount, million),
        (&operator, "/v1/deposits", &deposit, "amount_nanocredits", "-5", amount, million),
    ] {
        let refused = raw.post(path, with(body.clone(), field, value)).await;
        assert_refusal(&refused, 422, code, &[value, advice]);
    }
    let other = with(order, "instrument", "\"gold\"");
    let refused = seller.post("/v1/orders", other).await;
    assert_refusal(&refused, 404, "unknown_instrument", &["`gold`", "lists them"]);
    assert_eq!(stage.everything().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_money_buys_nothing() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 300_000, 1).await;
    let noop = guest("noop");
    let noop = noop.to_str().unwrap();
    let poor = stage.operator.open_account("poor").await.unwrap();
    let before = stage.everything().await;
    let run = async |token: &str, more: &[&str]| {
        let mut command = stage.buy(&[&["run", noop], more].concat());
        command.env("JUSHA_TOKEN", token);
        stage.scene.finish(command, b"").await
    };
    let advice = "hint: a smaller --budget, or more credits: `jusha wallet show`";
    let ran = run(&poor.token, &[]).await;
    ran.assert_refused(FAILED, &["insufficient_funds", "holds 0 nanocredits", advice]);
    let ran = run(&stage.token, &["--budget", "1000.000000001"]).await;
    let said = ["holds 1000000000000 nanocredits", "1000000000001 are needed", advice];
    ran.assert_refused(FAILED, &said);
    let ran = run(&stage.token, &["--budget", "0.000000001"]).await;
    ran.assert_refused(FAILED, &["a budget of 1 nanocredits", "give at least"]);
    // More than there is for one's second job, and for topping up the first.
    let works = [Work::new("spin", &[])];
    let job = NewJob { budget_nanocredits: FUNDS + 1, ..stage.job(1, &works, 1) };
    let (_, blobs) = works[0].blobs();
    let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    stage.buyer.store(&blobs).await.unwrap();
    let refused = refusal(stage.buyer.submit(&job).await);
    assert_refusal(&refused, 402, "insufficient_funds", &["1000000000001 are needed"]);
    assert_eq!(stage.everything().await, before);

    // Nobody asks so little: it waits, and costs nothing when it is cancelled.
    let job = NewJob { max_price_nanocredits_per_tfuel: 100, ..stage.job(2, &works, 1) };
    submit(&stage.buyer, &works, &job).await;
    let view = stage.buyer.job(job.job).await.unwrap();
    let reason = view.waiting_reason.unwrap_or_default();
    assert!(reason.contains("within"), "{reason}");
    let held = stage.everything().await;
    let more = TopUp { amount_nanocredits: FUNDS, transfer: TransferId(5) };
    let refused = refusal(stage.buyer.top_up(job.job, &more).await);
    assert_refusal(&refused, 402, "insufficient_funds", &["1000000000000 are needed"]);
    let job_text = job.job.to_string();
    let top_up = stage.buy(&["jobs", "top-up", &job_text, "1000"]);
    let ran = stage.scene.finish(top_up, b"").await;
    ran.assert_refused(FAILED, &["1000000000000 are needed", "more credits"]);
    assert_eq!(stage.everything().await, held);
    stage.buyer.cancel_job(job.job).await.unwrap();
    stage.audit().await;
    let wallet = stage.buyer.wallet().await.unwrap();
    assert_eq!((wallet.available_nanocredits, wallet.escrow_nanocredits), (FUNDS, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ask_that_is_not_there_or_is_ones_own_is_not_taken() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 300_000, 1).await;
    let before = stage.everything().await;
    let noop = guest("noop");
    let noop = noop.to_str().unwrap();
    let gone = OrderId(5).to_string();
    let ran = stage.scene.finish(stage.buy(&["run", noop, "--ask", &gone]), b"").await;
    ran.assert_refused(FAILED, &[&gone, "not an open ask", "hint: `jusha market show` lists"]);
    let run = stage.buy(&["run", noop, "--ask", &gone, "--max-price", "0.001"]);
    let ran = stage.scene.finish(run, b"").await;
    ran.assert_refused(FAILED, &[&gone, "can't be taken", "ask_unusable"]);
    let ran = stage.scene.finish(stage.buy(&["run", noop, "--ask", "5"]), b"").await;
    ran.assert_refused(WRONG_COMMAND_LINE, &["'5'", "--ask"]);
    let ran = stage.scene.finish(stage.buy(&["order", "cancel", &gone]), b"").await;
    ran.assert_refused(FAILED, &[&gone]);
    // An owner's own money does not buy the owner's own slots.
    let seller = Client::new(&stage.url, &stage.machines[0].token).unwrap();
    let own = seller.orders().await.unwrap()[0].order.to_string();
    let refused = refusal(stage.buyer.cancel_order(own.parse().unwrap()).await);
    assert_refusal(&refused, 404, "not_found", &[&own]);
    assert_eq!(stage.everything().await, before);
    let deposit = wire::NewDeposit {
        account: seller.wallet().await.unwrap().account,
        amount_nanocredits: NANOCREDITS_PER_CREDIT,
        transfer: TransferId(3),
    };
    stage.operator.deposit(&deposit).await.unwrap();
    let before = stage.everything().await;
    let mut run = stage.buy(&["run", noop, "--ask", &own]);
    run.env("JUSHA_TOKEN", &stage.machines[0].token);
    let ran = stage.scene.finish(run, b"").await;
    ran.assert_refused(FAILED, &[&own, "can't be taken"]);
    assert_eq!(stage.everything().await, before);
}
