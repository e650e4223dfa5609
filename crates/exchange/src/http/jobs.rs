//! Jobs, their invoices and leases.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use base::{AccountId, JobId, LeaseId};
use clearing::Command;
use serde::Deserialize;
use tokio::sync::oneshot;
use wire::{Invoice, JobView, LeaseView, NewJob, TopUp};

use super::{Account, Answer, Id, JsonBody, Shared, checked_name};
use crate::app::App;
use crate::config::limits;
use crate::error::ApiError;
use crate::sequencer::Request;
use crate::spec;
use crate::views;

/// `POST /v1/jobs`
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
    let (app_blobs, blob_max_bytes) = (app.blobs.clone(), app.config.blob_max_bytes);
    let checked = tokio::task::spawn_blocking(move || {
        spec::check(app_blobs.as_ref(), &tasks, market::instrument(&instrument), blob_max_bytes)
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
    };
    app.sequencer.command(command).await?;
    view(&app, account, new.job).await
}

/// `GET /v1/jobs`
pub(super) async fn list(Account(account): Account, State(app): Shared) -> Answer<Vec<JobView>> {
    let jobs = app
        .sequencer
        .read(move |core| {
            let newest_first = core.state.account_jobs(account).rev();
            newest_first.take(limits::LIST_ROWS as usize).map(|job| views::job(core, job)).collect()
        })
        .await?;
    Ok(Json(jobs))
}

/// `?after=VERSION`
#[derive(Debug, Deserialize)]
pub(super) struct After {
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

/// `GET /v1/jobs/{id}?after=VERSION`
pub(super) async fn show(
    Account(account): Account,
    State(app): Shared,
    Id(job): Id<JobId>,
    After { after }: After,
) -> Answer<JobView> {
    let Some(after) = after else { return view(&app, account, job).await };
    // Whether there is such a job is said at once.
    let Json(now) = view(&app, account, job).await?;
    if now.version > after {
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

/// `POST /v1/jobs/{id}/cancel`
pub(super) async fn cancel(
    Account(account): Account,
    State(app): Shared,
    Id(job): Id<JobId>,
) -> Answer<JobView> {
    app.sequencer.command(Command::CancelJob { account, job }).await?;
    view(&app, account, job).await
}

/// `POST /v1/jobs/{id}/top-up`
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

/// `GET /v1/jobs/{id}/invoice`
pub(super) async fn invoice(
    Account(account): Account,
    State(app): Shared,
    Id(job): Id<JobId>,
) -> Answer<Invoice> {
    let invoice = app
        .sequencer
        .read(move |core| {
            let found = core.state.job(job).filter(|found| found.account == account)?;
            Some(views::invoice(core, found))
        })
        .await?;
    invoice.map(Json).ok_or_else(|| unknown(job))
}

/// `GET /v1/leases`: bought or sold, newest first.
pub(super) async fn leases(
    Account(account): Account,
    State(app): Shared,
) -> Answer<Vec<LeaseView>> {
    let mut leases: Vec<LeaseView> = app
        .sequencer
        .read(move |core| {
            let state = &core.state;
            let bought = state.account_jobs(account).flat_map(|job| &job.leases);
            let sold = state.account_machines(account).flat_map(|machine| &machine.leases);
            // By id first: who sells to nobody else may still buy from a machine of a friend.
            let all: BTreeMap<LeaseId, LeaseView> = bought
                .chain(sold)
                .filter_map(|lease| Some((*lease, views::lease(state.lease(*lease)?))))
                .collect();
            all.into_values().collect()
        })
        .await?;
    leases.sort_by_key(|lease| std::cmp::Reverse((lease.opened_at_ms, lease.lease)));
    leases.truncate(limits::LIST_ROWS as usize);
    Ok(Json(leases))
}

async fn view(app: &App, account: AccountId, job: JobId) -> Answer<JobView> {
    let view = app
        .sequencer
        .read(move |core| {
            let found = core.state.job(job).filter(|found| found.account == account)?;
            Some(views::job(core, found))
        })
        .await?;
    view.map(Json).ok_or_else(|| unknown(job))
}

fn unknown(job: JobId) -> ApiError {
    ApiError::NotFound { what: "job", id: job.to_string() }
}
