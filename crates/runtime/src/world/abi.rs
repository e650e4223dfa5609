//! Numbers of WASI preview 1: file types, flags, rights, clocks.

pub(super) mod filetype {
    pub const UNKNOWN: u8 = 0;
    pub const DIRECTORY: u8 = 3;
    pub const REGULAR_FILE: u8 = 4;
}

pub(super) mod fdflags {
    pub const APPEND: u16 = 1;
    pub const ALL: u16 = 0x1f;
}

pub(super) mod oflags {
    pub const CREAT: u32 = 1;
    pub const DIRECTORY: u32 = 2;
    pub const EXCL: u32 = 4;
    pub const TRUNC: u32 = 8;
    pub const ALL: u32 = 0xf;
}

pub(super) mod fstflags {
    pub const ATIM: u32 = 1;
    pub const ATIM_NOW: u32 = 2;
    pub const MTIM: u32 = 4;
    pub const MTIM_NOW: u32 = 8;
    pub const ALL: u32 = 0xf;
}

/// `lookupflags`: only `symlink_follow` exists, and there are no symbolic links to follow.
pub(super) const LOOKUPFLAGS_ALL: u32 = 1;

pub(super) mod rights {
    pub const FD_READ: u64 = 1 << 1;
    pub const FD_SEEK: u64 = 1 << 2;
    pub const FD_TELL: u64 = 1 << 5;
    pub const FD_WRITE: u64 = 1 << 6;
    /// All 30 of them.
    pub const ALL: u64 = (1 << 30) - 1;
    /// What changes a file's content or size.
    pub const MODIFY: u64 = FD_WRITE | 1 << 8 | 1 << 22;
    /// What makes sense on a file: everything but paths, `fd_readdir` and sockets.
    pub const FILE: u64 = 0x1ff | 1 << 21 | 1 << 22 | 1 << 23 | 1 << 27;
    /// What makes sense on a directory: everything but reading, writing, seeking and sockets.
    pub const DIRECTORY: u64 =
        ALL & !(FD_READ | FD_SEEK | FD_TELL | MODIFY | 1 << 7 | 1 << 28 | 1 << 29);
    /// A stream that is read.
    pub const STDIN: u64 = FILE & !MODIFY;
    /// A stream that is written. Without seek and tell, as libraries expect of a pipe.
    pub const STDOUT: u64 = FILE & !(FD_READ | FD_SEEK | FD_TELL | 1 << 8 | 1 << 22);
}

pub(super) mod clock {
    pub const REALTIME: u32 = 0;
    pub const MONOTONIC: u32 = 1;
    pub const PROCESS_CPUTIME: u32 = 2;
    pub const THREAD_CPUTIME: u32 = 3;
}
