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
//! `lookout` says when the owner needs the computer, `agent::leaving` what is done then.
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
mod books;
mod cadence;
pub mod control;
mod drive;
mod durable;
mod enrol;
mod error;
mod fetch;
mod fixed;
mod link;
mod lookout;
mod measure;
mod pace;
mod pause;
mod quotes;
mod receipts;
mod reconcile;
mod state;
pub mod status;
mod upload;
mod watchdog;
mod worker;

use std::path::{Path, PathBuf};
use std::time::Duration;

use base::Digest;
use books::Books;
pub use error::ProviderError;
pub use fixed::FixedTerms;
use host::linux::Linux;
use host::policy::Policy;
use runtime::artefacts::Artefacts;
use runtime::launch::Launcher;
pub use runtime::sandbox::Weakening;
use wire::RuntimeTerms;

/// What is offered and bought unless somebody says otherwise: a core with up to 2 GiB, metered.
pub const INSTRUMENT: &str = "cpu.2g.any";

/// The owner's settings, in the data directory.
pub const SETTINGS_FILE: &str = "settings.toml";

/// What it earned and worked, in the data directory.
const BOOKS_FILE: &str = "books.json";

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
    /// Tasks that may run at once; absent as many as the settings allow.
    pub slots: Option<u32>,
    /// Memory that one slot may use.
    pub memory_mib_per_slot: u32,
    /// Where the machine is, for instruments of a region; empty says nothing.
    pub region: String,
    /// In which instruments its slots are offered; in all for which it qualifies if there is none.
    pub instruments: Vec<String>,
    /// The least it works for; absent what the settings say, which is to find out by itself.
    pub price_nanocredits_per_tfuel: Option<i64>,
    /// How fast a core of this computer is, if it was measured just now, in millions of fuel per
    /// second.
    pub mfuel_per_s: Option<u32>,
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
    /// Works whatever else happens on this computer, whatever the settings say of when.
    pub always: bool,
    /// Workers get only what other programs leave over.
    pub lowest_priority: bool,
    /// Where this computer's own files are seen: `/`, or what stands for it in tests.
    pub root: PathBuf,
    /// What of the containment of workers the owner does without, by name.
    pub weakening: Weakening,
}

impl Config {
    fn launcher(&self, state: &state::State) -> Launcher {
        let artefacts = self.artefacts.clone().unwrap_or_else(|| state.artefacts());
        Launcher {
            weakening: self.weakening,
            lowest_priority: self.lowest_priority,
            ..Launcher::new(self.worker.clone(), Artefacts::new(Some(artefacts)))
        }
    }

    /// As many tasks as may run at once here.
    fn slots_allowed(&self, policy: &Policy) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let memory = Linux::new(&self.root).memory_bytes().unwrap_or(0);
        let allowed = || policy.slots(cores, memory, u64::from(self.memory_mib_per_slot) << 20);
        self.slots.unwrap_or_else(allowed)
    }

    /// The machine's terms, as the exchange is told.
    fn terms(&self, slots: u32) -> wire::OfferTerms {
        wire::OfferTerms {
            name: self.name.clone(),
            slots,
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

/// How fast a core of the computer is by what an agent in `data` noted, in millions of fuel per
/// second.
pub fn measured_mfuel_per_s(data: &Path) -> Option<u32> {
    let books = Books::open(&data.join(BOOKS_FILE));
    Some(books.mfuel_per_s()).filter(|speed| *speed > 0)
}

/// Enrols if need be, then serves the exchange until a signal or a fatal refusal.
///
/// The first SIGTERM or SIGINT drains: asks are withdrawn, every attempt is stopped at a
/// checkpoint that is uploaded and receipted. The second one returns at once.
pub async fn run(config: Config) -> Result<(), ProviderError> {
    agent::run(config).await
}
