//! Jobs, their invoices and leases.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use base::{AccountId, JobId};
use clearing::Command;
use serde::Deserialize;
use tokio::sync::oneshot;
use utoipa::IntoParams;
use wire::{Invoice, JobView, LeaseView, NewJob, TopUp};

use super::history::{self, Kind};
use super::{Account, Answer, Id, JsonBody, Listed, Page, Shared, checked_name};
use crate::app::App;
use crate::config::limits;
use crate::core::Core;
use crate::error::ApiError;
use crate::grants::{Granted, Reader};
use crate::invoice;
use crate::past::{self, PastJob};
use crate::sequencer::Request;
use crate::spec;
use crate::store::Past;
use crate::views;

/// Submit a job
///
/// Every blob that its specs name must be in the store. The same id with the same content is
/// one job.
#[utoipa::path(
    post, path = "/v1/jobs", operation_id = "submit_job", tag = "jobs",
    request_body = NewJob,
    responses((status = OK, body = JobView, description = "The job")),
)]
pub(super) async fn submit(
    Account(account): Account,
    State(app): Shared,
    JsonBody(new): JsonBody<NewJob>,
) -> Answer<JobView> {
    tracing::debug!("heard {}", new.job);
    checked_name("name", &new.name)?;
    if new.tasks.len() > limits::JOB_TASKS {
        let message = format!("tasks: more than {}; submit several jobs", limits::JOB_TASKS);
        return Err(ApiError::InvalidJson(message));
    }
    let (tasks, instrument) = (new.tasks.clone(), new.instrument.clone());
    // What it may not read it may not have delivered to a machine of its own either.
    let blobs = Granted::now(&app, Reader::Account(account)).await?;
    let blob_max_bytes = app.config.blob_max_bytes;
    let found = move |core: &mut Core| {
        core.state.market().instrument(&instrument).map(|(_, found)| found.clone())
    };
    let instrument = app.sequencer.read(found).await?;
    let checked = tokio::task::spawn_blocking(move || {
        spec::check(&blobs, &tasks, instrument.as_ref(), blob_max_bytes)
    });
    let tasks = checked.await.map_err(|_| ApiError::Internal)??;
    let command = Command::SubmitJob {
        account,
        job: new.job,
        name: new.name,
        instrument: new.instrument,
        tasks,
        max_price_nanocredits_per_tfuel: new.max_price_nanocredits_per_tfuel,
        slots: new.slots,
        budget_nanocredits: new.budget_nanocredits,
        ask: new.ask,
        filters: filters(&new.filters),
    };
    app.sequencer.command(command).await?;
    view(&app, account, new.job).await
}

/// A wish as the market compares it: more is better, in each attribute.
fn filters(wanted: &wire::Filters) -> market::Filters {
    let mut at_least = market::Attributes::default();
    at_least.0[clearing::attributes::SPEED] = wanted.speed_min_mfuel_per_s;
    at_least.0[clearing::attributes::TRUST] = wanted.trust_min;
    at_least.0[clearing::attributes::KEPT_LEASES] =
        wanted.seller_ended_max.map_or(0, |ended| 100u32.saturating_sub(ended));
    let excluded = wanted.exclude_machines.iter().map(|machine| market::GroupId(machine.0));
    market::Filters { at_least, excluded: excluded.collect() }
}

/// One's jobs
///
/// A long list leaves out the tasks of old ones.
#[utoipa::path(
    get, path = "/v1/jobs", operation_id = "list_jobs", tag = "jobs",
    params(Page),
    responses((status = OK, body = [JobView], description = "Newest first")),
)]
pub(super) async fn list(
    Account(account): Account,
    State(app): Shared,
    page: Page,
) -> Listed<JobView> {
    let kind = Kind { past: Past::Job, listing: |core| &core.index.jobs };
    let view = |core: &Core, job| core.state.job(job).map(|job| views::job(core, job));
    let read = |view: &str| Ok(past::read::<PastJob>(Past::Job, view)?.view);
    let mut found = history::list(&app, page, Some(account), kind, view, read).await?;
    let mut left = limits::READ_COST;
    for job in &mut found.rows {
        let cost = limits::JOB_READ_COST + u64::from(job.task_count);
        let Some(rest) = left.checked_sub(cost) else { break };
        left = rest;
        add_tasks(&app, job).await?;
    }
    Ok(found)
}

/// A job that is written down has its tasks in a place of their own.
async fn add_tasks(app: &std::sync::Arc<App>, job: &mut JobView) -> Result<(), ApiError> {
    if job.ended_at_ms.is_some() && job.tasks.is_empty() {
        job.tasks = history::one(app, Past::Tasks, job.job).await?.unwrap_or_default();
    }
    Ok(())
}

/// Whether to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// The version that is known already.
    after: Option<u64>,
}

impl FromRequestParts<std::sync::Arc<App>> for After {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &std::sync::Arc<App>,
    ) -> Result<Self, ApiError> {
        let Query(after) = Query::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::InvalidQuery(error.body_text()))?;
        Ok(after)
    }
}

