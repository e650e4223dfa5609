//! The exchange: where computing is traded, work is handed out and everyone is paid.
//!
//! The edge around [`clearing`], which decides everything. Here is what touches the world: the
//! journal (SQLite), blobs (files), HTTP for clients and a WebSocket per agent.
//!
//! ```text
//!  HTTP handlers ─┐ commands, reads        ┌─ store: journal + projections + credentials,
//!  agent sockets ─┼──────▶ sequencer ──────┤  one transaction per round, then
//!  timers ────────┘ (one thread, owns the  └─ answers, messages to agents, wake-ups
//!                    clearing state)
//!  HTTP handlers ─▶ blobs (content-addressed files) · store readers (lists, audit)
//! ```
//!
//! Invariants:
//! - Nothing (answer, message, read) is seen before its commit.
//! - Memory is a fold of the journal's events, at any time: `GET /v1/audit` proves it.
//! - The sequencer waits for nobody: a slow agent is disconnected, a slow client waits alone.
//! - Hostile code is never run here, and module bytes are never parsed beyond their header.
//! - Secrets are kept as digests, outside of the journal.

mod agent;
mod app;
mod audit;
mod backup;
mod blobs;
mod calibration;
mod collect;
mod config;
mod core;
mod endings;
mod error;
mod feed;
mod grants;
mod holds;
mod http;
mod in_process;
mod index;
mod instruments;
mod invoice;
mod measuring;
mod metrics;
mod outbox;
mod passwords;
mod past;
mod payments;
mod presence;
mod probes;
mod rate;
mod receipts;
mod reference_prices;
mod secrets;
mod sequencer;
mod serve;
mod snapshot;
mod spec;
mod store;
mod text;
mod views;

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::ExchangeId;
use tls::Shown;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

pub use audit::{AuditError, audit};
pub use backup::{Backup, BackupError, backup, restore};
pub use blobs::{BlobError, BlobReader, BlobStore, BlobWriter, DiskBlobs};
pub use calibration::{
    Answer, Answers, CALIBRATION_FILE, CALIBRATION_MEMORY_FILE, CALIBRATION_MODULE_FILE,
    MemoryAnswers, MemoryGrade,
};
pub use config::{Config, TlsFiles};
pub use error::ExchangeError;
pub use in_process::InProcess;
pub use instruments::{InstrumentFlaw, check_instruments};
pub use payments::{
    ManualPayments, PaymentOrder, PaymentProgress, PaymentProvider, PaymentProviderError,
};
pub use rate::Rate;
pub use store::{
    CredentialChange, Entry, JoinCodeState, NewReader, Principal, SqliteStore, Store, StoreError,
    StoreReader,
};

/// Name of the database in the data directory.
const DATABASE_FILE: &str = "exchange.sqlite";
/// Name of the database of who holds which blob.
const HOLDS_FILE: &str = "holds.sqlite";
/// Name of the file that whoever runs the exchange holds a lock on.
const LOCK_FILE: &str = "lock";
/// Name of the operator's token in the data directory.
pub const OPERATOR_TOKEN_FILE: &str = "operator.token";

