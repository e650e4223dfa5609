//! The agent: what turns somebody's computer into a machine of an exchange.
//!
//! Goals: every unit of work that the exchange accepted is paid, whatever dies in between;
//! the owner gets the computer back when asking for it; the agent itself never runs hostile
//! code. Not goals: deciding what is paid (clearing does), running programs (a worker process
//! does, see `runtime::worker`).
//!
//! How it is cut. `agent` is the one loop: an async `select` returns a typed action, a
//! synchronous `apply` handles it. It owns the asks (`asks`) and the list of attempts, and
//! reconciles both with what the exchange says after every (re)connection (`reconcile`).
//! `link` keeps the WebSocket. Each attempt is a task of its own (`drive`) that fetches
//! (`fetch`), looks after a worker (`attend`, `watchdog`), uploads checkpoints (`upload`) at a
//! pace set by `cadence` and issues receipts (`receipts`). A machine that fails pauses (`pause`).
//! What is let by the hour is in `fixed`.
//! `state` is everything on disk.
//!
//! Invariant: a receipt is on disk before it is signed, and its blobs are at the exchange
//! before it is sent. So after any crash the agent can say the same thing again, and never
//! says two different things under one number.

mod agent;
mod asks;
mod attempt;
mod attend;
mod blobs;
mod cadence;
mod drive;
mod durable;
mod enrol;
mod error;
mod fetch;
mod fixed;
mod link;
mod measure;
mod pause;
mod receipts;
mod reconcile;
mod state;
mod upload;
mod watchdog;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use base::Digest;
pub use error::ProviderError;
pub use fixed::FixedTerms;
pub use runtime::sandbox::Weakening;
use wire::RuntimeTerms;

/// What is offered and bought unless somebody says otherwise: a core with up to 2 GiB, metered.
pub const INSTRUMENT: &str = "cpu.2g.any";

/// What the owner wants.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the key, the enrolment, receipts and caches are kept. One agent per directory.
    pub data: PathBuf,
    /// A join string, `http://host:port/#join=CODE`; needed once per directory.
    pub join: Option<String>,
    /// For `https`: a file with the authorities to trust, instead of this computer's.
    pub ca: Option<PathBuf>,
    /// Name shown to people.
    pub name: String,
    /// Tasks that may run at once.
    pub slots: u32,
    /// Memory that one slot may use.
    pub memory_mib_per_slot: u32,
    /// Where the machine is, for instruments of a region; empty says nothing.
    pub region: String,
    /// In which instruments its slots are offered; in all for which it qualifies if there is none.
    pub instruments: Vec<String>,
    /// The least it works for.
    pub price_nanocredits_per_tfuel: i64,
    /// What is let by the hour; absent leaves alone what is offered otherwise.
    pub fixed: Option<FixedTerms>,
    /// Least time between two durable checkpoints of an attempt.
    pub checkpoint_interval: Duration,
    /// How long a drain may take before it is given up.
    pub drain_max: Duration,
    /// The program that is run as a worker: `worker worker`.
    pub worker: PathBuf,
    /// Where compiled modules are kept; in `data` if nowhere else. Several agents, and what runs
    /// here for its owner, may share it: a module is compiled once per computer.
    pub artefacts: Option<PathBuf>,
    /// Language runtimes that are installed on this computer.
    pub runtimes: Vec<Runtime>,
    /// What of the containment of workers the owner does without, by name.
    pub weakening: Weakening,
}

impl Config {
    /// The machine's terms, as the exchange is told.
    fn terms(&self) -> wire::OfferTerms {
        wire::OfferTerms {
            name: self.name.clone(),
            slots: self.slots,
            memory_mib_per_slot: self.memory_mib_per_slot,
            transforms: vec![runtime::TRANSFORM_VERSION],
            region: self.region.clone(),
            measurable: true,
            runtimes: self.runtimes.iter().map(|runtime| runtime.terms.clone()).collect(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// An installed language runtime: announced, and not fetched from the exchange.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// What it is.
    pub terms: RuntimeTerms,
    /// Its module, and where that is.
    pub module: (Digest, PathBuf),
    /// Where its base is.
    pub base: PathBuf,
}

/// Enrols if need be, then serves the exchange until a signal or a fatal refusal.
///
/// The first SIGTERM or SIGINT drains: asks are withdrawn, every attempt is stopped at a
/// checkpoint that is uploaded and receipted. The second one returns at once.
pub async fn run(config: Config) -> Result<(), ProviderError> {
    agent::run(config).await
}
