//! What a worker gives up for good: descriptors, privileges, and the right to outlive others
//! when memory is short.

use std::fs;
use std::io;

use nix::sys::prctl;

/// Closes whatever the parent left open beside the three standard streams.
pub(crate) fn close_inherited() {
    let (first, last, flags): (libc::c_uint, libc::c_uint, libc::c_int) = (3, libc::c_uint::MAX, 0);
    // SAFETY: called before anything in this process has opened a descriptor of its own.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } == 0 {
        return;
    }
    // Before Linux 5.9: those that there are.
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in open {
        // SAFETY: as above; the directory's own descriptor is closed by now, so this fails for it.
        unsafe { libc::close(descriptor) };
    }
}

/// No program that this process might start has more rights than it. Needed for all that follows.
pub(super) fn no_new_privileges() -> io::Result<()> {
    Ok(prctl::set_no_new_privs()?)
}

/// Nothing of the same user may trace this process or read its memory, and it leaves no core.
pub(super) fn undumpable() -> bool {
    prctl::set_dumpable(false).is_ok()
}

/// When memory runs out, this goes first: not the agent, nor anything of the owner's.
pub(super) fn first_to_go() -> bool {
    fs::write("/proc/self/oom_score_adj", "1000").is_ok()
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilitySet {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// For agents that run as root, and for the capabilities that a user namespace gives.
pub(super) fn drop_capabilities() -> bool {
    const VERSION_3: u32 = 0x2008_0522;
    let header = CapabilityHeader { version: VERSION_3, pid: 0 };
    let none = [CapabilitySet::default(); 2];
    // SAFETY: both structures are laid out as capset(2) of this version reads them.
    unsafe { libc::syscall(libc::SYS_capset, &header, none.as_ptr()) == 0 }
}
