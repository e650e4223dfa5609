//! What an intruder would try in a worker, tried: real native code inside the real walls. `jusha
//! doctor` shows by it that the walls hold on this computer, and the tests do.
//!
//! Each attempt is made in a worker process of its own, since some end it.

use std::ffi::CStr;
use std::io;

use serde::{Deserialize, Serialize};

/// What became of an attempt that the process survived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tried {
    /// It worked: a hole.
    Worked,
    /// Refused with this error number.
    Errno(i32),
    /// There is no such attempt.
    Unknown,
}

/// One thing that a worker must not be able to do.
pub struct Attempt {
    /// Its name.
    pub name: &'static str,
    /// What it would be good for.
    pub what: &'static str,
    body: fn() -> i64,
}

/// All attempts, in the order in which they are shown.
pub const ATTEMPTS: &[Attempt] = &[
    Attempt { name: "open_file", what: "read a file of this computer", body: open_file },
    Attempt { name: "open_directory", what: "list a directory", body: open_directory },
    Attempt { name: "create_file", what: "write a file", body: create_file },
    Attempt { name: "stat_path", what: "see which files there are", body: stat_path },
    Attempt { name: "read_environment", what: "read the agent's environment", body: proc_parent },
    Attempt { name: "write_parent_memory", what: "write the agent's memory", body: vm_write },
    Attempt { name: "delete_file", what: "delete a file", body: delete_file },
    Attempt { name: "inherited_descriptor", what: "use a file of the agent's", body: inherited },
    Attempt { name: "inet_socket", what: "reach the network", body: inet_socket },
    Attempt { name: "unix_socket", what: "reach local services", body: unix_socket },
    Attempt { name: "netlink_socket", what: "look at the network", body: netlink_socket },
    Attempt { name: "ptrace_parent", what: "trace the agent", body: ptrace_parent },
    Attempt { name: "ptrace_me", what: "be traced", body: ptrace_me },
    Attempt { name: "signal_parent", what: "send its agent a signal", body: signal_parent },
    Attempt { name: "signal_group", what: "send its group a signal", body: signal_group },
    Attempt { name: "queue_signal", what: "queue a signal for its agent", body: queue_signal },
    Attempt { name: "thread_signal", what: "signal a thread of its agent", body: thread_signal },
    Attempt { name: "fork", what: "start a process", body: fork },
    Attempt { name: "clone_thread", what: "start a thread", body: clone_thread },
    Attempt { name: "execute", what: "run a program", body: execute },
    Attempt { name: "execute_memory_file", what: "run a program that it made", body: execute_at },
    Attempt { name: "namespace", what: "make itself root somewhere", body: namespace },
    Attempt { name: "mount", what: "mount a file system", body: mount },
    Attempt { name: "change_root", what: "change its root", body: change_root },
    Attempt { name: "kernel_program", what: "load a program into the kernel", body: bpf },
    Attempt { name: "io_uring", what: "make calls past the filter", body: io_uring },
    Attempt { name: "userfaultfd", what: "hold up the kernel", body: userfaultfd },
    Attempt { name: "performance_events", what: "watch other processes", body: perf },
    Attempt { name: "keyring", what: "read the user's keys", body: keyring },
    Attempt { name: "set_user", what: "become another user", body: set_user },
    Attempt { name: "raise_limit", what: "raise its limits", body: raise_limit },
    Attempt { name: "dumpable", what: "let others look into it", body: dumpable },
    Attempt { name: "terminal", what: "type into a terminal", body: terminal },
    Attempt { name: "executable_memory", what: "make code of data", body: executable },
    Attempt { name: "writable_code", what: "make data executable", body: protect_executable },
];

/// Those that a run worker only can't do once its module is loaded.
pub const AFTER_LOADING: [&str; 2] = ["executable_memory", "writable_code"];

