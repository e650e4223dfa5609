//! `jusha exec` stopped at random fuel and resumed in new processes, any number of times: the
//! same output, usage, chain and exit status as uninterrupted. And what is refused.
//!
//! `JUSHA_TEST_CASES=500` goes through so many seeds, `JUSHA_SEED=17` repeats one.

mod stage;

use std::collections::BTreeMap;

use base::Usage;
use stage::{Executed, Ran, Random, Scene, Seeds, Work, guest};

/// Short programs that end in every way.
fn subjects() -> Vec<Work> {
    let mut files = program("files", &[]);
    files.stdin = b"one two\nthree\n".to_vec();
    files.inputs = BTreeMap::from([
        ("a/b.txt".to_owned(), "sand\n".repeat(50_000).into_bytes()),
        ("c.txt".to_owned(), b"no newline at the end".to_vec()),
    ]);
    let missing = Work { args: vec!["c.txt".to_owned(), "zzz".to_owned()], ..files.clone() };
    let mut limited = program("spin", &[]);
    limited.fuel_max = 300_000_000;
    vec![
        Work { stdin: b"521\n523\n2203\n".to_vec(), ..program("mersenne", &[]) },
        program("mersenne", &["9689"]),
        program("deep", &[]),
        program("deep", &["3000", "3"]),
        program("pointers", &["3000"]),
        program("pointers", &["20000"]),
        files,
        missing,
        Work { index: 3, ..program("clock", &["3"]) },
        program("exit", &["7", "bye"]),
        program("trap", &["stack"]),
        limited,
    ]
}

/// A program in short segments, so that short runs have long chains.
fn program(guest: &'static str, args: &[&str]) -> Work {
    Work { segment_fuel: 10_000_000, ..Work::new(guest, args) }
}

/// Runs it with stops on the way; what the last process left, and the whole chain.
async fn run_with_stops(scene: &Scene, work: &Work, stops: &[u64]) -> Executed {
    let mut chain = String::new();
    let mut before: Option<(String, Usage)> = None;
    for (leg, stop) in stops.iter().map(|stop| Some(*stop)).chain([None]).enumerate() {
        let checkpoint = scene.arg(&format!("checkpoint-{leg}"));
        let _ = std::fs::remove_file(&checkpoint);
        let (stop_text, out) = (stop.unwrap_or(0).to_string(), scene.arg(&format!("out-{leg}")));
        let mut more = vec!["--out", &out];
        if stop.is_some() {
            more.extend(["--stop-at-fuel", &stop_text, "--checkpoint", &checkpoint]);
        }
        if let Some((checkpoint, _)) = &before {
            more.extend(["--resume", checkpoint]);
        }
        let executed = work.exec_with(scene, &more).await;
        chain.push_str(&executed.chain);
        if !std::path::Path::new(&checkpoint).exists() {
            // It ended, by itself or before the stop.
            std::fs::rename(&out, scene.path("out")).ok();
            return Executed { chain, ..executed };
        }
        let Ran { status, stdout, stderr } = &executed.ran;
        assert_eq!((*status, stdout.as_str()), (0, ""), "{stderr}");
        assert!(stderr.contains("stopped at fuel"), "{stderr}");
        assert!(executed.usage.fuel >= stop.unwrap(), "{:?}", executed.usage);
        let from = before.map_or(Usage::ZERO, |(_, usage)| usage);
        assert!(executed.usage.since(from).is_some(), "usage went back");
        before = Some((checkpoint, executed.usage));
    }
    unreachable!("the last leg has no stop")
}

