//! An exchange without its edges: for measuring what durability costs, and nothing else.

use std::path::Path;
use std::sync::Arc;

use base::ExchangeId;
use clearing::Command;

use crate::config::Config;
use crate::error::ExchangeError;
use crate::sequencer::{self, Request, Sequencer};
use crate::store::SqliteStore;

/// Commands straight to the sequencer, journaled as ever.
#[derive(Clone)]
pub struct InProcess {
    sequencer: Sequencer,
    thread: Arc<std::sync::Mutex<Option<std::thread::JoinHandle<()>>>>,
}

impl InProcess {
    /// Starts one on a database in `data`.
    pub fn start(data: &Path) -> Result<Self, ExchangeError> {
        let config = Config::new(data, ([127, 0, 0, 1], 0).into());
        let store = SqliteStore::open(&data.join(crate::DATABASE_FILE), ExchangeId(1))?;
        let (sequencer, thread) = sequencer::start(Box::new(store), &config)?;
        let thread = Arc::new(std::sync::Mutex::new(Some(thread)));
        Ok(InProcess { sequencer, thread })
    }

    /// Decides a command; returns after it is durable. The error is the refusal's text.
    pub async fn command(&self, command: Command) -> Result<(), String> {
        self.sequencer.command(command).await.map_err(|failure| failure.to_string())
    }

    /// Sequence of the last journal entry.
    pub async fn journal_sequence(&self) -> u64 {
        self.sequencer.read(|core| core.sequence).await.unwrap_or(0)
    }

    /// Ends it.
    pub async fn stop(self) {
        // An error means that it stopped already.
        let _ = self.sequencer.send(Request::Stop).await;
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        let _ =
            tokio::task::spawn_blocking(move || thread.map(std::thread::JoinHandle::join)).await;
    }
}
