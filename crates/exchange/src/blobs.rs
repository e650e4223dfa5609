//! Content-addressed blobs. Behind a trait, so that S3 or peers can take the disk's place.
//!
//! A blob appears under its address whole and durable, or not at all: it is written to a
//! temporary file, flushed, and renamed. What a disk did to it afterwards is found on reading:
//! every read is hashed, and a blob that no longer has its address is never served.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base::Digest;

/// A blob could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No space.
    #[error("the disk of the exchange is full; free some space and send the blob again")]
    Full,
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

    /// The blob's length, without reading it.
    fn length(&self, digest: &Digest) -> Result<Option<u64>, BlobError>;

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
        Ok(DiskBlobs { root, next_temporary: AtomicU64::new(0) })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        blob_path(&self.root, digest)
    }
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
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join("tmp").join(number.to_string());
        let file = File::create_new(&temporary).map_err(at(&temporary))?;
        Ok(Box::new(DiskWriter {
            root: self.root.clone(),
            temporary,
            file,
            hasher: blake3::Hasher::new(),
            bytes: 0,
        }))
    }

    fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BlobError> {
        let path = self.path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        };
        if Digest::of(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        // Out of the way, so that whoever has the true blob can store it again; kept, so that
        // the operator can see what the disk did.
        tracing::error!(blob = %digest, path = %path.display(), "blob is damaged; set aside");
        let aside = path.with_extension("damaged");
        match fs::rename(&path, &aside) {
            // Another reader was faster.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(None),
        }
    }

    fn length(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
        }
    }
}

struct DiskWriter {
    root: PathBuf,
    temporary: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl BlobWriter for DiskWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
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
            return Ok((digest, self.bytes));
        }
        self.file.sync_all().map_err(at(&self.temporary))?;
        let directory = path.parent().unwrap_or(&self.root).to_owned();
        if !directory.exists() {
            fs::create_dir_all(&directory).map_err(at(&directory))?;
            sync_directory(&self.root)?;
        }
        fs::rename(&self.temporary, &path).map_err(at(&path))?;
        sync_directory(&directory)?;
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
