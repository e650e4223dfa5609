//! Instructions whose state the engine keeps to itself: tables, dropped segments, start sections,
//! exceptions. A run that is stopped and resumed must be indistinguishable from one that is not.

use super::control_flow::{check, in_pieces};
use super::{run, task_of};
use crate::protocol::{Outcome, TrapCode};
use crate::task::Task;

/// A program that ends with what `$main` returns; `$work` is a loop in which it can be stopped.
fn program(body: &str) -> Task {
    task_of(&format!(
        r#"(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (type $nullary (func (result i32)))
          (func $work (local $i i32)
            (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $i) (i32.const 40)))))
          {body}
          (func (export "_start") (call $exit (call $main))))"#
    ))
}

/// Runs whole and with stops everywhere, expecting a trap.
fn check_trap(task: &Task) -> TrapCode {
    match in_pieces(task) {
        Outcome::Trapped(code) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_start_section_runs_once_before_start() {
    let task = program(
        r#"(global $order (mut i32) (i32.const 0))
          (func $first (call $work)
            (global.set $order (i32.add (i32.mul (global.get $order) (i32.const 10)) (i32.const 1))))
          (start $first)
          (func $main (result i32) (call $work)
            (i32.add (i32.mul (global.get $order) (i32.const 10)) (i32.const 2)))"#,
    );
    assert_eq!(check(&task), 12);
}

#[test]
fn a_start_section_may_name_a_function_without_safepoints_an_import_or_one_that_traps() {
    let quiet = program(
        r#"(global $g (mut i32) (i32.const 5))
          (func $first (global.set $g (i32.const 7))) (start $first)
          (func $main (result i32) (call $work) (global.get $g))"#,
    );
    assert_eq!(check(&quiet), 7);
    let trapping = program(
        r#"(func $first (call $work) (unreachable)) (start $first)
          (func $main (result i32) (i32.const 0))"#,
    );
    assert_eq!(check_trap(&trapping), TrapCode::Unreachable);
}

#[test]
fn the_start_function_of_a_module_without_any_loop() {
    let task = task_of(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (global $g (mut i32) (i32.const 5))
          (func $first (global.set $g (i32.const 7))) (start $first)
          (func (export "_start") (call $exit (global.get $g))))"#,
    );
    assert_eq!(run(&task, 1 << 30).unwrap().end.outcome, Outcome::Exited(7));
}

#[test]
fn a_dropped_data_segment_stays_dropped() {
    let task = program(
        r#"(data $d "\01\02\03\04")
          (func $main (result i32)
            (memory.init $d (i32.const 100) (i32.const 1) (i32.const 3))
            (call $work)
            (data.drop $d)
            (call $work)
            ;; Nothing of nothing is still allowed.
            (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))
            (i32.load (i32.const 100)))"#,
    );
    assert_eq!(check(&task), 0x040302);
    for after in ["(i32.const 1) (i32.const 0)", "(i32.const 0) (i32.const 1)"] {
        let task = program(&format!(
            r#"(data $d "\01\02\03\04")
              (func $main (result i32) (call $work) (data.drop $d) (call $work)
                (memory.init $d (i32.const 0) {after}) (i32.const 0))"#
        ));
        assert_eq!(check_trap(&task), TrapCode::MemoryOutOfBounds, "{after}");
    }
}

#[test]
fn active_segments_are_dropped_from_the_beginning() {
    let task = program(
        r#"(data $d (i32.const 8) "\09")
          (func $main (result i32) (call $work)
            (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))
            (data.drop $d)
            (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (i32.const 0))"#,
    );
    assert_eq!(check_trap(&task), TrapCode::MemoryOutOfBounds);
}

const THREE: &str = r#"
  (func $one (result i32) (call $work) (i32.const 1))
  (func $two (result i32) (i32.const 2))
  (func $three (result i32) (call $work) (i32.const 3))"#;

