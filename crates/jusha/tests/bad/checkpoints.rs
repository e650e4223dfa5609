//! Checkpoints and chains that were cut short, changed, or are of something else.

use base::Digest;
use runtime::save::CheckpointFile;

use super::{LIMIT, REFUSED};
use crate::stage::{Ran, Random, Scene, guest};

/// Where the run was stopped, between the first and the second record of its chain.
const STOP: &str = "70000000";
/// The task: it ends at a fuel limit, which is no part of it.
const TASK: [&str; 4] = ["--segment-gfuel", "0.05", "--fuel-max", "0.12"];

/// A run that was stopped, and the chain of the whole.
struct Stopped {
    scene: Scene,
    program: String,
    bytes: Vec<u8>,
}

impl Stopped {
    async fn new() -> Stopped {
        let scene = Scene::new();
        let program = guest("spin").to_str().unwrap().to_owned();
        let (good, chain) = (scene.arg("good"), scene.arg("chain"));
        let stop = ["--stop-at-fuel", STOP, "--checkpoint", &good];
        let ran = scene.run(&[&["exec", &program][..], &TASK, &stop].concat(), b"").await;
        assert_eq!(ran.status, 0, "{ran:#?}");
        let whole = [&["exec", &program][..], &TASK, &["--chain", &chain]].concat();
        assert_eq!(scene.run(&whole, b"").await.status, LIMIT);
        let bytes = std::fs::read(&good).unwrap();
        let stopped = Stopped { scene, program, bytes };
        assert_eq!(stopped.resume("good").await.status, LIMIT);
        assert_eq!(stopped.verify("good", "chain").await.status, 0);
        stopped
    }

    async fn resume(&self, name: &str) -> Ran {
        self.resume_as(name, &TASK, &[]).await
    }

    async fn resume_as(&self, name: &str, options: &[&str], args: &[&str]) -> Ran {
        let (file, usage) = (self.scene.arg(name), self.scene.arg("usage"));
        let exec = ["exec", &self.program, "--resume", &file, "--usage", &usage];
        self.scene.run(&[&exec[..], options, &["--"], args].concat(), b"").await
    }

    async fn verify(&self, name: &str, chain: &str) -> Ran {
        let (file, chain) = (self.scene.arg(name), self.scene.arg(chain));
        self.scene.run(&["verify", &file, "--chain", &chain], b"").await
    }

