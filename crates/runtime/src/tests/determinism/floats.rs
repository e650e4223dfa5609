//! Floats: which bits a program can see.
//!
//! Each case is an operation and the bits that it must have. Loops before and after it give
//! room for interruptions; a boundary lies between, so that replays begin in the middle, too.

use super::super::task_of;
use super::{Engines, canonical_beginning, exited, last_global};
use crate::execution::Execution;
use crate::task::Task;

const NAN: u64 = 0x7ff8_0000_0000_0000;
const NAN_SINGLE: u64 = 0x7fc0_0000;
const SIGN: u64 = 1 << 63;
/// Quiet NaNs of two payloads and signs, and one that signals: as data, at these addresses.
const DATA: &str = r#"(data (i32.const 0)
  "\23\01\00\00\00\00\f8\7f" "\56\04\00\00\00\00\f8\ff" "\89\07\00\00\00\00\f0\7f"
  "\23\01\c0\7f" "\56\04\c0\ff")"#;
const QUIET: &str = "(f64.load (i32.const 0))";
const NEGATIVE: &str = "(f64.load (i32.const 8))";
const SIGNALLING: &str = "(f64.load (i32.const 16))";

/// `$r` ends in the last global. `$z`, `$one` and `$inf` are not known to the compiler.
fn program(operation: &str) -> Task {
    task_of(&format!(
        r#"(module (memory 1) {DATA}
          (global $z (mut f64) (f64.const 0)) (global $one (mut f64) (f64.const 1))
          (global $inf (mut f64) (f64.const inf)) (global $i (mut i32) (i32.const 0))
          (global $r (mut i64) (i64.const 0))
          (func $work (loop $l (global.set $i (i32.add (global.get $i) (i32.const 1)))
            (br_if $l (i32.rem_u (global.get $i) (i32.const 60000)))))
          (func $through (param f64) (result f64) (call $work) (local.get 0))
          (func (export "_start") (local $x f64)
            (call $work)
            (global.set $r {operation})
            (call $work)))"#
    ))
}

fn bits(operation: &str) -> String {
    format!("(i64.reinterpret_f64 {operation})")
}

fn single(operation: &str) -> String {
    format!("(i64.extend_i32_u (i32.reinterpret_f32 {operation}))")
}

fn check(cases: &[(String, u64)]) {
    Engines::with(|engines| {
        for (operation, expected) in cases {
            let traced = engines.agree(operation, &program(operation), super::UNLIMITED);
            let found = last_global(&traced) as u64;
            assert_eq!(found, *expected, "{operation}: {found:016x}, not {expected:016x}");
        }
    });
}

#[test]
fn a_nan_that_is_born_is_canonical() {
    let born = "(f64.div (global.get $z) (global.get $z))";
    let mut cases: Vec<(String, u64)> = [
        born,
        "(f64.sub (global.get $inf) (global.get $inf))",
        "(f64.mul (global.get $inf) (global.get $z))",
        "(f64.sqrt (f64.neg (global.get $one)))",
        "(call $through (f64.div (global.get $z) (global.get $z)))",
        "(select (f64.div (global.get $z) (global.get $z)) (global.get $z) (i32.const 1))",
    ]
    .map(|operation| (bits(operation), NAN))
    .to_vec();
    // Seen by memory before anything else sees it.
    cases.push((
        format!("(block (result i64) (f64.store (i32.const 64) {born}) (i64.load (i32.const 64)))"),
        NAN,
    ));
    cases.push((single("(f32.div (f32.const 0) (f32.demote_f64 (global.get $z)))"), NAN_SINGLE));
    check(&cases);
}

#[test]
fn two_nans_give_the_canonical_one_once_one_was_born() {
    let born = "(f64.div (global.get $z) (global.get $z))";
    let cases = [
        format!("(f64.add {born} {QUIET})"),
        format!("(f64.add {NEGATIVE} {born})"),
        format!("(f64.mul {SIGNALLING} {NEGATIVE})"),
        format!("(f64.add {SIGNALLING} (global.get $one))"),
    ];
    check(&cases.map(|operation| (bits(&operation), NAN)));
}

#[test]
fn minima_and_maxima_of_nans_are_canonical() {
    let born = "(f64.sqrt (f64.neg (global.get $one)))";
    let mut cases = Vec::new();
    for operation in ["min", "max"] {
        cases.push((bits(&format!("(f64.{operation} {born} (global.get $one))")), NAN));
        cases.push((bits(&format!("(f64.{operation} {QUIET} {born})")), NAN));
        cases.push((bits(&format!("(f64.{operation} (global.get $z) {SIGNALLING})")), NAN));
    }
    check(&cases);
}

#[test]
fn conversions_between_widths_make_nans_canonical() {
    let born = "(f64.sqrt (f64.neg (global.get $one)))";
    check(&[
        (single(&format!("(f32.demote_f64 {born})")), NAN_SINGLE),
        (single(&format!("(f32.demote_f64 {SIGNALLING})")), NAN_SINGLE),
        (bits(&format!("(f64.promote_f32 (f32.demote_f64 {born}))")), NAN),
    ]);
}