/// How long open requests may take to end when the exchange shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Runs an exchange until `shutdown` resolves. `on_ready` hears the bound address once requests
/// are served; the operator's token is then in [`OPERATOR_TOKEN_FILE`].
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
    on_ready: impl FnOnce(SocketAddr),
) -> Result<(), ExchangeError> {
    let data = config.data.clone();
    let fresh_directory = !data.exists();
    fs::create_dir_all(&data).map_err(at(&data))?;
    if fresh_directory && let Ok(whole) = data.canonicalize() {
        // What is in a directory is as durable as the directory itself.
        sync_directory(whole.parent().unwrap_or(&whole))?;
    }
    let _lock = lock(&data)?;
    let shown = config.tls.as_ref().map(|files| Shown::read(&files.certificate, &files.key));
    let shown = shown.transpose()?;
    let acceptor = shown.as_ref().map(|shown| TlsAcceptor::from(shown.config()));
    let operator_token = secrets::operator_token(&data.join(OPERATOR_TOKEN_FILE))?;
    let fresh = secrets::random().map(u128::from_be_bytes).map_err(ExchangeError::Random)?;
    let database = data.join(DATABASE_FILE);
    let store = SqliteStore::open(&database, ExchangeId(fresh))?;
    let blobs: Arc<dyn BlobStore> = Arc::new(DiskBlobs::open(data.join("blobs"))?);
    let calibration = calibration::Calibration::load(&data, blobs.as_ref())?;
    let holds = holds::Holds::open(&data.join(HOLDS_FILE), sequencer::unix_ms(), || {
        blobs::all(&data.join("blobs"))
    })?;
    if let Some(calibration) = &calibration {
        calibration.warn_of_gaps(&config.instruments.clone().unwrap_or_default());
        for module in calibration.modules() {
            let bytes = blobs.length(&module)?.unwrap_or_default();
            // For ever: no job needs it, and every machine does.
            holds.hold(holds::EVERYONE, &[(module, bytes)], i64::MAX)?;
        }
    }
    // The names of the database and of the blobs' directory.
    sync_directory(&data)?;
    let exchange = store.exchange();
    let new_reader = store.reader_maker();
    let (sequencer, thread) = sequencer::start(Box::new(store), &config)?;
    if let Some(list) = &config.instruments {
        let instruments = list.iter().map(instruments::of_wire).collect();
        let set = sequencer.command(clearing::Command::SetInstruments { instruments });
        set.await.map_err(|failure| ExchangeError::Instruments(failure.to_string()))?;
    }

    let listen_failed = |source| ExchangeError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen_failed)?;
    let address = listener.local_addr().map_err(listen_failed)?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let public_url = config.public_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
    let (close, closing) = watch::channel(false);
    let terms = serve::Terms {
        head: Duration::from_millis(config.request_head_ms),
        answer: Duration::from_millis(config.answer_stall_ms),
        connections: config.connections,
        connections_per_address: config.connections_per_address,
        trusted: config.trusted_proxies.clone(),
    };
    serve::want_files(config.connections);
    let app = Arc::new(app::App {
        exchange,
        public_url: public_url.trim_end_matches('/').to_owned(),
        operator_token: secrets::digest(&operator_token),
        sequencer: sequencer.clone(),
        blobs,
        calibration,
        holds,
        partners: grants::Partners::default(),
        blob_reads: Arc::new(Semaphore::new(config::limits::BLOB_READS)),
        blob_writes: Semaphore::new(config::limits::BLOB_WRITES),
        large_bodies: Semaphore::new(config::limits::LARGE_BODIES),
        buckets: Mutex::default(),
        metrics: metrics::Metrics::default(),
        passwords: passwords::Passwords::default(),
        new_reader,
        readers: Mutex::new(Vec::new()),
        connections: AtomicU64::new(1),
        closing: closing.clone(),
        payment_approved: Arc::new(Notify::new()),
        config,
    });
    let payments = tokio::spawn(payments::drive(
        Arc::clone(&app.config.payments),
        sequencer.clone(),
        Arc::clone(&app.payment_approved),
        closing.clone(),
        Duration::from_millis(app.config.payment_poll_ms),
    ));
    let collecting = tokio::spawn(collect::drive(Arc::clone(&app), closing));
    tracing::info!(%address, %exchange, data = %data.display(), "exchange is ready");
    on_ready(address);

    let refresh = Duration::from_millis(app.config.tls_refresh_ms);
    let certificate = tokio::spawn(refresh_certificate(shown, refresh));
    let server = serve::serve(listener, acceptor, http::router(app), terms, close.subscribe());
    let mut server = tokio::spawn(server);
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        () = sequencer.stopped() => Err(ExchangeError::SequencerDied),
        ended = &mut server => Err(served(ended)),
    };
    tracing::info!("exchange is shutting down");
    // Nobody may listen any more, which is fine.
    let _ = close.send(true);
    if !server.is_finished() && tokio::time::timeout(SHUTDOWN_GRACE, &mut server).await.is_err() {
        server.abort();
    }
    // In the middle of a word with its provider it need not be waited for: that is said again.
    payments.abort();
    certificate.abort();
    collecting.abort();
    // An error means that it stopped already.
    let _ = sequencer.send(sequencer::Request::Stop).await;
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    match joined {
        Ok(Ok(())) => outcome,
        _ => Err(ExchangeError::SequencerDied),
    }
}

/// Shows a new certificate when its files are new.
async fn refresh_certificate(shown: Option<Shown>, every: Duration) {
    let Some(mut shown) = shown else { return };
    let mut last = String::new();
    loop {
        tokio::time::sleep(every).await;
        match shown.refresh() {
            Ok(true) => tracing::info!("the certificate is a new one"),
            Ok(false) => {}
            // Said once: until somebody mends it, it is the same every time.
            Err(error) if error.to_string() == last => {}
            Err(error) => {
                last = error.to_string();
                tracing::error!(?error, "the new certificate is not used: {error}");
            }
        }
    }
}

fn served(ended: Result<(), tokio::task::JoinError>) -> ExchangeError {
    ExchangeError::Serve(match ended {
        Ok(()) => std::io::Error::other("it ended by itself"),
        Err(error) => std::io::Error::other(error),
    })
}

/// Whether an exchange runs on a data directory now.
pub fn is_running(data: &Path) -> bool {
    // One that never ran has no lock, and looking must not make one.
    let lock = fs::File::options().write(true).open(data.join(LOCK_FILE));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

fn sync_directory(directory: &Path) -> Result<(), ExchangeError> {
    fs::File::open(directory).and_then(|opened| opened.sync_all()).map_err(at(directory))
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> ExchangeError + '_ {
    move |source| ExchangeError::Data { path: path.to_owned(), source }
}

/// Two exchanges on one journal would each believe in a state of its own.
fn lock(data: &Path) -> Result<fs::File, ExchangeError> {
    let path = data.join(LOCK_FILE);
    let file = fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(ExchangeError::InUse { path: data.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(at(&path)(error)),
    }
}
