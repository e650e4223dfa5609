//! Content-addressed blobs. Behind a trait, so that S3 or peers can take the disk's place.
//!
//! A blob appears under its address whole and durable, or not at all: it is written to a
//! temporary file, flushed, and renamed. What a disk did to it afterwards is found on reading:
//! every read is hashed, and a blob that no longer has its address is never served.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::Digest;
use nix::sys::statvfs::{Statvfs, statvfs};

/// A blob could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No space.
    #[error("the disk of the exchange is full; free some space and send the blob again")]
    Full,
    /// Who may read it can't be found out.
    #[error("the table of who holds which blob failed; see the exchange's log")]
    Holds,
    /// Any other failure of the disk.
    #[error("the blob store failed at {path}; see the exchange's log")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Where blobs live. All calls block; callers keep them off the async threads.
pub trait BlobStore: Send + Sync {
    /// Starts a blob of unknown address.
    fn begin(&self) -> Result<Box<dyn BlobWriter>, BlobError>;

    /// The blob's bytes, checked against its address; `None` when it is not here, or no
    /// longer what it was.
    fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BlobError>;

    /// The blob for sending on, a piece at a time; checked against its address first.
    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError>;

    /// The blob's length, without reading it; `None` until it is here for good.
    fn length(&self, digest: &Digest) -> Result<Option<u64>, BlobError>;

    /// Deletes the blob, if it is here.
    fn remove(&self, digest: &Digest) -> Result<(), BlobError>;

    /// Whether the blob is here.
    fn contains(&self, digest: &Digest) -> Result<bool, BlobError> {
        Ok(self.length(digest)?.is_some())
    }

    /// Stores `bytes`.
    fn put(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        let mut writer = self.begin()?;
        writer.write(bytes)?;
        Ok(writer.finish()?.0)
    }
}

/// A blob that is being read.
pub trait BlobReader: Send {
    /// Bytes in all.
    fn length(&self) -> u64;
    /// The next bytes, at most so many; none at the end.
    fn read(&mut self, most: usize) -> Result<Vec<u8>, BlobError>;
}

/// A blob that is being written. Dropped before [`BlobWriter::finish`], it leaves nothing.
pub trait BlobWriter: Send {
    /// Appends.
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError>;
    /// Makes the blob durable under its address: its digest and length.
    fn finish(self: Box<Self>) -> Result<(Digest, u64), BlobError>;
}

/// Blobs as files, `ab/abcdef…` under a directory.
#[derive(Debug)]
pub struct DiskBlobs {
    root: PathBuf,
    next_temporary: AtomicU64,
    unsettled: Arc<Unsettled>,
    /// Space left to the journal: see [`reserve`].
    reserve_bytes: u64,
}

/// Blobs that have their name already, but not for good: a power cut could still take it back.
/// They are not here yet for anybody but their uploader, since a receipt may be paid for them.
#[derive(Debug, Default)]
struct Unsettled(Mutex<BTreeSet<Digest>>);

impl Unsettled {
    fn set(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blobs leave this much of their disk to the journal, which must be able to say what happened
/// to the work that is paid already.
const RESERVE_BYTES: u64 = 64 << 20;

/// [`RESERVE_BYTES`], or less on a small disk.
fn reserve(disk_bytes: u64) -> u64 {
    RESERVE_BYTES.min(disk_bytes / 16)
}

fn disk(path: &Path) -> Result<Statvfs, BlobError> {
    statvfs(path).map_err(|error| at(path)(error.into()))
}

impl DiskBlobs {
    /// Opens or creates the store. Temporary files of an earlier process are removed.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let root = root.into();
        let temporary = root.join("tmp");
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(at(&temporary))?;
        }
        fs::create_dir_all(&temporary).map_err(at(&temporary))?;
        // What an earlier process renamed last may not be durable yet.
        for entry in fs::read_dir(&root).map_err(at(&root))? {
            let entry = entry.map_err(at(&root))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                sync_directory(&entry.path())?;
            }
        }
        sync_directory(&root)?;
        let disk = disk(&root)?;
        let reserve_bytes = reserve(disk.blocks() * disk.fragment_size());
        let unsettled = Arc::default();
        Ok(DiskBlobs { root, next_temporary: AtomicU64::new(0), unsettled, reserve_bytes })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        blob_path(&self.root, digest)
    }

    /// The file, opened, if it is here for good.
    fn file(&self, digest: &Digest) -> Result<Option<File>, BlobError> {
        if self.unsettled.set().contains(digest) {
            return Ok(None);
        }
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// Out of the way, so that whoever has the true blob can store it again; kept, so that the
    /// operator can see what the disk did.
    fn set_aside(&self, digest: &Digest) -> Result<(), BlobError> {
        let path = self.path(digest);
        tracing::error!(blob = %digest, path = %path.display(), "blob is damaged; set aside");
        match fs::rename(&path, path.with_extension("damaged")) {
            // Another reader was faster.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        }
    }
}

/// Every blob below a store's directory, with its length; what can't be read is left out.
pub(crate) fn all(root: &Path) -> Vec<(Digest, u64)> {
    let mut found = Vec::new();
    let shards = fs::read_dir(root).into_iter().flatten().flatten();
    for file in shards.flat_map(|shard| fs::read_dir(shard.path())).flatten().flatten() {
        let digest = file.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(digest), Ok(metadata)) = (digest, file.metadata()) {
            found.push((digest, metadata.len()));
        }
    }
    found
}

