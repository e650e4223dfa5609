//! Inputs that are not there.

use base::Digest;
use wire::{InputFile, NewJob, TaskSpec};

use super::{REFUSED, assert_refusal, refusal};
use crate::stage::{Pace, Stage, Work, guest};

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_named_before_anything_is_sent() {
    let stage = Stage::new(Pace::PATIENT).await;
    let before = stage.everything().await;
    let (noop, out) = (guest("noop"), stage.scene.arg("out"));
    let noop = noop.to_str().unwrap();
    let gone = stage.scene.arg("gone");
    let program = ["can't read", &gone, "No such file", "hint: give the path of a .wasm file"];
    let dir = ["can't read", &gone, "No such file", "hint: --dir takes a directory"];
    let input = ["can't read input", &gone, "No such file", "hint: every INPUT is a file"];
    let cases: [(&[&str], &[&str]); 7] = [
        (&["exec", &gone], &program),
        (&["run", &gone], &program),
        (&["map", &gone, noop, "--out", &out], &program),
        (&["exec", noop, "--dir", &gone], &dir),
        (&["run", noop, "--dir", &gone], &dir),
        (&["map", noop, noop, "--dir", &gone, "--out", &out], &dir),
        (&["map", noop, &gone, "--out", &out], &input),
    ];
    for (args, words) in cases {
        let ran = stage.scene.finish(stage.buy(args), b"").await;
        ran.assert_refused(REFUSED, words);
    }
    // A directory is no file either.
    let scene = stage.scene.arg("");
    let ran = stage.scene.finish(stage.buy(&["run", &scene]), b"").await;
    ran.assert_refused(REFUSED, &["can't read", &scene, "directory"]);
    assert!(!stage.scene.path("out").exists(), "nothing was begun");
    assert_eq!(stage.everything().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_names_what_is_not_there_is_refused() {
    let stage = Stage::new(Pace::PATIENT).await;
    let lost = Digest::of(b"lost");
    let works = [Work::new("noop", &[])];
    let (good, blobs) = works[0].blobs();
    let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    stage.buyer.store(&blobs).await.unwrap();
    let job = stage.job(1, &works, 1);
    let before = stage.everything().await;
    let input = InputFile { name: "a/b".to_owned(), content: lost };
    for (what, spec) in [
        ("the module", TaskSpec { module: lost, ..good.clone() }),
        ("standard input", TaskSpec { stdin: Some(lost), ..good.clone() }),
        ("input `a/b`", TaskSpec { inputs: vec![input], ..good.clone() }),
    ] {
        let spec = serde_json::to_vec(&spec).unwrap();
        stage.buyer.store(&[&spec]).await.unwrap();
        let job = NewJob { tasks: vec![job.tasks[0], Digest::of(&spec)], ..job.clone() };
        let refused = refusal(stage.buyer.submit(&job).await);
        let words = ["task 1", what, &lost.to_string(), "upload it to /v1/blobs first"];
        assert_refusal(&refused, 422, "missing_blob", &words);
    }
    let no_spec = NewJob { tasks: vec![lost], ..job.clone() };
    let refused = refusal(stage.buyer.submit(&no_spec).await);
    assert_refusal(&refused, 422, "missing_blob", &["task 0: the spec", &lost.to_string()]);
    let no_tasks = NewJob { tasks: vec![], ..job.clone() };
    let refused = refusal(stage.buyer.submit(&no_tasks).await);
    assert_refusal(&refused, 422, "no_tasks", &["give at least one"]);
    let not_json = stage.scene.read("exchange/operator.token");
    stage.buyer.store(&[not_json.as_bytes()]).await.unwrap();
    let not_json = NewJob { tasks: vec![Digest::of(not_json.as_bytes())], ..job };
    let refused = refusal(stage.buyer.submit(&not_json).await);
    assert_refusal(&refused, 422, "invalid_task", &["is not a task spec"]);
    assert_eq!(stage.everything().await, before);
    // And what there is can't be had by asking for what isn't.
    let refused = refusal(stage.buyer.blob(lost).await);
    assert_refusal(&refused, 404, "not_found", &[&lost.to_string()]);
}
