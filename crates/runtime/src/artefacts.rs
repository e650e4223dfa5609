//! Compiled modules, kept by the agent.
//!
//! Loading compiled code is running it, so: only the agent writes here, never a worker; each file
//! is what a compile worker made of one module and is named after everything it depends on
//! (module, transform, build, the transform's sources, engine and its settings, processor); it is whole on
//! disk before it has its name, and is never written to again; a run worker gets it as an open
//! file that it can only read, and only the one of its own module. So whoever finds a hole in the
//! compiler owns the artefacts of that very module, which are run behind the same walls as it is.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base::Digest;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::TRANSFORM_VERSION;
use crate::engine::Build;

/// Largest artefact that is taken from a compile worker.
const ARTEFACT_BYTES_MAX: u64 = 2 << 30;
/// What a directory keeps by default; the longest unused go first.
const DIRECTORY_BYTES_MAX: u64 = 8 << 30;
const SUFFIX: &str = "cwasm";

/// A place for compiled modules, shared by everything in this process that runs tasks.
#[derive(Debug, Clone)]
pub struct Artefacts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: Option<PathBuf>,
    bytes_max: u64,
    /// One at a time per artefact: the others wait for it.
    making: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    written: AtomicU64,
}

/// Held by the process that makes an artefact. Whoever waits for it when it goes finds the artefact
/// there, so it doesn't matter that the next to come would lock another file.
#[derive(Debug)]
struct MakingElsewhere {
    path: PathBuf,
    _file: File,
}

impl Drop for MakingElsewhere {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Everything that an artefact depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub module: Digest,
    pub build: Build,
    /// [`crate::engine::Compiler::identity`].
    pub identity: u64,
}

impl Key {
    fn name(&self) -> String {
        let Key { module, build, identity } = self;
        format!("{module}-t{TRANSFORM_VERSION}-{}-{identity:016x}.{SUFFIX}", build.name())
    }
}

impl Artefacts {
    /// Kept in `directory`, or only for as long as they are used.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Artefacts::with_limit(directory, DIRECTORY_BYTES_MAX)
    }

    fn with_limit(directory: Option<PathBuf>, bytes_max: u64) -> Self {
        let inner =
            Inner { directory, bytes_max, making: Mutex::default(), written: AtomicU64::default() };
        Artefacts { inner: Arc::new(inner) }
    }

    /// The artefact, made by `make` if there is none yet. Two that want the same one at the same
    /// time wait for the one that makes it, also where they are processes that share a directory:
    /// compiling a language's runtime takes a core for half a minute.
    pub(crate) fn get<E: From<io::Error>>(
        &self,
        key: &Key,
        make: impl FnOnce() -> Result<File, E>,
    ) -> Result<File, E> {
        if let Some(file) = self.open(key) {
            return Ok(file);
        }
        let name = key.name();
        let turn = {
            let mut making = self.inner.making.lock().unwrap_or_else(PoisonError::into_inner);
            making.entry(name.clone()).or_default().clone()
        };
        let held = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match self.open(key) {
            Some(file) => Ok(file),
            None => {
                let held = self.lock(&name);
                let file = match self.open(key) {
                    Some(file) => Ok(file),
                    None => make().map(|made| self.keep(key, made)),
                };
                drop(held);
                file
            }
        };
        drop(held);
        self.inner.making.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        file
    }

    /// Waits for other processes that make it. Without a lock, on a file system that has none, both
    /// make it, and the later one stays.
    fn lock(&self, name: &str) -> Option<MakingElsewhere> {
        let directory = self.inner.directory.as_deref()?;
        fs::create_dir_all(directory).ok()?;
        let path = directory.join(format!(".{name}.lock"));
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.ok()?;
        file.lock().ok()?;
        Some(MakingElsewhere { path, _file: file })
    }

    fn open(&self, key: &Key) -> Option<File> {
        let path = self.inner.directory.as_deref()?.join(key.name());
        let file = File::open(path).ok()?;
        // Who is used stays; a file system that refuses this forgets the order, no more.
        let _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// A cache: failing to write it (a full disk) costs the next task its compilation, no more.
    fn keep(&self, key: &Key, mut made: File) -> File {
        let Some(directory) = self.inner.directory.as_deref() else { return made };
        match self.write(directory, &key.name(), &mut made) {
            Ok(()) => {
                self.make_room(directory);
                self.open(key).unwrap_or(made)
            }
            Err(_) => made,
        }
    }

    fn write(&self, directory: &Path, name: &str, made: &mut File) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let number = self.inner.written.fetch_add(1, Ordering::Relaxed);
        let temporary = directory.join(format!(".{}-{number}.tmp", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| {
                made.rewind()?;
                io::copy(made, &mut file)?;
                // Half an artefact under a whole one's name would be run after a power cut.
                file.sync_all()
            })
            .and_then(|()| fs::rename(&temporary, directory.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Removes the longest unused. Whoever has one open keeps it.
    fn make_room(&self, directory: &Path) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        let mut all: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let (path, meta) = entry.ok().and_then(|e| Some((e.path(), e.metadata().ok()?)))?;
                let ours = path.extension().is_some_and(|extension| extension == SUFFIX);
                ours.then_some((meta.modified().ok()?, meta.len(), path))
            })
            .collect();
        all.sort();
        let mut held: u64 = all.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in all {
            if held <= self.inner.bytes_max {
                return;
            }
            if fs::remove_file(path).is_ok() {
                held -= bytes;
            }
        }
    }
}