#[test]
fn roundings_of_signalling_nans_are_canonical() {
    let cases = ["ceil", "floor", "trunc", "nearest"]
        .map(|rounding| (bits(&format!("(f64.{rounding} {SIGNALLING})")), NAN));
    check(&cases);
}

#[test]
fn signs_of_nans_are_what_was_asked_for() {
    let born = "(f64.div (global.get $z) (global.get $z))";
    check(&[
        (bits(&format!("(f64.neg {born})")), NAN | SIGN),
        (bits(&format!("(f64.abs (f64.neg {born}))")), NAN),
        (bits(&format!("(f64.copysign {born} (f64.const -1))")), NAN | SIGN),
        (bits(&format!("(f64.copysign (global.get $one) {born})")), 1f64.to_bits()),
        // Without arithmetic the payload stays.
        (bits(&format!("(f64.neg {QUIET})")), NAN | 0x123 | SIGN),
        (bits(&format!("(f64.abs {NEGATIVE})")), NAN | 0x456),
    ]);
}

#[test]
fn a_nan_that_is_only_moved_keeps_its_bits() {
    check(&[
        (bits(QUIET), NAN | 0x123),
        (bits(SIGNALLING), 0x7ff0_0000_0000_0789),
        (bits(&format!("(call $through {SIGNALLING})")), 0x7ff0_0000_0000_0789),
        (bits(&format!("(local.tee $x {NEGATIVE})")), NAN | SIGN | 0x456),
        (
            bits(&format!("(select {QUIET} {NEGATIVE} (global.get $i))"))
                .replace("(global.get $i)", "(i32.eqz (i32.const 0))"),
            NAN | 0x123,
        ),
        // Also while another was born before, in the canonical build.
        (
            format!(
                "(block (result i64) (drop {}) {})",
                "(i64.trunc_sat_f64_s (f64.div (global.get $z) (global.get $z)))",
                bits(&format!("(call $through {SIGNALLING})"))
            ),
            0x7ff0_0000_0000_0789,
        ),
    ]);
}

#[test]
fn each_lane_is_canonical() {
    let lane = |lanes: &str, at: u32| format!("(i64x2.extract_lane {at} {lanes})");
    let pair = "(f64x2.replace_lane 1 (f64x2.splat (global.get $one)) (global.get $z))";
    let divided = format!("(f64x2.div (v128.const i64x2 0 0) {pair})");
    let single = "(f32x4.div (v128.const i32x4 0 0 0x3f800000 0)
        (f32x4.splat (f32.demote_f64 (global.get $z))))";
    let moved = "(v128.load (i32.const 0))";
    check(&[
        (lane(&divided, 0), 0),
        (lane(&divided, 1), NAN),
        (lane(single, 0), NAN_SINGLE << 32 | NAN_SINGLE),
        (lane(single, 1), NAN_SINGLE << 32 | 0x7f80_0000),
        (lane(&format!("(f64x2.sqrt (f64x2.neg {pair}))"), 0), NAN),
        (lane(&format!("(f64x2.min {divided} {pair})"), 1), NAN),
        (lane(moved, 0), NAN | 0x123),
        (lane(moved, 1), NAN | SIGN | 0x456),
    ]);
}

/// What the flag can't see: a NaN that comes in as data and meets arithmetic. Two engines may
/// differ in the fast build; in the canonical one they agree, on the canonical NaN.
#[test]
fn a_carried_nan_is_canonical_in_the_canonical_build_on_any_engine() {
    for operation in [
        format!("(f64.add {QUIET} {NEGATIVE})"),
        format!("(f64.mul {NEGATIVE} {QUIET})"),
        format!("(f64.sub {QUIET} (global.get $one))"),
        format!("(f64.min {QUIET} {NEGATIVE})"),
    ] {
        Engines::with(|engines| {
            let task = program(&bits(&operation));
            for stops in [&[][..], &[100_000, 400_000]] {
                for traced in engines.canonical(&task, stops) {
                    assert_eq!(last_global(&traced) as u64, NAN, "{operation}");
                }
            }
        });
    }
}

/// A checkpoint of either build goes on in the other: one frame layout, one fuel count.
#[test]
fn both_builds_have_one_chain_when_no_nan_was_born() {
    Engines::with(|engines| {
        let task = program("(i64.trunc_sat_f64_s (f64.div (global.get $one) (f64.const 4)))");
        let fast = engines.agree("fast", &task, super::UNLIMITED);
        let fuel = fast.trace.end.usage.fuel;
        for traced in engines.canonical(&task, &[fuel / 2]) {
            assert_eq!(traced.trace, fast.trace);
        }
        let beginning = canonical_beginning(&engines.optimised, &task);
        let mut execution = Execution::new(&task, &engines.optimised, Some(beginning), None)
            .expect("it is admitted");
        execution.slice(super::UNLIMITED, fuel / 2).expect("it runs");
        let mut manifest = execution.capture().check().expect("just captured");
        manifest.canonical = false;
        let leaves = execution.capture().leaves().clone();
        let back = crate::checkpoint::Checkpoint::new(&manifest, leaves);
        let rest = super::trace(&engines.optimised, &task, Some(back), super::UNLIMITED, &[])
            .expect("it runs");
        assert_eq!(rest.trace.end, fast.trace.end);
        assert_eq!(exited(&rest), 0);
    });
}
