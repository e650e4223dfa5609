//! How long nothing takes: from submission to result of a program that does nothing, on an idle
//! exchange and an idle machine on this computer, its module compiled before. `cargo bench -p
//! jusha --bench noop` prints the median and where it goes; it never fails.
//!
//! Every task is a new one (a seed of its own), so its description is uploaded, fetched and kept
//! as any task's is. The parts come from the debug logs of the exchange and the machine, in a
//! second series, beside the whole without such logs. The peers are measured in the same run: the
//! same program for `jusha exec`, which is a process and the runtime alone; `/bin/true`; and a
//! durable write to the same disk, of which a task takes several.

#[path = "../tests/stage/mod.rs"]
mod stage;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base::{Digest, JobId, TransferId};
use client::Client;
use wire::{JobState, NewDeposit, NewJob, TaskResult};

use crate::stage::{Process, Scene, Work, guest, until};

/// Jobs per series.
const RUNS: u32 = 40;
/// Of those that warm caches up.
const WARM_UP: u32 = 5;

/// An exchange and a machine, as an operator and an owner start them.
struct Market {
    buyer: Client,
    url: String,
    token: String,
    /// Killed when dropped, the machine first.
    _machine: Process,
    _exchange: Process,
    /// Their files: dropped last.
    scene: Scene,
}

impl Market {
    async fn start(log_level: &str) -> Market {
        let scene = Scene::new();
        let logs = format!("{log_level},exchange={log_level},provider={log_level}");
        let (data, machine_data) = (scene.arg("exchange"), scene.arg("machine"));
        let mut command = scene.jusha(&["exchange", "--data", &data, "--listen", "127.0.0.1:0"]);
        command.env("RUST_LOG", &logs);
        let mut exchange = Process::start(command, &scene.path("exchange.log"));
        let line = exchange.line().await;
        let url = line.strip_prefix("listening on ").expect("an exchange").to_owned();
        let operator = Client::new(&url, &scene.read("exchange/operator.token")).unwrap();
        let seller = operator.open_account("seller").await.unwrap();
        let buyer = operator.open_account("buyer").await.unwrap();
        let deposit = NewDeposit {
            account: buyer.account,
            amount_nanocredits: 1_000 * base::NANOCREDITS_PER_CREDIT,
            transfer: TransferId(1),
        };
        operator.deposit(&deposit).await.unwrap();
        let join = Client::new(&url, &seller.token).unwrap().join_code().await.unwrap().join;
        let mut command = scene.jusha(&["provide", &join, "--always", "--data", &machine_data]);
        command.env("RUST_LOG", &logs);
        let machine = Process::start(command, &scene.path("machine.log"));
        Market {
            buyer: Client::new(&url, &buyer.token).unwrap(),
            token: buyer.token,
            url,
            scene,
            _machine: machine,
            _exchange: exchange,
        }
    }

    /// Waits until nothing of an earlier job goes on.
    async fn idle(&self) {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u32;
        until("every slot in the book", async || {
            let book = self.buyer.book(provider::INSTRUMENT).await.unwrap();
            let offered: u64 = book.asks.iter().map(|level| level.quantity).sum();
            (offered == u64::from(cores)).then_some(())
        })
        .await;
    }

    /// One job, by the requests that `jusha run` makes.
    async fn job(&self, index: u32) -> Marks {
        let work = Work { index, ..Work::new("noop", &[]) };
        let (spec, blobs) = work.blobs();
        let spec = Digest::of(&serde_json::to_vec(&spec).unwrap());
        let begun = now();
        self.buyer.wallet().await.unwrap();
        let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        self.buyer.store(&blobs).await.unwrap();
        let stored = now();
        let book = self.buyer.book(provider::INSTRUMENT).await.unwrap();
        let job = NewJob {
            job: JobId(client::random_id()),
            name: "noop".to_owned(),
            instrument: provider::INSTRUMENT.to_owned(),
            tasks: vec![spec],
            max_price_nanocredits_per_tfuel: book.asks[0].price_nanocredits_per_tfuel,
            slots: 1,
            budget_nanocredits: base::NANOCREDITS_PER_CREDIT,
            ask: None,
            filters: Default::default(),
        };
        let priced = now();
        self.buyer.submit(&job).await.unwrap();
        let over = |view: &wire::JobView| view.state == JobState::Done;
        let view = self.buyer.follow(job.job, |_| (), over).await.unwrap();
        let seen = now();
        let result = view.tasks[0].result.expect("a result");
        let result: TaskResult = self.buyer.json_blob(result).await.unwrap();
        assert_eq!(result.outcome, wire::Outcome::Exited { status: 0 });
        Marks { begun, stored, priced, seen, fetched: now() }
    }