    /// Neither goes on from it nor takes it for anything.
    async fn assert_refused(&self, bytes: &[u8], words: &[&str]) {
        self.scene.write("bad", bytes);
        let usage = self.scene.write("usage", "stays");
        let words = [words, &["bad: "]].concat();
        self.resume("bad").await.assert_refused(REFUSED, &words);
        self.verify("bad", "chain").await.assert_refused(REFUSED, &words);
        assert_eq!(std::fs::read(usage).unwrap(), b"stays");
        assert_eq!(std::fs::read(self.scene.path("bad")).unwrap(), bytes, "it was left alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_or_altered_checkpoint_is_refused() {
    let stopped = Stopped::new().await;
    let good = &stopped.bytes;
    let advice = "take an earlier one, or start from the beginning";
    for length in [0, 1, 7, 8, 11, 12, 43, 44, 100, good.len() / 2, good.len() - 1] {
        stopped.assert_refused(&good[..length], &["the checkpoint is damaged", advice]).await;
    }
    stopped.assert_refused(&[good.as_slice(), b"\n"].concat(), &["damaged", advice]).await;
    let mut random = Random::new(1);
    let mut places: Vec<usize> = (0..12).collect();
    places.extend((0..24).map(|_| random.of(12..good.len() as u64) as usize));
    for place in places {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << random.of(0..8);
        stopped.assert_refused(&bytes, &["the checkpoint is damaged", advice]).await;
    }
    // Other files, given by mistake.
    for name in ["chain", "good-is-a-directory"] {
        let ran = match name {
            "chain" => stopped.resume("chain").await,
            _ => {
                stopped.scene.write("good-is-a-directory/x", "");
                stopped.resume(name).await
            }
        };
        ran.assert_refused(REFUSED, &[name]);
    }
    let ran = stopped.resume("gone").await;
    let hint = "hint: give a file that `jusha exec --stop-at-fuel F --checkpoint FILE` wrote";
    ran.assert_refused(REFUSED, &["can't read", "gone", "No such file", hint]);
    stopped.verify("gone", "chain").await.assert_refused(REFUSED, &["can't read", "gone", hint]);
}

/// Whoever alters a file can also mend its digest.
fn mended(mut body: Vec<u8>) -> Vec<u8> {
    let digest = Digest::of(&body);
    body.extend(digest.0);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_checkpoint_is_found_out_or_harmless() {
    let stopped = Stopped::new().await;
    let body = &stopped.bytes[..stopped.bytes.len() - 32];
    assert_eq!(mended(body.to_vec()), stopped.bytes);
    let mut newer = body.to_vec();
    newer[8] = 2;
    let said = ["has format 2", "reads format 1", "use the version of jusha that wrote it"];
    stopped.assert_refused(&mended(newer), &said).await;
    stopped.assert_refused(&mended(body[..60].to_vec()), &["damaged"]).await;

    // The state of one task under the name of another.
    let mut other = CheckpointFile::from_bytes(&stopped.bytes).unwrap();
    other.task.args.push("5".to_owned());
    stopped.scene.write("other", other.to_bytes());
    let said = ["the checkpoint is of another task", "give the same program"];
    stopped.resume_as("other", &TASK, &["5"]).await.assert_refused(REFUSED, &said);
    stopped.verify("other", "chain").await.assert_refused(REFUSED, &said);

    // Any byte of what is packed: a leaf no longer has its digest, a list its length, and what
    // nothing vouches for (usage, globals) shows in the chain.
    let plain = zstd::decode_all(&body[12..]).unwrap();
    let mut random = Random::new(2);
    for _ in 0..30 {
        let mut altered = plain.clone();
        // The state follows the program, which takes the first half and more.
        let place = random.of(plain.len() as u64 / 4..plain.len() as u64) as usize;
        altered[place] ^= 1 << random.of(0..8);
        let packed = zstd::encode_all(altered.as_slice(), 1).unwrap();
        let bytes = mended([&body[..12], &packed].concat());
        stopped.scene.write("forged", bytes);
        let ran = stopped.resume("forged").await;
        assert!([LIMIT, REFUSED, 121].contains(&ran.status), "byte {place}: {ran:#?}");
        let verified = stopped.verify("forged", "chain").await;
        if ran.status != REFUSED {
            assert_eq!(verified.status, 1, "byte {place}: {ran:#?} {verified:#?}");
            assert!(verified.stdout.starts_with("DIFFERS: "), "{verified:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_something_else_is_refused_by_what_differs() {
    let stopped = Stopped::new().await;
    let hint = "hint: give the same program, arguments, input and options";
    let more = |options: &[&'static str]| [&TASK[..], options].concat();
    for (options, args, differs) in [
        (more(&[]), &["5"][..], "the arguments differ"),
        (more(&["--env", "A=b"]), &[], "the environment variables (--env) differ"),
        (more(&["--memory-max", "64"]), &[], "the memory limits (--memory-max) differ"),
        (more(&["--seed", "x"]), &[], "the seeds (--seed, --task-index) differ"),
        (more(&["--task-index", "1"]), &[], "the seeds (--seed, --task-index) differ"),
        (vec!["--segment-gfuel", "0.06"], &[], "the segments (--segment-gfuel) differ"),
    ] {
        let ran = stopped.resume_as("good", &options, args).await;
        ran.assert_refused(REFUSED, &["good is a checkpoint of another task", differs, hint]);
    }
    let other = Stopped { program: guest("noop").to_str().unwrap().to_owned(), ..stopped };
    let ran = other.resume("good").await;
    ran.assert_refused(REFUSED, &["the program's bytes, the arguments differ", hint]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_can_not_be_used_is_refused_and_a_wrong_one_differs() {
    let stopped = Stopped::new().await;
    let scene = &stopped.scene;
    let chain = scene.read("chain");
    let hint = "hint: a chain file has lines such as";
    for text in ["nonsense", "{\"k\":1}", "[]", "{\"k\":1,\"fuel\":1.5,\"digest\":\"\"}"] {
        scene.write("odd", format!("{chain}{text}\n"));
        let line = format!("odd line {}", chain.lines().count() + 1);
        stopped.verify("good", "odd").await.assert_refused(REFUSED, &[&line, hint]);
    }
    let hint = "hint: give a file that `jusha exec --chain FILE` wrote";
    stopped.verify("good", "gone").await.assert_refused(REFUSED, &["can't read", "gone", hint]);
    let first = chain.lines().next().unwrap();
    scene.write("short", format!("{first}\n"));
    let hint = "hint: write the chain of the whole run";
    stopped.verify("good", "short").await.assert_refused(REFUSED, &["no record past", hint]);
    scene.write("empty", "");
    stopped.verify("good", "empty").await.assert_refused(REFUSED, &["no record past", hint]);
    // One digit of a digest, in the record before and in the record after.
    for index in 0..2 {
        let mut lines: Vec<String> = chain.lines().map(str::to_owned).collect();
        let digit = lines[index].len() - 3;
        let other = if lines[index].as_bytes()[digit] == b'0' { "1" } else { "0" };
        lines[index].replace_range(digit..=digit, other);
        scene.write("wrong", lines.join("\n"));
        let ran = stopped.verify("good", "wrong").await;
        assert_eq!(ran.status, 1, "{ran:#?}");
        assert!(ran.stdout.starts_with("DIFFERS: "), "{ran:#?}");
    }
}
