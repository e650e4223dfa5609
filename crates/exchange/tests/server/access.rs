//! Who may do what: signing up and in, tokens of limited use, roles, and what operators do.

use crate::harness::{Agent, CREDIT, Client, Server, refusal};
use base::Digest;
use reqwest::Method;
use serde_json::json;
use wire::{
    AccountCreated, AccountView, Act, JobView, NewAccount, NewStanding, NewToken, OperatorAct,
    OrderView, Reason, Role, Scope, Session, SignIn, SignUp, Standing, TokenCreated, TokenView,
    Wallet,
};

const PASSWORD: &str = "correct horse battery";

fn sign_up(login: &str) -> SignUp {
    SignUp { login: login.to_owned(), password: PASSWORD.to_owned(), name: "Ada".to_owned() }
}

async fn code(client: &Client, method: Method, path: &str, body: serde_json::Value) -> String {
    refusal(client.request(method, path).json(&body)).await.1.code
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_up_in_and_out_if_the_operator_lets_them() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let nobody = server.client("");
    let closed = nobody.refused("/v1/sign-up", &sign_up("ada")).await;
    assert_eq!((closed.0, closed.1.code.as_str()), (403, "sign_up_closed"));
    server.stop().await;

    let server = Server::start_with(data.path(), |config| config.sign_up = true).await;
    let nobody = server.client("");
    let short = SignUp { password: "short".to_owned(), ..sign_up("ada") };
    assert_eq!(nobody.refused("/v1/sign-up", &short).await.1.code, "invalid_password");
    let first: Session = nobody.post("/v1/sign-up", &sign_up("Ada@example.org")).await;
    let taken = nobody.refused("/v1/sign-up", &sign_up("ada@EXAMPLE.org ")).await;
    assert_eq!((taken.0, taken.1.code.as_str()), (409, "login_conflict"));

    let sign_in = |password: &str| SignIn {
        login: "ada@example.org".to_owned(),
        password: password.to_owned(),
    };
    for (login, password) in [("ada@example.org", "wrong horse battery"), ("eve", PASSWORD)] {
        let wrong = SignIn { login: login.to_owned(), password: password.to_owned() };
        let (status, error) = nobody.refused("/v1/sessions", &wrong).await;
        assert_eq!((status, error.code.as_str()), (401, "wrong_password"), "{login}");
    }
    let second: Session = nobody.post("/v1/sessions", &sign_in(PASSWORD)).await;
    assert_eq!(second.account, first.account);
    let (one, two) = (server.client(&first.token.unwrap()), server.client(&second.token.unwrap()));
    let wallet: Wallet = one.get("/v1/wallet").await;
    assert_eq!(wallet.account, first.account);
    let _: TokenView = two.delete("/v1/sessions").await;
    assert_eq!(two.get_refused("/v1/wallet").await.1.code, "unknown_token");
    let _: Wallet = one.get("/v1/wallet").await;

    // Whoever guesses is slowed down, whoever he says he is.
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.push(nobody.refused("/v1/sessions", &sign_in("wrong horse battery")).await.1.code);
    }
    assert_eq!(codes.last().unwrap(), "rate_limited", "{codes:?}");
    server.stop().await;
    let files = std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().path());
    let bytes: Vec<u8> =
        files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()).collect();
    let stored = String::from_utf8_lossy(&bytes);
    assert!(stored.contains("$argon2id$") && !stored.contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_for_pages_of_this_exchange() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_with(data.path(), |config| config.sign_up = true).await;
    let nobody = server.client("");
    let up = nobody.request(Method::POST, "/v1/sign-up?cookie=true").json(&sign_up("ada"));
    let answer = up.send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"), "{cookie}");
    let session: Session = answer.json().await.unwrap();
    assert_eq!(session.token, None, "no script needs it");

    let cookie = cookie.split(';').next().unwrap();
    let ask = |method, path| nobody.request(method, path).header("cookie", cookie);
    let answer = ask(Method::GET, "/v1/wallet").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.headers()[name], value);
    }
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    let forged = ask(Method::POST, "/v1/join-codes").header("sec-fetch-site", "cross-site");
    assert_eq!(refusal(forged).await.1.code, "token_missing");
    let own = ask(Method::POST, "/v1/join-codes").header("sec-fetch-site", "same-origin");
    assert_eq!(own.send().await.unwrap().status(), 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_what_it_is_for_and_no_more() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, whole) = server.account("Ada", CREDIT).await;
    let new = |scopes: &[Scope], expires_at_ms| NewToken {
        name: "dashboard".to_owned(),
        scopes: scopes.to_vec(),
        expires_at_ms,
    };
    let made: TokenCreated = whole.post("/v1/tokens", &new(&[Scope::Read], None)).await;
    let looks = server.client(&made.token);
    let _: Wallet = looks.get("/v1/wallet").await;
    assert_eq!(code(&looks, Method::POST, "/v1/join-codes", json!({})).await, "scope_lacking");
    let blob = refusal(looks.request(Method::POST, "/v1/blobs").body("x")).await;
    assert_eq!(blob.1.code, "scope_lacking");
    let more = looks.refused("/v1/tokens", &new(&[Scope::Read], None)).await;
    assert_eq!((more.0, more.1.code.as_str()), (403, "whole_token_only"));
    let (_, beyond) = whole.refused("/v1/tokens", &new(&[Scope::Operate], None)).await;
    assert_eq!(
        (beyond.code.as_str(), &beyond.details["scope"]),
        ("scope_lacking", &json!("operate"))
    );

    let over: TokenCreated = whole.post("/v1/tokens", &new(&[Scope::Read], Some(1))).await;
    let late = server.client(&over.token);
    assert_eq!(late.get_refused("/v1/wallet").await.1.code, "unknown_token");

    let listed: Vec<TokenView> = whole.get("/v1/tokens").await;
    assert!(listed.iter().any(|token| token.id == made.id && token.name == "dashboard"));
    let _: TokenView = whole.delete(&format!("/v1/tokens/{}", made.id)).await;
    assert_eq!(looks.get_refused("/v1/wallet").await.1.code, "unknown_token");
    let again = refusal(whole.request(Method::DELETE, &format!("/v1/tokens/{}", made.id))).await;
    assert_eq!(again.0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_bound_what_tokens_may_do() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let open = async |name: &str, role: Role| -> Client {
        let new = NewAccount { role, ..NewAccount::named(name) };
        let created: AccountCreated = server.operator.post("/v1/accounts", &new).await;
        server.client(&created.token)
    };
    let looks = open("Looks", Role::ReadOnly).await;
    let _: Wallet = looks.get("/v1/wallet").await;
    assert_eq!(code(&looks, Method::POST, "/v1/join-codes", json!({})).await, "scope_lacking");
    let operates = open("Operates", Role::Operator).await;
    let accounts: Vec<AccountView> = operates.get("/v1/operator/accounts").await;
    let roles: Vec<Role> = accounts.iter().map(|account| account.role).collect();
    assert!(roles.contains(&Role::ReadOnly) && roles.contains(&Role::Operator));
    let trades = open("Trades", Role::Trader).await;
    assert_eq!(trades.get_refused("/v1/operator/acts").await.1.code, "operator_only");

    // Asked again under an id of the client's, it is the same account.
    let account = Some(base::AccountId(7));
    let new = NewAccount { account, ..NewAccount::named("Again") };
    let one: AccountCreated = operates.post("/v1/accounts", &new).await;
    let two: AccountCreated = operates.post("/v1/accounts", &new).await;
    assert_eq!(one.account, two.account);
    let other = NewAccount { account, ..NewAccount::named("Other") };
    assert_eq!(operates.refused("/v1/accounts", &other).await.1.code, "account_conflict");
    let acts: Vec<OperatorAct> = operates.get("/v1/operator/acts?limit=1").await;
    assert!(acts[0].who.starts_with("acct_"), "who it was: {}", acts[0].who);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_freeze_ban_kill_and_take_down_and_it_is_in_the_log() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let operator = &server.operator;
    let (seller, selling) = server.account("Seller", 0).await;
    let (_, buying) = server.account("Buyer", CREDIT).await;
    let mut agent = Agent::enrol(&server, &selling, "pi", 1).await;
    agent.connect(&server, 4).await;
    agent.ask(1, 300_000).await;

    let set = async |standing: Standing| -> AccountView {
        let new = NewStanding { standing, reason: "spam".to_owned() };
        operator.post(&format!("/v1/operator/accounts/{seller}/standing"), &new).await
    };
    assert_eq!(set(Standing::Frozen).await.standing, Standing::Frozen);
    let orders: Vec<OrderView> = selling.get("/v1/orders").await;
    assert_eq!(orders[0].status, "cancelled");
    assert_eq!(code(&selling, Method::POST, "/v1/join-codes", json!({})).await, "account_frozen");
    set(Standing::Active).await;
    let _: wire::JoinCode = selling.post("/v1/join-codes", &()).await;

    let job = buying.job("job", 1).await;
    buying.submit(&job).await;
    let why = Reason { reason: "abuse".to_owned() };
    let killed: JobView = operator.post(&format!("/v1/operator/jobs/{}/kill", job.job), &why).await;
    assert_eq!(killed.state, wire::JobState::Cancelled);
    let wallet: Wallet = buying.get("/v1/wallet").await;
    assert_eq!(wallet.available_nanocredits, CREDIT, "nothing was used");

    let blob = buying.put_blob("unlawful").await;
    let _: Reason = operator.post(&format!("/v1/operator/blobs/{blob}/remove"), &why).await;
    assert_eq!(buying.get_refused(&format!("/v1/blobs/{blob}")).await.0, 404);
    let again = refusal(buying.request(Method::POST, "/v1/blobs").body("unlawful")).await;
    assert_eq!((again.0, again.1.code.as_str()), (410, "blob_removed"));
    assert_eq!(buying.get_refused(&format!("/v1/blobs/{}", Digest::of(b"unlawful"))).await.0, 404);

    set(Standing::Banned).await;
    assert_eq!(selling.get_refused("/v1/wallet").await.1.code, "unknown_token");
    let acts: Vec<OperatorAct> = operator.get("/v1/operator/acts").await;
    let told: Vec<&Act> = acts.iter().map(|act| &act.act).collect();
    let banned = Act::StandingChanged { account: seller, standing: Standing::Banned };
    assert_eq!(
        told[..3],
        [&banned, &Act::BlobRemoved { digest: blob }, &Act::JobKilled { job: job.job }]
    );
    assert_eq!((acts[0].who.as_str(), acts[0].reason.as_str()), ("operator.token", "spam"));
    server.sound().await;
    server.stop().await;
}
