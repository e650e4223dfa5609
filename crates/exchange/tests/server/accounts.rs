//! Accounts, money, tokens and the shape of errors.

use crate::harness::{CREDIT, Server, refusal};
use base::{AccountId, TransferId};
use reqwest::Method;
use serde_json::json;
use wire::{NewAccount, NewDeposit, TransferView, Wallet};

#[tokio::test(flavor = "multi_thread")]
async fn money_comes_in_once_and_is_seen() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (account, client) = server.account("Ada", 0).await;
    let wallet: Wallet = client.get("/v1/wallet").await;
    assert_eq!((wallet.name.as_str(), wallet.available_nanocredits), ("Ada", 0));

    server.deposit(account, 5 * CREDIT, "first").await;
    let wallet = server.deposit(account, 5 * CREDIT, "first").await;
    assert_eq!(wallet.available_nanocredits, 5 * CREDIT, "the same transfer is done once");
    let other = NewDeposit {
        account,
        amount_nanocredits: 6 * CREDIT,
        transfer: TransferId::derive(&[b"first"]),
    };
    let (status, error) = server.operator.refused("/v1/deposits", &other).await;
    assert_eq!((status, error.code.as_str()), (409, "transfer_conflict"));
    assert_eq!(error.details["transfer"], json!(other.transfer), "figures for programs");

    let transfers: Vec<TransferView> = client.get("/v1/transfers").await;
    assert_eq!(transfers.len(), 1);
    assert_eq!(transfers[0].to, format!("available:{account}"));
    assert_eq!((transfers[0].from.as_str(), transfers[0].reason.as_str()), ("outside", "deposit"));
    assert!(transfers[0].at_ms > 0);
    let audit = server.sound().await;
    assert_eq!(audit.transfers, 1);
    assert_eq!(audit.journal_sequence, 2, "an account and a deposit; repetitions leave no entry");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_matters() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, client) = server.account("Ada", 0).await;
    let code = |(status, error): (u16, wire::ErrorBody)| (status, error.code);

    let bad = server.client("account_0123");
    assert_eq!(code(bad.get_refused("/v1/wallet").await), (401, "unknown_token".to_owned()));
    let none = server.client("");
    assert_eq!(code(none.get_refused("/v1/wallet").await), (401, "token_missing".to_owned()));
    let new = NewAccount::named("Eve");
    assert_eq!(code(client.refused("/v1/accounts", &new).await), (403, "operator_only".to_owned()));
    assert_eq!(code(client.get_refused("/v1/audit").await), (403, "operator_only".to_owned()));
    let as_account = server.operator.get_refused("/v1/wallet").await;
    assert_eq!(code(as_account), (403, "account_only".to_owned()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_what_is_wrong() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let operator = &server.operator;

    let (status, error) = operator.refused("/v1/deposits", &json!({"account": 7})).await;
    assert_eq!((status, error.code.as_str()), (400, "invalid_json"));
    assert!(error.message.contains("account"), "{}", error.message);
    let wrong_kind = json!({
        "account": TransferId(1), "amount_nanocredits": 1, "transfer": TransferId(1),
    });
    let (_, error) = operator.refused("/v1/deposits", &wrong_kind).await;
    assert!(error.message.contains("is not a account id"), "{}", error.message);
    let broken = operator.request(Method::POST, "/v1/deposits").body("{\"account\":");
    assert_eq!(refusal(broken).await.1.code, "invalid_json");

    let (_, error) = operator.refused("/v1/accounts", &json!({"name": "a\u{1b}[2J"})).await;
    assert_eq!(error.code, "invalid_name");
    for (amount, expected) in
        [(0, "amount_out_of_range"), (-5, "amount_out_of_range"), (i64::MAX, "amount_out_of_range")]
    {
        let (account, _) = server.account("Ada", 0).await;
        let deposit = NewDeposit { account, amount_nanocredits: amount, transfer: TransferId(2) };
        let (status, error) = operator.refused("/v1/deposits", &deposit).await;
        assert_eq!((status, error.code.as_str()), (422, expected), "{amount}");
    }
    let nobody =
        NewDeposit { account: AccountId(9), amount_nanocredits: 1, transfer: TransferId(3) };
    assert_eq!(operator.refused("/v1/deposits", &nobody).await.0, 404);

    let (status, error) = operator.get_refused("/v1/nothing").await;
    assert_eq!((status, error.code.as_str()), (404, "no_such_path"));
    let (status, error) = operator.get_refused("/v1/deposits").await;
    assert_eq!((status, error.code.as_str()), (405, "method_not_allowed"));
    let (_, client) = server.account("Ada", 0).await;
    let (status, error) = client.get_refused("/v1/jobs/mach_12").await;
    assert_eq!((status, error.code.as_str()), (400, "invalid_id"));
    let (status, error) = client.get_refused("/v1/instruments/gold/book").await;
    assert_eq!((status, error.code.as_str()), (404, "not_found"));
    let (status, error) = client.get_refused("/v1/agent").await;
    assert_eq!((status, error.code.as_str()), (400, "websocket_expected"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_describes_itself() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let stranger = server.client("");
    let document: serde_json::Value = stranger.get("/v1/openapi.json").await;
    assert!(document["paths"]["/v1/jobs"]["post"].is_object());
    let page = stranger.request(Method::GET, "/v1/reference").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.text().await.unwrap().contains("Submit a job"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_has_one_exchange() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let listen = "127.0.0.1:0".parse().unwrap();
    let second =
        exchange::run(exchange::Config::new(data.path(), listen), std::future::pending(), |_| {
            panic!("it must not start")
        });
    let error = crate::harness::guard(second).await.unwrap_err();
    assert!(matches!(error, exchange::ExchangeError::InUse { .. }), "{error}");
    server.stop().await;
}
