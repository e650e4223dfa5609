//! Workers that lie on their pipe. Each is a process that says what it was told to, whatever the
//! agent says; none gets more out of that than a machine fault.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use base::{Digest, Usage};
use serde::Serialize;

use super::*;
use crate::checkpoint::{self, Checkpoint, Manifest, Part};
use crate::protocol::{End, Outcome, Record, Redo, TrapCode};
use crate::task::{ModuleId, Task};

/// Says it all, reads nothing, and stays.
const SAY: &str = "cat {} >&0; exec sleep 600";

fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_stdvec(message).map(|bytes| raw(&bytes)).unwrap()
}

fn raw(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

fn up(message: Up) -> Vec<u8> {
    frame(&message)
}

fn said(event: FromWorker) -> Vec<u8> {
    up(Up::Said(event))
}

fn ready() -> Vec<u8> {
    up(Up::Ready { confinement: Confinement::default(), identity: 7 })
}

fn task() -> Task {
    Task { stdin: b"12345".to_vec(), ..Task::new(b"a module".to_vec()) }
}

fn start() -> Start {
    Start { fuel_max: 1_000, ..Start::new(task()) }
}

fn inbound_bytes() -> u64 {
    task().inbound_bytes(&ModuleId::of(&task().module), false)
}

fn usage(fuel: u64) -> Usage {
    Usage { fuel, traffic_bytes: inbound_bytes(), ..Usage::ZERO }
}

fn end() -> End {
    let usage = Usage { traffic_bytes: inbound_bytes() + 2, ..usage(500) };
    End {
        outcome: Outcome::Exited(0),
        usage,
        record: Record { k: 0, fuel: 500, digest: Digest::default() },
        stdout: b"hi".to_vec(),
        stderr: Vec::new(),
        outputs: BTreeMap::new(),
    }
}

fn manifest() -> Manifest {
    Manifest {
        version: checkpoint::VERSION,
        task: task().digest(),
        usage: usage(500),
        chain_head: Digest::default(),
        boundary: Vec::new(),
        canonical: false,
        globals: Vec::new(),
        depth: 0,
        memory: None,
        frames: Part::default(),
        tables: None,
        world_meta: Vec::new(),
        contents: Vec::new(),
    }
}

fn state(manifest: &Manifest) -> Checkpoint {
    Checkpoint::new(manifest, BTreeMap::new())
}

/// An agent whose workers say `words`; the module counts as compiled.
fn agent_of(directory: &Path, script: &str, words: &[Vec<u8>]) -> Launcher {
    let file = directory.join("words");
    std::fs::write(&file, words.concat()).unwrap();
    let artefacts = Artefacts::new(Some(directory.join("artefacts")));
    let key = Key { module: Digest::of(&task().module), build: Build::FAST, identity: 7 };
    let make = || artefacts::take(&mut &b"code"[..], 4);
    artefacts.get::<io::Error>(&key, make).unwrap();
    let script = script.replace("{}", file.to_str().unwrap());
    let args = vec!["-c".to_owned(), script];
    Launcher { args, ..Launcher::new(PathBuf::from("/bin/sh"), artefacts) }
}

/// All that an agent hears of such a worker, and that none of it is left.
fn heard(script: &str, words: &[Vec<u8>]) -> Vec<FromWorker> {
    let directory = tempfile::tempdir().unwrap();
    let (worker, mut events) = agent_of(directory.path(), script, words).start(start()).unwrap();
    let mut all = Vec::new();
    loop {
        all.push(events.next_event());
        if all.last().is_some_and(FromWorker::is_final) {
            break;
        }
    }
    assert!(matches!(events.next_event(), FromWorker::Fault { .. }));
    assert_eq!(worker.processes(), Vec::<u32>::new(), "a process is left");
    all
}

/// It ends in a fault that says so, whatever came before.
fn assert_fault(words: &[Vec<u8>], expected: &str) {
    let all = heard(SAY, words);
    match all.last() {
        Some(FromWorker::Fault { reason }) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_truth_is_believed() {
    let words = [ready(), said(FromWorker::Started), said(FromWorker::Ended(Box::new(end())))];
    let all = heard(SAY, &words);
    assert!(matches!(&all[..], [FromWorker::Started, FromWorker::Ended(_)]), "{all:?}");
}

#[test]
fn a_task_that_is_over_before_its_orders_are_told_has_its_result() {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use nix::unistd::Pid;

    let words = [ready(), said(FromWorker::Started), said(FromWorker::Ended(Box::new(end())))];
    let directory = tempfile::tempdir().unwrap();
    let mut launcher = agent_of(directory.path(), SAY, &words);
    // It ends once it has taken all that it is told before its orders.
    let setup = Setup {
        role: Role::Run,
        limits: run_limits(&start()),
        weakening: launcher.weakening,
        lowest_priority: false,
    };
    let (mut start, module) = (start(), ModuleId::of(&task().module));
    start.task.module.clear();
    let told = [
        frame(&Down::Setup(setup)),
        frame(&Down::Run(Box::new(Job { start, module, redo: None }))),
    ];
    let script = launcher.args.last_mut().unwrap();
    *script = script.replace("sleep 600", &format!("head -c {}", told.concat().len()));
    let (mut worker, mut events) = launcher.start(self::start()).unwrap();
    worker.send(ToWorker::Capture);
    let shared = worker.shared.clone();
    let state = shared.lock();
    let waiting = std::thread::spawn(move || [events.next_event(), events.next_event()]);
    let process = Pid::from_raw(state.killers[0].id().cast_signed());
    waitid(Id::Pid(process), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    drop(state);
    let all = waiting.join().unwrap();
    assert!(matches!(&all[..], [FromWorker::Started, FromWorker::Ended(_)]), "{all:?}");
}

#[test]
fn an_over_long_frame_is_not_even_read() {
    for length in [u64::MAX, 1 << 62, 8 << 30, message_bytes_max(&start()) + 1] {
        assert_fault(&[ready(), length.to_le_bytes().to_vec(), vec![0; 9999]], "is the most");
    }
    assert_fault(&[(SHORT_BYTES_MAX + 1).to_le_bytes().to_vec()], "is the most");
}

#[test]
fn garbage_is_no_message() {
    assert_fault(&[ready(), raw(&[0xff; 100])], "no message");
    assert_fault(&[ready(), raw(&[])], "no message");
    let mut behind = postcard::to_stdvec(&Up::Said(FromWorker::Started)).unwrap();
    behind.push(0);
    assert_fault(&[ready(), raw(&behind)], "behind it");
    // Any byte of a true message changed: an event or a fault, and always an end.
    let words = said(FromWorker::Ended(Box::new(end())));
    for at in 8..words.len() {
        let mut altered = words.clone();
        altered[at] ^= 0x41;
        let fault = said(FromWorker::Fault { reason: "enough".to_owned() });
        heard(SAY, &[ready(), altered, fault]);
    }
}

#[test]
fn a_frame_that_breaks_off_is_a_fault() {
    let words = said(FromWorker::Ended(Box::new(end())));
    for cut in [1, 7, 8, 9, words.len() - 1] {
        let all = heard("cat {} >&0", &[ready(), words[..cut].to_vec()]);
        assert!(matches!(&all[..], [FromWorker::Fault { .. }]), "{all:?}");
    }
}

#[test]
fn an_endless_stream_of_nothing_is_a_fault() {
    let all = heard("exec cat /dev/zero >&0", &[]);
    assert!(matches!(&all[..], [FromWorker::Fault { .. }]), "{all:?}");
}

#[test]
fn endless_silence_ends_with_whoever_waits() {
    let directory = tempfile::tempdir().unwrap();
    let silent = agent_of(directory.path(), "exec sleep 600", &[]);
    let (mut worker, mut events) = silent.start(start()).unwrap();
    let waiting = std::thread::spawn(move || events.next_event());
    // What a watchdog does.
    worker.kill();
    let event = waiting.join().unwrap();
    assert!(matches!(event, FromWorker::Fault { .. }), "{event:?}");
    assert_eq!(worker.processes(), Vec::<u32>::new());
}

#[test]
fn answers_out_of_turn_are_a_fault() {
    assert_fault(&[said(FromWorker::Started)], "something else than what is due");
    assert_fault(&[ready(), ready()], "something else than what is due");
    assert_fault(&[ready(), up(Up::Artefact { bytes: 4 })], "something else than what is due");
    let tried = Up::Tried(crate::sandbox::attempts::Tried::Worked);
    assert_fault(&[ready(), up(tried)], "something else than what is due");
}

#[test]
fn a_checkpoint_of_another_task_is_a_fault() {
    let good = manifest();
    let mut unlike = manifest();
    unlike.task = Digest::of(b"another");
    let mut traffic = manifest();
    traffic.usage.traffic_bytes += 1;
    let mut leaves = manifest();
    leaves.frames = Part { bytes: 4, leaves: vec![Digest::of(b"gone")] };
    for (state_of, expected) in
        [(unlike, "of another task"), (traffic, "invents traffic"), (leaves, "is lacking")]
    {
        assert_fault(&[ready(), said(FromWorker::Captured(state(&state_of)))], expected);
    }
    let stopped = said(FromWorker::Stopped(state(&good)));
    assert_fault(&[ready(), stopped], "stopped without being told");
    // A manifest that is none: agents read it without running anything.
    let none = (vec![0xff_u8; 9], BTreeMap::<Digest, Vec<u8>>::new());
    let none: Checkpoint = postcard::from_bytes(&postcard::to_stdvec(&none).unwrap()).unwrap();
    assert_fault(&[ready(), said(FromWorker::Captured(none))], "manifest can't be read");
}

#[test]
fn an_end_that_cannot_be_is_a_fault() {
    let with = |change: fn(&mut End)| {
        let mut lie = end();
        change(&mut lie);
        said(FromWorker::Ended(Box::new(lie)))
    };
    let output = |name: &str| {
        let mut lie = end();
        lie.outputs.insert(name.to_owned(), Vec::new());
        said(FromWorker::Ended(Box::new(lie)))
    };
    let cases = [
        (with(|end| end.usage.traffic_bytes += 1), "invents traffic"),
        (with(|end| end.stdout.clear()), "invents traffic"),
        (with(|end| end.usage.fuel += 1), "not that of its chain"),
        (with(|end| end.outcome = Outcome::FuelLimit), "limit that it had not reached"),
        (with(|end| end.stdout = vec![0; (64 << 20) + 1]), "larger than it can be"),
        (output("../../.bashrc"), "elsewhere"),
        (output("/etc/passwd"), "elsewhere"),
        (output("a//b"), "elsewhere"),
        (output("a\0b"), "elsewhere"),
        (output(""), "elsewhere"),
    ];
    for (lie, expected) in cases {
        assert_fault(&[ready(), lie], expected);
    }
}

#[test]
fn going_back_to_another_task_or_for_ever_is_a_fault() {
    let canonical = Redo { build: Build::CANONICAL, trap: None };
    let again = |start: Start, redo| {
        let module = ModuleId::of(&start.task.module);
        up(Up::Again(Box::new(Job { start, module, redo })))
    };
    let other = Start { task: Task::new(b"another".to_vec()), ..start() };
    assert_fault(&[ready(), again(other, Some(canonical))], "another task");
    assert_fault(&[ready(), again(start(), None)], "without a reason");
    let trap = Redo { trap: Some(TrapCode::Unreachable), ..canonical };
    assert_fault(&[ready(), again(start(), Some(trap))], "again and again");

    // Each process says the same, so it goes back and back, with its limits raised.
    let greedy = Start { fuel_max: u64::MAX, ..start() };
    let directory = tempfile::tempdir().unwrap();
    let words = [ready(), again(greedy, Some(canonical))];
    let launcher = agent_of(directory.path(), SAY, &words);
    let key = Key { module: Digest::of(&task().module), build: Build::CANONICAL, identity: 7 };
    let make = || artefacts::take(&mut &b"code"[..], 4);
    launcher.artefacts.get::<io::Error>(&key, make).unwrap();
    let (_worker, mut events) = launcher.start(start()).unwrap();
    match events.next_event() {
        FromWorker::Fault { reason } => assert!(reason.contains("again and again"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reason_is_a_plain_short_text() {
    let reason = format!("\u{1b}[2J{}", "x".repeat(1 << 19));
    for event in [FromWorker::Fault { reason: reason.clone() }, FromWorker::Refused { reason }] {
        let all = heard(SAY, &[ready(), said(event)]);
        match &all[..] {
            [FromWorker::Fault { reason } | FromWorker::Refused { reason }] => {
                assert!(reason.len() < 5_000 && !reason.contains('\u{1b}'), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_artefact_that_never_ends_or_never_comes_is_a_fault() {
    let compiled = |script: &str, words: &[Vec<u8>]| {
        let directory = tempfile::tempdir().unwrap();
        let mut launcher = agent_of(directory.path(), script, words);
        launcher.artefacts = Artefacts::new(None);
        let (_worker, mut events) = launcher.start(start()).unwrap();
        match events.next_event() {
            FromWorker::Fault { reason } => reason,
            other => panic!("{other:?}"),
        }
    };
    let reason = compiled(SAY, &[ready(), up(Up::Artefact { bytes: u64::MAX })]);
    assert!(reason.contains("is the most"), "{reason}");
    let reason = compiled("cat {} >&0", &[ready(), up(Up::Artefact { bytes: 1000 }), vec![0; 999]]);
    assert!(reason.contains("ended without a result"), "{reason}");
    let reason = compiled(SAY, &[ready(), said(FromWorker::Started)]);
    assert!(reason.contains("something else"), "{reason}");
}

#[test]
fn a_worker_inherits_nothing() {
    // Some library leaves a file open that is inherited by whatever is started.
    let directory = tempfile::tempdir().unwrap();
    let leaked = File::create(directory.path().join("leaked")).unwrap();
    let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
    nix::fcntl::fcntl(&leaked, flags).unwrap();
    // A shell, unlike a worker, keeps it: so the environment and the streams are seen here, and
    // the descriptors in the `jusha` crate's tests, with a real worker.
    let list =
        "for f in /proc/self/fd/*; do readlink $f; done > DIR/fds; env > DIR/env; pwd > DIR/cwd";
    let script = list.replace("DIR", directory.path().to_str().unwrap());
    let all = heard(&script, &[]);
    assert!(matches!(&all[..], [FromWorker::Fault { .. }]), "{all:?}");
    let read = |name| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(read("cwd"), "/\n");
    assert!(read("fds").contains("leaked"), "the test is none");
    assert!(!read("env").contains("HOME"), "{}", read("env"));
}
