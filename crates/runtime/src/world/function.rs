//! The functions of WASI preview 1, their names and types.

/// A type of a WebAssembly parameter or result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// A 32-bit integer or pointer.
    I32,
    /// A 64-bit integer.
    I64,
}

/// The WebAssembly type of a [`Function`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Parameters.
    pub params: &'static [ValueType],
    /// Results: the errno, or nothing for `proc_exit`.
    pub results: &'static [ValueType],
}

use ValueType::{I32 as W, I64 as L};

macro_rules! functions {
    ($($variant:ident $name:literal [$($param:ident)*] [$($result:ident)*];)*) => {
        /// A function of `wasi_snapshot_preview1`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Function {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Function {
            /// All 46, in the order of their names.
            #[cfg(test)]
            pub const ALL: &'static [Function] = &[$(Function::$variant),*];

            /// The function of that name; `None` when WASI preview 1 has none.
            pub fn from_name(name: &str) -> Option<Function> {
                match name {
                    $($name => Some(Function::$variant),)*
                    _ => None,
                }
            }

            /// The name under which programs import it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Function::$variant => $name,)*
                }
            }

            /// Its type.
            pub fn signature(self) -> Signature {
                match self {
                    $(Function::$variant => {
                        Signature { params: &[$($param),*], results: &[$($result),*] }
                    })*
                }
            }
        }
    };
}

functions! {
    ArgsGet "args_get" [W W] [W];
    ArgsSizesGet "args_sizes_get" [W W] [W];
    ClockResGet "clock_res_get" [W W] [W];
    ClockTimeGet "clock_time_get" [W L W] [W];
    EnvironGet "environ_get" [W W] [W];
    EnvironSizesGet "environ_sizes_get" [W W] [W];
    FdAdvise "fd_advise" [W L L W] [W];
    FdAllocate "fd_allocate" [W L L] [W];
    FdClose "fd_close" [W] [W];
    FdDatasync "fd_datasync" [W] [W];
    FdFdstatGet "fd_fdstat_get" [W W] [W];
    FdFdstatSetFlags "fd_fdstat_set_flags" [W W] [W];
    FdFdstatSetRights "fd_fdstat_set_rights" [W L L] [W];
    FdFilestatGet "fd_filestat_get" [W W] [W];
    FdFilestatSetSize "fd_filestat_set_size" [W L] [W];
    FdFilestatSetTimes "fd_filestat_set_times" [W L L W] [W];
    FdPread "fd_pread" [W W W L W] [W];
    FdPrestatDirName "fd_prestat_dir_name" [W W W] [W];
    FdPrestatGet "fd_prestat_get" [W W] [W];
    FdPwrite "fd_pwrite" [W W W L W] [W];
    FdRead "fd_read" [W W W W] [W];
    FdReaddir "fd_readdir" [W W W L W] [W];
    FdRenumber "fd_renumber" [W W] [W];
    FdSeek "fd_seek" [W L W W] [W];
    FdSync "fd_sync" [W] [W];
    FdTell "fd_tell" [W W] [W];
    FdWrite "fd_write" [W W W W] [W];
    PathCreateDirectory "path_create_directory" [W W W] [W];
    PathFilestatGet "path_filestat_get" [W W W W W] [W];
    PathFilestatSetTimes "path_filestat_set_times" [W W W W L L W] [W];
    PathLink "path_link" [W W W W W W W] [W];
    PathOpen "path_open" [W W W W W L L W W] [W];
    PathReadlink "path_readlink" [W W W W W W] [W];
    PathRemoveDirectory "path_remove_directory" [W W W] [W];
    PathRename "path_rename" [W W W W W W] [W];
    PathSymlink "path_symlink" [W W W W W] [W];
    PathUnlinkFile "path_unlink_file" [W W W] [W];
    PollOneoff "poll_oneoff" [W W W W] [W];
    ProcExit "proc_exit" [W] [];
    ProcRaise "proc_raise" [W] [W];
    RandomGet "random_get" [W W] [W];
    SchedYield "sched_yield" [] [W];
    SockAccept "sock_accept" [W W W] [W];
    SockRecv "sock_recv" [W W W W W W] [W];
    SockSend "sock_send" [W W W W W] [W];
    SockShutdown "sock_shutdown" [W W] [W];
}
