//! `jusha exchange calibrate`: answers to tasks that machines will be asked, worked out here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::IsTerminal;
use std::path::Path;

use base::Digest;
use clap::Args;
use exchange::{
    Answer, Answers, CALIBRATION_FILE, CALIBRATION_MEMORY_FILE, CALIBRATION_MODULE_FILE,
    MemoryAnswers, MemoryGrade,
};
use runtime::launch::Launcher;
use runtime::protocol::{Outcome, Start};
use runtime::task::Task;

use crate::containment::Containment;
use crate::error::{CliError, CliResult, io};
use crate::local::{self, LocalEnd};
use crate::{config, terminal};

/// The published program: `guests/mersenne.c`, whose answer nobody knows without the work.
const MODULE: &[u8] = include_bytes!("../../../../../guests/mersenne.wasm");
/// Compiles it all, and takes a few milliseconds.
const WARM_UP: &str = "1279";
/// The published program `guests/memory.c`, which needs the memory that it is told to.
const MEMORY_MODULE: &[u8] = include_bytes!("../../../../../guests/memory.wasm");
/// The same for that.
const MEMORY_WARM_UP: [&str; 2] = ["24", "0"];
const PAGES_PER_MIB: u32 = 16;

/// What is worked out.
#[derive(Debug, Clone, Args)]
pub struct Calibrate {
    /// How many answers: have more than one owner has machines
    #[arg(long, value_name = "N", default_value_t = 32,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// About how large: the default takes some two seconds on a current processor
    #[arg(long, value_name = "EXPONENT", default_value_t = 60_000,
          value_parser = clap::value_parser!(u32).range(2_000..=1_000_000))]
    size: u32,
    /// A size of memory to measure, in MiB, for each that instruments ask for; 0 measures none
    #[arg(long = "memory", value_name = "MIB", default_values_t = [512, 2048, 4096],
          value_parser = clap::value_parser!(u32).range(0..=4096))]
    memory_mib: Vec<u32>,
    /// How many answers for each size: have more than the largest machine has slots
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    memory_count: u32,
    #[command(flatten)]
    containment: Containment,
}

/// Runs the programs on this computer, on inputs that nobody can foresee, and writes the answers
/// into the data directory.
pub fn run(options: &Calibrate, data: &Path) -> CliResult {
    io(fs::create_dir_all(data), format_args!("make {}", data.display()))?;
    let launcher = local::launcher(options.containment.weakening())?;
    let mut answers = BTreeMap::new();
    while answers.len() < options.count as usize {
        // A sixteenth of leeway has some thousand inputs, all of nearly the same length.
        let leeway = (options.size / 16).max(2 * options.count);
        let random = (client::random_id() % u128::from(leeway)) as u32;
        let exponent = (options.size + random) | 1;
        if answers.contains_key(&exponent) {
            continue;
        }
        let args = vec![exponent.to_string()];
        answers.insert(exponent, answer(&launcher, MODULE, args, None)?);
        progress(&format!("speed: {} of {} answers", answers.len(), options.count));
    }
    let memory = memory(options, &launcher)?;
    progress("");
    let answers = Answers {
        warm_up: vec![WARM_UP.to_owned()],
        answers: answers.into_values().collect(),
        memory,
    };
    let text =
        serde_json::to_vec_pretty(&answers).map_err(|error| CliError::new(error.to_string()))?;
    config::write_file(&data.join(CALIBRATION_MODULE_FILE), MODULE)?;
    config::write_file(&data.join(CALIBRATION_MEMORY_FILE), MEMORY_MODULE)?;
    // Who knows the answers need not work.
    config::write_private(&data.join(CALIBRATION_FILE), &text)?;
    let sizes: Vec<String> = answers
        .memory
        .iter()
        .flat_map(|memory| &memory.grades)
        .map(|grade| format!("{} for {} MiB", grade.answers.len(), grade.memory_mib))
        .collect();
    let on_memory = if sizes.is_empty() { "none".to_owned() } else { sizes.join(", ") };
    terminal::line(&format!(
        "answers in {}: {} on speed; on memory {on_memory}",
        data.display(),
        options.count,
    ))?;
    Ok(0)
}

/// One line that is written over, where somebody looks at it.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

fn memory(options: &Calibrate, launcher: &Launcher) -> CliResult<Option<MemoryAnswers>> {
    let sizes: BTreeSet<u32> = options.memory_mib.iter().copied().filter(|mib| *mib > 0).collect();
    let mut grades = Vec::new();
    for memory_mib in sizes {
        let mut answers = BTreeMap::new();
        while answers.len() < options.memory_count as usize {
            let seed = (client::random_id() % u128::from(u64::MAX)) as u64;
            let args = vec![memory_mib.to_string(), seed.to_string()];
            answers.insert(seed, answer(launcher, MEMORY_MODULE, args, Some(memory_mib))?);
            let (have, all) = (answers.len(), options.memory_count);
            progress(&format!("memory of {memory_mib} MiB: {have} of {all} answers"));
        }
        grades.push(MemoryGrade { memory_mib, answers: answers.into_values().collect() });
    }
    let warm_up = MEMORY_WARM_UP.map(str::to_owned).to_vec();
    Ok((!grades.is_empty()).then_some(MemoryAnswers { warm_up, grades }))
}

fn answer(
    launcher: &Launcher,
    module: &[u8],
    args: Vec<String>,
    memory_mib: Option<u32>,
) -> CliResult<Answer> {
    let mut task = Task::new(module.to_vec());
    task.args.extend(args.iter().cloned());
    if let Some(memory_mib) = memory_mib {
        task.memory_max_pages = memory_mib * PAGES_PER_MIB;
    }
    match local::run(launcher, Start::new(task), |_| Ok(()))? {
        LocalEnd::Ended(end) if end.outcome == Outcome::Exited(0) => {
            Ok(Answer { args, stdout: Digest::of(&end.stdout), fuel: end.usage.fuel })
        }
        LocalEnd::Refused(reason) | LocalEnd::Fault(reason) => {
            Err(CliError::new(reason).hint("`jusha doctor` says what this computer lacks"))
        }
        _ => Err(CliError::new(format!("the program did not answer for {}", args.join(" ")))
            .hint("this computer may have too little memory for a size: leave it out")),
    }
}
