//! docs/errors.md lists every code that a client or an agent can meet, and no other.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::status_of;

const DOCUMENT: &str = "docs/errors.md";

/// Where codes are named: each in functions that are called `code`.
const SOURCES: [&str; 10] = [
    "crates/clearing/src/fixed.rs",
    "crates/clearing/src/payments.rs",
    "crates/clearing/src/rejection.rs",
    "crates/exchange/src/agent.rs",
    "crates/exchange/src/error.rs",
    "crates/exchange/src/http/feed.rs",
    "crates/exchange/src/receipts.rs",
    "crates/ledger/src/transfer.rs",
    "crates/market/src/admission.rs",
    "crates/market/src/instrument.rs",
];

/// And those that are said in passing, to agents.
const ELSEWHERE: [&str; 3] = ["hello_again", "invalid_message", "invalid_name"];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The quoted words in bodies of functions called `code`.
fn named_in(source: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if !line.contains("fn code(") {
            continue;
        }
        let end = format!("{}}}", " ".repeat(line.len() - line.trim_start().len()));
        for line in lines.by_ref().take_while(|line| *line != end) {
            codes.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    codes
}

/// Codes and statuses of the tables' rows: `| `code` | 400 | …`.
fn listed(document: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let (code, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((code.to_owned(), rest.split_once(" |")?.0.to_owned()))
    };
    document.lines().filter_map(row).collect()
}

#[test]
fn every_code_is_listed_once_and_each_listed_one_exists() {
    let mut named: BTreeSet<String> = ELSEWHERE.map(str::to_owned).into();
    for source in SOURCES {
        let found = named_in(&read(source));
        assert!(!found.is_empty(), "{source} names no codes any more");
        named.extend(found);
    }
    let listed = listed(&read(DOCUMENT));
    for (code, status) in listed.iter().filter(|(_, status)| status != "agent") {
        assert_eq!(*status, status_of(code).as_str(), "{code}");
    }
    let once: BTreeSet<String> = listed.iter().map(|(code, _)| code.clone()).collect();
    assert_eq!(once.len(), listed.len(), "{DOCUMENT} lists a code twice");
    let lacking: Vec<_> = named.difference(&once).collect();
    let gone: Vec<_> = once.difference(&named).collect();
    assert!(lacking.is_empty(), "{DOCUMENT} lacks {lacking:?}");
    assert!(gone.is_empty(), "{DOCUMENT} lists {gone:?}, which nothing says");
}

#[test]
fn a_new_source_of_codes_is_noticed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in ["clearing", "exchange", "ledger", "market"] {
        let mut directories = vec![root.join(name).join("src")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let declares = text.lines().any(|line| {
                    line.trim_start().trim_start_matches("pub ").starts_with("fn code(&self)")
                });
                let known = SOURCES
                    .iter()
                    .any(|source| path.ends_with(source.trim_start_matches("crates/")));
                assert!(!declares || known, "{}: list it in SOURCES", path.display());
            }
        }
    }
}
