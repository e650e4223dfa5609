//! A worker that is a program's tool: native code behind a worker's walls that tries to get out,
//! once as a worker that was just started and, without the filter of system calls, once more
//! behind what is left then.

use runtime::doctor::{self, Behind, Fate};
use runtime::sandbox::attempts::ATTEMPTS;

use super::launcher;

const EPERM: i32 = 1;
const EBADF: i32 = 9;

fn fate(name: &str, behind: Behind) -> Fate {
    doctor::trial(&launcher(), name, behind).unwrap()
}

/// It fails, and the worker lives.
fn fails(name: &str, behind: Behind, errno: i32) {
    assert_eq!(fate(name, behind), Fate::Refused(errno));
}

/// It ends the worker, which its agent sees.
fn ends(name: &str) {
    match fate(name, Behind::All) {
        Fate::Ended(how) => assert!(how.contains("SIGSYS"), "{how}"),
        other => panic!("{other:?}"),
    }
}

macro_rules! attempts {
    (fail: $($fail:ident)* ; end: $($end:ident)* ; once_loaded: $($sealed:ident)* ;) => {
        $(#[test] fn $fail() { fails(stringify!($fail), Behind::All, EPERM); })*
        $(#[test] fn $end() { ends(stringify!($end)); })*
        $(#[test] fn $sealed() { fails(stringify!($sealed), Behind::Sealed, EPERM); })*

        #[test]
        fn anything_that_is_in_the_list() {
            let mut here = vec![$(stringify!($fail),)* $(stringify!($end),)*];
            here.extend([$(stringify!($sealed),)* "inherited_descriptor"]);
            here.sort();
            let mut all: Vec<_> = ATTEMPTS.iter().map(|attempt| attempt.name).collect();
            all.sort();
            assert_eq!(here, all);
        }
    };
}

attempts! {
    fail:
        open_file open_directory create_file stat_path read_environment delete_file thread_signal
        clone_thread raise_limit dumpable terminal;
    end:
        write_parent_memory inet_socket unix_socket netlink_socket ptrace_parent ptrace_me
        signal_parent signal_group queue_signal fork execute execute_memory_file namespace mount
        change_root kernel_program io_uring userfaultfd performance_events keyring set_user;
    once_loaded:
        executable_memory writable_code;
}

#[test]
fn inherited_descriptor() {
    // One that some library left open in the agent.
    let leaked = tempfile::tempfile().unwrap();
    let inherit = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
    nix::fcntl::fcntl(&leaked, inherit).unwrap();
    fails("inherited_descriptor", Behind::All, EBADF);
}

#[test]
fn anything_once_its_module_is_loaded() {
    for attempt in ATTEMPTS {
        let fate = fate(attempt.name, Behind::Sealed);
        assert_ne!(fate, Fate::Worked, "{}", attempt.name);
    }
}

/// Landlock and the namespaces by themselves keep it from files, other processes and privileges.
#[test]
fn reach_files_or_processes_even_without_the_filter() {
    let found = doctor::examine(&launcher()).unwrap();
    for name in [
        "open_file",
        "create_file",
        "read_environment",
        "delete_file",
        "stat_path",
        "write_parent_memory",
        "ptrace_parent",
        "signal_parent",
        "queue_signal",
        "thread_signal",
        "execute",
        "mount",
        "change_root",
        "set_user",
        "raise_limit",
    ] {
        // Landlock has nothing against looking at names.
        if name == "stat_path" && !found.empty_root
            || name.contains("signal") && !found.landlock_whole
        {
            println!("{name}: this computer lacks what it takes");
            continue;
        }
        match fate(name, Behind::AllButTheFilter) {
            // Refused, not failed: EFAULT would say that it had come through.
            Fate::Refused(errno) => assert_ne!(errno, nix::libc::EFAULT, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}
