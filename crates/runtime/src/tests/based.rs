//! Tasks that begin in a base: as if they had done the start-up themselves, each with its own
//! randomness and input, and with no trace of interruptions.

use base::Digest;

use super::{Trace, compiler, in_large_stack, run, through_a_file};
use crate::base_state::MARK;
use crate::execution::{Execution, RunError};
use crate::protocol::Goal;
use crate::protocol::Outcome;
use crate::save::CheckpointFile;
use crate::task::{Task, task_seed};

const LATE: &str = "(call $work (i32.const 1))";
const UNLIMITED: u64 = base::TASK_FUEL_MAX;

/// Fills a table for some million fuel, marks, then puts out: eight random bytes, what is on
/// standard input, and a sum over the table, for which it works some more. `EARLY` is what it
/// does before the mark, `LATE` what between the mark and the random numbers.
const PROGRAM: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (memory 8)
  (data (i32.const 0) "\40\00\00\00\28\00\00\00")
  (data (i32.const 16) "MARK")
  (func $work (param $times i32) (local $at i32) (local $x i64)
    (loop $again
      (local.set $at (i32.const 65536))
      (loop $more
        (local.set $x (i64.mul (i64.add (local.get $x) (i64.load (local.get $at)))
          (i64.const 0x9e3779b97f4a7c15)))
        (local.set $x (i64.add (local.get $x) (i64.const 12345)))
        (i64.store (local.get $at) (local.get $x))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $more (i32.lt_u (local.get $at) (i32.const 400000))))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br_if $again (local.get $times)))
    (i64.store (i32.const 72) (local.get $x)))
  (func (export "_start")
    (call $work (i32.const 9))
    EARLY
    (if (i32.ne (call $stat (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 11)
          (i32.const 128)) (i32.const 44)) (then (unreachable)))
    LATE
    (drop (call $random (i32.const 64) (i32.const 8)))
    (call $work (i32.const 9))
    (i32.store (i32.const 8) (i32.const 80))
    (i32.store (i32.const 12) (i32.const 24))
    (drop (call $read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 4)))
    (i32.store (i32.const 4) (i32.const 40))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 4)))))"#;

fn task(early: &str, input: &str, index: u32) -> Task {
    assert_eq!(MARK.len(), 11);
    let text = PROGRAM.replace("MARK", MARK).replace("EARLY", early).replace("LATE", LATE);
    let mut task = Task::new(wat::parse_str(text).expect("the test's module parses"));
    task.segment_fuel = 1 << 20;
    task.stdin = input.as_bytes().to_vec();
    task.seed = task_seed(&Digest::default(), index);
    task
}

/// Runs to the mark in steps of `step` fuel.
fn base_of(task: &Task, step: u64) -> Result<CheckpointFile, String> {
    in_large_stack(|| {
        let compiler = compiler();
        let mut execution =
            Execution::begin(task, &compiler, None, Goal::Mark, None, None).unwrap();
        while !execution.is_at_mark() {
            let until = execution.usage().fuel + step;
            if let Some(end) = execution.slice(UNLIMITED, until).unwrap().end {
                return Err(format!("{:?}", end.outcome));
            }
        }
        Ok(CheckpointFile { task: task.clone(), checkpoint: execution.capture() })
    })
}

/// Runs a task from a base, stopped and resumed at each of `stops`.
fn from(base: &CheckpointFile, task: &Task, stops: &[u64]) -> Result<Trace, RunError> {
    in_large_stack(|| {
        let compiler = compiler();
        let mut execution = Execution::begin(task, &compiler, Some(base), Goal::End, None, None)?;
        let mut records = Vec::new();
        let mut stops = stops.iter().copied().peekable();
        loop {
            let stop_at = stops.peek().copied().unwrap_or(u64::MAX);
            let slice = execution.slice(UNLIMITED, stop_at)?;
            records.extend(slice.record);
            if let Some(end) = slice.end {
                return Ok(Trace { records, end: *end });
            }
            if execution.usage().fuel >= stop_at {
                stops.next();
                let checkpoint = through_a_file(task, execution.capture());
                execution = Execution::begin(
                    task,
                    &compiler,
                    Some(base),
                    Goal::End,
                    Some(checkpoint),
                    None,
                )?;
            }
        }
    })
}

#[test]
fn a_task_from_a_base_puts_out_what_it_would_have() {
    let base = base_of(&task("", "", 0), UNLIMITED).unwrap();
    let whole = run(&task("", "hello", 5), UNLIMITED).unwrap();
    let based = from(&base, &task("", "hello", 5), &[]).unwrap();
    assert_eq!(whole.end.outcome, Outcome::Exited(0));
    assert_eq!(based.end.outcome, Outcome::Exited(0));
    assert_eq!(based.end.stdout, whole.end.stdout);
    assert_eq!(&based.end.stdout[16..21], b"hello");
    // The start-up is not billed: both halves do the same work, but for a few calls.
    let (half, all) = (based.end.usage.fuel, whole.end.usage.fuel);
    assert!(half > all / 3 && half < all * 2 / 3, "{half} of {all}");
    assert!(based.records.len() > 2);
    assert_ne!(based.end.record.digest, whole.end.record.digest);
}

