//! Figures about the running exchange, in the text form that Prometheus reads.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the classes by which answers' durations are counted, in milliseconds.
const CLASSES_MS: [u64; 9] = [1, 5, 10, 50, 100, 500, 1_000, 5_000, 20_000];
/// Methods that are counted by name; others are strangers' inventions.
const METHODS: [&str; 5] = ["DELETE", "GET", "HEAD", "POST", "PUT"];

/// What is counted while the exchange runs.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By method and status.
    answers: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// By class of duration; the last is for what took longer than any bound.
    classes: [AtomicU64; CLASSES_MS.len() + 1],
    /// Of all answers.
    micros: AtomicU64,
    /// Readers of the feed that were too slow.
    dropped_readers: AtomicU64,
}

/// What is looked up when somebody asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub journal_sequence: u64,
    pub agents: usize,
    pub waiting_requests: usize,
    /// What memory holds, by kind.
    pub held: [(&'static str, usize); 8],
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, method: &str, status: u16, took: Duration) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry((method, status)).or_insert(0) += 1;
        drop(answers);
        let class = CLASSES_MS.partition_point(|most| Duration::from_millis(*most) < took);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a reader of the feed that was dropped because it didn't keep up.
    pub fn dropped_reader(&self) {
        self.dropped_readers.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything as text.
    pub fn text(&self, now: Now) -> String {
        let mut text = String::new();
        let mut say = |line: std::fmt::Arguments<'_>| {
            // Writing into a string can't fail.
            let _ = writeln!(text, "{line}");
        };
        say(format_args!("# TYPE jusha_http_answers_total counter"));
        for ((method, status), count) in
            self.answers.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let labels = format!("method=\"{method}\",status=\"{status}\"");
            say(format_args!("jusha_http_answers_total{{{labels}}} {count}"));
        }
        say(format_args!("# TYPE jusha_http_answer_seconds histogram"));
        let mut count = 0;
        for (class, most) in self.classes.iter().zip(CLASSES_MS) {
            count += class.load(Ordering::Relaxed);
            let seconds = most as f64 / 1e3;
            say(format_args!("jusha_http_answer_seconds_bucket{{le=\"{seconds}\"}} {count}"));
        }
        count += self.classes[CLASSES_MS.len()].load(Ordering::Relaxed);
        say(format_args!("jusha_http_answer_seconds_bucket{{le=\"+Inf\"}} {count}"));
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        say(format_args!("jusha_http_answer_seconds_sum {seconds}"));
        say(format_args!("jusha_http_answer_seconds_count {count}"));
        for (name, kind, value) in [
            ("jusha_journal_sequence", "counter", now.journal_sequence),
            ("jusha_agents_connected", "gauge", now.agents as u64),
            ("jusha_sequencer_requests_waiting", "gauge", now.waiting_requests as u64),
            (
                "jusha_feed_readers_dropped_total",
                "counter",
                self.dropped_readers.load(Ordering::Relaxed),
            ),
        ] {
            say(format_args!("# TYPE {name} {kind}\n{name} {value}"));
        }
        say(format_args!("# TYPE jusha_in_memory gauge"));
        for (kind, count) in now.held {
            say(format_args!("jusha_in_memory{{kind=\"{kind}\"}} {count}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_class_and_the_classes_add_up() {
        let metrics = Metrics::default();
        for (ms, status) in [(1, 200), (3, 200), (70, 404), (60_000, 200)] {
            metrics.answered("GET", status, Duration::from_millis(ms));
        }
        metrics.answered("BREW", 405, Duration::from_millis(1));
        let held = [("jobs", 3); 8];
        let now = Now { journal_sequence: 7, agents: 2, waiting_requests: 0, held };
        let text = metrics.text(now);
        for line in [
            "jusha_http_answers_total{method=\"GET\",status=\"200\"} 3",
            "jusha_http_answers_total{method=\"other\",status=\"405\"} 1",
            "jusha_http_answer_seconds_bucket{le=\"0.001\"} 2",
            "jusha_http_answer_seconds_bucket{le=\"0.005\"} 3",
            "jusha_http_answer_seconds_bucket{le=\"0.1\"} 4",
            "jusha_http_answer_seconds_bucket{le=\"20\"} 4",
            "jusha_http_answer_seconds_bucket{le=\"+Inf\"} 5",
            "jusha_http_answer_seconds_count 5",
            "jusha_journal_sequence 7",
            "jusha_agents_connected 2",
            "jusha_in_memory{kind=\"jobs\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
