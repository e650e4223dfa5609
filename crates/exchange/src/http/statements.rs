//! What happened to an account's money in a period, for its books: JSON, and CSV for spreadsheets.

use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use base::AccountId;
use serde::Deserialize;
use utoipa::IntoParams;
use wire::{NEXT_CURSOR, STATEMENT_CSV_HEAD, Statement};

use super::Shared;
use super::caller::Viewer;
use crate::config::limits;
use crate::error::ApiError;
use crate::store::{StatementPlace, StoreReader};

/// Which part of whose statement, and how it is written.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Period {
    /// The first millisecond of the period; without it, the account's beginning.
    #[serde(default)]
    from_ms: i64,
    /// The first millisecond after the period; without it, there is no end.
    #[serde(default = "no_end")]
    to_ms: i64,
    /// `json` or `csv`.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// Whose, for operators; for others their own.
    account: Option<AccountId>,
    /// The most lines to answer with.
    #[serde(default = "lines_max")]
    #[param(default = 1000, minimum = 1, maximum = 1000)]
    limit: u32,
    /// The `next_cursor` of the answer before this one (in CSV the header `jusha-next-cursor`).
    cursor: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Csv,
}

fn no_end() -> i64 {
    i64::MAX
}

fn lines_max() -> u32 {
    limits::LIST_ROWS
}

impl<S: Send + Sync> FromRequestParts<S> for Period {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(period): Query<Period> = Query::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::InvalidQuery(error.body_text()))?;
        if period.limit == 0 || period.limit > limits::LIST_ROWS {
            let (given, most) = (period.limit, limits::LIST_ROWS);
            return Err(ApiError::InvalidQuery(format!("limit is {given}: give 1 to {most}")));
        }
        Ok(period)
    }
}

impl Period {
    fn begin(&self) -> Result<StatementPlace, ApiError> {
        let Some(cursor) = &self.cursor else { return Ok((self.from_ms, 0, 0)) };
        let mut parts = cursor.splitn(3, '.');
        let mut part = || parts.next();
        let place = (|| {
            let at_ms = part()?.parse().ok()?;
            let sequence = part()?.parse().ok().filter(|found| *found <= i64::MAX as u64)?;
            Some((at_ms, sequence, part()?.parse().ok()?))
        })();
        place.ok_or_else(|| {
            let problem = format!("cursor `{cursor}` is of no statement: begin without one");
            ApiError::InvalidQuery(problem)
        })
    }
}

/// An account's statement
///
/// Every transfer of the period that touched what the account has, oldest first, with what it
/// had before and after. As JSON, or with `format=csv` as CSV with the same figures.
#[utoipa::path(
    get, path = "/v1/statement", operation_id = "show_statement", tag = "accounts",
    params(Period),
    responses((status = OK, description = "The statement", content(
        (Statement = "application/json"), (String = "text/csv"),
    ))),
)]
pub(super) async fn show(
    viewer: Viewer,
    State(app): Shared,
    period: Period,
) -> Result<Response, ApiError> {
    let account = match (viewer, period.account) {
        (Viewer::Operator, Some(account)) => account,
        (Viewer::Operator, None) => {
            return Err(ApiError::InvalidQuery("account: say whose statement".to_owned()));
        }
        (Viewer::Account(own), None) => own,
        (Viewer::Account(own), Some(account)) if own == account => own,
        (Viewer::Account(_), Some(account)) => {
            return Err(ApiError::NotFound { what: "account", id: account.to_string() });
        }
    };
    let (begin, to_ms, limit) = (period.begin()?, period.to_ms, period.limit);
    let read = move |reader: &mut dyn StoreReader| reader.statement(account, begin, to_ms, limit);
    let (statement, next) = app.reading(read).await?;
    let next_cursor = next.map(|place| format!("{}.{}.{}", place.0, place.1, place.2));
    let whole = Statement { from_ms: period.from_ms, next_cursor, ..statement };
    Ok(match period.format {
        Format::Json => Json(whole).into_response(),
        Format::Csv => csv(&whole, period.cursor.is_none()),
    })
}

/// The head comes once, so that parts can be put together.
fn csv(statement: &Statement, with_head: bool) -> Response {
    let head = if with_head { STATEMENT_CSV_HEAD } else { "" };
    let body = format!("{head}{}", statement.csv_rows());
    let next = statement.next_cursor.clone().map(|cursor| [(NEXT_CURSOR, cursor)]);
    ([(CONTENT_TYPE, "text/csv; charset=utf-8")], next, body).into_response()
}
