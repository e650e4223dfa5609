//! What the market pays, asked now and then: for the automatic price and for its owner to see.

use std::time::Duration;

use reqwest::Client;
use tls::Trust;
use tokio::sync::watch;
use wire::{InstrumentView, TickerView};

/// Between two questions. An index moves by fills, and a price that follows it needn't hurry.
const INTERVAL: Duration = Duration::from_secs(60);
/// For an answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// An instrument's market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quote {
    pub index_nanocredits_per_tfuel: Option<i64>,
    pub tick_nanocredits_per_tfuel: i64,
    pub price_min_nanocredits_per_tfuel: i64,
}

/// Asks until nobody wants the answers any more.
pub(crate) fn follow(url: &str, trust: &Trust, instrument: &str) -> watch::Receiver<Option<Quote>> {
    let (sender, quotes) = watch::channel(None);
    let http = crate::enrol::http(Client::builder(), trust).timeout(ANSWER_MAX).build();
    let (url, instrument) = (url.to_owned(), instrument.to_owned());
    tokio::spawn(async move {
        let http = http.unwrap_or_default();
        while !sender.is_closed() {
            match quote(&http, &url, &instrument).await {
                Ok(Some(quote)) => {
                    sender.send_replace(Some(quote));
                }
                Ok(None) => tracing::debug!("{url} has no instrument {instrument}"),
                // What was known last holds on.
                Err(error) => tracing::debug!("no prices: {error}"),
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = sender.closed() => return,
            }
        }
    });
    quotes
}

async fn quote(http: &Client, url: &str, instrument: &str) -> reqwest::Result<Option<Quote>> {
    let ask = async |path: &str| {
        http.get(format!("{url}/v1/instruments{path}")).send().await?.error_for_status()
    };
    let all: Vec<InstrumentView> = ask("").await?.json().await?;
    let Some(found) = all.iter().find(|view| view.instrument == instrument) else {
        return Ok(None);
    };
    let ticker: TickerView = ask(&format!("/{instrument}/ticker")).await?.json().await?;
    Ok(Some(Quote {
        index_nanocredits_per_tfuel: ticker.index_price_nanocredits_per_tfuel,
        tick_nanocredits_per_tfuel: found.tick_nanocredits_per_tfuel,
        price_min_nanocredits_per_tfuel: found.price_min_nanocredits_per_tfuel,
    }))
}
