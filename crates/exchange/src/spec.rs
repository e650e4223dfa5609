//! Task specs at submission: what can be seen to be wrong is refused before money is set aside
//! and a machine is bothered.

use std::collections::{BTreeMap, BTreeSet};

use base::{Digest, TASK_FUEL_MAX};
use clearing::{NewTask, TaskFigures};
use market::Instrument;
use wire::TaskSpec;

use crate::blobs::BlobStore;
use crate::config::limits;
use crate::error::ApiError;

/// `\0asm`, version 1.
pub(crate) const MODULE_HEADER: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

/// Checks every task of a job, and reads out of each what it can use at most. An unknown
/// instrument is clearing's to refuse.
pub(crate) fn check(
    blobs: &dyn BlobStore,
    tasks: &[Digest],
    instrument: Option<&Instrument>,
    blob_max_bytes: u64,
) -> Result<Vec<NewTask>, ApiError> {
    // Tasks of one job share their module and most inputs.
    let mut lengths = BTreeMap::new();
    let mut modules = BTreeSet::new();
    let mut specs = BTreeMap::new();
    for (index, digest) in tasks.iter().enumerate() {
        if specs.contains_key(digest) {
            continue;
        }
        let spec = read(blobs, index, digest)?;
        check_numbers(&spec, instrument, blob_max_bytes)
            .and_then(|()| check_texts(&spec))
            .map_err(|message| ApiError::InvalidTask { index, message })?;
        let stdin = spec.stdin.iter().map(|digest| ("standard input".to_owned(), digest));
        let inputs =
            spec.inputs.iter().map(|file| (format!("input `{}`", file.name), &file.content));
        let mut inbound_bytes = 0_u64;
        let program = [
            ("the module".to_owned(), Some(&spec.module)),
            ("the base".to_owned(), spec.base.as_ref()),
        ];
        let program = program
            .into_iter()
            .filter_map(|(what, digest)| Some((what, digest?, spec.base.is_none())));
        let own = stdin.chain(inputs).map(|(what, digest)| (what, digest, true));
        for (what, digest, is_traffic) in program.chain(own) {
            let length = match lengths.get(digest) {
                Some(length) => *length,
                None => {
                    let Some(length) = blobs.length(digest)? else {
                        let what = format!("task {index}: {what}, blob");
                        return Err(ApiError::MissingBlob { what, digest: *digest });
                    };
                    lengths.insert(*digest, length);
                    length
                }
            };
            // As often as the spec names it: that is how the runtime counts it.
            if is_traffic {
                inbound_bytes = inbound_bytes.saturating_add(length);
            }
        }
        if modules.insert(spec.module) {
            check_module(blobs, index, &spec.module)?;
        }
        let figures = TaskFigures {
            inbound_bytes,
            output_max_bytes: spec.output_max_bytes,
            memory_max_pages: spec.memory_max_pages,
            segment_fuel: spec.segment_fuel,
            fuel_max: spec.fuel_max,
        };
        specs.insert(*digest, figures);
    }
    let new_task = |spec: &Digest| NewTask { spec: *spec, figures: specs[spec] };
    Ok(tasks.iter().map(new_task).collect())
}

fn read(blobs: &dyn BlobStore, index: usize, digest: &Digest) -> Result<TaskSpec, ApiError> {
    let missing =
        || ApiError::MissingBlob { what: format!("task {index}: the spec, blob"), digest: *digest };
    let length = blobs.length(digest)?.ok_or_else(missing)?;
    if length > limits::SPEC_BYTES {
        let message = format!(
            "the spec {digest} has {length} bytes; at most {} are read: pass data as inputs",
            limits::SPEC_BYTES
        );
        return Err(ApiError::InvalidTask { index, message });
    }
    let bytes = blobs.get(digest)?.ok_or_else(missing)?;
    axum::Json::from_bytes(&bytes).map(|axum::Json(spec)| spec).map_err(|error| {
        let message = format!("{digest} is not a task spec: {}", error.body_text());
        ApiError::InvalidTask { index, message }
    })
}