/// One of one's jobs
///
/// With `after`, the answer waits for a version that is newer, up to 20 s.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", operation_id = "show_job", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), After),
    responses((status = OK, body = JobView, description = "The job")),
)]
pub(super) async fn show(
    Account(account): Account,
    State(app): Shared,
    Id(job): Id<JobId>,
    After { after }: After,
) -> Answer<JobView> {
    let Some(after) = after else { return view(&app, account, job).await };
    // Whether there is such a job is said at once.
    let Json(now) = view(&app, account, job).await?;
    // What is over has no news any more.
    if now.version > after || now.ended_at_ms.is_some() {
        return Ok(Json(now));
    }
    let (news, heard) = oneshot::channel();
    app.sequencer.send(Request::Watch { job, after, news }).await?;
    let mut closing = app.closing.clone();
    tokio::select! {
        _ = heard => {}
        _ = tokio::time::sleep(Duration::from_millis(app.config.long_poll_ms)) => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
    view(&app, account, job).await
}

/// Cancel a job
///
/// Accepted work stays paid, the rest of its budget comes back.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", operation_id = "cancel_job", tag = "jobs",
    params(("id" = JobId, Path, description = "The job")),
    responses((status = OK, body = JobView, description = "The job")),
)]
pub(super) async fn cancel(
    Account(account): Account,
    State(app): Shared,
    Id(job): Id<JobId>,
) -> Answer<JobView> {
    app.sequencer.command(Command::CancelJob { account, job }).await?;
    view(&app, account, job).await
}

/// Give a job more money
///
/// A job that ran out goes on.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/top-up", operation_id = "top_up_job", tag = "jobs",
    params(("id" = JobId, Path, description = "The job")),
    request_body = TopUp,
    responses((status = OK, body = JobView, description = "The job")),
)]
pub(super) async fn top_up(
    Account(account): Account,
    State(app): Shared,
    Id(job): Id<JobId>,
    JsonBody(more): JsonBody<TopUp>,
) -> Answer<JobView> {
    let TopUp { amount_nanocredits, transfer } = more;
    let command = Command::TopUpJob { account, job, transfer, amount_nanocredits };
    app.sequencer.command(command).await?;
    view(&app, account, job).await
}

/// What a job cost
#[utoipa::path(
    get, path = "/v1/jobs/{id}/invoice", operation_id = "show_invoice", tag = "jobs",
    params(("id" = JobId, Path, description = "The job")),
    responses((status = OK, body = Invoice, description = "A line per lease, its usage by unit, and everything needed to recompute it")),
)]
pub(super) async fn invoice_of(
    Account(account): Account,
    State(app): Shared,
    Id(job): Id<JobId>,
) -> Answer<Invoice> {
    let invoice = app
        .sequencer
        .read(move |core| {
            let found = core.state.job(job).filter(|found| found.account == account)?;
            Some(invoice::of(&core.state, found))
        })
        .await?;
    if let Some(invoice) = invoice {
        return Ok(Json(invoice));
    }
    past_job(&app, account, job).await?;
    history::one(&app, Past::Invoice, job).await?.map(Json).ok_or_else(|| unknown(job))
}

/// One's leases, bought and sold
#[utoipa::path(
    get, path = "/v1/leases", operation_id = "list_leases", tag = "jobs",
    params(Page),
    responses((status = OK, body = [LeaseView], description = "Newest first")),
)]
pub(super) async fn leases(
    Account(account): Account,
    State(app): Shared,
    page: Page,
) -> Listed<LeaseView> {
    let kind = Kind { past: Past::Lease, listing: |core| &core.index.leases };
    let view = |core: &Core, lease| core.state.lease(lease).map(views::lease);
    let read = |view: &str| past::read(Past::Lease, view);
    history::list(&app, page, Some(account), kind, view, read).await
}

/// A job that memory has forgotten, without its tasks.
async fn past_job(
    app: &std::sync::Arc<App>,
    account: AccountId,
    job: JobId,
) -> Result<JobView, ApiError> {
    let found: Option<PastJob> = history::one(app, Past::Job, job).await?;
    let own = found.filter(|found| found.account == account);
    own.map(|found| found.view).ok_or_else(|| unknown(job))
}

pub(super) async fn view(
    app: &std::sync::Arc<App>,
    account: AccountId,
    job: JobId,
) -> Answer<JobView> {
    let view = app
        .sequencer
        .read(move |core| {
            let found = core.state.job(job).filter(|found| found.account == account)?;
            Some(views::job(core, found))
        })
        .await?;
    if let Some(view) = view {
        return Ok(Json(view));
    }
    let mut view = past_job(app, account, job).await?;
    add_tasks(app, &mut view).await?;
    Ok(Json(view))
}

fn unknown(job: JobId) -> ApiError {
    ApiError::NotFound { what: "job", id: job.to_string() }
}
