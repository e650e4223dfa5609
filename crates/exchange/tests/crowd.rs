//! A crowd of connections that mean harm: the exchange stays up, others are served, and what it
//! holds in memory stays bounded.
//!
//! The exchange is a process of its own (this program once more), since sockets are files and
//! each process may have so many. `JUSHA_TEST_CONNECTIONS=10000` makes the crowd that large.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base::Digest;
use exchange::Config;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wire::{AccountCreated, NewAccount};

const DATA: &str = "JUSHA_TEST_CROWD_DATA";
const CONNECTIONS: &str = "JUSHA_TEST_CONNECTIONS";
const TEST: &str = "a_crowd_that_means_harm_harms_nobody_else";
/// Nothing here takes this long; whatever does has failed.
const GUARD: Duration = Duration::from_secs(120);
/// What one connection may cost beside what the exchange holds anyway.
const BYTES_PER_CONNECTION: u64 = 160 << 10;
const BYTES_ANYWAY: u64 = 96 << 20;

#[test]
fn a_crowd_that_means_harm_harms_nobody_else() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match std::env::var_os(DATA) {
        Some(data) => runtime.block_on(serve(Path::new(&data))),
        None => runtime.block_on(crowd()),
    }
}

/// The exchange, until its standard input ends.
async fn serve(data: &Path) {
    // Long enough for the whole crowd to be there at once.
    let wait_ms = 2_000 + crowd_size() as u64;
    let mut config = Config::new(data, SocketAddr::from(([127, 0, 0, 1], 0)));
    config.request_head_ms = wait_ms;
    config.body_grace_ms = wait_ms;
    config.answer_stall_ms = wait_ms;
    config.connections_per_address = config.connections;
    // The crowd is one address, and what is tested here is what it costs when let in.
    config.address_rate.per_second = 0;
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let shutdown = async move {
        let _ = ended.await;
    };
    exchange::run(config, shutdown, |address| println!("listening {address}")).await.unwrap();
}

struct Exchange {
    child: Child,
    address: SocketAddr,
    operator: String,
}

impl Exchange {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(DATA, data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The first line may share its own with what the test harness says.
        let address = lines
            .by_ref()
            .find_map(|line| Some(line.unwrap().split_once("listening ")?.1.parse().unwrap()))
            .expect("the exchange starts");
        // What it says at the end must find a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let operator = std::fs::read_to_string(data.join(exchange::OPERATOR_TOKEN_FILE)).unwrap();
        Exchange { child, address, operator: operator.trim().to_owned() }
    }

    fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Gone already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn crowd() {
    let crowd = crowd_size();
    let data = tempfile::tempdir().unwrap();
    raise_files();
    let exchange = Exchange::start(data.path());
    let http = reqwest::Client::builder().timeout(GUARD).build().unwrap();
    let url = format!("http://{}", exchange.address);
    let new = NewAccount::named("Ada");
    let asked = http.post(format!("{url}/v1/accounts")).bearer_auth(&exchange.operator).json(&new);
    let created: AccountCreated = asked.send().await.unwrap().json().await.unwrap();
    // More than the buffers of a connection take.
    let large = vec![7; 16 << 20];
    let digest = Digest::of(&large);
    let put = http.post(format!("{url}/v1/blobs")).bearer_auth(&created.token).body(large.clone());
    assert_eq!(put.send().await.unwrap().status(), 200);
    let before = exchange.resident_bytes();

    // A fifth each: says nothing, half a head, half a body of two kinds, doesn't read.
    let token = &created.token;
    let auth = format!("Host: x\r\nAuthorization: Bearer {token}\r\n");
    let half_json = "{\"name\":\"".to_owned() + &"x".repeat(60 << 10);
    let harms = [
        String::new(),
        format!("GET /v1/wallet HTTP/1.1\r\n{auth}X-Slow: "),
        format!("POST /v1/jobs HTTP/1.1\r\n{auth}Content-Length: 4000000\r\n\r\n{half_json}"),
        format!("POST /v1/blobs HTTP/1.1\r\n{auth}Content-Length: 64000000\r\n\r\n{half_json}"),
        format!("GET /v1/blobs/{digest} HTTP/1.1\r\n{auth}\r\n"),
    ];
    let mut held = Vec::new();
    for number in 0..crowd {
        let mut socket = guard(TcpStream::connect(exchange.address)).await.unwrap();
        guard(socket.write_all(harms[number % harms.len()].as_bytes())).await.unwrap();
        held.push(socket);
    }

    // Somebody else asks, and is answered, while all of them wait.
    let path = format!("{url}/v1/wallet");
    let ask = || async { http.get(&path).bearer_auth(token).send().await.unwrap().status() };
    for _ in 0..20 {
        assert_eq!(guard(ask()).await, 200);
    }
    let fetched = http.get(format!("{url}/v1/blobs/{digest}")).bearer_auth(token).send();
    let fetched = guard(fetched).await.unwrap().bytes();
    assert!(guard(fetched).await.unwrap() == large);
    let grown = exchange.resident_bytes().saturating_sub(before);
    println!("{crowd} connections: {} KiB more in memory", grown >> 10);
    let most = BYTES_ANYWAY + crowd as u64 * BYTES_PER_CONNECTION;
    assert!(grown < most, "{crowd} connections cost {grown} bytes, more than {most}");

    // None of them is kept for ever.
    let mut ends = JoinSet::new();
    for mut socket in held {
        ends.spawn(async move {
            // An answer, a reset or nothing: what counts is the end. All answers together are more
            // than a computer holds.
            let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
        });
    }
    guard(async { while ends.join_next().await.is_some() {} }).await;
    assert_eq!(guard(ask()).await, 200);
    exchange.stop();
}

fn crowd_size() -> usize {
    std::env::var(CONNECTIONS).map_or(400, |text| text.parse().expect("a number"))
}

/// As many files as this process may have: each connection is one.
fn raise_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

async fn guard<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future).await.expect("nothing happened in time")
}
