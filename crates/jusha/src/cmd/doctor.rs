//! `jusha doctor`: what this computer offers for containing programs, found out by trying.

use clap::Args;
use runtime::doctor::{self, Fate, Feature, Need, Trial};
use runtime::launch::Launcher;
use runtime::sandbox::Weakening;
use serde::Serialize;

use crate::containment::Containment;
use crate::error::{CliError, CliResult, io};
use crate::{local, terminal};

/// Show how programs are contained on this computer, and try to get out
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 everything mandatory is there and every attempt failed; 1 something is lacking, or an
attempt succeeded; 125 it can't be found out.")]
pub struct Doctor {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    containment: Containment,
}

#[derive(Serialize)]
struct Report {
    enough: bool,
    features: Vec<FeatureLine>,
    attempts: Vec<AttemptLine>,
}

#[derive(Serialize)]
struct FeatureLine {
    name: &'static str,
    offered: bool,
    need: &'static str,
    what_for: &'static str,
}

#[derive(Serialize)]
struct AttemptLine {
    name: &'static str,
    what: &'static str,
    failed: bool,
    fate: String,
}

/// Runs it.
pub fn main(options: &Doctor) -> CliResult {
    let launcher = local::launcher(options.containment.weakening())?;
    let found = io(doctor::examine(&launcher), "start a worker")?;
    let features = doctor::features(&found);
    let enough = doctor::is_enough(&features);
    // With walls lacking, the attempts show what the rest is worth.
    let weakening = if enough { launcher.weakening } else { all() };
    let launcher = Launcher { weakening, ..launcher };
    let trials = doctor::trials(&launcher)
        .map_err(|error| CliError::new(format!("a worker could not try to get out: {error}")))?;
    let held = trials.iter().all(|trial| trial.fate != Fate::Worked);
    let report = Report {
        enough,
        features: features.iter().map(feature_line).collect(),
        attempts: trials.iter().map(attempt_line).collect(),
    };
    match options.json {
        true => terminal::json(&report)?,
        false => show(&report)?,
    }
    Ok(u8::from(!(enough && held)))
}

fn all() -> Weakening {
    Weakening { without_syscall_filter: true, without_file_isolation: true }
}

fn feature_line(feature: &Feature) -> FeatureLine {
    let need = match feature.need {
        Need::Mandatory => "mandatory",
        Need::OneOf => "one of these",
        Need::Better => "better with it",
    };
    let Feature { name, what_for, offered, .. } = *feature;
    FeatureLine { name, offered, need, what_for }
}

fn attempt_line(trial: &Trial) -> AttemptLine {
    let fate = match &trial.fate {
        Fate::Worked => "IT WORKED".to_owned(),
        Fate::Refused(errno) => {
            std::io::Error::from_raw_os_error(*errno).to_string().to_lowercase()
        }
        Fate::Ended(how) => format!("ended: {how}"),
    };
    let failed = trial.fate != Fate::Worked;
    AttemptLine { name: trial.name, what: trial.what, failed, fate }
}

fn show(report: &Report) -> CliResult<()> {
    terminal::line("what this computer offers")?;
    for FeatureLine { name, offered, need, what_for } in &report.features {
        let mark = if *offered { "yes" } else { "NO " };
        terminal::line(&format!("  {mark}  {name:<34} {need:<14}  {what_for}"))?;
    }
    terminal::line("what a worker tried behind it")?;
    for AttemptLine { what, failed, fate, .. } in &report.attempts {
        let mark = if *failed { "held" } else { "HOLE" };
        terminal::line(&format!("  {mark} {what:<34} {fate}"))?;
    }
    if !report.enough {
        terminal::line(
            "something mandatory is lacking: no program is run here. A newer kernel has all of it; \
             in a container, its profile may forbid it.",
        )?;
    }
    Ok(())
}
