//! `cargo xtask tidy`: the invariants of ARCHITECTURE.md that no compiler checks.
//!
//! Each rule reads a [`Tree`] (the project's files by path) and says what is wrong and why it
//! matters. A rule is worth having only as long as its test fails without it.
//!
//! Where things are: `tree` reads files, `manifest` and `tokens` parse as much of Cargo.toml and
//! of Rust as the rules need; `crates`, `sources` and `documents` hold the rules.

mod crates;
mod documents;
mod manifest;
mod sources;
mod tokens;
mod tree;

use std::path::Path;

use tree::Tree;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file, with a line if there is one to name.
    place: String,
    /// What is wrong, and what to do.
    message: String,
}

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: &[Rule] = &[
    crates::arrows_are_declared,
    crates::only_the_binary_uses_edges,
    crates::pure_crates_stay_pure,
    crates::one_crate_per_trade,
    crates::lints_are_inherited,
    sources::modules_say_what_they_are,
    sources::files_are_short,
    sources::names_say_what,
    sources::pure_code_is_deterministic,
    documents::no_paths_of_one_machine,
    documents::paths_exist,
];

/// Checks the project; every finding goes to standard error.
pub fn report(root: &Path) -> Result<(), String> {
    let tree = Tree::read(root)?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.sort();
    for Finding { place, message } in &findings {
        eprintln!("{place}: {message}");
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(format!("{count} {}", if count == 1 { "finding" } else { "findings" })),
    }
}

fn finding(place: impl Into<String>, message: impl Into<String>) -> Finding {
    Finding { place: place.into(), message: message.into() }
}

/// For tests: what `rule` says about `files`, a finding a line.
#[cfg(test)]
fn check(rule: Rule, files: &[(&str, &str)], expected: &[&str]) {
    let mut findings = rule(&Tree::of(files));
    findings.sort();
    let said: Vec<String> =
        findings.iter().map(|found| format!("{}: {}", found.place, found.message)).collect();
    let fits = said.len() == expected.len()
        && said.iter().zip(expected).all(|(said, beginning)| said.starts_with(beginning));
    assert!(fits, "found {said:#?}\nexpected {expected:#?}");
}