fn blob_path(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.to_hex();
    root.join(&hex[..2]).join(hex)
}

/// Names the file in an error, and tells a full disk from a broken one.
fn at(path: &Path) -> impl FnOnce(io::Error) -> BlobError + '_ {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full,
        _ => BlobError::Io { path: path.to_owned(), source },
    }
}

impl BlobStore for DiskBlobs {
    fn begin(&self) -> Result<Box<dyn BlobWriter>, BlobError> {
        enough_space(&self.root, 0, self.reserve_bytes)?;
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join("tmp").join(number.to_string());
        let file = File::create_new(&temporary).map_err(at(&temporary))?;
        Ok(Box::new(DiskWriter {
            root: self.root.clone(),
            temporary,
            file,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            unsettled: Arc::clone(&self.unsettled),
            reserve_bytes: self.reserve_bytes,
        }))
    }

    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn BlobReader>>, BlobError> {
        let Some(mut file) = self.file(digest)? else { return Ok(None) };
        let path = self.path(digest);
        // Once to check it, and later once more to send it, without having it in memory.
        let mut hasher = blake3::Hasher::new();
        let length = io::copy(&mut file, &mut hasher).map_err(at(&path))?;
        if *hasher.finalize().as_bytes() != digest.0 {
            self.set_aside(digest)?;
            return Ok(None);
        }
        file.rewind().map_err(at(&path))?;
        Ok(Some(Box::new(DiskReader { path, file, length, left: length })))
    }

    fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BlobError> {
        let Some(mut file) = self.file(digest)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(at(&self.path(digest)))?;
        if Digest::of(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        self.set_aside(digest)?;
        Ok(None)
    }

    fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        }
    }

    fn length(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        if self.unsettled.set().contains(digest) {
            return Ok(None);
        }
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
        }
    }
}

struct DiskReader {
    path: PathBuf,
    file: File,
    length: u64,
    left: u64,
}

impl BlobReader for DiskReader {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&mut self, most: usize) -> Result<Vec<u8>, BlobError> {
        let most = usize::try_from(self.left).map_or(most, |left| left.min(most));
        let mut piece = vec![0; most];
        self.file.read_exact(&mut piece).map_err(at(&self.path))?;
        self.left -= most as u64;
        Ok(piece)
    }
}

struct DiskWriter {
    root: PathBuf,
    temporary: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
    unsettled: Arc<Unsettled>,
    reserve_bytes: u64,
}

fn enough_space(root: &Path, bytes: usize, reserve_bytes: u64) -> Result<(), BlobError> {
    let disk = disk(root)?;
    let free = disk.blocks_available() * disk.fragment_size();
    if free < reserve_bytes.saturating_add(bytes as u64) {
        return Err(BlobError::Full);
    }
    Ok(())
}

