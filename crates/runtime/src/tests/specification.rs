//! docs/runtime-spec.md, implemented a second time: from a real run's checkpoint files this
//! recomputes task digest, state roots, usage and the whole chain. It shares nothing with the
//! runtime but BLAKE3 and zstd, so that the page and the code can't drift apart together.

use std::collections::BTreeMap;

use super::{compiler, in_large_stack};
use crate::execution::Execution;
use crate::protocol::{Outcome, Record};
use crate::save::CheckpointFile;
use crate::task::Task;

type Hash = [u8; 32];

fn b(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

/// `H(domain; parts…)`.
fn h(domain: &str, parts: &[&[u8]]) -> Hash {
    let mut input = Vec::new();
    for part in parts {
        input.extend((part.len() as u64).to_le_bytes());
        input.extend_from_slice(part);
    }
    blake3::derive_key(domain, &input)
}

/// Postcard, as far as the page describes it.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn unsigned(&mut self) -> u128 {
        let mut value = 0;
        let mut shift = 0;
        loop {
            let byte = self.take(1)[0];
            value |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }

    fn number(&mut self) -> u64 {
        u64::try_from(self.unsigned()).expect("64 bits")
    }

    fn signed(&mut self) -> i64 {
        let value = self.number();
        (value >> 1) as i64 ^ -((value & 1) as i64)
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.number() as usize;
        self.take(length)
    }

    fn hash(&mut self) -> Hash {
        self.take(32).try_into().expect("32 bytes")
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.number();
        (0..count).map(|_| item(self)).collect()
    }

    fn option<T>(&mut self, item: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.take(1)[0] == 1).then(|| item(self))
    }
}

/// A run of bytes as its length and leaves.
#[derive(Clone, Debug)]
struct Part(u64, Vec<Hash>);

impl Part {
    fn read(reader: &mut Reader<'_>) -> Part {
        Part(reader.number(), reader.list(Reader::hash))
    }

    fn root(&self) -> Hash {
        h("jusha state part v1", &[&self.0.to_le_bytes(), &self.1.concat()])
    }
}

/// What a checkpoint file says, and what follows from it.
struct File {
    task_digest: Hash,
    segment: u64,
    inbound: u64,
    usage: [u64; 4],
    chain_head: Hash,
    state_root: Hash,
    parts: Vec<Part>,
    output_root: Hash,
}

fn lengthy(item: &[u8]) -> Vec<u8> {
    [&(item.len() as u64).to_le_bytes(), item].concat()
}

/// The task, read and digested.
fn read_task(reader: &mut Reader<'_>) -> (Hash, u64, u64) {
    let module = reader.bytes();
    let args: Vec<u8> = reader.list(|r| lengthy(r.bytes())).concat();
    let env: Vec<u8> = reader.list(|r| [lengthy(r.bytes()), lengthy(r.bytes())].concat()).concat();
    let stdin = reader.bytes();
    let mut inbound = (module.len() + stdin.len()) as u64;
    let inputs: Vec<u8> = reader
        .list(|r| {
            let path = r.bytes();
            let content = r.bytes();
            inbound += content.len() as u64;
            [lengthy(path), lengthy(&b(content))].concat()
        })
        .concat();
    let pages = reader.number() as u32;
    let output = reader.number();
    let segment = reader.number();
    let seed = reader.hash();
    let clock = reader.signed();
    let digest = h(
        "jusha task v1",
        &[
            &crate::TRANSFORM_VERSION.to_le_bytes(),
            &crate::COST_TABLE_VERSION.to_le_bytes(),
            &b(module),
            &args,
            &env,
            &b(stdin),
            &inputs,
            &pages.to_le_bytes(),
            &output.to_le_bytes(),
            &segment.to_le_bytes(),
            &seed,
            &clock.to_le_bytes(),
        ],
    );
    (digest, segment, inbound)
}

