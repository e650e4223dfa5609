//! What only operators do. Each act is in the log before it is answered, in the transaction that
//! carries it out.

use axum::Json;
use axum::extract::State;
use base::{AccountId, Digest, JobId, MachineId};
use clearing::Command;
use clearing::fixed::FixedCommand;
use wire::{
    AccountView, Act, InstrumentList, InstrumentView, JobView, NewInstrument, NewStanding,
    OperatorAct, Reason, Standing,
};

use super::caller::Operator;
use super::{Answer, Id, JsonBody, Listed, Page, Rows, Shared, checked_name, jobs};
use crate::app::App;
use crate::config::limits;
use crate::core::Core;
use crate::error::ApiError;
use crate::instruments::{of_wire, to_wire};
use crate::sequencer::unix_ms;
use crate::store::CredentialChange;
use crate::store::access::{Access, ActKept};
use crate::views;

impl Operator {
    /// An entry of the log.
    pub fn did(&self, act: Act, reason: &str) -> CredentialChange {
        let (who, reason) = (self.0.clone(), reason.to_owned());
        CredentialChange::Log(ActKept { at_ms: unix_ms(), who, act, reason })
    }
}

/// Every account
///
/// Needs the scope `operate`.
#[utoipa::path(
    get, path = "/v1/operator/accounts", operation_id = "list_accounts", tag = "operator",
    params(Page),
    responses((status = OK, body = [AccountView], description = "By id")),
)]
pub(super) async fn accounts(_: Operator, State(app): Shared, page: Page) -> Listed<AccountView> {
    let spoken_of = app.reading(|reader| reader.spoken_of()).await?;
    let spoken_of: std::collections::BTreeMap<AccountId, Access> = spoken_of.into_iter().collect();
    let (after, limit) = (page.after::<AccountId>()?, page.limit());
    let found = app
        .sequencer
        .read(move |core| {
            let all = core
                .state
                .accounts()
                .filter(|found| after.is_none_or(|after| found.account > after));
            let found = all.take(limit as usize + 1);
            found.map(|found| (found.account, view(core, found.account, &spoken_of))).collect()
        })
        .await?;
    Ok(Rows::up_to(limit, found, AccountId::to_string))
}

fn view(
    core: &Core,
    account: AccountId,
    spoken_of: &std::collections::BTreeMap<AccountId, Access>,
) -> AccountView {
    let Access { role, standing } = spoken_of.get(&account).copied().unwrap_or_default();
    AccountView {
        account,
        name: core.state.account(account).map(|found| found.name.clone()).unwrap_or_default(),
        role,
        standing,
        available_nanocredits: core.state.available_nanocredits(account),
        escrow_nanocredits: core.state.account_escrow_nanocredits(account),
    }
}

/// Freeze, ban or restore an account
///
/// Needs the scope `operate`. A frozen account may look and cancel; its asks leave the book, what
/// runs goes on. A banned one may do nothing: its tokens are revoked, its jobs cancelled, its
/// machines retired. Restoring gives back the standing, and nothing of that.
#[utoipa::path(
    post, path = "/v1/operator/accounts/{id}/standing", operation_id = "set_standing",
    tag = "operator",
    params(("id" = AccountId, Path, description = "The account")),
    request_body = NewStanding,
    responses((status = OK, body = AccountView, description = "The account")),
)]
pub(super) async fn standing(
    operator: Operator,
    State(app): Shared,
    Id(account): Id<AccountId>,
    JsonBody(new): JsonBody<NewStanding>,
) -> Answer<AccountView> {
    let NewStanding { standing, reason } = new;
    checked_name("reason", &reason)?;
    known(&app, account).await?;
    let access = app.reading(move |reader| reader.access(account)).await?;
    let access = Access { standing, ..access };
    let mut changes = vec![
        CredentialChange::SetAccess { account, access },
        operator.did(Act::StandingChanged { account, standing }, &reason),
    ];
    if standing == Standing::Banned {
        changes.push(CredentialChange::RevokeTokens { account });
    }
    // First the standing, so that nothing new comes while the rest is cleared away.
    app.sequencer.change(CredentialChange::Several(changes)).await?;
    if standing != Standing::Active {
        clear_away(&app, account, standing).await?;
    }
    let spoken_of = [(account, access)].into();
    Ok(Json(app.sequencer.read(move |core| view(core, account, &spoken_of)).await?))
}

