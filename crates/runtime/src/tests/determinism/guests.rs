//! Every committed guest: one chain, whatever the engine and the interruptions, and the same as
//! it was when the golden file was written, on whichever machine that was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::golden;
use super::{Engines, UNLIMITED};
use crate::task::Task;

struct Subject {
    name: &'static str,
    args: &'static [&'static str],
    fuel_max: u64,
    stdin: &'static str,
}

const fn subject(name: &'static str, args: &'static [&'static str]) -> Subject {
    Subject { name, args, fuel_max: UNLIMITED, stdin: "" }
}

/// Each guest, small enough for five runs, two of them on an engine that does not optimise.
const SUBJECTS: [Subject; 19] = [
    Subject { stdin: "2 3 4 5 999983\n", ..subject("based", &[]) },
    subject("clock", &["3"]),
    subject("deep", &["2000", "2"]),
    subject("exit", &["7", "bye"]),
    Subject { stdin: "one two\nthree\n", ..subject("files", &[]) },
    subject("fib", &["20"]),
    subject("floats", &["20000"]),
    subject("hog", &["40"]),
    subject("matmul", &["60"]),
    subject("memory", &["20", "7"]),
    subject("mersenne", &["521", "523"]),
    subject("nbody", &["5000"]),
    subject("noop", &[]),
    subject("pointers", &["3000"]),
    subject("sha256", &["1"]),
    subject("sieve", &["200000"]),
    Subject { fuel_max: 30_000_000, ..subject("spin", &[]) },
    subject("trap", &["overflow"]),
    subject("trap", &["stack"]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests")
}

impl Subject {
    fn task(&self) -> Task {
        let path = folder().join(self.name).with_extension("wasm");
        let mut task = Task::new(std::fs::read(path).expect("a committed guest"));
        task.args = [&self.name].into_iter().chain(self.args).map(|a| (*a).to_owned()).collect();
        task.segment_fuel = 1 << 22;
        task.stdin = self.stdin.as_bytes().to_vec();
        if self.name == "files" {
            let text = "sand\n".repeat(50_000).into_bytes();
            task.inputs = BTreeMap::from([("a/b.txt".to_owned(), text)]);
        }
        task
    }
}

#[test]
fn every_committed_guest_is_among_the_subjects() {
    let committed: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("guests/")
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let wasm = path.extension().is_some_and(|extension| extension == "wasm");
            wasm.then(|| path.file_stem().unwrap_or_default().to_string_lossy().into_owned())
        })
        .collect();
    let subjects = SUBJECTS.iter().map(|subject| subject.name.to_owned()).collect();
    assert_eq!(committed, subjects, "a guest needs a row in SUBJECTS");
}

/// Optimised and not, whole and interrupted; and, by the golden file, in any process, build and
/// machine.
#[test]
fn every_guest_has_one_chain() {
    let mut lines = String::new();
    for subject in &SUBJECTS {
        let name = [&[subject.name], subject.args].concat().join(" ");
        let task = subject.task();
        let traced = Engines::with(|engines| engines.agree(&name, &task, subject.fuel_max));
        let end = &traced.trace.end;
        lines += &format!(
            "{name}: {:?}, fuel {}, memory {}, state {}, traffic {}, {} records, chain {}\n",
            end.outcome,
            end.usage.fuel,
            end.usage.memory_page_fuel,
            end.usage.state_bytes,
            end.usage.traffic_bytes,
            traced.trace.records.len() + 1,
            end.record.digest
        );
    }
    golden::check("guests.txt", &lines);
}
