//! Bytes that claim to be something: true ones, altered. A decoder refuses them with an error,
//! or reads something that is written and read again as the same; and what it read may be used.
//! Nothing panics, however the bytes are.

use std::collections::BTreeMap;

use super::Random;
use super::check::Failure;
use crate::chain_file;
use crate::checkpoint::{Checkpoint, Manifest};
use crate::engine::Compiler;
use crate::execution::{Execution, RunError};
use crate::instance::world_config;
use crate::pipe::{MESSAGE_BYTES_MAX, receive};
use crate::protocol::{Down, FromWorker, Job, Reached, Record, Start, ToWorker, Up};
use crate::save::CheckpointFile;
use crate::task::{ModuleId, Task};
use crate::tests::InProcess;
use crate::transform;
use crate::world::World;

/// Fuel that a forged state may run for.
const RUN_FUEL: u64 = 500_000;

/// What the bytes claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoder {
    /// A checkpoint, which is also resumed.
    Checkpoint,
    /// A checkpoint file.
    File,
    /// Messages from and to a worker, records of the chain among them.
    Message,
    /// A world's state.
    World,
    /// A chain, as text.
    Chain,
    /// A module, which is also transformed.
    Module,
}

impl Decoder {
    pub const ALL: [Decoder; 6] = [
        Decoder::Checkpoint,
        Decoder::File,
        Decoder::Message,
        Decoder::World,
        Decoder::Chain,
        Decoder::Module,
    ];

    /// As its directory in the corpus is called.
    pub fn name(self) -> &'static str {
        match self {
            Decoder::Checkpoint => "checkpoints",
            Decoder::File => "files",
            Decoder::Message => "messages",
            Decoder::World => "worlds",
            Decoder::Chain => "chains",
            Decoder::Module => "malformed",
        }
    }
}

pub struct Input {
    pub decoder: Decoder,
    pub bytes: Vec<u8>,
}

/// True bytes to alter, and what is needed to use what was read.
pub struct Bench {
    compiler: InProcess,
    _artefacts: tempfile::TempDir,
    tasks: Vec<Task>,
    checkpoints: Vec<Checkpoint>,
    messages: Vec<u8>,
    modules: Vec<Vec<u8>>,
}

/// Recursion over a loop with live values of every type, a descriptor and a file.
const PROGRAM: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory 2 8)
  (table 3 funcref) (elem (i32.const 0) $deep $deep)
  (type $recurse (func (param i32 f64) (result i64)))
  (global $count (mut i64) (i64.const 0))
  (global $lane (mut v128) (v128.const i64x2 1 2))
  (global $real (mut f32) (f32.const 1.5))
  (data (i32.const 0) "\40\00\00\00\05\00\00\00")
  (data (i32.const 64) "out/x")
  (func $deep (param $n i32) (param $x f64) (result i64) (local $i i32) (local $v v128)
    (loop $l (result i64)
      (global.set $count (i64.add (global.get $count) (i64.const 1)))
      (local.set $v (i64x2.add (local.get $v) (global.get $lane)))
      (i64.store (i32.add (i32.const 1024) (i32.mul (local.get $n) (i32.const 8))) (global.get $count))
      (drop (call $random (i32.const 128) (i32.const 16)))
      (if (local.get $n) (then (drop (i64.add (i64.extend_i32_u (local.get $i))
        (call_indirect (type $recurse) (i32.sub (local.get $n) (i32.const 1))
          (f64.mul (local.get $x) (f64.const 0.5)) (i32.and (local.get $n) (i32.const 1)))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 6)))
      (i64.add (i64x2.extract_lane 0 (local.get $v)) (i64.trunc_sat_f64_s (local.get $x)))))
  (func (export "_start")
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 9)
      (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 0) (i32.const 32)))
    (drop (call $write (i32.load (i32.const 32)) (i32.const 0) (i32.const 1) (i32.const 48)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 48)))
    (drop (memory.grow (i32.const 1)))
    (i64.store (i32.const 512) (call $deep (i32.const 7) (f64.const 8)))))"#;

