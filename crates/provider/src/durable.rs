//! Files that are whole or absent, whatever happens.
//!
//! [`replace`] also survives a power cut; [`keep`] needn't, and costs no wait for the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces `path` by `bytes`, readable by the owner only: written beside it, synced, renamed,
/// and the directory synced. When this returns, a power cut does not undo it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_by_name(path, bytes, true)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The same without a sync, for what is checked whenever it is read: after a power cut it may be
/// anything.
pub(crate) fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_by_name(path, bytes, false)
}

fn write_by_name(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    let written = write(&beside, bytes, sync).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // On a full disk the half-written file is what fills it.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    if sync { file.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_replaces_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        keep(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
