//! What the operator decides about one exchange.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::ExchangeError;
use crate::payments::{ManualPayments, PaymentProvider};
use crate::rate::Rate;

/// Where a certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the exchange's own first, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Whether they can be used now.
    pub fn check(&self) -> Result<(), ExchangeError> {
        tls::Shown::read(&self.certificate, &self.key)?;
        Ok(())
    }
}

/// How an exchange runs. [`Config::new`] gives the defaults that users meet.
#[derive(Debug, Clone)]
pub struct Config {
    /// Everything the exchange keeps: journal, credentials, blobs, operator token.
    pub data: PathBuf,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How others reach it, for join strings; absent means the bound address.
    pub public_url: Option<String>,
    /// The certificate that it shows; without one it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// How often it is looked whether these files changed.
    pub tls_refresh_ms: u64,
    /// How often agents are told to send a heartbeat.
    pub heartbeat_ms: u64,
    /// A machine silent for this long lapses.
    pub lapse_after_ms: u64,
    /// A machine whose connection closed lapses after this, unless it comes back: a closed
    /// connection is surer news than silence.
    pub reconnect_grace_ms: u64,
    /// After a start, machines have at least this long to come back: they may notice only late
    /// that the exchange is there again.
    pub start_grace_ms: u64,
    /// How often it is asked whether the unit of a fixed lease is there; the answer must come
    /// before the next time.
    pub probe_ms: u64,
    /// A connection that takes nothing of its answer for this long is closed.
    pub answer_stall_ms: u64,
    /// A connection must have sent a request's head within this.
    pub request_head_ms: u64,
    /// Largest blob that is no module.
    pub blob_max_bytes: u64,
    /// Largest module: a program comes in one piece, while data can be cut. CPython with numpy,
    /// pandas, scipy and scikit-learn and their library is 110 MB.
    pub module_max_bytes: u64,
    /// What an account may hold in blobs, unless an operator gave it another quota.
    pub blob_quota_bytes: u64,
    /// What a machine may have handed in that is still kept.
    pub machine_quota_bytes: u64,
    /// How long a blob is kept that no live job needs, after somebody wanted it last.
    pub blob_keep_ms: u64,
    /// The same of what machines handed in: checkpoints, most of it.
    pub checkpoint_keep_ms: u64,
    /// How often blobs are looked for that nobody needs.
    pub blob_collect_ms: u64,
    /// How long a join code works.
    pub join_code_ttl_ms: u64,
    /// How long `GET /v1/jobs/{id}?after=` waits for news.
    pub long_poll_ms: u64,
    /// Whether people may open accounts for themselves.
    pub sign_up: bool,
    /// An answer must be there after this.
    pub request_ms: u64,
    /// The same for what takes long by its nature: uploads and audits.
    pub long_request_ms: u64,
    /// How long the first bytes of a body may take; after that it has a pace to keep.
    pub body_grace_ms: u64,
    /// Connections at once.
    pub connections: usize,
    /// Of one address.
    pub connections_per_address: usize,
    /// How often an account, and each of its machines, may ask.
    pub account_rate: Rate,
    /// How often an address may ask without a token that is known.
    pub address_rate: Rate,
    /// Proxies whose `x-forwarded-for` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// How often a machine's speed is measured anew.
    pub measure_every_ms: i64,
    /// What is traded, set at each start; absent leaves what there is.
    pub instruments: Option<Vec<wire::NewInstrument>>,
    /// Messages that a reader of the feed may be behind before it is dropped.
    pub feed_ring: usize,
    /// How often the feed says where it is, and looks whether a token still holds.
    pub feed_heartbeat_ms: u64,
    /// A state snapshot is written every so many journal entries.
    pub snapshot_entries: u64,
    /// How long what is over stays in memory; then it is read from the database.
    pub keep_ended_ms: i64,
    /// Who moves real money.
    pub payments: Arc<dyn PaymentProvider>,
    /// How often it is asked about payments that it has not settled yet.
    pub payment_poll_ms: u64,
}

