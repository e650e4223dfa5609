//! Leases for a fixed time: offering, taking, looking, giving notice.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base::{LeaseId, MachineId};
use clearing::Command;
use clearing::fixed::{FixedCommand, FixedLease, TEST_FIXED, fixed_lease_id};
use serde::Deserialize;
use utoipa::IntoParams;
use wire::{FixedLeaseView, FixedOfferView, NewFixedLease, NewFixedOffer};

use super::caller::Viewer;
use super::history::{self, Kind};
use super::{Account, Answer, Id, JsonBody, Listed, Page, QueryOf, Shared, checked_name};
use crate::app::App;
use crate::config::limits;
use crate::core::Core;
use crate::error::ApiError;
use crate::past::{self, PastFixedLease};
use crate::store::Past;
use crate::views::fixed as views;

/// Let units of one's own machine by the hour
///
/// Whoever offers a unit has the bond for it; it is put at stake when somebody takes the unit. An
/// agent that was started with `--fixed-units` says this for itself.
#[utoipa::path(
    post, path = "/v1/machines/{id}/fixed-offer", operation_id = "offer_fixed", tag = "leases",
    params(("id" = MachineId, Path, description = "The machine")),
    request_body = NewFixedOffer,
    responses((status = OK, body = FixedOfferView, description = "The offer")),
)]
pub(super) async fn set_offer(
    Account(account): Account,
    State(app): Shared,
    Id(machine): Id<MachineId>,
    JsonBody(new): JsonBody<NewFixedOffer>,
) -> Answer<FixedOfferView> {
    // The command has no account in it, since agents offer for themselves.
    let owns = app
        .sequencer
        .read(move |core| core.state.machine(machine).is_some_and(|found| found.owner == account))
        .await?;
    if !owns {
        return Err(ApiError::NotFound { what: "machine", id: machine.to_string() });
    }
    let NewFixedOffer { instrument, units, price_nanocredits_per_hour } = new.clone();
    let command = FixedCommand::Offer { machine, instrument, units, price_nanocredits_per_hour };
    app.sequencer.command(Command::Fixed(command)).await?;
    let found = move |core: &mut Core| match core.state.fixed_offer(machine) {
        Some(offer) => views::offer(core, machine, offer),
        // It took back what it never offered.
        None => views::offer(core, machine, &views::nothing(&new)),
    };
    Ok(Json(app.sequencer.read(found).await?))
}

/// Of what.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Such as `test.fixed`.
    #[serde(default = "test_fixed")]
    #[param(default = "test.fixed")]
    instrument: String,
}

fn test_fixed() -> String {
    TEST_FIXED.to_owned()
}

/// What can be leased by the hour
///
/// Offers with a free unit, in the order in which they are taken, at most 1000.
#[utoipa::path(
    get, path = "/v1/fixed-offers", operation_id = "list_fixed_offers", tag = "leases",
    params(Which),
    security(()),
    responses((status = OK, body = [FixedOfferView], description = "Best first")),
)]
pub(super) async fn offers(
    State(app): Shared,
    QueryOf(which): QueryOf<Which>,
) -> Answer<Vec<FixedOfferView>> {
    let read = move |core: &mut Core| {
        let free = core.state.free_offers(&which.instrument).take(limits::LIST_ROWS as usize);
        free.map(|(machine, offer)| views::offer(core, machine, offer)).collect()
    };
    Ok(Json(app.sequencer.read(read).await?))
}

