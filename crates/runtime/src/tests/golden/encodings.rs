//! The encodings: task digest, genesis, state root, chain, manifest and checkpoint file.

use std::collections::BTreeMap;

use base::{Digest, Usage};

use super::super::{in_large_stack, task_of};
use crate::checkpoint::{Checkpoint, GlobalValue, Manifest, Part};
use crate::protocol::{Outcome, TrapCode};
use crate::save::CheckpointFile;
use crate::task::{Task, task_seed};
use crate::{chain, checkpoint};

/// Every field is set, and none like another.
fn task() -> Task {
    let mut task = Task::new(b"\0asm\x01\0\0\0".to_vec());
    task.args = vec!["program".to_owned(), "an argument".to_owned()];
    task.env = vec![("KEY".to_owned(), "value".to_owned())];
    task.stdin = b"input".to_vec();
    task.inputs = BTreeMap::from([("a/b".to_owned(), b"file".to_vec())]);
    task.memory_max_pages = 17;
    task.output_max_bytes = 1 << 20;
    task.segment_fuel = 1 << 22;
    task.seed = task_seed(&Digest::of(b"job"), 3);
    task.clock_start_ms = 1_767_225_600_001;
    task
}

fn manifest() -> (Manifest, BTreeMap<Digest, crate::leaf::Leaf>) {
    let mut leaves = BTreeMap::new();
    // A leaf of zeros, a whole one and a short one.
    let mut memory = vec![0; 2 * checkpoint::LEAF_BYTES + 100];
    for (at, byte) in memory.iter_mut().enumerate().skip(checkpoint::LEAF_BYTES) {
        *byte = (at % 251) as u8;
    }
    let memory = Part::cut(&memory, &mut leaves);
    let tables = Part::cut(&[2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0], &mut leaves);
    let frames = Part::cut(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0], &mut leaves);
    let stdout = Part::cut(b"printed", &mut leaves);
    let manifest = Manifest {
        version: checkpoint::VERSION,
        task: task().digest(),
        usage: Usage {
            fuel: 5_000_000_000,
            memory_page_fuel: 300,
            state_bytes: 65_536,
            traffic_bytes: 17,
        },
        chain_head: Digest::of(b"head"),
        boundary: vec![Part::default(), frames.clone()],
        canonical: true,
        globals: vec![
            GlobalValue::I32(-1),
            GlobalValue::I64(1 << 40),
            GlobalValue::F32(1.5f32.to_bits()),
            GlobalValue::F64((-0f64).to_bits()),
            GlobalValue::V128(7 << 100),
        ],
        depth: 9,
        memory: Some(memory),
        frames,
        tables: Some(tables),
        world_meta: b"a description".to_vec(),
        contents: vec![stdout, Part::default()],
    };
    (manifest, leaves)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn encodings_are_as_they_were() {
    let task = task();
    let (manifest, leaves) = manifest();
    let checkpoint = Checkpoint::new(&manifest, leaves);
    let file = CheckpointFile { task: task.clone(), checkpoint: checkpoint.clone() };
    // What compression makes of it is the compressor's version's business.
    let plain = postcard::to_stdvec(&file).unwrap();
    let bytes = file.to_bytes();
    let genesis = chain::genesis(&task.digest(), &manifest.state_root());
    let output = Digest::of(b"output");
    let record = chain::next(&genesis, 1 << 22, &manifest.state_root(), &manifest.usage, &output);
    let ends = [
        Outcome::Exited(3),
        Outcome::Exited(-1),
        Outcome::Trapped(TrapCode::BadHostCall),
        Outcome::FuelLimit,
    ];
    let mut body = String::new();
    let mut line = |name: &str, value: String| body += &format!("{name}: {value}\n");
    line("task digest", task.digest().to_hex());
    line("task seed", task.seed.to_hex());
    line("memory root", manifest.memory.as_ref().unwrap().root().to_hex());
    line("state root", manifest.state_root().to_hex());
    let without = Manifest { memory: None, ..manifest.clone() };
    line("state root without memory", without.state_root().to_hex());
    line("genesis", genesis.to_hex());
    line("record", format!("{} {} {}", record.k, record.fuel, record.digest));
    for end in ends {
        line(&format!("end {end:?}"), chain::end_state(&end).to_hex());
    }
    line("manifest", hex(checkpoint.manifest()));
    line(
        "leaves",
        checkpoint.leaves().keys().map(|leaf| leaf.to_hex()).collect::<Vec<_>>().join(" "),
    );
    line("file begins", hex(&bytes[..16]));
    line("file, decompressed", Digest::of(&plain).to_hex());
    super::check("encodings.txt", &body);
}

/// A program's own state: where it stands, what it saved there, its world.
#[test]
fn a_programs_state_is_as_it_was() {
    let task = task_of(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory 1 3)
          (global $turns (mut i32) (i32.const 0))
          (data (i32.const 0) "\10\00\00\00\05\00\00\00") (data (i32.const 16) "turn\n")
          (func $inner (param $n i32) (param $x f64) (result f64)
            (loop $l
              (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
              (local.set $x (f64.mul (local.get $x) (f64.const 0.5)))
              (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $x))
          (func (export "_start") (local $i i32) (local $sum f64)
            (loop $l
              (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
              (local.set $sum (f64.add (local.get $sum)
                (call $inner (i32.const 20000) (f64.convert_i32_u (local.get $i)))))
              (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 40))))))"#,
    );
    let mut body = String::new();
    in_large_stack(|| {
        let compiler = super::super::compiler();
        let mut execution = crate::execution::Execution::new(&task, &compiler, None, None).unwrap();
        let mut fuel = 0;
        for stop in [0, 500_000, 1_500_000, 3_000_000] {
            while fuel < stop {
                execution.slice(base::TASK_FUEL_MAX, stop).unwrap();
                fuel = execution.usage().fuel;
            }
            let manifest = execution.capture().check().unwrap();
            body += &format!(
                "fuel {fuel}: state root {}, chain {}, world {}\n",
                manifest.state_root(),
                manifest.chain_head,
                hex(&manifest.world_meta)
            );
        }
    });
    super::check("program.txt", &body);
}
