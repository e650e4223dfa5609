//! A ledger scenario as a table: each row is a transfer and ends in the expected status.

use std::collections::BTreeMap;

use base::{AccountId, JobId, LeaseId, TransferId};
use ledger::{AccountKey, Ledger, Posted, Transfer};

fn account(name: &str) -> AccountKey {
    match name.split_once(':') {
        Some(("available", n)) => AccountKey::Available(AccountId(n.parse().unwrap())),
        Some(("withheld", n)) => AccountKey::Withheld(AccountId(n.parse().unwrap())),
        Some(("outgoing", n)) => AccountKey::Outgoing(AccountId(n.parse().unwrap())),
        Some(("lease", n)) => AccountKey::LeaseEscrow(LeaseId(n.parse().unwrap())),
        Some(("bond", n)) => AccountKey::Bond(LeaseId(n.parse().unwrap())),
        Some(("escrow", n)) => AccountKey::Escrow(JobId(n.parse().unwrap())),
        _ if name == "fees" => AccountKey::Fees,
        _ if name == "audit_fund" => AccountKey::AuditFund,
        _ if name == "outside" => AccountKey::Outside,
        _ => panic!("unknown account `{name}`"),
    }
}

/// Runs a table of `transfer id, from, to, amount, status` and checks the whole ledger after
/// every row.
fn check(table: &str) -> Ledger {
    let mut ledger = Ledger::default();
    let mut added_up = BTreeMap::new();
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let columns: Vec<_> = row.split_whitespace().collect();
        let [id, from, to, amount, expected] = columns[..] else { panic!("bad row `{row}`") };
        let before = ledger.clone();
        let transfer = Transfer {
            transfer: TransferId(id.parse().unwrap()),
            from: account(from),
            to: account(to),
            amount_nanocredits: amount.parse().unwrap(),
        };
        let posted = ledger.post(transfer);
        let status = match &posted {
            Ok(Posted::New) => "ok",
            Ok(Posted::Duplicate) => "duplicate",
            Err(rejection) => rejection.code(),
        };
        assert_eq!(status, expected, "{row}");
        if posted == Ok(Posted::New) {
            let amount = i128::from(transfer.amount_nanocredits);
            *added_up.entry(transfer.from).or_insert(0) -= amount;
            *added_up.entry(transfer.to).or_insert(0) += amount;
        } else {
            assert_eq!(ledger, before, "a rejected or repeated transfer changed something: {row}");
        }
        assert!(ledger.check().is_sound(), "{row}: {:?}", ledger.check());
        added_up.retain(|_, sum| *sum != 0);
        let held = ledger.balances().map(|(account, balance)| (account, i128::from(balance)));
        assert!(held.eq(added_up.clone()), "{row}: a balance is not what its transfers add up to");
    }
    ledger
}

#[test]
fn money_comes_in_is_held_paid_and_released() {
    let ledger = check(
        "1  outside      available:1  1000  ok
         2  available:1  escrow:7      600  ok
         3  escrow:7     available:2   250  ok
         4  escrow:7     available:1   350  ok
         5  escrow:7     available:2     1  insufficient_funds
         6  available:2  outside       250  ok
         7  available:1  withheld:2     50  ok
         8  withheld:2   fees           20  ok
         9  withheld:2   audit_fund     30  ok",
    );
    assert_eq!(ledger.balance(account("available:1")), 700);
    assert_eq!(ledger.balance(account("escrow:7")), 0);
    assert_eq!(ledger.balance(account("outside")), -750);
}

#[test]
fn a_lease_for_a_fixed_time_has_escrow_and_a_bond_of_its_own() {
    check(
        "1  outside      available:1  1000  ok
         2  outside      available:2   500  ok
         3  available:1  lease:9       600  ok
         4  available:2  bond:9        400  ok
         5  lease:9      bond:8          1  ok
         6  bond:8       lease:9         2  insufficient_funds
         7  bond:9       available:1   401  insufficient_funds
         8  bond:9       available:1   100  ok
         9  lease:9      available:2   599  ok
        10  lease:9      fees            1  insufficient_funds
        11  bond:9       available:2   300  ok",
    );
}

#[test]
fn what_is_to_be_paid_out_cannot_be_spent_meanwhile() {
    check(
        "1  outside      available:1   100  ok
         2  available:1  outgoing:1     80  ok
         3  available:1  escrow:7       21  insufficient_funds
         4  outgoing:1   outside        80  ok
         4  outgoing:1   outside        80  duplicate
         5  outgoing:1   outside         1  insufficient_funds
         6  available:1  outside        20  ok",
    );
}

#[test]
fn the_same_id_moves_money_once_and_another_content_is_refused() {
    check(
        "1  outside      available:1  1000  ok
         1  outside      available:1  1000  duplicate
         1  outside      available:1   999  transfer_conflict
         1  outside      available:2  1000  transfer_conflict
         1  fees         available:1  1000  transfer_conflict
         2  available:1  fees         1000  ok
         1  outside      available:1  1000  duplicate",
    );
}

#[test]
fn a_transfer_is_forgotten_and_its_money_is_not() {
    let (from, to) = (account("outside"), account("available:1"));
    let transfer = Transfer { transfer: TransferId(1), from, to, amount_nanocredits: 5 };
    let mut ledger = Ledger::default();
    ledger.post(transfer).unwrap();
    assert_eq!(ledger.post(transfer), Ok(Posted::Duplicate));
    ledger.forget(TransferId(1));
    assert_eq!((ledger.named(TransferId(1)), ledger.balance(to)), (None, 5));
    let back = Transfer { transfer: TransferId(2), from: to, to: from, ..transfer };
    ledger.post_unnamed(back).unwrap();
    assert_eq!(ledger, Ledger::default(), "nothing is left of what came and went");
}

#[test]
fn rejections_have_an_order_of_precedence() {
    check(
        "1  outside      available:1                     5  ok
         1  fees         fees                            0  amount_not_positive
         1  fees         fees                           -1  amount_not_positive
         1  fees         fees                            1  same_account
         1  available:1  fees                           99  transfer_conflict
         2  available:1  fees                           99  insufficient_funds
         2  fees         available:1   9223372036854775807  insufficient_funds
         3  outside      available:1   9223372036854775807  balance_overflow
         4  outside      available:2   9223372036854775800  ok
         5  outside      available:3                     9  balance_overflow
         6  outside      available:3                     3  ok",
    );
}

#[test]
fn accounts_read_as_people_write_them() {
    assert_eq!(
        AccountKey::Available(AccountId(1)).to_string(),
        "available:acct_00000000000000000000000000000001"
    );
    assert_eq!(
        AccountKey::Escrow(JobId(2)).to_string(),
        "escrow:job_00000000000000000000000000000002"
    );
    assert_eq!(
        AccountKey::LeaseEscrow(LeaseId(3)).to_string(),
        "escrow:lease_00000000000000000000000000000003"
    );
    assert_eq!(AccountKey::Outside.to_string(), "outside");
}