/// Tries one.
pub(crate) fn attempt(name: &str) -> Tried {
    let Some(attempt) = ATTEMPTS.iter().find(|attempt| attempt.name == name) else {
        return Tried::Unknown;
    };
    match (attempt.body)() {
        -1 => Tried::Errno(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        _ => Tried::Worked,
    }
}

/// A system call as an intruder makes it, past everything that a library might check.
fn call<const N: usize>(number: i64, arguments: [i64; N]) -> i64 {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the callers below pass pointers to memory that outlives the call, or null. What
    // the kernel does beyond that is what is being tried; this process has nothing to lose.
    unsafe { libc::syscall(number, a, b, c, d, e, f) }
}

fn pointer(text: &CStr) -> i64 {
    text.as_ptr() as i64
}

fn parent() -> i64 {
    std::os::unix::process::parent_id().into()
}

const CWD: i64 = libc::AT_FDCWD as i64;

fn open(path: &CStr, flags: i32) -> i64 {
    call(libc::SYS_openat, [CWD, pointer(path), flags.into(), 0o600])
}

fn open_file() -> i64 {
    open(c"/etc/passwd", libc::O_RDONLY)
}

fn open_directory() -> i64 {
    open(c"/", libc::O_RDONLY | libc::O_DIRECTORY)
}

fn create_file() -> i64 {
    open(c"/tmp/jusha-attempt", libc::O_WRONLY | libc::O_CREAT)
}

fn stat_path() -> i64 {
    let mut room = [0u8; 512];
    let room = room.as_mut_ptr() as i64;
    call(libc::SYS_newfstatat, [CWD, pointer(c"/etc/passwd"), room, 0])
}

fn proc_parent() -> i64 {
    let path = format!("/proc/{}/environ\0", parent());
    call(libc::SYS_openat, [CWD, path.as_ptr() as i64, 0])
}

fn vm_write() -> i64 {
    let byte = 0u8;
    let ours = [(&raw const byte) as i64, 1];
    let theirs = [0x1000i64, 1];
    let (ours, theirs) = (ours.as_ptr() as i64, theirs.as_ptr() as i64);
    call(libc::SYS_process_vm_writev, [parent(), ours, 1, theirs, 1, 0])
}

fn delete_file() -> i64 {
    call(libc::SYS_unlinkat, [CWD, pointer(c"/tmp/jusha-attempt"), 0])
}

/// Beyond the three streams and the pipe's copies there is nothing open.
fn inherited() -> i64 {
    let found = (5..1024)
        .find(|&descriptor| call(libc::SYS_fcntl, [descriptor, i64::from(libc::F_GETFD)]) != -1);
    found.map_or_else(|| call(libc::SYS_fcntl, [1023, i64::from(libc::F_GETFD)]), |_| 0)
}

fn socket(domain: i32) -> i64 {
    call(libc::SYS_socket, [domain.into(), libc::SOCK_STREAM.into(), 0])
}

fn inet_socket() -> i64 {
    socket(libc::AF_INET)
}

fn unix_socket() -> i64 {
    socket(libc::AF_UNIX)
}

fn netlink_socket() -> i64 {
    call(libc::SYS_socket, [libc::AF_NETLINK.into(), libc::SOCK_RAW.into(), 0])
}

fn ptrace_parent() -> i64 {
    call(libc::SYS_ptrace, [i64::from(libc::PTRACE_ATTACH), parent(), 0, 0])
}

fn ptrace_me() -> i64 {
    call(libc::SYS_ptrace, [i64::from(libc::PTRACE_TRACEME), 0, 0, 0])
}

/// Signal 0 and SIGCONT do nothing to whoever gets them.
fn signal_parent() -> i64 {
    call(libc::SYS_kill, [parent(), 0])
}

fn signal_group() -> i64 {
    call(libc::SYS_kill, [0, 0])
}

fn queue_signal() -> i64 {
    // From a program (SI_QUEUE), not from the kernel: that would be refused to anybody.
    let mut information = [0i32; 32];
    information[2] = -1;
    let information = information.as_mut_ptr() as i64;
    call(libc::SYS_rt_sigqueueinfo, [parent(), i64::from(libc::SIGCONT), information])
}

fn thread_signal() -> i64 {
    call(libc::SYS_tgkill, [parent(), parent(), 0])
}

fn fork() -> i64 {
    let child = call(libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0, 0, 0]);
    if child == 0 {
        std::process::exit(0);
    }
    child
}

fn clone_thread() -> i64 {
    let started = std::thread::Builder::new().stack_size(1 << 16).spawn(|| {});
    if started.is_ok() { 0 } else { -1 }
}

fn execute() -> i64 {
    let path = pointer(c"/bin/true");
    let arguments = [path, 0];
    let arguments = arguments.as_ptr() as i64;
    call(libc::SYS_execve, [path, arguments, 0])
}

fn execute_at() -> i64 {
    let file = call(libc::SYS_memfd_create, [pointer(c"program"), 0]);
    let arguments = [0i64];
    let arguments = arguments.as_ptr() as i64;
    let flags = i64::from(libc::AT_EMPTY_PATH);
    call(libc::SYS_execveat, [file, pointer(c""), arguments, arguments, flags])
}

fn namespace() -> i64 {
    call(libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER)])
}

fn mount() -> i64 {
    call(libc::SYS_mount, [pointer(c"none"), pointer(c"/"), pointer(c"tmpfs"), 0, 0])
}

fn change_root() -> i64 {
    call(libc::SYS_chroot, [pointer(c"/")])
}

fn bpf() -> i64 {
    let attributes = [0u8; 128];
    call(libc::SYS_bpf, [5, attributes.as_ptr() as i64, 128])
}

fn io_uring() -> i64 {
    let mut parameters = [0u8; 128];
    call(libc::SYS_io_uring_setup, [1, parameters.as_mut_ptr() as i64])
}

fn userfaultfd() -> i64 {
    // UFFD_USER_MODE_ONLY: what an ordinary user may have.
    call(libc::SYS_userfaultfd, [1])
}

fn perf() -> i64 {
    let attributes = [0u8; 128];
    call(libc::SYS_perf_event_open, [attributes.as_ptr() as i64, 0, -1, -1, 0])
}

fn keyring() -> i64 {
    call(libc::SYS_keyctl, [0, -4, 0])
}

fn set_user() -> i64 {
    call(libc::SYS_setresuid, [0, 0, 0])
}

fn raise_limit() -> i64 {
    let limit = [libc::RLIM_INFINITY; 2];
    let resource = libc::RLIMIT_CPU as i64;
    call(libc::SYS_prlimit64, [0, resource, limit.as_ptr() as i64, 0])
}

fn dumpable() -> i64 {
    call(libc::SYS_prctl, [i64::from(libc::PR_SET_DUMPABLE), 1, 0, 0, 0])
}

fn terminal() -> i64 {
    let byte = b'x';
    call(libc::SYS_ioctl, [0, libc::TIOCSTI as i64, (&raw const byte) as i64])
}

fn memory(protection: i32) -> i64 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    call(libc::SYS_mmap, [0, 4096, protection.into(), flags.into(), -1, 0])
}

fn executable() -> i64 {
    memory(libc::PROT_READ | libc::PROT_EXEC)
}

fn protect_executable() -> i64 {
    let at = memory(libc::PROT_READ | libc::PROT_WRITE);
    call(libc::SYS_mprotect, [at, 4096, i64::from(libc::PROT_READ | libc::PROT_EXEC)])
}
