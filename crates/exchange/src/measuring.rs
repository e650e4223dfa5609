//! How fast a machine is and how much memory it has, measured and not believed.
//!
//! The machine gets a published program and makes ready; then it is told inputs that it did not
//! know, and the clock runs from there to the answers. So it can neither skip the work nor claim
//! more of it.
//!
//! *Speed* is that of one slot: the best of a few runs counts, since others may have taken the
//! processor meanwhile; a wrong answer counts as no speed.
//!
//! *Memory* is shown by all slots at once, each with work that fills its share (`guests/memory.c`).
//! That the runs were at once shows in the time: run one after another, in the memory of fewer,
//! they would take as many times as long as one alone, of which the time is taken first. Honest
//! slots slow each other down, too, by about half on a common bus; so a machine can hide by a
//! factor of [`CROWDING_MAX`] at most. What it can't do with the memory that it says it has is
//! tried with the next smaller grade.

use std::time::{Duration, Instant};

use base::{Digest, MachineId};
use wire::{MeasuredEnd, ToAgent, ToExchange};

use crate::calibration::{Answer, Calibration, Kind};
use crate::secrets;

/// Runs of which the best counts.
const RUNS: u32 = 3;
/// For the program to be fetched and compiled, and slots to be free.
const READY_MAX: Duration = Duration::from_secs(120);
/// Longer than a machine gives a run: then it still answers that one did not end.
const RUN_MAX: Duration = Duration::from_secs(130);
/// After a measurement that came to nothing.
const RETRY: Duration = Duration::from_secs(300);
/// So many times slower than other work a run may be that takes new memory with each step: the
/// system has to find and clear it.
const FILLING_MAX: u128 = 16;
/// So many times longer than one alone all slots may take at once.
const CROWDING_MAX: u32 = 3;
/// Beside that, for workers to start.
const CROWDING_GRACE: Duration = Duration::from_millis(500);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// One slot's speed.
    Speed,
    /// What all slots have, of a machine that says it has so much and is so fast.
    Memory { slots: u32, memory_mib_per_slot: u32, speed_mfuel_per_s: u32 },
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Millions of fuel per second.
    Speed { mfuel_per_s: u32 },
    /// Per slot.
    Memory { mib_per_slot: u32 },
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Next {
    /// Said to the agent.
    pub say: Option<ToAgent>,
    /// To be noted.
    pub found: Option<Found>,
}

/// The measuring of one connected machine. Time is an argument.
#[derive(Debug)]
pub(crate) struct Measuring {
    machine: MachineId,
    at_work: Option<Work>,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Work {
    measurement: Digest,
    subject: Subject,
    phase: Phase,
    best_mfuel_per_s: u32,
    runs: u32,
    /// The grade that is tried, and its size.
    grade: (usize, u32),
    /// How long one run took alone.
    alone: Option<Duration>,
    since: Instant,
}

#[derive(Debug)]
enum Phase {
    /// Asked to make ready.
    Preparing,
    /// It computes.
    Running { expected: Vec<Answer> },
}

impl Measuring {
    pub fn new(machine: MachineId) -> Self {
        Measuring { machine, at_work: None, not_before: None }
    }

    /// Begins, if it is time to and the subject can be measured.
    pub fn begin(&mut self, subject: Subject, calibration: &Calibration, now: Instant) -> Next {
        let early = self.not_before.is_some_and(|not_before| now < not_before);
        if early || self.at_work.is_some() {
            return Next::default();
        }
        let (slots, kind, grade) = match subject {
            Subject::Speed => (1, Kind::Speed, (0, 0)),
            Subject::Memory { slots, memory_mib_per_slot, .. } => {
                match calibration.grade_within(memory_mib_per_slot) {
                    Some(grade) if slots > 0 => (slots, Kind::Memory(grade.0), grade),
                    _ => return Next::default(),
                }
            }
        };
        let Ok(measurement) = secrets::random().map(Digest) else { return Next::default() };
        self.at_work = Some(Work {
            measurement,
            subject,
            phase: Phase::Preparing,
            best_mfuel_per_s: 0,
            runs: 0,
            grade,
            alone: None,
            since: now,
        });
        let (module, warm_up) = calibration.program(kind);
        let say = Some(ToAgent::Measure { measurement, module, warm_up, slots });
        Next { say, ..Next::default() }
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.at_work.is_none()
    }

