//! Files of a program that are named to do harm.

use std::collections::BTreeSet;
use std::path::Path;

use crate::stage::{Pace, Stage, guest};

/// Names that a program can give its files. (`..` and absolute ones it can't: its own file system
/// resolves them.)
const NAMES: [&str; 12] = [
    "plain",
    "a b",
    "new\nline",
    "return\r\x08\x08\x08",
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "\u{7f}\u{9b}31m",
    "-rf",
    "...",
    ".. ",
    "back\\slash\\..\\..",
    "$(touch harm);`touch harm`|'\"",
    "right\u{202e}txt.exe",
];

/// Everything below a directory.
fn below(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            found.insert(path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned());
            if path.is_dir() {
                pending.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_leads_out_of_the_directory_for_results() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 300_000, 1).await;
    let mut expected = BTreeSet::from(["index.txt".to_owned(), "log.txt".to_owned()]);
    for name in NAMES {
        stage.scene.write(&format!("in/{name}"), name);
        stage.scene.write(&format!("in/below/{name}/x"), name);
        expected.insert(format!("{name}.count"));
        expected.insert(format!("below/{name}"));
        expected.insert(format!("below/{name}/x.count"));
    }
    expected.insert("below".to_owned());
    // The longest there are: with `.count` it is too long, as the program itself finds.
    stage.scene.write(&format!("in/{}", "n".repeat(255)), "long");
    let files = guest("files");
    let (files, dir) = (files.to_str().unwrap(), stage.scene.arg("in"));
    for command in ["exec", "run"] {
        // An exchange takes no such name for an input: elsewhere it would be a path.
        if command == "run" {
            std::fs::remove_file(stage.scene.path(&format!("in/{}", NAMES[9]))).unwrap();
            std::fs::remove_dir_all(stage.scene.path(&format!("in/below/{}", NAMES[9]))).unwrap();
            expected.retain(|name| !name.contains('\\'));
        }
        let (around, out) = (format!("around-{command}"), format!("around-{command}/out"));
        stage.scene.write(&format!("{around}/beside"), "stays");
        let out = stage.scene.arg(&out);
        let ran = stage.buy(&[command, files, "--dir", &dir, "--out", &out]);
        let ran = stage.scene.finish(ran, b"").await;
        assert_eq!(ran.status, 1, "{ran:#?}");
        ran.assert_says(&["files: can't create `/out/nnn"]);
        assert_eq!(below(Path::new(&out)), expected);
        let around = below(&stage.scene.path(&around));
        let beside: Vec<&String> = around.iter().filter(|n| !n.starts_with("out")).collect();
        assert_eq!(beside, ["beside"]);
    }
    // Inputs that a program asks for by such names stay inside, too.
    let args = ["exec", files, "--dir", &dir, "--", "../../etc/passwd", "/etc/passwd", "/in/../.."];
    let ran = stage.scene.run(&args, b"").await;
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(!ran.stdout.contains("root"), "{ran:#?}");
    ran.assert_says(&["files: can't look at `../../etc/passwd`", "`/etc/passwd`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_have_no_place_are_said() {
    let stage = Stage::new(Pace::PATIENT).await;
    let files = guest("files");
    let files = files.to_str().unwrap();
    stage.scene.write("in/plain", "x");
    let dir = stage.scene.arg("in");
    // The directory for results is a file; one of its files is a directory.
    let file = stage.scene.write("a-file", "stays");
    let file = file.to_str().unwrap();
    let ran = stage.scene.run(&["exec", files, "--dir", &dir, "--out", file], b"").await;
    assert_eq!(ran.status, super::FAILED, "{ran:#?}");
    ran.assert_says(&["error: can't make", file]);
    assert_eq!(stage.scene.read("a-file"), "stays");
    stage.scene.write("taken/plain.count/x", "stays");
    let out = stage.scene.arg("taken");
    let ran = stage.scene.run(&["exec", files, "--dir", &dir, "--out", &out], b"").await;
    assert_eq!(ran.status, super::FAILED, "{ran:#?}");
    ran.assert_says(&["error: can't write", "taken/plain.count"]);
    assert_eq!(stage.scene.read("taken/plain.count/x"), "stays");
}
