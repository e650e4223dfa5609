//! `cargo bench -p market`: commands per second of the book on one core, with and without
//! filters, memory per open order, and the same stream through `orderbook-rs` beside it.
//!
//! The peer is a package of its own (`../peer`), so that nothing but this bench ever builds it.
//! It gets the same commands and runs both books in turns, in one process. It has no filters,
//! capacity or limits per owner, and answers each order with a value that it allocates; ours is
//! asked whether an order may enter and told what came of it, as clearing does.

mod ours;
mod stream;

use std::process::Command;

const WARM_UP: usize = 200_000;
const MEASURED: usize = 1_000_000;

fn main() {
    for (name, filters) in [("without filters", false), ("a fifth of bids with filters", true)] {
        let commands = stream::commands(WARM_UP + MEASURED, filters);
        let mut rates: Vec<f64> = (0..5)
            .map(|_| {
                let mut ours = ours::Ours::new();
                ours.run(&commands[..WARM_UP]);
                let taken = ours.run(&commands[WARM_UP..]);
                MEASURED as f64 / taken.as_secs_f64()
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        println!("{name}: {:.2} M commands/s (median of 5)", rates[2] / 1e6);
        let mut ours = ours::Ours::new();
        ours.run(&commands);
        let (open, bytes) = (ours.market.open_orders(), ours.market.heap_bytes());
        println!("  {} fills, {open} open orders, {} bytes each", ours.fills, bytes / open.max(1));
    }
    let peer = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peer/Cargo.toml");
    let cargo = Command::new(env!("CARGO"))
        .args(["run", "--release", "--quiet", "--locked", "--manifest-path", peer])
        .status();
    match cargo {
        Ok(status) if status.success() => {}
        other => println!("the peer could not be built or run: {other:?}"),
    }
}
