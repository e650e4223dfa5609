//! Ctrl-C, and SIGTERM just the same, while something that was bought is waited for.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{CliResult, io};
use crate::exit;

/// Listens for the wish to stop. From its making on, signals end nothing by themselves.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Begins to listen.
    pub fn listen() -> CliResult<Self> {
        Ok(Stop {
            interrupt: io(signal(SignalKind::interrupt()), "listen for SIGINT")?,
            terminate: io(signal(SignalKind::terminate()), "listen for SIGTERM")?,
        })
    }

    /// What comes of `work`, or nothing if a signal came first.
    pub async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            result = work => Some(result),
            _ = self.interrupt.recv() => None,
            _ = self.terminate.recv() => None,
        }
    }

    /// From now on a signal ends the program, whatever it waits for: even a reader of its
    /// output that does not read.
    pub fn ends_the_program(mut self, last_words: String) {
        tokio::spawn(async move {
            if self.or(std::future::pending::<()>()).await.is_none() {
                eprintln!("{last_words}");
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
        });
    }
}