/// Takes an artefact of `bytes` bytes out of a compile worker's pipe, into memory that nobody can
/// write to again.
pub(crate) fn take(input: &mut impl Read, bytes: u64) -> io::Result<File> {
    if bytes > ARTEFACT_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it sent an artefact of {bytes} bytes, where {ARTEFACT_BYTES_MAX} is the most"
        )));
    }
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memory: OwnedFd = memfd_create(c"jusha-artefact", flags)?;
    let mut file = File::from(memory);
    if io::copy(&mut input.take(bytes), &mut file)? != bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.flush()?;
    file.rewind()?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use super::*;

    fn key(name: &str) -> Key {
        Key { module: Digest::of(name.as_bytes()), build: Build::FAST, identity: 1 }
    }

    fn read(mut file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn made(text: &str) -> Result<File, Error> {
        take(&mut text.as_bytes(), text.len() as u64)
    }

    #[test]
    fn each_key_has_its_own_and_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let artefacts = Artefacts::new(Some(dir.path().join("made/when/wanted")));
        assert_eq!(read(artefacts.get(&key("a"), || made("one")).unwrap()), b"one");
        let never = || -> Result<File, Error> { panic!("made twice") };
        assert_eq!(read(artefacts.get(&key("a"), never).unwrap()), b"one");
        for other in
            [key("b"), Key { build: Build::CANONICAL, ..key("a") }, Key { identity: 2, ..key("a") }]
        {
            assert_eq!(read(artefacts.get(&other, || made("other")).unwrap()), b"other");
        }
    }

    #[test]
    fn a_failure_leaves_nothing_and_no_directory_is_none_lost() {
        let dir = tempfile::tempdir().unwrap();
        let artefacts = Artefacts::new(Some(dir.path().to_owned()));
        let failed = artefacts.get(&key("a"), || take(&mut &b"half"[..], 8));
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // Its directory is a file: nothing can be kept.
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for directory in [None, Some(file)] {
            let artefacts = Artefacts::new(directory);
            assert_eq!(read(artefacts.get(&key("a"), || made("one")).unwrap()), b"one");
        }
    }

    #[test]
    fn processes_that_share_a_directory_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        // Two of them lock as two processes do.
        let places = [(); 2].map(|()| Artefacts::new(Some(dir.path().to_owned())));
        let waits = || {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            let own = std::process::id().to_string();
            locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&own))
        };
        std::thread::scope(|scope| {
            let first = places[0].get(&key("a"), || {
                scope.spawn(|| {
                    let never = || -> Result<File, Error> { panic!("made twice") };
                    assert_eq!(read(places[1].get(&key("a"), never).unwrap()), b"one");
                });
                while !waits() {
                    std::thread::yield_now();
                }
                made("one")
            });
            assert_eq!(read(first.unwrap()), b"one");
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no lock is left");
    }

    #[test]
    fn what_a_worker_gets_can_only_be_read() {
        let dir = tempfile::tempdir().unwrap();
        for directory in [None, Some(dir.path().to_owned())] {
            let artefacts = Artefacts::new(directory);
            for _ in 0..2 {
                let mut file = artefacts.get(&key("a"), || made("one")).unwrap();
                assert!(file.write_all(b"two").is_err());
                assert!(file.set_len(0).is_err());
                assert_eq!(read(file), b"one");
            }
        }
    }

    #[test]
    fn the_longest_unused_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let artefacts = Artefacts::with_limit(Some(dir.path().to_owned()), 10);
        let names = ["a", "b", "c"];
        for (at, name) in names.iter().enumerate() {
            artefacts.get(&key(name), || made("four")).unwrap();
            let used = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at as u64);
            let path = dir.path().join(key(name).name());
            File::open(path).map(|file| file.set_modified(used)).unwrap().unwrap();
        }
        // `a` went when `c` came. Used again, `b` outlives it.
        let there = |name: &str| dir.path().join(key(name).name()).exists();
        assert_eq!(names.map(there), [false, true, true]);
        artefacts.get(&key("b"), || made("none")).unwrap();
        artefacts.get(&key("d"), || made("four")).unwrap();
        assert_eq!(["b", "c", "d"].map(there), [true, false, true]);
    }

    #[test]
    fn an_artefact_is_bounded() {
        let error = take(&mut io::repeat(0), u64::MAX).unwrap_err();
        assert!(error.to_string().contains("the most"), "{error}");
    }
}
