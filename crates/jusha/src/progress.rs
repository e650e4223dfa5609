//! How a job goes, on standard error: bars on a terminal, plain lines elsewhere. What is piped
//! into a file or a log is only what changed.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use base::TaskId;
use client::ClientError;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use wire::{JobState, JobView, TaskState, TaskView};

use crate::terminal::clean;
use crate::{amount, summary};

/// Shows a job's versions as they come.
pub struct Progress {
    names: Vec<String>,
    bars: Option<Bars>,
    told: BTreeMap<TaskId, Told>,
    waiting: Option<String>,
    running_low: bool,
}

struct Bars {
    all: MultiProgress,
    running: BTreeMap<TaskId, ProgressBar>,
    total: Option<ProgressBar>,
}

/// What was said of a task.
#[derive(Default)]
struct Told {
    attempts: usize,
    over: bool,
}

impl Progress {
    /// `names` are the tasks', in their order.
    pub fn new(names: Vec<String>) -> Self {
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let total = (names.len() > 1).then(|| {
                let bar = all.add(ProgressBar::new(names.len() as u64));
                bar.set_style(style("{bar:30} {pos}/{len} tasks  {elapsed}"));
                bar
            });
            Bars { all, running: BTreeMap::new(), total }
        });
        Progress { names, bars, told: BTreeMap::new(), waiting: None, running_low: false }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        let text = &*clean(text);
        match &self.bars {
            // A line that can't be shown is not worth ending a job for.
            Some(bars) => drop(bars.all.println(text)),
            None => eprintln!("{text}"),
        }
    }

    /// The exchange went away or came back.
    pub fn connection(&self, error: Option<&ClientError>) {
        match error {
            Some(error) => self.say(&format!("{error}; the job goes on, asking again")),
            None => self.say("the exchange answers again"),
        }
    }

    /// Shows a version.
    pub fn show(&mut self, job: &JobView) {
        for (index, task) in job.tasks.iter().enumerate() {
            let name = self.names.get(index).cloned().unwrap_or_else(|| task.task.to_string());
            self.tell(&name, task);
            if let Some(bars) = &mut self.bars {
                bars.show(&name, task);
            }
        }
        let waiting = job
            .waiting_reason
            .clone()
            .filter(|_| matches!(job.state, JobState::Waiting | JobState::Running));
        if waiting != self.waiting {
            if let Some(reason) = &waiting {
                self.say(&format!("waiting: {reason}"));
            }
            self.waiting = waiting;
        }
        if job.running_low && !self.running_low {
            let at = job.exhaustion_at_ms.map(crate::terminal::time);
            self.say(&format!(
                "the budget is spent at about {}: `jusha jobs top-up {} CREDITS` adds to it; \
                 without, the tasks stop at checkpoints",
                at.unwrap_or_else(|| "any moment".to_owned()),
                job.job
            ));
        }
        self.running_low = job.running_low;
        if let Some(total) = self.bars.as_ref().and_then(|bars| bars.total.as_ref()) {
            total.set_position(job.tasks.iter().filter(|task| is_over(task)).count() as u64);
        }
    }

    fn tell(&mut self, name: &str, task: &TaskView) {
        let plain = self.bars.is_none();
        let told = self.told.entry(task.task).or_default();
        let mut lines = Vec::new();
        for (index, attempt) in task.attempts.iter().enumerate().skip(told.attempts) {
            let on = &attempt.machine_name;
            match index.checked_sub(1).and_then(|index| task.attempts.get(index)) {
                // The budget is handed out in parts: not worth a line.
                Some(earlier)
                    if earlier.machine == attempt.machine
                        && earlier.end.as_deref() == Some("allowance_spent") => {}
                Some(earlier) => lines.push(format!(
                    "{name}: machine {} {} at {}; goes on on {on}",
                    earlier.machine_name,
                    summary::ending(earlier.end.as_deref()),
                    amount::fuel(earlier.to.fuel),
                )),
                None if plain => lines.push(format!("{name}: runs on {on}")),
                None => {}
            }
        }
        told.attempts = task.attempts.len();
        if is_over(task) && !told.over {
            told.over = true;
            match (task.state, &task.refusal) {
                // Of a single task it is the command's error.
                (TaskState::Refused, Some(reason)) if self.names.len() > 1 => {
                    lines.push(format!("{name}: refused: {reason}"));
                }
                (TaskState::Done, _) if plain => {
                    lines.push(format!("{name}: done, {}", amount::fuel(task.usage.fuel)));
                }
                _ => {}
            }
        }
        for line in lines {
            self.say(&line);
        }
    }

    /// Takes the bars away; the last lines stand alone.
    pub fn finish(&mut self) {
        if let Some(bars) = self.bars.take() {
            // Nothing to be done about a terminal that went away.
            drop(bars.all.clear());
        }
    }
}

impl Bars {
    fn show(&mut self, name: &str, task: &TaskView) {
        if task.state != TaskState::Running {
            if let Some(bar) = self.running.remove(&task.task) {
                bar.finish_and_clear();
            }
            return;
        }
        let bar = self.running.entry(task.task).or_insert_with(|| {
            let bar = match &self.total {
                Some(total) => self.all.insert_before(total, ProgressBar::new_spinner()),
                None => self.all.add(ProgressBar::new_spinner()),
            };
            bar.set_style(style("{spinner} {prefix}  {msg}  {elapsed}"));
            bar.set_prefix(clean(name).into_owned());
            bar.enable_steady_tick(std::time::Duration::from_millis(120));
            bar
        });
        let machine = task.attempts.last().map_or("", |attempt| attempt.machine_name.as_str());
        let fuel = amount::fuel(task.progress_fuel.max(task.usage.fuel));
        let message = format!("{fuel} on {machine}, {} safe", amount::fuel(task.usage.fuel));
        bar.set_message(clean(&message).into_owned());
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn is_over(task: &TaskView) -> bool {
    matches!(task.state, TaskState::Done | TaskState::Refused | TaskState::Cancelled)
}