    async fn series(&self, first_index: u32) -> Vec<Marks> {
        let mut all = Vec::new();
        for index in 0..WARM_UP + RUNS {
            self.idle().await;
            let marks = self.job(first_index + index).await;
            if index >= WARM_UP {
                all.push(marks);
            }
        }
        all
    }
}

/// When things happened to one job, in microseconds UTC.
struct Marks {
    begun: u64,
    stored: u64,
    priced: u64,
    seen: u64,
    fetched: u64,
}

impl Marks {
    fn whole(&self) -> Duration {
        Duration::from_micros(self.fetched - self.begun)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// A line of a log.
struct Line {
    at: u64,
    text: String,
}

/// The lines of a log. Their dates are those of now: only the time of day is looked at.
fn lines(text: &str) -> Vec<Line> {
    let day = 86_400_000_000;
    let midnight = now() / day * day;
    let parse = |line: &str| {
        // `2026-11-22T17:09:42.123456Z  INFO …`
        let (time, text) = line.split_once("Z ")?;
        let (_, time) = time.split_once('T')?;
        let mut parts = time.split([':', '.']);
        let mut next = || parts.next()?.parse::<u64>().ok();
        let (hours, minutes, seconds, micros) = (next()?, next()?, next()?, next()?);
        let at = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros;
        Some(Line { at: midnight + at, text: text.to_owned() })
    };
    text.lines().filter_map(parse).collect()
}

/// Parts of the way, each ending at a line of a log or at a mark of the client's, in order.
const PARTS: [(&str, Until); 15] = [
    ("wallet, what is lacking, upload of the description", Until::Mark(|m| m.stored)),
    ("price from the book", Until::Mark(|m| m.priced)),
    ("job heard by the exchange", Until::Exchange("heard job_")),
    ("checked, decided, matched, committed", Until::Exchange("committed")),
    ("start told to the machine", Until::Machine(" of task ")),
    ("description and module fetched", Until::Machine(": fetched")),
    ("worker process spawned", Until::Machine("worker process")),
    ("process start, engine, module loaded", Until::Machine(": runs")),
    ("run, results passed back", Until::Machine(": ended")),
    ("results uploaded", Until::Machine(": uploaded")),
    ("receipt made durable and signed", Until::Machine(" signed")),
    ("receipt heard by the exchange", Until::Exchange("heard receipt")),
    ("checked, settled, committed", Until::Exchange("committed")),
    ("seen by the client", Until::Mark(|m| m.seen)),
    ("result fetched", Until::Mark(|m| m.fetched)),
];

#[derive(Clone, Copy)]
enum Until {
    Mark(fn(&Marks) -> u64),
    Exchange(&'static str),
    Machine(&'static str),
}

/// How long each part of a job took; `None` if a line is lacking.
fn parts(marks: &Marks, exchange: &[Line], machine: &[Line]) -> Option<Vec<Duration>> {
    let mut at = marks.begun;
    let mut parts = Vec::new();
    for (_, until) in PARTS {
        let find = |lines: &[Line], words: &str| {
            let mut later = lines.iter().filter(|line| line.at >= at);
            later.find(|line| line.text.contains(words)).map(|line| line.at)
        };
        let end = match until {
            Until::Mark(mark) => mark(marks),
            Until::Exchange(words) => find(exchange, words)?,
            Until::Machine(words) => find(machine, words)?,
        };
        // The client may see something before the log line about it is written.
        parts.push(Duration::from_micros(end.saturating_sub(at)));
        at = end.max(at);
    }
    Some(parts)
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn ms(duration: Duration) -> String {
    format!("{:8.2} ms", duration.as_secs_f64() * 1_000.0)
}

fn timed(action: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    action();
    begun.elapsed()
}

/// A process from its start to its end, its output thrown away.
fn process(mut command: Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    timed(|| assert!(command.status().is_ok_and(|status| status.success())))
}

/// A small file, flushed.
fn durable_write(scene: &Scene) -> Duration {
    let mut file = std::fs::File::create(scene.path("flushed")).unwrap();
    std::io::Write::write_all(&mut file, b"x").unwrap();
    timed(|| file.sync_all().unwrap())
}

struct Peers {
    run: Duration,
    exec: Duration,
    empty: Duration,
    flush: Duration,
}

async fn peers(market: &Market) -> Peers {
    let noop = guest("noop");
    let noop = noop.to_str().unwrap();
    let (mut run, mut exec, mut empty, mut flush) = (vec![], vec![], vec![], vec![]);
    for index in 0..WARM_UP + RUNS {
        market.idle().await;
        let seed = format!("peer {index}");
        let mut command = market.scene.jusha(&["run", noop, "--seed", &seed]).into_std();
        command.env("JUSHA_URL", &market.url).env("JUSHA_TOKEN", &market.token);
        let took = process(command);
        let others = [
            process(market.scene.jusha(&["exec", noop]).into_std()),
            process(Command::new("/bin/true")),
            durable_write(&market.scene),
        ];
        if index >= WARM_UP {
            run.push(took);
            for (series, took) in [&mut exec, &mut empty, &mut flush].into_iter().zip(others) {
                series.push(took);
            }
        }
    }
    Peers { run: median(run), exec: median(exec), empty: median(empty), flush: median(flush) }
}

#[tokio::main]
async fn main() {
    // As every bench program, it is also started to be tested, which is not wanted.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let market = Market::start("warn").await;
    let quiet = market.series(0).await;
    let peers = peers(&market).await;
    drop(market);
    let market = Market::start("debug").await;
    let logged = market.series(1_000).await;
    let (exchange, machine) = (market.scene.read("exchange.log"), market.scene.read("machine.log"));
    let (exchange, machine) = (lines(&exchange), lines(&machine));

    let whole = median(quiet.iter().map(Marks::whole).collect());
    let mut sorted: Vec<Duration> = quiet.iter().map(Marks::whole).collect();
    sorted.sort();
    println!("a task that does nothing, submission to result, median of {RUNS}: {}", ms(whole));
    println!("  fastest {}, slowest {}", ms(sorted[0]), ms(sorted[sorted.len() - 1]));
    let ratio = |peer: Duration| whole.as_secs_f64() / peer.as_secs_f64();
    println!("\npeers in the same run, and how much longer the task took");
    for (name, took) in [
        ("jusha run, the whole process", peers.run),
        ("jusha exec, the whole process", peers.exec),
        ("/bin/true", peers.empty),
        ("flushing a small file to this disk", peers.flush),
    ] {
        println!("  {}  {:7.2}×  {name}", ms(took), ratio(took));
    }

    let logged_whole = median(logged.iter().map(Marks::whole).collect());
    let found: Vec<Vec<Duration>> =
        logged.iter().filter_map(|marks| parts(marks, &exchange, &machine)).collect();
    println!(
        "\nwhere it goes, medians of {} jobs with debug logs ({})",
        found.len(),
        ms(logged_whole)
    );
    let mut sum = Duration::ZERO;
    for (index, (name, _)) in PARTS.iter().enumerate() {
        let part = median(found.iter().map(|parts| parts[index]).collect());
        sum += part;
        println!("  {}  {name}", ms(part));
    }
    println!("  {}  sum of the medians", ms(sum));
}
