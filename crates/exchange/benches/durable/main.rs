//! `cargo bench -p exchange`: what durability costs.
//!
//! - *raw*: SQLite alone, WAL and `synchronous=FULL`, one insert of a journal entry's size per
//!   command, as many in a transaction as the exchange puts into one;
//! - *in process*: commands to the sequencer, each answered after its commit;
//! - *HTTP*: small commands over the REST API.
//!
//! Then latency at half of each rate, and memory per machine, open order and lease. It prints and
//! never fails. `JUSHA_BENCH_COMMANDS` (50,000) says how many commands of each kind; `JUSHA_BENCH_DIR`
//! where the databases are, since what a commit costs is the disk's affair.

mod http;
mod load;
mod memory;

use std::path::Path;
use std::time::{Duration, Instant};

use exchange::InProcess;
use rusqlite::{Connection, params};

use load::Load;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Commands that wait at once: two full rounds, so that one is decided while one is sent.
pub const IN_FLIGHT: usize = 512;
/// Of one transaction, as in the exchange.
const BATCH: usize = 256;

fn main() {
    let commands = std::env::var("JUSHA_BENCH_COMMANDS").ok().and_then(|text| text.parse().ok());
    let commands: usize = commands.unwrap_or(50_000);
    let scratch = match std::env::var_os("JUSHA_BENCH_DIR") {
        Some(directory) => tempfile::tempdir_in(directory),
        None => tempfile::tempdir(),
    };
    let scratch = scratch.expect("a temporary directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("tokio");

    println!("durable commands per second, median of 3, {commands} each");
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut bytes = 0;
    for round in 0..3 {
        let path = |what: &str| {
            let path = scratch.path().join(format!("{what}{round}"));
            std::fs::create_dir_all(&path).expect("a directory");
            path
        };
        let data = path("process");
        let rate = runtime.block_on(in_process(&data, commands));
        rates[1].push(rate);
        bytes = entry_bytes(&data.join("exchange.sqlite"));
        rates[0].push(raw(&path("raw").join("raw.sqlite"), commands, bytes));
        rates[2].push(runtime.block_on(http::rate(&path("http"), commands / 5)));
    }
    let [raw, process, http] = rates.map(median);
    println!("  raw SQLite, one insert of {bytes} bytes, {BATCH} a commit  {raw:>9.0}");
    println!(
        "  in process                                     {process:>9.0}  {:.2} of raw",
        process / raw
    );
    println!(
        "  HTTP                                           {http:>9.0}  {:.2} of raw",
        http / raw
    );

    println!("latency at half of that, from when a command was due");
    let data = scratch.path().join("latency");
    std::fs::create_dir_all(&data).expect("a directory");
    let latencies = runtime.block_on(async {
        let exchange = InProcess::start(&data).expect("an exchange");
        let load = Load::prepare(&exchange).await;
        let latencies = paced(process / 2.0, Duration::from_secs(5), |number| {
            let (exchange, command) = (exchange.clone(), load.command(number));
            async move { exchange.command(command).await.expect("it is accepted") }
        })
        .await;
        exchange.stop().await;
        latencies
    });
    print_percentiles("in process", process / 2.0, latencies);
    let data = scratch.path().join("latency-http");
    let latencies = runtime.block_on(http::latencies(&data, http / 2.0, Duration::from_secs(5)));
    print_percentiles("HTTP", http / 2.0, latencies);

    println!("memory of the exchange's state (the allocator's count)");
    let data = scratch.path().join("memory");
    std::fs::create_dir_all(&data).expect("a directory");
    runtime.block_on(memory::measure(&data, 20_000));
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Inserts like the journal's, and nothing else.
fn raw(path: &Path, commands: usize, bytes: usize) -> f64 {
    let connection = Connection::open(path).expect("a database");
    connection.pragma_update(None, "journal_mode", "WAL").expect("WAL");
    connection.pragma_update(None, "synchronous", "FULL").expect("FULL");
    connection
        .execute_batch("CREATE TABLE journal (sequence INTEGER PRIMARY KEY, entry TEXT NOT NULL)")
        .expect("a table");
    let entry = "x".repeat(bytes);
    let begun = Instant::now();
    for first in (0..commands).step_by(BATCH) {
        connection.execute_batch("BEGIN IMMEDIATE").expect("begin");
        let mut insert =
            connection.prepare_cached("INSERT INTO journal VALUES (?1, ?2)").expect("a statement");
        for sequence in first..(first + BATCH).min(commands) {
            insert.execute(params![sequence as i64, entry]).expect("an insert");
        }
        connection.execute_batch("COMMIT").expect("commit");
    }
    commands as f64 / begun.elapsed().as_secs_f64()
}

/// The mean size of what the exchange wrote per entry.
fn entry_bytes(path: &Path) -> usize {
    let connection = Connection::open(path).expect("the exchange's database");
    let mean = "SELECT CAST(avg(length(command) + length(events)) AS INTEGER) FROM journal";
    connection.query_row(mean, [], |row| row.get::<_, i64>(0)).expect("a figure") as usize
}

async fn in_process(data: &Path, commands: usize) -> f64 {
    let exchange = InProcess::start(data).expect("an exchange");
    let load = std::sync::Arc::new(Load::prepare(&exchange).await);
    let before = exchange.journal_sequence().await;
    let begun = Instant::now();
    let workers: Vec<_> = (0..IN_FLIGHT)
        .map(|worker| {
            let (exchange, load) = (exchange.clone(), load.clone());
            tokio::spawn(async move {
                for number in (worker..commands).step_by(IN_FLIGHT) {
                    exchange.command(load.command(number)).await.expect("it is accepted");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no panic");
    }
    let rate = commands as f64 / begun.elapsed().as_secs_f64();
    let entries = exchange.journal_sequence().await - before;
    assert!(entries >= commands as u64, "{entries} entries of {commands} commands");
    exchange.stop().await;
    rate
}

/// Begins something at an even pace, whatever became of what was begun before, and says how long
/// each took from when it was due.
pub async fn paced<F: Future<Output = ()> + Send + 'static>(
    per_second: f64,
    during: Duration,
    begin: impl Fn(usize) -> F,
) -> Vec<Duration> {
    let begun = tokio::time::Instant::now();
    let count = (per_second * during.as_secs_f64()) as usize;
    let mut running = Vec::with_capacity(count);
    for number in 0..count {
        let due = begun + Duration::from_secs_f64(number as f64 / per_second);
        // The clock's grain is coarser than the pace: what is due meanwhile begins together.
        if due > tokio::time::Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        let work = begin(number);
        running.push(tokio::spawn(async move {
            work.await;
            due.elapsed()
        }));
    }
    let mut took = Vec::with_capacity(count);
    for one in running {
        took.push(one.await.expect("no panic"));
    }
    took
}

fn print_percentiles(name: &str, per_second: f64, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let at = |share: f64| {
        let place = ((latencies.len() as f64 * share) as usize).min(latencies.len() - 1);
        latencies[place].as_secs_f64() * 1e3
    };
    println!(
        "  {name:<11} {per_second:>7.0}/s  p50 {:.2} ms  p90 {:.2}  p99 {:.2}  p99.9 {:.2}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999)
    );
}
