//! Two computers whose owners come and go at random under a running job: it trades places between
//! them, and comes to what it would have come to undisturbed, paid to the unit.
//!
//! `JUSHA_COMINGS=N` lets them come and go so often (ten minutes are some hundreds),
//! `JUSHA_SEED=N` repeats one run.

use provider::control::{Request, ask};
use provider::status::State;

use super::computer::Computer;
use crate::stage::{Pace, Random, Seeds, Stage, Watch, Work, submit, until};

const NAMES: [&str; 2] = ["ant", "bee"];
/// A second and a half of a quiet core.
const LONG: u32 = 44497;

/// Lets an agent see what its owner did, and waits until it does what follows.
async fn follow(stage: &Stage, machine: usize, state: State) {
    let data = stage.scene.path(NAMES[machine]);
    until("what an owner's coming or going brings about", async || {
        let status = ask(&data, Request::Look).await.unwrap();
        let settled = state == State::Working || status.tasks.is_empty();
        (status.state == state && settled).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_trade_places_under_a_running_job() {
    let comings = std::env::var("JUSHA_COMINGS").ok().and_then(|text| text.parse().ok());
    let comings: u64 = comings.unwrap_or(6);
    let seeds = Seeds::new("two_agents_trade_places_under_a_running_job", "JUSHA_TRADES", 1);
    for (seed, _rerun) in seeds.each() {
        let mut random = Random::new(seed);
        let mut stage = Stage::new(Pace::QUICK).await;
        let mut computers = Vec::new();
        for (name, price) in NAMES.into_iter().zip([123_456_700, 234_567_800]) {
            let computer = Computer::new(&stage.scene, name);
            let owner = stage.operator.open_account(&format!("owner of {name}")).await.unwrap();
            stage.add_machine_with(&owner.token, name, price, 1, &computer.options()).await;
            computers.push((computer, false));
        }
        // Enough to last: each coming costs less than one of them.
        let works = Work::job((0..comings / 2 + 1).map(|_| Work::mersenne(LONG)));
        let job = stage.job(1, &works, 2);
        let mut watch = Watch::new(&stage.buyer, job.job);
        watch.note(&submit(&stage.buyer, &works, &job).await);
        watch.until("accepted work", |view| view.tasks.iter().any(|t| t.usage.fuel > 0)).await;
        for _ in 0..comings {
            let machine = random.of(0..2) as usize;
            let (computer, is_there) = &mut computers[machine];
            let state = if *is_there { State::Working } else { State::Resting };
            match *is_there {
                true => computer.leave(),
                false => computer.press(),
            }
            *is_there = !*is_there;
            follow(&stage, machine, state).await;
            // Whoever is left gets a little further.
            if computers.iter().any(|(_, is_there)| !is_there) {
                let computed = |view: &wire::JobView| -> u64 {
                    view.tasks.iter().map(|task| task.progress_fuel).sum()
                };
                let before = computed(&stage.buyer.job(job.job).await.unwrap());
                watch.until_or_end(|view| computed(view) > before).await;
            }
        }
        for (machine, (computer, is_there)) in computers.iter().enumerate() {
            if *is_there {
                computer.leave();
                follow(&stage, machine, State::Working).await;
            }
        }
        let done = watch.end().await;
        let mut expected = Vec::new();
        for work in &works {
            expected.push(work.exec(&stage.scene).await);
        }
        stage.assert_settled(&done, &expected.iter().collect::<Vec<_>>()).await;
        let ends: Vec<&str> = done
            .tasks
            .iter()
            .flat_map(|task| &task.attempts)
            .map(|attempt| attempt.end.as_deref().unwrap())
            .collect();
        println!("seed {seed}: {ends:?}");
        assert!(ends.contains(&"yielded"), "{ends:?}");
        // (Before the first checkpoint there is nothing to say, and the lease just ends.)
        assert!(!ends.contains(&"fault"), "{ends:?}");
    }
}
