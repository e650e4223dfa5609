//! Orders and the public market.

use axum::Json;
use axum::extract::State;
use base::OrderId;
use clearing::Command;
use wire::{BookView, InstrumentView, NewOrder, OrderView, TradeView};

use super::{Account, Answer, Id, JsonBody, Shared, checked_name};
use crate::config::limits;
use crate::error::ApiError;
use crate::views;

/// `POST /v1/orders`
pub(super) async fn place(
    Account(account): Account,
    State(app): Shared,
    JsonBody(new): JsonBody<NewOrder>,
) -> Answer<OrderView> {
    let NewOrder { client_order_id, machine, instrument, quantity, price_nanocredits_per_tfuel } =
        new;
    checked_name("client_order_id", &client_order_id)?;
    // The command has no account in it, since agents place asks for themselves.
    let owns = app
        .sequencer
        .read(move |core| core.state.machine(machine).is_some_and(|found| found.owner == account))
        .await?;
    if !owns {
        return Err(ApiError::NotFound { what: "machine", id: machine.to_string() });
    }
    let command = Command::PlaceAsk {
        machine,
        client_order_id: client_order_id.clone(),
        instrument,
        quantity,
        price_nanocredits_per_tfuel,
    };
    app.sequencer.command(command).await?;
    let order = app
        .sequencer
        .read(move |core| core.state.client_order(machine, &client_order_id).map(views::order))
        .await?;
    order.map(Json).ok_or(ApiError::Internal)
}

/// `GET /v1/orders`: newest first.
pub(super) async fn orders(
    Account(account): Account,
    State(app): Shared,
) -> Answer<Vec<OrderView>> {
    let orders = app
        .sequencer
        .read(move |core| {
            let newest_first = core.index.orders(account).iter().rev();
            newest_first
                .take(limits::LIST_ROWS as usize)
                .filter_map(|order| core.state.order(*order).map(views::order))
                .collect()
        })
        .await?;
    Ok(Json(orders))
}

/// `GET /v1/orders/{id}`
pub(super) async fn order(
    Account(account): Account,
    State(app): Shared,
    Id(order): Id<OrderId>,
) -> Answer<OrderView> {
    let found = app.sequencer.read(move |core| views::own_order(core, account, order)).await?;
    found.map(Json).ok_or_else(|| ApiError::NotFound { what: "order", id: order.to_string() })
}

/// `DELETE /v1/orders/{id}`
pub(super) async fn cancel(
    Account(account): Account,
    State(app): Shared,
    Id(id): Id<OrderId>,
) -> Answer<OrderView> {
    app.sequencer.command(Command::CancelOrder { account, order: id }).await?;
    order(Account(account), State(app), Id(id)).await
}

/// `GET /v1/instruments`
pub(super) async fn instruments(State(app): Shared) -> Answer<Vec<InstrumentView>> {
    Ok(Json(app.sequencer.read(|core| views::instruments(core)).await?))
}

/// `GET /v1/instruments/{id}/book`
pub(super) async fn book(State(app): Shared, Id(name): Id<String>) -> Answer<BookView> {
    let name = known(name)?;
    Ok(Json(app.sequencer.read(move |core| views::book(core, &name)).await?))
}

/// `GET /v1/instruments/{id}/trades`
pub(super) async fn trades(State(app): Shared, Id(name): Id<String>) -> Answer<Vec<TradeView>> {
    let name = known(name)?;
    Ok(Json(app.reading(move |reader| reader.trades(&name, limits::LIST_ROWS)).await?))
}

fn known(name: String) -> Result<String, ApiError> {
    match market::instrument(&name) {
        Some(_) => Ok(name),
        None => Err(ApiError::NotFound { what: "instrument", id: name }),
    }
}