    /// Gives up what takes too long.
    pub fn tick(&mut self, now: Instant) -> Next {
        let Some(work) = &self.at_work else { return Next::default() };
        let waited = now.duration_since(work.since);
        match work.phase {
            Phase::Preparing if waited > READY_MAX => self.give_up(now),
            Phase::Running { .. } if waited > RUN_MAX => self.found(),
            _ => Next::default(),
        }
    }

    /// Hears what the agent says about it.
    pub fn hear(&mut self, message: &ToExchange, calibration: &Calibration, now: Instant) -> Next {
        let said = match message {
            ToExchange::MeasureReady { measurement }
            | ToExchange::Measured { measurement, .. }
            | ToExchange::MeasureFailed { measurement, .. } => measurement,
            _ => return Next::default(),
        };
        let machine = self.machine;
        let Some(work) = self.at_work.as_mut().filter(|work| work.measurement == *said) else {
            return Next::default();
        };
        match (message, &work.phase) {
            (ToExchange::MeasureReady { .. }, Phase::Preparing) => self.run(calibration, now),
            (ToExchange::Measured { ends, .. }, Phase::Running { expected }) => {
                let took = now.duration_since(work.since).max(Duration::from_micros(1));
                let right = is_right(ends, expected);
                if !right {
                    tracing::warn!(%machine, "a wrong answer to a known task");
                }
                let fuel = expected.first().map_or(0, |answer| answer.fuel);
                match work.subject {
                    Subject::Speed => self.timed(right.then_some((fuel, took)), calibration, now),
                    Subject::Memory { .. } => {
                        self.filled(right.then_some((fuel, took)), calibration, now)
                    }
                }
            }
            (ToExchange::MeasureFailed { reason, .. }, _) => {
                tracing::info!(%machine, reason, "not measured");
                self.give_up(now)
            }
            _ => Next::default(),
        }
    }

    /// A run for speed is over; `right` has its fuel and time.
    fn timed(
        &mut self,
        right: Option<(u64, Duration)>,
        calibration: &Calibration,
        now: Instant,
    ) -> Next {
        let Some(work) = &mut self.at_work else { return Next::default() };
        let Some((fuel, took)) = right else {
            work.best_mfuel_per_s = 0;
            return self.found();
        };
        let speed = u128::from(fuel) / took.as_micros();
        work.best_mfuel_per_s = work.best_mfuel_per_s.max(speed.try_into().unwrap_or(u32::MAX));
        work.runs += 1;
        if work.runs < RUNS { self.run(calibration, now) } else { self.found() }
    }

    /// Runs for memory are over; `right` has the fuel of one and the time of all.
    fn filled(
        &mut self,
        right: Option<(u64, Duration)>,
        calibration: &Calibration,
        now: Instant,
    ) -> Next {
        let Some(work) = &mut self.at_work else { return Next::default() };
        let Subject::Memory { slots, speed_mfuel_per_s, .. } = work.subject else {
            return Next::default();
        };
        let in_time = right.filter(|(fuel, took)| match work.alone {
            Some(alone) => *took <= alone * CROWDING_MAX + CROWDING_GRACE,
            None => {
                took.as_micros() * u128::from(speed_mfuel_per_s) <= u128::from(*fuel) * FILLING_MAX
            }
        });
        match in_time {
            Some((_, took)) if work.alone.is_none() && slots > 1 => {
                work.alone = Some(took);
                self.run(calibration, now)
            }
            Some(_) => self.found(),
            None => {
                work.alone = None;
                match calibration.grade_within(work.grade.1.saturating_sub(1)) {
                    Some(smaller) => {
                        work.grade = smaller;
                        self.run(calibration, now)
                    }
                    None => {
                        work.grade = (0, 0);
                        self.found()
                    }
                }
            }
        }
    }

    fn run(&mut self, calibration: &Calibration, now: Instant) -> Next {
        let machine = self.machine;
        let Some(work) = &mut self.at_work else { return Next::default() };
        let (kind, count) = match work.subject {
            Subject::Speed => (Kind::Speed, 1),
            Subject::Memory { .. } if work.alone.is_none() => (Kind::Memory(work.grade.0), 1),
            Subject::Memory { slots, .. } => (Kind::Memory(work.grade.0), slots),
        };
        let Some(expected) = calibration.pick(machine, kind, count) else {
            return self.give_up(now);
        };
        let runs = expected.iter().map(|answer| answer.args.clone()).collect();
        work.phase = Phase::Running { expected };
        work.since = now;
        let say = Some(ToAgent::MeasureRun { measurement: work.measurement, runs });
        Next { say, ..Next::default() }
    }

