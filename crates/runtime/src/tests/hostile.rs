//! Modules made to break metering, containment or determinism. Each was found to do so once.

use super::{run, run_with_stops, task_of};
use crate::execution::RunError;
use crate::protocol::{Outcome, TrapCode};

const UNLIMITED: u64 = base::TASK_FUEL_MAX;
const EXIT: &str = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

fn refusal(wat: &str) -> String {
    match run(&task_of(wat), UNLIMITED) {
        Err(RunError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn charges_on_the_way_back_down_do_not_add_up() {
    // Each level is charged for code behind its call that it never reaches.
    let never = "(drop (memory.grow (i32.const 0)))".repeat(3000);
    let mut task = task_of(&format!(
        r#"(module {EXIT} (memory 1)
          (func $check (param i32) (if (i32.eqz (local.get 0)) (then (call $exit (i32.const 7)))))
          (func $h (param $n i32)
            (call $check (local.get $n))
            (call $h (i32.sub (local.get $n) (i32.const 1)))
            {never})
          (func (export "_start") (call $h (i32.const 60000))))"#
    ));
    task.segment_fuel = crate::SEGMENT_FUEL_MAX;
    let whole = run(&task, UNLIMITED).unwrap();
    assert_eq!(whole.end.outcome, Outcome::Exited(7));
    let fuel = whole.end.usage.fuel;
    assert!(fuel < 1 << 40, "{fuel}");
    let stopped = run_with_stops(&task, UNLIMITED, &[fuel / 2, fuel - fuel / 100]).unwrap();
    assert_eq!(stopped, whole);
}

#[test]
fn calls_without_loops_have_safepoints_before_they_take_long() {
    let mut functions = String::new();
    for level in 0..60 {
        let next = level + 1;
        functions += &format!("(func $f{level} (call $f{next}) (call $f{next}))");
    }
    let task = task_of(&format!(
        r#"(module {functions} (func $f60) (func (export "_start") (call $f0)))"#
    ));
    let trace = run(&task, 10_000_000).unwrap();
    assert_eq!(trace.end.outcome, Outcome::FuelLimit);
    assert!(trace.end.usage.fuel < 11_000_000, "{}", trace.end.usage.fuel);
    assert_eq!(run_with_stops(&task, 10_000_000, &[5_000_000]).unwrap(), trace);
}

#[test]
fn large_frames_count_as_deep() {
    // 1,000 results at a time on the operand stack, up to more than the depth's field holds.
    let results = "i32 ".repeat(1000);
    let zeros = "(i32.const 0)".repeat(1000);
    let high = "(call $many)".repeat(1100);
    let drops = "(drop)".repeat(1_100_000);
    let task = task_of(&format!(
        r#"(module (func $many (result {results}) {zeros})
          (func $deep (param $n i32) (local v128)
            (if (local.get $n) (then (call $deep (i32.sub (local.get $n) (i32.const 1)))))
            {high} {drops})
          (func (export "_start") (call $deep (i32.const 2000000))))"#
    ));
    match run(&task, UNLIMITED) {
        Ok(trace) => {
            assert_eq!(trace.end.outcome, Outcome::Trapped(TrapCode::StackExhausted));
        }
        Err(RunError::Refused(reason)) => assert!(reason.contains("too large"), "{reason}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn growing_past_the_modules_own_maximum_fails_for_the_guest() {
    let task = task_of(&format!(
        r#"(module {EXIT} (memory 1 2)
          (func (export "_start") (call $exit
            (i32.add (memory.grow (i32.const 5)) (i32.const 10)))))"#
    ));
    assert_eq!(run(&task, UNLIMITED).unwrap().end.outcome, Outcome::Exited(9));
}

#[test]
fn a_trap_that_hangs_on_a_carried_nan_repeats() {
    let task = task_of(
        r#"(module (memory 1) (data (i32.const 0) "\01\00\00\00\00\00\f8\7f")
          (func (export "_start")
            (i64.ne
              (i64.reinterpret_f64 (f64.add (f64.load (i32.const 0)) (f64.const 1)))
              (i64.const 0x7ff8000000000000))
            (if (then (unreachable)))))"#,
    );
    let trace = run(&task, UNLIMITED).unwrap();
    assert_eq!(trace.end.outcome, Outcome::Trapped(TrapCode::Unreachable));
}

#[test]
fn nans_that_are_born_are_canonical() {
    // Exit status: which of the operations gave something else than the canonical NaN.
    let operations = [
        "(f64.div (f64.const 0) (global.get $z))",
        "(f64.sub (f64.const inf) (f64.add (f64.const inf) (global.get $z)))",
        "(f64.sqrt (f64.sub (global.get $z) (f64.const 1)))",
        "(f64.add (f64.div (f64.const 0) (global.get $z)) (f64.div (f64.const 0) (global.get $z)))",
        "(f64.min (f64.div (f64.const 0) (global.get $z)) (f64.const 1))",
        "(f64.max (f64.const 1) (f64.div (f64.const 0) (global.get $z)))",
        "(f64.promote_f32 (f32.demote_f64 (f64.div (f64.const 0) (global.get $z))))",
        "(f64x2.extract_lane 1 (f64x2.div (v128.const i64x2 0 0) (f64x2.splat (global.get $z))))",
    ];
    for (at, operation) in operations.iter().enumerate() {
        let task = task_of(&format!(
            r#"(module {EXIT} (global $z (mut f64) (f64.const 0)) (global $i (mut i32) (i32.const 0))
              (func $work (loop $l (global.set $i (i32.add (global.get $i) (i32.const 1)))
                (br_if $l (i32.lt_u (global.get $i) (i32.const 100000)))))
              (func (export "_start") (local $r f64)
                (call $work)
                (local.set $r {operation})
                (call $exit (i64.ne (i64.reinterpret_f64 (local.get $r))
                  (i64.const 0x7ff8000000000000)))))"#
        ));
        let whole = run(&task, UNLIMITED).unwrap();
        assert_eq!(whole.end.outcome, Outcome::Exited(0), "{at}: {operation}");
        let stopped = run_with_stops(&task, UNLIMITED, &[100_000, 300_000]).unwrap();
        assert_eq!(stopped, whole, "{at}: {operation}");
    }
}

