//! A job from submission to bill, over two machines of which one dies, and what is not paid.

use crate::harness::{Agent, CREDIT, Client, Server};
use base::Usage;
use wire::{AttemptStart, Invoice, InvoiceLine, JobState, LeaseView, ToAgent, ToExchange};

const GFUEL: u64 = 1_000_000_000;

fn usage(tenths_of_gfuel: u64) -> Usage {
    let fuel = tenths_of_gfuel * GFUEL / 10;
    Usage { fuel, memory_page_fuel: fuel * 16, state_bytes: 0, traffic_bytes: 8 }
}

/// What an invoice line must come to, by the formula in the invoice itself.
fn recomputed(invoice: &Invoice, line: &InvoiceLine) -> i64 {
    let tariff = invoice.tariff;
    let sum = i128::from(line.usage.fuel) * i128::from(tariff.fuel_weight)
        + i128::from(line.usage.memory_page_fuel) * i128::from(tariff.memory_page_fuel_weight)
        + i128::from(line.usage.state_bytes) * i128::from(tariff.state_byte_weight)
        + i128::from(line.usage.traffic_bytes) * i128::from(tariff.traffic_byte_weight);
    let price = i128::from(line.price_nanocredits_per_tfuel);
    (price * sum / (i128::from(tariff.divisor) * 1_000_000_000_000)) as i64
}

