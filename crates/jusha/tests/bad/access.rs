//! Tokens and join codes that open nothing.

use wire::MachineView;

use super::{FAILED, assert_refusal};
use crate::stage::{Pace, Process, Stage, guest, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_token_opens_nothing() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 300_000, 1).await;
    let before = stage.everything().await;
    let noop = guest("noop");
    let noop = noop.to_str().unwrap();
    let operator = stage.scene.read("exchange/operator.token");
    let advice = "hint: `jusha login URL TOKEN` stores the token of your account";
    let altered = stage.token.replace("account_", "account_0");
    let nothing = "give a token";
    for (token, said) in [
        ("account_0123", "the token is unknown"),
        (&altered, "the token is unknown"),
        ("", nothing),
        (&operator, "this needs an account's token"),
    ] {
        for args in [
            &["run", noop][..],
            &["jobs", "list"],
            &["wallet", "show"],
            &["machine", "join"],
            &["order", "list"],
        ] {
            let mut command = stage.buy(args);
            command.env("JUSHA_TOKEN", token.trim());
            stage.scene.finish(command, b"").await.assert_refused(FAILED, &[said, advice]);
        }
    }
    for path in ["/v1/jobs", "/v1/orders", "/v1/blobs", "/v1/join-codes"] {
        let refused = stage.raw("account_0123").post(path, "{}").await;
        assert_refusal(&refused, 401, "unknown_token", &["check that it is whole"]);
    }
    for path in ["/v1/accounts", "/v1/deposits"] {
        let refused = stage.raw(&stage.token).post(path, "{}").await;
        assert_refusal(&refused, 403, "operator_only", &["needs the operator's token"]);
    }
    let refused = stage.raw(operator.trim()).post("/v1/blobs", "x").await;
    assert_refusal(&refused, 403, "blobs_only", &["an account's or a machine's"]);

    // What was stored before stays stored.
    let login = async |token: &str| {
        let command = stage.scene.jusha(&["login", &stage.url, token]);
        stage.scene.finish(command, b"").await
    };
    assert_eq!(login(&stage.token).await.status, 0);
    let stored = stage.scene.read("config/jusha/config.toml");
    login("account_0123").await.assert_refused(FAILED, &["the token is unknown", advice]);
    assert_eq!(stage.scene.read("config/jusha/config.toml"), stored);
    assert_eq!(stage.everything().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_not_there_is_named() {
    let stage = Stage::new(Pace::PATIENT).await;
    let noop = guest("noop");
    let noop = noop.to_str().unwrap();
    for (url, said) in [
        // A port that nobody may listen on.
        ("http://127.0.0.1:1", ["can't be reached", "hint: is it running? `jusha up` starts one"]),
        ("ftp://127.0.0.1", ["begins neither with https:// nor", "hint: it looks like https://"]),
        ("nonsense", ["is not the URL", "hint: it looks like https://"]),
    ] {
        let run = stage.buy(&["run", noop, "--url", url]);
        let ran = stage.scene.finish(run, b"").await;
        ran.assert_refused(FAILED, &[&said[..], &[url]].concat());
    }
    let run = stage.scene.jusha(&["run", noop]);
    let ran = stage.scene.finish(run, b"").await;
    ran.assert_refused(FAILED, &["no exchange is configured", "hint: `jusha up` starts one here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_code_that_is_none_enrols_nothing() {
    let stage = Stage::new(Pace::PATIENT).await;
    let owner = stage.operator.open_account("owner").await.unwrap();
    let owner = client::Client::new(&stage.url, &owner.token).unwrap();
    let used = owner.join_code().await.unwrap().join;
    let data = stage.scene.arg("first");
    let first = Process::start(
        stage.scene.jusha(&[
            "provide",
            "--always",
            &used,
            "--data",
            &data,
            "--instrument",
            "cpu.2g.any",
        ]),
        &stage.scene.path("first.log"),
    );
    let first_machine: MachineView = until("enrolment", async || {
        owner.machines().await.unwrap().into_iter().find(|machine| machine.online)
    })
    .await;
    until("its offer", async || {
        (!owner.book("cpu.2g.any").await.unwrap().asks.is_empty()).then_some(())
    })
    .await;
    let fresh = owner.join_code().await.unwrap().join;
    let (url, code) = fresh.split_once("/#join=").unwrap();
    let before = stage.everything().await;

    let looks = "hint: it looks like http://HOST:PORT/#join=CODE";
    let again = "hint: a join code works once and not for ever: `jusha machine join` prints";
    let nowhere = "hint: check the address";
    let unknown = format!("{url}/#join=join_0123456789");
    let cut = fresh[..fresh.len() - 1].to_owned();
    let (no_code, empty) = (format!("{url}/"), format!("{url}/#join="));
    let (other_key, secure) = (format!("{url}/#code={code}"), fresh.replace("http:", "https:"));
    let gone = format!("http://127.0.0.1:1/#join={code}");
    for (join, said, advice) in [
        (unknown.as_str(), "the join code is unknown", again),
        (&cut, "the join code is unknown", again),
        (&used, "the join code is used up", again),
        (code, "it is not a URL", looks),
        ("", "it is not a URL", looks),
        (&no_code, "it has no code", looks),
        (&empty, "it has no code", looks),
        (&other_key, "it has no code", looks),
        (&secure, "no exchange answers at https://127.0.0.1", nowhere),
        ("ftp://host/#join=x", "it begins neither with https:// nor with http://", looks),
        (&gone, "no exchange answers at http://127.0.0.1:1", nowhere),
    ] {
        let data = stage.scene.arg("second");
        let ran = stage.scene.run(&["provide", join, "--data", &data], b"").await;
        ran.assert_refused(FAILED, &[said, advice]);
        assert!(!stage.scene.path("second/enrolment.json").exists(), "{ran:#?}");
    }
    let data = stage.scene.arg("second");
    let ran = stage.scene.run(&["provide", "--data", &data], b"").await;
    let said = ["second is not enrolled", "hint: paste a join string"];
    ran.assert_refused(FAILED, &said);
    // Straight to the API: the proof of the key is asked for before the code is looked at.
    let anyone = stage.raw("");
    let (key, signature) = ("ab".repeat(32), "ab".repeat(64));
    for (key, signature, error, advice) in [
        ("xyz", signature.as_str(), "invalid_key", "64 hex digits"),
        (&key, "xyz", "invalid_signature", "expected 128 hex digits"),
        (&key, &signature, "invalid_signature", "key"),
    ] {
        let body = serde_json::json!({
            "code": code, "public_key": key, "signature": signature, "name": "m",
        });
        let refused = anyone.post("/v1/machines", body.to_string()).await;
        assert_refusal(&refused, 400, error, &[advice]);
    }
    assert_eq!(stage.everything().await, before);

    // The code still works once, and the directory was not spoiled; nor the one that is enrolled.
    let second = Process::start(
        stage.scene.jusha(&["provide", &fresh, "--data", &data]),
        &stage.scene.path("second.log"),
    );
    until("enrolment", async || {
        let machines = owner.machines().await.unwrap();
        machines.iter().any(|m| m.online && m.machine != first_machine.machine).then_some(())
    })
    .await;

    // A machine that was retired is told so, and by its own words what to do.
    owner.retire_machine(first_machine.machine).await.unwrap();
    assert_eq!(first.exit().await.code(), Some(FAILED));
    let log = stage.scene.read("first.log");
    for word in ["no longer serves this machine", "retired", "hint: if it was retired on purpose"] {
        assert!(log.contains(word), "{log}");
    }
    second.terminate();
    assert_eq!(second.exit().await.code(), Some(0));
    stage.audit().await;
}