impl BlobWriter for DiskWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        enough_space(&self.root, bytes.len(), self.reserve_bytes)?;
        self.file.write_all(bytes).map_err(at(&self.temporary))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(Digest, u64), BlobError> {
        let digest = Digest(*self.hasher.finalize().as_bytes());
        let path = blob_path(&self.root, &digest);
        // The same content is already here whole: renaming over it would only cost flushes.
        // A file of another length is damaged, and is replaced.
        if fs::metadata(&path).is_ok_and(|there| there.len() == self.bytes) {
            // Whoever stored it may not have flushed the directory yet.
            sync_directory(path.parent().unwrap_or(&self.root))?;
            self.unsettled.set().remove(&digest);
            return Ok((digest, self.bytes));
        }
        self.file.sync_all().map_err(at(&self.temporary))?;
        let directory = path.parent().unwrap_or(&self.root).to_owned();
        if !directory.exists() {
            fs::create_dir_all(&directory).map_err(at(&directory))?;
            sync_directory(&self.root)?;
        }
        self.unsettled.set().insert(digest);
        if let Err(error) = fs::rename(&self.temporary, &path) {
            self.unsettled.set().remove(&digest);
            return Err(at(&path)(error));
        }
        // If this fails, the blob stays unsettled until somebody uploads it again.
        sync_directory(&directory)?;
        self.unsettled.set().remove(&digest);
        Ok((digest, self.bytes))
    }
}

impl Drop for DiskWriter {
    fn drop(&mut self) {
        // After a successful rename the name is gone; an unfinished blob leaves nothing.
        if let Err(error) = fs::remove_file(&self.temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.temporary.display(), %error, "temporary file stays");
        }
    }
}

/// A rename is durable only once its directory is.
fn sync_directory(directory: &Path) -> Result<(), BlobError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(at(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_stored_once_and_a_dropped_one_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(directory.path()).unwrap();
        let digest = blobs.put(b"sand").unwrap();
        assert_eq!(digest, Digest::of(b"sand"));
        assert_eq!(blobs.put(b"sand").unwrap(), digest);
        assert_eq!(blobs.get(&digest).unwrap().as_deref(), Some(&b"sand"[..]));

        let mut writer = blobs.begin().unwrap();
        writer.write(b"half of").unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(directory.path().join("tmp")).unwrap().count(), 0);
        assert!(!blobs.contains(&Digest::of(b"half of")).unwrap());
    }

    #[test]
    fn a_blob_is_not_here_before_it_is_durable() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(directory.path()).unwrap();
        let digest = blobs.put(b"sand").unwrap();
        // As it is between the rename and the flush of the directory.
        blobs.unsettled.set().insert(digest);
        assert!(!blobs.contains(&digest).unwrap());
        assert!(blobs.get(&digest).unwrap().is_none() && blobs.open(&digest).unwrap().is_none());
        // Another uploader of the same content flushes it, too.
        blobs.put(b"sand").unwrap();
        assert!(blobs.contains(&digest).unwrap());
    }

    #[test]
    fn a_blob_is_read_in_pieces_and_never_altered() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(directory.path()).unwrap();
        let digest = blobs.put(b"quicksand").unwrap();
        let mut reader = blobs.open(&digest).unwrap().unwrap();
        assert_eq!(reader.length(), 9);
        let pieces = [reader.read(5), reader.read(5), reader.read(5)].map(Result::unwrap);
        assert_eq!(pieces, [&b"quick"[..], b"sand", b""]);
        fs::write(blobs.path(&digest), b"quickmud!").unwrap();
        assert!(blobs.open(&digest).unwrap().is_none());
        assert!(!blobs.contains(&digest).unwrap());
    }

    #[test]
    fn blobs_leave_space_to_the_journal() {
        assert_eq!(reserve(4 << 20), 256 << 10);
        assert_eq!(reserve(1 << 40), 64 << 20);
        let directory = tempfile::tempdir().unwrap();
        let mut blobs = DiskBlobs::open(directory.path()).unwrap();
        blobs.put(b"sand").unwrap();
        blobs.reserve_bytes = u64::MAX;
        assert!(matches!(blobs.put(b"more"), Err(BlobError::Full)));
    }

    #[test]
    fn an_altered_blob_is_never_served_and_can_be_mended() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(directory.path()).unwrap();
        let digest = blobs.put(b"sand").unwrap();
        fs::write(blobs.path(&digest), b"mud!").unwrap();
        assert_eq!(blobs.get(&digest).unwrap(), None);
        assert!(!blobs.contains(&digest).unwrap());
        blobs.put(b"sand").unwrap();
        assert!(blobs.get(&digest).unwrap().is_some());
        // A shorter file is replaced even before anybody reads it.
        fs::write(blobs.path(&digest), b"sa").unwrap();
        blobs.put(b"sand").unwrap();
        assert!(blobs.get(&digest).unwrap().is_some());
    }
}
