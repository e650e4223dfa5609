//! What is no program that can be run.

use base::Digest;

use super::{REFUSED, assert_refusal, refusal};
use crate::stage::{Pace, Scene, Stage, Work, guest};

/// What can be seen by its first bytes.
fn plainly_wrong() -> Vec<(&'static str, Vec<u8>, Vec<&'static str>)> {
    vec![
        ("empty", Vec::new(), vec!["it is empty"]),
        ("text", b"hello\n".to_vec(), vec!["begins with 68 65 6c 6c"]),
        ("elf", b"\x7fELF\x02\x01\x01\0".to_vec(), vec!["begins with 7f 45 4c 46"]),
        ("short", b"\0as".to_vec(), vec!["begins with 00 61 73 instead of 00 61 73 6d"]),
    ]
}

/// What only a machine finds: each named by what it is or uses.
fn modules() -> Vec<(&'static str, Vec<u8>, Vec<&'static str>)> {
    let compile = "compile without";
    let start = r#"(func (export "_start"))"#;
    let text = |name, text: &str, words: &[&'static str]| {
        let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, bytes, words.to_vec())
    };
    let with = |name, more: &str, words: &[&'static str]| {
        text(name, &format!("(module {more} {start})"), words)
    };
    let whole = std::fs::read(guest("mersenne")).unwrap();
    vec![
        text("component", "(component)", &["component", "wasm32-wasip1 command"]),
        text(
            "reactor",
            r#"(module (func (export "_initialize")) (func (export "add")))"#,
            &["no function `_start`", "reactor", "build a command"],
        ),
        text("library", "(module)", &["no function `_start`", "build a command"]),
        text(
            "start-with-parameters",
            r#"(module (func (export "_start") (param i32)))"#,
            &["`_start` has parameters", "build a command"],
        ),
        with(
            "foreign-import",
            r#"(import "env" "fork" (func))"#,
            &["`env.fork`", "not provided", "only functions of wasi_snapshot_preview1"],
        ),
        with(
            "unknown-wasi-function",
            r#"(import "wasi_snapshot_preview1" "fork" (func))"#,
            &["`wasi_snapshot_preview1.fork`", "not provided"],
        ),
        with(
            "import-of-another-type",
            r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#,
            &["`fd_write`", "type", "rebuild"],
        ),
        with("imported-memory", r#"(import "env" "memory" (memory 1))"#, &["`env.memory`"]),
        with(
            "giant-br-table",
            &format!("(func (block (br_table {} (i32.const 0))))", "0 ".repeat(70_000)),
            &["`br_table` has 69999 targets", compile],
        ),
        with("threads", "(memory 1 1 shared)", &["threads", compile]),
        with("memory64", "(memory i64 1)", &["memory64", compile]),
        with("multi-memory", "(memory 1) (memory 1)", &["multiple memories", compile]),
        with("exceptions", "(tag (param f64))", &["exception tag with parameters", compile]),
        with(
            "older-exceptions",
            "(tag $e) (func try throw $e catch $e end)",
            &["legacy exceptions", compile],
        ),
        with("tail-calls", "(func $loop (return_call $loop))", &["tail call", compile]),
        with("gc", "(type (struct (field i32)))", &["gc", compile]),
        with("references", "(func (param externref))", &["references as parameters", compile]),
        with(
            "memory-larger-than-the-limit",
            "(memory 8193)",
            &["8193 pages", "limit is 8192", "raise the memory limit"],
        ),
        (
            "truncated",
            whole[..whole.len() / 2].to_vec(),
            vec!["the module is damaged", "at byte", "build it again"],
        ),
        ("altered", altered(&whole), vec!["the module is damaged", "at byte", "build it again"]),
    ]
}

