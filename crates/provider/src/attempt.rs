//! What the agent and the task that drives one attempt say to each other.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use base::{AttemptId, ExchangeId};
use ed25519_dalek::SigningKey;
use runtime::launch::Launcher;
use tokio::sync::{Semaphore, mpsc, watch};
use wire::SignedReceipt;

use crate::blobs::Blobs;
use crate::state::State;

/// Agent → attempt. (To drop an attempt, the agent aborts its task: the worker dies with it.)
#[derive(Debug)]
pub(crate) enum Control {
    /// Stop at a checkpoint, upload it, say `Yielded`.
    Drain,
    /// The same for an owner who is back: the worker is frozen by now, and is let go on only to
    /// stop, after those before it.
    Yield,
    /// A receipt was accepted.
    Accepted { sequence: u64 },
    /// A receipt was refused.
    Rejected { sequence: u64, code: String, message: String, fatal: bool },
}

/// Attempt → agent.
#[derive(Debug)]
pub(crate) enum Report {
    /// How far it is, for heartbeats.
    Progress { fuel: u64 },
    /// To be sent until it is answered.
    Receipt(Box<SignedReceipt>),
    /// This machine can't go on with it, nor say so in a receipt: the lease is to be closed.
    GivenUp { reason: String },
    /// Nothing more follows.
    Over,
}

/// What all attempts share.
pub(crate) struct Shared {
    pub exchange: ExchangeId,
    pub state: Arc<State>,
    pub key: Arc<SigningKey>,
    pub blobs: Blobs,
    /// One permit per slot. Inputs are downloaded before one is taken.
    pub slots: Arc<Semaphore>,
    /// One permit: of frozen workers one at a time goes on, to stop.
    pub turns: Arc<Semaphore>,
    pub slot_pages_max: u32,
    pub checkpoint_interval: Duration,
    pub launcher: Launcher,
    /// The fastest that a core was measured at since the agent began; 0 before.
    pub mfuel_per_s: AtomicU32,
    /// Whether the exchange is there: without it no checkpoint is worth capturing.
    pub connected: watch::Receiver<bool>,
    pub reports: mpsc::UnboundedSender<(AttemptId, Report)>,
}
