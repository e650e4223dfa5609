//! One span, run again from the leaves that it needs: the record is that of the whole run, and a
//! checkpoint without one of those leaves is refused, not taken for another state.

use std::collections::BTreeSet;

use base::Digest;

use super::{compiler, guests, in_large_stack, task_of, through_a_file};
use crate::checkpoint::Checkpoint;
use crate::execution::{Execution, RunError, Span};
use crate::protocol::{Goal, Record};
use crate::save::CheckpointFile;
use crate::task::Task;

const UNLIMITED: u64 = base::TASK_FUEL_MAX;

/// A checkpoint and the record that comes next.
struct Piece {
    from: Checkpoint,
    record: Record,
}

/// Checkpoints of a run, about `count`, at boundaries and between them.
fn pieces(task: &Task, fuel: u64, count: u64) -> Vec<Piece> {
    let compiler = compiler();
    let mut execution = Execution::new(task, &compiler, None, None).unwrap();
    let mut captured: Option<Checkpoint> = None;
    let mut pieces = Vec::new();
    let mut stop_at = fuel / count;
    loop {
        let slice = execution.slice(UNLIMITED, stop_at).unwrap();
        let end = slice.end.map(|end| end.record);
        if let (Some(record), Some(from)) = (slice.record.or(end), captured.take()) {
            pieces.push(Piece { from, record });
        }
        if end.is_some() {
            return pieces;
        }
        if execution.usage().fuel >= stop_at {
            captured = Some(execution.capture());
            stop_at += fuel / count;
        }
    }
}

fn span(task: &Task, from: Checkpoint) -> Result<Span, RunError> {
    let compiler = compiler();
    Execution::begin(task, &compiler, None, Goal::Record, Some(from), None)?.span(UNLIMITED, None)
}

/// The leaves that a checkpoint has of its memory only.
fn of_memory(checkpoint: &Checkpoint) -> BTreeSet<Digest> {
    let manifest = checkpoint.check_span().unwrap();
    let others: BTreeSet<Digest> = manifest.all_but_memory().collect();
    checkpoint.leaves().keys().filter(|digest| !others.contains(digest)).copied().collect()
}

/// All pieces of a run: how many there are, and how many leaves of their memories were needed, and
/// not.
fn check(task: &Task, count: u64) -> [usize; 3] {
    in_large_stack(|| {
        let fuel = super::run(task, UNLIMITED).unwrap().end.usage.fuel;
        let pieces = pieces(task, fuel, count);
        let (found, mut needed, mut spared) = (pieces.len(), 0, 0);
        for Piece { from, record } in pieces {
            let whole = span(task, from.clone()).unwrap();
            assert_eq!(whole.record, record, "{:?}", task.args);
            let slim = from.clone().only(&whole.needed);
            let again = span(task, slim.clone()).unwrap();
            assert_eq!(again.record, record, "{:?}: from what it needs", task.args);
            assert_eq!(again.needed, whole.needed, "{:?}", task.args);
            let leaves = of_memory(&slim);
            for lost in leaves.iter().take(3) {
                let rest: BTreeSet<Digest> =
                    whole.needed.iter().filter(|digest| *digest != lost).copied().collect();
                let refused = span(task, from.clone().only(&rest)).unwrap_err().to_string();
                assert!(refused.contains(&lost.to_string()), "{:?}: {refused}", task.args);
            }
            needed += leaves.len();
            spared += of_memory(&from).len() - leaves.len();
        }
        [found, needed, spared]
    })
}

#[test]
fn spans_of_programs_need_what_they_touch() {
    let mut all = [0; 3];
    for task in guests::subjects() {
        let one = check(&task, 4);
        all = std::array::from_fn(|index| all[index] + one[index]);
    }
    let [pieces, needed, spared] = all;
    assert!(pieces > 10 && needed > 20 && spared > 20, "{all:?}");
}

