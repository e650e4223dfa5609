//! `jusha order`: the account's orders. (A job's bid is withdrawn by cancelling the job.)

use base::OrderId;
use clap::{Args, Subcommand};
use wire::OrderView;

use crate::config::Access;
use crate::error::CliResult;
use crate::{amount, terminal};

/// Orders: list, show, cancel
#[derive(Debug, Args)]
pub struct Order {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
struct Which {
    /// The order's id
    order: OrderId,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the account's orders
    List {
        /// JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Show an order
    Show(Which),
    /// Withdraw an ask
    Cancel(Which),
}

/// Runs it.
pub async fn main(options: &Order) -> CliResult {
    let client = options.access.client()?;
    let one = |order: &OrderView, json: bool| match json {
        true => terminal::json(order),
        false => terminal::out(terminal::table(&HEAD, &[row(order)]).as_bytes()),
    };
    match &options.verb {
        Verb::List { json } => {
            let orders = client.orders().await?;
            terminal::list(*json, &orders, "no orders", &HEAD, row)?;
        }
        Verb::Show(which) => one(&client.order(which.order).await?, which.json)?,
        Verb::Cancel(which) => one(&client.cancel_order(which.order).await?, which.json)?,
    }
    Ok(0)
}

/// Columns of an order.
pub const HEAD: [&str; 7] =
    ["order", "side", "price/Tfuel", "slots left", "filled", "status", "instrument"];

/// An order's row.
pub fn row(order: &OrderView) -> Vec<String> {
    vec![
        order.order.to_string(),
        order.side.clone(),
        amount::credits(order.price_nanocredits_per_tfuel),
        order.leaves_quantity.to_string(),
        order.cumulative_quantity.to_string(),
        order.status.clone(),
        order.instrument.clone(),
    ]
}
