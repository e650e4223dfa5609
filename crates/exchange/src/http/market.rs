//! Orders and the public market.

use axum::Json;
use axum::extract::State;
use base::OrderId;
use clearing::Command;
use serde::Deserialize;
use utoipa::IntoParams;
use wire::{
    BookView, CancelAfter, CancelAfterSet, InstrumentView, NewOrder, OrderView, TimeInForce,
    TradeView,
};

use super::history::{self, Kind};
use super::page::place_text;
use super::{Account, Answer, Id, JsonBody, Listed, Page, QueryOf, Rows, Shared, checked_name};
use crate::app::App;
use crate::config::limits;
use crate::core::Core;
use crate::error::ApiError;
use crate::past::{self, PastOrder};
use crate::store::{Past, StoreReader};
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
    let time_in_force = time_in_force(&new)?;
    let NewOrder { client_order_id, machine, instrument, quantity, post_only, .. } = new;
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
        price_nanocredits_per_tfuel: new.price_nanocredits_per_tfuel.unwrap_or(0),
        market: new.price_nanocredits_per_tfuel.is_none(),
        time_in_force,
        post_only,
    };
    app.sequencer.command(command).await?;
    let id = past::client_order(machine, &client_order_id);
    let placed = app
        .sequencer
        .read(move |core| core.state.client_order(machine, &client_order_id).map(views::order))
        .await?;
    if let Some(placed) = placed {
        return Ok(Json(placed));
    }
    // Said again long after it was over.
    match history::one(&app, Past::ClientOrder, id).await? {
        Some(placed) => order(Account(account), State(app), Id(placed)).await,
        None => Err(ApiError::Internal),
    }
}

fn time_in_force(new: &NewOrder) -> Result<market::TimeInForce, ApiError> {
    match (new.time_in_force, new.expires_at_ms) {
        (TimeInForce::Gtt, Some(until_ms)) => Ok(market::TimeInForce::Gtt { until_ms }),
        (TimeInForce::Gtt, None) => {
            Err(ApiError::InvalidJson("expires_at_ms: a `gtt` order needs it".to_owned()))
        }
        (_, Some(_)) => {
            Err(ApiError::InvalidJson("expires_at_ms: only a `gtt` order has it".to_owned()))
        }
        (TimeInForce::Gtc, None) => Ok(market::TimeInForce::Gtc),
        (TimeInForce::Ioc, None) => Ok(market::TimeInForce::Ioc),
        (TimeInForce::Fok, None) => Ok(market::TimeInForce::Fok),
    }
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
    let kind = Kind { past: Past::Order, listing: |core| &core.index.orders };
    let view = |core: &Core, order| core.state.order(order).map(views::order);
    let read = |view: &str| Ok(past::read::<PastOrder>(Past::Order, view)?.view);
    history::list(&app, page, Some(account), kind, view, read).await
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
    if let Some(found) = found {
        return Ok(Json(found));
    }
    let past: Option<PastOrder> = history::one(&app, Past::Order, order).await?;
    let own = past.filter(|past| past.owner == account).map(|past| Json(past.view));
    own.ok_or_else(|| ApiError::NotFound { what: "order", id: order.to_string() })
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

/// Which orders.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those of this instrument.
    instrument: Option<String>,
}

/// Cancel all of one's asks
///
/// The bids of jobs stay: cancel the jobs. Answers with the open orders that are left.
#[utoipa::path(
    delete, path = "/v1/orders", operation_id = "cancel_orders", tag = "orders",
    params(Which),
    responses((status = OK, body = [OrderView], description = "What is still open")),
)]
pub(super) async fn cancel_all(
    Account(account): Account,
    State(app): Shared,
    QueryOf(which): QueryOf<Which>,
) -> Answer<Vec<OrderView>> {
    let command = Command::CancelOrders { account, instrument: which.instrument };
    app.sequencer.command(command).await?;
    let open = move |core: &mut Core| {
        let orders = core.state.market().owner_orders(account);
        let open = orders.filter_map(|order| core.state.order(order.order).map(views::order));
        open.take(limits::LIST_ROWS as usize).collect()
    };
    Ok(Json(app.sequencer.read(open).await?))
}

/// Set the dead man's switch
///
/// Unless this is said again in time, all of one's asks are withdrawn. Whoever manages orders from
/// afar says it every few seconds, so that a lost connection does not leave offers behind.
#[utoipa::path(
    post, path = "/v1/orders/cancel-after", operation_id = "cancel_after", tag = "orders",
    request_body = CancelAfter,
    responses((status = OK, body = CancelAfterSet, description = "When it trips")),
)]
pub(super) async fn cancel_after(
    Account(account): Account,
    State(app): Shared,
    JsonBody(CancelAfter { after_ms }): JsonBody<CancelAfter>,
) -> Answer<CancelAfterSet> {
    app.sequencer.command(Command::CancelAfter { account, after_ms }).await?;
    let due = move |core: &mut Core| core.state.cancel_after_ms(account);
    Ok(Json(CancelAfterSet { due_at_ms: app.sequencer.read(due).await? }))
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
    let asked = name.clone();
    let found = app.sequencer.read(move |core| views::book(core, &asked)).await?;
    found.map(Json).ok_or(ApiError::NotFound { what: "instrument", id: name })
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
    let name = known(&app, name).await?;
    let (before, limit) = (page.place()?, page.limit());
    let read = move |reader: &mut dyn StoreReader| reader.trades(&name, before, limit + 1);
    Ok(Rows::up_to(limit, app.reading(read).await?, place_text))
}

/// The name, if an instrument has it.
pub(super) async fn known(app: &App, name: String) -> Result<String, ApiError> {
    let asked = name.clone();
    let found =
        app.sequencer.read(move |core| core.state.market().instrument(&asked).is_some()).await?;
    if found { Ok(name) } else { Err(ApiError::NotFound { what: "instrument", id: name }) }
}
