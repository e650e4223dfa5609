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
    assert!(reason.contains("external references"), "{reason}");
    let reason = refusal(&format!("(module (table 9000000 funcref) {start})"));
    assert!(reason.contains("tables of 9000000 entries"), "{reason}");
    let loops = "(loop ".repeat(300) + &")".repeat(300);
    let reason = refusal(&format!(r#"(module (func (export "_start") {loops}))"#));
    assert!(reason.contains("loops within loops"), "{reason}");
    let locals = "i32 ".repeat(49_999);
    let reason = refusal(&format!(r#"(module (func (export "_start") (local {locals}) (loop)))"#));
    assert!(reason.contains("too large"), "{reason}");
}

/// A module with every section that a toolchain emits.
fn with_all_sections() -> Vec<u8> {
    wat::parse_str(
        r#"(module
          (type $t (func (param i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (table 2 funcref) (memory 1 2)
          (global $g (mut i64) (i64.const 7)) (global $c i32 (i32.const 3))
          (export "memory" (memory 0))
          (elem (i32.const 0) $f $f)
          (data (i32.const 8) "some data")
          (func $f (type $t) (local $i i32)
            (loop $l
              (local.set $i (i32.add (local.get $i) (local.get 0)))
              (br_if $l (i32.lt_u (local.get $i) (i32.const 40))))
            (block $b (block $a (br_table $a $b (local.get 0))))
            (local.get $i))
          (func (export "_start")
            (i64.store (i32.const 16) (global.get $g))
            (call $exit (call_indirect (type $t) (global.get $c) (i32.const 1))))
          (@custom "name" "\00\00"))"#,
    )
    .expect("the test's module parses")
}

/// It runs to some end, or is refused by name; anything else is a fault of ours.
fn assert_typed(what: &str, module: Vec<u8>) {
    let mut task = crate::task::Task::new(module);
    task.segment_fuel = 1 << 20;
    task.memory_max_pages = 16;
    match run(&task, 2_000_000) {
        Ok(_) | Err(RunError::Refused(_)) => {}
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn sections_malformed_at_every_byte() {
    let whole = with_all_sections();
    assert_eq!(
        run(&crate::task::Task::new(whole.clone()), UNLIMITED).unwrap().end.outcome,
        Outcome::Exited(42)
    );
    for at in 0..whole.len() {
        for change in [0x01, 0x41, 0x80, 0xff] {
            let mut altered = whole.clone();
            altered[at] ^= change;
            assert_typed(&format!("byte {at} ^ {change:#x}"), altered);
        }
        assert_typed(&format!("cut at {at}"), whole[..at].to_vec());
        let doubled = [&whole[..at], &whole[at.saturating_sub(8)..]].concat();
        assert_typed(&format!("repeated before {at}"), doubled);
    }
}

#[test]
fn checkpoints_altered_at_every_byte() {
    use super::{compiler, in_large_stack};
    use crate::checkpoint::Checkpoint;
    use crate::execution::Execution;
    use crate::save::CheckpointFile;

    let task = task_of(
        r#"(module (memory 1) (global $g (mut i64) (i64.const 5))
          (func $deep (param $n i32) (result i32)
            (if (local.get $n)
              (then (return (i32.add (i32.const 1)
                (call $deep (i32.sub (local.get $n) (i32.const 1)))))))
            (loop (i32.store (i32.const 64) (local.get $n)) (br 0))
            (i32.const 0))
          (func (export "_start") (drop (call $deep (i32.const 20)))))"#,
    );
    in_large_stack(|| {
        let modules = compiler();
        let mut execution = Execution::new(&task, &modules, None, None).unwrap();
        execution.slice(UNLIMITED, 100_000).unwrap();
        let checkpoint = execution.capture();
        let file = CheckpointFile { task: task.clone(), checkpoint: checkpoint.clone() };
        let bytes = file.to_bytes();
        // As a file: its digest tells.
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 0x10;
            assert!(CheckpointFile::from_bytes(&altered).is_err(), "byte {at}");
            assert!(CheckpointFile::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
        // As whoever sends one could have made it: refused, or run to some end or limit.
        let (manifest, leaves) = (checkpoint.manifest().to_vec(), checkpoint.leaves().clone());
        let go_on = |what: String, made: Checkpoint| {
            let limit = 300_000;
            let ran = Execution::new(&task, &modules, Some(made), None)
                .and_then(|mut execution| execution.slice(limit, u64::MAX));
            match ran {
                Ok(_) | Err(RunError::Refused(_)) => {}
                // Figures that contradict each other; nothing came of it.
                Err(RunError::Fault(reason)) if reason.contains("fuel ran backwards") => {}
                Err(error) => panic!("{what}: {error}"),
            }
        };
        for at in 0..manifest.len() {
            for change in [0x01, 0x80] {
                let mut altered = manifest.clone();
                altered[at] ^= change;
                let Ok(made) = Checkpoint::from_parts(altered, leaves.clone()) else { continue };
                go_on(format!("manifest byte {at} ^ {change:#x}"), made);
            }
        }
        // The saved frames with another digest: any position, any operand.
        let frames = checkpoint.check().unwrap().frames;
        let content = crate::checkpoint::bytes(&frames, &leaves).unwrap();
        for at in 0..content.len() {
            let mut altered = content.clone();
            altered[at] ^= 0x21;
            let mut made = checkpoint.check().unwrap();
            let mut leaves = leaves.clone();
            frames.leaves.iter().for_each(|leaf| drop(leaves.remove(leaf)));
            made.frames = crate::checkpoint::Part::digest_of(&altered);
            leaves.insert(made.frames.leaves[0], altered.into());
            go_on(format!("frame byte {at}"), Checkpoint::new(&made, leaves));
        }
    });
}