#[test]
fn tables_that_were_changed_are_restored() {
    // Each way to change a table, with a call through it and room for a stop in between.
    let call =
        |table: &str, at: u32| format!("(call_indirect {table} (type $nullary) (i32.const {at}))");
    let cases = [
        ("(table.set $t (i32.const 1) (ref.func $three))", 1, 3),
        ("(table.set $t (i32.const 1) (table.get $t (i32.const 0)))", 1, 1),
        ("(table.fill $t (i32.const 1) (ref.func $two) (i32.const 3))", 3, 2),
        ("(table.copy $t $t (i32.const 2) (i32.const 0) (i32.const 2))", 2, 1),
        ("(table.copy $t $u (i32.const 1) (i32.const 0) (i32.const 1))", 1, 3),
        ("(table.init $t $e (i32.const 2) (i32.const 1) (i32.const 2))", 3, 2),
        ("(drop (table.grow $t (ref.func $three) (i32.const 3)))", 6, 3),
        (
            "(drop (table.grow $t (ref.null func) (i32.const 3)))
             (table.set $t (i32.const 6) (ref.func $two))",
            6,
            2,
        ),
    ];
    for (change, at, expected) in cases {
        let task = program(&format!(
            r#"(table $t 4 10 funcref) (table $u 2 funcref)
              (elem (table $t) (i32.const 0) func $one $two)
              (elem (table $u) (offset (i32.const 0)) func $three)
              (elem $e funcref (ref.func $three) (ref.null func) (ref.func $two)) {THREE}
              (func $main (result i32) (call $work) {change} (call $work)
                {})"#,
            call("$t", at)
        ));
        assert_eq!(check(&task), expected, "{change}");
    }
}

#[test]
fn table_instructions_trap_and_fail_as_they_should() {
    let traps = [
        ("(table.set $t (i32.const 4) (ref.func $one))", TrapCode::TableOutOfBounds),
        ("(drop (table.get $t (i32.const 4)))", TrapCode::TableOutOfBounds),
        ("(table.fill $t (i32.const 2) (ref.null func) (i32.const 3))", TrapCode::TableOutOfBounds),
        (
            "(table.copy $t $t (i32.const 3) (i32.const 0) (i32.const 2))",
            TrapCode::TableOutOfBounds,
        ),
        (
            "(table.init $t $e (i32.const 0) (i32.const 2) (i32.const 2))",
            TrapCode::TableOutOfBounds,
        ),
        (
            "(elem.drop $e) (call $work) (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))",
            TrapCode::TableOutOfBounds,
        ),
        ("(table.init $t 0 (i32.const 0) (i32.const 0) (i32.const 1))", TrapCode::TableOutOfBounds),
        (
            "(table.set $t (i32.const 0) (ref.null func)) (call $work)
             (drop (call_indirect $t (type $nullary) (i32.const 0)))",
            TrapCode::IndirectCallToNull,
        ),
        (
            "(table.set $t (i32.const 0) (ref.func $work)) (call $work)
             (drop (call_indirect $t (type $nullary) (i32.const 0)))",
            TrapCode::BadSignature,
        ),
    ];
    for (change, expected) in traps {
        let task = program(&format!(
            r#"(table $t 4 10 funcref) (elem (table $t) (i32.const 0) func $one $two)
              (elem declare func $work)
              (elem $e funcref (ref.func $three) (ref.null func) (ref.func $two)) {THREE}
              (func $main (result i32) (call $work) {change} (i32.const 0))"#
        ));
        assert_eq!(check_trap(&task), expected, "{change}");
    }
    let figures = [
        ("(table.grow $t (ref.null func) (i32.const 7))", -1),
        ("(table.grow $t (ref.null func) (i32.const -1))", -1),
        ("(table.grow $t (ref.null func) (i32.const 6))", 4),
        ("(call $grown)", 14),
        // A table without a maximum ends, too.
        ("(table.grow $free (ref.null func) (i32.const 1048577))", -1),
        ("(table.grow $free (ref.null func) (i32.const 1048576))", 0),
    ];
    for (what, expected) in figures {
        let task = program(&format!(
            r#"(table $t 4 10 funcref) (table $free 0 funcref) {THREE}
              (func $grown (result i32)
                (drop (table.grow $t (ref.null func) (i32.const 3))) (call $work)
                (i32.add (table.grow $t (ref.null func) (i32.const 1)) (table.size $t))
                (i32.sub (i32.const 1)))
              (func $main (result i32) (local $n i32)
                (call $work) (local.set $n {what}) (call $work) (local.get $n))"#
        ));
        assert_eq!(check(&task), expected, "{what}");
    }
}

