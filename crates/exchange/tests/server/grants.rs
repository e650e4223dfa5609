//! Who may read which blob, how much may be kept, and what becomes of what nobody needs.

use std::path::Path;

use base::{Digest, Usage};
use reqwest::Method;
use wire::{BlobQuery, JobState, NewQuota, QuotaView, TaskResult, ToAgent, ToExchange};

use crate::harness::{Agent, CREDIT, Client, Server, guard, refusal};

async fn reads(client: &Client, digest: Digest) -> bool {
    let path = format!("/v1/blobs/{digest}");
    let [got, head] = [Method::GET, Method::HEAD].map(|method| client.request(method, &path));
    let (got, head) = (got.send().await.unwrap(), head.send().await.unwrap());
    let missing: BlobQuery =
        client.post("/v1/blobs/missing", &BlobQuery { digests: vec![digest] }).await;
    let is_there = got.status() == 200;
    assert_eq!((head.status() == 200, missing.digests.is_empty()), (is_there, is_there));
    is_there
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_again_what_was_accepted_needs_no_blobs_for_it() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, ada) = server.account("Ada", CREDIT).await;
    let (_, sue) = server.account("Sue", 0).await;
    let mut ant = Agent::enrol(&server, &sue, "ant", 1).await;
    let mut bee = Agent::enrol(&server, &sue, "bee", 2).await;
    ant.connect(&server, 1).await;
    bee.connect(&server, 1).await;
    let job = ada.job("job", 1).await;
    ada.submit(&job).await;
    ant.ask(1, 300_000).await;
    let start = ant.started().await;
    let usage = Usage { fuel: 1_000_000, traffic_bytes: 8, ..Usage::ZERO };
    let receipt = ant.checkpoint(&start, 1, usage).await;
    let checkpoint = receipt.checkpoint;
    ant.send(receipt).await.unwrap();
    let reason = "enough".to_owned();
    ant.say(&ToExchange::CloseLease { lease: start.lease, reason }).await;
    bee.ask(1, 300_000).await;
    let start = bee.started().await;
    // It hands in what the other one sent.
    let more = Usage { fuel: 2_000_000, ..usage };
    let receipt = bee.receipt(&start, 1, more, checkpoint, None);
    let paid = bee.send(receipt.clone()).await.unwrap();
    let cancel = format!("/v1/jobs/{}/cancel", job.job);
    ada.post::<wire::JobView>(&cancel, &()).await;
    // Its lease is over, and with it the right to read what others sent for the job.
    assert_eq!(bee.send(receipt).await, Ok(paid), "it was accepted, and stays so");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn knowing_a_digest_opens_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, ada) = server.account("Ada", CREDIT).await;
    let (_, eve) = server.account("Eve", CREDIT).await;
    let (_, sue) = server.account("Sue", 0).await;
    let mut ant = Agent::enrol(&server, &sue, "ant", 1).await;
    let mut bee = Agent::enrol(&server, &eve, "bee", 2).await;
    ant.connect(&server, 1).await;
    bee.connect(&server, 1).await;

    let job = ada.job("job", 1).await;
    let (spec, input) = (job.tasks[0], Digest::of(b"job 0"));
    for digest in [spec, input] {
        assert!(reads(&ada, digest).await);
        for other in [&eve, &sue, &ant.client, &bee.client] {
            assert!(!reads(other, digest).await, "a stranger");
        }
    }
    // Who may not read it may not have it delivered either; who has it sends it himself.
    let mut stolen = eve.job("stolen", 1).await;
    stolen.tasks = vec![spec];
    let (status, error) = eve.refused("/v1/jobs", &stolen).await;
    assert_eq!((status, error.code.as_str()), (422, "missing_blob"), "{error:?}");
    assert_eq!(eve.put_blob("job 0").await, input);
    assert!(reads(&eve, input).await);

    // A machine reads what the job of its lease needs, while it has it.
    ada.submit(&job).await;
    ant.ask(1, 300_000).await;
    let start = ant.started().await;
    assert!(reads(&ant.client, spec).await && reads(&ant.client, input).await);
    assert!(!reads(&bee.client, spec).await);
    let usage = Usage { fuel: 1_000_000, traffic_bytes: 8, ..Usage::ZERO };
    let receipt = ant.checkpoint(&start, 1, usage).await;
    let checkpoint = receipt.checkpoint.unwrap();
    ant.send(receipt).await.unwrap();
    assert!(reads(&ada, checkpoint).await, "of a job of hers that runs");
    assert!(!reads(&eve, checkpoint).await && !reads(&bee.client, checkpoint).await);

    // The next machine goes on from what the first one left.
    ant.say(&wire::ToExchange::CloseLease { lease: start.lease, reason: "enough".to_owned() })
        .await;
    ant.until(|message| matches!(message, ToAgent::LeaseClosed { .. }).then_some(())).await;
    bee.ask(1, 300_000).await;
    let resumed = bee.started().await;
    assert_eq!(resumed.checkpoint, Some(checkpoint));
    assert!(reads(&bee.client, checkpoint).await);

    // What it came to is the buyer's, also when the job is over; a machine can't pass on what it
    // could not have made.
    let mut more = usage;
    more.fuel *= 2;
    let receipt = bee.finish(&resumed, 1, more).await;
    let Some(wire::AttemptEnd::Finished { result }) = receipt.ended else { panic!("{receipt:?}") };
    let result: TaskResult = bee.client.get(&format!("/v1/blobs/{result}")).await;
    let (_, zoe) = server.account("Zoe", CREDIT).await;
    let foreign = zoe.put_blob("Zoe's own").await;
    let mut false_result = result.clone();
    false_result.stderr = foreign;
    let mut false_receipt = receipt.clone();
    let digest = bee.client.put_json(&false_result).await;
    false_receipt.ended = Some(wire::AttemptEnd::Finished { result: digest });
    let (code, fatal) = bee.send(false_receipt).await.unwrap_err();
    assert_eq!((code.as_str(), fatal), ("missing_blobs", false));
    assert!(!reads(&ada, foreign).await);
    bee.send(receipt).await.unwrap();
    ada.job_until(job.job, |view| view.state == JobState::Done).await;
    assert!(reads(&ada, result.stdout).await);
    // Its lease is over. With whom it worked is remembered for a moment.
    let path = format!("/v1/blobs/{spec}");
    guard(async {
        while bee.client.request(Method::GET, &path).send().await.unwrap().status() == 200 {}
    })
    .await;
    assert!(!reads(&bee.client, spec).await);
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_keeps_as_much_as_it_may() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.blob_quota_bytes = 100_000).await;
    let (account, ada) = server.account("Ada", 0).await;
    let (_, eve) = server.account("Eve", 0).await;
    ada.put_blob(vec![1; 60_000]).await;
    ada.put_blob(vec![1; 60_000]).await;
    let held: QuotaView = ada.get("/v1/quota").await;
    assert_eq!((held.held_bytes, held.blob_bytes), (60_000, 100_000), "once is once");
    let again = |client: &Client| client.request(Method::POST, "/v1/blobs").body(vec![2; 60_000]);
    let (status, error) = refusal(again(&ada)).await;
    assert_eq!((status, error.code.as_str()), (403, "quota_exceeded"));
    assert_eq!(error.details["wanted_bytes"], 120_000);
    assert!(!reads(&ada, Digest::of(&[2; 60_000])).await);
    // Each has a quota of its own, also for the same content.
    eve.put_blob(vec![1; 60_000]).await;

    let path = format!("/v1/operator/accounts/{account}/quota");
    let more = NewQuota { blob_bytes: Some(200_000), reason: "she asked".to_owned() };
    assert_eq!(ada.refused(&path, &more).await.0, 403);
    let set: QuotaView = server.operator.post(&path, &more).await;
    assert_eq!((set.held_bytes, set.blob_bytes), (60_000, 200_000));
    ada.put_blob(vec![2; 60_000]).await;
    assert_eq!(refusal(again(&eve)).await.1.code, "quota_exceeded");
    let acts: Vec<wire::OperatorAct> = server.operator.get("/v1/operator/acts").await;
    assert_eq!(acts[0].reason, "she asked");
    let none = NewQuota { blob_bytes: None, reason: "enough".to_owned() };
    let set: QuotaView = server.operator.post(&path, &none).await;
    assert_eq!((set.held_bytes, set.blob_bytes), (120_000, 100_000), "what is there stays");
    let full = refusal(ada.request(Method::POST, "/v1/blobs").body("x")).await;
    assert_eq!(full.1.code, "quota_exceeded");
    server.stop().await;
}

