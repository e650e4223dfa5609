//! Prices over time, and an instrument at a glance.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use wire::{CandleView, PriceLevel, ReferencePrices, TickerView};

use super::{Answer, Id, QueryOf, Shared};
use crate::core::Core;
use crate::error::ApiError;
use crate::reference_prices;
use crate::sequencer::unix_ms;
use crate::store::INTERVALS;
use crate::views;

/// Most candles in one answer.
const CANDLES_MAX: u32 = 1_000;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// What the ticker's day and hour are put together from.
const FINE_MS: i64 = 300_000;

/// Which candles.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Stretch {
    /// `1m`, `5m`, `15m`, `1h`, `6h` or `1d` (default `1h`).
    interval: Option<String>,
    /// The first that begins at this time or later, in milliseconds UTC.
    from_ms: Option<i64>,
    /// Only those that begin before this time.
    to_ms: Option<i64>,
    /// At most so many, the newest (default 300, at most 1,000).
    limit: Option<u32>,
}

/// Prices over time
#[utoipa::path(
    get, path = "/v1/instruments/{id}/candles", operation_id = "list_candles", tag = "market",
    params(("id" = String, Path, description = "The instrument, such as `cpu.2g.any`"), Stretch),
    security(()),
    responses((status = OK, body = [CandleView], description = "Newest first")),
)]
pub(super) async fn candles(
    State(app): Shared,
    Id(name): Id<String>,
    QueryOf(stretch): QueryOf<Stretch>,
) -> Answer<Vec<CandleView>> {
    let wanted = stretch.interval.as_deref().unwrap_or("1h");
    let Some((_, interval_ms)) = INTERVALS.into_iter().find(|(name, _)| *name == wanted) else {
        let known = INTERVALS.map(|(name, _)| name).join(", ");
        return Err(ApiError::InvalidQuery(format!("interval: give one of {known}")));
    };
    let name = super::market::known(&app, name).await?;
    let (from_ms, to_ms) = (stretch.from_ms.unwrap_or(0), stretch.to_ms.unwrap_or(i64::MAX));
    let limit = stretch.limit.unwrap_or(300).min(CANDLES_MAX);
    let read = app.reading(move |reader| reader.candles(&name, interval_ms, from_ms, to_ms, limit));
    Ok(Json(read.await?))
}

/// An instrument at a glance
#[utoipa::path(
    get, path = "/v1/instruments/{id}/ticker", operation_id = "show_ticker", tag = "market",
    params(("id" = String, Path, description = "The instrument, such as `cpu.2g.any`")),
    security(()),
    responses((status = OK, body = TickerView, description = "Now")),
)]
pub(super) async fn ticker(State(app): Shared, Id(name): Id<String>) -> Answer<TickerView> {
    let name = super::market::known(&app, name).await?;
    let (asked, now_ms) = (name.clone(), unix_ms());
    let most = (DAY_MS / FINE_MS + 1) as u32;
    let read =
        app.reading(move |reader| reader.candles(&asked, FINE_MS, now_ms - DAY_MS, i64::MAX, most));
    let fine = read.await?;
    let asked = name.clone();
    let found = app
        .sequencer
        .read(move |core: &mut Core| {
            let snapshot = core.book_snapshot(&asked)?;
            let first = |levels: &[PriceLevel]| levels.first().cloned();
            let (bid, ask) = (first(&snapshot.bids), first(&snapshot.asks));
            let (_, traded) = core.state.market().instrument(&asked)?;
            let metered = traded.priced_per == market::PricedPer::Tfuel;
            Some((bid, ask, snapshot.last_price_nanocredits_per_tfuel, metered))
        })
        .await?;
    let (best_bid, best_ask, last, metered) =
        found.ok_or(ApiError::NotFound { what: "instrument", id: name.clone() })?;
    let day = views::merged(&fine);
    let hour: Vec<_> =
        fine.into_iter().filter(|candle| candle.start_ms > now_ms - HOUR_MS).collect();
    let average = views::merged(&hour)
        .filter(|hour| hour.quantity > 0)
        .map(|hour| hour.turnover_nanocredits_per_tfuel / hour.quantity);
    let price = |level: &PriceLevel| level.price_nanocredits_per_tfuel;
    let middle = best_bid.as_ref().zip(best_ask.as_ref());
    let middle = middle.map(|(bid, ask)| (price(bid) + price(ask)) / 2);
    let index = median([last, middle, average]);
    // What a buyer would pay now; else what was paid.
    let price_now = best_ask.as_ref().map(price).or(index).filter(|_| metered);
    Ok(Json(TickerView {
        instrument: name,
        best_bid,
        best_ask,
        last_price_nanocredits_per_tfuel: last,
        index_price_nanocredits_per_tfuel: index,
        compared: price_now.map(reference_prices::compared).unwrap_or_default(),
        day,
    }))
}

/// What computing costs elsewhere
///
/// List prices with date and source, and the factors through which the tickers compare prices of
/// fuel with them: estimates.
#[utoipa::path(
    get, path = "/v1/reference-prices", operation_id = "list_reference_prices", tag = "market",
    security(()),
    responses((status = OK, body = ReferencePrices, description = "The table")),
)]
pub(super) async fn reference_prices() -> Json<ReferencePrices> {
    Json(reference_prices::table().clone())
}

/// The middle one of those that there are; of two, halfway.
fn median(prices: [Option<i64>; 3]) -> Option<i64> {
    let mut known: Vec<_> = prices.into_iter().flatten().collect();
    known.sort_unstable();
    match known[..] {
        [] => None,
        [one] => Some(one),
        [low, high] => Some(low + (high - low) / 2),
        _ => Some(known[1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_price_does_not_move_the_index() {
        for (prices, expected) in [
            ([None, None, None], None),
            ([Some(7), None, None], Some(7)),
            ([Some(10), None, Some(20)], Some(15)),
            ([Some(10), Some(1_000), Some(12)], Some(12)),
        ] {
            assert_eq!(median(prices), expected);
        }
    }
}