/// The files that a run left in `out`, which is then gone.
fn take_outputs(scene: &Scene) -> BTreeMap<String, Vec<u8>> {
    let root = scene.path("out");
    let mut files = BTreeMap::new();
    let mut pending = vec![root.clone()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pending.push(path),
                false => {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    files.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
    }
    let _ = std::fs::remove_dir_all(root);
    files
}

#[tokio::test]
async fn interruptions_leave_no_trace() {
    let scene = Scene::new();
    let mut whole = Vec::new();
    for work in subjects() {
        let executed = work.exec_with(&scene, &["--out", &scene.arg("out")]).await;
        whole.push((work, executed, take_outputs(&scene)));
    }
    let seeds = Seeds::new("exec_resume interruptions_leave_no_trace", "JUSHA_TEST_CASES", 36);
    for (seed, _rerun) in seeds.each() {
        let mut random = Random::new(seed);
        // Each program in turn.
        let (work, expected, outputs) = &whole[seed as usize % whole.len()];
        let fuel = expected.usage.fuel;
        let mut stops: Vec<u64> = (0..random.of(1..6)).map(|_| random.of(0..fuel + 2)).collect();
        // Now and then one lies before where the run is already.
        if random.of(0..4) > 0 {
            stops.sort_unstable();
        }
        let stopped = run_with_stops(&scene, work, &stops).await;
        assert_eq!(&stopped, expected, "{work:?} stopped at {stops:?}");
        assert_eq!(&take_outputs(&scene), outputs, "{work:?} stopped at {stops:?}");
    }
}

#[tokio::test]
async fn uninterrupted_runs_are_what_is_known() {
    let scene = Scene::new();
    for work in subjects() {
        let executed = work.exec(&scene).await;
        let (status, begins) = match (work.guest, work.args.first().map(String::as_str)) {
            ("mersenne", None) => {
                (0, "521 prime\n523 composite res64=42154e4ab2f76faf\n2203 prime\n".to_owned())
            }
            ("mersenne", _) => (0, "9689 prime\n".to_owned()),
            ("deep", None) => (0, known("deep.txt")),
            ("files", Some(_)) => (1, String::new()),
            ("exit", _) => (7, String::new()),
            ("trap", _) => (121, String::new()),
            ("spin", _) => (122, String::new()),
            _ => (0, String::new()),
        };
        assert_eq!(executed.ran.status, status, "{work:?}: {:?}", executed.ran);
        assert!(executed.ran.stdout.starts_with(&begins), "{work:?}: {:?}", executed.ran);
        let again = work.exec(&scene).await;
        assert_eq!(again, executed, "{work:?} twice");
        // One record per segment, and one for the end.
        let fuels: Vec<u64> = executed.chain.lines().map(|line| field(line, "fuel")).collect();
        assert!(fuels.is_sorted(), "{}", executed.chain);
        assert_eq!(fuels.last(), Some(&executed.usage.fuel));
    }
}

/// What a committed example program is known to print.
fn known(file: &str) -> String {
    std::fs::read_to_string(guest("x").with_file_name("expected").join(file)).unwrap()
}

/// A figure of a chain's line.
fn field(line: &str, name: &str) -> u64 {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    line[name].as_u64().unwrap()
}

/// A checkpoint half way through a program, and the whole program's chain, as files.
async fn half_way(scene: &Scene, work: &Work) -> (String, String) {
    let whole = work.exec(scene).await;
    let chain = scene.write("whole.jsonl", &whole.chain).to_str().unwrap().to_owned();
    let (checkpoint, stop) = (scene.arg("half"), (whole.usage.fuel / 2).to_string());
    let stopped =
        work.exec_with(scene, &["--stop-at-fuel", &stop, "--checkpoint", &checkpoint]).await;
    assert_eq!(stopped.ran.status, 0, "{stopped:?}");
    (checkpoint, chain)
}

#[tokio::test]
async fn verify_accepts_the_right_chain_and_no_other() {
    let scene = Scene::new();
    let work = program("pointers", &["3000"]);
    let (checkpoint, chain) = half_way(&scene, &work).await;
    let verify =
        async |chain: &str| scene.run(&["verify", &checkpoint, "--chain", chain], b"").await;
    let right = verify(&chain).await;
    assert_eq!((right.status, right.stdout.starts_with("ok: record ")), (0, true), "{right:?}");

    let text = scene.read("whole.jsonl");
    let lines: Vec<&str> = text.lines().collect();
    let half = field(lines.last().unwrap(), "fuel") / 2;
    let next = lines.iter().position(|line| field(line, "fuel") > half).unwrap();
    assert!(next > 0 && next + 1 < lines.len(), "records on both sides of {next}: {text}");
    // The record before the checkpoint, and the one after it.
    for altered in [next - 1, next] {
        for (name, line) in alterations(lines[altered]) {
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            lines[altered] = line;
            let path = scene.write("altered.jsonl", lines.join("\n"));
            let wrong = verify(path.to_str().unwrap()).await;
            // Before the checkpoint only the head counts: it stands for what was before it.
            let expected = i32::from(altered == next || name == "digest");
            assert_eq!(wrong.status, expected, "{name} of record {altered}: {wrong:?}");
            assert_eq!(wrong.stdout.starts_with("DIFFERS"), expected == 1, "{wrong:?}");
        }
    }
    let other = program("pointers", &["3001"]).exec(&scene).await;
    let path = scene.write("other.jsonl", other.chain);
    assert_eq!(verify(path.to_str().unwrap()).await.status, 1);

    for (name, unusable) in [
        ("empty", String::new()),
        ("ended", format!("{}\n", lines[..next].join("\n"))),
        ("garbage", "{\"k\":1}\n".to_owned()),
    ] {
        let path = scene.write("unusable.jsonl", unusable);
        let refused = verify(path.to_str().unwrap()).await;
        assert_eq!(refused.status, 124, "{name}: {refused:?}");
        assert!(refused.stderr.contains("\nhint: "), "{name}: {refused:?}");
    }
    assert_eq!(verify(&scene.arg("nowhere")).await.status, 124);
}

#[tokio::test]
async fn verify_says_what_it_cost_and_needs_only_what_the_span_does() {
    let scene = Scene::new();
    let work = program("pointers", &["3000"]);
    let (checkpoint, chain) = half_way(&scene, &work).await;
    let needed = scene.arg("needed");
    let args = ["verify", &checkpoint, "--chain", &chain, "--needed", &needed];
    let whole = scene.run(&args, b"").await;
    let again = scene.run(&["verify", &needed, "--chain", &chain], b"").await;
    for (ran, all) in [(&whole, false), (&again, true)] {
        assert_eq!(ran.status, 0, "{ran:?}");
        let [ok, cost] = &ran.stdout.lines().collect::<Vec<_>>()[..] else { panic!("{ran:?}") };
        assert!(ok.starts_with("ok: record ") && cost.starts_with("cost: "), "{ran:?}");
        assert!(cost.contains(" ms of processor time for ") && cost.contains("fuel;"), "{ran:?}");
        let (some, of) = cost.split_once("needed ").unwrap().1.split_once(" of ").unwrap();
        let of = of.split_once(' ').unwrap().0;
        let [some, of]: [u32; 2] = [some, of].map(|text| text.parse().unwrap());
        assert!(some > 0 && (some == of) == all && some <= of, "{ran:?}");
    }
    assert_eq!(whole.stdout.lines().next(), again.stdout.lines().next());
    let size = |path: &str| std::fs::metadata(path).unwrap().len();
    assert!(size(&needed) < size(&checkpoint));
    // It is enough for the span, not for going on.
    let pointers = guest("pointers").to_str().unwrap().to_owned();
    let args = ["exec", "--segment-gfuel", "0.01", "--resume", &needed, &pointers, "--", "3000"];
    let resumed = scene.run(&args, b"").await;
    assert_eq!(resumed.status, 124, "{resumed:?}");
    assert!(resumed.stderr.contains("is lacking"), "{resumed:?}");
}

#[tokio::test]
async fn verify_reproduces_a_record_at_a_fuel_limit() {
    let scene = Scene::new();
    let work = Work { fuel_max: 15_000_000, ..program("pointers", &["3000"]) };
    let limited = work.exec(&scene).await;
    assert_eq!(limited.ran.status, 122, "{limited:?}");
    let last = limited.chain.lines().last().unwrap();
    assert!(field(last, "fuel") >= work.fuel_max, "{last}");
    let chain = scene.write("limited.jsonl", &limited.chain).to_str().unwrap().to_owned();
    let checkpoint = scene.arg("before");
    let stop = (work.fuel_max - 1_000_000).to_string();
    work.exec_with(&scene, &["--stop-at-fuel", &stop, "--checkpoint", &checkpoint]).await;
    let verify = ["verify", &checkpoint, "--chain", &chain];
    let right = scene.run(&[&verify[..], &["--fuel-max", "0.015"]].concat(), b"").await;
    assert_eq!((right.status, right.stdout.starts_with("ok: record ")), (0, true), "{right:?}");
    // Without the limit the program goes on past that record.
    let wrong = scene.run(&verify, b"").await;
    assert_eq!((wrong.status, wrong.stdout.starts_with("DIFFERS")), (1, true), "{wrong:?}");
    assert!(wrong.stderr.contains("--fuel-max"), "{wrong:?}");
}

/// A record with one thing changed.
fn alterations(line: &str) -> Vec<(&'static str, String)> {
    let record: serde_json::Value = serde_json::from_str(line).unwrap();
    let mut altered = Vec::new();
    for name in ["k", "fuel", "digest"] {
        let mut other = record.clone();
        other[name] = match &record[name] {
            serde_json::Value::String(digest) => {
                let last = if digest.ends_with('0') { '1' } else { '0' };
                format!("{}{last}", &digest[..digest.len() - 1]).into()
            }
            number => (number.as_u64().unwrap() + 1).into(),
        };
        altered.push((name, other.to_string()));
    }
    altered
}

#[tokio::test]
async fn only_the_same_task_is_resumed() {
    let scene = Scene::new();
    let mut work = program("files", &[]);
    work.stdin = b"some words\n".to_vec();
    work.inputs = BTreeMap::from([("a".to_owned(), "sand\n".repeat(20_000).into_bytes())]);
    let (checkpoint, _) = half_way(&scene, &work).await;
    let resume = async |work: &Work, more: &[&str]| {
        let more = [&["--resume", &checkpoint], more].concat();
        let args = work.exec_args(&scene);
        let module = guest(work.guest);
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend(&more);
        args.extend([module.to_str().unwrap(), "--"]);
        args.extend(work.args.iter().map(String::as_str));
        scene.run(&args, &work.stdin).await
    };
    let whole = work.exec(&scene).await;
    assert_eq!(resume(&work, &[]).await, whole.ran);
    // Where it is cut off is no part of what it computes.
    assert_eq!(resume(&work, &["--fuel-max", "100"]).await, whole.ran);

    let same = || work.clone();
    let inputs = |content: &str| BTreeMap::from([("a".to_owned(), content.into())]);
    let cases: [(&str, Work, &[&str]); 9] = [
        ("the arguments", Work { args: vec!["a".to_owned()], ..same() }, &[]),
        ("the program's bytes", Work { guest: "noop", ..same() }, &[]),
        ("the contents of standard input", Work { stdin: b"other words\n".into(), ..same() }, &[]),
        ("the input files", Work { inputs: inputs("water"), ..same() }, &[]),
        ("the seeds", Work { index: 1, ..same() }, &[]),
        ("the seeds", same(), &["--seed", "x"]),
        ("the environment variables", same(), &["--env", "K=V"]),
        ("the memory limits", same(), &["--memory-max", "100"]),
        ("the segments", Work { segment_fuel: 20_000_000, ..same() }, &[]),
    ];
    for (difference, other, more) in cases {
        let refused = resume(&other, more).await;
        assert_eq!(refused.status, 124, "{difference}: {refused:?}");
        assert!(refused.stderr.contains(difference), "{difference}: {refused:?}");
        assert!(refused.stderr.contains("\nhint: "), "{difference}: {refused:?}");
        assert_eq!(refused.stdout, "", "{difference}");
    }
}

/// What a base saves is the start-up's fuel and nothing else.
#[tokio::test]
async fn a_task_that_begins_in_a_base_is_the_rest_of_one_that_does_not() {
    let scene = Scene::new();
    let work = Work { stdin: b"2 3 4 5 999983\n".to_vec(), ..program("based", &[]) };
    let whole = work.exec(&scene).await;
    let (base, other) = (scene.arg("base"), scene.arg("other"));
    let blank = Work { stdin: Vec::new(), ..work.clone() };
    let started = blank.exec_with(&scene, &["--snapshot", &base]).await;
    assert_eq!((started.ran.status, started.ran.stdout.as_str()), (0, ""), "{started:?}");
    blank.exec_with(&scene, &["--snapshot", &other]).await;
    assert!(std::fs::read(&base).unwrap() == std::fs::read(&other).unwrap(), "always the same");

    let rest = work.exec_with(&scene, &["--from", &base]).await;
    assert_eq!(rest.ran, whole.ran);
    assert!(rest.ran.stdout.starts_with("4 of 5 are prime; random "), "{rest:?}");
    assert_eq!(started.usage.fuel + rest.usage.fuel, whole.usage.fuel);
    // A machine keeps the module of a base: it travels for no single task.
    let module = std::fs::metadata(guest("based")).unwrap().len();
    assert_eq!(rest.usage.traffic_bytes + module, whole.usage.traffic_bytes);
    // It is another task than the one without a base, and each seed's is its own.
    assert_ne!(rest.chain.lines().last(), whole.chain.lines().last());
    let seeded = work.exec_with(&scene, &["--from", &base, "--seed", "x"]).await;
    assert_ne!(seeded.ran.stdout, rest.ran.stdout);
    assert_eq!(seeded.usage.fuel, rest.usage.fuel);

    // Its spans can be checked by whoever has the base.
    let (half, half_fuel) = (scene.arg("half"), (rest.usage.fuel / 2).to_string());
    let more = ["--from", &base, "--stop-at-fuel", &half_fuel, "--checkpoint", &half];
    assert_eq!(work.exec_with(&scene, &more).await.ran.status, 0);
    let chain = scene.write("based.jsonl", &rest.chain).to_str().unwrap().to_owned();
    let verify = ["verify", &half, "--chain", &chain];
    let checked = scene.run(&[&verify[..], &["--from", &base]].concat(), b"").await;
    assert_eq!((checked.status, checked.stdout.starts_with("ok: ")), (0, true), "{checked:?}");
    let unfounded = scene.run(&verify, b"").await;
    assert_eq!(unfounded.status, 124, "{unfounded:?}");
    assert!(unfounded.stderr.contains("--from"), "{unfounded:?}");

    // A base is one program's, with its arguments; and one without a mark makes none.
    for (name, args, difference) in
        [("based", &["--", "more"][..], "arguments"), ("noop", &[], "program")]
    {
        let path = guest(name);
        let args = [&["exec", path.to_str().unwrap(), "--from", &base], args].concat();
        let refused = scene.run(&args, b"").await;
        assert_eq!(refused.status, 124, "{refused:?}");
        assert!(refused.stderr.contains(difference), "{refused:?}");
    }
    let (none, ended) = (scene.arg("none"), program("exit", &["7", "bye"]));
    let ended = ended.exec_with(&scene, &["--snapshot", &none]).await;
    assert_eq!(ended.ran.status, 124, "{ended:?}");
    assert!(!scene.path("none").exists());
}

#[tokio::test]
async fn a_damaged_checkpoint_is_refused() {
    let scene = Scene::new();
    let work = program("deep", &["3000", "3"]);
    let (checkpoint, chain) = half_way(&scene, &work).await;
    let bytes = std::fs::read(&checkpoint).unwrap();
    let mut random = Random::new(1);
    let mut damaged: Vec<(String, Vec<u8>)> = vec![
        ("empty".to_owned(), Vec::new()),
        ("a text".to_owned(), b"not a checkpoint".to_vec()),
        ("the program".to_owned(), std::fs::read(guest("deep")).unwrap()),
        ("too long".to_owned(), [bytes.clone(), vec![0]].concat()),
        ("without its end".to_owned(), bytes[..bytes.len() - 1].to_vec()),
    ];
    for _ in 0..6 {
        let cut = random.of(1..bytes.len() as u64) as usize;
        damaged.push((format!("cut at {cut}"), bytes[..cut].to_vec()));
        let (at, bit) = (random.of(0..bytes.len() as u64) as usize, random.of(0..8));
        let mut altered = bytes.clone();
        altered[at] ^= 1 << bit;
        damaged.push((format!("bit {bit} of byte {at}"), altered));
    }
    for (name, bytes) in damaged {
        let path = scene.write("damaged", bytes);
        let path = path.to_str().unwrap();
        let mut args = work.exec_args(&scene);
        args.extend(["--resume", path].map(str::to_owned));
        args.extend([guest("deep").to_str().unwrap(), "--", "3000", "3"].map(str::to_owned));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        for args in [&args[..], &["verify", path, "--chain", &chain]] {
            let refused = scene.run(args, b"").await;
            assert_eq!(refused.status, 124, "{name}: {refused:?}");
            assert!(refused.stderr.starts_with("error: ") && refused.stderr.contains("damaged"));
            assert_eq!(refused.stdout, "", "{name}");
        }
    }
}

#[tokio::test]
async fn a_program_that_ends_before_its_stop_simply_ends() {
    let scene = Scene::new();
    let work = program("exit", &["7", "bye"]);
    let whole = work.exec(&scene).await;
    let checkpoint = scene.arg("never");
    let stop = (whole.usage.fuel + 1).to_string();
    let ended =
        work.exec_with(&scene, &["--stop-at-fuel", &stop, "--checkpoint", &checkpoint]).await;
    assert_eq!(ended, whole);
    assert!(!scene.path("never").exists());
}
