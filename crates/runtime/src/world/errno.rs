//! Error numbers of WASI preview 1: those that the virtual world answers.

/// A WASI error number; [`Errno::Success`] is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Errno {
    /// No error.
    Success = 0,
    /// Bad file descriptor.
    BadF = 8,
    /// Device or resource busy: a directory that the world itself provides.
    Busy = 10,
    /// File exists.
    Exist = 20,
    /// An address outside the memory.
    Fault = 21,
    /// File too large: no file of this task may ever be that large.
    FBig = 22,
    /// Not UTF-8.
    IlSeq = 25,
    /// Invalid argument.
    Inval = 28,
    /// Is a directory.
    IsDir = 31,
    /// Too many open files.
    MFile = 33,
    /// File name or path too long, or nested too deeply.
    NameTooLong = 37,
    /// No such file or directory.
    NoEnt = 44,
    /// No space left: the job's output limit or the limit on the number of files.
    NoSpc = 51,
    /// Not a directory.
    NotDir = 54,
    /// Directory not empty.
    NotEmpty = 55,
    /// Not a socket.
    NotSock = 57,
    /// Not supported.
    NotSup = 58,
    /// Result too large for its type.
    Overflow = 61,
    /// Operation not permitted.
    Perm = 63,
    /// Read-only file system.
    RoFs = 69,
    /// Seek on a stream.
    SPipe = 70,
    /// More rights than the descriptor has.
    NotCapable = 76,
}

impl Errno {
    /// The number that the guest sees.
    pub fn code(self) -> u16 {
        self as u16
    }
}
