//! What work costs, where nothing crashes: exactly what `jusha exec`'s usage comes to, whatever
//! the program does, and however the job's money and orders take their turns.

mod stage;
mod trading;

use std::collections::BTreeMap;

use base::{TransferId, Usage};
use stage::{BUDGET, Executed, FUNDS, MAX_PRICE, Pace, Stage, Watch, Work, guest, payment, submit};
use wire::{Invoice, JobState, LedgerAudit, TaskState, TopUp};

/// `(module (import "env" "f" (func)) (func (export "_start")))`
const IMPORTING: &[u8] =
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x09\x01\x03env\x01f\0\0\x03\x02\x01\0\
                           \x07\x0a\x01\x06_start\0\x01\x0a\x04\x01\x02\0\x0b";

/// Programs that end in every way, with and without input.
fn programs() -> Vec<Work> {
    let mut files = Work::new("files", &[]);
    files.stdin = b"one two\nthree\n".to_vec();
    files.inputs = BTreeMap::from([
        ("a/b.txt".to_owned(), "sand\n".repeat(50_000).into_bytes()),
        ("c.txt".to_owned(), b"no newline at the end".to_vec()),
    ]);
    let mut limited = Work::new("spin", &[]);
    limited.fuel_max = 3_000_000_000;
    Work::job([
        Work::mersenne(4423),
        Work::new("mersenne", &["9689", "4421"]),
        Work::new("deep", &[]),
        Work::new("pointers", &["20000"]),
        files,
        Work::new("clock", &["3"]),
        Work::new("noop", &[]),
        Work::new("exit", &["7", "bye"]),
        Work::new("trap", &["divide"]),
        Work::new("trap", &["stack"]),
        Work::new("hog", &["20"]),
        limited,
    ])
}

#[tokio::test]
async fn every_kind_of_task_costs_what_exec_uses() {
    let stage = Stage::with_machines(Pace::PATIENT).await;
    let works = programs();
    let mut executed = Vec::new();
    for work in &works {
        executed.push(work.exec(&stage.scene).await);
    }
    let job = stage.job(1, &works, 3);
    submit(&stage.buyer, &works, &job).await;
    let view = Watch::new(&stage.buyer, job.job).end().await;
    stage.assert_settled(&view, &executed.iter().collect::<Vec<_>>()).await;
    let machines: Vec<_> = view.tasks.iter().map(|task| task.attempts[0].machine).collect();
    assert!(stage.machines.iter().all(|m| machines.contains(&m.id)), "{machines:?}");
    assert!(view.tasks.iter().all(|task| task.attempts.len() == 1), "{view:#?}");
    // The same again, on the same machines: the same usage, paid again.
    let again = stage.job(2, &works, 1);
    submit(&stage.buyer, &works, &again).await;
    let view = Watch::new(&stage.buyer, again.job).end().await;
    stage.assert_settled(&view, &executed.iter().collect::<Vec<_>>()).await;
    let invoice = stage.buyer.invoice(again.job).await.unwrap();
    assert_eq!(invoice.lines.len(), 1, "one slot, one lease, one floor: {invoice:#?}");
    assert_eq!(invoice.lines[0].machine, stage.machines[0].id, "the cheapest");
}

/// Neither a base nor its module is a task's traffic, and its start-up nobody's fuel.
#[tokio::test]
async fn a_job_that_begins_in_a_base_costs_the_rest() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 123_456_700, 1).await;
    let work = Work { stdin: b"2 3 4 5 999983\n".to_vec(), ..Work::new("based", &[]) };
    let base = stage.scene.arg("base");
    let blank = Work { stdin: Vec::new(), ..work.clone() };
    blank.exec_with(&stage.scene, &["--snapshot", &base]).await;
    let (whole, rest) =
        (work.exec(&stage.scene).await, work.exec_with(&stage.scene, &["--from", &base]).await);
    let program = guest("based").to_str().unwrap().to_owned();
    let price = ["--max-price", "123456700n", "--segment-gfuel", "2.147483648"];
    let args = [&["run", "--from", &base][..], &price, &[&program]].concat();
    let ran = stage.scene.finish(stage.buy(&args), &work.stdin).await;
    assert_eq!((ran.status, &ran.stdout), (0, &whole.ran.stdout), "{ran:?}");
    let jobs = stage.buyer.jobs().await.unwrap();
    let view = stage.buyer.job(jobs[0].job).await.unwrap();
    stage.assert_settled(&view, &[&rest]).await;
    assert!(rest.usage.fuel < whole.usage.fuel, "{rest:?}");

    // One that is none is refused by name, not run without.
    let other = stage.scene.write("other", b"JUSHACKP");
    let args = [&["run", "--from", other.to_str().unwrap()][..], &price, &[&program]].concat();
    let refused = stage.scene.finish(stage.buy(&args), b"").await;
    assert_eq!(refused.status, 124, "{refused:?}");
    let args = [&["run", "--from", &base][..], &price, &[&program, "--", "more"]].concat();
    let refused = stage.scene.finish(stage.buy(&args), b"").await;
    assert_eq!(refused.status, 124, "{refused:?}");
    assert!(refused.stderr.contains("another list of arguments"), "{refused:?}");
}