/// Fills sixteen leaves, then for a long time works on the one of which `AT` is the address.
fn on_one_leaf(at: u32, work: &str) -> Task {
    let text = r#"(module
      (import "wasi_snapshot_preview1" "random_get"
        (func $random (param i32 i32) (result i32)))
      (memory 17)
      (func (export "_start") (local $at i32) (local $times i32) (local $f f64)
        (loop $fill
          (i32.store (local.get $at) (i32.add (local.get $at) (i32.const 7)))
          (local.set $at (i32.add (local.get $at) (i32.const 64)))
          (br_if $fill (i32.lt_u (local.get $at) (i32.const 1048576))))
        (loop $more
          WORK
          (local.set $times (i32.add (local.get $times) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $times) (i32.const 500000))))
        (i32.store (i32.const 1048576) (local.get $times))))"#;
    task_of(&text.replace("WORK", work).replace("AT", &format!("(i32.const {at})")))
}

/// What the last span of a run needs of the memory of its checkpoint, by place.
fn places(task: &Task) -> Vec<usize> {
    in_large_stack(|| {
        let fuel = super::run(task, UNLIMITED).unwrap().end.usage.fuel;
        let Piece { from, record } = pieces(task, fuel, 16).pop().unwrap();
        let span = span(task, from.clone()).unwrap();
        assert_eq!(span.record, record);
        let memory = from.check_span().unwrap().memory.unwrap();
        let leaves = memory.leaves.iter().enumerate();
        leaves.filter(|(_, digest)| span.needed.contains(digest)).map(|(place, _)| place).collect()
    })
}

#[test]
fn a_read_a_write_and_a_call_of_the_host_need_their_leaf() {
    for work in [
        "(drop (i32.load AT))",
        "(i32.store AT (local.get $times))",
        "(drop (call $random AT (i32.const 4)))",
        "(memory.copy AT (i32.add AT (i32.const 64)) (i32.const 8))",
    ] {
        assert_eq!(places(&on_one_leaf(5 << 16, work)), [5], "{work}");
    }
    // Over a border.
    assert_eq!(places(&on_one_leaf((5 << 16) - 2, "(drop (i32.load AT))")), [4, 5]);
}

#[test]
fn a_span_that_goes_on_in_another_build_needs_no_more() {
    // A NaN is born after the checkpoint: the span goes back and on in the canonical build.
    let nan = "(f64.store AT (f64.sqrt (f64.sub (f64.const 480000)
      (f64.convert_i32_s (local.get $times)))))";
    assert_eq!(places(&on_one_leaf(5 << 16, nan)), [5]);
    // A trap: the end's record, for which the exact build runs.
    let trap = "(i32.store AT (i32.div_u (i32.const 1) (i32.sub (i32.const 480000)
      (local.get $times))))";
    assert_eq!(places(&on_one_leaf(5 << 16, trap)), [5]);
}

#[test]
fn a_run_needs_the_whole_checkpoint_and_a_span_a_checkpoint() {
    let task = on_one_leaf(5 << 16, "(drop (i32.load AT))");
    in_large_stack(|| {
        let fuel = super::run(&task, UNLIMITED).unwrap().end.usage.fuel;
        let from = pieces(&task, fuel, 2).swap_remove(0).from;
        let slim = from.clone().only(&span(&task, from.clone()).unwrap().needed);
        assert!(slim.leaves().len() < from.leaves().len());
        let compiler = compiler();
        let refused = Execution::new(&task, &compiler, Some(slim.clone()), None).err().unwrap();
        assert!(refused.to_string().contains("is lacking"), "{refused}");
        let none = Execution::begin(&task, &compiler, None, Goal::Record, None, None);
        assert!(none.err().unwrap().to_string().contains("a span begins in a checkpoint"));

        let bytes = CheckpointFile { task: task.clone(), checkpoint: slim.clone() }.to_bytes();
        assert!(CheckpointFile::from_bytes(&bytes).is_err());
        assert_eq!(CheckpointFile::span_from_bytes(&bytes).unwrap().checkpoint, slim);
        // What isn't the memory's is always needed: the frames of `_start`.
        let bare = from.clone().only(&BTreeSet::new());
        assert!(span(&task, bare).unwrap_err().to_string().contains("is lacking"));
        assert_eq!(through_a_file(&task, from.clone()), from);
    });
}
