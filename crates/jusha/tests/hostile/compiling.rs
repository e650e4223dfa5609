//! Modules made to keep a compiler busy, or to break it. What comes out is a refusal by name or a
//! program that runs to some end.

use std::fmt::Write;

use runtime::artefacts::Artefacts;
use runtime::launch::{CompileLimits, Launcher};
use runtime::protocol::FromWorker;
use runtime::task::Task;

use super::{FUEL_MAX, last, launcher, refusal, task};

/// Some end that is the program's or the module's own, never the machine's: whatever it makes of
/// the compiler, that has an end, too.
fn assert_typed(task: Task) {
    match last(&limited(|limits| limits.cpu_s = 2), task, FUEL_MAX) {
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
    // The text format's parser nests as well, so the bytes are put together here.
    let depth = 1_000_000;
    let mut body = vec![0];
    body.extend([0x02, 0x40].repeat(depth));
    body.extend(vec![0x0b; depth + 1]);
    assert_typed_bytes(body);
}

#[test]
fn a_function_with_a_hundred_thousand_nested_loops() {
    let depth = 100_000;
    let mut body = vec![0];
    body.extend([0x03, 0x40].repeat(depth));
    body.extend(vec![0x0b; depth + 1]);
    assert_typed_bytes(body);
}

/// A module whose `_start` has this body.
fn assert_typed_bytes(body: Vec<u8>) {
    let section = |id: u8, content: &[u8]| [&[id][..], &leb(content.len()), content].concat();
    let code = [&[1][..], &leb(body.len()), &body].concat();
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(7, b"\x01\x06_start\x00\x00"),
        section(10, &code),
    ]
    .concat();
    assert_typed(Task::new(module));
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
fn laborious(functions: u32) -> String {
    let mut text = String::from("(module (memory 1)");
    for function in 0..functions {
        write!(text, "(func $f{function} (param i64) (result i64) (local i64 i64 i64 i64)")
            .unwrap();
        for at in 0..400u32 {
            let (to, from) = (at % 5, (at * 7 + function) % 5);
            write!(
                text,
                "(local.set {to} (i64.add (local.get {from}) (i64.mul (local.get {to})
                 (i64.load (i32.wrap_i64 (local.get {from}))))))"
            )
            .unwrap();
        }
        text.push_str("(local.get 0))");
    }
    text.push_str(r#"(func (export "_start")))"#);
    text
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
    let reason = refusal(&launcher, task(&laborious(1_500)));
    assert!(reason.contains("more than 1 s of processor time to compile"), "{reason}");
}

#[test]
fn a_module_that_takes_a_compilers_memory() {
    let launcher = limited(|limits| {
        limits.threads = 1;
        limits.memory_bytes = 170 << 20;
    });
    let reason = refusal(&launcher, task(&laborious(1_500)));
    assert!(reason.contains("more than 170 MiB of memory to compile"), "{reason}");
}
