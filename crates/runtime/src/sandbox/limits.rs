//! Limits of the kernel on one worker process.
//!
//! A WebAssembly memory reserves 4 GiB of addresses whatever it uses, so that its bounds need no
//! checks: the limit on addresses is therefore wide, and what bounds memory is the limit on
//! *data*, which counts the private writable pages that a process may have.

use std::io;

use nix::sys::resource::{Resource, rlim_t, setrlimit};
use serde::{Deserialize, Serialize};

/// Descriptors: the pipe, a module, and memory images.
const OPEN_FILES_MAX: rlim_t = 64;
/// Past the soft limit on processor time the kernel says why (SIGXCPU); past the hard one, ends.
const CPU_GRACE_S: rlim_t = 5;

/// How much of the machine a worker may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Addresses, reserved or used.
    pub address_bytes: u64,
    /// Private writable memory.
    pub data_bytes: u64,
    /// Processor time of all its threads.
    pub cpu_s: u64,
    /// The largest memory image; it can open no other files.
    pub file_bytes: u64,
}

impl Limits {
    pub fn set(&self) -> io::Result<()> {
        let both = |resource, value: rlim_t| setrlimit(resource, value, value);
        both(Resource::RLIMIT_AS, self.address_bytes)?;
        both(Resource::RLIMIT_DATA, self.data_bytes)?;
        both(Resource::RLIMIT_FSIZE, self.file_bytes)?;
        both(Resource::RLIMIT_NOFILE, OPEN_FILES_MAX)?;
        both(Resource::RLIMIT_CORE, 0)?;
        both(Resource::RLIMIT_MEMLOCK, 0)?;
        both(Resource::RLIMIT_MSGQUEUE, 0)?;
        setrlimit(Resource::RLIMIT_CPU, self.cpu_s, self.cpu_s.saturating_add(CPU_GRACE_S))?;
        Ok(())
    }
}

/// The user's processes are counted, not this one's threads: so the count can only be closed
/// once all threads are there.
pub(super) fn no_more_threads() -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_NPROC, 0, 0)?)
}
