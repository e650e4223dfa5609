//! A copy of a running exchange, and what comes out of it; and what whoever watches it sees.

use crate::harness::{CREDIT, Server};
use exchange::BackupError;
use reqwest::Method;
use wire::Wallet;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_exchange_is_one_moment_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let [data, copy, again] = ["data", "copy", "again"].map(|name| directory.path().join(name));
    let server = Server::start(&data).await;
    let (account, ada) = server.account("Ada", CREDIT).await;
    let job = ada.job("job", 2).await;
    ada.submit(&job).await;
    let blob = ada.put_blob(vec![7; 300_000]).await;

    // Money comes in all the while.
    let (from, to) = (data.clone(), copy.clone());
    let copying = tokio::task::spawn_blocking(move || exchange::backup(&from, &to));
    let mut deposits = 0;
    while !copying.is_finished() || deposits == 0 {
        server.deposit(account, 1, &deposits.to_string()).await;
        deposits += 1;
    }
    let made = copying.await.unwrap().unwrap();
    assert!(made.journal_sequence <= server.info().await.journal_sequence);
    assert!(matches!(exchange::backup(&data, &copy), Err(BackupError::NotEmpty { .. })));
    server.stop().await;

    assert_eq!(exchange::restore(&copy, &again).unwrap(), made);
    let server = Server::start(&again).await;
    let audit = server.sound().await;
    assert_eq!(audit.journal_sequence, made.journal_sequence);
    let ada = server.client(ada.token());
    let wallet: Wallet = ada.get("/v1/wallet").await;
    assert_eq!(wallet.account, account);
    assert_eq!(ada.job_view(job.job).await.task_count, 2);
    let fetched = ada.request(Method::GET, &format!("/v1/blobs/{blob}")).send().await.unwrap();
    assert_eq!(fetched.bytes().await.unwrap(), vec![7; 300_000]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_backup_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let [data, copy, again] = ["data", "copy", "again"].map(|name| directory.path().join(name));
    assert!(matches!(exchange::backup(&data, &copy), Err(BackupError::NoExchange { .. })));
    let server = Server::start(&data).await;
    let (_, ada) = server.account("Ada", 0).await;
    let blob = ada.put_blob("sand").await.to_hex();
    server.stop().await;
    exchange::backup(&data, &copy).unwrap();

    let stored = copy.join("blobs").join(&blob[..2]).join(&blob);
    std::fs::write(&stored, "mud!").unwrap();
    let error = exchange::restore(&copy, &again).unwrap_err().to_string();
    assert!(error.contains("is damaged"), "{error}");
    std::fs::remove_file(&stored).unwrap();
    std::fs::remove_dir_all(&again).unwrap();
    let error = exchange::restore(&copy, &again).unwrap_err().to_string();
    assert!(error.contains("0 of 1 blobs"), "{error}");
    std::fs::remove_file(copy.join("backup.json")).unwrap();
    std::fs::remove_dir_all(&again).unwrap();
    assert!(matches!(exchange::restore(&copy, &again), Err(BackupError::NotWhole { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_sees_that_it_lives_and_operators_how() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let stranger = server.client("");
    for path in ["/healthz", "/readyz"] {
        let answer = stranger.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    assert_eq!(stranger.get_refused("/metrics").await.1.code, "token_missing");
    let answer = server.operator.request(Method::GET, "/metrics");
    let answer = answer.header("x-request-id", "mine-1").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    let text = answer.text().await.unwrap();
    assert!(text.contains("jusha_http_answers_total{method=\"GET\",status=\"200\"} 2\n"), "{text}");
    assert!(text.contains("jusha_journal_sequence 0\n"), "{text}");
    let odd = stranger.request(Method::GET, "/healthz").header("x-request-id", "a b");
    let answer = odd.send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"].len(), 16, "one of ours instead");
    server.stop().await;
}