fn stored(data: &Path) -> usize {
    let shards = std::fs::read_dir(data.join("blobs")).unwrap().flatten();
    shards.flat_map(|shard| std::fs::read_dir(shard.path()).unwrap()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_needs_goes_and_what_a_job_needs_stays() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data).await;
    let (_, ada) = server.account("Ada", CREDIT).await;
    let job = ada.job("job", 2).await;
    ada.submit(&job).await;
    let idle: Vec<Digest> = [ada.put_blob("a").await, ada.put_blob("b").await].into();
    let needed = stored(&data) - idle.len();
    let token = ada.token.clone();
    server.stop().await;

    // Everything was wanted before, and nothing is kept for as long as that.
    let server = Server::start_with(&data, |config| {
        config.blob_keep_ms = 0;
        config.checkpoint_keep_ms = 0;
        config.blob_collect_ms = 5;
    })
    .await;
    guard(async {
        while stored(&data) > needed {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let ada = server.client(&token);
    for digest in &idle {
        assert!(!reads(&ada, *digest).await);
    }
    for spec in &job.tasks {
        assert!(reads(&ada, *spec).await);
    }
    let held: QuotaView = ada.get("/v1/quota").await;
    assert!(held.held_bytes > 0);
    // It runs as if nothing had been.
    let (_, sue) = server.account("Sue", 0).await;
    let mut ant = Agent::enrol(&server, &sue, "ant", 1).await;
    ant.connect(&server, 1).await;
    ant.ask(1, 300_000).await;
    let start = ant.started().await;
    assert!(reads(&ant.client, start.spec).await);
    // Once nobody needs it, it goes, too.
    let _: wire::JobView = ada.post(&format!("/v1/jobs/{}/cancel", job.job), &()).await;
    guard(async {
        while stored(&data) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let held: QuotaView = ada.get("/v1/quota").await;
    assert_eq!(held.held_bytes, 0);
    server.stop().await;
}
