//! The project's own chores, run as `cargo xtask CHORE`.
//!
//! It has no dependencies, of ours or of others: the first command a newcomer types should be
//! at work within a second.

mod api;
mod chores;
mod fuzz;
mod guests;
mod mutants;
mod python;
mod run;
mod system;
mod tests_run;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask demo [ARGS]     build, then `jusha demo ARGS` (try --help)
cargo xtask test [--quick]  everything that must hold: format, tidy, clippy, docs, all tests;
                            --quick leaves out docs and the tests that are programs of their own
cargo xtask tidy            only the architecture's invariants
cargo xtask calibrate [--dev] [--rounds N] [NAME...]
                            nanoseconds per fuel of worst cases, beside real programs; --dev
                            without building everything for release
cargo xtask fuzz [--seconds N] [--grow] [--jobs N]
                            the runtime's fuzzing loop on every core (60 s); failing inputs go
                            to fuzz/corpus, with --grow also those that show something new
cargo xtask api [--seed N] [--examples N]
                            requests made out of the API's description (schemathesis, from PyPI)
                            against an exchange: no 5xx, and only answers that it describes
cargo xtask sim --minutes N | --seeds N | --seed N [--from N]
                            whole exchanges in simulated time, with everything going wrong; a
                            failing seed is said, and --seed repeats it
cargo xtask python [python3.N] [ARGS of pytest]
                            the tests of the Python SDK, with a real exchange and provider
cargo xtask mutants [NAME...]
                            break the runtime's rules one at a time and see that a test fails
cargo xtask guests [--seed N] [NAME...]
                            build or fetch programs of many languages (downloads compilers), run
                            them whole and stopped ten times, compare
cargo xtask guests build [--check] [NAME...]
                            rebuild the example programs in C (guests/build.sh)";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let chore = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let root = root();
    let outcome = match (chore.as_str(), rest.as_slice()) {
        ("demo", rest) => chores::demo(&root, rest),
        ("test", []) => tests_run::everything(&root, false),
        ("test", [quick]) if quick == "--quick" => tests_run::everything(&root, true),
        ("tidy", []) => tidy::report(&root),
        ("calibrate", rest) => chores::calibrate(&root, rest),
        ("fuzz", rest) => fuzz::fuzz(&root, rest),
        ("api", rest) => api::main(&root, rest),
        ("sim", rest) => chores::sim(&root, rest),
        ("python", rest) => python::main(&root, rest),
        ("mutants", rest) => mutants::mutants(&root, rest),
        ("guests", [build, rest @ ..]) if build == "build" => chores::build_guests(&root, rest),
        ("guests", rest) => guests::check(&root, rest),
        ("help" | "--help" | "-h", _) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's root: two levels above this package.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}
