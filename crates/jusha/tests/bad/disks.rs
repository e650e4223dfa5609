//! Full disks: the exchange's, a machine's, and that of a person who runs something.
//!
//! Each is a tmpfs of 4 MiB in a mount namespace of its own: the test starts itself once more
//! inside of one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base::TransferId;
use tokio::io::{AsyncBufReadExt, BufReader};
use wire::JobState;

use super::{FAILED, LIMIT, assert_refusal};
use crate::stage::{Pace, Process, Ran, Scene, Stage, Watch, Work, guarded, guest, submit, until};

const INSIDE: &str = "JUSHA_TEST_IN_MOUNT_NAMESPACE";

/// Runs a test of this file in a mount namespace of its own. Where there is none to be had, the
/// test fails: it would show nothing.
fn in_a_mount_namespace(test: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(body);
    }
    let name = format!("bad::disks::{test}");
    let run = |rights: &[&str]| {
        Command::new("unshare")
            .args(rights)
            .arg("--mount")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .expect("this test needs `unshare` (util-linux)")
    };
    // As root, else as root of a user namespace.
    let mut output = run(&[]);
    if String::from_utf8_lossy(&output.stderr).contains("unshare failed") {
        output = run(&["--user", "--map-root-user"]);
    }
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "in the mount namespace:\n{said}\n{errors}");
    assert!(said.contains("1 passed"), "the test inside did not run:\n{said}\n{errors}");
}

/// A directory of 4 MiB.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: PathBuf) -> SmallDisk {
        fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&path);
        assert!(mount.status().expect("this test needs `mount`").success());
        SmallDisk { path }
    }

    /// Takes all the space there is.
    fn fill(&self) {
        let mut file = File::create(self.path.join("ballast")).unwrap();
        for size in [65_536, 4_096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.path.join("ballast")).unwrap();
    }

    /// Every file but the ballast, by its path below.
    fn files(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut pending = vec![self.path.clone()];
        while let Some(next) = pending.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path);
                } else {
                    let name = path.strip_prefix(&self.path).unwrap().to_str().unwrap();
                    found.insert(name.to_owned());
                }
            }
        }
        found.remove("ballast");
        found
    }
}

impl SmallDisk {
    /// Makes the directory one that can be removed again, whoever still has it open.
    fn unmount(self) {
        let mut umount = Command::new("umount");
        assert!(umount.arg("--lazy").arg(&self.path).status().unwrap().success());
    }
}

/// Waits until a log says something.
async fn logged(scene: &Scene, log: &str, words: &str) {
    until(words, async || scene.read(log).contains(words).then_some(())).await;
}

/// A command whose standard error is read as it comes.
struct Watched {
    child: tokio::process::Child,
    errors: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
    said: String,
}

impl Watched {
    fn start(mut command: tokio::process::Command) -> Watched {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap()).lines();
        Watched { child, errors, said: String::new() }
    }

    /// Reads until a line contains the words.
    async fn says(&mut self, words: &str) {
        while !self.said.contains(words) {
            let line = guarded(words, self.errors.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("it never said {words:?}: {}", self.said));
            self.said.push_str(&line);
            self.said.push('\n');
        }
    }

    async fn end(mut self) -> Ran {
        while let Some(line) = guarded("its end", self.errors.next_line()).await.unwrap() {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        let output = guarded("its end", self.child.wait_with_output()).await.unwrap();
        Ran {
            status: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: self.said,
        }
    }
}

#[test]
fn an_exchange_with_a_full_disk_says_so_and_goes_on_when_there_is_space() {
    in_a_mount_namespace(
        "an_exchange_with_a_full_disk_says_so_and_goes_on_when_there_is_space",
        async {
            let scene = Scene::new();
            let disk = SmallDisk::mount(scene.path("exchange"));
            let mut stage = Stage::on(scene, Pace::PATIENT).await;
            stage.add_machine("ant", 300_000, 1).await;
            full_exchange(&mut stage, &disk).await;
            disk.unmount();
        },
    );
}