impl Bench {
    pub fn new() -> Self {
        let artefacts = tempfile::tempdir().expect("a directory");
        let compiler =
            InProcess::new(Compiler::new().expect("an engine"), Some(artefacts.path().to_owned()));
        let mut tasks = Vec::new();
        for variant in 0..2 {
            let mut task = super::super::task_of(PROGRAM);
            task.memory_max_pages = 8;
            task.output_max_bytes = 1 << 16;
            task.args.push(format!("variant {variant}"));
            task.inputs.insert("a/b".to_owned(), b"an input".to_vec());
            tasks.push(task);
        }
        let mut checkpoints = Vec::new();
        for task in &tasks {
            let mut execution =
                Execution::new(task, &compiler, None, None).expect("it is admitted");
            checkpoints.push(execution.capture());
            for stop in [1, 300_000, 2_000_000] {
                let slice = execution.slice(base::TASK_FUEL_MAX, stop).expect("it runs");
                assert!(slice.end.is_none(), "the program is long enough");
                checkpoints.push(execution.capture());
            }
        }
        let messages = messages(&tasks[0], &checkpoints[2], &compiler);
        let texts = [PROGRAM, r#"(module (memory 1) (func (export "_start")))"#];
        let modules = texts.iter().map(|text| wat::parse_str(text).expect("it parses")).collect();
        Bench { compiler, _artefacts: artefacts, tasks, checkpoints, messages, modules }
    }

    /// The altered bytes of a seed.
    pub fn input(&self, seed: u64) -> Input {
        let mut random = Random::new(seed);
        let decoder = Decoder::ALL[random.below(Decoder::ALL.len() as u64) as usize];
        let at = random.below(self.checkpoints.len() as u64) as usize;
        let checkpoint = &self.checkpoints[at];
        let task = &self.tasks[at * self.tasks.len() / self.checkpoints.len()];
        let bytes = match decoder {
            Decoder::Checkpoint if random.one_in(4) => alter(encoded(checkpoint), &mut random),
            Decoder::Checkpoint => encoded(&forge(checkpoint, &mut random)),
            Decoder::File => {
                let checkpoint = forge(checkpoint, &mut random);
                let file = CheckpointFile { task: task.clone(), checkpoint };
                let mut bytes = file.to_bytes();
                if random.one_in(2) {
                    let body = bytes.len() - 32;
                    bytes.truncate(body);
                    bytes = alter(bytes, &mut random);
                    let digest = base::Digest::of(&bytes);
                    bytes.extend(digest.0);
                } else if random.one_in(2) {
                    bytes = alter(bytes, &mut random);
                }
                bytes
            }
            Decoder::Message => alter(self.messages.clone(), &mut random),
            Decoder::World => {
                let manifest = checkpoint.check().expect("it is whole");
                let contents: Vec<Vec<u8>> = manifest
                    .contents
                    .iter()
                    .map(|part| {
                        crate::checkpoint::bytes(part, checkpoint.leaves()).expect("it is whole")
                    })
                    .collect();
                let meta = alter(manifest.world_meta, &mut random);
                encoded(&(meta, contents))
            }
            Decoder::Chain => {
                let mut record = Record { k: 0, fuel: 0, digest: task.digest() };
                let mut text = String::new();
                for _ in 0..random.below(4) {
                    record.k += random.below(2);
                    record.fuel += random.below(1 << 40);
                    text.push_str(&chain_file::line(&record));
                }
                text.push('\n');
                alter(text.into_bytes(), &mut random)
            }
            Decoder::Module => {
                let which = random.below(self.modules.len() as u64) as usize;
                alter(self.modules[which].clone(), &mut random)
            }
        };
        Input { decoder, bytes }
    }

    /// Whether it was accepted.
    pub fn check(&self, input: &Input) -> Result<bool, Failure> {
        let checked = match input.decoder {
            Decoder::Checkpoint => self.check_checkpoint(&input.bytes),
            Decoder::File => check_file(&input.bytes),
            Decoder::Message => check_messages(&input.bytes),
            Decoder::World => self.check_world(&input.bytes),
            Decoder::Chain => check_chain(&input.bytes),
            Decoder::Module => check_module(&input.bytes),
        };
        checked.map_err(|what| Failure { what, stops: Vec::new() })
    }

    fn check_checkpoint(&self, bytes: &[u8]) -> Result<bool, String> {
        let Ok(checkpoint) = postcard::from_bytes::<Checkpoint>(bytes) else { return Ok(false) };
        let (manifest, leaves) = (checkpoint.manifest().to_vec(), checkpoint.leaves().clone());
        let Ok(checkpoint) = Checkpoint::from_parts(manifest.clone(), leaves) else {
            return Ok(false);
        };
        let needed =
            Checkpoint::leaves_of_manifest(&manifest).map_err(|error| error.to_string())?;
        if !needed.iter().eq(checkpoint.leaves().keys()) {
            return Err("it needs other leaves than it has".to_owned());
        }
        let parsed = checkpoint.check().map_err(|error| error.to_string())?;
        let again = Checkpoint::new(&parsed, checkpoint.leaves().clone());
        if again.check().as_ref() != Ok(&parsed) {
            return Err("it is not read as it is written".to_owned());
        }
        let own = self.tasks.iter().find(|task| task.digest() == parsed.task);
        let resumed =
            Execution::new(own.unwrap_or(&self.tasks[0]), &self.compiler, Some(again), None);
        let mut execution = match resumed {
            Ok(_) if own.is_none() => return Err("another task's was resumed".to_owned()),
            Ok(execution) => execution,
            Err(RunError::Refused(_)) => return Ok(true),
            Err(error @ RunError::Elsewhere(_)) => return Err(error.to_string()),
            Err(RunError::Fault(fault)) => return Err(format!("a fault on resuming: {fault}")),
        };
        let fuel_max = parsed.usage.fuel.saturating_add(RUN_FUEL);
        // Forged frames may send it anywhere within its own sandbox; it ends all the same.
        while let Ok(slice) = execution.slice(fuel_max, u64::MAX) {
            if slice.end.is_some() {
                return Ok(true);
            }
        }
        Ok(true)
    }

    fn check_world(&self, bytes: &[u8]) -> Result<bool, String> {
        let Ok((meta, contents)) = postcard::from_bytes::<(Vec<u8>, Vec<Vec<u8>>)>(bytes) else {
            return Ok(false);
        };
        let config = world_config(&self.tasks[0]);
        let Ok(world) = World::restore(config, &meta, contents.clone()) else { return Ok(false) };
        let state = world.state();
        let same = state.meta == meta && state.contents.iter().eq(contents.iter());
        if same { Ok(true) } else { Err("a world is not what it was restored from".to_owned()) }
    }
}

fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data can be encoded")
}

