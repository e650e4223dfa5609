//! The exchange itself, accounts, money and its audit.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use base::AccountId;
use clearing::Command;
use wire::{
    AccountCreated, ExchangeInfo, LedgerAudit, NewAccount, NewDeposit, TransferView, Wallet,
};

use super::{Account, Answer, JsonBody, Operator, Shared, checked_name};
use crate::config::limits;
use crate::core::fold;
use crate::error::ApiError;
use crate::secrets;
use crate::store::CredentialChange;
use crate::views;

/// `GET /v1/exchange`: exact for the operator. Others get a sequence and a digest that belong
/// together, but may be of a moment ago.
pub(super) async fn exchange(
    operator: Result<Operator, ApiError>,
    State(app): Shared,
) -> Answer<ExchangeInfo> {
    let exact = operator.is_ok();
    let (journal_sequence, state_digest) = app
        .sequencer
        .read(move |core| match exact {
            true => (core.sequence, core.digest()),
            false => core.recent_digest(Instant::now()),
        })
        .await?;
    Ok(Json(ExchangeInfo {
        exchange: app.exchange,
        protocol: wire::PROTOCOL_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        journal_sequence,
        state_digest,
    }))
}

/// `POST /v1/accounts`
pub(super) async fn open(
    _: Operator,
    State(app): Shared,
    JsonBody(new): JsonBody<NewAccount>,
) -> Answer<AccountCreated> {
    checked_name("name", &new.name)?;
    let account = secrets::random().map_err(|_| ApiError::Internal)?;
    let account = AccountId(u128::from_be_bytes(account));
    let token = secrets::secret("account").map_err(|_| ApiError::Internal)?;
    let change = CredentialChange::AddAccountToken { token: secrets::digest(&token), account };
    app.sequencer.command_with(Command::OpenAccount { account, name: new.name }, change).await?;
    Ok(Json(AccountCreated { account, token }))
}

/// `POST /v1/deposits`
pub(super) async fn deposit(
    _: Operator,
    State(app): Shared,
    JsonBody(new): JsonBody<NewDeposit>,
) -> Answer<Wallet> {
    let NewDeposit { account, amount_nanocredits, transfer } = new;
    app.sequencer.command(Command::Deposit { transfer, account, amount_nanocredits }).await?;
    wallet(Account(account), State(app)).await
}

/// `GET /v1/wallet`
pub(super) async fn wallet(Account(account): Account, State(app): Shared) -> Answer<Wallet> {
    let wallet = app.sequencer.read(move |core| views::wallet(core, account)).await?;
    wallet.map(Json).ok_or_else(|| ApiError::NotFound { what: "account", id: account.to_string() })
}

/// `GET /v1/transfers`
pub(super) async fn transfers(
    Account(account): Account,
    State(app): Shared,
) -> Answer<Vec<TransferView>> {
    let rows = app.reading(move |reader| reader.transfers(account, limits::LIST_ROWS)).await?;
    Ok(Json(rows))
}

/// `GET /v1/audit`: memory is looked at first; then the tables and the journal, up to the entry
/// at which memory stood, are added up and folded anew, while the exchange goes on.
pub(super) async fn audit(_: Operator, State(app): Shared) -> Answer<LedgerAudit> {
    let (journal_sequence, state_digest, in_memory) = app
        .sequencer
        .read(|core| {
            let balances: Vec<(String, i64, bool)> = core
                .state
                .ledger()
                .balances()
                .map(|(key, balance)| (key.to_string(), balance, key.may_be_negative()))
                .collect();
            (core.sequence, core.digest(), balances)
        })
        .await?;
    let (transfers, recomputed) =
        app.reading(move |reader| reader.balances(journal_sequence)).await?;
    let replayed_digest =
        app.reading(move |reader| Ok(fold(reader, journal_sequence)?.0.digest())).await?;

    let mut recomputed: std::collections::BTreeMap<String, i64> = recomputed.into_iter().collect();
    let mut mismatched_accounts = Vec::new();
    let mut negative_accounts = Vec::new();
    let mut sum = 0_i128;
    for (key, balance, may_be_negative) in in_memory {
        let added_up = recomputed.remove(&key).unwrap_or(0);
        sum += i128::from(added_up);
        if added_up < 0 && !may_be_negative {
            negative_accounts.push(key.clone());
        }
        if added_up != balance {
            mismatched_accounts.push(key);
        }
    }
    // Accounts that only the table knows.
    for (key, added_up) in recomputed {
        sum += i128::from(added_up);
        mismatched_accounts.push(key);
    }
    Ok(Json(LedgerAudit {
        sum_nanocredits: i64::try_from(sum).unwrap_or(i64::MAX),
        mismatched_accounts,
        negative_accounts,
        transfers,
        journal_sequence,
        state_digest,
        replayed_digest,
    }))
}