async fn full_exchange(stage: &mut Stage, disk: &SmallDisk) {
    let files = disk.files();
    disk.fill();
    let raw = stage.raw(&stage.token);
    let refused = raw.post("/v1/blobs", vec![7; 100_000]).await;
    assert_refusal(
        &refused,
        507,
        "storage_full",
        &["disk of the exchange is full", "free some space"],
    );
    let works = [Work::new("noop", &[])];
    let job = serde_json::to_string(&stage.job(1, &works, 1)).unwrap();
    let operator = stage.raw(stage.scene.read("exchange/operator.token").trim());
    // The free part of the log may take a few commands; then it is full.
    let deposit = |number: u128| {
        serde_json::json!({
            "account": stage.account, "amount_nanocredits": 1, "transfer": TransferId(number),
        })
    };
    let mut accepted = 0;
    let refused = loop {
        match stage
            .operator
            .deposit(&serde_json::from_value(deposit(accepted + 1_000)).unwrap())
            .await
        {
            Ok(_) => accepted += 1,
            Err(_) => {
                break operator.post("/v1/deposits", deposit(accepted + 1_000).to_string()).await;
            }
        }
        assert!(accepted < 10_000, "the disk is never full");
    };
    assert_refusal(&refused, 507, "storage_full", &["disk of the exchange is full"]);
    let refused = raw.post("/v1/join-codes", "").await;
    assert_refusal(&refused, 507, "storage_full", &["disk of the exchange is full"]);
    // What it holds already names the module as missing, not the disk.
    let refused = raw.post("/v1/jobs", job).await;
    assert_refusal(&refused, 422, "missing_blob", &["task 0"]);
    // Reading goes on, and knows only what was answered.
    let wallet = stage.buyer.wallet().await.unwrap();
    assert_eq!(wallet.available_nanocredits, crate::stage::FUNDS + accepted as i64);
    stage.audit().await;
    assert_eq!(disk.files(), files, "no partial file");

    // A buyer is told, and served as soon as there is space.
    let noop = guest("noop");
    let mut run = Watched::start(stage.buy(&["run", noop.to_str().unwrap()]));
    run.says("disk of the exchange is full").await;
    disk.free();
    let ran = run.end().await;
    assert_eq!(ran.status, 0, "{ran:#?}");
    ran.assert_says(&["asking again", "the exchange answers again", "done in"]);

    // Full in the middle of a job: nothing is lost, and nothing is paid twice.
    let spin = Work { fuel_max: 4_000_000_000, ..Work::new("spin", &[]) };
    let here = spin.exec(&stage.scene).await;
    let works = [spin];
    let job = stage.job(2, &works, 1);
    submit(&stage.buyer, &works, &job).await;
    let mut watch = Watch::new(&stage.buyer, job.job);
    watch.until("a paid checkpoint", |view| view.paid_nanocredits > 0).await;
    disk.fill();
    logged(&stage.scene, "ant.log", "disk of the exchange is full").await;
    disk.free();
    let done = watch.end().await;
    assert_eq!((done.state, done.tasks[0].usage), (JobState::Done, here.usage), "{done:#?}");
    assert_eq!(done.tasks[0].attempts.len(), 1, "{done:#?}");
    stage.audit().await;
    let files = disk.files();
    assert!(!files.iter().any(|name| name.contains("tmp/")), "{files:?}");
    // What was stored is what a restart finds.
    let audit = stage.audit().await;
    stage.stop_exchange().await;
    stage.restart_exchange().await;
    let again = stage.audit().await;
    assert!(again.journal_sequence >= audit.journal_sequence);
    assert_eq!(stage.buyer.job(job.job).await.unwrap().paid_nanocredits, done.paid_nanocredits);
}

#[test]
fn an_exchange_does_not_begin_on_a_full_disk() {
    in_a_mount_namespace("an_exchange_does_not_begin_on_a_full_disk", async {
        let scene = Scene::new();
        let disk = SmallDisk::mount(scene.path("exchange"));
        disk.fill();
        let data = scene.arg("exchange");
        let serve = ["exchange", "--data", &data, "--listen", "127.0.0.1:0"];
        let ran = scene.run(&serve, b"").await;
        ran.assert_refused(FAILED, &["exchange", "full"]);
        disk.free();
        let mut exchange = Process::start(scene.jusha(&serve), &scene.path("exchange.log"));
        let line = exchange.line().await;
        assert!(line.starts_with("listening on "), "{line}: {}", scene.read("exchange.log"));
        exchange.terminate();
        assert!(exchange.exit().await.success());
        disk.unmount();
    });
}

#[test]
fn a_machine_with_a_full_disk_says_so_and_is_paid_when_there_is_space() {
    in_a_mount_namespace(
        "a_machine_with_a_full_disk_says_so_and_is_paid_when_there_is_space",
        async {
            let mut stage = Stage::new(Pace::PATIENT).await;
            let disk = SmallDisk::mount(stage.scene.path("ant"));
            full_machine(&mut stage, &disk).await;
            disk.unmount();
        },
    );
}

