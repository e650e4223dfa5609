//! A job worth interrupting, and what it must come to.

mod commands;
mod everything;
mod moments;
mod outages;

use std::collections::BTreeMap;

use wire::JobView;

use crate::stage::{Executed, Pace, Stage, Watch, Work, submit};

/// The long task: some 21 Gfuel, about a second and a half.
const LONG: u32 = 44497;
const LONG_FUEL: u64 = 21_190_000_000;

/// `jusha exec`'s runs of the tasks, each made once.
#[derive(Default)]
struct Known(BTreeMap<Work, Executed>);

impl Known {
    async fn learn(&mut self, stage: &Stage, works: &[Work]) {
        for work in works {
            if !self.0.contains_key(work) {
                let executed = work.exec(&stage.scene).await;
                assert_eq!(executed.ran.status, 0, "{work:?}: {executed:?}");
                self.0.insert(work.clone(), executed);
            }
        }
    }

    fn of(&self, works: &[Work]) -> Vec<&Executed> {
        works.iter().map(|work| &self.0[work]).collect()
    }
}

/// Two machines, and a job of the long task on the cheaper one, computed a little.
async fn long_job(pace: Pace) -> (Stage, Watch, Executed) {
    let mut stage = Stage::new(pace).await;
    stage.add_machine("ant", 123_456_700, 1).await;
    stage.add_machine("bee", 234_567_800, 1).await;
    let (watch, executed) = start_long(&stage).await;
    (stage, watch, executed)
}

/// A job of the long task, computed a little.
async fn start_long(stage: &Stage) -> (Watch, Executed) {
    let works = [Work::mersenne(LONG)];
    let executed = works[0].exec(&stage.scene).await;
    let job = stage.job(1, &works, 1);
    let mut watch = Watch::new(&stage.buyer, job.job);
    watch.note(&submit(&stage.buyer, &works, &job).await);
    // The first checkpoint is early: most of the task is still to come.
    watch.until("accepted work", |view| view.tasks[0].usage.fuel > 0).await;
    (watch, executed)
}

/// How the attempts of a job's only task ended.
fn ends(job: &JobView) -> Vec<&str> {
    job.tasks[0].attempts.iter().map(|attempt| attempt.end.as_deref().unwrap_or("?")).collect()
}
