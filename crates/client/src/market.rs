//! Orders and the market, a method per route.

use base::OrderId;
use reqwest::Method;
use wire::{
    BookView, CancelAfter, CancelAfterSet, CandleView, InstrumentList, InstrumentView,
    NewInstrument, NewOrder, OrderView, ReferencePrices, TickerView, TradeView,
};

use crate::{Client, ClientError};

impl Client {
    /// The account's orders.
    pub async fn orders(&self) -> Result<Vec<OrderView>, ClientError> {
        self.get("/v1/orders").await
    }

    /// One order.
    pub async fn order(&self, order: OrderId) -> Result<OrderView, ClientError> {
        self.get(&format!("/v1/orders/{order}")).await
    }

    /// Withdraws an order.
    pub async fn cancel_order(&self, order: OrderId) -> Result<OrderView, ClientError> {
        self.json(self.request(Method::DELETE, &format!("/v1/orders/{order}"))).await
    }

    /// What is traded.
    pub async fn instruments(&self) -> Result<Vec<InstrumentView>, ClientError> {
        self.get("/v1/instruments").await
    }

    /// An instrument's book.
    pub async fn book(&self, instrument: &str) -> Result<BookView, ClientError> {
        self.get(&format!("/v1/instruments/{instrument}/book")).await
    }

    /// An instrument's last fills.
    pub async fn trades(&self, instrument: &str) -> Result<Vec<TradeView>, ClientError> {
        self.get(&format!("/v1/instruments/{instrument}/trades")).await
    }

    /// Offers slots of one's own machine. The same order twice is one order.
    pub async fn place_order(&self, new: &NewOrder) -> Result<OrderView, ClientError> {
        self.post("/v1/orders", new).await
    }

    /// Withdraws every ask, or those of one instrument; what is still open.
    pub async fn cancel_orders(
        &self,
        instrument: Option<&str>,
    ) -> Result<Vec<OrderView>, ClientError> {
        let only = instrument.map(|name| format!("?instrument={name}")).unwrap_or_default();
        self.json(self.request(Method::DELETE, &format!("/v1/orders{only}"))).await
    }

    /// Sets the dead man's switch, or takes it away with 0.
    pub async fn cancel_after(&self, after_ms: i64) -> Result<CancelAfterSet, ClientError> {
        self.post("/v1/orders/cancel-after", &CancelAfter { after_ms }).await
    }

    /// An instrument at a glance.
    pub async fn ticker(&self, instrument: &str) -> Result<TickerView, ClientError> {
        self.get(&format!("/v1/instruments/{instrument}/ticker")).await
    }

    /// Prices over time, newest first.
    pub async fn candles(
        &self,
        instrument: &str,
        interval: &str,
        limit: u32,
    ) -> Result<Vec<CandleView>, ClientError> {
        let query = format!("interval={interval}&limit={limit}");
        self.get(&format!("/v1/instruments/{instrument}/candles?{query}")).await
    }

    /// What computing costs elsewhere.
    pub async fn reference_prices(&self) -> Result<ReferencePrices, ClientError> {
        self.get("/v1/reference-prices").await
    }

    /// What is traded, as it was defined; for operators.
    pub async fn instrument_definitions(&self) -> Result<Vec<NewInstrument>, ClientError> {
        self.get("/v1/operator/instruments").await
    }

    /// Says what is traded; for operators.
    pub async fn set_instruments(
        &self,
        list: &InstrumentList,
    ) -> Result<Vec<InstrumentView>, ClientError> {
        self.json(self.request(Method::PUT, "/v1/operator/instruments").json(list)).await
    }
}
