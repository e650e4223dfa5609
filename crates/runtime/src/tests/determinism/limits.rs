//! Depth, shortage, clock, seeds, the fuel of traps, and where boundaries fall.

use std::process::Command;

use super::super::{compiler, in_large_stack, run, run_with_stops, task_of, trace};
use super::{Engines, UNLIMITED, exited, last_global};
use crate::execution::{Execution, RunError};
use crate::protocol::{Outcome, TrapCode};
use crate::task::{Task, task_seed};

/// Counts its depth in the last global until it is told to stop.
fn recursion(extra_locals: &str) -> Task {
    task_of(&format!(
        r#"(module (global $depth (mut i64) (i64.const 0))
          (func $deeper (param $n i64) {extra_locals}
            (global.set $depth (i64.add (global.get $depth) (i64.const 1)))
            (call $deeper (i64.add (local.get $n) (i64.const 1))))
          (func (export "_start") (call $deeper (i64.const 0))))"#
    ))
}

/// How deep a stack is is the cost table's business, not the engine's, and a function of the
/// frames alone: 8 MiB of them, a frame being its locals and highest stack and 64 bytes.
#[test]
fn the_stack_ends_at_one_depth_on_every_engine() {
    for (locals, values) in [("", 3u64), ("(local i64 i64 i64 i64 i64)", 8)] {
        let traced =
            Engines::with(|engines| engines.agree("recursion", &recursion(locals), UNLIMITED));
        assert_eq!(traced.trace.end.outcome, Outcome::Trapped(TrapCode::StackExhausted));
        let frame = (64 + 8 * values).div_ceil(16);
        let start = (64u64 + 8).div_ceil(16);
        // The frame that sets the guard bit traps before its body.
        let deepest = ((1u64 << 19) - start).div_ceil(frame) - 1;
        assert_eq!(last_global(&traced), deepest as i64, "{values} values a frame");
    }
}

const GREEDY: &str = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory 1)
  (func (export "_start") (call $exit (i32.ne (memory.grow (i32.const 16000)) (i32.const -1)))))"#;

fn greedy() -> Task {
    let mut task = task_of(GREEDY);
    task.memory_max_pages = 16_384;
    task
}

/// What the host lacks is never what the guest sees: with a limit on this process's memory, a
/// growth that the task's own limit allows is a fault, and no result.
#[test]
fn a_host_without_memory_is_a_fault_and_no_result() {
    assert_eq!(run(&greedy(), UNLIMITED).unwrap().end.outcome, Outcome::Exited(1));
    let mut small = greedy();
    small.memory_max_pages = 16_000;
    assert_eq!(run(&small, UNLIMITED).unwrap().end.outcome, Outcome::Exited(0));

    let program = std::env::current_exe().unwrap();
    let starved = Command::new("sh")
        .args(["-c", "ulimit -d 700000 && exec \"$0\" \"$@\""])
        .arg(&program)
        .args(["--exact", "tests::determinism::limits::starved", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&starved.stdout);
    assert!(text.contains("FAULT machine fault: memory could not grow"), "{starved:?}");
}

/// The other half of the test above, in a process of its own.
#[test]
#[ignore = "started with little memory by a_host_without_memory_is_a_fault_and_no_result"]
fn starved() {
    match run(&greedy(), UNLIMITED) {
        Err(RunError::Fault(reason)) => println!("FAULT {reason}"),
        other => println!("RESULT {other:?}"),
    }
}

/// Reads the clock into $then, works, sleeps an hour, and reads it again.
const CLOCK: &str = r#"(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory 1)
  (global $slept (mut i64) (i64.const 0)) (global $worked (mut i64) (i64.const 0))
  (func $time (result i64)
    (drop (call $now (i32.const 1) (i64.const 1) (i32.const 8))) (i64.load (i32.const 8)))
  (func (export "_start") (local $i i32) (local $then i64)
    (local.set $then (call $time))
    (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 400000))))
    (global.set $worked (i64.sub (call $time) (local.get $then)))
    (local.set $then (call $time))
    (i32.store (i32.const 80) (i32.const 1)) (i64.store (i32.const 88) (i64.const 3600000000000))
    (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256)))
    (global.set $slept (i64.sub (call $time) (local.get $then)))
    (loop $l (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $l (local.get $i)))))"#;

/// The clock is the task's fuel and what it slept; whoever runs it, when and how often it is
/// interrupted doesn't show.
#[test]
fn time_is_fuel_and_sleep() {
    use crate::checkpoint::GlobalValue::I64;
    let traced = Engines::with(|engines| engines.agree("clock", &task_of(CLOCK), UNLIMITED));
    let [I64(slept), I64(worked)] = traced.state.globals[..] else { panic!("two globals") };
    // 400,000 rounds of 4 fuel at a third of a nanosecond, and a call.
    assert!((533_333..533_700).contains(&worked), "{worked}");
    assert!((3_600_000_000_000..3_600_000_002_000).contains(&slept), "{slept}");
    assert!(traced.trace.end.usage.fuel < 5_000_000, "sleeping costs next to nothing");
}

