//! What this computer offers for containing programs, found out by doing it: a worker puts up its
//! walls and says which there are, and others try to get out.

use std::io;

use crate::launch::{self, Launcher};
use crate::pipe;
use crate::protocol::{Down, FromWorker, Up};

pub use crate::protocol::Behind;
use crate::sandbox::attempts::{AFTER_LOADING, ATTEMPTS, Tried};
use crate::sandbox::{Confinement, Weakening};

/// One part of the containment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub what_for: &'static str,
    /// Whether this computer has it.
    pub offered: bool,
    /// Whether nothing is run without it.
    pub need: Need,
}

/// How much a part matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing is run without it.
    Mandatory,
    /// Nothing is run without one of those of this kind.
    OneOf,
    /// Taken where it is.
    Better,
}

/// An attempt of [`crate::sandbox::attempts`] and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Its name.
    pub name: &'static str,
    /// What it would be good for.
    pub what: &'static str,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It worked: a hole.
    Worked,
    /// Refused with this error number.
    Refused(i32),
    /// It ended the process.
    Ended(String),
}

/// All parts, as a worker found them here.
pub fn features(found: &Confinement) -> Vec<Feature> {
    let feature = |name, offered, need, what_for| Feature { name, what_for, offered, need };
    use Need::{Better, Mandatory, OneOf};
    vec![
        feature(
            "system call filter (seccomp)",
            found.syscall_filter,
            Mandatory,
            "a program that breaks out of WebAssembly can ask the kernel for next to nothing",
        ),
        feature(
            "no new privileges",
            found.no_new_privileges,
            Mandatory,
            "nothing that it might start has more rights than it",
        ),
        feature(
            "limits of the kernel",
            found.limits,
            Mandatory,
            "memory, processor time, files and threads have an end",
        ),
        feature(
            "Landlock",
            found.landlock,
            OneOf,
            "no file can be opened, even if a forgotten system call would",
        ),
        feature(
            "user namespace with an empty root",
            found.empty_root,
            OneOf,
            "there are no files to be opened, and no other processes' IPC",
        ),
        feature(
            "Landlock for network and signals",
            found.landlock_whole,
            Better,
            "no connection and no signal, even if a forgotten system call would",
        ),
        feature("no capabilities", found.no_capabilities, Better, "root's rights are gone"),
        feature(
            "not dumpable",
            found.undumpable,
            Better,
            "other programs of the same user can't look into it",
        ),
        feature(
            "first to go",
            found.first_to_go,
            Better,
            "short of memory, the kernel ends it before anything of yours",
        ),
    ]
}

/// Whether everything that is mandatory is there.
pub fn is_enough(features: &[Feature]) -> bool {
    let has = |need| features.iter().filter(move |feature| feature.need == need);
    has(Need::Mandatory).all(|feature| feature.offered)
        && has(Need::OneOf).any(|feature| feature.offered)
}

/// What surrounds a worker on this computer when nothing is insisted on.
pub fn examine(launcher: &Launcher) -> io::Result<Confinement> {
    let weakening = Weakening { without_syscall_filter: true, without_file_isolation: true };
    let launcher = Launcher { weakening, ..launcher.clone() };
    let mut process = launcher.prisoner(Behind::All)?;
    match launch::ready(&mut process)? {
        Ok((confinement, _)) => Ok(confinement),
        Err(event) => Err(io::Error::other(format!("{event:?}"))),
    }
}

/// Why nothing can be run here with the walls that `launcher` insists on, if so.
pub fn check(launcher: &Launcher) -> io::Result<Result<(), String>> {
    let mut process = launcher.prisoner(Behind::All)?;
    Ok(match launch::ready(&mut process)? {
        Ok(_) => Ok(()),
        Err(FromWorker::Fault { reason } | FromWorker::Refused { reason }) => Err(reason),
        Err(event) => Err(format!("{event:?}")),
    })
}

/// Makes every attempt, each in a worker of its own with the walls that `launcher` gives.
pub fn trials(launcher: &Launcher) -> io::Result<Vec<Trial>> {
    ATTEMPTS
        .iter()
        .map(|attempt| {
            let sealed = AFTER_LOADING.contains(&attempt.name);
            let behind = if sealed { Behind::Sealed } else { Behind::All };
            let fate = trial(launcher, attempt.name, behind)?;
            Ok(Trial { name: attempt.name, what: attempt.what, fate })
        })
        .collect()
}

/// Makes one attempt.
pub fn trial(launcher: &Launcher, name: &str, behind: Behind) -> io::Result<Fate> {
    let mut process = launcher.prisoner(behind)?;
    if let Err(event) = launch::ready(&mut process)? {
        return Err(io::Error::other(format!("{event:?}")));
    }
    pipe::send(process.stream(), &Down::Attempt(name.to_owned()))?;
    match process.receive::<Up>(launch::SHORT_BYTES_MAX) {
        Ok(Up::Tried(Tried::Worked)) => Ok(Fate::Worked),
        Ok(Up::Tried(Tried::Errno(errno))) => Ok(Fate::Refused(errno)),
        Ok(_) => Err(io::Error::other(format!("there is no attempt {name}"))),
        Err(_) => Ok(Fate::Ended(match process.end() {
            Some(status) => status.to_string(),
            None => "nobody knows how".to_owned(),
        })),
    }
}