    fn found(&mut self) -> Next {
        let Some(work) = self.at_work.take() else { return Next::default() };
        let found = match work.subject {
            Subject::Speed => Found::Speed { mfuel_per_s: work.best_mfuel_per_s },
            Subject::Memory { .. } => Found::Memory { mib_per_slot: work.grade.1 },
        };
        let over = ToAgent::MeasureOver { measurement: work.measurement };
        Next { say: Some(over), found: Some(found) }
    }

    fn give_up(&mut self, now: Instant) -> Next {
        self.not_before = Some(now + RETRY);
        let over = |work: Work| ToAgent::MeasureOver { measurement: work.measurement };
        Next { say: self.at_work.take().map(over), ..Next::default() }
    }
}

fn is_right(ends: &[Option<MeasuredEnd>], expected: &[Answer]) -> bool {
    let same = |(end, answer): (&Option<MeasuredEnd>, &Answer)| {
        *end == Some(MeasuredEnd { stdout: answer.stdout, fuel: answer.fuel })
    };
    ends.len() == expected.len() && ends.iter().zip(expected).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{Answers, MemoryAnswers, MemoryGrade};

    const MACHINE: MachineId = MachineId(7);
    const FUEL: u64 = 1_000_000_000;

    fn answers(kind: &str) -> Vec<Answer> {
        let answer = |n: u8| Answer {
            args: vec![kind.to_owned(), n.to_string()],
            stdout: Digest::of(&[n]),
            fuel: FUEL,
        };
        (0..8).map(answer).collect()
    }

    fn calibration() -> Calibration {
        let grade =
            |memory_mib: u32| MemoryGrade { memory_mib, answers: answers(&memory_mib.to_string()) };
        let grades = vec![grade(512), grade(2_048), grade(4_096)];
        let memory = Some(MemoryAnswers { warm_up: Vec::new(), grades });
        let answers = Answers { warm_up: vec!["0".to_owned()], answers: answers("speed"), memory };
        Calibration::new(Digest::of(b"module"), Digest::of(b"memory"), answers)
    }

    /// What a machine says that is asked to run this.
    fn honest(runs: &[Vec<String>]) -> Vec<Option<MeasuredEnd>> {
        let end = |args: &Vec<String>| MeasuredEnd {
            stdout: Digest::of(&[args[1].parse().unwrap()]),
            fuel: FUEL,
        };
        runs.iter().map(|args| Some(end(args))).collect()
    }

    type Ends = Vec<Option<MeasuredEnd>>;

    /// What is found of a machine that answers so, after so many milliseconds.
    fn found(
        subject: Subject,
        mut answer: impl FnMut(&[Vec<String>]) -> (u64, Ends),
    ) -> Option<Found> {
        let calibration = calibration();
        let mut now = Instant::now();
        let mut measuring = Measuring::new(MACHINE);
        let Next { say: Some(ToAgent::Measure { measurement, .. }), .. } =
            measuring.begin(subject, &calibration, now)
        else {
            panic!("it does not begin")
        };
        assert_eq!(measuring.begin(subject, &calibration, now), Next::default(), "one at a time");
        now += Duration::from_secs(9);
        let mut next = measuring.hear(&ToExchange::MeasureReady { measurement }, &calibration, now);
        while let Some(ToAgent::MeasureRun { runs, .. }) = &next.say {
            let (ms, ends) = answer(runs);
            now += Duration::from_millis(ms);
            next = measuring.hear(&ToExchange::Measured { measurement, ends }, &calibration, now);
        }
        assert!(matches!(next.say, Some(ToAgent::MeasureOver { .. })), "the slots are free");
        assert!(measuring.is_idle());
        next.found
    }

    #[test]
    fn the_best_of_three_right_answers_counts_by_the_exchanges_clock() {
        let times = [500, 250, 1_000];
        let speed = |lie: &dyn Fn(usize, &mut Ends)| {
            let mut at = 0;
            let found = found(Subject::Speed, |runs| {
                let mut ends = honest(runs);
                lie(at, &mut ends);
                at += 1;
                (times[at - 1], ends)
            });
            match found {
                Some(Found::Speed { mfuel_per_s }) => mfuel_per_s,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(speed(&|_, _| ()), 4_000);
        for run in 0..3 {
            for lie in [
                |ends: &mut Ends| ends[0].as_mut().unwrap().fuel += 1,
                |ends: &mut Ends| ends[0].as_mut().unwrap().stdout = Digest::of(b"guessed"),
                |ends: &mut Ends| ends[0] = None,
                |ends: &mut Ends| ends.clear(),
                |ends: &mut Ends| ends.push(ends[0]),
            ] {
                let at_run = |at, ends: &mut Ends| {
                    if at == run {
                        lie(ends)
                    }
                };
                assert_eq!(speed(&at_run), 0, "{run}");
            }
        }
    }

    /// What is found of a machine that says it has 4 slots of so much memory, at 1,000 Mfuel/s.
    fn memory(memory_mib_per_slot: u32, answer: impl FnMut(&[Vec<String>]) -> (u64, Ends)) -> u32 {
        let subject = Subject::Memory { slots: 4, memory_mib_per_slot, speed_mfuel_per_s: 1_000 };
        match found(subject, answer) {
            Some(Found::Memory { mib_per_slot }) => mib_per_slot,
            other => panic!("{other:?}"),
        }
    }

    fn asked_mib(runs: &[Vec<String>]) -> u32 {
        runs[0][0].parse().unwrap()
    }

    #[test]
    fn memory_is_what_all_slots_have_at_once() {
        // One alone, then all, each with an input of its own.
        let mut asked = Vec::new();
        let all = memory(3_000, |runs| {
            asked.push(runs.to_vec());
            (2_000, honest(runs))
        });
        assert_eq!(all, 2_048, "the largest grade within what it says");
        assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [1, 4]);
        let mut inputs: Vec<_> = asked.concat();
        inputs.sort();
        inputs.dedup();
        assert_eq!(inputs.len(), 5);

        // In the memory of one, one after another.
        let in_turns = |runs: &[Vec<String>]| (2_000 * runs.len() as u64, honest(runs));
        assert_eq!(memory(4_096, in_turns), 0);
        // A machine that swaps from 5 GiB on.
        let swaps = |runs: &[Vec<String>]| {
            let mib = asked_mib(runs) * runs.len() as u32;
            (if mib > 5_000 { 100_000 } else { 2_000 }, honest(runs))
        };
        assert_eq!(memory(4_096, swaps), 512);
        // One that swaps even alone, at its largest.
        let alone = |runs: &[Vec<String>]| match asked_mib(runs) {
            4_096 => (16_001, honest(runs)),
            _ => (2_000, honest(runs)),
        };
        assert_eq!(memory(4_096, alone), 2_048);
        // A worker is killed, since the system has no more.
        let killed = |runs: &[Vec<String>]| {
            let mut ends = honest(runs);
            if asked_mib(runs) > 600 && runs.len() > 1 {
                ends[2] = None;
            }
            (2_000, ends)
        };
        assert_eq!(memory(4_096, killed), 512);
        assert_eq!(memory(4_096, |runs| (2_000, vec![None; runs.len()])), 0);
    }

    #[test]
    fn memory_below_the_smallest_grade_is_not_measured() {
        let mut measuring = Measuring::new(MACHINE);
        for (slots, memory_mib_per_slot) in [(4, 511), (0, 2_048)] {
            let subject = Subject::Memory { slots, memory_mib_per_slot, speed_mfuel_per_s: 1 };
            let next = measuring.begin(subject, &calibration(), Instant::now());
            assert_eq!(next, Next::default());
        }
    }

    #[test]
    fn a_machine_that_says_nothing_is_asked_again_later() {
        let calibration = calibration();
        let start = Instant::now();
        let mut measuring = Measuring::new(MACHINE);
        assert!(measuring.begin(Subject::Speed, &calibration, start).say.is_some());
        assert_eq!(measuring.tick(start + READY_MAX), Next::default());
        assert!(!measuring.is_idle());
        let late = start + READY_MAX + Duration::from_secs(1);
        let given_up = measuring.tick(late);
        assert!(matches!(given_up.say, Some(ToAgent::MeasureOver { .. })));
        assert_eq!(given_up.found, None, "who is not ready keeps its speed");
        assert!(measuring.is_idle());
        assert_eq!(measuring.begin(Subject::Speed, &calibration, late), Next::default());
        let again = measuring.begin(Subject::Speed, &calibration, late + RETRY);
        let Some(ToAgent::Measure { measurement, .. }) = again.say else { panic!("not again") };
        let ready = ToExchange::MeasureReady { measurement };
        assert!(measuring.hear(&ready, &calibration, late + RETRY).say.is_some());
        let never = measuring.tick(late + RETRY + RUN_MAX + Duration::from_secs(1));
        let no_speed = Some(Found::Speed { mfuel_per_s: 0 });
        assert_eq!(never.found, no_speed, "who begins must come to an end");
    }
}
