//! Deposits and withdrawals: asked for, approved, moved by a provider, and visible throughout.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base::PaymentId;
use exchange::{PaymentOrder, PaymentProgress, PaymentProvider, PaymentProviderError};
use tokio::sync::mpsc;
use wire::{
    FeesView, NewFees, NewPayment, PaymentDecision, PaymentDirection, PaymentStatus, PaymentView,
    TransferView, Wallet,
};

use crate::harness::{CREDIT, Client, Server, guard};

fn payment(id: &str, direction: PaymentDirection, amount_nanocredits: i64) -> NewPayment {
    NewPayment { client_payment_id: id.to_owned(), direction, amount_nanocredits }
}

async fn decide(operator: &Client, payment: PaymentId, decision: &PaymentDecision) -> PaymentView {
    operator.post(&format!("/v1/payments/{payment}/decision"), decision).await
}

#[tokio::test]
async fn a_payment_is_asked_for_approved_and_settled_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let (account, ada) = server.account("ada", 0).await;
    let (_, eve) = server.account("eve", 0).await;

    let asked = payment("first", PaymentDirection::Deposit, 5 * CREDIT);
    let requested: PaymentView = ada.post("/v1/payments", &asked).await;
    assert_eq!((requested.status, requested.account), (PaymentStatus::Requested, account));
    let id = requested.payment;
    assert!(requested.instructions.as_ref().unwrap().contains(&id.to_string()));
    // Asked again, it is the same; asked otherwise under the id, it is refused.
    assert_eq!(ada.post::<PaymentView>("/v1/payments", &asked).await, requested);
    let other = payment("first", PaymentDirection::Deposit, 4 * CREDIT);
    let (status, error) = ada.refused("/v1/payments", &other).await;
    assert_eq!((status, error.code.as_str()), (409, "payment_conflict"));
    // Somebody else sees and does nothing; an account approves nothing.
    let path = format!("/v1/payments/{id}");
    assert_eq!(eve.get_refused(&path).await.0, 404);
    assert_eq!(eve.refused(&format!("{path}/cancel"), &()).await.0, 404);
    let decision = format!("{path}/decision");
    assert_eq!(ada.refused(&decision, &PaymentDecision::Approve).await.0, 403);

    let all: Vec<PaymentView> = server.operator.get("/v1/payments").await;
    assert_eq!(all, [requested]);
    decide(&server.operator, id, &PaymentDecision::Approve).await;
    assert_eq!(ada.get::<Wallet>("/v1/wallet").await.available_nanocredits, 0);
    let settle = PaymentDecision::Settle { reference: "wire 17".to_owned() };
    let settled = decide(&server.operator, id, &settle).await;
    assert_eq!(
        (settled.status, settled.note.as_deref()),
        (PaymentStatus::Settled, Some("wire 17"))
    );
    assert_eq!(settled.instructions, None);
    assert_eq!(ada.get::<Wallet>("/v1/wallet").await.available_nanocredits, 5 * CREDIT);

    let out = payment("second", PaymentDirection::Withdrawal, 3 * CREDIT);
    let asked: PaymentView = ada.post("/v1/payments", &out).await;
    let wallet: Wallet = ada.get("/v1/wallet").await;
    assert_eq!(wallet.available_nanocredits, 2 * CREDIT);
    assert_eq!(wallet.outgoing_nanocredits, 3 * CREDIT);
    let refuse = PaymentDecision::Refuse { reason: "who are you?".to_owned() };
    decide(&server.operator, asked.payment, &refuse).await;
    let wallet: Wallet = ada.get("/v1/wallet").await;
    assert_eq!((wallet.available_nanocredits, wallet.outgoing_nanocredits), (5 * CREDIT, 0));
    let shown: PaymentView = ada.get(&format!("/v1/payments/{}", asked.payment)).await;
    assert_eq!(shown.note.as_deref(), Some("who are you?"));
    let transfers: Vec<TransferView> = ada.get("/v1/transfers").await;
    assert_eq!(transfers.len(), 3);
    assert!(transfers.iter().all(|transfer| transfer.reason == "payment"));

    // After a restart everything is as it was.
    let before: Vec<PaymentView> = ada.get("/v1/payments").await;
    assert_eq!(before.len(), 2);
    let token = ada.token.clone();
    server.stop().await;
    let server = Server::start(directory.path()).await;
    let after: Vec<PaymentView> = server.client(&token).get("/v1/payments").await;
    assert_eq!(after, before);
    server.sound().await;
    server.stop().await;
}