#[test]
fn references_in_locals_globals_blocks_and_operands_are_kept() {
    let task = program(&format!(
        r#"(table $t 1 funcref) (elem declare func $one $two $three $exit)
          (global $g (mut funcref) (ref.func $two)) (global $h funcref (ref.null func)) {THREE}
          (func $main (result i32) (local $f funcref) (local $sum i32)
            (local.set $f (ref.func $one))
            (call $work)
            (table.set $t (i32.const 0)
              (select (result funcref) (local.get $f) (global.get $g) (i32.const 1)))
            (local.set $sum (call_indirect $t (type $nullary) (i32.const 0)))
            (global.set $g (ref.func $three))
            (table.set $t (i32.const 0)
              (block $b (result funcref) (call $work) (global.get $g)))
            (call $work)
            (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 10))
              (call_indirect $t (type $nullary) (i32.const 0))))
            (i32.add (i32.mul (local.get $sum) (i32.const 10))
              (i32.add (ref.is_null (global.get $h)) (ref.is_null (local.get $f)))))"#
    ));
    assert_eq!(check(&task), 131);
}

#[test]
fn an_import_can_be_called_through_a_table_that_it_was_put_into() {
    let task = task_of(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (type $unary (func (param i32)))
          (table $t 1 funcref) (elem declare func $exit)
          (func (export "_start") (local $i i32)
            (table.set $t (i32.const 0) (ref.func $exit))
            (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $i) (i32.const 99))))
            (call_indirect $t (type $unary) (local.get $i) (i32.const 0))))"#,
    );
    assert_eq!(check(&task), 99);
}

#[test]
fn relaxed_simd_takes_its_deterministic_form() {
    let task = program(
        r#"(func $main (result i32) (call $work)
            (i32.add
              (i8x16.extract_lane_u 1 (i8x16.relaxed_swizzle
                (v128.const i8x16 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
                (v128.const i8x16 0 255 2 3 4 5 6 7 8 9 10 11 12 13 14 15)))
              (i32.trunc_f32_s (f32x4.extract_lane 0 (f32x4.relaxed_madd
                (f32x4.splat (f32.const 3)) (f32x4.splat (f32.const 4)) (f32x4.splat (f32.const 5)))))))"#,
    );
    assert_eq!(check(&task), 17);
}

const TAGS: &str = r#"(tag $e (param i32)) (tag $n) (tag $other (param i32))"#;

#[test]
fn exceptions_are_thrown_through_frames_and_caught() {
    // What `$main` does, and what it returns.
    let cases = [
        // Through frames that were saved in between.
        ("(block $h (result i32) (try_table (catch $e $h) (call $down (i32.const 20))) (i32.const -1))", 120),
        // By the second of two clauses, of the outer of two blocks, after a throw in place.
        (
            "(block $h (result i32)
               (block $no (result i32)
                 (try_table (catch $other $no) (catch $e $h) (throw $e (i32.const 7))) (i32.const -1))
               (drop) (i32.const -2))",
            7,
        ),
        (
            "(block $h (result i32)
               (try_table (catch $e $h)
                 (block $no (try_table (catch $n $no) (call $work) (throw $e (i32.const 8)))) )
               (i32.const -1))",
            8,
        ),
        ("(block $h (try_table (catch_all $h) (call $down (i32.const 3))) (return (i32.const -1))) (i32.const 9)", 9),
        ("(block $h (try_table (catch $n $h) (call $void)) (return (i32.const -1))) (i32.const 10)", 10),
        // Nothing thrown.
        ("(block $h (result i32) (try_table (catch $e $h) (call $work)) (i32.const 11))", 11),
        ("(block $h (result i32) (try_table (result i32) (catch $e $h) (call $work) (i32.const 12)))", 12),
        // By the function's own label.
        ("(try_table (catch $e 0) (call $down (i32.const 2))) (i32.const -1)", 102),
        // Cleaning up and going on; the reference lives across a safepoint.
        (
            "(block $h (result i32)
               (try_table (catch $e $h) (call $cleaning))
               (i32.const -1)) (i32.add (i32.mul (global.get $cleaned) (i32.const 1000)))",
            2105,
        ),
        // Twice the same exception, from a local.
        (
            "(local $x exnref) (local $r i32)
             (block $h (result i32 exnref)
               (try_table (catch_ref $e $h) (call $down (i32.const 1))) (unreachable))
             (local.set $x) (local.set $r)
             (call $work)
             (block $h (result i32) (try_table (catch $e $h) (throw_ref (local.get $x))) (unreachable))
             (local.get $r) (i32.add) (local.set $r) (call $work)
             (block $h (result i32) (try_table (catch $e $h) (throw_ref (local.get $x))) (unreachable))
             (i32.add (local.get $r))",
            303,
        ),
        // Thrown by what a table holds, with operands below the call.
        (
            "(i32.add (i32.const 1000)
               (block $h (result i32)
                 (try_table (catch $e $h)
                   (drop (i32.mul (i32.const 3) (call_indirect (type $nullary) (i32.const 0)))))
                 (i32.const -1)))",
            1042,
        ),
    ];
    for (body, expected) in cases {
        let task = program(&format!(
            r#"{TAGS} (table 1 funcref) (elem (i32.const 0) $thrower)
              (global $cleaned (mut i32) (i32.const 0))
              (func $thrower (result i32) (call $work) (throw $e (i32.const 42)))
              (func $void (call $work) (throw $n))
              (func $down (param $n i32)
                (if (i32.eqz (local.get $n)) (then (call $work) (throw $e (i32.const 100))))
                (call $count (local.get $n)))
              (func $count (param $n i32) (local $got i32)
                (block $h (result i32)
                  (try_table (catch $e $h) (call $down (i32.sub (local.get $n) (i32.const 1))))
                  (return))
                (local.set $got) (call $work)
                (throw $e (i32.add (local.get $got) (i32.const 1))))
              (func $cleaning
                (block $h (result exnref)
                  (try_table (catch_all_ref $h)
                    (call $inner))
                  (return))
                (global.set $cleaned (i32.add (global.get $cleaned) (i32.const 1)))
                (call $work) (throw_ref))
              (func $inner
                (block $h (result exnref) (try_table (catch_all_ref $h) (call $down (i32.const 5))) (return))
                (global.set $cleaned (i32.add (global.get $cleaned) (i32.const 1)))
                (call $work) (throw_ref))
              (func $main (result i32) {body})"#
        ));
        assert_eq!(check(&task), expected, "{body}");
    }
}

