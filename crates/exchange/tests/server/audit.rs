//! Money is accounted for on an exchange that runs, that stopped, and in a backup; and what was
//! altered is found.

use std::path::Path;

use exchange::{AuditError, audit};
use rusqlite::Connection;
use wire::{LedgerAudit, NewPayment, PaymentDirection, PaymentView};

use crate::harness::{CREDIT, Server};

fn is_sound(audit: &LedgerAudit) -> bool {
    audit.sum_nanocredits == 0
        && audit.mismatched_accounts.is_empty()
        && audit.negative_accounts.is_empty()
        && audit.state_digest == audit.replayed_digest
}

fn alter(database: &Path, sql: &str) {
    let changed = Connection::open(database).unwrap().execute(sql, []).unwrap();
    assert_eq!(changed, 1, "{sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_audited_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let [data, copy] = ["data", "copy"].map(|name| directory.path().join(name));
    assert!(matches!(audit(&data), Err(AuditError::NoExchange { .. })));
    // So that there is a state snapshot, which is what the exchange would start with.
    let server = Server::start_with(&data, |config| config.snapshot_entries = 3).await;
    let (_, ada) = server.account("Ada", 2 * CREDIT).await;
    let out = NewPayment {
        client_payment_id: "out".to_owned(),
        direction: PaymentDirection::Withdrawal,
        amount_nanocredits: CREDIT,
    };
    let _: PaymentView = ada.post("/v1/payments", &out).await;
    ada.submit(&ada.job("job", 1).await).await;

    let running = server.sound().await;
    assert!(exchange::is_running(&data));
    assert_eq!(audit(&data).unwrap(), running, "beside the exchange, as of one moment");
    exchange::backup(&data, &copy).unwrap();
    server.stop().await;
    assert!(!exchange::is_running(&data));
    assert!(data.join("snapshots").read_dir().unwrap().next().is_some());
    let database = copy.join("exchange.sqlite");
    for path in [&data, &copy, &database] {
        let found = audit(path).unwrap();
        assert_eq!(found, running, "{}", path.display());
        assert!(is_sound(&found));
    }

    // Money that came from nowhere, in the table, and then with it in the journal: no longer
    // what the accounts add up to, or no longer the state that was.
    let what = "UPDATE transfers SET amount_nanocredits = amount_nanocredits + 1
                WHERE reason = 'deposit'";
    alter(&database, what);
    let found = audit(&copy).unwrap();
    assert_eq!(found.mismatched_accounts.len(), 2, "who gave and who got: {found:?}");
    assert!(!is_sound(&found));
    let journal = "UPDATE journal SET events = replace(events, '2000000000', '2000000001')
                   WHERE events LIKE '%\"Deposit\"%'";
    alter(&database, journal);
    let found = audit(&copy).unwrap();
    assert!(is_sound(&found), "another history, which is consistent: {found:?}");
    assert_ne!(found.replayed_digest, running.replayed_digest);
    alter(&data.join("exchange.sqlite"), what);
    alter(&data.join("exchange.sqlite"), journal);
    let found = audit(&data).unwrap();
    assert_ne!(found.state_digest, found.replayed_digest, "the snapshot remembers");
    assert!(!is_sound(&found));
    alter(&database, "DELETE FROM transfers WHERE reason = 'hold'");
    assert!(!is_sound(&audit(&database).unwrap()));
}
