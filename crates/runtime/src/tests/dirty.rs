//! A capture that reads only what was written says the same as one that reads everything
//! ([`crate::instance::Instance::state`] compares the two in every test), and the bytes of the
//! last capture stay until the next.

use proptest::prelude::*;

use super::{compiler, in_large_stack, task_of};
use crate::execution::Execution;
use crate::task::Task;

/// Reads commands of 16 bytes (kind, three numbers) from standard input and does them: every way
/// in which a memory can be written. What lies outside does nothing.
const WRITER: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory 3 40)
  (data (i32.const 0) "\10\00\00\00\10\00\00\00")
  (data (i32.const 70000) "not zero")
  (func $inside (param $at i32) (param $len i32) (result i32)
    (i64.le_u
      (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $len)))
      (i64.mul (i64.extend_i32_u (memory.size)) (i64.const 65536))))
  (func (export "_start") (local $a i32) (local $b i32) (local $c i32)
    (loop $next
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.ne (i32.load (i32.const 8)) (i32.const 16)) (then (return)))
      (local.set $a (i32.load (i32.const 20)))
      (local.set $b (i32.load (i32.const 24)))
      (local.set $c (i32.load (i32.const 28)))
      (block $done
        (block $grow (block $random (block $copy (block $fill (block $wide (block $store
          (br_table $store $wide $fill $copy $random $grow $done (i32.load (i32.const 16))))
          (br_if $done (i32.eqz (call $inside (local.get $a) (i32.const 8))))
          (i64.store (local.get $a) (i64.extend_i32_u (local.get $b)))
          (br $done))
          (br_if $done (i32.eqz (call $inside (local.get $a) (i32.const 16))))
          (v128.store (local.get $a) (i32x4.splat (local.get $b)))
          (br $done))
          (br_if $done (i32.eqz (call $inside (local.get $a) (local.get $c))))
          (memory.fill (local.get $a) (local.get $b) (local.get $c))
          (br $done))
          (br_if $done (i32.eqz (call $inside (local.get $a) (local.get $c))))
          (br_if $done (i32.eqz (call $inside (local.get $b) (local.get $c))))
          (memory.copy (local.get $a) (local.get $b) (local.get $c))
          (br $done))
          (br_if $done (i32.eqz (call $inside (local.get $a) (local.get $c))))
          (drop (call $random (local.get $a) (local.get $c)))
          (br $done))
        (drop (memory.grow (i32.and (local.get $a) (i32.const 3)))))
      (br $next))))"#;

fn command() -> impl Strategy<Value = [u32; 4]> {
    // Near the borders of leaves, where a write may touch two.
    let at = prop_oneof![
        0x100..40 * 65536u32,
        (1..40u32, 0..24u32).prop_map(|(leaf, off)| leaf * 65536 - 12 + off)
    ];
    let length = prop_oneof![0..300u32, 0..3 * 65536u32];
    (0..6u32, at.clone(), prop_oneof![at, Just(0)], length).prop_map(|(kind, a, b, c)| match kind {
        // Copies from near 0 would copy over the commands' own buffer; harmless, yet no use.
        3 => [kind, a, b.max(0x100), c],
        _ => [kind, a, b, c],
    })
}

fn task(commands: &[[u32; 4]]) -> Task {
    let mut task = task_of(WRITER);
    task.stdin = commands.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
    task
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("JUSHA_TEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_write_is_noticed_and_the_last_capture_stays(
        commands in prop::collection::vec(command(), 1..120),
        steps in prop::collection::vec(1u64..60_000, 1..40),
    ) {
        let task = task(&commands);
        in_large_stack(|| {
            let compiler = compiler();
            let mut execution = Execution::new(&task, &compiler, None, None).unwrap();
            for step in steps.iter().cycle() {
                let before = execution.capture();
                let until = execution.usage().fuel + step;
                let slice = execution.slice(base::TASK_FUEL_MAX, until).unwrap();
                if slice.record.is_none() {
                    assert_eq!(&execution.last_leaves(), before.leaves());
                }
                if slice.end.is_some() {
                    execution.state();
                    break;
                }
            }
        });
    }
}

#[test]
#[cfg(target_os = "linux")]
fn memories_are_watched_here_and_a_capture_holds_what_changed() {
    // Fills a megabyte, then writes one byte.
    let task = task(&[
        [5, 3, 0, 0],
        [5, 3, 0, 0],
        [5, 3, 0, 0],
        [5, 3, 0, 0],
        [5, 3, 0, 0],
        [4, 0x10000, 0, 1 << 20],
        [0, 0x20000, 1, 0],
    ]);
    in_large_stack(|| {
        let compiler = compiler();
        let mut execution = Execution::new(&task, &compiler, None, None).unwrap();
        assert!(execution.is_watched());
        let mut counts = Vec::new();
        let mut whole = execution.capture();
        loop {
            let until = execution.usage().fuel + 1;
            let end = execution.slice(base::TASK_FUEL_MAX, until).unwrap().end;
            let new = execution.capture_new();
            counts.push(new.leaves().len());
            whole = new.complete(whole.leaves()).unwrap();
            assert_eq!(&execution.last_leaves(), whole.leaves());
            if end.is_some() {
                break;
            }
        }
        assert!(execution.is_watched());
        // The leaf with the commands changes all the time; 17 at once when they are filled.
        assert!(counts.contains(&17) || counts.contains(&18), "{counts:?}");
        assert!(counts.iter().filter(|&&count| count > 3).count() <= 2, "{counts:?}");
    });
}
