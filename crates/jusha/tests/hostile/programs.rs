//! Programs that want everything.

use runtime::protocol::{Outcome, TrapCode};

use super::{end, launcher, outcome, refusal, task};

const EXIT: &str = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
const WRITE: &str = r#"(import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))"#;
const OPEN: &str = r#"(import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"#;
const MAKE: &str = r#"(import "wasi_snapshot_preview1" "path_create_directory"
    (func $make (param i32 i32 i32) (result i32)))"#;

/// Codes of WASI preview 1 that these programs exit with.
const ILSEQ: i32 = 25;
const FAULT: i32 = 21;

#[test]
fn endless_loop() {
    assert_eq!(outcome(r#"(module (func (export "_start") (loop (br 0))))"#), Outcome::FuelLimit);
}

#[test]
fn endless_loop_that_is_told_to_stop() {
    use runtime::protocol::{FromWorker, Start, ToWorker};
    let task = task(r#"(module (func (export "_start") (loop (br 0))))"#);
    let (mut worker, mut events) = launcher().start(Start::new(task)).unwrap();
    assert!(matches!(events.next_event(), FromWorker::Started));
    worker.send(ToWorker::Stop);
    loop {
        match events.next_event() {
            FromWorker::Progress { .. } => {}
            FromWorker::Stopped(checkpoint) => break assert!(checkpoint.usage().fuel > 0),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn endless_recursion() {
    let outcome = outcome(r#"(module (func $f (export "_start") (call $f)))"#);
    assert_eq!(outcome, Outcome::Trapped(TrapCode::StackExhausted));
}

#[test]
fn endless_recursion_through_a_table() {
    let outcome = outcome(
        r#"(module (table 1 funcref) (elem (i32.const 0) $f) (type $t (func))
          (func $f (export "_start") (call_indirect (type $t) (i32.const 0))))"#,
    );
    assert_eq!(outcome, Outcome::Trapped(TrapCode::StackExhausted));
}

#[test]
fn stack_bomb() {
    // Frames of 8,000 bytes each.
    let locals = "i64 ".repeat(1_000);
    let used: String = (0..1_000).map(|at| format!("(i64.add (local.get {at}) ")).collect();
    let outcome = outcome(&format!(
        r#"(module (global $sum (mut i64) (i64.const 0))
          (func $f (export "_start") (local {locals})
            (call $f)
            (global.set $sum {used} (i64.const 1) {})))"#,
        ")".repeat(1_000)
    ));
    assert_eq!(outcome, Outcome::Trapped(TrapCode::StackExhausted));
}

#[test]
fn memory_bomb() {
    // Grows for ever and touches whatever it gets.
    let outcome = outcome(
        r#"(module (memory 1) (func (export "_start") (local $at i32)
          (loop
            (drop (memory.grow (i32.const 1)))
            (i32.store (i32.and (local.get $at) (i32.const 65532)) (i32.const 1))
            (local.set $at (i32.add (local.get $at) (i32.const 4096)))
            (br 0))))"#,
    );
    assert_eq!(outcome, Outcome::FuelLimit);
}

#[test]
fn memory_bomb_that_is_declared() {
    let reason = refusal(&launcher(), task(r#"(module (memory 65536) (func (export "_start")))"#));
    assert!(reason.contains("65536 pages") && reason.contains("limit is 64"), "{reason}");
}

#[test]
fn memory_bomb_of_bulk_fills() {
    let outcome = outcome(
        r#"(module (memory 64) (func (export "_start")
          (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 4194304)) (br 0))))"#,
    );
    assert_eq!(outcome, Outcome::FuelLimit);
}

#[test]
fn table_bomb() {
    let text = r#"(module (table 4000000000 funcref) (func (export "_start")))"#;
    let reason = refusal(&launcher(), task(text));
    assert!(reason.contains("tables of 4000000000 entries"), "{reason}");
}

#[test]
fn output_flood() {
    // Standard output for ever, whatever the answer is.
    let end = end(task(&format!(
        r#"(module {WRITE} (memory 2)
          (data (i32.const 0) "\10\00\00\00\00\00\01\00")
          (func (export "_start")
            (loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
              (br 0))))"#
    )));
    assert_eq!(end.outcome, Outcome::FuelLimit);
    assert!(end.stdout.len() > 1 << 19, "{}", end.stdout.len());
}