fn check_numbers(
    spec: &TaskSpec,
    instrument: Option<&Instrument>,
    blob_max_bytes: u64,
) -> Result<(), String> {
    let due = spec.version_due();
    if spec.version != due {
        let why = if due == 1 { "a spec without `base` has 1" } else { "a spec with `base` has 2" };
        return Err(format!("version is {}; {why}", spec.version));
    }
    if spec.fuel_max == 0 || spec.fuel_max > TASK_FUEL_MAX {
        return Err(format!("fuel_max is {}; give 1 to {TASK_FUEL_MAX}", spec.fuel_max));
    }
    let least = limits::SEGMENT_FUEL_MIN;
    if !(least..=TASK_FUEL_MAX).contains(&spec.segment_fuel) {
        return Err(format!(
            "segment_fuel is {}; give {least} to {TASK_FUEL_MAX}",
            spec.segment_fuel
        ));
    }
    let most = limits::MEMORY_PAGES;
    if spec.memory_max_pages == 0 || spec.memory_max_pages > most {
        return Err(format!("memory_max_pages is {}; give 1 to {most}", spec.memory_max_pages));
    }
    if let Some(instrument) = instrument {
        // 16 pages of 64 KiB to the MiB.
        let mib = spec.memory_max_pages.div_ceil(16);
        if mib > instrument.memory_mib {
            return Err(format!(
                "memory_max_pages is {} ({mib} MiB), but a slot of {} has {} MiB: lower the \
                 limit or take a larger instrument",
                spec.memory_max_pages, instrument.name, instrument.memory_mib
            ));
        }
    }
    // One file may be all of the output, and must be a blob: else a program that keeps to its
    // limit could leave a result that no machine can deliver.
    let most = limits::OUTPUT_BYTES.min(blob_max_bytes);
    if spec.output_max_bytes > most {
        return Err(format!("output_max_bytes is {}; give at most {most}", spec.output_max_bytes));
    }
    if spec.clock_start_ms < 0 {
        return Err(format!("clock_start_ms is {}; give 0 or more", spec.clock_start_ms));
    }
    Ok(())
}

fn check_texts(spec: &TaskSpec) -> Result<(), String> {
    if spec.args.is_empty() {
        return Err("args is empty; the first is the program's name".to_owned());
    }
    let texts = spec.args.iter().chain(spec.env.iter().flat_map(|(key, value)| [key, value]));
    // WASI hands them over terminated by a zero byte.
    if let Some(text) = texts.into_iter().find(|text| text.contains('\0')) {
        return Err(format!("{text:?} contains a zero byte"));
    }
    for (key, _) in &spec.env {
        if key.is_empty() || key.contains('=') {
            return Err(format!("{key:?} is not a name for an environment variable"));
        }
    }
    for pair in spec.inputs.windows(2) {
        let (one, next) = (&pair[0].name, &pair[1].name);
        if one >= next {
            return Err(format!("inputs `{one}` and `{next}`: names must be sorted, each once"));
        }
    }
    let names: BTreeSet<&str> = spec.inputs.iter().map(|file| file.name.as_str()).collect();
    for file in &spec.inputs {
        // What is a file can't be a directory as well.
        let mut above = file.name.match_indices('/').map(|(end, _)| &file.name[..end]);
        if let Some(parent) = above.find(|parent| names.contains(parent)) {
            return Err(format!("input `{parent}` is a file, but `{}` lies below it", file.name));
        }
        let part_is_bad = |part: &str| part.is_empty() || part == "." || part == "..";
        if file.name.split('/').any(part_is_bad) || file.name.contains(['\0', '\\']) {
            return Err(format!(
                "input name {:?}: give a relative path without empty parts, `.`, `..` and `\\`",
                file.name
            ));
        }
    }
    Ok(())
}

fn check_module(blobs: &dyn BlobStore, index: usize, digest: &Digest) -> Result<(), ApiError> {
    let Some(mut module) = blobs.open(digest)? else {
        let what = format!("task {index}: the module, blob");
        return Err(ApiError::MissingBlob { what, digest: *digest });
    };
    let message = match module.read(MODULE_HEADER.len())?.first_chunk::<8>() {
        Some(header) if *header == MODULE_HEADER => return Ok(()),
        // The second half of a component's version word is its layer.
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => {
            "components are not supported: build a wasm32-wasip1 command".to_owned()
        }
        Some([0, b'a', b's', b'm', version @ ..]) => format!(
            "the module has WebAssembly version {}; 1 is supported: build a wasm32-wasip1 command",
            u32::from_le_bytes(*version)
        ),
        _ => format!("the module {digest} is not WebAssembly: build a wasm32-wasip1 command"),
    };
    Err(ApiError::InvalidTask { index, message })
}

#[cfg(test)]
mod tests {
    use wire::InputFile;

    use super::*;
    use crate::blobs::DiskBlobs;

