//! Modules made to keep a compiler busy, or to break it. What comes out is a refusal by name or a
//! program that runs to some end.

use std::path::Path;

use nix::unistd::Pid;
use runtime::artefacts::Artefacts;
use runtime::launch::{CompileLimits, Launcher};
use runtime::protocol::FromWorker;
use runtime::task::Task;

use crate::stage::{Process, Scene, children_of, until};

use super::{FUEL_MAX, last, launcher, refusal, task};

/// Some end that is the program's or the module's own, never the machine's: whatever it makes of
/// the compiler, that has an end, too.
fn assert_typed(task: Task) {
    match last(&limited(|limits| limits.cpu_s = 1), task, FUEL_MAX) {
        FromWorker::Ended(end) => println!("{:?}", end.outcome),
        FromWorker::Refused { reason } => println!("{reason}"),
        other => panic!("{other:?}"),
    }
}

fn start(body: &str) -> String {
    format!(r#"(module (func (export "_start") {body}))"#)
}

#[test]
fn a_function_with_a_million_locals() {
    let locals = "i64 ".repeat(1_000_000);
    let reason = refusal(&launcher(), task(&start(&format!("(local {locals})"))));
    assert!(reason.contains("too many locals"), "{reason}");
}

#[test]
fn a_function_with_a_million_blocks() {
    assert_typed(task(&start(&"(block)".repeat(1_000_000))));
}

#[test]
fn a_function_with_a_million_nested_blocks() {
    assert_typed(nested_blocks());
}

fn nested_blocks() -> Task {
    nested(0x02, 1_000_000)
}

#[test]
fn a_function_with_a_hundred_thousand_nested_loops() {
    assert_typed(nested(0x03, 100_000));
}

/// `_start` is so many of these in each other. The text format's parser nests as well, so the
/// bytes are put together here.
fn nested(opcode: u8, depth: usize) -> Task {
    let mut body = vec![0];
    body.extend([opcode, 0x40].repeat(depth));
    body.extend(vec![0x0b; depth + 1]);
    let code = [&[1][..], &leb(body.len()), &body].concat();
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(7, b"\x01\x06_start\x00\x00"),
        section(10, &code),
    ]
    .concat();
    Task::new(module)
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[test]
fn a_giant_br_table() {
    let targets = "0 ".repeat(1_000_000);
    assert_typed(task(&start(&format!("(block (br_table {targets} (i32.const 7)))"))));
}

/// Functions that take long to compile: values that live across each other.
fn laborious(functions: usize) -> Vec<u8> {
    // Four locals beside the parameter, all i64.
    let mut body = vec![1, 4, 0x7e];
    for at in 0..400 {
        let (to, from) = ((at % 5) as u8, (at * 7 % 5) as u8);
        // to = from + to × memory[from]
        body.extend([0x20, from, 0x20, to, 0x20, from, 0xa7, 0x29, 3, 0, 0x7e, 0x7c, 0x21, to]);
    }
    body.extend([0x20, 0, 0x0b]);
    let sized = |body: &[u8]| [&leb(body.len()), body].concat();
    let counted = |rest: Vec<u8>| [leb(functions + 1), rest].concat();
    let types = counted([vec![0], vec![1; functions]].concat());
    let code = counted([sized(&[0, 0x0b]), sized(&body).repeat(functions)].concat());
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[2, 0x60, 0, 0, 0x60, 1, 0x7e, 1, 0x7e]),
        section(3, &types),
        section(5, &[1, 0, 1]),
        section(7, b"\x01\x06_start\x00\x00"),
        section(10, &code),
    ]
    .concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

fn limited(change: impl FnOnce(&mut CompileLimits)) -> Launcher {
    let mut launcher = Launcher { artefacts: Artefacts::new(None), ..launcher() };
    change(&mut launcher.compile);
    launcher
}

#[test]
fn a_module_that_compiles_for_minutes() {
    // For longer than it may, that is: a second here.
    let launcher = limited(|limits| limits.cpu_s = 1);
    let reason = refusal(&launcher, Task::new(laborious(3_000)));
    assert!(reason.contains("more than 1 s of processor time to compile"), "{reason}");
}

/// Its process would otherwise go on for as long as it may.
#[tokio::test]
async fn a_module_that_compiles_for_minutes_for_an_agent_that_is_gone() {
    let scene = Scene::new();
    let path = scene.write("laborious.wasm", laborious(6_000));
    let command = scene.jusha(&["exec", path.to_str().unwrap()]);
    let agent = Process::start(command, &scene.path("log"));
    let both = async || Some(children_of(agent.id())).filter(|workers| workers.len() == 2);
    let workers = until("a compile worker beside the run worker", both).await;
    agent.kill().await;
    let gone = async || {
        let there = |worker: &Pid| Path::new("/proc").join(worker.to_string()).exists();
        (!workers.iter().any(there)).then_some(())
    };
    until("the end of its workers", gone).await;
}

#[test]
fn a_module_that_takes_a_compilers_memory() {
    let launcher = limited(|limits| {
        limits.threads = 1;
        limits.memory_bytes = 230 << 20;
    });
    let reason = refusal(&launcher, nested_blocks());
    assert!(reason.contains("more than 230 MiB of memory to compile"), "{reason}");
}
