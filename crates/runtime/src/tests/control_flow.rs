//! Control flow that compilers rarely emit but modules may contain, and generated modules:
//! a run that is stopped and resumed must be indistinguishable from one that is not.

use super::{run, run_with_stops, task_of};
use crate::protocol::Outcome;
use crate::task::Task;

/// Ends with `$sum` as its exit status.
fn program(body: &str) -> Task {
    task_of(&format!(
        r#"(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (global $sum (mut i32) (i32.const 0))
          (type $unary (func (param i32) (result i32)))
          (table 4 funcref) (elem (i32.const 0) $double $count $fib)
          (func $add (param i32) (global.set $sum (i32.add (global.get $sum) (local.get 0))))
          (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
          (func $count (param $n i32) (result i32) (local $i i32)
            (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $i) (local.get $n))))
            (local.get $i))
          (func $fib (param $n i32) (result i32)
            (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
              (then (local.get $n))
              (else (i32.add
                (call $fib (i32.sub (local.get $n) (i32.const 1)))
                (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
          {body})"#
    ))
}

/// Runs uninterrupted and with stops everywhere; gives the outcome.
pub fn in_pieces(task: &Task) -> Outcome {
    let whole = run(task, u64::MAX >> 20).unwrap();
    let fuel = whole.end.usage.fuel;
    for pieces in [2, 3, 7, 50] {
        let stops: Vec<u64> = (1..pieces).map(|piece| fuel * piece / pieces).collect();
        let stopped = run_with_stops(task, u64::MAX >> 20, &stops).unwrap();
        assert_eq!(stopped, whole, "{pieces} pieces");
    }
    whole.end.outcome
}

/// The same for a program that exits; gives its status.
pub fn check(task: &Task) -> i32 {
    match in_pieces(task) {
        Outcome::Exited(status) => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn recursion_with_operands_below_calls() {
    let task = program(r#"(func (export "_start") (call $exit (call $fib (i32.const 15))))"#);
    assert_eq!(check(&task), 610);
}

#[test]
fn indirect_calls_with_operands_below_and_index_restored() {
    let task = program(
        r#"(func (export "_start") (local $i i32) (local $s i32)
          (loop $l
            (local.set $s (i32.add (local.get $s) (i32.mul (i32.const 3)
              (call_indirect (type $unary) (i32.add (local.get $i) (i32.const 1))
                (i32.rem_u (local.get $i) (i32.const 3))))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 12))))
          (call $exit (local.get $s)))"#,
    );
    let mut expected = 0;
    let fib = [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144];
    for i in 0..12 {
        expected += 3 * match i % 3 {
            0 => 2 * (i + 1),
            1 => i + 1,
            _ => fib[i as usize + 1],
        };
    }
    assert_eq!(check(&task), expected);
}

#[test]
fn values_through_blocks_loops_and_branch_tables() {
    let task = program(
        r#"(func $pick (param $n i32) (result i32)
          (block $a (result i32)
            (block $b (result i32)
              (block $c (result i32)
                (drop (call $count (i32.const 3)))
                (i32.add (i32.const 100) (call $count (local.get $n)))
                (br_table $a $b $c (i32.rem_u (local.get $n) (i32.const 3))))
              (i32.add (i32.const 1000)))
            (i32.add (i32.const 10000)))
          (i32.add (call $double (i32.const 1))))
        (func $loops (param $n i32) (result i32)
          (i32.const 7)
          (local.get $n) (i32.const 0)
          (loop $l (param i32 i32) (result i32 i32)
            (call $add (call $count (i32.const 2)))
            (i32.const 5) (i32.add)
            (br_if $l (i32.gt_u (call $down) (i32.const 0))))
          (i32.add) (i32.add))
        (global $left (mut i32) (i32.const 20))
        (func $down (result i32)
          (drop (call $count (i32.const 1)))
          (global.set $left (i32.sub (global.get $left) (i32.const 1)))
          (global.get $left))
        (func (export "_start") (local $i i32) (local $s i32)
          (loop $l
            (local.set $s (i32.add (local.get $s) (call $pick (local.get $i))))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9))))
          (call $exit (i32.add (i32.add (local.get $s) (call $loops (i32.const 1))) (global.get $sum))))"#,
    );
    let mut expected = 0;
    for n in 0..9 {
        let count = if n == 0 { 1 } else { n };
        expected += 100 + count + [0, 10000, 11000][n as usize % 3] + 2;
    }
    expected += 7 + 1 + 20 * 5 + 20 * 2;
    assert_eq!(check(&task), expected);
}

#[test]
fn ifs_with_parameters_and_conditional_branches_with_values() {
    let task = program(
        r#"(func $f (param $n i32) (result i32)
          (block $out (result i32)
            (i32.const 1)
            (i32.add (call $count (local.get $n)) (i32.const 1))
            (if (param i32) (result i32) (i32.and (local.get $n) (i32.const 1))
              (then (i32.add (call $count (i32.const 4))))
              (else (i32.mul (call $count (i32.const 3)))))
            (br_if $out (i32.gt_u (local.get $n) (i32.const 6)))
            (if (param i32) (result i32) (i32.eqz (call $count (local.get $n)))
              (then (drop) (i32.const 0)))
            (i32.add)))
        (func (export "_start") (local $i i32) (local $s i32)
          (loop $l
            (local.set $s (i32.add (local.get $s) (call $f (local.get $i))))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
          (call $exit (local.get $s)))"#,
    );
    let f = |n: i32| {
        let c = n.max(1) + 1;
        let v = if n & 1 == 1 { c + 4 } else { c * 3 };
        if n > 6 { v } else { v + 1 }
    };
    assert_eq!(check(&task), (0..10).map(f).sum::<i32>());
}
