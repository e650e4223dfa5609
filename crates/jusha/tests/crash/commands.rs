//! What a buyer's own commands make of it.

use std::collections::BTreeMap;

use base::JobId;

use super::{Known, LONG, ends};
use crate::stage::{MAX_PRICE, Pace, Process, Stage, Watch, Work, guest, until};

/// What [`Work::new`] has, as an option's value.
const SEGMENT_GFUEL: &str = "2.147483648";

/// The buyer's command in the background, and the job that it submits.
async fn buying(stage: &Stage, args: &[&str]) -> (Process, JobId) {
    let price = format!("{MAX_PRICE}n");
    let mut command = stage.buy(&args[..1]);
    command.args(["--max-price", &price, "--segment-gfuel", SEGMENT_GFUEL]).args(&args[1..]);
    let process = Process::start(command, &stage.scene.path("buyer.log"));
    let job = until("a job", async || stage.buyer.jobs().await.unwrap().first().map(|j| j.job));
    (process, job.await)
}

#[tokio::test]
async fn a_map_outlives_its_machine() {
    let mut stage = Stage::with_machines(Pace::QUICK).await;
    let exponents = [("long", LONG), ("short", 4421), ("shorter", 4409)];
    let works = Work::job(exponents.map(|(name, exponent)| {
        let work = Work::mersenne(exponent);
        Work { inputs: BTreeMap::from([(name.to_owned(), work.stdin.clone())]), ..work }
    }));
    let mut known = Known::default();
    known.learn(&stage, &works).await;

    let (module, out) = (guest("mersenne"), stage.scene.arg("out"));
    let mut args = vec!["map", "--out", &out, module.to_str().unwrap()];
    let inputs = exponents.map(|(name, exponent)| {
        let path = stage.scene.write(&format!("inputs/{name}"), format!("{exponent}\n"));
        path.to_str().unwrap().to_owned()
    });
    args.extend(inputs.iter().map(String::as_str));
    let (buyer, job) = buying(&stage, &args).await;
    let mut watch = Watch::new(&stage.buyer, job);
    let view = watch.until("accepted work", |view| view.tasks[0].usage.fuel > 0).await;
    stage.machine(view.tasks[0].attempts[0].machine).kill().await;
    let status = buyer.exit().await;
    let log = stage.scene.read("buyer.log");
    assert_eq!(status.code(), Some(0), "{log}");
    let last = log.lines().next_back().unwrap();
    assert!(last.starts_with("done in ") && last.contains(", moved once (machine "), "{log}");
    assert!(last.contains(" died at ") && last.contains(", nothing lost, "), "{log}");
    for ((name, _), work) in exponents.iter().zip(&works) {
        let stdout = stage.scene.read(&format!("out/{name}.out"));
        assert_eq!(stdout, known.0[work].ran.stdout, "{name}");
    }
    let job = watch.end().await;
    stage.assert_settled(&job, &known.of(&works)).await;
}

#[tokio::test]
async fn a_run_outlives_the_exchange() {
    let mut stage = Stage::with_machines(Pace::QUICK).await;
    let work = Work::new("mersenne", &["44497"]);
    let executed = work.exec(&stage.scene).await;
    let module = guest("mersenne");
    let args = ["run", module.to_str().unwrap(), "--", "44497"];
    let (mut buyer, job) = buying(&stage, &args).await;
    let mut watch = Watch::new(&stage.buyer, job);
    watch.until("accepted work", |view| view.tasks[0].usage.fuel > 0).await;
    stage.kill_exchange().await;
    stage.restart_exchange().await;
    watch.restarted();
    assert_eq!(buyer.line().await, "44497 prime");
    assert_eq!(buyer.exit().await.code(), Some(0), "{}", stage.scene.read("buyer.log"));
    let job = watch.end().await;
    assert_eq!(ends(&job), ["finished"]);
    stage.assert_settled(&job, &[&executed]).await;
}
