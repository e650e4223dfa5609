//! The walls around a worker process, put up by the worker itself before it reads a foreign byte.
//!
//! In this order, since each step takes away what the ones before needed: inherited descriptors
//! are closed; Landlock and namespaces take files, signals and (where there is Landlock for it)
//! the network; capabilities and new privileges go; limits of the kernel bound memory, processor
//! time and counts; threads are started; and last a filter of system calls closes over all of
//! them (`Walls::close`). Once a run worker has loaded its module, `seal` takes away
//! executable memory.
//!
//! What is *mandatory* must be there or nothing is run; an owner may give up a part of it by name
//! ([`Weakening`]). The rest is taken where the system offers it. `docs/containment.md` says what
//! each part is good for.

pub mod attempts;
mod limits;
mod namespaces;
mod priority;
mod privileges;
mod syscalls;

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
    Scope,
};
use serde::{Deserialize, Serialize};

pub(crate) use limits::Limits;
pub(crate) use priority::yield_to_everybody;
pub(crate) use privileges::close_inherited;
pub(crate) use syscalls::seal;

/// What the owner does without, by name. Nothing, unless asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weakening {
    /// Run although system calls can't be filtered: a program that breaks out of WebAssembly can
    /// then attack the kernel.
    pub without_syscall_filter: bool,
    /// Run although neither Landlock nor namespaces are to be had: the filter of system calls is
    /// then all that keeps a program from this computer's files.
    pub without_file_isolation: bool,
}

/// What surrounds a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// System calls are filtered.
    pub syscall_filter: bool,
    /// No privileges can be gained.
    pub no_new_privileges: bool,
    /// The kernel bounds memory, time and counts.
    pub limits: bool,
    /// Landlock is in force, at least for files.
    pub landlock: bool,
    /// All that this version knows of Landlock is: network, signals and abstract sockets, too.
    pub landlock_whole: bool,
    /// A user namespace of its own, with its own mounts, IPC and host name.
    pub namespaces: bool,
    /// Its root directory is empty and read-only.
    pub empty_root: bool,
    /// No capabilities are left.
    pub no_capabilities: bool,
    /// Other processes of the same user can't look into it.
    pub undumpable: bool,
    /// Short of memory, the kernel ends it before anything of the owner's.
    pub first_to_go: bool,
}

/// A mandatory wall is lacking.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// No seccomp.
    #[error(
        "this system can't filter system calls ({0}), so nothing is run here; see `jusha doctor`, and --without-syscall-filter if you accept that"
    )]
    NoSyscallFilter(String),
    /// Neither Landlock nor namespaces.
    #[error(
        "this system has neither Landlock nor user namespaces, so nothing is run here; see `jusha doctor`, and --without-file-isolation if you accept that"
    )]
    NoFileIsolation,
    /// The kernel refused what every Linux has.
    #[error("this system can't {what}, so nothing is run here; see `jusha doctor`")]
    System {
        /// What.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

/// Walls that still have an opening: threads can be started until they are closed.
pub(crate) struct Walls {
    confinement: Confinement,
    weakening: Weakening,
}

/// Puts up everything but the filter of system calls. The process must have one thread.
pub(crate) fn enter(limits: &Limits, weakening: Weakening) -> Result<Walls, SandboxError> {
    let system = |what| move |source| SandboxError::System { what, source };
    let mut found = Confinement {
        first_to_go: privileges::first_to_go(),
        undumpable: privileges::undumpable(),
        ..Confinement::default()
    };
    privileges::no_new_privileges().map_err(system("give up new privileges"))?;
    found.no_new_privileges = true;
    (found.namespaces, found.empty_root) = namespaces::enter(weakening.without_syscall_filter);
    (found.landlock, found.landlock_whole) = landlock();
    if !found.landlock && !found.empty_root && !weakening.without_file_isolation {
        return Err(SandboxError::NoFileIsolation);
    }
    found.no_capabilities = privileges::drop_capabilities();
    limits.set().map_err(system("limit a process"))?;
    found.limits = true;
    Ok(Walls { confinement: found, weakening })
}

impl Walls {
    /// No more threads, but no filter of system calls.
    pub fn leave_open(self) -> Result<Confinement, SandboxError> {
        limits::no_more_threads()
            .map_err(|source| SandboxError::System { what: "limit a process", source })?;
        Ok(self.confinement)
    }

    /// Closes the walls around all threads of the process. No more can be started.
    pub fn close(mut self) -> Result<Confinement, SandboxError> {
        limits::no_more_threads()
            .map_err(|source| SandboxError::System { what: "limit a process", source })?;
        match syscalls::filter() {
            Ok(()) => self.confinement.syscall_filter = true,
            Err(_) if self.weakening.without_syscall_filter => {}
            Err(error) => return Err(SandboxError::NoSyscallFilter(error)),
        }
        Ok(self.confinement)
    }
}

/// Denies everything that Landlock can deny: whether files are, and whether all of it is.
fn landlock() -> (bool, bool) {
    let newest = ABI::V6;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(newest)))
        .and_then(|rules| rules.scope(Scope::from_all(newest)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.restrict_self());
    match status.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => (true, true),
        Ok(RulesetStatus::PartiallyEnforced) => (true, false),
        _ => (false, false),
    }
}
