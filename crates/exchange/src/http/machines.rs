//! Machines: joining, looking, leaving.

use axum::Json;
use axum::extract::State;
use base::MachineId;
use clearing::Command;
use wire::{Enrolled, Enrolment, JoinCode, MachineView, RuntimeView};

use super::{Account, Answer, Id, JsonBody, Listed, Page, Rows, Shared, checked_name};
use crate::error::ApiError;
use crate::secrets;
use crate::sequencer::{Enrol, unix_ms};
use crate::store::CredentialChange;
use crate::views;

/// Make a one-time code for a new machine
#[utoipa::path(
    post, path = "/v1/join-codes", operation_id = "make_join_code", tag = "machines",
    responses((status = OK, body = JoinCode, description = "The code within the string to paste")),
)]
pub(super) async fn join_code(Account(account): Account, State(app): Shared) -> Answer<JoinCode> {
    let code = secrets::secret("join").map_err(|_| ApiError::Internal)?;
    let lifetime = i64::try_from(app.config.join_code_ttl_ms).unwrap_or(i64::MAX);
    let expires_at_ms = unix_ms().saturating_add(lifetime);
    let change =
        CredentialChange::AddJoinCode { code: secrets::digest(&code), account, expires_at_ms };
    app.sequencer.change(change).await?;
    Ok(Json(JoinCode { join: format!("{}/#join={code}", app.public_url), expires_at_ms }))
}

/// Enrol a machine
///
/// The join code in the body says for whom; no token is needed. A machine that lost the answer
/// may ask again with the same code.
#[utoipa::path(
    post, path = "/v1/machines", operation_id = "enrol_machine", tag = "machines",
    request_body = Enrolment,
    security(()),
    responses((status = OK, body = Enrolled, description = "The machine and its token")),
)]
pub(super) async fn enrol(
    State(app): Shared,
    JsonBody(enrolment): JsonBody<Enrolment>,
) -> Answer<Enrolled> {
    let Enrolment { code, public_key, signature, name } = enrolment;
    checked_name("name", &name)?;
    let public_key: [u8; 32] = wire::unhex(&public_key).ok_or(ApiError::InvalidKey)?;
    // Without this proof, somebody could enrol a stranger's key and have its work paid here.
    wire::verify_signature(&public_key, &wire::enrolment_bytes(&code, &public_key), &signature)?;
    let machine = wire::machine_id(&public_key);
    let token = secrets::secret("machine").map_err(|_| ApiError::Internal)?;
    let (code, digest) = (secrets::digest(&code), secrets::digest(&token));
    app.sequencer.enrol(Enrol { code, machine, public_key, name, token: digest }).await?;
    let account = app
        .sequencer
        .read(move |core| core.state.machine(machine).map(|found| found.owner))
        .await?
        .ok_or(ApiError::Internal)?;
    Ok(Json(Enrolled { machine, account, exchange: app.exchange, token }))
}

/// One's machines
#[utoipa::path(
    get, path = "/v1/machines", operation_id = "list_machines", tag = "machines",
    params(Page),
    responses((status = OK, body = [MachineView], description = "Newest first")),
)]
pub(super) async fn list(
    Account(account): Account,
    State(app): Shared,
    page: Page,
) -> Listed<MachineView> {
    app.sequencer
        .read(move |core| {
            let all = core.state.account(account).map_or(&[][..], |found| &found.machines);
            let (part, next) = page.newest_first(all)?;
            let found = part.iter().rev().filter_map(|machine| core.state.machine(*machine));
            Ok(Rows { rows: found.map(|machine| views::machine(core, machine)).collect(), next })
        })
        .await?
}

/// The language runtimes that machines have
///
/// By their owners' word. A task that begins in one of these begins at once there.
#[utoipa::path(
    get, path = "/v1/runtimes", operation_id = "list_runtimes", tag = "machines",
    security(()),
    responses((status = OK, body = [RuntimeView], description = "Of connected machines, by name")),
)]
pub(super) async fn runtimes(State(app): Shared) -> Answer<Vec<RuntimeView>> {
    Ok(Json(app.sequencer.read(|core| views::runtimes(core)).await?))
}

/// One of one's machines
#[utoipa::path(
    get, path = "/v1/machines/{id}", operation_id = "show_machine", tag = "machines",
    params(("id" = MachineId, Path, description = "The machine")),
    responses((status = OK, body = MachineView, description = "The machine")),
)]
pub(super) async fn show(
    Account(account): Account,
    State(app): Shared,
    Id(machine): Id<MachineId>,
) -> Answer<MachineView> {
    let found = app
        .sequencer
        .read(move |core| {
            let found = core.state.machine(machine).filter(|found| found.owner == account)?;
            Some(views::machine(core, found))
        })
        .await?;
    found.map(Json).ok_or_else(|| ApiError::NotFound { what: "machine", id: machine.to_string() })
}

/// Retire a machine
///
/// Its asks are cancelled, its leases lapse, and its key is refused from now on.
#[utoipa::path(
    delete, path = "/v1/machines/{id}", operation_id = "retire_machine", tag = "machines",
    params(("id" = MachineId, Path, description = "The machine")),
    responses((status = OK, body = MachineView, description = "The machine, no longer active")),
)]
pub(super) async fn retire(
    Account(account): Account,
    State(app): Shared,
    Id(machine): Id<MachineId>,
) -> Answer<MachineView> {
    let command = Command::RetireMachine { account, machine };
    app.sequencer.command_with(command, CredentialChange::RevokeMachine { machine }).await?;
    show(Account(account), State(app), Id(machine)).await
}
