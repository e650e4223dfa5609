//! How fast a machine is, measured and not believed.
//!
//! The machine gets a published program and makes ready; then it is told an input that it did not
//! know, and the clock runs from there to the answer. The answer and the fuel that it takes were
//! worked out beforehand by the operator (`jusha exchange calibrate`), since an exchange runs no
//! programs: so a machine can neither skip the work nor claim more of it. The best of a few runs
//! counts, since others may have taken the processor meanwhile; a wrong answer counts as no speed.
//!
//! No input is given to the same machine twice before all were. Machines of one owner can tell each
//! other answers, so have more of them than one owner has machines, and make new ones now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

use base::{Digest, MachineId};
use serde::{Deserialize, Serialize};
use wire::{ToAgent, ToExchange};

use crate::blobs::BlobStore;
use crate::error::ExchangeError;
use crate::secrets;

/// The answers, in the data directory.
pub const CALIBRATION_FILE: &str = "calibration.json";
/// The program that gives them.
pub const CALIBRATION_MODULE_FILE: &str = "calibration.wasm";

/// Runs of which the best counts.
const RUNS: u32 = 3;
/// For the program to be fetched and compiled, and a slot to be free.
const READY_MAX: Duration = Duration::from_secs(120);
/// A run that takes longer has no speed worth speaking of.
const RUN_MAX: Duration = Duration::from_secs(120);
/// After a measurement that came to nothing.
const RETRY: Duration = Duration::from_secs(300);

/// What the operator worked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Arguments that compile the program and do next to nothing.
    pub warm_up: Vec<String>,
    /// Inputs with what they must come to.
    pub answers: Vec<Answer>,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Given to the program.
    pub args: Vec<String>,
    /// Digest of what it writes on standard output.
    pub stdout: Digest,
    /// What it takes.
    pub fuel: u64,
}

/// The exchange's means of measuring.
#[derive(Debug)]
pub(crate) struct Calibration {
    module: Digest,
    answers: Answers,
    given: Mutex<BTreeMap<MachineId, BTreeSet<usize>>>,
}

impl Calibration {
    /// As the data directory has it, if it has; the program is put among the blobs.
    pub fn load(data: &Path, blobs: &dyn BlobStore) -> Result<Option<Self>, ExchangeError> {
        let path = data.join(CALIBRATION_FILE);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ExchangeError::Data { path, source }
        };
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed(&path))?,
        };
        let answers: Answers =
            serde_json::from_slice(&text).map_err(|error| failed(&path)(error.into()))?;
        if answers.answers.is_empty() {
            return Ok(None);
        }
        let program = data.join(CALIBRATION_MODULE_FILE);
        let program = fs::read(&program).map_err(failed(&program))?;
        let module = blobs.put(&program)?;
        Ok(Some(Calibration { module, answers, given: Mutex::default() }))
    }

    /// The program, which every machine must be able to fetch.
    pub fn module(&self) -> Digest {
        self.module
    }

    /// An input that the machine has not had lately.
    fn pick(&self, machine: MachineId) -> Option<&Answer> {
        let all = &self.answers.answers;
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let given = given.entry(machine).or_default();
        if given.len() >= all.len() {
            given.clear();
        }
        let fresh: Vec<usize> = (0..all.len()).filter(|index| !given.contains(index)).collect();
        let random = u64::from_be_bytes(secrets::random().ok()?);
        let index = *fresh.get((random % fresh.len().max(1) as u64) as usize)?;
        given.insert(index);
        Some(&all[index])
    }
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Next {
    /// Said to the agent.
    pub say: Option<ToAgent>,
    /// Found: millions of fuel per second.
    pub speed_mfuel_per_s: Option<u32>,
}

/// The measuring of one connected machine. Time is an argument.
#[derive(Debug)]
pub(crate) struct Measuring {
    machine: MachineId,
    phase: Phase,
    best: u32,
    runs: u32,
    not_before: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// Asked to make ready.
    Preparing {
        measurement: Digest,
        since: Instant,
    },
    /// It computes.
    Running {
        measurement: Digest,
        since: Instant,
        stdout: Digest,
        fuel: u64,
    },
}

