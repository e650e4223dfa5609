//! Orders and the public market.

use axum::Json;
use axum::extract::State;
use base::OrderId;
use clearing::Command;
use wire::{BookView, InstrumentView, NewOrder, OrderView, TradeView};

use super::page::place_text;
use super::{Account, Answer, Id, JsonBody, Listed, Page, Rows, Shared, checked_name};
use crate::error::ApiError;
use crate::store::StoreReader;
use crate::views;

/// Place an ask for slots of one's own machine
///
/// Bids belong to jobs. The same `client_order_id` with the same content is one order.
#[utoipa::path(
    post, path = "/v1/orders", operation_id = "place_order", tag = "orders",
    request_body = NewOrder,
    responses((status = OK, body = OrderView, description = "The order")),
)]
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

/// One's orders
#[utoipa::path(
    get, path = "/v1/orders", operation_id = "list_orders", tag = "orders",
    params(Page),
    responses((status = OK, body = [OrderView], description = "Newest first")),
)]
pub(super) async fn orders(
    Account(account): Account,
    State(app): Shared,
    page: Page,
) -> Listed<OrderView> {
    app.sequencer
        .read(move |core| {
            let (part, next) = page.newest_first(core.index.orders(account))?;
            let newest_first = part.iter().rev();
            let rows = newest_first.filter_map(|order| core.state.order(*order).map(views::order));
            Ok(Rows { rows: rows.collect(), next })
        })
        .await?
}

/// One of one's orders
#[utoipa::path(
    get, path = "/v1/orders/{id}", operation_id = "show_order", tag = "orders",
    params(("id" = OrderId, Path, description = "The order")),
    responses((status = OK, body = OrderView, description = "The order")),
)]
pub(super) async fn order(
    Account(account): Account,
    State(app): Shared,
    Id(order): Id<OrderId>,
) -> Answer<OrderView> {
    let found = app.sequencer.read(move |core| views::own_order(core, account, order)).await?;
    found.map(Json).ok_or_else(|| ApiError::NotFound { what: "order", id: order.to_string() })
}

/// Cancel an order
#[utoipa::path(
    delete, path = "/v1/orders/{id}", operation_id = "cancel_order", tag = "orders",
    params(("id" = OrderId, Path, description = "The order")),
    responses((status = OK, body = OrderView, description = "The order")),
)]
pub(super) async fn cancel(
    Account(account): Account,
    State(app): Shared,
    Id(id): Id<OrderId>,
) -> Answer<OrderView> {
    app.sequencer.command(Command::CancelOrder { account, order: id }).await?;
    order(Account(account), State(app), Id(id)).await
}

/// What is traded
#[utoipa::path(
    get, path = "/v1/instruments", operation_id = "list_instruments", tag = "market",
    security(()),
    responses((status = OK, body = [InstrumentView], description = "Every instrument")),
)]
pub(super) async fn instruments(State(app): Shared) -> Answer<Vec<InstrumentView>> {
    Ok(Json(app.sequencer.read(|core| views::instruments(core)).await?))
}

/// The depth of a book
#[utoipa::path(
    get, path = "/v1/instruments/{id}/book", operation_id = "show_book", tag = "market",
    params(("id" = String, Path, description = "The instrument, such as `cpu.2g.any`")),
    security(()),
    responses((status = OK, body = BookView, description = "Best first")),
)]
pub(super) async fn book(State(app): Shared, Id(name): Id<String>) -> Answer<BookView> {
    let name = known(name)?;
    Ok(Json(app.sequencer.read(move |core| views::book(core, &name)).await?))
}

/// The fills of an instrument
#[utoipa::path(
    get, path = "/v1/instruments/{id}/trades", operation_id = "list_trades", tag = "market",
    params(("id" = String, Path, description = "The instrument, such as `cpu.2g.any`"), Page),
    security(()),
    responses((status = OK, body = [TradeView], description = "Newest first")),
)]
pub(super) async fn trades(
    State(app): Shared,
    Id(name): Id<String>,
    page: Page,
) -> Listed<TradeView> {
    let name = known(name)?;
    let (before, limit) = (page.place()?, page.limit());
    let read = move |reader: &mut dyn StoreReader| reader.trades(&name, before, limit + 1);
    Ok(Rows::up_to(limit, app.reading(read).await?, place_text))
}

fn known(name: String) -> Result<String, ApiError> {
    match market::instrument(&name) {
        Some(_) => Ok(name),
        None => Err(ApiError::NotFound { what: "instrument", id: name }),
    }
}
