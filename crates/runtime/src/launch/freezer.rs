//! Stops worker processes where they are and lets them go on.
//!
//! SIGSTOP, which no process can refuse or notice. A worker can start no other process (the filter
//! of system calls and a limit of the kernel both see to it), so a process is all that there is to
//! stop: a cgroup's freezer would reach nothing more, and needs one that may be written to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::Signal;

use super::process::{Killer, Process};

/// All processes of a [`super::Launcher`] and its copies.
#[derive(Debug, Clone, Default)]
pub struct Freezer {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    frozen: bool,
    processes: Vec<Killer>,
}

impl Freezer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops every process at once; those that are started from now on stop before their first
    /// message. One task goes on by [`super::Worker::thaw`].
    pub fn freeze(&self) {
        let mut state = self.lock();
        state.frozen = true;
        for process in &state.processes {
            process.signal(Signal::SIGSTOP);
        }
    }

    /// Lets all of them go on.
    pub fn thaw(&self) {
        let mut state = self.lock();
        state.frozen = false;
        for process in &state.processes {
            process.signal(Signal::SIGCONT);
        }
    }

    /// The ids of all processes that there are just now.
    pub fn processes(&self) -> Vec<u32> {
        let state = self.lock();
        state.processes.iter().filter(|process| !process.is_over()).map(Killer::id).collect()
    }

    pub(super) fn adopt(&self, process: &Process) {
        let mut state = self.lock();
        state.processes.retain(|other| !other.is_over());
        let process = process.killer();
        if state.frozen {
            process.signal(Signal::SIGSTOP);
        }
        state.processes.push(process);
    }
}