/// Two machines: the cheaper gets the job.
async fn two_machines(server: &Server) -> (Client, Agent, Client, Agent) {
    let (_, one) = server.account("One", 0).await;
    let (_, two) = server.account("Two", 0).await;
    let mut cheap = Agent::enrol(server, &one, "cheap", 1).await;
    cheap.connect(server, 1).await;
    cheap.ask(1, 300_000).await;
    let mut dear = Agent::enrol(server, &two, "dear", 2).await;
    dear.connect(server, 1).await;
    dear.ask(1, 500_000).await;
    (one, cheap, two, dear)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_outlives_its_machine_and_everyone_is_paid() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.reconnect_grace_ms = 50).await;
    let (_, buyer) = server.account("Ada", 2 * CREDIT).await;
    let (one, mut cheap, two, mut dear) = two_machines(&server).await;
    let mut job = buyer.job("whole", 1).await;
    job.slots = 1;
    buyer.submit(&job).await;

    let start: AttemptStart = cheap.started().await;
    assert_eq!((start.job, start.spec, start.checkpoint), (job.job, job.tasks[0], None));
    let receipt = cheap.checkpoint(&start, 1, usage(10)).await;
    let checkpoint = receipt.checkpoint;
    let paid = cheap.send(receipt.clone()).await.unwrap();
    assert!(paid > 0);
    assert_eq!(cheap.send(receipt).await, Ok(paid), "a duplicate is paid once");
    cheap
        .say(&ToExchange::Heartbeat {
            progress: vec![wire::AttemptProgress { attempt: start.attempt, fuel: 2 * GFUEL }],
        })
        .await;
    let view = buyer.job_until(job.job, |v| v.tasks[0].progress_fuel == 2 * GFUEL).await;
    assert_eq!((view.state, view.tasks[0].usage), (JobState::Running, usage(10)));
    cheap.die();

    // On to the other from the last accepted checkpoint: the work past it is nobody's.
    let resumed = dear.started().await;
    assert_eq!(
        (resumed.task, resumed.checkpoint, resumed.usage),
        (start.task, checkpoint, usage(10))
    );
    assert!(resumed.epoch > start.epoch);
    let receipt = dear.finish(&resumed, 1, usage(25)).await;
    dear.send(receipt).await.unwrap();
    let closed = dear
        .until(|message| match message {
            ToAgent::LeaseClosed { lease, paid_nanocredits, .. } => {
                Some((*lease, *paid_nanocredits))
            }
            _ => None,
        })
        .await;
    let done = buyer.job_until(job.job, |view| view.state == JobState::Done).await;
    let attempts = &done.tasks[0].attempts;
    assert_eq!(attempts.len(), 2);
    assert_eq!((attempts[0].from, attempts[0].to), (Usage::ZERO, usage(10)));
    assert_eq!((attempts[1].from, attempts[1].to), (usage(10), usage(25)), "no gap, no overlap");
    assert_eq!(attempts[0].end.as_deref(), Some("lapsed"));
    assert_eq!(attempts[1].end.as_deref(), Some("finished"));
    assert_eq!(attempts[1].machine_name, "dear");

    let invoice: Invoice = buyer.get(&format!("/v1/jobs/{}/invoice", job.job)).await;
    assert_eq!(invoice.lines.len(), 2);
    for line in &invoice.lines {
        assert_eq!(line.paid_nanocredits, recomputed(&invoice, line), "{line:?}");
    }
    let whole = invoice.lines[0].usage.plus(invoice.lines[1].usage);
    assert_eq!(whole, Some(usage(25)), "the intervals tile the task");
    assert_eq!(closed, (invoice.lines[1].lease, invoice.lines[1].paid_nanocredits));
    assert_eq!(invoice.total_nanocredits, done.paid_nanocredits);
    let wallet: wire::Wallet = buyer.get("/v1/wallet").await;
    assert_eq!(wallet.available_nanocredits, 2 * CREDIT - invoice.total_nanocredits);
    assert_eq!(wallet.escrow_nanocredits, 0);
    for (seller, line) in [(&one, &invoice.lines[0]), (&two, &invoice.lines[1])] {
        let wallet: wire::Wallet = seller.get("/v1/wallet").await;
        assert_eq!(wallet.available_nanocredits, line.paid_nanocredits);
        let leases: Vec<LeaseView> = seller.get("/v1/leases").await;
        assert_eq!((leases.len(), leases[0].lease), (1, line.lease));
        assert!(leases[0].closed_at_ms.is_some());
        let transfers: Vec<wire::TransferView> = seller.get("/v1/transfers").await;
        assert!(transfers.iter().all(|transfer| transfer.reason == "settlement"));
    }
    let bought: Vec<LeaseView> = buyer.get("/v1/leases").await;
    assert_eq!(bought.len(), 2);
    let reasons: Vec<String> = buyer
        .get::<Vec<wire::TransferView>>("/v1/transfers")
        .await
        .into_iter()
        .map(|transfer| transfer.reason)
        .collect();
    assert_eq!(reasons.first().map(String::as_str), Some("release"), "newest first");
    assert_eq!(reasons.last().map(String::as_str), Some("deposit"));
    let trades: Vec<wire::TradeView> = buyer.get("/v1/instruments/cpu.2g.any/trades").await;
    let prices: Vec<_> = trades.iter().map(|trade| trade.price_nanocredits_per_tfuel).collect();
    assert_eq!(prices, [500_000, 300_000]);

    // The machine that died comes back and accepts that its lease lapsed.
    let welcome = cheap.connect(&server, 1).await;
    let ToAgent::Welcome { leases, attempts, asks, .. } = welcome else { panic!("{welcome:?}") };
    assert!(leases.is_empty() && attempts.is_empty() && asks.is_empty());
    let late = cheap.checkpoint(&start, 2, usage(20)).await;
    let (code, fatal) = cheap.send(late).await.unwrap_err();
    assert!(fatal && ["attempt_ended", "stale_epoch"].contains(&code.as_str()), "{code}");
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_is_not_right_is_not_paid() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, buyer) = server.account("Ada", 2 * CREDIT).await;
    let (_, mut cheap, _, dear) = two_machines(&server).await;
    let mut job = buyer.job("strict", 1).await;
    job.slots = 1;
    buyer.submit(&job).await;
    let start = cheap.started().await;
    let good = cheap.checkpoint(&start, 1, usage(10)).await;

    let refused = |code: &str, fatal| Err((code.to_owned(), fatal));
    let forged = good.clone().sign(&dear.key);
    assert_eq!(cheap.send_signed(forged).await, refused("bad_signature", true));
    let mut altered = good.clone().sign(&cheap.key);
    altered.receipt.usage.fuel += 1;
    assert_eq!(cheap.send_signed(altered).await, refused("bad_signature", true));
    let mut elsewhere = good.clone();
    elsewhere.exchange.0 += 1;
    assert_eq!(cheap.send(elsewhere).await, refused("wrong_exchange", true));
    let mut stale = good.clone();
    stale.epoch += 1;
    assert_eq!(cheap.send(stale).await, refused("stale_epoch", true));
    let mut unknown = good.clone();
    unknown.attempt.0 += 1;
    assert_eq!(cheap.send(unknown).await, refused("unknown_attempt", true));

    // The index names a leaf that nobody uploaded: not fatal, it can be mended.
    let manifest = cheap.client.put_blob("manifest").await;
    let leaves = vec![base::Digest::of(b"the last leaf")];
    let index = cheap.client.put_json(&wire::CheckpointIndex { manifest, leaves }).await;
    let lacking = cheap.receipt(&start, 1, usage(10), Some(index), None);
    assert_eq!(cheap.send(lacking.clone()).await, refused("missing_blobs", false));
    let view = buyer.job_view(job.job).await;
    assert_eq!((view.paid_nanocredits, view.tasks[0].usage), (0, Usage::ZERO));
    cheap.client.put_blob("the last leaf").await;
    assert!(cheap.send(lacking).await.unwrap() > 0);

    // Two different receipts under one sequence end the lease.
    let other = cheap.checkpoint(&start, 1, usage(11)).await;
    let (_, fatal) = cheap.send(other).await.unwrap_err();
    assert!(fatal);
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_refused_for_good_sends_the_task_on() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, buyer) = server.account("Ada", 2 * CREDIT).await;
    let (_, mut cheap, _, mut dear) = two_machines(&server).await;
    let mut job = buyer.job("refused", 1).await;
    job.slots = 1;
    buyer.submit(&job).await;
    let refused = |code: &str, fatal| Err((code.to_owned(), fatal));

    // A thousand Tfuel in the blink of an eye.
    let start = cheap.started().await;
    let absurd = cheap.checkpoint(&start, 1, usage(1_000_000)).await;
    assert_eq!(cheap.send(absurd).await, refused("usage_exceeds_time", true));
    let closed = |message: &ToAgent| match message {
        ToAgent::LeaseClosed { lease, reason, .. } => Some((*lease, reason.clone())),
        _ => None,
    };
    let (lease, reason) = cheap.until(closed).await;
    assert_eq!(lease, start.lease);
    assert!(reason.contains("usage_exceeds_time"), "{reason}");

    // What can't even be read ends a lease, too, but only that of its own machine.
    let resumed = dear.started().await;
    assert_eq!((resumed.task, resumed.usage), (start.task, Usage::ZERO));
    let unreadable = |by: &Agent| by.receipt(&resumed, u64::MAX, usage(1), None, None);
    let receipt = unreadable(&cheap);
    assert_eq!(cheap.send(receipt).await, refused("malformed_receipt", true));
    let view = buyer.job_view(job.job).await;
    assert_eq!(view.tasks[0].state, wire::TaskState::Running);
    let receipt = unreadable(&dear);
    assert_eq!(dear.send(receipt).await, refused("malformed_receipt", true));
    let (lease, reason) = dear.until(closed).await;
    assert_eq!(lease, resumed.lease);
    assert!(reason.contains("malformed_receipt"), "{reason}");
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machines_words_move_no_cursor() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, buyer) = server.account("Ada", 2 * CREDIT).await;
    let (_, mut cheap, _, mut dear) = two_machines(&server).await;
    let mut job = buyer.job("words", 1).await;
    job.slots = 1;
    buyer.submit(&job).await;
    let start = cheap.started().await;
    let reason = "disk\u{1b}[2J\nfailed".to_owned();
    let ended = Some(wire::AttemptEnd::Fault { reason });
    let receipt = cheap.receipt(&start, 1, Usage::ZERO, None, ended);
    cheap.send(receipt).await.unwrap();
    let start = dear.started().await;
    let reason = "bye\u{202e}\u{7}".to_owned();
    dear.say(&ToExchange::CloseLease { lease: start.lease, reason }).await;
    let view = buyer
        .job_until(job.job, |view| view.tasks[0].attempts.iter().all(|a| a.end.is_some()))
        .await;
    let ends: Vec<_> = view.tasks[0].attempts.iter().filter_map(|a| a.end.as_deref()).collect();
    assert_eq!(ends[0], "fault: disk [2J failed");
    assert_eq!(ends[1], "lease_ended: closed by the seller: bye");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_machine_lapses_though_its_connection_is_open() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.lapse_after_ms = 300).await;
    let (_, buyer) = server.account("Ada", 2 * CREDIT).await;
    let (_, owner) = server.account("One", 0).await;
    let mut agent = Agent::enrol(&server, &owner, "silent", 1).await;
    agent.connect(&server, 1).await;
    agent.ask(1, 300_000).await;
    let job = buyer.job("silence", 1).await;
    buyer.submit(&job).await;
    agent.started().await;
    let view = buyer
        .job_until(job.job, |view| view.tasks[0].attempts.iter().any(|a| a.ended_at_ms.is_some()))
        .await;
    assert_eq!(view.tasks[0].attempts[0].end.as_deref(), Some("lapsed"));
    assert!(view.waiting_reason.is_some());
    crate::harness::guard(async { while agent.next().await.is_some() {} }).await;
    server.sound().await;
    server.stop().await;
}