#[test]
fn a_host_call_ends_a_task_that_it_takes_past_its_limit() {
    let task = task_of(
        r#"(module
          (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
          (memory 200)
          (func (export "_start") (drop (call $random (i32.const 0) (i32.const 12000000)))))"#,
    );
    assert_eq!(run(&task, 1_000_000).unwrap().end.outcome, Outcome::FuelLimit);
    assert_eq!(run(&task, UNLIMITED).unwrap().end.outcome, Outcome::Exited(0));
}

#[test]
fn what_an_engine_would_choke_on_is_refused() {
    let start = r#"(func (export "_start"))"#;
    let reason = refusal(&format!(r#"(module (memory 1) (data (i32.const 65536) "x") {start})"#));
    assert!(reason.contains("outside its memory"), "{reason}");
    let reason = refusal(
        r#"(module (func (export "_start") (local externref) (loop (drop (local.get 0)))))"#,
    );
    assert!(reason.contains("reference values"), "{reason}");
    let reason = refusal(&format!("(module (table 9000000 funcref) {start})"));
    assert!(reason.contains("tables of 9000000 entries"), "{reason}");
    let loops = "(loop ".repeat(300) + &")".repeat(300);
    let reason = refusal(&format!(r#"(module (func (export "_start") {loops}))"#));
    assert!(reason.contains("loops within loops"), "{reason}");
    let locals = "i32 ".repeat(49_999);
    let reason = refusal(&format!(r#"(module (func (export "_start") (local {locals}) (loop)))"#));
    assert!(reason.contains("too large"), "{reason}");
}
