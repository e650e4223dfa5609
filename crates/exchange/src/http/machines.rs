//! Machines: joining, looking, leaving.

use axum::Json;
use axum::extract::State;
use base::MachineId;
use clearing::Command;
use wire::{Enrolled, Enrolment, JoinCode, MachineView};

use super::{Account, Answer, Id, JsonBody, Shared, checked_name};
use crate::error::ApiError;
use crate::secrets;
use crate::sequencer::{Enrol, unix_ms};
use crate::store::CredentialChange;
use crate::views;

/// `POST /v1/join-codes`
pub(super) async fn join_code(Account(account): Account, State(app): Shared) -> Answer<JoinCode> {
    let code = secrets::secret("join").map_err(|_| ApiError::Internal)?;
    let lifetime = i64::try_from(app.config.join_code_ttl_ms).unwrap_or(i64::MAX);
    let expires_at_ms = unix_ms().saturating_add(lifetime);
    let change =
        CredentialChange::AddJoinCode { code: secrets::digest(&code), account, expires_at_ms };
    app.sequencer.change(change).await?;
    Ok(Json(JoinCode { join: format!("{}/#join={code}", app.public_url), expires_at_ms }))
}

/// `POST /v1/machines`
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

/// `GET /v1/machines`
pub(super) async fn list(
    Account(account): Account,
    State(app): Shared,
) -> Answer<Vec<MachineView>> {
    let machines = app
        .sequencer
        .read(move |core| {
            core.state.account_machines(account).map(|found| views::machine(core, found)).collect()
        })
        .await?;
    Ok(Json(machines))
}

/// `GET /v1/machines/{id}`
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

/// `DELETE /v1/machines/{id}`
pub(super) async fn retire(
    Account(account): Account,
    State(app): Shared,
    Id(machine): Id<MachineId>,
) -> Answer<MachineView> {
    let command = Command::RetireMachine { account, machine };
    app.sequencer.command_with(command, CredentialChange::RevokeMachine { machine }).await?;
    show(Account(account), State(app), Id(machine)).await
}
