//! `cargo xtask python`: the tests of the Python SDK, with a real exchange and a real provider, on
//! each Python that is here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{chores, run, system};

/// What all tests need, in an environment of its own per version.
const PACKAGES: [&str; 3] = ["blake3==1.0.10", "pytest==9.2.0", "hypothesis==6.168.5"];
/// What some need on top of that: those are passed over where it is not installed.
const MORE_PACKAGES: [&str; 6] =
    ["numpy", "pandas", "tqdm", "nbclient", "ipykernel", "mypy==2.4.1"];
/// The oldest Python of the SDK, in its third major version.
const OLDEST: u32 = 10;
/// What differs from one Python to the next: how functions are taken apart, and what results are
/// made of.
const VERSION_TESTS: [&str; 2] = ["tests/test_source.py", "tests/test_encoding.py"];

/// From the command line: `[PYTHON] [ARGS of pytest]`.
pub fn main(root: &Path, args: &[String]) -> Result<(), String> {
    system::provide(root, &[system::BUILD, system::GUESTS])?;
    let tests: Vec<&str> = args.iter().map(String::as_str).collect();
    let (named, tests) = match tests.split_first() {
        Some((first, rest)) if first.starts_with("python") => (Some(*first), rest),
        _ => (None, &*tests),
    };
    build(root)?;
    let pythons = pythons(root);
    let path = match named {
        None => PathBuf::from("python3"),
        Some(name) => match pythons.get(&minor(name)) {
            Some(path) => path.clone(),
            None => return Err(format!("there is no {name} here")),
        },
    };
    run::shown(&mut pytest(root, &path, true, tests)?)
}

/// For all tests: everything on the system's Python, and on each other one what depends on it. An
/// error means that what they need is not to be had.
pub fn commands(root: &Path) -> Result<Vec<Command>, String> {
    let own = Path::new("python3");
    let mut commands = vec![pytest(root, own, true, &[])?];
    let taken = version(root, own);
    for path in pythons(root).into_values().filter(|path| version(root, path) != taken) {
        commands.push(pytest(root, &path, false, &VERSION_TESTS)?);
    }
    Ok(commands)
}

/// As the tests build it, so that nothing is built twice.
pub fn build(root: &Path) -> Result<(), String> {
    run::shown(&mut run::cargo(root, &["build", "--workspace", "--bins", "--locked", "--quiet"]))
}

/// The Pythons that are here, by minor version: those of the path, and pyenv's.
fn pythons(root: &Path) -> BTreeMap<u32, PathBuf> {
    let mut found = BTreeMap::new();
    let home = std::env::var_os("HOME").unwrap_or_default();
    let pyenv =
        std::env::var_os("PYENV_ROOT").map_or(Path::new(&home).join(".pyenv"), PathBuf::from);
    let installed = std::fs::read_dir(pyenv.join("versions")).into_iter().flatten().flatten();
    let installed = installed.map(|entry| entry.path().join("bin/python3"));
    let named = (OLDEST..OLDEST + 20).map(|minor| PathBuf::from(format!("python3.{minor}")));
    for path in named.chain(installed) {
        if let Some(minor) = version(root, &path).filter(|minor| *minor >= OLDEST) {
            found.entry(minor).or_insert(path);
        }
    }
    found
}

/// Of `python3.12` or `3.12`: 12.
fn minor(name: &str) -> u32 {
    name.rsplit('.').next().and_then(|minor| minor.parse().ok()).unwrap_or_default()
}

/// Of Python 3.11: 11; none if there is no such Python, or only a name for one.
fn version(root: &Path, python: &Path) -> Option<u32> {
    let print = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = run::command(root, python, &["-c", print]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().strip_prefix("3.").map(minor).filter(|_| output.status.success())
}

fn pytest(root: &Path, python: &Path, more: bool, tests: &[&str]) -> Result<Command, String> {
    let version = version(root, python);
    let version = version.ok_or_else(|| format!("there is no {} here", python.display()))?;
    let target = chores::target(root);
    let folder = target.join(format!("python-3.{version}"));
    let more: &[&str] = if more { &MORE_PACKAGES } else { &[] };
    let python = environment(root, python, &folder, &[&PACKAGES, more].concat())?;
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
fn environment(
    root: &Path,
    python: &Path,
    folder: &Path,
    packages: &[&str],
) -> Result<PathBuf, String> {
    let (made, ready) = (folder.join("bin/python"), folder.join("ready"));
    let had = std::fs::read_to_string(&ready).unwrap_or_default();
    if packages.iter().all(|wanted| had.lines().any(|line| line == *wanted)) {
        return Ok(made);
    }
    run::shown(run::command(root, python, &["-m", "venv", "--clear"]).arg(folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run::shown(run::command(root, &made, &pip).args(packages))?;
    std::fs::write(&ready, packages.join("\n"))
        .map_err(|error| format!("{}: {error}", ready.display()))?;
    Ok(made)
}
