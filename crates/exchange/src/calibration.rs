//! What machines are measured with: published programs, and inputs with answers that the operator
//! worked out beforehand (`jusha exchange calibrate`), since an exchange runs no programs.
//!
//! No input is given to the same machine twice before all were. Machines of one owner can tell each
//! other answers, so have more of them than one owner has machines, and make new ones now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use base::{Digest, MachineId};
use serde::{Deserialize, Serialize};
use wire::{NewInstrument, PricedPer};

use crate::blobs::BlobStore;
use crate::error::ExchangeError;
use crate::secrets;

/// The answers, in the data directory.
pub const CALIBRATION_FILE: &str = "calibration.json";
/// The program that gives those on speed.
pub const CALIBRATION_MODULE_FILE: &str = "calibration.wasm";
/// The program that gives those on memory.
pub const CALIBRATION_MEMORY_FILE: &str = "calibration-memory.wasm";

/// What the operator worked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Arguments that compile the program and do next to nothing.
    pub warm_up: Vec<String>,
    /// Inputs with what they must come to.
    pub answers: Vec<Answer>,
    /// Those on memory; without them it is not measured.
    #[serde(default)]
    pub memory: Option<MemoryAnswers>,
}

/// How memory is measured: by work that can only be done with so much of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryAnswers {
    /// Arguments that compile the program and do next to nothing.
    pub warm_up: Vec<String>,
    /// By memory.
    pub grades: Vec<MemoryGrade>,
}

/// Inputs that take one size of memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryGrade {
    /// What each run takes.
    pub memory_mib: u32,
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

/// Which answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Speed,
    /// The grade's place in [`MemoryAnswers::grades`].
    Memory(usize),
}

/// The exchange's means of measuring.
#[derive(Debug)]
pub(crate) struct Calibration {
    module: Digest,
    memory_module: Digest,
    answers: Answers,
    given: Mutex<BTreeMap<(MachineId, Kind), BTreeSet<usize>>>,
}

impl Calibration {
    /// As the data directory has it, if it has; the programs are put among the blobs.
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
        let mut answers: Answers =
            serde_json::from_slice(&text).map_err(|error| failed(&path)(error.into()))?;
        if answers.answers.is_empty() {
            return Ok(None);
        }
        let program = |name: &str| {
            let path = data.join(name);
            let bytes = fs::read(&path).map_err(failed(&path))?;
            Ok::<_, ExchangeError>(blobs.put(&bytes)?)
        };
        let module = program(CALIBRATION_MODULE_FILE)?;
        let mut memory_module = module;
        if let Some(memory) = &mut answers.memory {
            memory_module = program(CALIBRATION_MEMORY_FILE)?;
            memory.grades.retain(|grade| !grade.answers.is_empty());
            memory.grades.sort_by_key(|grade| grade.memory_mib);
        }
        Ok(Some(Calibration::new(module, memory_module, answers)))
    }

    pub(crate) fn new(module: Digest, memory_module: Digest, answers: Answers) -> Self {
        Calibration { module, memory_module, answers, given: Mutex::default() }
    }

    /// The programs, which every machine must be able to fetch.
    pub fn modules(&self) -> [Digest; 2] {
        [self.module, self.memory_module]
    }

    /// The program of a kind, and arguments that compile it.
    pub fn program(&self, kind: Kind) -> (Digest, Vec<String>) {
        match (kind, &self.answers.memory) {
            (Kind::Memory(_), Some(memory)) => (self.memory_module, memory.warm_up.clone()),
            _ => (self.module, self.answers.warm_up.clone()),
        }
    }

    /// The largest grade of so much memory at most, with its size.
    pub fn grade_within(&self, memory_mib: u32) -> Option<(usize, u32)> {
        let mut grades = self.grades().iter().enumerate();
        let fits = grades.rfind(|(_, grade)| grade.memory_mib <= memory_mib);
        fits.map(|(index, grade)| (index, grade.memory_mib))
    }

    /// Says which instruments no machine can offer in once it is measured.
    pub fn warn_of_gaps(&self, instruments: &[NewInstrument]) {
        let Some(largest) = self.grades().last() else { return };
        let (measured_mib, metered) = (largest.memory_mib, PricedPer::Tfuel);
        for found in instruments.iter().filter(|found| found.priced_per == metered) {
            if found.memory_mib > measured_mib {
                let (instrument, needed_mib) = (&found.name, found.memory_mib);
                tracing::warn!(
                    instrument,
                    needed_mib,
                    measured_mib,
                    "nobody can show so much memory: `jusha exchange calibrate --memory` measures it"
                );
            }
        }
    }

    fn grades(&self) -> &[MemoryGrade] {
        self.answers.memory.as_ref().map_or(&[], |memory| &memory.grades)
    }

    /// So many inputs that the machine has not had lately, all different while there are enough.
    pub fn pick(&self, machine: MachineId, kind: Kind, count: u32) -> Option<Vec<Answer>> {
        let all = match kind {
            Kind::Speed => &self.answers.answers,
            Kind::Memory(grade) => &self.grades().get(grade)?.answers,
        };
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let given = given.entry((machine, kind)).or_default();
        let mut picked = Vec::new();
        for _ in 0..count {
            if given.len() >= all.len() {
                given.clear();
            }
            let fresh: Vec<usize> = (0..all.len()).filter(|index| !given.contains(index)).collect();
            let random = u64::from_be_bytes(secrets::random().ok()?);
            let index = *fresh.get((random % fresh.len().max(1) as u64) as usize)?;
            given.insert(index);
            picked.push(all[index].clone());
        }
        Some(picked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_machine_gets_an_input_twice_before_it_had_all() {
        let machine = MachineId(7);
        let answer = |n: u8| Answer {
            args: vec![n.to_string()],
            stdout: Digest::of(&[n]),
            fuel: 1_000_000_000,
        };
        let all: Vec<Answer> = (0..5).map(answer).collect();
        let grade = |memory_mib| MemoryGrade { memory_mib, answers: all.clone() };
        let answers = Answers {
            warm_up: Vec::new(),
            answers: all.clone(),
            memory: Some(MemoryAnswers {
                warm_up: Vec::new(),
                grades: vec![grade(512), grade(2_048)],
            }),
        };
        let calibration = Calibration::new(Digest::of(b"speed"), Digest::of(b"memory"), answers);
        for kind in [Kind::Speed, Kind::Memory(0), Kind::Memory(1)] {
            let mut had = BTreeSet::new();
            for count in [1, 3, 1] {
                let picked = calibration.pick(machine, kind, count).unwrap();
                had.extend(picked.into_iter().map(|answer| answer.args));
            }
            assert_eq!(had.len(), 5, "{kind:?}");
            assert_eq!(calibration.pick(machine, kind, 7).map(|picked| picked.len()), Some(7));
        }
        let within = |memory_mib| calibration.grade_within(memory_mib);
        assert_eq!((within(511), within(512)), (None, Some((0, 512))));
        assert_eq!((within(2_047), within(9_999)), (Some((0, 512)), Some((1, 2_048))));
    }
}
