//! The lowest priority that there is, so that the owner's programs never wait for a worker.

use std::fs;

/// `IOPRIO_CLASS_IDLE`, shifted to where the kernel has the class: ioprio_set(2). The C library has
/// no names for it.
const IO_IDLE: libc::c_int = 3 << 13;
const IO_OF_PROCESS: libc::c_int = 1;

/// Takes processor and disk only when nobody else wants them. To be called while the process has
/// one thread: others inherit it. Where the kernel refuses a part, the rest still helps.
pub(crate) fn yield_to_everybody() {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: plain system calls about this process; the pointer is to a value that outlives it.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameter);
        libc::syscall(libc::SYS_ioprio_set, IO_OF_PROCESS, 0, IO_IDLE);
    }
    // With it the kernel weighs whole sessions, and the above counts within one only.
    let _ = fs::write("/proc/self/autogroup", "19");
}
