//! What is over may be in memory or written down: lists show both as one, and so does who asks for
//! one thing.
//!
//! Memory is looked at first. What it forgets meanwhile is written down before, so nothing is
//! missed; what is found in both places is one row.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Listed, Page, Rows};
use crate::app::App;
use crate::core::Core;
use crate::error::ApiError;
use crate::index::{Key, Listing, Owner};
use crate::past;
use crate::store::{Past, StoreError};

/// A list whose things have such ids.
pub(super) struct Kind<I> {
    pub past: Past,
    pub listing: fn(&Core) -> &Listing<I>,
}

/// A part of an owner's list, newest first: `view` shows what is in memory, `read` what was written
/// down.
pub(super) async fn list<I, T>(
    app: &Arc<App>,
    page: Page,
    owner: Owner,
    kind: Kind<I>,
    view: impl Fn(&Core, I) -> Option<T> + Send + 'static,
    read: impl Fn(&str) -> Result<T, StoreError> + Send + 'static,
) -> Listed<T>
where
    I: Copy + Ord + std::fmt::Display + std::str::FromStr + Send + Sync + 'static,
    T: Send + 'static,
{
    let (before, limit) = (page.before::<I>()?, page.limit() as usize);
    let listing = kind.listing;
    let here = app
        .sequencer
        .read(move |core| {
            let newest = listing(core).newest(owner, before, limit + 1);
            let rows = newest.into_iter().filter_map(|key| Some((key, view(core, key.1)?)));
            rows.collect::<Vec<(Key<I>, T)>>()
        })
        .await?;
    let before = before.map(|(at, id)| (at, id.to_string()));
    let past = kind.past;
    let gone = app
        .reading(move |reader| {
            let rows = reader.past_list(past, owner, before, limit + 1)?.into_iter();
            rows.map(|(at, id, view)| {
                let damaged = || StoreError::Damaged { what: past.name(), value: id.clone() };
                let key = id.parse().map_err(|_| damaged())?;
                Ok(((at, key), read(&view)?))
            })
            .collect::<Result<Vec<(Key<I>, T)>, StoreError>>()
        })
        .await?;
    let mut rows: BTreeMap<Key<I>, T> = gone.into_iter().collect();
    rows.extend(here);
    let newest: Vec<(Key<I>, T)> = rows.into_iter().rev().take(limit + 1).collect();
    Ok(Rows::up_to(page.limit(), newest, |(at, id)| format!("{at}.{id}")))
}

/// One thing that memory has forgotten.
pub(super) async fn one<T: DeserializeOwned + Send + 'static>(
    app: &Arc<App>,
    past: Past,
    id: impl ToString,
) -> Result<Option<T>, ApiError> {
    let id = id.to_string();
    app.reading(move |reader| {
        reader.past(past, &id)?.map(|view| past::read(past, &view)).transpose()
    })
    .await
}
