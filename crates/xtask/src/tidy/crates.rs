//! Rules about crates: who may use whom, and what.

use super::tree::Tree;
use super::{Finding, finding};

/// Decide who owes what to whom, the same on every machine and on every replay.
pub const PURE: [&str; 4] = ["base", "clearing", "ledger", "market"];
/// Own sockets, files and processes: nothing is built on them but the binary.
const EDGES: [&str; 2] = ["exchange", "provider"];
/// The binary, and we.
const BINARY: &str = "jusha";
const OURSELVES: &str = "xtask";

/// What pure crates may use beside each other: encodings, hashing, errors, and the word for how a
/// type looks in the API's description, which only its own crate can say.
const PURE_DEPENDENCIES: [&str; 5] = ["blake3", "postcard", "serde", "thiserror", "utoipa"];
/// And in their tests.
const PURE_TEST_DEPENDENCIES: [&str; 3] = ["proptest", "serde_json", "tempfile"];

/// Dependencies that only one crate may have: what they bring has one place.
const TRADES: [(&str, &str, &str); 7] = [
    ("rusqlite", "exchange", "SQL is the exchange's store only"),
    ("axum", "exchange", "HTTP is served by the exchange only"),
    ("utoipa-axum", "exchange", "the API is described where it is served"),
    ("wasmtime", "runtime", "only the runtime runs programs"),
    ("wasm-encoder", "runtime", "only the runtime transforms programs"),
    ("clap", "jusha", "the command line is the binary's"),
    ("indicatif", "jusha", "the terminal is the binary's"),
];

const MAP: &str = "ARCHITECTURE.md";
const MAP_BEGINS: &str = "```crates";

