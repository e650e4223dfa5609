//! `jusha exchange calibrate`: answers to tasks that machines will be asked, worked out here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base::Digest;
use clap::Args;
use exchange::{Answer, Answers, CALIBRATION_FILE, CALIBRATION_MODULE_FILE};
use runtime::launch::Launcher;
use runtime::protocol::{End, Outcome, Start};
use runtime::task::Task;

use crate::containment::Containment;
use crate::error::{CliError, CliResult, io};
use crate::local::{self, LocalEnd};
use crate::{config, terminal};

/// The published program: `guests/mersenne.c`, whose answer nobody knows without the work.
const MODULE: &[u8] = include_bytes!("../../../../../guests/mersenne.wasm");
/// Compiles it all, and takes a few milliseconds.
const WARM_UP: &str = "1279";

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
    #[command(flatten)]
    containment: Containment,
}

/// Runs the program on this computer, on inputs that nobody can foresee, and writes the answers
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
        let end = answer(&launcher, &exponent.to_string())?;
        let (stdout, fuel) = (Digest::of(&end.stdout), end.usage.fuel);
        answers.insert(exponent, Answer { args: vec![exponent.to_string()], stdout, fuel });
        eprint!("\r{} of {} answers", answers.len(), options.count);
    }
    eprintln!();
    let answers =
        Answers { warm_up: vec![WARM_UP.to_owned()], answers: answers.into_values().collect() };
    let text =
        serde_json::to_vec_pretty(&answers).map_err(|error| CliError::new(error.to_string()))?;
    config::write_file(&data.join(CALIBRATION_MODULE_FILE), MODULE)?;
    // Who knows the answers need not work.
    config::write_private(&data.join(CALIBRATION_FILE), &text)?;
    terminal::line(&format!("{} answers in {}", options.count, data.display()))?;
    Ok(0)
}

fn answer(launcher: &Launcher, exponent: &str) -> CliResult<Box<End>> {
    let mut task = Task::new(MODULE.to_vec());
    task.args.push(exponent.to_owned());
    match local::run(launcher, Start::new(task), |_| Ok(()))? {
        LocalEnd::Ended(end) if end.outcome == Outcome::Exited(0) => Ok(end),
        LocalEnd::Refused(reason) | LocalEnd::Fault(reason) => {
            Err(CliError::new(reason).hint("`jusha doctor` says what this computer lacks"))
        }
        _ => Err(CliError::new(format!("the program did not answer for {exponent}"))),
    }
}
