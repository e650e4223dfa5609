//! Computers that lack a wall: nothing is run there, unless the owner does without it by name.
//! What is lacking is taken away by a filter that every child of the thread inherits.

use std::collections::BTreeMap;
use std::process::Command;

use runtime::launch::Launcher;
use runtime::protocol::{FromWorker, Outcome};
use runtime::sandbox::Weakening;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use super::{FUEL_MAX, last, launcher, task};

/// Runs `body` as on a kernel that hasn't got these calls.
fn without<T: Send>(calls: &[i64], body: impl FnOnce() -> T + Send) -> T {
    let rules: BTreeMap<_, _> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let lacking = SeccompAction::Errno(nix::libc::ENOSYS as u32);
    let processor = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, lacking, processor).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    std::thread::scope(|scope| {
        let limited = scope.spawn(|| {
            apply_filter(&program).unwrap();
            body()
        });
        limited.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

const LANDLOCK: i64 = nix::libc::SYS_landlock_create_ruleset;
const NAMESPACES: i64 = nix::libc::SYS_unshare;
const FILTER: i64 = nix::libc::SYS_seccomp;

fn noop(weakening: Weakening) -> Result<Outcome, String> {
    let launcher = Launcher { weakening, ..launcher() };
    match last(&launcher, task(r#"(module (func (export "_start")))"#), FUEL_MAX) {
        FromWorker::Ended(end) => Ok(end.outcome),
        FromWorker::Fault { reason } => Err(reason),
        other => panic!("{other:?}"),
    }
}

fn doctor() -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_jusha")).arg("doctor").output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_doctor_finds_everything_here() {
    let (status, said) = doctor();
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("HOLE") && said.matches("  held ").count() > 30, "{said}");
}

#[test]
fn without_landlock_namespaces_are_enough() {
    assert_eq!(without(&[LANDLOCK], || noop(Weakening::default())), Ok(Outcome::Exited(0)));
    let (status, said) = without(&[LANDLOCK], doctor);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("NO   Landlock "), "{said}");
}

#[test]
fn without_namespaces_landlock_is_enough() {
    assert_eq!(without(&[NAMESPACES], || noop(Weakening::default())), Ok(Outcome::Exited(0)));
    assert_eq!(without(&[NAMESPACES], doctor).0, Some(0));
}

#[test]
fn without_both_nothing_is_run_but_by_name() {
    let lacking = [LANDLOCK, NAMESPACES];
    let reason = without(&lacking, || noop(Weakening::default())).unwrap_err();
    assert!(reason.contains("neither Landlock nor user namespaces"), "{reason}");
    assert!(reason.contains("--without-file-isolation"), "{reason}");
    let (status, said) = without(&lacking, doctor);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("NO   user namespace"), "{said}");
    let provide = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jusha"));
        // Nobody listens there: what is refused is refused before.
        let join = "http://127.0.0.1:9/#join=none";
        let data = tempfile::tempdir().unwrap();
        command.args(["provide", join, "--data", data.path().to_str().unwrap()]).args(options);
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let said = without(&lacking, || provide(&[]));
    assert!(said.contains("error: this system has neither Landlock nor user names"), "{said}");
    let said = without(&lacking, || provide(&["--without-file-isolation"]));
    assert!(said.contains("error: ") && !said.contains("Landlock"), "{said}");
    let other = Weakening { without_syscall_filter: true, ..Weakening::default() };
    assert!(without(&lacking, || noop(other)).is_err());
    let named = Weakening { without_file_isolation: true, ..Weakening::default() };
    assert_eq!(without(&lacking, || noop(named)), Ok(Outcome::Exited(0)));
}

#[test]
fn without_a_filter_of_system_calls_nothing_is_run_but_by_name() {
    let reason = without(&[FILTER], || noop(Weakening::default())).unwrap_err();
    assert!(reason.contains("can't filter system calls"), "{reason}");
    assert!(reason.contains("--without-syscall-filter"), "{reason}");
    let (status, said) = without(&[FILTER], doctor);
    assert_eq!(status, Some(1), "{said}");
    let named = Weakening { without_syscall_filter: true, ..Weakening::default() };
    assert_eq!(without(&[FILTER], || noop(named)), Ok(Outcome::Exited(0)));
}

#[test]
fn the_option_is_one_of_every_command_that_runs_programs() {
    for command in ["provide", "up", "exec", "verify", "doctor"] {
        let help = Command::new(env!("CARGO_BIN_EXE_jusha")).args([command, "--help"]).output();
        let help = String::from_utf8(help.unwrap().stdout).unwrap();
        for option in ["--without-syscall-filter", "--without-file-isolation"] {
            assert!(help.contains(option), "{command}: {help}");
        }
    }
}
