//! Compiled programs: a run that is stopped at random fuel and resumed, any number of times, has
//! the same output, usage and chain as one that is not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::{Trace, run, run_with_stops};
use crate::execution::RunError;
use crate::protocol::{Outcome, TrapCode};
use crate::task::Task;

const UNLIMITED: u64 = base::TASK_FUEL_MAX;

fn guest(name: &str, args: &[&str]) -> Task {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests").join(name);
    let module = std::fs::read(path.with_extension("wasm")).expect("a committed guest");
    let mut task = Task::new(module);
    task.args = [name].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
    task.segment_fuel = 1 << 24;
    task
}

fn expected(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/expected").join(name);
    std::fs::read_to_string(path).expect("a committed expectation")
}

fn stdout(trace: &Trace) -> String {
    String::from_utf8_lossy(&trace.end.stdout).into_owned()
}

/// The programs of the property test, small enough to be run many times.
pub fn subjects() -> Vec<Task> {
    let mut files = guest("files", &[]);
    files.stdin = b"one two\nthree\n".to_vec();
    files.inputs = BTreeMap::from([
        ("a/b.txt".to_owned(), "sand\n".repeat(50_000).into_bytes()),
        ("c.txt".to_owned(), b"no newline at the end".to_vec()),
    ]);
    let mut mersenne = guest("mersenne", &["521", "523"]);
    mersenne.segment_fuel = 1 << 22;
    vec![
        mersenne,
        guest("deep", &["3000", "3"]),
        guest("pointers", &["3000"]),
        files,
        guest("sieve", &["200000"]),
        guest("floats", &["20000"]),
        guest("clock", &["3"]),
        guest("languages/stars", &["300"]),
        guest("languages/thrower", &["60"]),
        guest("languages/words", &["2"]),
        guest("languages/life", &["4"]),
    ]
}

/// The subjects with their uninterrupted runs.
static WHOLE: LazyLock<Vec<(Task, Trace)>> = LazyLock::new(|| {
    subjects().into_iter().map(|task| (task.clone(), run(&task, UNLIMITED).unwrap())).collect()
});

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("JUSHA_TEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24),
        ..ProptestConfig::default()
    })]

    #[test]
    fn interruptions_leave_no_trace(
        which in 0..WHOLE.len(),
        shares in prop::collection::vec(0.0f64..1.0, 1..8),
    ) {
        let (task, whole) = &WHOLE[which];
        let fuel = whole.end.usage.fuel as f64;
        let stops: Vec<u64> = shares.iter().map(|share| (share * fuel) as u64 + 1).collect();
        let stopped = run_with_stops(task, UNLIMITED, &stops).unwrap();
        prop_assert_eq!(&stopped, whole);
    }
}

#[test]
fn guests_print_what_they_should() {
    for (name, args, file) in [
        ("deep", &[][..], "deep.txt"),
        ("pointers", &[], "pointers.txt"),
        ("sieve", &[], "sieve.txt"),
        ("floats", &[], "floats.txt"),
        ("clock", &["3"], "clock-3.txt"),
    ] {
        let trace = run(&guest(name, args), UNLIMITED).unwrap();
        assert_eq!(trace.end.outcome, Outcome::Exited(0), "{name}");
        if name != "clock" {
            assert_eq!(stdout(&trace), expected(file), "{name}");
        }
    }
    for name in ["stars", "thrower", "words", "life"] {
        let trace = run(&guest(&format!("languages/{name}"), &[]), UNLIMITED).unwrap();
        assert_eq!(trace.end.outcome, Outcome::Exited(0), "{name}");
        assert_eq!(stdout(&trace), expected(&format!("{name}.txt")), "{name}");
    }
    let trace = run(&guest("languages/words", &["1", "panic"]), UNLIMITED).unwrap();
    assert_eq!(trace.end.outcome, Outcome::Exited(3));
    assert!(String::from_utf8_lossy(&trace.end.stderr).starts_with("met: panicked at"));
    let trace = run(&guest("mersenne", &["521", "4421", "4423"]), UNLIMITED).unwrap();
    assert_eq!(stdout(&trace), "521 prime\n4421 composite res64=436652647e1e860b\n4423 prime\n");
}

#[test]
fn traps_have_their_code_and_the_same_fuel_however_often_interrupted() {
    for (how, code) in [
        ("unreachable", TrapCode::Unreachable),
        ("divide", TrapCode::IntegerDivideByZero),
        ("overflow", TrapCode::IntegerOverflow),
        ("memory", TrapCode::MemoryOutOfBounds),
        ("convert", TrapCode::BadConversionToInteger),
        ("null", TrapCode::IndirectCallToNull),
        ("signature", TrapCode::BadSignature),
        ("table", TrapCode::TableOutOfBounds),
        ("stack", TrapCode::StackExhausted),
    ] {
        let mut task = guest("trap", &[how]);
        task.segment_fuel = 1 << 20;
        let whole = run(&task, UNLIMITED).unwrap();
        assert_eq!(whole.end.outcome, Outcome::Trapped(code), "{how}");
        assert!(stdout(&whole).starts_with("before"), "{how}");
        let fuel = whole.end.usage.fuel;
        for stops in [vec![fuel / 2], vec![fuel / 3, fuel - 10]] {
            assert_eq!(run_with_stops(&task, UNLIMITED, &stops).unwrap(), whole, "{how}");
        }
    }
}