/// Takes from the market what the account has there. Done again, it does what is left.
async fn clear_away(app: &App, account: AccountId, standing: Standing) -> Result<(), ApiError> {
    let is_banned = standing == Standing::Banned;
    let (offers, jobs, machines) = app
        .sequencer
        .read(move |core| {
            let jobs = core.state.account_jobs(account).filter(|job| !job.is_over());
            let machines = core.state.account_machines(account).filter(|found| !found.retired);
            let machines: Vec<MachineId> = machines.map(|found| found.machine).collect();
            let offers = machines.iter().filter_map(|machine| {
                let offer = core.state.fixed_offer(*machine).filter(|offer| offer.units > 0)?;
                Some(FixedCommand::Offer {
                    machine: *machine,
                    instrument: offer.instrument.clone(),
                    units: 0,
                    price_nanocredits_per_hour: offer.price_nanocredits_per_hour,
                })
            });
            let offers: Vec<FixedCommand> = offers.collect();
            (offers, jobs.map(|job| job.job).collect::<Vec<_>>(), machines)
        })
        .await?;
    done(app.sequencer.command(Command::CancelOrders { account, instrument: None }).await)?;
    for offer in offers {
        done(app.sequencer.command(Command::Fixed(offer)).await)?;
    }
    if !is_banned {
        return Ok(());
    }
    for job in jobs {
        done(app.sequencer.command(Command::CancelJob { account, job }).await)?;
    }
    for machine in machines {
        let command = Command::RetireMachine { account, machine };
        let revoke = CredentialChange::RevokeMachine { machine };
        done(app.sequencer.command_with(command, revoke).await)?;
    }
    Ok(())
}

/// What ended by itself meanwhile is as good as ended.
fn done(result: Result<(), crate::sequencer::Failure>) -> Result<(), ApiError> {
    match result {
        Err(crate::sequencer::Failure::Rejected(rejection)) => {
            tracing::debug!(%rejection, "cleared away already");
            Ok(())
        }
        other => Ok(other?),
    }
}

/// Cancel anybody's job
///
/// Needs the scope `operate`. Accepted work stays paid, the rest of its budget goes back.
#[utoipa::path(
    post, path = "/v1/operator/jobs/{id}/kill", operation_id = "kill_job", tag = "operator",
    params(("id" = JobId, Path, description = "The job")),
    request_body = Reason,
    responses((status = OK, body = JobView, description = "The job")),
)]
pub(super) async fn kill(
    operator: Operator,
    State(app): Shared,
    Id(job): Id<JobId>,
    JsonBody(Reason { reason }): JsonBody<Reason>,
) -> Answer<JobView> {
    checked_name("reason", &reason)?;
    let account =
        app.sequencer.read(move |core| core.state.job(job).map(|job| job.account)).await?;
    let account = account.ok_or_else(|| ApiError::NotFound { what: "job", id: job.to_string() })?;
    let entry = operator.did(Act::JobKilled { job }, &reason);
    app.sequencer.command_with(Command::CancelJob { account, job }, entry).await?;
    jobs::view(&app, account, job).await
}