impl Measuring {
    pub fn new(machine: MachineId) -> Self {
        Measuring { machine, phase: Phase::Idle, best: 0, runs: 0, not_before: None }
    }

    /// Begins, if it is time to.
    pub fn begin(&mut self, calibration: &Calibration, now: Instant) -> Next {
        let early = self.not_before.is_some_and(|not_before| now < not_before);
        if early || !matches!(self.phase, Phase::Idle) {
            return Next::default();
        }
        let Ok(measurement) = secrets::random().map(Digest) else { return Next::default() };
        (self.best, self.runs) = (0, 0);
        self.phase = Phase::Preparing { measurement, since: now };
        Next {
            say: Some(ToAgent::Measure {
                measurement,
                module: calibration.module,
                warm_up: calibration.answers.warm_up.clone(),
            }),
            ..Next::default()
        }
    }

    /// Whether something is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Gives up what takes too long.
    pub fn tick(&mut self, now: Instant) -> Next {
        match self.phase {
            Phase::Preparing { since, .. } if now.duration_since(since) > READY_MAX => {
                self.over(now)
            }
            Phase::Running { since, .. } if now.duration_since(since) > RUN_MAX => self.found(now),
            _ => Next::default(),
        }
    }

    /// Hears what the agent says about it.
    pub fn hear(&mut self, message: &ToExchange, calibration: &Calibration, now: Instant) -> Next {
        match (message, &self.phase) {
            (
                ToExchange::MeasureReady { measurement: said },
                Phase::Preparing { measurement, .. },
            ) if said == measurement => self.run(*said, calibration, now),
            (
                ToExchange::Measured { measurement: said, stdout: claimed, fuel: used },
                Phase::Running { measurement, since, stdout, fuel },
            ) if said == measurement => {
                let took = now.duration_since(*since).max(Duration::from_micros(1));
                let right = (claimed, used) == (stdout, fuel);
                if !right {
                    tracing::warn!(machine = %self.machine, "a wrong answer to a known task");
                    self.best = 0;
                    return self.found(now);
                }
                let speed = u128::from(*fuel) / took.as_micros();
                self.best = self.best.max(u32::try_from(speed).unwrap_or(u32::MAX));
                self.runs += 1;
                if self.runs < RUNS { self.run(*said, calibration, now) } else { self.found(now) }
            }
            (ToExchange::MeasureFailed { measurement: said, reason }, _)
                if self.phase.is_of(said) =>
            {
                tracing::info!(machine = %self.machine, reason, "not measured");
                self.over(now)
            }
            _ => Next::default(),
        }
    }

    fn run(&mut self, measurement: Digest, calibration: &Calibration, now: Instant) -> Next {
        let Some(answer) = calibration.pick(self.machine) else { return self.over(now) };
        let (stdout, fuel) = (answer.stdout, answer.fuel);
        self.phase = Phase::Running { measurement, since: now, stdout, fuel };
        Next {
            say: Some(ToAgent::MeasureRun { measurement, args: answer.args.clone() }),
            ..Next::default()
        }
    }

    fn found(&mut self, now: Instant) -> Next {
        Next { speed_mfuel_per_s: Some(self.best), ..self.over(now) }
    }

    fn over(&mut self, now: Instant) -> Next {
        let measurement = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => None,
            Phase::Preparing { measurement, .. } | Phase::Running { measurement, .. } => {
                Some(measurement)
            }
        };
        self.not_before = Some(now + RETRY);
        let say = measurement.map(|measurement| ToAgent::MeasureOver { measurement });
        Next { say, ..Next::default() }
    }
}

