//! Rules about Rust files.

use super::crates::PURE;
use super::tokens::{Token, tokens};
use super::tree::Tree;
use super::{Finding, finding};

/// Longest file, tests in it included.
const LINES_MAX: usize = 600;

/// Names that say nothing, under which anything may gather.
const EMPTY_NAMES: [&str; 8] =
    ["common", "core_utils", "helper", "helpers", "misc", "stuff", "util", "utils"];

/// Modules of `std` that pure code has no business with.
const IMPURE_MODULES: [(&str, &str); 7] = [
    ("env", "its surroundings are not part of its input"),
    ("fs", "files are an edge's"),
    ("io", "files and pipes are an edge's"),
    ("net", "the network is an edge's"),
    ("process", "processes are an edge's"),
    ("thread", "it is single-threaded"),
    ("time", "time is an argument, in milliseconds"),
];

/// Words that pure code has no business with.
const IMPURE_WORDS: [(&str, &str); 11] = [
    ("DefaultHasher", "its results differ between versions; use a Digest"),
    ("HashMap", "its order differs from run to run; use BTreeMap"),
    ("HashSet", "its order differs from run to run; use BTreeSet"),
    ("Instant", "time is an argument, in milliseconds"),
    ("OnceLock", "global state"),
    ("RandomState", "randomness comes in with the command"),
    ("SystemTime", "time is an argument, in milliseconds"),
    ("f32", "floats differ in rounding and order; use integers"),
    ("f64", "floats differ in rounding and order; use integers"),
    ("thread_local", "global state"),
    ("thread_rng", "randomness comes in with the command"),
];

/// Every file begins with what it is for.
pub fn modules_say_what_they_are(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(path, _)| finding(path, "it does not begin with `//!` and what it is for"))
        .collect()
}

/// A file that no longer fits a head is cut along its seams.
pub fn files_are_short(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter_map(|(path, text)| {
            let lines = text.lines().count();
            let message = format!("{lines} lines; cut it along its seams, at {LINES_MAX} at most");
            (lines > LINES_MAX).then(|| finding(path, message))
        })
        .collect()
}

/// Crates and modules are named after what they hold.
pub fn names_say_what(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter_map(|(path, _)| {
            let stem = path.strip_suffix(".rs").unwrap_or(path);
            let name = stem.split('/').find(|part| EMPTY_NAMES.contains(part))?;
            Some(finding(path, format!("`{name}` says nothing: name it after what it holds")))
        })
        .collect()
}

/// Pure code computes the same everywhere and always.
pub fn pure_code_is_deterministic(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|(path, _)| {
            PURE.iter().any(|pure| path.starts_with(&format!("crates/{pure}/src/")))
        })
        .flat_map(|(path, text)| impurities(path, &tokens(text)))
        .collect()
}

fn impurities(path: &str, tokens: &[Token<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |token: &Token<'_>, what: String, why: &str| {
        let place = format!("{path}:{}", token.line);
        findings.push(finding(place, format!("{what} in pure code: {why}")));
    };
    for (index, token) in tokens.iter().enumerate() {
        if let Some((word, why)) = IMPURE_WORDS.iter().find(|(word, _)| *word == token.text) {
            add(token, format!("`{word}`"), why);
        }
        let words: Vec<&str> = tokens[index..].iter().take(3).map(|token| token.text).collect();
        if words == ["std", ":", ":"] {
            for module in modules_of_std(&tokens[index + 3..]) {
                let impure = IMPURE_MODULES.iter().find(|(name, _)| *name == module.text);
                if let Some((name, why)) = impure {
                    add(module, format!("`std::{name}`"), why);
                }
            }
        }
        if words.starts_with(&["static", "mut"]) {
            add(token, "`static mut`".to_owned(), "global state");
        }
    }
    findings
}

/// After `std::`: the one module, or those directly in the braces.
fn modules_of_std<'s, 't>(rest: &'s [Token<'t>]) -> Vec<&'s Token<'t>> {
    if rest.first().is_none_or(|token| token.text != "{") {
        return rest.iter().take(1).collect();
    }
    let mut depth = 0;
    let mut modules = Vec::new();
    let mut before = "";
    for token in rest {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if depth == 1 && (before == "{" || before == ",") => modules.push(token),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        before = token.text;
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn module_docs() {
        let rule = modules_say_what_they_are;
        check(rule, &[("crates/a/src/x.rs", "//! For x.\n"), ("other/y.rs", "")], &[]);
        let said = &["crates/a/src/x.rs: it does not begin with `//!`"];
        check(rule, &[("crates/a/src/x.rs", "// For x.\nfn x() {}\n")], said);
        check(rule, &[("crates/a/src/x.rs", "")], said);
    }

    #[test]
    fn length() {
        let fits = "//\n".repeat(LINES_MAX);
        check(files_are_short, &[("crates/a/src/x.rs", &fits)], &[]);
        let long = fits + "//\n";
        let said = &["crates/a/src/x.rs: 601 lines"];
        check(files_are_short, &[("crates/a/src/x.rs", &long)], said);
    }

    #[test]
    fn empty_names() {
        check(names_say_what, &[("crates/a/src/commonplace.rs", "")], &[]);
        for path in [
            "crates/a/src/utils.rs",
            "crates/a/src/helpers/x.rs",
            "crates/common/src/lib.rs",
            "crates/a/tests/misc/mod.rs",
        ] {
            check(names_say_what, &[(path, "")], &[&format!("{path}: ")]);
        }
    }

    #[test]
    fn determinism() {
        let rule = pure_code_is_deterministic;
        let file = "crates/ledger/src/lib.rs";
        let pure = "//! No f64, HashMap.\nuse std::collections::BTreeMap;\nuse std::fmt;\n\
                    const S: &str = \"std::fs\";\nstatic NAME: u8 = 1;\nfn time(fs: u8) {}\n";
        check(rule, &[(file, pure)], &[]);
        for (source, said) in [
            ("use std::time::Duration;", "`std::time`"),
            ("use std::{fmt, collections::{BTreeMap, btree_map}, fs};", "`std::fs`"),
            ("fn f() { std::net::lookup() }", "`std::net`"),
            ("use std::collections::HashMap;", "`HashMap`"),
            ("use std::collections::{BTreeMap, HashSet};", "`HashSet`"),
            ("fn f(x: f32) {}", "`f32`"),
            ("fn f() -> f64 { 0 }", "`f64`"),
            ("fn f() { thread_rng() }", "`thread_rng`"),
            ("static mut X: u8 = 0;", "`static mut`"),
        ] {
            let said = format!("{file}:2: {said} in pure code");
            check(rule, &[(file, &format!("\n{source}"))], &[said.as_str()]);
            check(rule, &[("crates/exchange/src/lib.rs", source)], &[]);
            check(rule, &[("crates/ledger/tests/x.rs", source)], &[]);
        }
    }
}
