//! What would never end, and what would never have enough.

use base::Usage;

use super::LIMIT;
use crate::stage::{Pace, Scene, Stage, Watch, Work, guest, submit};

/// What `jusha exec --usage` wrote.
fn usage(scene: &Scene) -> Usage {
    serde_json::from_str(&scene.read("usage.json")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_ends_at_its_fuel_limit_and_is_paid_to_there() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 300_000_000, 1).await;
    let spin = Work { fuel_max: 2_500_000_000, ..Work::new("spin", &[]) };
    let here = spin.exec(&stage.scene).await;
    assert_eq!((here.ran.status, here.ran.stdout.as_str()), (LIMIT, ""));
    let said = ["stopped at its fuel limit", "exit status 122", "--fuel-max raises it"];
    here.ran.assert_says(&said);
    let past = here.usage.fuel - spin.fuel_max;
    assert!(past < 10_000, "{past} past the limit");

    // The same work on a machine: the same usage, paid to the unit, and a result like any other.
    let works = [spin];
    let job = stage.job(1, &works, 1);
    submit(&stage.buyer, &works, &job).await;
    let done = Watch::new(&stage.buyer, job.job).end().await;
    stage.assert_settled(&done, &[&here]).await;
    assert!(done.paid_nanocredits > 0);

    let spin = guest("spin");
    let run =
        stage.buy(&["run", spin.to_str().unwrap(), "--fuel-max", "0.5", "--max-price", "0.3"]);
    let ran = stage.scene.finish(run, b"").await;
    assert_eq!((ran.status, ran.stdout.as_str()), (LIMIT, ""), "{ran:#?}");
    ran.assert_says(&said);
    let view = &stage.buyer.jobs().await.unwrap()[0];
    assert!(view.tasks[0].usage.fuel - 500_000_000 < 10_000, "{view:#?}");
    stage.assert_paid(view).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_ends_where_the_budget_does() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 300_000_000, 1).await;
    let spin = guest("spin");
    let run =
        stage.buy(&["run", spin.to_str().unwrap(), "--max-price", "0.3", "--budget", "0.046"]);
    let ran = stage.scene.finish(run, b"").await;
    ran.assert_refused(LIMIT, &["the budget of job_", "is used up", "jusha jobs top-up job_"]);
    let view = &stage.buyer.jobs().await.unwrap()[0];
    assert_eq!(view.state, wire::JobState::Exhausted);
    assert!(view.paid_nanocredits <= view.budget_nanocredits, "{view:#?}");
    // Cancelled, what is left comes back.
    let cancel = stage.buy(&["jobs", "cancel", &view.job.to_string()]);
    let ran = stage.scene.finish(cancel, b"").await;
    assert_eq!(ran.status, 0, "{ran:#?}");
    let view = stage.buyer.job(view.job).await.unwrap();
    stage.assert_paid(&view).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_output_have_an_end() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 300_000_000, 1).await;
    let (hog, file) = (guest("hog"), stage.scene.arg("usage.json"));
    let hog = hog.to_str().unwrap();
    // malloc fails, and the program tells.
    let exec = ["exec", hog, "--memory-max", "32", "--usage", &file];
    let here = stage.scene.run(&exec, b"").await;
    assert_eq!(here.status, 0, "{here:#?}");
    assert!(here.stdout.starts_with("stopped after "), "{here:#?}");
    let used = usage(&stage.scene);
    assert!(used.memory_page_fuel <= used.fuel * 512, "{used:?}");
    let run = stage.buy(&["run", hog, "--memory-max", "32", "--max-price", "0.3"]);
    let ran = stage.scene.finish(run, b"").await;
    assert_eq!((ran.status, ran.stdout), (0, here.stdout));
    let view = &stage.buyer.jobs().await.unwrap()[0];
    assert_eq!(view.tasks[0].usage, used);
    stage.assert_paid(view).await;

    // One that doesn't look at what memory.grow says, and goes on for ever.
    let greedy = r#"(module (memory 1)
        (func (export "_start") (loop (drop (memory.grow (i32.const 16))) (br 0))))"#;
    let greedy = stage.scene.write("greedy.wasm", wat::parse_str(greedy).unwrap());
    let world = ["--memory-max", "64", "--fuel-max", "0.2"];
    let exec = [&["exec", greedy.to_str().unwrap(), "--usage", &file][..], &world].concat();
    let here = stage.scene.run(&exec, b"").await;
    assert_eq!(here.status, LIMIT, "{here:#?}");
    let used = usage(&stage.scene);
    assert!(used.memory_page_fuel <= used.fuel * 1024, "{used:?}");
    let run = [&["run", greedy.to_str().unwrap(), "--max-price", "0.3"][..], &world].concat();
    let ran = stage.scene.finish(stage.buy(&run), b"").await;
    assert_eq!(ran.status, LIMIT, "{ran:#?}");
    let view = &stage.buyer.jobs().await.unwrap()[0];
    assert_eq!(view.tasks[0].usage, used);
    stage.assert_paid(view).await;

    // All the output that a task may have, in one file: it is delivered, in one attempt.
    let out = stage.scene.arg("out");
    let run = stage.buy(&["run", hog, "--max-price", "0.3", "--out", &out, "--", "file"]);
    let ran = stage.scene.finish(run, b"").await;
    assert_eq!(ran.status, 0, "{ran:#?}");
    let bytes = std::fs::metadata(stage.scene.path("out/flood")).unwrap().len();
    assert!((67_000_000..=67_108_864).contains(&bytes), "{bytes}");
    let view = &stage.buyer.jobs().await.unwrap()[0];
    assert_eq!(view.tasks[0].attempts.len(), 1, "{view:#?}");
    stage.assert_paid(view).await;
}
