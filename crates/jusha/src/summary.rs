//! The line that says what happened: what a newcomer reads first, so it is built in one place
//! and tested word by word.

use wire::{AttemptView, JobState, JobView, TaskState, TaskView};

use crate::amount;

/// Moves that are told one by one; more are only counted.
const MOVES_TOLD: usize = 3;

/// A task that went from one machine to another.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    /// The task.
    pub task: &'a TaskView,
    /// The run that ended before its time.
    pub from: &'a AttemptView,
    /// The run that went on.
    pub to: &'a AttemptView,
}

/// All moves of a job: an attempt after another one on another machine.
pub fn moves(job: &JobView) -> Vec<Move<'_>> {
    continued(job).filter(|one| one.from.machine != one.to.machine).collect()
}

/// Attempts after attempts that did not finish.
fn continued(job: &JobView) -> impl Iterator<Item = Move<'_>> {
    job.tasks.iter().flat_map(|task| {
        task.attempts.windows(2).map(move |pair| Move { task, from: &pair[0], to: &pair[1] })
    })
}

/// `done in 41 s, moved once (machine b7… died at 41 %), nothing lost, 0.0031 credits`
pub fn line(job: &JobView, now_ms: i64) -> String {
    let elapsed = amount::seconds(job.ended_at_ms.unwrap_or(now_ms) - job.submitted_at_ms);
    let paid = amount::credits(job.paid_nanocredits);
    let refused = job.tasks.iter().filter(|task| task.state == TaskState::Refused).count();
    let mut parts = vec![match job.state {
        JobState::Done => format!("done in {elapsed}"),
        JobState::Cancelled => format!("cancelled after {elapsed}"),
        JobState::Exhausted => format!("stopped after {elapsed}: the budget is used up"),
        JobState::Waiting => format!("waiting for {elapsed}"),
        JobState::Running => format!("running for {elapsed}"),
    }];
    if refused > 0 {
        parts.push(match job.tasks.len() {
            1 => "refused".to_owned(),
            all => format!("{refused} of {all} tasks refused"),
        });
    }
    let moves = moves(job);
    if !moves.is_empty() {
        parts.push(told(&moves));
    }
    // The same machine again: it came back, or more of the budget became free.
    let resumed = continued(job).count() - moves.len();
    if resumed > 0 {
        parts.push(format!("resumed {}", times(resumed)));
    }
    // Accepted checkpoints are what both start from: they cost time, never work or money.
    if moves.len() + resumed > 0 && job.state == JobState::Done {
        parts.push("nothing lost".to_owned());
    }
    parts.push(format!("{paid} credits"));
    parts.join(", ")
}

fn told(moves: &[Move<'_>]) -> String {
    let mut stories: Vec<String> = moves.iter().take(MOVES_TOLD).map(story).collect();
    if moves.len() > MOVES_TOLD {
        stories.push("…".to_owned());
    }
    format!("moved {} ({})", times(moves.len()), stories.join(", "))
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

fn story(one: &Move<'_>) -> String {
    let verb = ending(one.from.end.as_deref());
    // The whole is known only of a finished task.
    let at = match one.task.state {
        TaskState::Done if one.task.usage.fuel > 0 => {
            let percent = u128::from(one.from.to.fuel) * 100 / u128::from(one.task.usage.fuel);
            format!("{percent} %")
        }
        _ => amount::fuel(one.from.to.fuel),
    };
    format!("machine {}… {verb} at {at}", one.from.machine.short())
}

/// How an attempt ended before its time, as a verb.
pub fn ending(end: Option<&str>) -> &'static str {
    match end {
        Some("lapsed") => "died",
        Some("yielded") => "left",
        Some("allowance_spent") => "ran out of budget",
        Some(end) if end.starts_with("fault") => "failed",
        Some(end) if end.starts_with("refused") => "refused",
        _ => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use base::{AttemptId, Digest, JobId, LeaseId, MachineId, TaskId, Usage};

    use super::*;

    fn attempt(machine: u128, fuel: u64, end: &str) -> AttemptView {
        AttemptView {
            attempt: AttemptId(machine),
            lease: LeaseId(machine),
            machine: MachineId(machine << 112),
            machine_name: "m".to_owned(),
            epoch: 1,
            from: Usage::ZERO,
            to: Usage { fuel, ..Usage::ZERO },
            started_at_ms: 0,
            ended_at_ms: Some(1),
            end: Some(end.to_owned()),
        }
    }

    fn job(state: JobState, tasks: Vec<(TaskState, u64, Vec<AttemptView>)>) -> JobView {
        JobView {
            job: JobId(1),
            version: 1,
            name: "j".to_owned(),
            state,
            instrument: "cpu.2g.any".to_owned(),
            submitted_at_ms: 1_000,
            ended_at_ms: Some(42_000),
            max_price_nanocredits_per_tfuel: 1,
            slots: 1,
            budget_nanocredits: 1,
            paid_nanocredits: 3_100_000,
            exhaustion_at_ms: None,
            running_low: false,
            waiting_reason: None,
            task_count: tasks.len() as u32,
            tasks: tasks
                .into_iter()
                .map(|(state, fuel, attempts)| TaskView {
                    task: TaskId(1),
                    spec: Digest::default(),
                    state,
                    usage: Usage { fuel, ..Usage::ZERO },
                    progress_fuel: 0,
                    checkpoint: None,
                    result: None,
                    refusal: None,
                    attempts,
                })
                .collect(),
        }
    }

    #[test]
    fn what_the_last_line_says() {
        let finished = || attempt(0xc2c2, 100, "finished");
        let check = |job: JobView, expected: &str| assert_eq!(line(&job, 0), expected);
        check(
            job(JobState::Done, vec![(TaskState::Done, 100, vec![finished()])]),
            "done in 41 s, 0.0031 credits",
        );
        check(
            job(
                JobState::Done,
                vec![(TaskState::Done, 100, vec![attempt(0xb7aa, 41, "lapsed"), finished()])],
            ),
            "done in 41 s, moved once (machine b7aa… died at 41 %), nothing lost, 0.0031 credits",
        );
        check(
            job(
                JobState::Done,
                vec![(
                    TaskState::Done,
                    100,
                    vec![attempt(0xb7aa, 41, "lapsed"), attempt(0xd000, 70, "yielded"), finished()],
                )],
            ),
            "done in 41 s, moved twice (machine b7aa… died at 41 %, machine d000… left at 70 %), \
             nothing lost, 0.0031 credits",
        );
        check(
            job(
                JobState::Done,
                vec![(
                    TaskState::Done,
                    100,
                    vec![attempt(0xb7aa, 41, "lapsed"), attempt(0xb7aa, 100, "finished")],
                )],
            ),
            "done in 41 s, resumed once, nothing lost, 0.0031 credits",
        );
        check(
            job(JobState::Exhausted, vec![(TaskState::Pending, 0, vec![])]),
            "stopped after 41 s: the budget is used up, 0.0031 credits",
        );
        check(
            job(
                JobState::Done,
                vec![(TaskState::Refused, 0, vec![]), (TaskState::Done, 9, vec![finished()])],
            ),
            "done in 41 s, 1 of 2 tasks refused, 0.0031 credits",
        );
        check(
            job(JobState::Cancelled, vec![(TaskState::Cancelled, 0, vec![])]),
            "cancelled after 41 s, 0.0031 credits",
        );
    }
}
