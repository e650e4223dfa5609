//! `jusha lease`: units by the hour, prepaid, under their sellers' bonds.

use std::time::Duration;

use base::{LeaseId, MachineId};
use clap::{Args, Subcommand};
use client::Patience;
use wire::{
    FixedLeaseEnd, FixedLeaseState, FixedLeaseView, FixedOfferView, NewFixedLease, NewFixedOffer,
};

use crate::config::Access;
use crate::error::CliResult;
use crate::{amount, terminal};

/// What is let by the hour today.
const INSTRUMENT: &str = "test.fixed";

/// Units by the hour: offers, open, list, show, close; offer for sellers
#[derive(Debug, Args)]
#[command(after_help = "\
A lease is prepaid by the hour and goes on from hour to hour while the account has the money. The
exchange probes the unit; while it doesn't answer nothing is paid, and the seller's bond pays a multiple
of the price. Metered leases belong to jobs: `jusha jobs invoice` shows those.")]
pub struct Lease {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
struct Which {
    /// The lease's id
    lease: LeaseId,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what can be leased, best price first
    Offers {
        /// The instrument
        #[arg(default_value = INSTRUMENT)]
        instrument: String,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Lease the cheapest unit
    Open {
        /// The instrument
        #[arg(default_value = INSTRUMENT)]
        instrument: String,
        /// The most to pay for an hour: credits such as 0.01, or nanocredits such as 10000000n
        #[arg(long, value_name = "PRICE", value_parser = amount::parse_price,
              allow_hyphen_values = true)]
        max_price: i64,
        /// A name of your own: asked again under it, it is the same lease [default: a new one]
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// List the account's leases by the hour, bought and sold
    List {
        /// Only open ones
        #[arg(long)]
        open: bool,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Show a lease
    Show(Which),
    /// Give notice: the lease ends after the notice period of whoever gives it
    #[command(visible_alias = "cancel")]
    Close(Which),
    /// Let units of one's own machine; an agent with --fixed-units says so for itself
    Offer {
        /// The machine
        machine: MachineId,
        /// Units at once; 0 takes the offer back
        units: u32,
        /// What an hour costs: credits such as 0.01, or nanocredits such as 10000000n
        #[arg(long, value_name = "PRICE", value_parser = amount::parse_price,
              allow_hyphen_values = true)]
        price: i64,
        /// The instrument
        #[arg(long, default_value = INSTRUMENT)]
        instrument: String,
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
}

/// Runs it.
pub async fn main(options: &Lease) -> CliResult {
    let client = options.access.client()?;
    // Each of these may be said again: it is done once.
    let patience = Patience::For(Duration::from_secs(30));
    match &options.verb {
        Verb::Offers { instrument, json } => {
            let offers = client.fixed_offers(instrument).await?;
            terminal::list(*json, &offers, "nobody lets one now", &OFFER_HEAD, offer_row)?;
        }
        Verb::Open { instrument, max_price, id, json } => {
            let own = id.clone().unwrap_or_else(|| format!("{:032x}", client::random_id()));
            let new = NewFixedLease {
                client_lease_id: own,
                instrument: instrument.clone(),
                limit_nanocredits_per_hour: *max_price,
            };
            let lease = patience.ask(|_| (), || client.open_fixed_lease(&new)).await?;
            shown(&lease, *json)?;
        }
        Verb::List { open, json } => {
            let mut leases = client.fixed_leases().await?;
            leases.retain(|lease| !open || lease.state != FixedLeaseState::Closed);
            terminal::list(*json, &leases, "no leases by the hour", &HEAD, row)?;
        }
        Verb::Show(which) => shown(&client.fixed_lease(which.lease).await?, which.json)?,
        Verb::Close(which) => {
            let close = || client.close_fixed_lease(which.lease);
            shown(&patience.ask(|_| (), close).await?, which.json)?;
        }
        Verb::Offer { machine, units, price, instrument, json } => {
            let new = NewFixedOffer {
                instrument: instrument.clone(),
                units: *units,
                price_nanocredits_per_hour: *price,
            };
            let offer = patience.ask(|_| (), || client.offer_fixed(*machine, &new)).await?;
            match json {
                true => terminal::json(&offer)?,
                false => {
                    terminal::out(terminal::table(&OFFER_HEAD, &[offer_row(&offer)]).as_bytes())?
                }
            }
        }
    }
    Ok(0)
}

fn shown(lease: &FixedLeaseView, json: bool) -> CliResult<()> {
    match json {
        true => terminal::json(lease),
        false => terminal::out(terminal::table(&HEAD, &[row(lease)]).as_bytes()),
    }
}

const OFFER_HEAD: [&str; 6] = ["machine", "instrument", "units", "let", "credits/hour", "bond"];

fn offer_row(offer: &FixedOfferView) -> Vec<String> {
    vec![
        offer.machine.to_string(),
        offer.instrument.clone(),
        offer.units.to_string(),
        offer.units_let.to_string(),
        amount::credits(offer.price_nanocredits_per_hour),
        amount::credits(offer.bond_nanocredits),
    ]
}

const HEAD: [&str; 9] = [
    "lease",
    "machine",
    "credits/hour",
    "state",
    "until",
    "answered",
    "down",
    "paid",
    "compensated",
];

fn row(lease: &FixedLeaseView) -> Vec<String> {
    let end = lease.end.map(|end| match end {
        FixedLeaseEnd::Buyer => "closed by the buyer",
        FixedLeaseEnd::Seller => "closed by the seller",
        FixedLeaseEnd::WithoutNotice => "left without notice",
        FixedLeaseEnd::Unpaid => "not prepaid",
        FixedLeaseEnd::Outage => "down for too long",
    });
    let state = match lease.state {
        FixedLeaseState::Open => "open",
        FixedLeaseState::Down => "down",
        FixedLeaseState::Closed => end.unwrap_or("closed"),
    };
    let until = lease.closed_at_ms.or(lease.ends_at_ms).unwrap_or(lease.prepaid_until_ms);
    vec![
        lease.lease.to_string(),
        lease.machine.to_string(),
        amount::credits(lease.price_nanocredits_per_hour),
        state.to_owned(),
        terminal::time(until),
        format!("{}/{}", lease.probes_answered, lease.probes),
        amount::seconds(lease.outage_ms),
        amount::credits(lease.paid_nanocredits),
        amount::credits(lease.compensated_nanocredits),
    ]
}