/// The arrows between our crates are those that ARCHITECTURE.md draws: none more, none less.
pub fn arrows_are_declared(tree: &Tree) -> Vec<Finding> {
    let Some(map) = tree.text(MAP).and_then(declared) else {
        return vec![finding(MAP, format!("it has no block `{MAP_BEGINS}` with a line per crate"))];
    };
    let names: Vec<&str> = tree.crates().map(|found| found.name).collect();
    let mut findings = Vec::new();
    for found in tree.crates() {
        let Some((_, allowed)) = map.iter().find(|(name, _)| *name == found.name) else {
            let message = format!("the crate `{}` is not in the map of crates", found.name);
            findings.push(finding(MAP, message));
            continue;
        };
        let all = found.manifest.dependencies.iter().chain(&found.manifest.dev_dependencies);
        let ours = all.map(String::as_str).filter(|used| names.contains(used));
        for used in ours.clone().filter(|used| !allowed.contains(used)) {
            let message = format!(
                "`{}` may not use `{used}`: a new arrow is a rare kind of change, and is drawn in \
                 {MAP} first",
                found.name
            );
            findings.push(finding(found.path, message));
        }
        for gone in allowed.iter().filter(|allowed| !ours.clone().any(|used| used == **allowed)) {
            let message = format!("it draws `{}` → `{gone}`, which is not in use", found.name);
            findings.push(finding(MAP, message));
        }
    }
    for (name, _) in map.iter().filter(|(name, _)| !names.contains(name)) {
        findings.push(finding(MAP, format!("it has a crate `{name}`, and there is none")));
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Lines such as `clearing → base, ledger   what it is` between the fences.
fn declared(text: &str) -> Option<Vec<(&str, Vec<&str>)>> {
    let (_, block) = text.split_once(MAP_BEGINS)?;
    let (block, _) = block.split_once("```")?;
    let crate_of = |line| -> Option<(&str, Vec<&str>)> {
        let mut words = str::split_whitespace(line).peekable();
        let name = words.next()?;
        let mut uses = Vec::new();
        if words.next_if_eq(&"→").is_some() {
            for word in words {
                uses.push(word.trim_end_matches(','));
                if !word.ends_with(',') {
                    break;
                }
            }
        }
        Some((name, uses))
    };
    Some(block.lines().filter_map(crate_of).collect())
}

/// Nothing is built on the exchange or the provider but the binary, and on it and on us nothing.
pub fn only_the_binary_uses_edges(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for found in tree.crates() {
        for used in found.manifest.dependencies.iter().chain(&found.manifest.dev_dependencies) {
            let used = used.as_str();
            let never = used == BINARY || used == OURSELVES;
            if never || (EDGES.contains(&used) && found.name != BINARY) {
                let message = format!("nothing may depend on `{used}`; move what is needed down");
                findings.push(finding(found.path, message));
            }
        }
    }
    findings
}

/// Pure crates use each other and a short list.
pub fn pure_crates_stay_pure(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for found in tree.crates().filter(|found| PURE.contains(&found.name)) {
        let known = |name: &str| PURE.contains(&name) || PURE_DEPENDENCIES.contains(&name);
        let (used, tested) = (&found.manifest.dependencies, &found.manifest.dev_dependencies);
        let used = used.iter().filter(|name| !known(name));
        let tested = tested
            .iter()
            .filter(|name| !known(name) && !PURE_TEST_DEPENDENCIES.contains(&name.as_str()));
        for name in used.chain(tested) {
            let message = format!(
                "`{name}` in a pure crate, which has no I/O, clock, randomness or threads and \
                 uses only {}",
                PURE_DEPENDENCIES.join(", ")
            );
            findings.push(finding(found.path, message));
        }
    }
    findings
}

/// SQL, HTTP, the engine and the terminal each have one place.
pub fn one_crate_per_trade(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for found in tree.crates() {
        for (dependency, owner, why) in TRADES {
            if found.name != owner && found.manifest.dependencies.iter().any(|d| d == dependency) {
                findings.push(finding(found.path, format!("`{dependency}`: {why}")));
            }
        }
    }
    findings
}

/// Lints are the workspace's, so that no crate has laxer ones.
pub fn lints_are_inherited(tree: &Tree) -> Vec<Finding> {
    tree.crates()
        .filter(|found| !found.manifest.inherits_lints)
        .map(|found| finding(found.path, "it lacks `[lints] workspace = true`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    const MARKET: (&str, &str) = ("crates/market/Cargo.toml", "[dependencies]\nbase = {}\n");
    const BASE: (&str, &str) = ("crates/base/Cargo.toml", "[dependencies]\nserde = \"1\"\n");

    fn map(lines: &str) -> String {
        format!("# Map\n```crates\n{lines}\n```\nafter → words\n")
    }

    #[test]
    fn arrows() {
        let rule = arrows_are_declared;
        let good = map("base            nouns → not an arrow\nmarket → base   the book");
        check(rule, &[BASE, MARKET, (MAP, &good)], &[]);
        check(rule, &[BASE, MARKET], &["ARCHITECTURE.md: it has no block"]);
        let lacking = map("base\nmarket");
        let more = &["crates/market/Cargo.toml: `market` may not use `base`"];
        check(rule, &[BASE, MARKET, (MAP, &lacking)], more);
        let in_tests = ("crates/market/Cargo.toml", "[dev-dependencies]\nbase = {}\n");
        check(rule, &[BASE, in_tests, (MAP, &lacking)], more);
        let unused = map("base → market\nmarket → base");
        let less = &["ARCHITECTURE.md: it draws `base` → `market`, which is not in use"];
        check(rule, &[BASE, MARKET, (MAP, &unused)], less);
        let other = map("base\nledger");
        check(
            rule,
            &[BASE, MARKET, (MAP, &other)],
            &[
                "ARCHITECTURE.md: it has a crate `ledger`, and there is none",
                "ARCHITECTURE.md: the crate `market` is not in the map",
            ],
        );
    }

    #[test]
    fn edges_are_ends() {
        let rule = only_the_binary_uses_edges;
        let both = "[dependencies]\nexchange = {}\nprovider = {}\n";
        check(rule, &[("crates/jusha/Cargo.toml", both)], &[]);
        let client = ("crates/client/Cargo.toml", both);
        let said = "crates/client/Cargo.toml: nothing may depend on";
        check(rule, &[client], &[said, said]);
        let tests = ("crates/client/Cargo.toml", "[dev-dependencies]\nexchange = {}\n");
        check(rule, &[tests], &[said]);
        let binary = ("crates/sim/Cargo.toml", "[dependencies]\njusha = {}\nxtask = {}\n");
        let said = "crates/sim/Cargo.toml: nothing may depend on";
        check(rule, &[binary], &[said, said]);
    }

    #[test]
    fn purity() {
        let rule = pure_crates_stay_pure;
        check(rule, &[BASE, MARKET], &[]);
        for impure in ["tokio", "rusqlite", "axum", "reqwest", "rand", "chrono", "time"] {
            let manifest = format!("[dependencies]\n{impure} = \"1\"\n");
            let said = format!("crates/ledger/Cargo.toml: `{impure}` in a pure crate");
            check(rule, &[("crates/ledger/Cargo.toml", &manifest)], &[said.as_str()]);
            check(rule, &[("crates/client/Cargo.toml", &manifest)], &[]);
        }
        let tested = "[dev-dependencies]\nproptest = \"1\"\nrand = \"1\"\n";
        let said = &["crates/base/Cargo.toml: `rand` in a pure crate"];
        check(rule, &[("crates/base/Cargo.toml", tested)], said);
    }

    #[test]
    fn trades_have_one_place() {
        let manifest = "[dependencies]\nrusqlite = \"1\"\n";
        check(one_crate_per_trade, &[("crates/exchange/Cargo.toml", manifest)], &[]);
        let said = &["crates/provider/Cargo.toml: `rusqlite`: SQL is"];
        check(one_crate_per_trade, &[("crates/provider/Cargo.toml", manifest)], said);
    }

    #[test]
    fn lints() {
        let with = ("crates/base/Cargo.toml", "[lints]\nworkspace = true\n");
        check(lints_are_inherited, &[with], &[]);
        check(lints_are_inherited, &[BASE], &["crates/base/Cargo.toml: it lacks"]);
    }
}
