//! The exchange itself, accounts, money and its audit.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use base::AccountId;
use clearing::Command;
use wire::{
    AccountCreated, Act, ExchangeInfo, LedgerAudit, NewAccount, NewDeposit, TransferView, Wallet,
};

use super::page::place_text;
use super::{Account, Answer, JsonBody, Listed, Operator, Page, Rows, Shared, checked_name};
use crate::audit::Held;
use crate::core::fold;
use crate::error::ApiError;
use crate::secrets;
use crate::store::access::Access;
use crate::store::{CredentialChange, StoreReader};
use crate::views;

/// What the exchange says of itself
///
/// Exact for the operator. Others get a sequence and a digest that belong together, but may be
/// of a moment ago.
#[utoipa::path(
    get, path = "/v1/exchange", operation_id = "show_exchange", tag = "exchange",
    security(()),
    responses((status = OK, body = ExchangeInfo, description = "Who it is, and how far its journal is")),
)]
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

/// Open an account
///
/// Asked again with the same `account` and name, it gives another token of the same account.
///
/// Needs the operator's token.
#[utoipa::path(
    post, path = "/v1/accounts", operation_id = "open_account", tag = "accounts",
    request_body = NewAccount,
    responses((status = OK, body = AccountCreated, description = "The account and its token, the only time it is shown")),
)]
pub(super) async fn open(
    operator: Operator,
    State(app): Shared,
    JsonBody(new): JsonBody<NewAccount>,
) -> Answer<AccountCreated> {
    checked_name("name", &new.name)?;
    let account = match new.account {
        Some(account) => account,
        None => {
            let account = secrets::random().map_err(|_| ApiError::Internal)?;
            AccountId(u128::from_be_bytes(account))
        }
    };
    let token = secrets::secret("account").map_err(|_| ApiError::Internal)?;
    let access = app.reading(move |reader| reader.access(account)).await?;
    let change = CredentialChange::Several(vec![
        CredentialChange::AddAccountToken { token: secrets::digest(&token), account },
        CredentialChange::SetAccess { account, access: Access { role: new.role, ..access } },
        operator.did(Act::AccountOpened { account, role: new.role }, ""),
    ]);
    app.sequencer.command_with(Command::OpenAccount { account, name: new.name }, change).await?;
    Ok(Json(AccountCreated { account, token }))
}

/// Bring money in
///
/// Needs the operator's token.
#[utoipa::path(
    post, path = "/v1/deposits", operation_id = "deposit", tag = "accounts",
    request_body = NewDeposit,
    responses((status = OK, body = Wallet, description = "The account's money after it")),
)]
pub(super) async fn deposit(
    operator: Operator,
    State(app): Shared,
    JsonBody(new): JsonBody<NewDeposit>,
) -> Answer<Wallet> {
    let NewDeposit { account, amount_nanocredits, transfer } = new;
    let entry = operator.did(Act::Deposited { account, transfer, amount_nanocredits }, "");
    let command = Command::Deposit { transfer, account, amount_nanocredits };
    app.sequencer.command_with(command, entry).await?;
    wallet(Account(account), State(app)).await
}

/// One's money
#[utoipa::path(
    get, path = "/v1/wallet", operation_id = "show_wallet", tag = "accounts",
    responses((status = OK, body = Wallet, description = "What is free and what is set aside")),
)]
pub(super) async fn wallet(Account(account): Account, State(app): Shared) -> Answer<Wallet> {
    let wallet = app.sequencer.read(move |core| views::wallet(core, account)).await?;
    wallet.map(Json).ok_or_else(|| ApiError::NotFound { what: "account", id: account.to_string() })
}

/// One's transfers
#[utoipa::path(
    get, path = "/v1/transfers", operation_id = "list_transfers", tag = "accounts",
    params(Page),
    responses((status = OK, body = [TransferView], description = "Newest first")),
)]
pub(super) async fn transfers(
    Account(account): Account,
    State(app): Shared,
    page: Page,
) -> Listed<TransferView> {
    let (before, limit) = (page.place()?, page.limit());
    let read = move |reader: &mut dyn StoreReader| reader.transfers(account, before, limit + 1);
    Ok(Rows::up_to(limit, app.reading(read).await?, place_text))
}

/// Prove that no money was made or lost
///
/// Needs the operator's token. Memory is looked at first; then the tables and the journal, up to
/// the entry at which memory stood, are added up and folded anew, while the exchange goes on.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "audit", tag = "exchange",
    responses((status = OK, body = LedgerAudit, description = "What was found")),
)]
pub(super) async fn audit(_: Operator, State(app): Shared) -> Answer<LedgerAudit> {
    let held = app
        .sequencer
        .read(|core| {
            let digest = core.digest();
            Held::of(&core.state, core.sequence, digest)
        })
        .await?;
    let through = held.sequence();
    let (transfers, added_up) = app.reading(move |reader| reader.balances(through)).await?;
    let replayed_digest = app.reading(move |reader| Ok(fold(reader, through)?.digest())).await?;
    Ok(Json(held.compare(transfers, added_up, replayed_digest)))
}
