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
pub fn guests(root: &Path, args: &[String]) -> Result<(), String> {
    system::provide(root, &[system::GUESTS])?;
    run::shown(run::command(root, root.join("guests/build.sh"), &[]).args(args))
}

/// Where cargo puts what it builds.
pub fn target(root: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root.join(directory),
        None => root.join("target"),
    }
}
