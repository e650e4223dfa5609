//! The description of the API: collected from the handlers' annotations, completed with what is
//! the same everywhere, served as JSON and as a page to read.
//!
//! `docs/openapi.json` is a committed copy, so that a change of the API is seen as one, and SDKs
//! are made from it.

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use utoipa::OpenApi as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use wire::ErrorBody;

use super::reference;

/// What is said before any path.
const INTRODUCTION: &str = "\
Computing is bought and sold here by the slot and paid by the fuel that a program used.

**Authorization:** `Authorization: Bearer TOKEN`, except where a route says that it needs none.

**Errors** have a status of 400 or more and a body of `code` (stable), `message` (for people, \
with what to do) and `details` (figures). The codes are listed in `docs/errors.md`.

**Lists** are arrays, newest first, of at most `limit` rows. If there are more, the header \
`jusha-next-cursor` has what to pass as `cursor` for the next ones.

**A request without an answer is unknown**, neither done nor failed. What changes something \
carries an id that the client makes (`job`, `transfer`, `client_order_id`): asking again with the \
same id and the same content does it once and gives the answer; with other content it is refused \
with a code that ends in `_conflict`.

**Amounts** are integers in nanocredits (10⁻⁹ credits), times are milliseconds UTC, prices are \
nanocredits per Tfuel (10¹² units of billable fuel).";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Jusha exchange", description = INTRODUCTION),
    components(schemas(ErrorBody)),
    tags(
        (name = "exchange", description = "The exchange itself"),
        (name = "accounts", description = "Accounts and their money"),
        (name = "operator", description = "What only operators do"),
        (name = "jobs", description = "Buying: jobs, invoices, leases"),
        (name = "leases", description = "Units by the hour, under a seller's bond"),
        (name = "orders", description = "Selling: orders"),
        (name = "market", description = "What everybody sees of the market"),
        (name = "machines", description = "Machines and their agents"),
        (name = "blobs", description = "Programs, inputs, checkpoints and results by their digest"),
    )
)]
struct Base;

/// What the routes are collected into.
pub(super) fn base() -> OpenApi {
    Base::openapi()
}

/// Adds what holds for every operation.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_with(Components::new);
    let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("token", token);
    document.security =
        Some(vec![utoipa::openapi::SecurityRequirement::new("token", Vec::<String>::new())]);
    for item in document.paths.paths.values_mut() {
        let all = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete, &mut item.head];
        for operation in all.into_iter().flatten() {
            complete_operation(operation);
        }
    }
    document
}

fn complete_operation(operation: &mut Operation) {
    let error = ResponseBuilder::new()
        .description("Refused, or failed")
        .content("application/json", Content::new(Some(Ref::from_schema_name("ErrorBody"))))
        .build();
    operation.responses.responses.insert("default".to_owned(), error.into());
    let is_paged = operation.parameters.iter().flatten().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.name == "cursor",
        RefOr::Ref(_) => false,
    });
    if is_paged && let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") {
        add_cursor(answer);
    }
}

fn add_cursor(answer: &mut Response) {
    let header = HeaderBuilder::new()
        .description(Some("Present if there are more rows: pass it as `cursor`."))
        .build();
    answer.headers.insert(wire::NEXT_CURSOR.to_owned(), header.into());
}

/// The description in both forms, made once.
#[derive(Debug, Clone)]
pub(super) struct Document {
    json: Bytes,
    page: Bytes,
}

impl Document {
    /// Renders both.
    pub fn new(document: &OpenApi) -> Self {
        Document { json: json(document).into(), page: reference::page(document).into() }
    }

    /// `/v1/openapi.json`
    pub fn serve_json(&self) -> impl IntoResponse + use<> {
        ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], self.json.clone())
    }

    /// `/v1/reference`
    pub fn serve_page(&self) -> impl IntoResponse + use<> {
        (
            [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-cache")],
            self.page.clone(),
        )
    }
}

/// As it is committed and served.
fn json(document: &OpenApi) -> String {
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::described_routes;
    use super::*;

    #[test]
    fn the_committed_description_is_that_of_the_code() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        let now = json(&described_routes().1);
        if std::env::var_os("JUSHA_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::write(&path, &now).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == now,
            "the API is not what docs/openapi.json says: if that is meant, run this test with \
             JUSHA_GOLDEN=write, and commit the file"
        );
    }

    #[test]
    fn every_operation_is_named_once_and_says_what_it_is() {
        let document = serde_json::to_value(described_routes().1).unwrap();
        let known: BTreeSet<&str> = document["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["name"].as_str().unwrap())
            .collect();
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{name} is there twice");
                assert!(operation["summary"].is_string(), "{method} {path} has no summary");
                let tag = operation["tags"][0].as_str().unwrap();
                assert!(known.contains(tag), "{method} {path}: {tag} is not introduced");
                assert!(operation["responses"]["default"].is_object());
            }
        }
        assert!(names.contains("submit_job"));
    }
}
