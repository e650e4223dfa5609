//! The chores that only run another program.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{run, system};

/// Builds the binary and becomes `jusha demo`.
pub fn demo(root: &Path, args: &[String]) -> Result<(), String> {
    system::provide(root, &[system::BUILD])?;
    run::shown(
        run::cargo(root, &["build", "--locked", "--package", "jusha"]).stdout(Stdio::null()),
    )?;
    let binary = target(root).join("debug/jusha");
    // In its place, so that signals and the exit status are the demo's own.
    let error = Command::new(&binary).arg("demo").args(args).exec();
    Err(format!("{} can't be started: {error}", binary.display()))
}

/// Rebuilds the example programs.
pub fn build_guests(root: &Path, args: &[String]) -> Result<(), String> {
    system::provide(root, &[system::GUESTS])?;
    run::shown(run::command(root, root.join("guests/build.sh"), &[]).args(args))
}

/// Runs simulated exchanges.
pub fn sim(root: &Path, args: &[String]) -> Result<(), String> {
    system::provide(root, &[system::BUILD])?;
    let mut sim = run::cargo(root, &["run", "--locked", "--quiet", "--package", "sim", "--"]);
    run::shown(sim.args(args))
}

/// Measures what a unit of fuel takes, in the runtime's bench of that name.
pub fn calibrate(root: &Path, args: &[String]) -> Result<(), String> {
    system::provide(root, &[system::BUILD])?;
    // With the profile of the tests everything is built already, if as one workspace; only what
    // is ours is built anew, as for release.
    let dev = args.first().is_some_and(|arg| arg == "--dev");
    let which: &[&str] = if dev {
        &[
            "--workspace",
            "--profile=dev",
            "--config=profile.dev.package.runtime.opt-level=3",
            "--config=profile.dev.package.runtime.debug-assertions=false",
            "--config=profile.dev.package.runtime.overflow-checks=false",
        ]
    } else {
        &["--package", "runtime"]
    };
    let rest = if dev { &args[1..] } else { args };
    let mut bench = run::cargo(root, &["bench", "--locked", "--bench", "calibrate"]);
    run::shown(bench.args(which).arg("--").args(rest))
}

/// Where cargo puts what it builds.
pub fn target(root: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root.join(directory),
        None => root.join("target"),
    }
}