#[test]
fn out_flood() {
    // One file after the other under /out, each written to until it can't be any more.
    let end = end(task(&format!(
        r#"(module {OPEN} {WRITE} (memory 2)
          (data (i32.const 0) "\20\00\00\00\00\00\01\00")
          (data (i32.const 16) "out/aaaa")
          (func (export "_start") (local $name i32)
            (loop $files
              (i32.store (i32.const 20) (i32.add (local.get $name) (i32.const 0x61616161)))
              (local.set $name (i32.add (local.get $name) (i32.const 0x00000001)))
              (drop (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 8)
                (i32.const 1) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 12)))
              (drop (call $write (i32.load (i32.const 12)) (i32.const 0) (i32.const 1)
                (i32.const 8)))
              (br $files))))"#
    )));
    assert_eq!(end.outcome, Outcome::FuelLimit);
    let bytes: usize = end.outputs.values().map(Vec::len).sum();
    assert!(!end.outputs.is_empty() && bytes <= 1 << 20, "{bytes} bytes");
}

#[test]
fn deep_directories() {
    // out/d/d/d/… one deeper each time; the exit status is how deep it came.
    let outcome = outcome(&format!(
        r#"(module {EXIT} {MAKE} (memory 1)
          (data (i32.const 0) "out")
          (func (export "_start") (local $length i32)
            (local.set $length (i32.const 3))
            (loop $deeper
              (i32.store16 (local.get $length) (i32.const 0x642f))
              (local.set $length (i32.add (local.get $length) (i32.const 2)))
              (br_if $deeper (i32.eqz
                (call $make (i32.const 3) (i32.const 0) (local.get $length)))))
            (call $exit (i32.shr_u (local.get $length) (i32.const 1)))))"#
    ));
    match outcome {
        Outcome::Exited(depth) => assert!((100..=130).contains(&depth), "{depth}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn invalid_utf8_names() {
    let outcome = outcome(&format!(
        r#"(module {EXIT} {MAKE} (memory 1) (data (i32.const 0) "out/\ff\fe")
          (func (export "_start")
            (call $exit (call $make (i32.const 3) (i32.const 0) (i32.const 6)))))"#
    ));
    assert_eq!(outcome, Outcome::Exited(ILSEQ));
}

#[test]
fn pointers_outside_its_memory() {
    let outcome = outcome(&format!(
        r#"(module {EXIT} {WRITE} (memory 1) (func (export "_start")
          (call $exit (call $write (i32.const 1) (i32.const -8) (i32.const 3)
            (i32.const -1)))))"#
    ));
    assert_eq!(outcome, Outcome::Exited(FAULT));
}

#[test]
fn a_trap_whose_fuel_takes_another_process() {
    // The exact build is loaded by a second worker: the first can make no code any more.
    let outcome = outcome(
        r#"(module (memory 1) (func (export "_start") (local $i i32)
          (loop (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $i) (i32.const 100000))))
          (drop (i32.load (i32.const -4)))))"#,
    );
    assert_eq!(outcome, Outcome::Trapped(TrapCode::MemoryOutOfBounds));
}

#[test]
fn a_trap_after_a_nan_takes_two_more_processes() {
    let outcome = outcome(
        r#"(module (memory 1) (global $z (mut f64) (f64.const 0))
          (func (export "_start") (local $i i32)
            (f64.store (i32.const 0) (f64.div (f64.const 0) (global.get $z)))
            (loop (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if 0 (i32.lt_u (local.get $i) (i32.const 100000))))
            (i64.ne (i64.load (i32.const 0)) (i64.const 0x7ff8000000000000))
            (if (then (drop (i32.load (i32.const -4))))
                (else (unreachable)))))"#,
    );
    assert_eq!(outcome, Outcome::Trapped(TrapCode::Unreachable));
}
