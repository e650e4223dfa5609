//! Invoices by unit with fees, and statements that account for every unit of money.

use base::{AccountId, Usage};
use reqwest::Method;
use wire::{
    FeesView, Invoice, JobState, NewFees, NewPayment, PaymentDirection, PaymentView,
    STATEMENT_CSV_HEAD, Statement, TransferView, Wallet,
};

use crate::harness::{Agent, CREDIT, Client, Server};

const USAGE: Usage = Usage {
    fuel: 1_234_567_890,
    memory_page_fuel: 20_000_000_000,
    state_bytes: 131_072,
    traffic_bytes: 8,
};

/// A job that one machine finished, with fees.
async fn traded(server: &Server) -> (AccountId, Client, Client, Invoice) {
    let fees = NewFees { maker_basis_points: 50, taker_basis_points: 150 };
    let _: FeesView = server.operator.post("/v1/fees", &fees).await;
    let (buyer_account, buyer) = server.account("Ada", 2 * CREDIT).await;
    let (_, seller) = server.account("Sue", 0).await;
    let mut agent = Agent::enrol(server, &seller, "ant", 1).await;
    agent.connect(server, 1).await;
    agent.ask(1, 345_600).await;
    let job = buyer.job("job", 1).await;
    buyer.submit(&job).await;
    let start = agent.started().await;
    let first = Usage {
        fuel: USAGE.fuel / 3,
        memory_page_fuel: USAGE.memory_page_fuel / 3,
        state_bytes: 0,
        ..USAGE
    };
    let receipt = agent.checkpoint(&start, 1, first).await;
    agent.send(receipt).await.unwrap();
    let receipt = agent.finish(&start, 2, USAGE).await;
    agent.send(receipt).await.unwrap();
    buyer.job_until(job.job, |view| view.state == JobState::Done).await;
    let invoice = buyer.get(&format!("/v1/jobs/{}/invoice", job.job)).await;
    (buyer_account, buyer, seller, invoice)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_by_unit_and_adds_up() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (_, buyer, seller, invoice) = traded(&server).await;
    let [line] = invoice.lines.as_slice() else { panic!("{invoice:#?}") };
    let shown: Vec<_> = line
        .units
        .iter()
        .map(|unit| (unit.unit.as_str(), unit.quantity, unit.price_nanocredits))
        .collect();
    // Of a Tfuel, of a GiB for a Tfuel (0.11 of it), of a GiB changed, of a GiB moved.
    assert_eq!(
        shown,
        [
            ("cpu", USAGE.fuel, 345_600),
            ("memory", USAGE.memory_page_fuel, 38_016),
            ("state", USAGE.state_bytes, 1_484),
            ("traffic", USAGE.traffic_bytes, 829_375),
        ]
    );
    for unit in &line.units {
        let by_price = i128::from(unit.quantity) * i128::from(unit.price_nanocredits)
            / i128::from(unit.quantity_per_price);
        let amount = i128::from(unit.amount_nanocredits);
        assert!((by_price - 1..=by_price + 2).contains(&amount), "{unit:?}");
        assert!(unit.unit != "cpu" || amount == by_price);
    }
    let sum: i64 = line.units.iter().map(|unit| unit.amount_nanocredits).sum();
    assert_eq!((sum, line.paid_nanocredits), (line.due_nanocredits, line.due_nanocredits));
    // The seller's ask rested, so the buyer took.
    assert_eq!(line.fee_nanocredits, line.paid_nanocredits * 150 / 10_000);
    assert!(line.fee_nanocredits > 0);
    assert_eq!(invoice.fees_nanocredits, line.fee_nanocredits);
    assert_eq!(invoice.total_nanocredits, line.paid_nanocredits + line.fee_nanocredits);
    let wallet: Wallet = buyer.get("/v1/wallet").await;
    assert_eq!(wallet.available_nanocredits, 2 * CREDIT - invoice.total_nanocredits);
    let earned: Wallet = seller.get("/v1/wallet").await;
    let fee = line.paid_nanocredits * 50 / 10_000;
    assert_eq!(earned.available_nanocredits, line.paid_nanocredits - fee);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_accounts_for_everything() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let (account, buyer, seller, invoice) = traded(&server).await;
    let out = NewPayment {
        client_payment_id: "out".to_owned(),
        direction: PaymentDirection::Withdrawal,
        amount_nanocredits: CREDIT / 2,
    };
    let _: PaymentView = buyer.post("/v1/payments", &out).await;

    let whole: Statement = buyer.get("/v1/statement").await;
    assert_eq!((whole.account, whole.opening), (account, wire::Balances::default()));
    let wallet: Wallet = buyer.get("/v1/wallet").await;
    assert_eq!(whole.closing.available_nanocredits, wallet.available_nanocredits);
    assert_eq!(whole.closing.total_nanocredits, 2 * CREDIT - invoice.total_nanocredits);
    let reasons: Vec<_> = whole.lines.iter().map(|line| line.reason.as_str()).collect();
    let expected =
        ["deposit", "hold", "settlement", "fee", "settlement", "fee", "release", "payment"];
    assert_eq!(reasons, expected);
    let mut balances = whole.opening;
    for line in &whole.lines {
        balances.total_nanocredits += line.change_nanocredits;
        let own = format!("available:{account}");
        if line.to == own {
            balances.available_nanocredits += line.amount_nanocredits;
        }
        if line.from == own {
            balances.available_nanocredits -= line.amount_nanocredits;
        }
        assert_eq!(line.balances, balances, "{line:?}");
        let set_aside = ["hold", "release", "payment"].contains(&line.reason.as_str());
        assert_eq!(set_aside, line.change_nanocredits == 0, "{line:?}");
    }
    // The transfers are the same, newest first, in parts of two.
    let transfers: Vec<TransferView> = buyer.get("/v1/transfers").await;
    let ids: Vec<_> = transfers.iter().rev().map(|transfer| transfer.transfer).collect();
    assert_eq!(ids, whole.lines.iter().map(|line| line.transfer).collect::<Vec<_>>());
    let (mut parts, mut cursor, mut csv) = (Vec::new(), String::new(), String::new());
    loop {
        let path = format!("/v1/statement?limit=3{cursor}");
        let part: Statement = buyer.get(&path).await;
        if let Some(last) = parts.last() {
            let last: &wire::StatementLine = last;
            assert_eq!(part.opening, last.balances, "a part begins where the last one ended");
        }
        let text = buyer.request(Method::GET, &format!("{path}&format=csv")).send().await.unwrap();
        assert_eq!(text.headers()["content-type"], "text/csv; charset=utf-8");
        let next = text.headers().get(wire::NEXT_CURSOR).map(|next| next.to_str().unwrap());
        assert_eq!(next, part.next_cursor.as_deref());
        csv.push_str(&text.text().await.unwrap());
        parts.extend(part.lines);
        let Some(next) = part.next_cursor else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(parts, whole.lines);
    assert_eq!(csv, format!("{STATEMENT_CSV_HEAD}{}", whole.csv_rows()));
    let width = STATEMENT_CSV_HEAD.split(',').count();
    assert!(csv.lines().all(|row| row.split(',').count() == width), "{csv}");

    // Two periods that meet have everything, once.
    let middle = whole.lines[2].at_ms;
    let before: Statement = buyer.get(&format!("/v1/statement?to_ms={middle}")).await;
    let after: Statement = buyer.get(&format!("/v1/statement?from_ms={middle}")).await;
    assert_eq!(before.closing, after.opening);
    assert_eq!([before.lines, after.lines].concat(), whole.lines);

    // What everybody has together is what came in, less what the exchange took.
    let others: Statement = seller.get("/v1/statement").await;
    let took: i64 = [&whole, &others]
        .iter()
        .flat_map(|statement| &statement.lines)
        .filter(|line| line.reason == "fee")
        .map(|line| line.amount_nanocredits)
        .sum();
    let have = whole.closing.total_nanocredits + others.closing.total_nanocredits;
    assert_eq!(have, 2 * CREDIT - took);

    // An operator sees anybody's, nobody else does.
    let path = format!("/v1/statement?account={account}");
    assert_eq!(server.operator.get::<Statement>(&path).await, whole);
    assert_eq!(seller.get_refused(&path).await.0, 404);
    assert_eq!(server.operator.get_refused("/v1/statement").await.0, 400);
    for bad in ["limit=0", "limit=1001", "cursor=1.2", "cursor=a.b.c", "format=pdf", "from_ms=x"] {
        let (status, error) = buyer.get_refused(&format!("/v1/statement?{bad}")).await;
        assert_eq!((status, error.code.as_str()), (400, "invalid_query"), "{bad}");
    }
    server.sound().await;
    server.stop().await;
}