#[tokio::test]
async fn the_resting_order_sets_the_price() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    let works = [Work::mersenne(4423)];
    let executed = works[0].exec(&stage.scene).await;
    // Nobody sells: the bid rests, and is filled at its own price.
    let job = stage.job(1, &works, 1);
    let view = submit(&stage.buyer, &works, &job).await;
    assert_eq!(view.state, JobState::Waiting);
    assert!(view.waiting_reason.is_some(), "{view:#?}");
    stage.add_machine("ant", 123_456_700, 1).await;
    let view = Watch::new(&stage.buyer, job.job).end().await;
    stage.assert_settled(&view, &[&executed]).await;
    let invoice = stage.buyer.invoice(job.job).await.unwrap();
    let due = |price| payment(executed.usage, price, &invoice.tariff);
    assert_eq!(invoice.lines[0].price_nanocredits_per_tfuel, MAX_PRICE);
    assert_eq!(invoice.total_nanocredits, due(MAX_PRICE));
    // Now the ask rests.
    let job = stage.job(2, &works, 1);
    submit(&stage.buyer, &works, &job).await;
    let view = Watch::new(&stage.buyer, job.job).end().await;
    stage.assert_settled(&view, &[&executed]).await;
    assert_eq!(view.paid_nanocredits, due(123_456_700));
    // An ask above the limit is left alone.
    let low =
        wire::NewJob { max_price_nanocredits_per_tfuel: 123_456_600, ..stage.job(3, &works, 1) };
    let view = submit(&stage.buyer, &works, &low).await;
    assert_eq!((view.state, view.paid_nanocredits), (JobState::Waiting, 0));
    let view = stage.buyer.cancel_job(low.job).await.unwrap();
    assert_eq!(view.state, JobState::Cancelled);
    stage.assert_paid(&view).await;
}

#[tokio::test]
async fn a_job_that_runs_out_goes_on_after_a_top_up() {
    let mut stage = Stage::new(Pace::PATIENT).await;
    stage.add_machine("ant", 123_456_700, 1).await;
    let works = [Work::mersenne(44497)];
    let executed = works[0].exec(&stage.scene).await;
    let mut job = stage.job(1, &works, 1);
    // What the exchange names as the least, and some Gfuel more.
    job.budget_nanocredits = 1;
    job.max_price_nanocredits_per_tfuel = 123_456_700;
    stage
        .buyer
        .store(&works[0].blobs().1.iter().map(Vec::as_slice).collect::<Vec<_>>())
        .await
        .unwrap();
    let refused = stage.buyer.submit(&job).await.unwrap_err();
    assert_eq!(refused.code(), Some("budget_too_small"), "{refused}");
    job.budget_nanocredits = least(&refused.to_string()) + 1_000_000;
    stage.buyer.submit(&job).await.unwrap();
    let mut watch = Watch::new(&stage.buyer, job.job);
    let mut top_ups = 0;
    let view = loop {
        let view = watch.end().await;
        if view.state == JobState::Done {
            break view;
        }
        assert_eq!(view.state, JobState::Exhausted, "{view:#?}");
        assert!(view.tasks[0].usage.fuel < executed.usage.fuel);
        assert_eq!(view.tasks[0].attempts.last().unwrap().end.as_deref(), Some("allowance_spent"));
        top_ups += 1;
        let transfer = TransferId(100 + top_ups);
        let top_up = TopUp { amount_nanocredits: 1_500_000, transfer };
        let topped = stage.buyer.top_up(job.job, &top_up).await.unwrap();
        let twice = stage.buyer.top_up(job.job, &top_up).await.unwrap();
        assert_eq!(twice.budget_nanocredits, topped.budget_nanocredits, "asked twice, done once");
        watch.note(&twice);
    };
    assert!(top_ups > 0, "the budget was enough: {view:#?}");
    stage.assert_settled(&view, &[&executed]).await;
}

/// The figure in the refusal of a budget: the last number of nanocredits that it names.
fn least(message: &str) -> i64 {
    let numbers = message.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    numbers.max().unwrap_or_else(|| panic!("no figure in {message:?}"))
}