#[test]
fn limits_end_a_task_at_the_same_place() {
    let task = guest("spin", &[]);
    let whole = run(&task, 100_000_000).unwrap();
    assert_eq!(whole.end.outcome, Outcome::FuelLimit);
    let over = whole.end.usage.fuel - 100_000_000;
    assert!(over < 10_000, "{over} past the limit");
    let stopped = run_with_stops(&task, 100_000_000, &[1, 99_000_000]).unwrap();
    assert_eq!(stopped, whole);

    let mut task = guest("hog", &[]);
    task.memory_max_pages = 400;
    let trace = run(&task, UNLIMITED).unwrap();
    assert_eq!(trace.end.outcome, Outcome::Exited(0));
    assert!(stdout(&trace).starts_with("stopped after "), "{}", stdout(&trace));
    assert_eq!(run_with_stops(&task, UNLIMITED, &[trace.end.usage.fuel / 2]).unwrap(), trace);
    // Whatever module an earlier task with a higher limit left compiled.
    task.memory_max_pages = 200;
    let refusal = run(&task, UNLIMITED).unwrap_err().to_string();
    assert!(refusal.contains("258 pages") && refusal.contains("limit is 200"), "{refusal}");

    let mut task = guest("hog", &["flood"]);
    task.output_max_bytes = 1 << 20;
    let trace = run(&task, UNLIMITED).unwrap();
    assert_eq!(trace.end.outcome, Outcome::Exited(0));
    assert_eq!(trace.end.stdout.len(), 1 << 20);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let start = r#"(func (export "_start"))"#;
    for (module, words) in [
        (Vec::new(), "the file is empty"),
        (b"\x7fELF....".to_vec(), "begins with 7f 45 4c 46"),
        (wat("(component)"), "component"),
        (wat(r#"(module (func (export "run")))"#), "no function `_start`"),
        (wat(r#"(module (func (export "_start") (param i32)))"#), "`_start` has parameters"),
        (wat(&format!(r#"(module (import "env" "f" (func)) {start})"#)), "`env.f`"),
        (
            wat(&format!(r#"(module (import "wasi_snapshot_preview1" "fork" (func)) {start})"#)),
            "`wasi_snapshot_preview1.fork`",
        ),
        (
            wat(&format!(
                r#"(module (import "wasi_snapshot_preview1" "fd_close" (func)) {start})"#
            )),
            "`fd_close` with a type",
        ),
        (wat(&format!("(module (memory 1 1 shared) {start})")), "threads"),
        (wat(&format!("(module (memory i64 1) {start})")), "memory64"),
        (wat(&format!("(module (memory 1) (memory 1) {start})")), "multi"),
        (wat(&format!("(module (tag (param f64)) {start})")), "exception tag with parameters"),
        (
            wat(&format!("(module (tag $e) (func try throw $e catch $e end) {start})")),
            "legacy exceptions",
        ),
        (wat(r#"(module (func $f (export "_start") (return_call $f)))"#), "tail calls"),
        (wat(&format!("(module (type (struct)) {start})")), "gc"),
        (
            wat(&format!("(module (func (param funcref)) {start})")),
            "a function with references as parameters",
        ),
        (
            wat(r#"(module (type $f (func (result funcref))) (table 1 funcref)
              (func (export "_start") (drop (call_indirect (type $f) (i32.const 0)))))"#),
            "a function with references as parameters",
        ),
        (wat(&format!("(module (table 1 externref) {start})")), "a table of externref"),
        (
            wat(&format!("(module (global (mut externref) (ref.null extern)) {start})")),
            "external references",
        ),
        (
            wat(&format!("(module (type $t (func)) (global (ref null $t) (ref.null $t)) {start})")),
            "function references",
        ),
        (wat(&format!("(module (memory 10000) {start})")), "raise the memory limit"),
    ] {
        match run(&Task::new(module), UNLIMITED) {
            Err(RunError::Refused(reason)) => assert!(reason.contains(words), "{words}: {reason}"),
            other => panic!("{words}: {other:?}"),
        }
    }
}

#[test]
fn damaged_checkpoints_are_refused() {
    use crate::execution::Execution;
    use crate::save::CheckpointFile;
    let task = guest("pointers", &["3000"]);
    let compiler = super::compiler();
    let mut execution = Execution::new(&task, &compiler, None, None).unwrap();
    execution.slice(UNLIMITED, 1_000_000).unwrap();
    let checkpoint = execution.capture();
    let file = CheckpointFile { task: task.clone(), checkpoint: checkpoint.clone() };
    let bytes = file.to_bytes();
    for cut in [0, 4, 20, bytes.len() / 2, bytes.len() - 1] {
        assert!(CheckpointFile::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for at in (0..bytes.len()).step_by(997) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert!(CheckpointFile::from_bytes(&altered).is_err(), "altered at {at}");
    }
    // A well-formed file with hostile contents: refused or run to some end, never a crash.
    let (manifest, leaves) = (checkpoint.manifest().to_vec(), checkpoint.leaves().clone());
    for at in 0..manifest.len().min(400) {
        let mut altered = manifest.clone();
        altered[at] ^= 0x41;
        let Ok(hostile) = crate::checkpoint::Checkpoint::from_parts(altered, leaves.clone()) else {
            continue;
        };
        if let Ok(mut execution) = Execution::new(&task, &compiler, Some(hostile), None) {
            let _ = execution.slice(UNLIMITED, u64::MAX);
        }
    }
    let other = guest("pointers", &["3001"]);
    match Execution::new(&other, &compiler, Some(checkpoint), None).map(|_| ()) {
        Err(RunError::Refused(reason)) => assert!(reason.contains("another task"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
