//! Lists stay small and are each account's own, whatever the exchange holds.

use crate::harness::{Agent, CREDIT, Server};
use base::JobId;
use reqwest::Method;
use wire::{ExchangeInfo, JobView, OrderView, TransferView};

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_of_jobs_leaves_out_the_tasks_of_the_oldest() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, buyer) = server.account("Ada", 200 * CREDIT).await;
    let mut job = buyer.job("many", 1).await;
    for number in 0..110 {
        job.job = JobId(number + 1);
        buyer.submit(&job).await;
    }
    let listed: Vec<JobView> = buyer.get("/v1/jobs").await;
    let ids: Vec<u128> = listed.iter().map(|job| job.job.0).collect();
    assert_eq!(ids, (1..=110).rev().collect::<Vec<_>>(), "newest first");
    let whole = listed.iter().take_while(|job| job.tasks.len() == 1).count();
    assert!((50..110).contains(&whole), "{whole}");
    assert!(listed[whole..].iter().all(|job| job.tasks.is_empty()));
    assert!(listed.iter().all(|job| job.task_count == 1));
    assert_eq!(buyer.job_view(job.job).await.tasks.len(), 1, "each by itself is whole");
    let orders: Vec<OrderView> = buyer.get("/v1/orders").await;
    assert_eq!(orders.len(), 110);
    assert_eq!(orders[0].job, Some(job.job), "newest first");
    server.sound().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_tile_a_list_and_a_stranger_cursor_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (account, buyer) = server.account("Ada", 0).await;
    for number in 0..5 {
        server.deposit(account, CREDIT + number, &format!("{number}")).await;
    }
    let mut amounts = Vec::new();
    let mut path = "/v1/transfers?limit=2".to_owned();
    loop {
        let answer = buyer.request(Method::GET, &path).send().await.unwrap();
        let next = answer.headers().get(wire::NEXT_CURSOR).cloned();
        let rows: Vec<TransferView> = answer.json().await.unwrap();
        assert!((1..=2).contains(&rows.len()));
        amounts.extend(rows.iter().map(|row| row.amount_nanocredits - CREDIT));
        let Some(cursor) = next else { break };
        path = format!("/v1/transfers?limit=2&cursor={}", cursor.to_str().unwrap());
    }
    assert_eq!(amounts, [4, 3, 2, 1, 0]);
    for list in ["transfers", "orders", "jobs", "leases", "machines"] {
        for query in ["limit=0", "limit=1001", "limit=x", "cursor=9999", "cursor=%00"] {
            let (status, error) = buyer.get_refused(&format!("/v1/{list}?{query}")).await;
            assert_eq!((status, error.code.as_str()), (400, "invalid_query"), "{list} {query}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_to_their_owner_also_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, one) = server.account("One", 0).await;
    let (_, two) = server.account("Two", 0).await;
    let mut agent = Agent::enrol(&server, &one, "pi", 1).await;
    agent.connect(&server, 4).await;
    let placed = [agent.ask(1, 300_000).await.order, agent.ask(2, 400_000).await.order];
    let listed = async |client: &crate::harness::Client| -> Vec<base::OrderId> {
        let orders: Vec<OrderView> = client.get("/v1/orders").await;
        orders.iter().map(|order| order.order).collect()
    };
    assert_eq!(listed(&one).await, [placed[1], placed[0]]);
    assert_eq!(listed(&two).await, []);
    server.stop().await;

    let server = Server::start(data.path()).await;
    let mut one = one;
    one.base = format!("http://{}", server.address);
    assert_eq!(listed(&one).await, [placed[1], placed[0]]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_so_many_tasks_and_no_more() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, buyer) = server.account("Ada", 200 * CREDIT).await;
    let mut job = buyer.job("huge", 1).await;
    job.tasks = vec![job.tasks[0]; 10_000];
    for number in 0..10 {
        job.job = JobId(number + 1);
        buyer.submit(&job).await;
    }
    // Again, it is the same job.
    buyer.submit(&job).await;
    let last = job.job;
    job.job = JobId(99);
    job.tasks.truncate(1);
    let (status, error) = buyer.refused("/v1/jobs", &job).await;
    assert_eq!((status, error.code.as_str()), (422, "too_many_live_tasks"));
    let _: JobView = buyer.post(&format!("/v1/jobs/{last}/cancel"), &()).await;
    buyer.submit(&job).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_a_digest_that_belongs_to_its_sequence() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    server.account("Ada", CREDIT).await;
    let exact = server.info().await;
    let info: ExchangeInfo = server.client("").get("/v1/exchange").await;
    assert_eq!(info, exact);
    let info: ExchangeInfo = server.client("unknown").get("/v1/exchange").await;
    assert_eq!(info, exact);
    server.stop().await;
}
