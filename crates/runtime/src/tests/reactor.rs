//! A reactor that was made a command: what it reads through its door is its image, wherever it is
//! interrupted, and what isn't there is refused.

use super::{run, run_with_stops};
use crate::protocol::Outcome;
use crate::reactor::{Reactor, ReactorError, to_command};
use crate::task::Task;

/// Asks for the image in pieces of PIECE bytes and writes them to standard output; ends with the
/// door's answer to the first request that is refused, and 10 if `_initialize` was called.
const REACTOR: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "host" "call" (func $door (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (table 1 funcref)
  (elem (i32.const 0) $door)
  (type $door_type (func (param i32 i32 i32 i32) (result i32)))
  (global $free (mut i32) (i32.const 1024))
  (global $status (mut i32) (i32.const 0))
  (data (i32.const 0) "its own data")
  (func (export "_initialize") (global.set $status (i32.const 10)))
  (func $allocate (export "host_alloc") (param $bytes i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.add (local.get $at) (local.get $bytes)))
    (select (i32.const 0) (local.get $at) (i32.gt_u (global.get $free) (i32.const 131072))))
  (func (export "run") (result i32)
    (local $answer i32)
    (i32.store (i32.const 100) (i32.const FIRST))
    (i32.store (i32.const 104) (i32.const PIECE))
    (loop $more
      (local.set $answer
        (call_indirect (type $door_type)
          (i32.const 100) (i32.const LENGTH) (i32.const 112) (i32.const 116) (i32.const 0)))
      (if (i32.eqz (local.get $answer))
        (then
          (drop (call $write (i32.const 1) (i32.const 112) (i32.const 1) (i32.const 120)))
          (i32.store (i32.const 100)
            (i32.add (i32.load (i32.const 100)) (i32.load (i32.const 104))))
          (br $more))))
    (drop (call $door (i32.const 100) (i32.const LENGTH) (i32.const 112) (i32.const 116)))
    (i32.add (global.get $status) (local.get $answer))))"#;

fn reactor(first: &str, piece: &str, length: &str) -> Vec<u8> {
    let text = REACTOR.replace("FIRST", first).replace("PIECE", piece).replace("LENGTH", length);
    wat::parse_str(text).unwrap()
}

fn command(module: &[u8], image: &[u8]) -> Result<Vec<u8>, ReactorError> {
    let described = Reactor { run: "run", door: ("host", "call"), allocate: "host_alloc", image };
    to_command(module, described)
}

fn outcome(module: &[u8], image: &[u8]) -> (i32, Vec<u8>) {
    let end = run(&Task::new(command(module, image).unwrap()), 1 << 30).unwrap().end;
    let Outcome::Exited(status) = end.outcome else { panic!("{:?}", end.outcome) };
    (status, end.stdout)
}

#[test]
fn what_is_behind_the_door_is_read_wherever_the_run_is_interrupted() {
    let image: Vec<u8> = (0..40_000_u32).map(|at| ((at * at) >> 3) as u8).collect();
    let module = command(&reactor("0", "8", "8"), &image).unwrap();
    let mut task = Task::new(module);
    task.segment_fuel = 1 << 20;
    let straight = run(&task, 1 << 30).unwrap();
    assert_eq!(straight.end.stdout, image);
    let fuel = straight.end.record.fuel;
    let stops: Vec<u64> = (1..9).map(|part| fuel * part / 9).collect();
    assert_eq!(run_with_stops(&task, 1 << 30, &stops).unwrap(), straight);
}

#[test]
fn what_is_not_there_is_refused() {
    let image = [7; 100];
    // Past the end, beginning past it, so long that the sum wraps, no request, more than there
    // is memory for; 10 because it was initialised.
    for (first, piece, length, status, bytes) in [
        ("0", "30", "8", 9, 90),
        ("0", "50", "8", 9, 100),
        ("101", "0", "8", 9, 0),
        ("50", "0xffffffce", "8", 9, 0),
        ("0", "30", "7", 9, 0),
    ] {
        let got = outcome(&reactor(first, piece, length), &image);
        assert_eq!((got.0, got.1.len()), (status, bytes), "{first} {piece} {length}");
    }
    let large = vec![1; 200_000];
    assert_eq!(outcome(&reactor("0", "140000", "8"), &large), (8, Vec::new()));
}

#[test]
fn the_same_reactor_gives_the_same_command_and_another_none() {
    let module = reactor("0", "8", "8");
    assert_eq!(command(&module, b"image").unwrap(), command(&module, b"image").unwrap());
    assert_ne!(command(&module, b"image").unwrap(), command(&module, b"other").unwrap());
    let lacks = |text: &str| match command(&wat::parse_str(text).unwrap(), b"") {
        Err(ReactorError::Lacking(what)) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(lacks("(module)"), "import `host.call`");
    let with_door = r#"(module (import "host" "call"
        (func (param i32 i32 i32 i32) (result i32))))"#;
    assert_eq!(lacks(with_door), "function `run`");
    assert!(matches!(command(&module[..module.len() - 1], b""), Err(ReactorError::Damaged(_))));
}