    fn verdict(change: impl FnOnce(&mut TaskSpec, &DiskBlobs)) -> String {
        let directory = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(directory.path()).unwrap();
        let content = blobs.put(b"data").unwrap();
        let mut spec = TaskSpec {
            version: 1,
            module: blobs.put(&MODULE_HEADER).unwrap(),
            base: None,
            args: vec!["program".to_owned()],
            env: vec![],
            stdin: Some(content),
            inputs: vec![
                InputFile { name: "a".to_owned(), content },
                InputFile { name: "b/c".to_owned(), content },
            ],
            memory_max_pages: 8192,
            output_max_bytes: 1 << 20,
            fuel_max: 1 << 40,
            segment_fuel: 1 << 30,
            seed: Digest::default(),
            clock_start_ms: 0,
        };
        change(&mut spec, &blobs);
        let digest = blobs.put(&serde_json::to_vec(&spec).unwrap()).unwrap();
        let tasks = [digest, digest];
        match check(&blobs, &tasks, Some(&market::first_instruments()[1]), 1 << 26) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_tasks_figures_are_those_of_its_spec_and_its_blobs() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = DiskBlobs::open(directory.path()).unwrap();
        let content = blobs.put(b"data").unwrap();
        let spec = TaskSpec {
            version: 1,
            module: blobs.put(&MODULE_HEADER).unwrap(),
            base: None,
            args: vec!["program".to_owned()],
            env: vec![],
            stdin: Some(content),
            // One blob under two names: both files are there for the program.
            inputs: ["a", "b"].map(|name| InputFile { name: name.to_owned(), content }).into(),
            memory_max_pages: 8192,
            output_max_bytes: 1 << 20,
            fuel_max: 1 << 40,
            segment_fuel: 1 << 30,
            seed: Digest::default(),
            clock_start_ms: 0,
        };
        let digest = blobs.put(&serde_json::to_vec(&spec).unwrap()).unwrap();
        let tasks = check(&blobs, &[digest, digest], None, 1 << 26).unwrap();
        let figures = TaskFigures {
            inbound_bytes: 8 + 3 * 4,
            output_max_bytes: 1 << 20,
            memory_max_pages: 8192,
            segment_fuel: 1 << 30,
            fuel_max: 1 << 40,
        };
        assert_eq!(tasks, [NewTask { spec: digest, figures }; 2]);

        // What a machine keeps is no task's traffic.
        let base = Some(blobs.put(b"a checkpoint file, by its length").unwrap());
        let spec = TaskSpec { version: 2, base, ..spec };
        let digest = blobs.put(&serde_json::to_vec(&spec).unwrap()).unwrap();
        let tasks = check(&blobs, &[digest], None, 1 << 26).unwrap();
        assert_eq!(tasks[0].figures, TaskFigures { inbound_bytes: 3 * 4, ..figures });
    }

    #[test]
    fn what_is_wrong_with_a_spec_is_named() {
        type Change = fn(&mut TaskSpec, &DiskBlobs);
        let cases: [(Change, &str); 20] = [
            (|_, _| {}, "ok"),
            (|spec, _| spec.version = 2, "version is 2; a spec without `base` has 1"),
            (|spec, _| spec.base = Some(spec.module), "version is 1; a spec with `base` has 2"),
            (
                |spec, _| (spec.version, spec.base) = (2, Some(Digest::of(b"lost"))),
                "the base, blob",
            ),
            (|spec, _| (spec.version, spec.base) = (2, Some(spec.module)), "ok"),
            (|spec, _| spec.fuel_max = 0, "fuel_max is 0"),
            (|spec, _| spec.fuel_max = TASK_FUEL_MAX + 1, "fuel_max is"),
            (|spec, _| spec.segment_fuel = (1 << 20) - 1, "segment_fuel is 1048575"),
            (|spec, _| spec.memory_max_pages = 65_537, "give 1 to 65536"),
            (|spec, _| spec.memory_max_pages = 32_769, "(2049 MiB), but a slot of cpu.2g.any"),
            (|spec, _| spec.output_max_bytes = u64::MAX, "output_max_bytes"),
            (|spec, _| spec.output_max_bytes = (1 << 26) + 1, "give at most 67108864"),
            (|spec, _| spec.args.clear(), "args is empty"),
            (|spec, _| spec.args.push("a\0b".to_owned()), "zero byte"),
            (|spec, _| spec.inputs.swap(0, 1), "sorted"),
            (|spec, _| spec.inputs[1].name = "a/c".to_owned(), "lies below"),
            (|spec, _| spec.inputs[1].name = "b/../c".to_owned(), "b/../c"),
            (|spec, _| spec.inputs[1].content = Digest::of(b"lost"), "input `b/c`, blob"),
            (
                |spec, blobs| {
                    spec.module = blobs.put(&[0, b'a', b's', b'm', 13, 0, 1, 0]).unwrap();
                },
                "components are not supported",
            ),
            (|spec, _| spec.module = spec.inputs[0].content, "is not WebAssembly"),
        ];
        for (number, (change, expected)) in cases.into_iter().enumerate() {
            let verdict = verdict(change);
            assert!(verdict.contains(expected), "case {number}: {verdict}");
        }
    }
}
