//! `cargo xtask python`: the tests of the Python SDK, with a real exchange and a real provider, on
//! each Python that is here.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{chores, run, system};

/// What the tests need, in an environment of its own per version.
const PACKAGES: [&str; 5] =
    ["blake3==1.0.11", "pytest==9.2.0", "hypothesis==6.170.15", "numpy", "pandas"];

/// From the command line: `[PYTHON] [ARGS of pytest]`.
pub fn main(root: &Path, args: &[String]) -> Result<(), String> {
    system::provide(root, &[system::BUILD, system::GUESTS])?;
    let (version, rest) = match args.split_first() {
        Some((first, rest)) if first.starts_with("python") => (first.as_str(), rest),
        _ => ("python3", args),
    };
    build(root)?;
    let tests: Vec<&str> = rest.iter().map(String::as_str).collect();
    run::shown(&mut pytest(root, version, &tests)?)
}

/// As the tests build it, so that nothing is built twice.
fn build(root: &Path) -> Result<(), String> {
    run::shown(&mut run::cargo(root, &["build", "--workspace", "--bins", "--locked", "--quiet"]))
}

/// Such as `3.11`; none if there is no such Python, or only a name for one.
fn version(root: &Path, name: &str) -> Option<String> {
    let print = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = run::command(root, name, &["-c", print]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn pytest(root: &Path, name: &str, tests: &[&str]) -> Result<Command, String> {
    let version = version(root, name).ok_or_else(|| format!("there is no {name} here"))?;
    let target = chores::target(root);
    let python = environment(root, name, &target.join(format!("python-{version}")))?;
    let sdk = root.join("sdk/python");
    let mut command = run::command(&sdk, python, &["-m", "pytest", "-p", "no:cacheprovider"]);
    command
        .args(tests)
        .env("PYTHONPATH", sdk.join("src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("JUSHA", target.join("debug/jusha"))
        // Runtimes and what was compiled of them outlive a run; nothing else is anybody's here.
        .env("XDG_DATA_HOME", target.join("python-data"))
        .env("XDG_CACHE_HOME", target.join("python-data"))
        .env("XDG_CONFIG_HOME", target.join("python-data/no-config"))
        .env_remove("JUSHA_URL")
        .env_remove("JUSHA_TOKEN");
    Ok(command)
}

/// Its Python, with the packages.
fn environment(root: &Path, name: &str, folder: &Path) -> Result<PathBuf, String> {
    let (python, ready) = (folder.join("bin/python"), folder.join("ready"));
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(&ready).is_ok_and(|had| had == wanted) {
        return Ok(python);
    }
    run::shown(run::command(root, name, &["-m", "venv", "--clear"]).arg(folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run::shown(run::command(root, &python, &pip).args(PACKAGES))?;
    std::fs::write(&ready, wanted).map_err(|error| format!("{}: {error}", ready.display()))?;
    Ok(python)
}
