//! Our book and `orderbook-rs` on the same stream, in turns.

#[path = "../../book/ours.rs"]
mod ours;
#[path = "../../book/stream.rs"]
mod stream;

use std::time::{Duration, Instant};

use orderbook_rs::{Id, OrderBook, Side, TimeInForce};
use stream::Command;

const WARM_UP: usize = 200_000;
const MEASURED: usize = 1_000_000;

fn run(book: &OrderBook<()>, commands: &[Command]) -> Duration {
    let begun = Instant::now();
    for command in commands {
        // Refusals are answers, too.
        match command {
            Command::Cancel { order } => drop(book.cancel_order(Id::from_u64(*order))),
            Command::Limit(limit) => {
                let (id, price) = (Id::from_u64(limit.order), limit.price as u128);
                let (side, quantity) = (side(limit.ask), u64::from(limit.quantity));
                let time_in_force = if limit.ioc { TimeInForce::Ioc } else { TimeInForce::Gtc };
                if limit.post_only {
                    drop(book.add_post_only_order(id, price, quantity, side, time_in_force, None));
                } else {
                    drop(book.add_limit_order(id, price, quantity, side, time_in_force, None));
                }
            }
            Command::Market { order, ask, quantity, .. } => {
                let (id, quantity) = (Id::from_u64(*order), u64::from(*quantity));
                drop(book.submit_market_order(id, quantity, side(*ask)));
            }
        }
    }
    begun.elapsed()
}

fn side(ask: bool) -> Side {
    if ask { Side::Sell } else { Side::Buy }
}

fn main() {
    let commands = stream::commands(WARM_UP + MEASURED, false);
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let mut book = ours::Ours::new();
        book.run(&commands[..WARM_UP]);
        ours.push(MEASURED as f64 / book.run(&commands[WARM_UP..]).as_secs_f64());
        let book = OrderBook::<()>::new("cpu.2g.any");
        run(&book, &commands[..WARM_UP]);
        peers.push(MEASURED as f64 / run(&book, &commands[WARM_UP..]).as_secs_f64());
    }
    ours.sort_by(f64::total_cmp);
    peers.sort_by(f64::total_cmp);
    println!(
        "beside orderbook-rs on the same stream: {:.2} M commands/s and {:.2} M, ratio {:.1} \
         (medians of 3, in turns)",
        ours[1] / 1e6,
        peers[1] / 1e6,
        ours[1] / peers[1]
    );
}