#[test]
fn a_loop_that_throws_and_catches_a_thousand_times() {
    let task = program(&format!(
        r#"{TAGS}
          (func $odd (param $i i32) (result i32)
            (call $work)
            (if (i32.and (local.get $i) (i32.const 1)) (then (throw $e (local.get $i))))
            (local.get $i))
          (func $main (result i32) (local $i i32) (local $sum i32)
            (loop $l
              (local.set $sum (i32.add (local.get $sum)
                (block $h (result i32)
                  (try_table (result i32) (catch $e $h) (call $odd (local.get $i)))
                  (i32.mul (i32.const 2)))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))
            (local.get $sum))"#
    ));
    let expected: i32 = (0..1000).map(|i| if i % 2 == 1 { i } else { 2 * i }).sum();
    assert_eq!(check(&task), expected);
}

#[test]
fn a_catch_may_go_to_a_loop() {
    let task = program(&format!(
        r#"{TAGS}
          (func $main (result i32)
            (i32.const 0)
            (loop $again (param i32) (result i32)
              (call $work)
              (if (param i32) (result i32) (i32.lt_u (global.get $n) (i32.const 30))
                (then (global.set $n)
                  (try_table (catch $e $again)
                    (call $work)
                    (throw $e (i32.add (global.get $n) (i32.const 3))))
                  (unreachable)))))
          (global $n (mut i32) (i32.const 0))"#
    ));
    assert_eq!(check(&task), 33);
}

#[test]
fn what_nobody_catches_is_a_trap() {
    for (body, expected) in [
        ("(throw $e (i32.const 1))", TrapCode::UncaughtException),
        ("(call $deep (i32.const 9)) (i32.const 0)", TrapCode::UncaughtException),
        (
            "(block $h (try_table (catch $n $h) (throw $e (i32.const 1)))) (i32.const 0)",
            TrapCode::UncaughtException,
        ),
        ("(throw_ref (ref.null exn))", TrapCode::NullReference),
    ] {
        let task = program(&format!(
            r#"{TAGS}
              (func $deep (param i32)
                (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)))))
                (call $work) (throw $e (i32.const 3)))
              (func $main (result i32) (call $work) {body})"#
        ));
        assert_eq!(check_trap(&task), expected, "{body}");
    }
}

/// A function that threw is off the stack: catching a hundred thousand times takes no depth.
#[test]
fn depth_is_what_it_was_where_an_exception_is_caught() {
    let task = program(&format!(
        r#"{TAGS}
          (func $deep (param i32)
            (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
              (else (throw $n))))
          (func $main (result i32) (local $i i32)
            (loop $l
              (block $h (try_table (catch_all $h) (call $deep (i32.const 1000))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))
            (local.get $i))"#
    ));
    assert_eq!(run(&task, 1 << 40).unwrap().end.outcome, Outcome::Exited(1000));
}
