//! Units by the hour: offers and leases.

use base::{LeaseId, MachineId};
use reqwest::Method;
use wire::{FixedLeaseView, FixedOfferView, NewFixedLease, NewFixedOffer};

use crate::{Client, ClientError};

impl Client {
    /// Offers of an instrument with a free unit, best first.
    pub async fn fixed_offers(&self, instrument: &str) -> Result<Vec<FixedOfferView>, ClientError> {
        let request = self.request(Method::GET, "/v1/fixed-offers");
        self.json(request.query(&[("instrument", instrument)])).await
    }

    /// Lets units of one's own machine by the hour.
    pub async fn offer_fixed(
        &self,
        machine: MachineId,
        new: &NewFixedOffer,
    ) -> Result<FixedOfferView, ClientError> {
        self.post(&format!("/v1/machines/{machine}/fixed-offer"), new).await
    }

    /// Leases the cheapest unit. The same `client_lease_id` twice is one lease.
    pub async fn open_fixed_lease(
        &self,
        new: &NewFixedLease,
    ) -> Result<FixedLeaseView, ClientError> {
        self.post("/v1/fixed-leases", new).await
    }

    /// The account's leases by the hour, bought and sold, newest first; for operators everybody's.
    pub async fn fixed_leases(&self) -> Result<Vec<FixedLeaseView>, ClientError> {
        self.get("/v1/fixed-leases").await
    }

    /// One lease by the hour.
    pub async fn fixed_lease(&self, lease: LeaseId) -> Result<FixedLeaseView, ClientError> {
        self.get(&format!("/v1/fixed-leases/{lease}")).await
    }

    /// Gives notice.
    pub async fn close_fixed_lease(&self, lease: LeaseId) -> Result<FixedLeaseView, ClientError> {
        self.json(self.request(Method::DELETE, &format!("/v1/fixed-leases/{lease}"))).await
    }
}