/// A bank that takes each payment once, and can't be reached the first time.
#[derive(Debug)]
struct Bank {
    moved: Mutex<BTreeMap<PaymentId, u32>>,
    asked: mpsc::UnboundedSender<PaymentId>,
}

impl PaymentProvider for Bank {
    fn instructions(&self, _: &PaymentOrder) -> Option<String> {
        None
    }

    fn advance(&self, order: &PaymentOrder) -> Result<PaymentProgress, PaymentProviderError> {
        let mut moved = self.moved.lock().unwrap();
        let times = moved.entry(order.payment).or_insert(0);
        *times += 1;
        self.asked.send(order.payment).unwrap();
        match *times {
            1 => Err(PaymentProviderError { message: "closed on Sundays".to_owned() }),
            2 => Ok(PaymentProgress::Pending),
            _ if order.amount_nanocredits == CREDIT => {
                Ok(PaymentProgress::Failed { reason: "no such bank account".to_owned() })
            }
            _ => Ok(PaymentProgress::Settled { reference: format!("bank {}", order.payment) }),
        }
    }
}

#[tokio::test]
async fn a_provider_is_asked_until_it_knows_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (asked, mut hears) = mpsc::unbounded_channel();
    let bank = Arc::new(Bank { moved: Mutex::default(), asked });
    let start = async |poll_ms| {
        let payments = Arc::clone(&bank) as Arc<dyn PaymentProvider>;
        Server::start_with(directory.path(), |config| {
            config.payments = payments;
            config.payment_poll_ms = poll_ms;
        })
        .await
    };
    let server = start(3_600_000).await;
    let (_, ada) = server.account("ada", 10 * CREDIT).await;
    let token = ada.token.clone();
    let mut payments = Vec::new();
    for (id, amount) in [("good", 2 * CREDIT), ("bad", CREDIT)] {
        let out = payment(id, PaymentDirection::Withdrawal, amount);
        let asked: PaymentView = ada.post("/v1/payments", &out).await;
        payments.push(asked.payment);
    }
    // Nobody is asked before the operator has approved.
    assert!(hears.try_recv().is_err());
    for payment in &payments {
        decide(&server.operator, *payment, &PaymentDecision::Approve).await;
        while guard(hears.recv()).await.unwrap() != *payment {}
    }
    server.stop().await;

    let server = start(5).await;
    let ada = server.client(&token);
    // In every round all are asked about, so the earlier ones are over before this one.
    let late = payment("late", PaymentDirection::Withdrawal, 2 * CREDIT);
    let late: PaymentView = ada.post("/v1/payments", &late).await;
    decide(&server.operator, late.payment, &PaymentDecision::Approve).await;
    let path = format!("/v1/payments/{}", late.payment);
    let settled = guard(async {
        loop {
            let view: PaymentView = ada.get(&path).await;
            if view.status == PaymentStatus::Settled {
                return view;
            }
        }
    })
    .await;
    assert_eq!(settled.note, Some(format!("bank {}", late.payment)));
    let good: PaymentView = ada.get(&format!("/v1/payments/{}", payments[0])).await;
    assert_eq!(good.status, PaymentStatus::Settled);
    let bad: PaymentView = ada.get(&format!("/v1/payments/{}", payments[1])).await;
    assert_eq!(
        (bad.status, bad.note.as_deref()),
        (PaymentStatus::Failed, Some("no such bank account"))
    );
    let wallet: Wallet = ada.get("/v1/wallet").await;
    assert_eq!((wallet.available_nanocredits, wallet.outgoing_nanocredits), (6 * CREDIT, 0));
    server.sound().await;
    server.stop().await;
}

#[tokio::test]
async fn fees_are_public_and_the_operators() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let (_, ada) = server.account("ada", 0).await;
    let anyone = server.client("");
    let fees: FeesView = anyone.get("/v1/fees").await;
    assert_eq!((fees.version, fees.maker_basis_points, fees.taker_basis_points), (0, 0, 0));
    let new = NewFees { maker_basis_points: 10, taker_basis_points: 25 };
    assert_eq!(ada.refused("/v1/fees", &new).await.0, 403);
    let absurd = NewFees { maker_basis_points: 10, taker_basis_points: 9_000 };
    let (status, error) = server.operator.refused("/v1/fees", &absurd).await;
    assert_eq!((status, error.code.as_str()), (422, "fee_out_of_range"));
    let set: FeesView = server.operator.post("/v1/fees", &new).await;
    assert_eq!((set.version, set.taker_basis_points), (1, 25));
    assert_eq!(anyone.get::<FeesView>("/v1/fees").await, set);
    server.stop().await;
}