/// The files under `/out`, by path, out of the world's description: inode and order of contents.
fn outputs(meta: &[u8], contents: &[Vec<u8>]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut reader = Reader(meta);
    for _ in 0..5 {
        reader.number();
    }
    reader.list(|r| {
        r.number();
        if r.number() == 4 {
            r.number();
        }
        [r.number(), r.number(), r.number(), r.number()]
    });
    for _ in 0..4 {
        reader.number();
    }
    let nodes = reader.list(|r| {
        let (inode, parent) = (r.number(), r.number());
        let name = r.bytes().to_vec();
        let _times = (r.number(), r.number());
        (inode, parent, name, r.option(Reader::number))
    });
    assert!(reader.0.is_empty(), "the description ends here");
    let mut rest = contents[2..].iter();
    let mut found = BTreeMap::new();
    for (_, parent, name, size) in &nodes {
        let Some(size) = size else { continue };
        let content = rest.next().expect("a content per file");
        assert_eq!(content.len() as u64, *size);
        let (mut at, mut path) = (*parent, name.clone());
        while let Some((_, above, name, _)) = nodes.iter().find(|node| node.0 == at) {
            path = [name.as_slice(), b"/", &path].concat();
            at = *above;
        }
        // Inode 3 is /out.
        if at == 3 {
            found.insert(path, content.clone());
        }
    }
    found
}

fn output_root(stdout: &[u8], stderr: &[u8], files: &BTreeMap<Vec<u8>, Vec<u8>>) -> Hash {
    let files: Vec<u8> =
        files.iter().flat_map(|(path, content)| [b(path), b(content)].concat()).collect();
    h("jusha output v1", &[&b(stdout), &b(stderr), &files])
}

fn read_file(bytes: &[u8]) -> File {
    let (body, digest) = bytes.split_at(bytes.len() - 32);
    assert_eq!(b(body), digest);
    assert_eq!(body[..12], *b"JUSHACKP\x01\0\0\0");
    let plain = zstd::decode_all(&body[12..]).expect("a zstd frame");
    let mut reader = Reader(&plain);
    let (task_digest, segment, inbound) = read_task(&mut reader);
    let manifest = reader.bytes();
    let leaves: BTreeMap<Hash, Vec<u8>> =
        reader.list(|r| (r.hash(), r.bytes().to_vec())).into_iter().collect();
    assert!(reader.0.is_empty(), "the file ends here");
    for (digest, leaf) in &leaves {
        assert!(leaf.len() <= 65536 && b(leaf) == *digest);
    }

    let mut reader = Reader(manifest);
    assert_eq!(reader.number(), 2);
    assert_eq!(reader.hash(), task_digest);
    let usage = [reader.number(), reader.number(), reader.number(), reader.number()];
    let chain_head = reader.hash();
    reader.list(Part::read);
    assert!(reader.take(1)[0] <= 1);
    let before = reader.0;
    reader.list(|r| match r.number() {
        0 | 1 => r.signed() as u128,
        2..=4 => r.unsigned(),
        other => panic!("no such value: {other}"),
    });
    let globals = &before[..before.len() - reader.0.len()];
    let depth = reader.number() as u32;
    let memory = reader.option(Part::read);
    let frames = Part::read(&mut reader);
    let tables = reader.option(Part::read);
    let meta = reader.bytes();
    let contents = reader.list(Part::read);
    assert!(reader.0.is_empty(), "the manifest ends here");

    let memory_root = memory.as_ref().map(Part::root);
    let state_root = h(
        "jusha state root v2",
        &[
            globals,
            &depth.to_le_bytes(),
            memory_root.as_ref().map_or(&[], |root| root.as_slice()),
            &frames.root(),
            tables.as_ref().map(Part::root).as_ref().map_or(&[], |root| root.as_slice()),
            meta,
            &contents.iter().flat_map(Part::root).collect::<Vec<u8>>(),
        ],
    );
    let zeros = b(&[0; 65536]);
    let whole = |part: &Part| -> Vec<u8> {
        let pieces = part.1.iter().map(|leaf| match leaves.get(leaf) {
            Some(leaf) => leaf.clone(),
            None if *leaf == zeros => vec![0; 65536],
            None => panic!("a leaf is lacking"),
        });
        pieces.flatten().collect()
    };
    let texts: Vec<Vec<u8>> = contents.iter().map(&whole).collect();
    let output_root = output_root(&texts[0], &texts[1], &outputs(meta, &texts));
    let memory = memory.unwrap_or(Part(0, Vec::new()));
    assert_eq!(whole(&memory).len() as u64, memory.0);
    let tables = tables.unwrap_or(Part(0, Vec::new()));
    let parts = [memory, frames, tables].into_iter().chain(contents).collect();
    File { task_digest, segment, inbound, usage, chain_head, state_root, parts, output_root }
}