impl Phase {
    fn is_of(&self, said: &Digest) -> bool {
        match self {
            Phase::Idle => false,
            Phase::Preparing { measurement, .. } | Phase::Running { measurement, .. } => {
                measurement == said
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: MachineId = MachineId(7);

    fn calibration(answers: u8) -> Calibration {
        let answer = |n: u8| Answer {
            args: vec![n.to_string()],
            stdout: Digest::of(&[n]),
            fuel: 1_000_000_000,
        };
        Calibration {
            module: Digest::of(b"module"),
            answers: Answers {
                warm_up: vec!["0".to_owned()],
                answers: (0..answers).map(answer).collect(),
            },
            given: Mutex::default(),
        }
    }

    /// What a machine says that needs so many milliseconds for each run, and what is found.
    fn measured(runs_ms: &[u64], lie: impl Fn(u32, &mut ToExchange)) -> Option<u32> {
        let calibration = calibration(8);
        let mut now = Instant::now();
        let mut measuring = Measuring::new(MACHINE);
        let Next { say: Some(ToAgent::Measure { measurement, .. }), .. } =
            measuring.begin(&calibration, now)
        else {
            panic!("it does not begin")
        };
        assert_eq!(measuring.begin(&calibration, now), Next::default(), "one at a time");
        now += Duration::from_secs(9);
        let mut next = measuring.hear(&ToExchange::MeasureReady { measurement }, &calibration, now);
        for (run, ms) in runs_ms.iter().enumerate() {
            let Some(ToAgent::MeasureRun { args, .. }) = &next.say else { break };
            let stdout = Digest::of(&[args[0].parse().unwrap()]);
            let mut said = ToExchange::Measured { measurement, stdout, fuel: 1_000_000_000 };
            lie(run as u32, &mut said);
            now += Duration::from_millis(*ms);
            next = measuring.hear(&said, &calibration, now);
        }
        assert!(matches!(next.say, Some(ToAgent::MeasureOver { .. })), "the slot is free");
        assert_eq!(measuring.begin(&calibration, now).say, None, "not again at once");
        next.speed_mfuel_per_s
    }

    #[test]
    fn the_best_of_three_right_answers_counts_by_the_exchanges_clock() {
        assert_eq!(measured(&[500, 250, 1_000], |_, _| ()), Some(4_000));
        for run in 0..3 {
            let more_fuel = |at: u32, said: &mut ToExchange| {
                if let (true, ToExchange::Measured { fuel, .. }) = (at == run, said) {
                    *fuel += 1;
                }
            };
            assert_eq!(measured(&[500, 250, 1_000], more_fuel), Some(0), "{run}");
            let other_answer = |at: u32, said: &mut ToExchange| {
                if let (true, ToExchange::Measured { stdout, .. }) = (at == run, said) {
                    *stdout = Digest::of(b"guessed");
                }
            };
            assert_eq!(measured(&[500, 250, 1_000], other_answer), Some(0), "{run}");
        }
    }

    #[test]
    fn a_machine_that_says_nothing_is_asked_again_later() {
        let calibration = calibration(2);
        let start = Instant::now();
        let mut measuring = Measuring::new(MACHINE);
        assert!(measuring.begin(&calibration, start).say.is_some());
        assert_eq!(measuring.tick(start + READY_MAX), Next::default());
        assert!(!measuring.is_idle());
        let late = start + READY_MAX + Duration::from_secs(1);
        let given_up = measuring.tick(late);
        assert!(matches!(given_up.say, Some(ToAgent::MeasureOver { .. })));
        assert_eq!(given_up.speed_mfuel_per_s, None, "who is not ready keeps its speed");
        assert!(measuring.is_idle());
        let again = measuring.begin(&calibration, late + RETRY);
        let Some(ToAgent::Measure { measurement, .. }) = again.say else { panic!("not again") };
        let ready = ToExchange::MeasureReady { measurement };
        assert!(measuring.hear(&ready, &calibration, late + RETRY).say.is_some());
        let never = measuring.tick(late + RETRY + RUN_MAX + Duration::from_secs(1));
        assert_eq!(never.speed_mfuel_per_s, Some(0), "who begins must come to an end");
    }

    #[test]
    fn no_machine_gets_an_input_twice_before_it_had_all() {
        let calibration = calibration(5);
        let mut had = BTreeSet::new();
        for _ in 0..5 {
            had.insert(calibration.pick(MACHINE).unwrap().args.clone());
        }
        assert_eq!(had.len(), 5);
        assert!(calibration.pick(MACHINE).is_some());
    }
}
