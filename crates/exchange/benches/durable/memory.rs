//! Bytes that live, by the allocator's count. What SQLite takes is not in it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use exchange::InProcess;

use crate::load;

/// The system's allocator, which counts.
pub struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system's own; only sums are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Prints what one more machine, open order and lease take.
pub async fn measure(data: &Path, count: usize) {
    let exchange = InProcess::start(data).expect("an exchange");
    load::open_buyer(&exchange).await;
    let mut before = live(&exchange).await;
    let print = async |what: &str, before: &mut usize| {
        let now = live(&exchange).await;
        println!("  {what:<34} {:>6} bytes", now.saturating_sub(*before) / count);
        *before = now;
    };
    all(&exchange, count, |exchange, n| async move { load::enrol(&exchange, n).await }).await;
    print("machine, with its owner's account", &mut before).await;
    all(&exchange, count, |exchange, n| async move {
        let ask = load::ask(n, format!("ask {n}"), 2, 300_000);
        exchange.command(ask).await.expect("it is accepted");
    })
    .await;
    print("open order", &mut before).await;
    all(&exchange, count, |exchange, n| async move {
        exchange.command(load::job(n, 300_000)).await.expect("it is accepted");
    })
    .await;
    print("lease, with its job of one task", &mut before).await;
    exchange.stop().await;
}

async fn all<F: Future<Output = ()> + Send + 'static>(
    exchange: &InProcess,
    count: usize,
    one: impl Fn(InProcess, usize) -> F,
) {
    for first in (0..count).step_by(crate::IN_FLIGHT) {
        let range = first..(first + crate::IN_FLIGHT).min(count);
        let running: Vec<_> = range.map(|n| tokio::spawn(one(exchange.clone(), n))).collect();
        for one in running {
            one.await.expect("no panic");
        }
    }
}

/// After the sequencer has done all before.
async fn live(exchange: &InProcess) -> usize {
    exchange.journal_sequence().await;
    LIVE.load(Ordering::Relaxed)
}