#[test]
fn tasks_from_one_base_differ_in_their_random_numbers_alone() {
    let base = base_of(&task("", "", 0), UNLIMITED).unwrap();
    let one = from(&base, &task("", "x", 1), &[]).unwrap().end.stdout;
    let other = from(&base, &task("", "x", 2), &[]).unwrap().end.stdout;
    assert_ne!(one[..8], other[..8]);
    assert_eq!(one[8..], other[8..]);
    // Nor does it matter what was drawn before: the stream begins anew, with the task's seed.
    let drawn = "(drop (call $random (i32.const 200) (i32.const 40)))";
    let drawn_base = base_of(&task(drawn, "", 0), UNLIMITED).unwrap();
    assert_eq!(from(&drawn_base, &task(drawn, "x", 1), &[]).unwrap().end.stdout, one);
}

#[test]
fn interruptions_leave_no_trace_from_a_base() {
    let base = base_of(&task("", "", 0), UNLIMITED).unwrap();
    let task = task("", "input", 3);
    let whole = from(&base, &task, &[]).unwrap();
    let fuel = whole.end.usage.fuel;
    for stops in [vec![1], vec![fuel / 2], vec![fuel / 7, fuel / 3, fuel / 3 + 1, fuel - 100]] {
        assert_eq!(from(&base, &task, &stops).unwrap(), whole, "{stops:?}");
    }
}

#[test]
fn a_base_is_the_same_wherever_slices_end() {
    let task = task("", "", 0);
    let base = base_of(&task, UNLIMITED).unwrap();
    for step in [10_000, 123_457, 1 << 19] {
        assert!(base_of(&task, step).unwrap() == base, "steps of {step}");
    }
}

#[test]
fn a_nan_after_the_base_goes_back_to_the_base() {
    let nan = "(if (i32.load8_u (i32.const 80)) (then
        (f64.store (i32.const 300) (f64.div (f64.load (i32.const 304)) (f64.load (i32.const 312))))))";
    let with_nan = PROGRAM.replace(
        "(i32.store (i32.const 4) (i32.const 40))",
        &format!("{nan} (i32.store (i32.const 4) (i32.const 40))"),
    );
    let text = with_nan.replace("MARK", MARK).replace("EARLY", "").replace("LATE", LATE);
    let module = wat::parse_str(text).unwrap();
    let begin = Task { module: module.clone(), ..task("", "", 0) };
    let then = Task { module, segment_fuel: 1 << 30, ..task("", "go", 1) };
    let base = base_of(&begin, UNLIMITED).unwrap();
    let based = from(&base, &then, &[]).unwrap();
    assert_eq!(based.end.outcome, Outcome::Exited(0));
    assert_eq!(based.end.stdout, run(&then, UNLIMITED).unwrap().end.stdout);
}

#[test]
fn what_can_t_be_a_base_is_refused_by_name() {
    let plain = task("", "", 0);
    let base = base_of(&plain, UNLIMITED).unwrap();
    let refused = |base: &CheckpointFile, task: &Task| match from(base, task, &[]) {
        Err(RunError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let args = Task { args: vec!["other".to_owned()], ..plain.clone() };
    assert!(refused(&base, &args).contains("list of arguments"));
    let env = Task { env: vec![("A".to_owned(), "1".to_owned())], ..plain.clone() };
    assert!(refused(&base, &env).contains("environment"));
    assert!(refused(&base, &task("(nop)", "", 0)).contains("program"));
    let fed = base_of(&task("", "fed", 0), UNLIMITED).unwrap();
    assert!(refused(&fed, &plain).contains("standard input"));
    let wrote = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 4)))";
    let wrote = task(wrote, "", 0);
    assert!(refused(&base_of(&wrote, UNLIMITED).unwrap(), &wrote).contains("written"));
    // Without the base it is another task.
    let checkpoint = in_large_stack(|| {
        let compiler = compiler();
        let mut execution =
            Execution::begin(&plain, &compiler, Some(&base), Goal::End, None, None).unwrap();
        execution.slice(UNLIMITED, 1).unwrap();
        execution.capture()
    });
    let compiler = compiler();
    match Execution::new(&plain, &compiler, Some(checkpoint), None).map(|_| ()) {
        Err(RunError::Refused(reason)) => assert!(reason.contains("another task"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // What it draws before it can be captured would be the same for every task.
    let rash = PROGRAM.replace("MARK", MARK).replace("EARLY", "").replace("LATE", "");
    let rash = Task { module: wat::parse_str(rash).unwrap(), ..plain.clone() };
    in_large_stack(|| {
        let compiler = super::compiler();
        let mut execution =
            Execution::begin(&rash, &compiler, None, Goal::Mark, None, None).unwrap();
        let refused = loop {
            match execution.slice(UNLIMITED, u64::MAX) {
                Ok(slice) => assert!(slice.end.is_none()),
                Err(refused) => break refused.to_string(),
            }
        };
        assert!(refused.contains("right after"), "{refused}");
    });
    // Nothing is a mark that doesn't ask for it.
    let without = PROGRAM.replace("MARK", ".jusha-basf").replace("EARLY", "").replace("LATE", LATE);
    let without = Task { module: wat::parse_str(without).unwrap(), ..plain };
    assert_eq!(base_of(&without, UNLIMITED).unwrap_err(), "Exited(0)");
}