/// With one byte of its code changed to an opcode that does not exist.
fn altered(module: &[u8]) -> Vec<u8> {
    let mut bytes = module.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 16].fill(0xff);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_program_is_refused_by_name() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 300_000, 1).await;
    let before = stage.wallets().await;
    for (name, bytes, words) in plainly_wrong() {
        let file = format!("{name}.wasm");
        stage.scene.write(&file, &bytes);
        let path = stage.scene.arg(&file);
        let words = [words, vec![&file, "not a WebAssembly module", "wasm32-wasip1"]].concat();
        stage.scene.run(&["exec", &path], b"").await.assert_refused(REFUSED, &words);
        let run = stage.buy(&["run", &path]);
        stage.scene.finish(run, b"").await.assert_refused(REFUSED, &words);
        // Past our own client, the exchange sees it before money is set aside.
        let job = stage.job(1, &[Work::new("noop", &[])], 1);
        let (mut spec, _) = Work::new("noop", &[]).blobs();
        spec.module = Digest::of(&bytes);
        let spec = serde_json::to_vec(&spec).unwrap();
        stage.buyer.store(&[&bytes, &spec]).await.unwrap();
        let job = wire::NewJob { tasks: vec![Digest::of(&spec)], ..job };
        let refused = refusal(stage.buyer.submit(&job).await);
        let words = ["task 0", &Digest::of(&bytes).to_string(), "wasm32-wasip1"];
        assert_refusal(&refused, 422, "invalid_task", &words);
    }
    for (name, bytes, words) in modules() {
        let file = format!("{name}.wasm");
        stage.scene.write(&file, bytes);
        let path = stage.scene.arg(&file);
        let ran = stage.scene.run(&["exec", &path], b"").await;
        ran.assert_refused(REFUSED, &[words.clone(), vec![&file]].concat());
        let run = stage.buy(&["run", &path]);
        stage.scene.finish(run, b"").await.assert_refused(REFUSED, &words);
    }
    // Refused on the machine: the job is over, its money is back, the slot is free again.
    for job in stage.buyer.jobs().await.unwrap() {
        assert_eq!((job.state, job.paid_nanocredits), (wire::JobState::Done, 0), "{job:#?}");
        assert_eq!(job.tasks[0].state, wire::TaskState::Refused, "{job:#?}");
        assert_eq!(job.tasks[0].attempts.len(), 1, "one look is enough: {job:#?}");
        stage.assert_paid(&job).await;
    }
    assert_eq!(stage.wallets().await, before);
    let run = stage.buy(&["run", guest("noop").to_str().unwrap()]);
    assert_eq!(stage.scene.finish(run, b"").await.status, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 300_000, 1).await;
    let before = stage.everything().await;
    let max: u64 = 64 << 20;
    // Sparse files: they take no space.
    let grown = |name: &str, from: &[u8], bytes: u64| {
        let path = stage.scene.write(name, from);
        std::fs::File::options().write(true).open(&path).unwrap().set_len(bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let noop = std::fs::read(guest("noop")).unwrap();
    // A program comes in one piece.
    let module = grown("large.wasm", &noop, 2 * max + 1);
    let said = ["larger than 67108864 bytes", "split it"];
    let run = stage.buy(&["run", &module]);
    let named = ["larger than 134217728 bytes", said[1], "large.wasm has 134217729 bytes"];
    stage.scene.finish(run, b"").await.assert_refused(REFUSED, &named);
    grown("in/large", b"", max + 1);
    let noop = guest("noop");
    let run = stage.buy(&["run", noop.to_str().unwrap(), "--dir", &stage.scene.arg("in")]);
    let named = [said[0], said[1], "large has 67108865 bytes"];
    stage.scene.finish(run, b"").await.assert_refused(REFUSED, &named);
    let raw = stage.raw(&stage.token);
    // Told while the client still sends: it must hear that, not a broken pipe.
    for _ in 0..10 {
        let refused = raw.post("/v1/blobs", vec![0; max as usize + 1]).await;
        assert_refusal(&refused, 413, "blob_too_large", &said);
        let refused = stage.raw("account_1").post("/v1/blobs", vec![0; 10 << 20]).await;
        assert_refusal(&refused, 401, "unknown_token", &["check that it is whole"]);
    }
    // A JSON body has a limit of its own.
    let refused = raw.post("/v1/jobs", format!("[\"{}\"]", "x".repeat(4 << 20))).await;
    assert_refusal(&refused, 413, "body_too_large", &["larger than 4194304 bytes"]);
    // The runtime has one, too.
    let module = grown("huge.wasm", &std::fs::read(&noop).unwrap(), (256 << 20) + 1);
    let ran = stage.scene.run(&["exec", &module], b"").await;
    ran.assert_refused(REFUSED, &["huge.wasm", "268435457 bytes", "at most 268435456", "strip it"]);
    // A spec with large numbers is refused before anything is set aside.
    let run = stage.buy(&["run", noop.to_str().unwrap(), "--memory-max", "4096"]);
    let said = ["65536 (4096 MiB)", "cpu.2g.any has 2048 MiB", "lower the limit"];
    stage.scene.finish(run, b"").await.assert_refused(REFUSED, &said);
    assert_eq!(stage.everything().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_limit_holds_for_a_module_that_was_compiled_before() {
    let scene = Scene::new();
    let hog = guest("hog");
    let exec = |mib: &'static str| ["exec", hog.to_str().unwrap(), "--memory-max", mib, "--", "1"];
    assert_eq!(scene.run(&exec("64"), b"").await.status, 0);
    let said = ["hog.wasm", "258 pages", "limit is 128", "raise the memory limit"];
    scene.run(&exec("8"), b"").await.assert_refused(REFUSED, &said);
}