/// Take a blob down
///
/// Needs the scope `operate`. It is deleted, and can't be stored again.
#[utoipa::path(
    post, path = "/v1/operator/blobs/{digest}/remove", operation_id = "remove_blob",
    tag = "operator",
    params(("digest" = Digest, Path, description = "Its address")),
    request_body = Reason,
    responses((status = OK, body = Reason, description = "It is gone")),
)]
pub(super) async fn remove_blob(
    operator: Operator,
    State(app): Shared,
    Id(digest): Id<Digest>,
    JsonBody(Reason { reason }): JsonBody<Reason>,
) -> Answer<Reason> {
    checked_name("reason", &reason)?;
    let block = CredentialChange::Several(vec![
        CredentialChange::BlockBlob { digest },
        operator.did(Act::BlobRemoved { digest }, &reason),
    ]);
    app.sequencer.change(block).await?;
    app.with_blobs(move |blobs| blobs.remove(&digest)).await?;
    app.holds.forget(&digest)?;
    Ok(Json(Reason { reason }))
}

/// What operators did
///
/// Needs the scope `operate`.
#[utoipa::path(
    get, path = "/v1/operator/acts", operation_id = "list_acts", tag = "operator",
    params(Page),
    responses((status = OK, body = [OperatorAct], description = "Newest first")),
)]
pub(super) async fn acts(_: Operator, State(app): Shared, page: Page) -> Listed<OperatorAct> {
    let (before, limit) = (page.after::<u64>()?.unwrap_or(i64::MAX as u64), page.limit());
    let limit = limit.min(limits::LIST_ROWS);
    let acts = app.reading(move |reader| reader.acts(before, limit + 1)).await?;
    let placed = acts.into_iter().map(|act| (act.number, act)).collect();
    Ok(Rows::up_to(limit, placed, u64::to_string))
}

/// What is traded, as it was defined
///
/// Needs the scope `operate`.
#[utoipa::path(
    get, path = "/v1/operator/instruments", operation_id = "list_instrument_definitions",
    tag = "operator",
    responses((status = OK, body = [NewInstrument], description = "Every instrument")),
)]
pub(super) async fn instruments(_: Operator, State(app): Shared) -> Answer<Vec<NewInstrument>> {
    let all = |core: &mut Core| {
        core.state.market().instruments().map(|(_, found)| to_wire(found)).collect()
    };
    Ok(Json(app.sequencer.read(all).await?))
}

/// Say what is traded
///
/// Needs the scope `operate`. New instruments are added and known ones changed, except for what a
/// unit of them is; asks of machines that don't qualify any more are withdrawn. What the list
/// doesn't name takes no new orders. All of the list is done, or nothing.
#[utoipa::path(
    put, path = "/v1/operator/instruments", operation_id = "set_instruments", tag = "operator",
    request_body = InstrumentList,
    responses((status = OK, body = [InstrumentView], description = "Every instrument")),
)]
pub(super) async fn set_instruments(
    operator: Operator,
    State(app): Shared,
    JsonBody(list): JsonBody<InstrumentList>,
) -> Answer<Vec<InstrumentView>> {
    checked_name("reason", &list.reason)?;
    for new in &list.instruments {
        let unsafe_text = |text: &str| text.chars().any(crate::text::is_unsafe);
        let max = limits::NAME_BYTES;
        if new.description.len() > max || unsafe_text(&new.description) {
            let length = new.description.len();
            return Err(ApiError::InvalidName { what: "description", length, max });
        }
        checked_name("region", &new.region)?;
    }
    let instruments: Vec<_> = list.instruments.iter().map(of_wire).collect();
    let names = list.instruments.into_iter().map(|new| new.name).collect();
    let entry = operator.did(Act::InstrumentsSet { names }, &list.reason);
    app.sequencer.command_with(Command::SetInstruments { instruments }, entry).await?;
    Ok(Json(app.sequencer.read(|core| views::instruments(core)).await?))
}

pub(super) async fn known(app: &App, account: AccountId) -> Result<(), ApiError> {
    let is_known = app.sequencer.read(move |core| core.state.account(account).is_some()).await?;
    if is_known {
        return Ok(());
    }
    Err(ApiError::NotFound { what: "account", id: account.to_string() })
}
