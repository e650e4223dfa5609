//! How much an account may keep in the store, and how much it does.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base::AccountId;
use wire::{Act, NewQuota, QuotaView};

use super::operator::known;
use super::{Account, Answer, Id, JsonBody, Operator, Shared, checked_name};
use crate::app::App;
use crate::error::ApiError;
use crate::grants::Reader;
use crate::store::CredentialChange;

/// What somebody may hold.
pub(super) async fn of(app: &Arc<App>, reader: Reader) -> Result<u64, ApiError> {
    match reader {
        Reader::Machine(_) => Ok(app.config.machine_quota_bytes),
        Reader::Account(account) => {
            let own = app.reading(move |store| store.quota(account)).await?;
            Ok(own.unwrap_or(app.config.blob_quota_bytes))
        }
    }
}

/// One's quota
#[utoipa::path(
    get, path = "/v1/quota", operation_id = "show_quota", tag = "blobs",
    responses((status = OK, body = QuotaView, description = "What may be held in blobs, and what is")),
)]
pub(super) async fn show(Account(account): Account, State(app): Shared) -> Answer<QuotaView> {
    view(&app, account).await
}

/// Set an account's quota
///
/// Needs the scope `operate`. What the account holds beyond a smaller one stays, until nobody
/// needs it.
#[utoipa::path(
    post, path = "/v1/operator/accounts/{id}/quota", operation_id = "set_quota", tag = "operator",
    params(("id" = AccountId, Path, description = "The account")),
    request_body = NewQuota,
    responses((status = OK, body = QuotaView, description = "What holds now")),
)]
pub(super) async fn set(
    operator: Operator,
    State(app): Shared,
    Id(account): Id<AccountId>,
    JsonBody(NewQuota { blob_bytes, reason }): JsonBody<NewQuota>,
) -> Answer<QuotaView> {
    checked_name("reason", &reason)?;
    known(&app, account).await?;
    // As the database counts.
    let blob_bytes = blob_bytes.map(|bytes| bytes.min(i64::MAX as u64));
    let change = CredentialChange::Several(vec![
        CredentialChange::SetQuota { account, blob_bytes },
        operator.did(Act::QuotaSet { account, blob_bytes }, &reason),
    ]);
    app.sequencer.change(change).await?;
    view(&app, account).await
}

async fn view(app: &Arc<App>, account: AccountId) -> Answer<QuotaView> {
    let blob_bytes = of(app, Reader::Account(account)).await?;
    let held_bytes = app.holds.held_bytes(&account.to_string())?;
    Ok(Json(QuotaView { account, blob_bytes, held_bytes }))
}