/// Says a receipt and waits for its refusal; gives the message.
async fn refusal(agent: &mut Agent, signed: wire::SignedReceipt) -> String {
    agent.say(&ToExchange::Receipt(signed)).await;
    agent
        .until(|message| match message {
            ToAgent::ReceiptRejected { message, .. } => Some(message.clone()),
            ToAgent::ReceiptAccepted { .. } => panic!("accepted"),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_receipt_is_told_what_is_wrong_and_moves_no_money() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, buyer) = server.account("Ada", 2 * CREDIT).await;
    let (one, mut cheap, _, dear) = two_machines(&server).await;
    let mut job = buyer.job("told", 1).await;
    job.slots = 1;
    buyer.submit(&job).await;
    let start = cheap.started().await;
    let good = cheap.checkpoint(&start, 1, usage(10)).await;
    let money = async || {
        let wallets: [wire::Wallet; 2] =
            [buyer.get("/v1/wallet").await, one.get("/v1/wallet").await];
        (wallets, server.sound().await.journal_sequence)
    };
    let before = money().await;

    let attempt = start.attempt;
    let mut altered = good.clone().sign(&cheap.key);
    altered.receipt.usage.fuel += 1;
    let stale = wire::Receipt { epoch: start.epoch - 1, ..good.clone() };
    for (signed, words) in [
        (
            good.clone().sign(&dear.key),
            ["the signature does not match", "sign with the key that the machine enrolled with"],
        ),
        (altered, ["the signature does not match", "sign with the key"]),
        (
            wire::SignedReceipt { receipt: good.clone(), signature: "abc".to_owned() },
            ["`abc` is not a signature", "expected 128 hex digits"],
        ),
        (
            stale.sign(&cheap.key),
            [&format!("epoch 0 of {attempt} is not live (1 is)"), "stop the attempt"],
        ),
    ] {
        let message = refusal(&mut cheap, signed).await;
        for word in words {
            assert!(message.contains(word), "it does not say {word:?}: {message}");
        }
    }
    assert_eq!(money().await, before);
    // What is right is paid all the same.
    assert!(cheap.send(good).await.unwrap() > 0);
    // What can't be ends the lease, and pays nothing more.
    let (paid, _) = money().await;
    let absurd = cheap.checkpoint(&start, 2, usage(1_000_000)).await;
    let absurd = absurd.sign(&cheap.key);
    let message = refusal(&mut cheap, absurd).await;
    for word in [&format!("{attempt} claims 100000000000000 fuel in"), "are possible: stop it"] {
        assert!(message.contains(word), "it does not say {word:?}: {message}");
    }
    assert_eq!(money().await.0, paid);
    server.sound().await;
    server.stop().await;
}
