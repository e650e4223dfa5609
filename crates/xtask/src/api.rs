//! `cargo xtask api`: schemathesis, which makes requests out of the API's own description, against
//! a real exchange. No answer may be a 5xx, and each must be one that the description has.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::{chores, run, system};

/// What is installed from PyPI, into an environment of its own.
const TOOL: &str = "schemathesis==4.32.5";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance";
/// Requests per operation in each generating phase, in CI. What is written in the description
/// (bounds, enumerations, examples) is tried in any case.
const EXAMPLES: u32 = 5;

/// Why nothing was tried.
pub enum Missing {
    /// The tool isn't here and can't be had.
    Tool(String),
    /// It was tried, and something is wrong.
    Failed(String),
}

/// From the command line: `[--seed N] [--examples N]`.
pub fn main(root: &Path, args: &[String]) -> Result<(), String> {
    let (mut seed, mut examples) = (1, EXAMPLES);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let number = words.next().and_then(|text| text.parse().ok());
        match (word.as_str(), number) {
            ("--seed", Some(number)) => seed = number,
            ("--examples", Some(number)) => examples = number,
            _ => return Err(format!("`{word}`: give --seed N, --examples N")),
        }
    }
    system::provide(root, &[system::BUILD, system::GUESTS])?;
    match check(root, seed, examples) {
        Ok(()) => Ok(()),
        Err(Missing::Tool(error) | Missing::Failed(error)) => Err(error),
    }
}

/// As a step of all tests.
pub fn step(root: &Path) -> Result<(), String> {
    match check(root, 1, EXAMPLES) {
        Ok(()) => Ok(()),
        Err(Missing::Failed(error)) => Err(error),
        Err(Missing::Tool(error)) => {
            // Without a network that is nobody's fault, and nothing that the change did.
            eprintln!("xtask: SKIPPED, {TOOL} is not to be had: {error}");
            Ok(())
        }
    }
}

fn check(root: &Path, seed: u32, examples: u32) -> Result<(), Missing> {
    let tool = tool(root).map_err(Missing::Tool)?;
    against_an_exchange(root, &tool, seed, examples).map_err(Missing::Failed)
}

/// The tool, installed if it isn't yet.
fn tool(root: &Path) -> Result<PathBuf, String> {
    let folder = chores::target(root).join(TOOL);
    let tool = folder.join("bin/schemathesis");
    if tool.is_file() {
        return Ok(tool);
    }
    run::shown(run::command(root, "python3", &["-m", "venv", "--clear"]).arg(&folder))?;
    let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", TOOL];
    run::shown(&mut run::command(root, folder.join("bin/python"), &arguments))?;
    Ok(tool)
}

/// Stopped when dropped.
struct Exchange(Child);

impl Drop for Exchange {
    fn drop(&mut self) {
        // It has ended already, at worst.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn against_an_exchange(root: &Path, tool: &Path, seed: u32, examples: u32) -> Result<(), String> {
    // As the tests build it, so that nothing is built twice.
    run::shown(&mut run::cargo(root, &["build", "--workspace", "--bins", "--locked", "--quiet"]))?;
    let jusha = chores::target(root).join("debug/jusha");
    let data = chores::target(root).join(format!("api-{}", std::process::id()));
    let shown = data.display().to_string();
    let outcome = (|| {
        let serve = ["exchange", "--data", &shown, "--listen", "127.0.0.1:0", "--sign-up"];
        let mut serve = run::command(root, &jusha, &serve);
        serve.args(["--requests-per-second", "0"]).env("RUST_LOG", "error");
        let child = serve.stdout(Stdio::piped()).spawn();
        let mut exchange = Exchange(child.map_err(|error| format!("no exchange: {error}"))?);
        let mut line = String::new();
        let stdout = exchange.0.stdout.take().ok_or("the exchange has no output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let url = line.trim().strip_prefix("listening on ").ok_or("the exchange did not start")?;
        let token = operator(root, &jusha, &shown)?;
        let described = format!("{url}/v1/openapi.json");
        let mut tool = run::command(root, tool, &["run", &described, "--checks", CHECKS]);
        tool.args(["--no-color", "--phases", "examples,coverage,fuzzing"]);
        tool.args(["--seed", &seed.to_string(), "--max-examples", &examples.to_string()]);
        // Who signs out is refused everything else.
        tool.args(["--exclude-operation-id", "sign_out"]);
        tool.args(["-H", &format!("Authorization: Bearer {token}")]);
        run::shown(&mut tool).map_err(|error| format!("{error}; `cargo xtask api` repeats it"))?;
        let audit = ["exchange", "audit", "--data", &shown];
        run::shown(run::command(root, &jusha, &audit).stdout(Stdio::null()))
    })();
    // What stays would only take space.
    let _ = std::fs::remove_dir_all(&data);
    outcome
}

/// The token of an account that may do everything, with some money.
fn operator(root: &Path, jusha: &Path, data: &str) -> Result<String, String> {
    let add = ["exchange", "account", "add", "api", "--role", "operator", "--credits", "1000"];
    let made = run::command(root, jusha, &add).args(["--data", data]).output();
    let made = made.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&made.stdout);
    let token = said.lines().find_map(|line| line.strip_prefix("token    "));
    token.map(str::to_owned).ok_or_else(|| String::from_utf8_lossy(&made.stderr).into_owned())
}
