//! Real money: the door behind which payment providers are.
//!
//! Clearing knows payments as numbers with a phase ([`clearing::payments`]). Once the operator
//! approved one, somebody has to move money in the world and say how that went. That is a
//! [`PaymentProvider`]. The one built in is [`ManualPayments`]: the operator moves the money and
//! settles the payment through the API (`POST /v1/payments/{id}/decision`).
//!
//! To write another one, for a bank or a card processor:
//!
//! 1. Implement [`PaymentProvider`] and put it into [`crate::Config::payments`].
//! 2. [`PaymentProvider::advance`] is asked about every approved payment, at once after its
//!    approval, after a start, and then every [`crate::Config::payment_poll_ms`], one after the
//!    other, on a thread where it may block. It must move money *once per payment id*, however
//!    often it is asked: the exchange may die between its answer and the journal. So give the id
//!    to the provider as its idempotency key, or look it up there first.
//! 3. Whom to pay by what means is personal data: the provider keeps it by account id. The
//!    exchange has no place for it, since its journal must be publishable.
//!
//! Deliberately absent: webhooks. What a provider hears it may keep until it is asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base::{AccountId, PaymentId};
use clearing::Command;
use clearing::payments::{Payment, PaymentCommand, PaymentDirection, PaymentPhase};
use tokio::sync::{Notify, watch};

use crate::sequencer::Sequencer;

/// A payment as a provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentOrder {
    /// The idempotency key for the outside.
    pub payment: PaymentId,
    /// Whose.
    pub account: AccountId,
    /// Whether money comes in.
    pub is_deposit: bool,
    /// How much.
    pub amount_nanocredits: i64,
}

/// How far a payment is, by a provider's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentProgress {
    /// Not yet known: ask again later.
    Pending,
    /// The money moved.
    Settled {
        /// The provider's name for it.
        reference: String,
    },
    /// It will not move.
    Failed {
        /// Why, for the account.
        reason: String,
    },
}

/// The provider can't be asked now. The payment stays approved and is asked about again.
#[derive(Debug, thiserror::Error)]
#[error("the payment provider can't be asked now: {message}")]
pub struct PaymentProviderError {
    /// For the operator's log.
    pub message: String,
}

/// Somebody who moves real money. See the module for what an implementation has to keep.
pub trait PaymentProvider: fmt::Debug + Send + Sync {
    /// What the account has to do or to expect while a payment is requested or approved.
    fn instructions(&self, order: &PaymentOrder) -> Option<String>;
    /// Moves the money of an approved payment, if that was not begun, and says how far it is.
    fn advance(&self, order: &PaymentOrder) -> Result<PaymentProgress, PaymentProviderError>;
}

/// The operator moves the money and says so through the API.
#[derive(Debug, Clone, Copy, Default)]
pub struct ManualPayments;

impl PaymentProvider for ManualPayments {
    fn instructions(&self, order: &PaymentOrder) -> Option<String> {
        Some(match order.is_deposit {
            true => format!("send the money to the operator and name {}", order.payment),
            false => "the operator pays it out by hand".to_owned(),
        })
    }

    fn advance(&self, _: &PaymentOrder) -> Result<PaymentProgress, PaymentProviderError> {
        Ok(PaymentProgress::Pending)
    }
}

/// A payment for a provider.
pub(crate) fn order(payment: &Payment) -> PaymentOrder {
    PaymentOrder {
        payment: payment.payment,
        account: payment.account,
        is_deposit: payment.direction == PaymentDirection::Deposit,
        amount_nanocredits: payment.amount_nanocredits,
    }
}

/// Asks the provider about approved payments until the exchange closes.
pub(crate) async fn drive(
    provider: Arc<dyn PaymentProvider>,
    sequencer: Sequencer,
    approved: Arc<Notify>,
    mut closing: watch::Receiver<bool>,
    poll: Duration,
) {
    loop {
        let orders = sequencer.read(|core| {
            let is_approved = |payment: &&Payment| payment.phase == PaymentPhase::Approved;
            core.state.payments().filter(is_approved).map(order).collect::<Vec<_>>()
        });
        for order in orders.await.unwrap_or_default() {
            advance(&provider, &sequencer, order).await;
        }
        tokio::select! {
            () = approved.notified() => {}
            () = tokio::time::sleep(poll) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
    }
}

async fn advance(provider: &Arc<dyn PaymentProvider>, sequencer: &Sequencer, order: PaymentOrder) {
    let payment = order.payment;
    let asked = Arc::clone(provider);
    let to = match tokio::task::spawn_blocking(move || asked.advance(&order)).await {
        Ok(Ok(PaymentProgress::Pending)) => return,
        Ok(Ok(PaymentProgress::Settled { reference })) => PaymentPhase::Settled { reference },
        Ok(Ok(PaymentProgress::Failed { reason })) => PaymentPhase::Failed { reason },
        Ok(Err(error)) => return tracing::warn!(%payment, %error, "asked again later"),
        Err(error) => return tracing::error!(%payment, %error, "the payment provider panicked"),
    };
    // What can't be stored now is asked about again; the provider answers the same.
    let command = Command::Payment(PaymentCommand::Move { payment, to });
    if let Err(failure) = sequencer.command(command).await {
        tracing::warn!(%payment, %failure, "a payment's news could not be stored");
    }
}
