//! Which system calls a worker may make.
//!
//! Two filters, of which the stricter answer holds. What is not on the *allow-list* fails with
//! EPERM, so that a C library that tries something new merely does without it. What no library
//! tries by itself, but an intruder would, ends the process: the agent sees SIGSYS.
//!
//! Both processors that we run on have their own numbers, so the lists are by name; a call by
//! another processor's convention (32-bit, x32) matches nothing and fails.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What remains: memory, the descriptors that there are, signals to itself, time, and its end.
const ALLOWED: &[i64] = &[
    // The pipe, an open module, memory images.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_fcntl,
    libc::SYS_memfd_create,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // Threads that there are; traps, which are signals.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // The end.
    libc::SYS_exit,
    libc::SYS_exit_group,
    // For `seal`; a further filter can only take more away.
    libc::SYS_seccomp,
];

/// What ends the process: nothing of ours or of a library's ever tries it here.
const DEADLY: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_capset,
    libc::SYS_personality,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Puts both filters around all threads of this process.
pub(super) fn filter() -> Result<(), String> {
    let mut deadly: Rules = DEADLY.iter().map(|&call| (call, Vec::new())).collect();
    // A process of its own; threads merely fail, below.
    let process = when(0, Len::Qword, Op::MaskedEq(libc::CLONE_THREAD as u64), 0)?;
    deadly.insert(libc::SYS_clone, vec![process]);
    apply(deadly, SeccompAction::Allow, SeccompAction::KillProcess)?;

    let mut allowed: Rules = ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    let own = u64::from(std::process::id());
    allowed.insert(libc::SYS_tgkill, vec![when(0, Len::Dword, Op::Eq, own)?]);
    // To the other end of the pipe, to no address.
    allowed.insert(libc::SYS_sendto, vec![when(4, Len::Qword, Op::Eq, 0)?]);
    // Reading a limit, never setting one.
    allowed.insert(libc::SYS_prlimit64, vec![when(2, Len::Qword, Op::Eq, 0)?]);
    let privileges = libc::PR_SET_NO_NEW_PRIVS as u64;
    allowed.insert(libc::SYS_prctl, vec![when(0, Len::Dword, Op::Eq, privileges)?]);
    // The size of an open file. With a path it would say which files there are, so it goes with
    // `seal`, before anything foreign runs.
    let empty_path = libc::AT_EMPTY_PATH as u64;
    let descriptor = |at| when(at, Len::Dword, Op::MaskedEq(empty_path), empty_path);
    allowed.insert(libc::SYS_statx, vec![descriptor(2)?]);
    allowed.insert(libc::SYS_newfstatat, vec![descriptor(3)?]);
    apply(allowed, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
}

/// From now on no memory of this process becomes executable: code that is not there yet never
/// runs. Also takes what was only needed to load a module.
pub(crate) fn seal() -> Result<(), String> {
    let executable = libc::PROT_EXEC as u64;
    let mut rules = Rules::new();
    for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        let rule = when(2, Len::Dword, Op::MaskedEq(executable), executable)?;
        rules.insert(call, vec![rule]);
    }
    for call in [libc::SYS_statx, libc::SYS_newfstatat, libc::SYS_prctl, libc::SYS_seccomp] {
        rules.insert(call, Vec::new());
    }
    apply(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))
}

fn when(argument: u8, length: Len, op: Op, value: u64) -> Result<SeccompRule, String> {
    SeccompCondition::new(argument, length, op, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|error| error.to_string())
}

fn apply(rules: Rules, other: SeccompAction, listed: SeccompAction) -> Result<(), String> {
    let processor = TargetArch::try_from(std::env::consts::ARCH)
        .map_err(|_| format!("no list of calls for {}", std::env::consts::ARCH))?;
    let program: BpfProgram = SeccompFilter::new(rules, other, listed, processor)
        .and_then(TryInto::try_into)
        .map_err(|error| error.to_string())?;
    apply_filter_all_threads(&program).map_err(|error| error.to_string())
}