#[tokio::test]
async fn a_cancelled_job_pays_for_what_was_accepted() {
    let mut stage = Stage::with_machines(Pace::PATIENT).await;
    let works = Work::job([Work::mersenne(44497), Work::mersenne(9689), Work::mersenne(86243)]);
    let job = stage.job(1, &works, 2);
    submit(&stage.buyer, &works, &job).await;
    let mut watch = Watch::new(&stage.buyer, job.job);
    watch.until("accepted work", |view| view.tasks[0].usage.fuel > 0).await;
    let cancelled = stage.buyer.cancel_job(job.job).await.unwrap();
    watch.note(&cancelled);
    assert_eq!(cancelled.state, JobState::Cancelled);
    stage.assert_paid(&cancelled).await;
    assert!(cancelled.paid_nanocredits > 0);
    assert!(cancelled.tasks.iter().any(|task| task.state == TaskState::Cancelled));
    // Slots are free at once, and what comes late changes nothing.
    stage.all_offered().await;
    let later = stage.buyer.job(job.job).await.unwrap();
    assert_eq!(
        (later.paid_nanocredits, &later.tasks),
        (cancelled.paid_nanocredits, &cancelled.tasks)
    );
}

#[tokio::test]
async fn what_can_not_be_run_costs_nothing() {
    let stage = Stage::with_machines(Pace::PATIENT).await;
    let price = format!("{MAX_PRICE}n");
    // The one never becomes a job, the other gets as far as a machine.
    for (name, module, jobs) in [("text", &b"not a module"[..], 0), ("import", IMPORTING, 1)] {
        let module = stage.scene.write(&format!("{name}.wasm"), module);
        let run = stage.buy(&["run", "--max-price", &price, module.to_str().unwrap()]);
        let ran = stage.scene.finish(run, b"").await;
        assert_eq!((ran.status, ran.stdout.as_str()), (124, ""), "{ran:?}");
        let submitted = stage.buyer.jobs().await.unwrap();
        assert_eq!(submitted.len(), jobs, "{name}: {submitted:#?}");
        for view in &submitted {
            assert_eq!(view.tasks[0].state, TaskState::Refused, "{view:#?}");
            assert_eq!(view.tasks[0].usage, Usage::ZERO, "{view:#?}");
            stage.assert_paid(view).await;
        }
    }
    assert_eq!(stage.buyer.wallet().await.unwrap().available_nanocredits, FUNDS);
}

#[tokio::test]
async fn commands_show_what_was_paid_and_the_journal_gives_it_again() {
    let mut stage = Stage::with_machines(Pace::PATIENT).await;
    let work = Work::new("exit", &["7", "bye"]);
    let executed: Executed = work.exec(&stage.scene).await;
    let (module, price) = (guest("exit"), format!("{MAX_PRICE}n"));
    let args = ["run", "--max-price", &price, "--budget", "10", "--segment-gfuel", "2.147483648"];
    let mut run = stage.buy(&args);
    run.args([module.to_str().unwrap(), "--", "7", "bye"]);
    let ran = stage.scene.finish(run, b"").await;
    assert_eq!((ran.status, &ran.stdout), (7, &executed.ran.stdout), "{ran:?}");
    assert!(ran.stderr.contains("\nbye\n"), "{ran:?}");
    let view = stage.buyer.jobs().await.unwrap().remove(0);
    assert_eq!(view.budget_nanocredits, BUDGET);
    stage.assert_settled(&view, &[&executed]).await;
    let credits = format!("{:.9}", view.paid_nanocredits as f64 / 1e9);
    let last = ran.stderr.lines().next_back().unwrap();
    assert!(last.ends_with(&format!("{} credits", credits.trim_end_matches('0'))), "{ran:?}");

    let id = view.job.to_string();
    let invoice = stage.scene.finish(stage.buy(&["jobs", "invoice", &id, "--json"]), b"").await;
    let shown: Invoice = serde_json::from_str(&invoice.stdout).unwrap();
    assert_eq!(shown, stage.buyer.invoice(view.job).await.unwrap());

    let before = stage.operator.exchange().await.unwrap();
    stage.stop_exchange().await;
    stage.restart_exchange().await;
    let after = stage.operator.exchange().await.unwrap();
    assert!(after.journal_sequence >= before.journal_sequence);
    if after.journal_sequence == before.journal_sequence {
        assert_eq!(after.state_digest, before.state_digest);
    }
    let data = stage.scene.arg("exchange");
    let audit = stage.scene.run(&["exchange", "audit", "--data", &data, "--json"], b"").await;
    assert_eq!(audit.status, 0, "{audit:?}");
    let audit: LedgerAudit = serde_json::from_str(&audit.stdout).unwrap();
    assert_eq!((audit.sum_nanocredits, audit.state_digest), (0, audit.replayed_digest));
    stage.assert_settled(&stage.buyer.job(view.job).await.unwrap(), &[&executed]).await;
}
