//! What an account's money did and is to do: statements, payments, fees; and its quota.

use base::{AccountId, PaymentId};
use wire::{
    FeesView, NewFees, NewPayment, NewQuota, PaymentDecision, PaymentView, QuotaView, Statement,
};

use crate::{Client, ClientError};

impl Client {
    /// A part of a statement: of the period `[from_ms, to_ms)`, from `cursor` on. Operators say
    /// whose.
    pub async fn statement(
        &self,
        account: Option<AccountId>,
        (from_ms, to_ms): (i64, i64),
        cursor: Option<&str>,
    ) -> Result<Statement, ClientError> {
        let account = account.map(|account| format!("&account={account}")).unwrap_or_default();
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        self.get(&format!("/v1/statement?from_ms={from_ms}&to_ms={to_ms}{account}{cursor}")).await
    }

    /// Asks for money to come in or go out. The same `client_payment_id` twice is one payment.
    pub async fn request_payment(&self, new: &NewPayment) -> Result<PaymentView, ClientError> {
        self.post("/v1/payments", new).await
    }

    /// The account's payments, newest first; for operators everybody's.
    pub async fn payments(&self) -> Result<Vec<PaymentView>, ClientError> {
        self.get("/v1/payments").await
    }

    /// One payment.
    pub async fn payment(&self, payment: PaymentId) -> Result<PaymentView, ClientError> {
        self.get(&format!("/v1/payments/{payment}")).await
    }

    /// Takes a payment back that was not approved yet.
    pub async fn cancel_payment(&self, payment: PaymentId) -> Result<PaymentView, ClientError> {
        self.post(&format!("/v1/payments/{payment}/cancel"), &()).await
    }

    /// Approves, refuses, settles or fails a payment; for operators.
    pub async fn decide_payment(
        &self,
        payment: PaymentId,
        decision: &PaymentDecision,
    ) -> Result<PaymentView, ClientError> {
        self.post(&format!("/v1/payments/{payment}/decision"), decision).await
    }

    /// What the account may hold in blobs.
    pub async fn quota(&self) -> Result<QuotaView, ClientError> {
        self.get("/v1/quota").await
    }

    /// Sets what an account may hold in blobs; for operators.
    pub async fn set_quota(
        &self,
        account: AccountId,
        new: &NewQuota,
    ) -> Result<QuotaView, ClientError> {
        self.post(&format!("/v1/operator/accounts/{account}/quota"), new).await
    }

    /// What leases that open now pay the exchange.
    pub async fn fees(&self) -> Result<FeesView, ClientError> {
        self.get("/v1/fees").await
    }

    /// Sets what leases pay that open from now on; for operators.
    pub async fn set_fees(&self, new: &NewFees) -> Result<FeesView, ClientError> {
        self.post("/v1/fees", new).await
    }
}