fn changed_bytes(before: &[Part], now: &[Part]) -> u64 {
    let mut changed = 0;
    for (at, part) in now.iter().enumerate() {
        for (index, leaf) in part.1.iter().enumerate() {
            let earlier = before.get(at).and_then(|part| part.1.get(index));
            if earlier != Some(leaf) {
                changed += (part.0 - index as u64 * 65536).min(65536);
            }
        }
    }
    changed
}

fn chain(head: &Hash, segment: u64, state: &Hash, usage: &[u64; 4], output: &Hash) -> Hash {
    let [fuel, memory, state_bytes, traffic] = usage.map(u64::to_le_bytes);
    let k = (usage[0] / segment).to_le_bytes();
    h("jusha chain v1", &[head, &k, &fuel, state, &memory, &state_bytes, &traffic, output])
}

/// A program with files, directories, a growing memory and calls.
fn task() -> Task {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/files.wasm");
    let mut task = Task::new(std::fs::read(path).expect("a committed guest"));
    task.args = vec!["files".to_owned()];
    task.env = vec![("A".to_owned(), "b".to_owned())];
    task.stdin = b"one two\nthree\n".to_vec();
    task.inputs.insert("a/b.txt".to_owned(), "sand\n".repeat(40_000).into_bytes());
    task.inputs.insert("a.txt".to_owned(), b"no newline at the end".to_vec());
    task.segment_fuel = crate::SEGMENT_FUEL_MIN;
    task
}

#[test]
fn a_reader_written_from_the_page_recomputes_the_chain() {
    let task = task();
    // A file at the beginning and one at each boundary.
    let (files, records, end) = in_large_stack(|| {
        let compiler = compiler();
        let mut execution = Execution::new(&task, &compiler, None, None).unwrap();
        let file = |execution: &mut Execution<'_>| {
            CheckpointFile { task: task.clone(), checkpoint: execution.capture() }.to_bytes()
        };
        let mut files = vec![file(&mut execution)];
        let mut records: Vec<Record> = Vec::new();
        loop {
            let slice = execution.slice(base::TASK_FUEL_MAX, u64::MAX).unwrap();
            if let Some(end) = slice.end {
                return (files, records, end);
            }
            if let Some(record) = slice.record {
                records.push(record);
                files.push(file(&mut execution));
            }
        }
    });
    assert!(records.len() > 3, "too short a chain to show anything: {}", records.len());
    let files: Vec<File> = files.iter().map(|bytes| read_file(bytes)).collect();
    let first = &files[0];
    assert_eq!(first.task_digest, task.digest().0);
    assert_eq!(first.usage, [0, 0, 0, first.inbound]);
    let mut head = h("jusha chain genesis v1", &[&first.task_digest, &first.state_root]);
    assert_eq!(first.chain_head, head);
    let mut state_bytes = 0;
    for ((before, file), record) in files.iter().zip(&files[1..]).zip(&records) {
        state_bytes += changed_bytes(&before.parts, &file.parts);
        assert_eq!(file.usage[2], state_bytes);
        assert_eq!(file.usage[0], record.fuel);
        head = chain(&head, file.segment, &file.state_root, &file.usage, &file.output_root);
        assert_eq!((head, head), (record.digest.0, file.chain_head), "record {}", record.k);
    }

    let Outcome::Exited(status) = end.outcome else { panic!("{:?}", end.outcome) };
    assert!(!end.outputs.is_empty(), "the program is to have written something");
    let state = h("jusha end v1", &[&[0], &(status as u32).to_le_bytes()]);
    let outputs: BTreeMap<Vec<u8>, Vec<u8>> = end
        .outputs
        .iter()
        .map(|(path, bytes)| (path.clone().into_bytes(), bytes.clone()))
        .collect();
    let results: usize = outputs.values().map(Vec::len).sum();
    let traffic = first.inbound + (results + end.stdout.len() + end.stderr.len()) as u64;
    let usage = [end.usage.fuel, end.usage.memory_page_fuel, state_bytes, traffic];
    let output = output_root(&end.stdout, &end.stderr, &outputs);
    assert_eq!(chain(&head, first.segment, &state, &usage, &output), end.record.digest.0);
}