impl Config {
    /// Defaults for an exchange that keeps its data in `data`.
    pub fn new(data: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Config {
            data: data.into(),
            listen,
            public_url: None,
            tls: None,
            tls_refresh_ms: 60_000,
            heartbeat_ms: 2_000,
            lapse_after_ms: 6_000,
            reconnect_grace_ms: 3_000,
            start_grace_ms: 15_000,
            probe_ms: 5_000,
            answer_stall_ms: 20_000,
            request_head_ms: 60_000,
            blob_max_bytes: 64 << 20,
            module_max_bytes: 128 << 20,
            blob_quota_bytes: 16 << 30,
            machine_quota_bytes: 256 << 30,
            blob_keep_ms: 30 * 24 * 60 * 60 * 1_000,
            checkpoint_keep_ms: 24 * 60 * 60 * 1_000,
            blob_collect_ms: 60 * 60 * 1_000,
            join_code_ttl_ms: 60 * 60 * 1_000,
            long_poll_ms: 20_000,
            sign_up: false,
            request_ms: 120_000,
            long_request_ms: 2 * 60 * 60 * 1_000,
            body_grace_ms: 30_000,
            connections: 20_000,
            connections_per_address: 2_000,
            account_rate: Rate { per_second: 1_000, burst: 5_000 },
            address_rate: Rate { per_second: 50, burst: 1_000 },
            trusted_proxies: Vec::new(),
            measure_every_ms: 24 * 60 * 60 * 1_000,
            instruments: None,
            feed_ring: 1_024,
            feed_heartbeat_ms: 5_000,
            snapshot_entries: 10_000,
            keep_ended_ms: 10 * 60 * 1_000,
            payments: Arc::new(ManualPayments),
            payment_poll_ms: 30_000,
        }
    }
}

/// Bounds on everything that comes from outside. They are not settings: a limit that nobody
/// meets needs no knob, and one that somebody meets is better told to us.
pub(crate) mod limits {
    /// JSON bodies. Blobs have a limit of their own in [`super::Config`].
    pub const JSON_BODY_BYTES: usize = 4 << 20;
    /// One WebSocket message.
    pub const AGENT_MESSAGE_BYTES: usize = 1 << 20;
    /// Language runtimes that one machine may announce.
    pub const RUNTIMES: usize = 16;
    /// Characters of such a runtime's name or version.
    pub const RUNTIME_NAME: usize = 32;
    /// Messages queued for one agent; an agent that is this far behind is disconnected.
    pub const AGENT_QUEUE: usize = 1_024;
    /// Commands decided in one transaction.
    pub const BATCH: usize = 256;
    /// What is forgotten in one transaction; ten tasks of a job count as one more.
    pub const FORGOTTEN: usize = 256;
    /// Requests waiting for the sequencer; more wait in their own connections.
    pub const REQUEST_QUEUE: usize = 4_096;
    /// Tasks of one job.
    pub const JOB_TASKS: usize = 10_000;
    /// Tasks of one account that did not end.
    pub const LIVE_TASKS: u64 = 100_000;
    /// What one look at the state may cost: a task costs 1.
    pub const READ_COST: u64 = 30_000;
    /// What a job costs beside its tasks: why it waits is found in the book.
    pub const JOB_READ_COST: u64 = 300;
    /// A task spec, as a JSON blob.
    pub const SPEC_BYTES: u64 = 1 << 20;
    /// A checkpoint index or a result, as a JSON blob: 2¹⁶ leaves are 4.4 MiB.
    pub const INDEX_BYTES: u64 = 16 << 20;
    /// Least segment: below it, a chain record costs more than the work that it covers.
    pub const SEGMENT_FUEL_MIN: u64 = 1 << 20;
    /// Most pages of a 32-bit memory.
    pub const MEMORY_PAGES: u32 = 1 << 16;
    /// Most output of a task.
    pub const OUTPUT_BYTES: u64 = 1 << 30;
    /// Names of accounts, machines and jobs.
    pub const NAME_BYTES: usize = 200;
    /// Prices of a side in a snapshot of the feed: beyond, a price is told when it changes.
    pub const FEED_LEVELS: usize = 10_000;
    /// Instruments of one reader.
    pub const FEED_SUBSCRIPTIONS: usize = 256;
    /// A message to the feed.
    pub const FEED_REQUEST_BYTES: usize = 4 << 10;
    /// Prices of a side that a book shows.
    pub const BOOK_LEVELS: usize = 1_000;
    /// Rows in a list.
    pub const LIST_ROWS: u32 = 1_000;
    /// Digests in one question for missing blobs.
    pub const QUERY_DIGESTS: usize = 50_000;
    /// Blobs opened and hashed at once; sending them is bounded by the connections.
    pub const BLOB_READS: usize = 16;
    /// Uploads at once: each has a piece of its blob in memory. More wait.
    pub const BLOB_WRITES: usize = 512;
    /// JSON bodies over 64 KiB that are gathered at once. More wait.
    pub const LARGE_BODIES: usize = 32;
    /// Seconds for an agent's Hello, and for one message to go out.
    pub const AGENT_TIMEOUT_S: u64 = 10;
}
