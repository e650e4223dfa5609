//! Long lists, a part at a time, alike everywhere: `?limit=` and `?cursor=`, an array, and the
//! header [`wire::NEXT_CURSOR`] when there is more.

use axum::Json;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::config::limits;
use crate::error::ApiError;

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// The most rows to answer with.
    #[serde(default = "rows_max")]
    #[param(default = 1000, minimum = 1, maximum = 1000)]
    limit: u32,
    /// The value of the header `jusha-next-cursor` of the answer before this one.
    cursor: Option<String>,
}

fn rows_max() -> u32 {
    limits::LIST_ROWS
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(page): Query<Page> = Query::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::InvalidQuery(error.body_text()))?;
        if page.limit == 0 || page.limit > limits::LIST_ROWS {
            let (given, most) = (page.limit, limits::LIST_ROWS);
            return Err(ApiError::InvalidQuery(format!("limit is {given}: give 1 to {most}")));
        }
        Ok(page)
    }
}

impl Page {
    /// The most rows.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// The place of the row before the first wanted one, in a list that is ordered by places in
    /// the journal; the very end without a cursor.
    pub fn place(&self) -> Result<(u64, u32), ApiError> {
        let Some(cursor) = &self.cursor else { return Ok((i64::MAX as u64, 0)) };
        let place = cursor.split_once('.').and_then(|(sequence, position)| {
            let sequence =
                sequence.parse::<u64>().ok().filter(|found| *found <= i64::MAX as u64)?;
            Some((sequence, position.parse().ok()?))
        });
        place.ok_or_else(|| unknown(cursor))
    }

    /// The place before which the wanted rows come, in a list that is ordered by age.
    pub fn before<I: std::str::FromStr>(&self) -> Result<Option<(i64, I)>, ApiError> {
        let place = |cursor: &String| {
            let (at, id) = cursor.split_once('.')?;
            Some((at.parse().ok()?, id.parse().ok()?))
        };
        let before = |cursor| place(cursor).ok_or_else(|| unknown(cursor));
        self.cursor.as_ref().map(before).transpose()
    }

    /// The key after which the wanted rows come, in a list that is ordered by a key of its own.
    pub fn after<K: std::str::FromStr>(&self) -> Result<Option<K>, ApiError> {
        let key = |cursor: &String| cursor.parse().map_err(|_| unknown(cursor));
        self.cursor.as_ref().map(key).transpose()
    }

    /// The wanted part of a list that only grows at its end, newest first, and its cursor. A
    /// row that is added meanwhile shifts nothing.
    pub fn newest_first<'a, T>(&self, all: &'a [T]) -> Result<(&'a [T], Option<String>), ApiError> {
        let end = match &self.cursor {
            None => all.len(),
            Some(cursor) => {
                let end = cursor.parse().ok().filter(|end| *end <= all.len());
                end.ok_or_else(|| unknown(cursor))?
            }
        };
        let begin = end.saturating_sub(self.limit as usize);
        Ok((&all[begin..end], (begin > 0).then(|| begin.to_string())))
    }
}

/// The cursor of a row at a place in the journal.
pub(super) fn place_text(place: &(u64, u32)) -> String {
    format!("{}.{}", place.0, place.1)
}

fn unknown(cursor: &str) -> ApiError {
    ApiError::InvalidQuery(format!("cursor `{cursor}` is of no list here: begin without one"))
}

/// The answer: some rows, and how to go on.
pub(super) struct Rows<T> {
    pub rows: Vec<T>,
    pub next: Option<String>,
}

impl<T> Rows<T> {
    /// Rows with their places, of which one more was asked for than is answered.
    pub fn up_to<P>(
        limit: u32,
        mut placed: Vec<(P, T)>,
        cursor: impl FnOnce(&P) -> String,
    ) -> Self {
        let more = placed.len() > limit as usize;
        placed.truncate(limit as usize);
        let next = placed.last().filter(|_| more).map(|(place, _)| cursor(place));
        Rows { rows: placed.into_iter().map(|(_, row)| row).collect(), next }
    }
}

impl<T: Serialize> IntoResponse for Rows<T> {
    fn into_response(self) -> Response {
        let next = self.next.map(|cursor| [(wire::NEXT_CURSOR, cursor)]);
        match next {
            Some(header) => (header, Json(self.rows)).into_response(),
            None => Json(self.rows).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_tile_a_list_that_grows_meanwhile() {
        let mut all: Vec<u32> = (0..10).collect();
        let (mut seen, mut cursor) = (Vec::<u32>::new(), None);
        loop {
            let page = Page { limit: 4, cursor };
            let (rows, next) = page.newest_first(&all).unwrap();
            seen.extend(rows.iter().rev());
            all.push(99);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..10).rev().collect::<Vec<_>>());
        for bad in ["", "-1", "1.5", "999", "x"] {
            let page = Page { limit: 4, cursor: Some(bad.to_owned()) };
            assert!(page.newest_first(&all).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_in_the_journal_fits_the_database() {
        let place = |cursor: &str| Page { limit: 1, cursor: Some(cursor.to_owned()) }.place();
        assert_eq!(place("12.3").unwrap(), (12, 3));
        for bad in ["", "12", "12.", "a.b", "18446744073709551615.0", "1.99999999999"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
