//! The one thread that decides. It owns the clearing state; whoever wants a decision or a look
//! at the state sends it a [`Request`].
//!
//! A round: take as many requests as wait (up to a bound), note whose they are signs of life
//! before anybody's silence is judged, decide the commands among them in
//! memory, write entries, projections and credentials in one transaction, commit, and only then
//! answer, tell agents, wake waiting clients and run reads. So nothing is ever seen that a power
//! cut could take back. When the commit fails, memory holds what never happened: it is thrown
//! away and folded anew from the journal, and every command of the round is answered with the
//! failure.

mod clock;
mod worker;

use std::time::{SystemTime, UNIX_EPOCH};

use base::{AttemptId, Digest, JobId, LeaseId, MachineId, OrderId};
use clearing::{Command, Rejection};
use tokio::sync::{mpsc, oneshot};
use wire::AttemptProgress;

use crate::core::Core;
use crate::presence::Link;
use crate::store::{CredentialChange, StoreError};

pub(crate) use worker::start;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Rejected(#[from] Rejection),
    #[error(
        "{live} tasks of this account did not end, and {tasks} more are too many: wait or cancel \
         jobs, an account has at most {max}"
    )]
    TooManyLiveTasks { live: u64, tasks: usize, max: u64 },
    #[error("the join code is {0}: ask the account's owner for a new one")]
    JoinCode(&'static str),
    #[error("the disk of the exchange is full; free some space and try again")]
    StorageFull,
    #[error("the exchange can't store anything now; see its log, and try again")]
    StorageFailed,
    #[error("the exchange is shutting down; try again in a moment")]
    Stopped,
}

impl From<&StoreError> for Failure {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Full => Failure::StorageFull,
            _ => Failure::StorageFailed,
        }
    }
}

/// An enrolment, with only the digests of its secrets.
#[derive(Debug)]
pub(crate) struct Enrol {
    pub code: Digest,
    pub machine: MachineId,
    pub public_key: [u8; 32],
    pub name: String,
    pub token: Digest,
}

/// What an agent's command was about, which decides the shape of the answer.
#[derive(Debug, Clone)]
pub(crate) enum About {
    Receipt { attempt: AttemptId, sequence: u64 },
    Ask { client_order_id: String },
    Cancel { order: OrderId },
    Close,
    FixedOffer,
}

type Reply = oneshot::Sender<Result<(), Failure>>;

/// What the sequencer is asked.
pub(crate) enum Request {
    /// Decide; the change of credentials happens if and only if the command does.
    Command { command: Command, change: Option<CredentialChange>, reply: Reply },
    /// Change credentials only.
    Change { change: CredentialChange, reply: Reply },
    /// Enrol a machine by a join code.
    Enrol { enrol: Enrol, reply: Reply },
    /// An agent's command: answered over its link. `done` is dropped after that.
    Agent {
        machine: MachineId,
        connection: u64,
        command: Command,
        about: About,
        done: oneshot::Sender<()>,
    },
    /// An agent proved its key.
    Connect { machine: MachineId, link: Link },
    /// An agent's connection is gone.
    Disconnect { machine: MachineId, connection: u64 },
    /// An agent is alive.
    Heartbeat { machine: MachineId, connection: u64, progress: Vec<AttemptProgress> },
    /// An agent answers a probe.
    ProbeAnswer { machine: MachineId, connection: u64, lease: LeaseId, nonce: Digest },
    /// Look at the committed state.
    Read(Box<dyn FnOnce(&mut Core) + Send>),
    /// Tell when the job has a newer version.
    Watch { job: JobId, after: u64, news: oneshot::Sender<()> },
    /// Finish this round and stop.
    Stop,
}

/// The way to the sequencer.
#[derive(Clone)]
pub(crate) struct Sequencer {
    requests: mpsc::Sender<Request>,
}

impl Sequencer {
    /// Decides a command; returns after it is durable.
    pub async fn command(&self, command: Command) -> Result<(), Failure> {
        self.ask(|reply| Request::Command { command, change: None, reply }).await
    }

    /// Decides a command and changes credentials with it.
    pub async fn command_with(
        &self,
        command: Command,
        change: CredentialChange,
    ) -> Result<(), Failure> {
        self.ask(|reply| Request::Command { command, change: Some(change), reply }).await
    }

    /// Changes credentials.
    pub async fn change(&self, change: CredentialChange) -> Result<(), Failure> {
        self.ask(|reply| Request::Change { change, reply }).await
    }

    /// Enrols a machine.
    pub async fn enrol(&self, enrol: Enrol) -> Result<(), Failure> {
        self.ask(|reply| Request::Enrol { enrol, reply }).await
    }

    /// Looks at the committed state.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Core) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        self.send(Request::Read(Box::new(move |core| {
            // Whoever asked may have hung up.
            let _ = sender.send(look(core));
        })))
        .await?;
        receiver.await.map_err(|_| Failure::StorageFailed)
    }

    /// Sends a request that isn't answered, or whose answer the caller awaits.
    pub async fn send(&self, request: Request) -> Result<(), Failure> {
        self.requests.send(request).await.map_err(|_| Failure::Stopped)
    }

    /// How many requests wait to be taken.
    pub fn waiting(&self) -> usize {
        self.requests.max_capacity() - self.requests.capacity()
    }

    /// Returns when the thread is gone.
    pub async fn stopped(&self) {
        self.requests.closed().await;
    }

    async fn ask(&self, request: impl FnOnce(Reply) -> Request) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.send(request(reply)).await?;
        answer.await.map_err(|_| Failure::Stopped)?
    }
}

/// Milliseconds UTC by the system's clock.
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
