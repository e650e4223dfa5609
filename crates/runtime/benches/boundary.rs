//! What a capture costs by how much was written since the last one.
//!
//! `cargo bench -p runtime --bench boundary [-- MIB]`
//!
//! A program fills its memory (1 GiB unless said otherwise), then writes to a part of it, again
//! and again. The cost of a capture is its own and what the program's first write to each leaf
//! cost more than the second. It is compared with hashing and copying the whole memory. CPU time
//! of one thread, medians of the rounds with the middle half's spread. It prints and never fails.

use std::process::ExitCode;
use std::time::Duration;

use runtime::measure::{Step, steps};
use runtime::task::Task;

/// Reads commands of three numbers and writes `count` words, `stride` bytes apart, from `start`.
const WRITER: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory 1 65536)
  (data (i32.const 0) "\10\00\00\00\0c\00\00\00\10\00\00\00\01\00\00\00")
  (func (export "_start") (local $at i32) (local $stride i32) (local $count i32) (local $x i64)
    (drop (memory.grow (i32.const PAGES)))
    (loop $next
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)))
      (if (i32.ne (i32.load (i32.const 32)) (i32.const 12)) (then (return)))
      (local.set $at (i32.load (i32.const 16)))
      (local.set $stride (i32.load (i32.const 20)))
      (local.set $count (i32.load (i32.const 24)))
      (loop $more
        (local.set $x (i64.mul (i64.add (local.get $x) (i64.const 0x9e3779b97f4a7c15))
          (i64.const 0xd1342543de82ef95)))
        (i64.store (local.get $at) (local.get $x))
        (local.set $at (i32.add (local.get $at) (local.get $stride)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br_if $more (local.get $count)))
      (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)))
      ;; Longer than a slice, so that no step begins in the slice of the one before.
      (local.set $count (i32.const 1000000))
      (loop $spin
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br_if $spin (local.get $count)))
      (br $next))))"#;

const ROUNDS: usize = 15;
const LEAF: u32 = 65536;
const PAGE: u32 = 4096;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let mib: u32 = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(1024).clamp(16, 4032);
    let leaves = mib * 16;
    let module = WRITER.replace("PAGES", &leaves.to_string());
    let mut task = Task::new(wat::parse_str(module).expect("the bench's module parses"));
    task.memory_max_pages = leaves + 1;
    task.segment_fuel = runtime::SEGMENT_FUEL_MAX;

    let bytes = u64::from(leaves) * u64::from(LEAF);
    // Names, distance of the writes, how many.
    let cases = [
        ("nothing", bytes, 1),
        ("1 % in leaves", u64::from(LEAF) * 100, leaves / 100),
        ("1 % in pages far apart", u64::from(PAGE) * 100, leaves * 16 / 100),
        ("10 % in leaves", u64::from(LEAF) * 10, leaves / 10),
        ("all", u64::from(LEAF), leaves),
    ];
    let fill = [LEAF, 8, leaves * (LEAF / 8)];
    let mut commands = vec![fill];
    let mut captures = vec![true];
    for (_, stride, count) in cases {
        for round in 0..ROUNDS as u32 {
            // Twice: with faults and without.
            let command = [LEAF + round * 8, stride.min(1 << 31) as u32, count];
            commands.extend([command, command]);
            captures.extend([false, true]);
        }
    }
    // One more, so that the program has not ended at the last capture.
    commands.push(fill);
    task.stdin = commands.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
    let steps = match steps(&task, &captures) {
        Ok(steps) => steps,
        Err(error) => {
            eprintln!("boundary: {error}");
            return ExitCode::FAILURE;
        }
    };
    let full = middle(steps.iter().filter(|step| !step.full.is_zero()).map(|step| step.full));
    println!("{mib} MiB; hashing and copying all of it: {}", text(full));
    println!("the first capture: {:.0} ms", steps[0].capture.as_secs_f64() * 1e3);
    println!("{:24} {:>22} {:>22} {:>9}", "written", "capture, ms", "first writes, ms", "of all");
    for ((name, _, _), pairs) in cases.iter().zip(steps[1..].chunks(2 * ROUNDS)) {
        let capture = middle(pairs.iter().skip(1).step_by(2).map(|step| step.capture));
        let faults =
            middle(pairs.chunks(2).map(|pair: &[Step]| pair[0].run.saturating_sub(pair[1].run)));
        let share = (capture[1] + faults[1]) / full[1] * 100.0;
        println!("{name:24} {:>22} {:>22} {share:>7.2} %", text(capture), text(faults));
    }
    ExitCode::SUCCESS
}

/// Quartiles in milliseconds.
fn middle(values: impl Iterator<Item = Duration>) -> [f64; 3] {
    let mut values: Vec<f64> = values.map(|value| value.as_secs_f64() * 1e3).collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values.get(values.len() * quarter / 4).copied().unwrap_or(0.0))
}

fn text([low, median, high]: [f64; 3]) -> String {
    format!("{median:.2} ({low:.2}–{high:.2})")
}
