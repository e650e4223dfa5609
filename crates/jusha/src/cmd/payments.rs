//! Money in and out, as accounts ask for it (`jusha wallet`) and operators decide
//! (`jusha admin`).

use base::PaymentId;
use clap::{Args, Subcommand};
use client::Client;
use wire::{FeesView, NewFees, NewPayment, PaymentDecision, PaymentDirection, PaymentView};

use crate::error::CliResult;
use crate::terminal::clean;
use crate::{amount, terminal};

/// How much, under which name.
#[derive(Debug, Args)]
pub struct Ask {
    /// How many credits
    #[arg(value_parser = amount::parse_credits, allow_hyphen_values = true)]
    credits: i64,
    /// A name of your own: asked again under it, it is the same payment [default: a new one]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

/// What an operator does about a payment.
#[derive(Debug, Clone, Subcommand)]
pub enum Decide {
    /// Agree to a payment: now the money is to be moved
    #[command(name = "approve-payment")]
    Approve {
        /// The payment
        payment: PaymentId,
    },
    /// Don't agree to a payment; a withdrawal's money goes back
    #[command(name = "refuse-payment")]
    Refuse {
        /// The payment
        payment: PaymentId,
        /// Why, for the account
        #[arg(long)]
        reason: String,
    },
    /// Say that an approved payment's money moved
    #[command(name = "settle-payment")]
    Settle {
        /// The payment
        payment: PaymentId,
        /// The movement's name outside, such as a bank's
        #[arg(long)]
        reference: String,
    },
    /// Say that an approved payment's money can't be moved; a withdrawal's goes back
    #[command(name = "fail-payment")]
    Fail {
        /// The payment
        payment: PaymentId,
        /// Why, for the account
        #[arg(long)]
        reason: String,
    },
}

/// Asks for money to come in or go out.
pub async fn ask(client: &Client, direction: PaymentDirection, ask: &Ask) -> CliResult<()> {
    let own = ask.id.clone().unwrap_or_else(|| format!("{:032x}", client::random_id()));
    let new = NewPayment { client_payment_id: own, direction, amount_nanocredits: ask.credits };
    let patience = client::Patience::For(std::time::Duration::from_secs(30));
    let payment = patience.ask(|_| (), || client.request_payment(&new)).await?;
    show(&payment, ask.json)
}

/// Decides about a payment.
pub async fn decide(client: &Client, decide: &Decide, json: bool) -> CliResult<()> {
    let (payment, decision) = match decide.clone() {
        Decide::Approve { payment } => (payment, PaymentDecision::Approve),
        Decide::Refuse { payment, reason } => (payment, PaymentDecision::Refuse { reason }),
        Decide::Settle { payment, reference } => (payment, PaymentDecision::Settle { reference }),
        Decide::Fail { payment, reason } => (payment, PaymentDecision::Fail { reason }),
    };
    show(&client.decide_payment(payment, &decision).await?, json)
}

/// One payment.
pub fn show(payment: &PaymentView, json: bool) -> CliResult<()> {
    if json {
        return terminal::json(payment);
    }
    let mut text = format!(
        "{}  {} of {} credits, {}",
        payment.payment,
        direction(payment.direction),
        amount::credits(payment.amount_nanocredits),
        payment.status.name(),
    );
    for more in payment.note.iter().chain(&payment.instructions) {
        text.push_str(&format!("\n{}", clean(more)));
    }
    terminal::line(&text)
}

/// Payments, newest first.
pub fn list(payments: &[PaymentView], json: bool) -> CliResult<()> {
    let head = ["payment", "asked", "account", "direction", "credits", "status", "note"];
    terminal::list(json, payments, "no payments", &head, |payment| {
        vec![
            payment.payment.to_string(),
            terminal::time(payment.requested_at_ms),
            payment.account.to_string(),
            direction(payment.direction).to_owned(),
            amount::credits(payment.amount_nanocredits),
            payment.status.name().to_owned(),
            payment.note.clone().unwrap_or_default(),
        ]
    })
}

/// The fees, after they were set if any are given.
pub async fn fees(client: &Client, new: Option<NewFees>, json: bool) -> CliResult<()> {
    let fees = match &new {
        Some(new) => client.set_fees(new).await?,
        None => client.fees().await?,
    };
    if json {
        return terminal::json(&fees);
    }
    let FeesView { version, maker_basis_points, taker_basis_points } = fees;
    terminal::line(&format!(
        "maker  {maker_basis_points} basis points\ntaker  {taker_basis_points} basis points\n\
         schedule {version}, for leases that open from now on"
    ))
}

fn direction(direction: PaymentDirection) -> &'static str {
    match direction {
        PaymentDirection::Deposit => "deposit",
        PaymentDirection::Withdrawal => "withdrawal",
    }
}
