//! Deposits and withdrawals with the operator's approval, and the operator's charges.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base::PaymentId;
use clearing::Command;
use clearing::payments::{PaymentCommand, PaymentPhase, payment_id};
use wire::{Act, FeesView, NewFees, NewPayment, PaymentDecision, PaymentView};

use super::caller::Viewer;
use super::history::{self, Kind};
use super::{Account, Answer, Id, JsonBody, Listed, Operator, Page, Shared, checked_name};
use crate::app::App;
use crate::core::Core;
use crate::error::ApiError;
use crate::past;
use crate::store::Past;
use crate::views;

/// Ask for a deposit or a withdrawal
///
/// The operator approves it; who moves the money then is the exchange's matter. A withdrawal is
/// taken from what is available at once, and comes back unless it settles. The same
/// `client_payment_id` with the same content is one payment.
#[utoipa::path(
    post, path = "/v1/payments", operation_id = "request_payment", tag = "accounts",
    request_body = NewPayment,
    responses((status = OK, body = PaymentView, description = "The payment")),
)]
pub(super) async fn request(
    Account(account): Account,
    State(app): Shared,
    JsonBody(new): JsonBody<NewPayment>,
) -> Answer<PaymentView> {
    let NewPayment { client_payment_id, direction, amount_nanocredits } = new;
    checked_name("client_payment_id", &client_payment_id)?;
    let payment = payment_id(account, &client_payment_id);
    let direction = views::payment_direction(direction);
    let command =
        PaymentCommand::Request { account, client_payment_id, direction, amount_nanocredits };
    app.sequencer.command(Command::Payment(command)).await?;
    view(&app, Viewer::Account(account), payment).await
}

/// Payments
///
/// The account's own; with the operator's token everybody's.
#[utoipa::path(
    get, path = "/v1/payments", operation_id = "list_payments", tag = "accounts",
    params(Page),
    responses((status = OK, body = [PaymentView], description = "Newest first")),
)]
pub(super) async fn list(viewer: Viewer, State(app): Shared, page: Page) -> Listed<PaymentView> {
    let provider = app.config.payments.clone();
    let kind = Kind { past: Past::Payment, listing: |core| &core.index.payments };
    let view = move |core: &Core, payment| {
        core.state.payment(payment).map(|found| views::payment(provider.as_ref(), found))
    };
    let read = |view: &str| past::read(Past::Payment, view);
    history::list(&app, page, viewer.owner(), kind, view, read).await
}

/// A payment
#[utoipa::path(
    get, path = "/v1/payments/{id}", operation_id = "show_payment", tag = "accounts",
    params(("id" = PaymentId, Path, description = "The payment")),
    responses((status = OK, body = PaymentView, description = "The payment")),
)]
pub(super) async fn show(
    viewer: Viewer,
    State(app): Shared,
    Id(payment): Id<PaymentId>,
) -> Answer<PaymentView> {
    view(&app, viewer, payment).await
}

/// Take a payment back that was not approved yet
#[utoipa::path(
    post, path = "/v1/payments/{id}/cancel", operation_id = "cancel_payment", tag = "accounts",
    params(("id" = PaymentId, Path, description = "The payment")),
    responses((status = OK, body = PaymentView, description = "The payment")),
)]
pub(super) async fn cancel(
    Account(account): Account,
    State(app): Shared,
    Id(payment): Id<PaymentId>,
) -> Answer<PaymentView> {
    let command = Command::Payment(PaymentCommand::Cancel { account, payment });
    app.sequencer.command(command).await?;
    view(&app, Viewer::Account(account), payment).await
}

/// Approve, refuse, settle or fail a payment
///
/// Needs the operator's token.
#[utoipa::path(
    post, path = "/v1/payments/{id}/decision", operation_id = "decide_payment", tag = "accounts",
    params(("id" = PaymentId, Path, description = "The payment")),
    request_body = PaymentDecision,
    responses((status = OK, body = PaymentView, description = "The payment")),
)]
pub(super) async fn decide(
    operator: Operator,
    State(app): Shared,
    Id(payment): Id<PaymentId>,
    JsonBody(decision): JsonBody<PaymentDecision>,
) -> Answer<PaymentView> {
    let act = Act::PaymentDecided { payment, decision: decision.clone() };
    let entry = operator.did(act, "");
    let to = match decision {
        PaymentDecision::Approve => PaymentPhase::Approved,
        PaymentDecision::Refuse { reason } => PaymentPhase::Refused { reason },
        PaymentDecision::Settle { reference } => PaymentPhase::Settled { reference },
        PaymentDecision::Fail { reason } => PaymentPhase::Failed { reason },
    };
    let command = Command::Payment(PaymentCommand::Move { payment, to });
    app.sequencer.command_with(command, entry).await?;
    app.payment_approved.notify_one();
    view(&app, Viewer::Operator, payment).await
}

/// What leases that open now pay the exchange
#[utoipa::path(
    get, path = "/v1/fees", operation_id = "show_fees", tag = "exchange",
    security(()),
    responses((status = OK, body = FeesView, description = "The schedule in force")),
)]
pub(super) async fn fees(State(app): Shared) -> Answer<FeesView> {
    let fees = app.sequencer.read(|core| core.state.fees()).await?;
    Ok(Json(FeesView {
        version: fees.version,
        maker_basis_points: fees.maker_basis_points,
        taker_basis_points: fees.taker_basis_points,
    }))
}

/// Set what leases pay that open from now on
///
/// Needs the operator's token. Leases that are open keep what they opened under.
#[utoipa::path(
    post, path = "/v1/fees", operation_id = "set_fees", tag = "exchange",
    request_body = NewFees,
    responses((status = OK, body = FeesView, description = "The new schedule")),
)]
pub(super) async fn set_fees(
    operator: Operator,
    State(app): Shared,
    JsonBody(new): JsonBody<NewFees>,
) -> Answer<FeesView> {
    let NewFees { maker_basis_points, taker_basis_points } = new;
    let entry = operator.did(Act::FeesSet { maker_basis_points, taker_basis_points }, "");
    let command = Command::SetFees { maker_basis_points, taker_basis_points };
    app.sequencer.command_with(command, entry).await?;
    fees(State(app)).await
}

async fn view(app: &Arc<App>, viewer: Viewer, payment: PaymentId) -> Answer<PaymentView> {
    let provider = app.config.payments.clone();
    let look = move |core: &mut Core| {
        core.state.payment(payment).map(|found| views::payment(provider.as_ref(), found))
    };
    let found = match app.sequencer.read(look).await? {
        Some(found) => Some(found),
        None => history::one(app, Past::Payment, payment).await?,
    };
    let seen = found.filter(|found| viewer.owner().is_none_or(|own| found.account == own));
    seen.map(Json).ok_or_else(|| ApiError::NotFound { what: "payment", id: payment.to_string() })
}