/// One of each message, as on the pipe.
fn messages(task: &Task, checkpoint: &Checkpoint, compiler: &InProcess) -> Vec<u8> {
    let mut execution = Execution::new(task, compiler, None, None).expect("it is admitted");
    let mut record = None;
    let end = loop {
        let slice = execution.slice(base::TASK_FUEL_MAX, u64::MAX).expect("it runs");
        record = record.or(slice.record);
        if let Some(end) = slice.end {
            break end;
        }
    };
    let mut bytes = Vec::new();
    let start = Start { fuel_max: 7, stop_at_fuel: Some(5), ..Start::new(task.clone()) };
    let module = ModuleId::of(&task.module);
    let job = Down::Run(Box::new(Job { start, module, redo: None }));
    for message in [job, Down::Order(ToWorker::Capture), Down::Order(ToWorker::Stop)] {
        bytes.extend(framed(&message));
    }
    let record = record.unwrap_or(end.record);
    for message in [
        FromWorker::Started,
        FromWorker::Progress { usage: execution.usage() },
        FromWorker::Record(record),
        FromWorker::Ended(end),
        FromWorker::Refused { reason: "for a reason".to_owned() },
        FromWorker::Captured(checkpoint.clone()),
        FromWorker::Reached(Box::new(Reached {
            record,
            needed: checkpoint.leaves().keys().copied().collect(),
            cpu_ns: 5,
        })),
    ] {
        bytes.extend(framed(&Up::Said(message)));
    }
    bytes
}

/// As [`crate::pipe`] sends it.
fn framed<T: serde::Serialize>(message: &T) -> Vec<u8> {
    let body = encoded(message);
    [&(body.len() as u64).to_le_bytes()[..], &body].concat()
}

fn check_messages(bytes: &[u8]) -> Result<bool, String> {
    let mut read = 0;
    let mut input = bytes;
    loop {
        let before = input;
        let again = match receive::<Down>(&mut input, MESSAGE_BYTES_MAX) {
            Ok(message) => Some(encoded(&message)),
            Err(_) => {
                input = before;
                receive::<Up>(&mut input, MESSAGE_BYTES_MAX).ok().map(|message| encoded(&message))
            }
        };
        let Some(again) = again else { return Ok(read > 0) };
        read += 1;
        let to = postcard::from_bytes::<Down>(&again).map(|message| encoded(&message));
        let from = postcard::from_bytes::<Up>(&again).map(|message| encoded(&message));
        if to.as_ref() != Ok(&again) && from.as_ref() != Ok(&again) {
            return Err("a message is not read as it is written".to_owned());
        }
    }
}