/// Lease a unit by the hour
///
/// Takes the best offer within the limit and prepays an hour; the next one is prepaid when it is
/// over, until somebody gives notice. The same `client_lease_id` with the same content is one lease.
#[utoipa::path(
    post, path = "/v1/fixed-leases", operation_id = "open_fixed_lease", tag = "leases",
    request_body = NewFixedLease,
    responses((status = OK, body = FixedLeaseView, description = "The lease")),
)]
pub(super) async fn open(
    Account(account): Account,
    State(app): Shared,
    JsonBody(new): JsonBody<NewFixedLease>,
) -> Answer<FixedLeaseView> {
    let NewFixedLease { client_lease_id, instrument, limit_nanocredits_per_hour } = new;
    checked_name("client_lease_id", &client_lease_id)?;
    let lease = fixed_lease_id(account, &client_lease_id);
    let command =
        FixedCommand::Open { account, client_lease_id, instrument, limit_nanocredits_per_hour };
    app.sequencer.command(Command::Fixed(command)).await?;
    view(&app, Viewer::Account(account), lease).await
}

/// Leases by the hour, bought or sold
///
/// The account's own; with the operator's token everybody's.
#[utoipa::path(
    get, path = "/v1/fixed-leases", operation_id = "list_fixed_leases", tag = "leases",
    params(Page),
    responses((status = OK, body = [FixedLeaseView], description = "Newest first")),
)]
pub(super) async fn list(viewer: Viewer, State(app): Shared, page: Page) -> Listed<FixedLeaseView> {
    let kind = Kind { past: Past::FixedLease, listing: |core| &core.index.fixed_leases };
    let view = |core: &Core, lease| core.state.fixed_lease(lease).map(|l| views::lease(core, l));
    let read = |view: &str| Ok(past::read::<PastFixedLease>(Past::FixedLease, view)?.view);
    history::list(&app, page, viewer.owner(), kind, view, read).await
}

/// A lease by the hour
#[utoipa::path(
    get, path = "/v1/fixed-leases/{id}", operation_id = "show_fixed_lease", tag = "leases",
    params(("id" = LeaseId, Path, description = "The lease")),
    responses((status = OK, body = FixedLeaseView, description = "The lease")),
)]
pub(super) async fn show(
    viewer: Viewer,
    State(app): Shared,
    Id(lease): Id<LeaseId>,
) -> Answer<FixedLeaseView> {
    view(&app, viewer, lease).await
}

/// Give notice
///
/// As its buyer or its seller, each with a notice period of its own. Until then the lease goes on;
/// what is prepaid beyond its end goes back.
#[utoipa::path(
    delete, path = "/v1/fixed-leases/{id}", operation_id = "close_fixed_lease", tag = "leases",
    params(("id" = LeaseId, Path, description = "The lease")),
    responses((status = OK, body = FixedLeaseView, description = "The lease, with its end")),
)]
pub(super) async fn notice(
    Account(account): Account,
    State(app): Shared,
    Id(lease): Id<LeaseId>,
) -> Answer<FixedLeaseView> {
    app.sequencer.command(Command::Fixed(FixedCommand::Notice { account, lease })).await?;
    view(&app, Viewer::Account(account), lease).await
}

impl Viewer {
    fn is_party(&self, core: &Core, lease: &FixedLease) -> bool {
        match self {
            Viewer::Operator => true,
            Viewer::Account(account) => {
                [lease.account, core.state.seller_of(lease)].contains(account)
            }
        }
    }
}

async fn view(app: &Arc<App>, viewer: Viewer, lease: LeaseId) -> Answer<FixedLeaseView> {
    let unknown = || ApiError::NotFound { what: "lease", id: lease.to_string() };
    let owner = viewer.owner();
    let found = app
        .sequencer
        .read(move |core| {
            let found = core.state.fixed_lease(lease)?;
            Some((viewer.is_party(core, found), views::lease(core, found)))
        })
        .await?;
    if let Some((is_party, found)) = found {
        return if is_party { Ok(Json(found)) } else { Err(unknown()) };
    }
    let past: Option<PastFixedLease> = history::one(app, Past::FixedLease, lease).await?;
    let seen = past.filter(|past| owner.is_none_or(|own| past.is_of(own)));
    seen.map(|past| Json(past.view)).ok_or_else(unknown)
}
