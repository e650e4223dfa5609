//! Namespaces of its own for a worker: another user, other mounts with an empty root, other IPC
//! and another host name. Where unprivileged ones are switched off, nothing of this happens.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, pivot_root};

/// Directories of which one is there to mount over; nothing is changed outside.
const PLACES: [&str; 4] = ["/tmp", "/var", "/usr", "/proc"];

/// Whether there is a namespace, and whether its root is empty. A network namespace takes longer
/// than everything else together and the filter of system calls leaves no use for one: only
/// without that filter it is worth it.
pub(super) fn enter(with_network: bool) -> (bool, bool) {
    let mut flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if with_network {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    if unshare(flags).is_err() {
        return (false, false);
    }
    (true, empty_root().is_ok())
}

fn empty_root() -> nix::Result<()> {
    const NONE: Option<&str> = None;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = Some("size=4k,nr_inodes=2,mode=555");
    let mounted = PLACES
        .into_iter()
        .find(|place| mount(Some("none"), *place, Some("tmpfs"), flags, options).is_ok())
        .ok_or(nix::Error::EPERM)?;
    chdir(mounted)?;
    // With one directory in both places the old root lies over the new one, and goes.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}