fn check_file(bytes: &[u8]) -> Result<bool, String> {
    let Ok(file) = CheckpointFile::from_bytes(bytes) else {
        return match CheckpointFile::span_from_bytes(bytes) {
            Ok(file) if CheckpointFile::span_from_bytes(&file.to_bytes()) != Ok(file.clone()) => {
                Err("a span's file is not read as it is written".to_owned())
            }
            other => Ok(other.is_ok()),
        };
    };
    match CheckpointFile::from_bytes(&file.to_bytes()) {
        Ok(again) if again == file => Ok(true),
        _ => Err("a file is not read as it is written".to_owned()),
    }
}

fn check_chain(bytes: &[u8]) -> Result<bool, String> {
    let Ok(records) = chain_file::read(bytes) else { return Ok(false) };
    let text: String = records.iter().map(chain_file::line).collect();
    match chain_file::read(text.as_bytes()) {
        Ok(again) if again == records => Ok(true),
        _ => Err("a chain is not read as it is written".to_owned()),
    }
}

fn check_module(bytes: &[u8]) -> Result<bool, String> {
    let Ok(admitted) = transform::admit(bytes) else { return Ok(false) };
    for exact in [false, true] {
        let Ok(transformed) = transform::transform(&admitted, exact) else { return Ok(false) };
        let features = wasmparser::WasmFeatures::all();
        wasmparser::Validator::new_with_features(features)
            .validate_all(&transformed)
            .map_err(|error| format!("a transformed module is not valid: {error}"))?;
    }
    Ok(true)
}

/// Alters bytes: a few bits, runs, lengths.
fn alter(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    const ODD: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];
    for _ in 0..1 + random.below(3) {
        let length = bytes.len() as u64;
        let at = random.below(length) as usize;
        // What comes first decides most.
        let at = if random.one_in(2) { at.min(random.below(256) as usize) } else { at };
        let run = (1 + random.below(16) as usize).min(bytes.len().saturating_sub(at));
        match random.below(7) {
            _ if bytes.is_empty() => return random.bytes(8),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = ODD[random.below(8) as usize],
            2 => bytes[at] = bytes[at].wrapping_add(random.below(3) as u8).wrapping_sub(1),
            3 => bytes.truncate(at),
            4 => {
                bytes.drain(at..at + run);
            }
            5 => {
                let copy = bytes[at..at + run].to_vec();
                let to = random.below(length) as usize;
                bytes.splice(to..to, copy);
            }
            _ => {
                let more = random.bytes(run);
                bytes.splice(at..at + run, more);
            }
        }
    }
    bytes
}

/// A checkpoint whose leaves fit their digests, with a state that nothing computed.
fn forge(checkpoint: &Checkpoint, random: &mut Random) -> Checkpoint {
    let mut manifest: Manifest = checkpoint.check().expect("it is whole");
    let mut leaves: BTreeMap<_, _> = checkpoint.leaves().clone();
    for _ in 0..1 + random.below(2) {
        match random.below(8) {
            0 => manifest.depth = random.next() as u32 >> random.below(32),
            1 => manifest.usage.fuel = random.next() << random.below(40),
            2 => manifest.usage.memory_page_fuel = random.next() << random.below(40),
            3 => manifest.world_meta = alter(manifest.world_meta, random),
            4 => {
                let at = random.below(manifest.globals.len() as u64) as usize;
                manifest.globals[at] = crate::checkpoint::GlobalValue::I64(random.next() as i64);
            }
            5 => manifest.canonical = !manifest.canonical,
            6 => {
                let bytes = alter(
                    crate::checkpoint::bytes(&manifest.frames, checkpoint.leaves())
                        .unwrap_or_default(),
                    random,
                );
                manifest.frames = crate::checkpoint::Part::cut(&bytes, &mut leaves);
            }
            _ => {
                let memory = manifest.memory.clone().unwrap_or_default();
                let mut bytes =
                    crate::checkpoint::bytes(&memory, checkpoint.leaves()).unwrap_or_default();
                match random.below(3) {
                    0 => bytes = alter(bytes, random),
                    1 => bytes.resize(bytes.len() + 65536 * random.below(12) as usize, 0),
                    _ => {
                        let at = random.below(2048) as usize;
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte ^= random.next() as u8;
                        }
                    }
                }
                manifest.memory = Some(crate::checkpoint::Part::cut(&bytes, &mut leaves));
            }
        }
    }
    let parts = manifest.parts();
    leaves.retain(|digest, _| parts.iter().any(|part| part.leaves.contains(digest)));
    Checkpoint::new(&manifest, leaves)
}