async fn full_machine(stage: &mut Stage, disk: &SmallDisk) {
    // Full from the beginning: it doesn't enrol, and the code stays good.
    disk.fill();
    let owner = stage.operator.open_account("owner").await.unwrap();
    let owner = client::Client::new(&stage.url, &owner.token).unwrap();
    let join = owner.join_code().await.unwrap().join;
    let data = stage.scene.arg("ant");
    let before = stage.everything().await;
    let ran = stage.scene.run(&["provide", &join, "--data", &data], b"").await;
    let hint = "hint: check the directory's permissions and that the disk isn't full";
    ran.assert_refused(FAILED, &["can't write", &data, "No space left on device", hint]);
    assert_eq!(stage.everything().await, before);
    disk.free();
    stage.add_machine("ant", 300_000, 1).await;

    // Full when work comes: caches are done without; the receipt waits for space, since it is
    // on disk before it is signed.
    disk.fill();
    let before = disk.files();
    let spin = Work { fuel_max: 700_000_000, ..Work::new("spin", &[]) };
    let here = spin.exec(&stage.scene).await;
    assert_eq!(here.ran.status, LIMIT);
    let works = [spin];
    let job = stage.job(1, &works, 1);
    submit(&stage.buyer, &works, &job).await;
    logged(&stage.scene, "ant.log", "No space left on device").await;
    logged(&stage.scene, "ant.log", "trying again").await;
    assert_eq!(disk.files(), before, "no partial file");
    let view = stage.buyer.job(job.job).await.unwrap();
    assert_eq!((view.state, view.paid_nanocredits), (JobState::Running, 0), "{view:#?}");
    disk.free();
    let done = Watch::new(&stage.buyer, job.job).end().await;
    stage.assert_settled(&done, &[&here]).await;
    assert_eq!(done.tasks[0].attempts.len(), 1, "{done:#?}");
}

#[test]
fn a_full_disk_under_results_is_said_and_leaves_no_half_of_one() {
    in_a_mount_namespace(
        "a_full_disk_under_results_is_said_and_leaves_no_half_of_one",
        full_results(),
    );
}

async fn full_results() {
    let scene = Scene::new();
    let disk = SmallDisk::mount(scene.path("small"));
    scene.write("small/old", "what was there before");
    disk.fill();
    let before = disk.files();
    let (spin, hog) = (guest("spin"), guest("hog"));
    let (spin, hog) = (spin.to_str().unwrap(), hog.to_str().unwrap());
    let (file, old) = (scene.arg("small/file"), scene.arg("small/old"));
    let out = scene.arg("small/out");
    let hint = "hint: the disk is full: free some space";
    let stop = ["--stop-at-fuel", "100000000", "--checkpoint"];
    let limit = ["--fuel-max", "0.1"];
    let cases: [&[&str]; 5] = [
        &[&["exec", spin][..], &stop, &[&file]].concat(),
        &[&["exec", spin][..], &stop, &[&old]].concat(),
        &[&["exec", spin][..], &limit, &["--usage", &file]].concat(),
        &[&["exec", spin][..], &limit, &["--usage", &old]].concat(),
        &[&["exec", spin][..], &limit, &["--chain", &file]].concat(),
    ];
    for args in cases {
        let ran = scene.run(args, b"").await;
        let path = if args.contains(&old.as_str()) { &old } else { &file };
        assert_eq!(ran.status, FAILED, "{ran:#?}");
        ran.assert_says(&["error: can't write", path, "No space left on device", hint]);
        assert_eq!(disk.files(), before);
        assert_eq!(scene.read("small/old"), "what was there before");
    }
    // Results larger than the disk: with some space there would be room for half of one.
    disk.free();
    let ran = scene.run(&["exec", hog, "--out", &out, "--", "file"], b"").await;
    assert_eq!(ran.status, FAILED, "{ran:#?}");
    ran.assert_says(&["error: can't write", &out, "No space left on device", hint]);
    assert_eq!(disk.files(), before);
    // A cache that can't be written costs time only, and standard output that can't be, the run.
    let disk_is_cache = |mut command: tokio::process::Command| {
        command.env("XDG_CACHE_HOME", &disk.path);
        command
    };
    disk.fill();
    let exec =
        disk_is_cache(scene.jusha(&["exec", guest("mersenne").to_str().unwrap(), "--", "127"]));
    let ran = scene.finish(exec, b"").await;
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "127 prime\n"), "{ran:#?}");
    assert_eq!(disk.files(), before);
    let mut exec = scene.jusha(&["exec", guest("mersenne").to_str().unwrap(), "--", "127"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let exec = exec.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = guarded("its end", exec.wait_with_output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(FAILED), "{said}");
    assert!(said.contains("can't write to standard output"), "{said}");
    disk.unmount();
}