const RANDOM: &str = r#"(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory 1) (global $drawn (mut i64) (i64.const 0))
  (func (export "_start") (local $i i32)
    (loop $l
      (drop (call $random (i32.const 0) (i32.const 8)))
      (global.set $drawn (i64.xor (i64.rotl (global.get $drawn) (i64.const 7)) (i64.load (i32.const 0))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000))))))"#;

/// Tasks of one job draw other numbers than each other, and a resumed task those that it would
/// have drawn.
#[test]
fn a_seed_belongs_to_a_task_and_not_to_an_attempt() {
    let job = base::Digest::of(b"a job");
    let drawn: Vec<i64> = (0..3)
        .map(|index| {
            let mut task = task_of(RANDOM);
            task.seed = task_seed(&job, index);
            Engines::with(|engines| last_global(&engines.agree("random", &task, UNLIMITED)))
        })
        .collect();
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2], "{drawn:?}");
    assert_ne!(task_seed(&job, 0), task_seed(&base::Digest::of(b"another job"), 0));
}

/// A trap's fuel is that of every basic block that was begun, the one it trapped in included.
#[test]
fn a_trap_costs_what_was_begun() {
    // Call 4 and constant 0; then 1 (eqz) and 1 (if); then 1 for unreachable.
    let task = task_of(
        r#"(module (func $f (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
          (func (export "_start") (call $f (i32.const 0)) (call $f (i32.const 1))))"#,
    );
    let traced = Engines::with(|engines| engines.agree("a trap", &task, UNLIMITED));
    assert_eq!(traced.trace.end.outcome, Outcome::Trapped(TrapCode::Unreachable));
    assert_eq!(traced.trace.end.usage.fuel, 2 * 4 + 2 + 1);

    // In a loop, long after the last boundary, with operands and calls around it.
    let task = task_of(
        r#"(module (memory 1) (func $load (param i32) (result i32) (i32.load (local.get 0)))
          (func (export "_start") (local $i i32)
            (loop $l (drop (i32.add (local.get $i) (call $load (local.get $i))))
              (local.set $i (i32.add (local.get $i) (i32.const 4))) (br $l))))"#,
    );
    let traced = Engines::with(|engines| engines.agree("a late trap", &task, UNLIMITED));
    assert_eq!(traced.trace.end.outcome, Outcome::Trapped(TrapCode::MemoryOutOfBounds));
    // A round: call 4, load 1, two additions, a local set and a branch; 16,384 whole ones.
    assert_eq!(traced.trace.end.usage.fuel, 16_385 * 9);
}

/// Fills much memory at once, time and again.
const BULK: &str = r#"(module (memory 256)
  (func (export "_start") (local $i i32)
    (loop $l
      (memory.fill (i32.const 0) (local.get $i) (i32.const 16000000))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5))))))"#;

/// Boundaries are at the first safepoint past k·S of absolute fuel: overshoot is not carried
/// over, one step across several makes one record, and interruptions move none of them.
#[test]
fn boundaries_are_at_absolute_fuel() {
    let task = task_of(BULK);
    let segment = task.segment_fuel;
    let step = 16 + 16_000_000 / 4;
    let traced = Engines::with(|engines| engines.agree("bulk", &task, UNLIMITED));
    let records = &traced.trace.records;
    assert_eq!(records.len(), 4, "{records:?}");
    for (record, round) in records.iter().zip(1u64..) {
        assert_eq!(record.k, record.fuel / segment, "{record:?}");
        assert!(record.k >= 3 * round, "several boundaries in one step: {record:?}");
        assert!(record.fuel.abs_diff(round * step) < 100, "{record:?}");
    }
    // A stop just before, at and after where a boundary is due.
    let due = records[1].k * segment;
    for stop in [due - 1, due, due + 1, records[1].fuel, records[1].fuel + 1] {
        assert_eq!(run_with_stops(&task, UNLIMITED, &[stop]).unwrap(), traced.trace, "{stop}");
    }
}

/// Where a task is cut off by its limit is no function of slices or interruptions either.
#[test]
fn the_limit_is_passed_by_as_much_however_it_is_reached() {
    let task = task_of(BULK);
    for fuel_max in [3_999_000, 5_000_000] {
        let traced = Engines::with(|engines| engines.agree("bulk", &task, fuel_max));
        assert_eq!(traced.trace.end.outcome, Outcome::FuelLimit);
    }
}

/// A checkpoint's bytes don't tell how often the task was interrupted before it.
#[test]
fn a_state_does_not_tell_how_it_was_reached() {
    let task = task_of(RANDOM);
    in_large_stack(|| {
        let compiler = compiler();
        let at = |stops: &[u64], stop: u64| {
            let mut resumed = None;
            for &stop in stops.iter().chain([&stop]) {
                let mut execution = Execution::new(&task, &compiler, resumed, None).unwrap();
                while execution.usage().fuel < stop {
                    execution.slice(UNLIMITED, stop).unwrap();
                }
                resumed = Some(execution.capture());
            }
            resumed.unwrap()
        };
        let whole = at(&[], 150_000);
        assert_eq!(at(&[70_000, 70_001, 120_000], 150_000), whole);
        let traced = trace(&compiler, &task, Some(whole), UNLIMITED, &[]).unwrap();
        assert_eq!(exited(&traced), 0);
    });
}
