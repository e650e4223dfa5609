//! Rules about what is written for people.

use super::tree::Tree;
use super::{Finding, finding};

/// Documents that describe the project as it is now. (The changelog describes what it was.)
const CURRENT: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/languages.md", "guests/README.md"];
/// First parts of absolute paths that every reader has: the system's, a program's virtual ones,
/// and HTTP's.
const EVERYWHERE: [&str; 12] =
    ["dev", "etc", "healthz", "in", "metrics", "out", "proc", "readyz", "sbin", "tmp", "usr", "v1"];
/// Folders of the project: what begins with one of them is a path in it.
const FOLDERS: [&str; 5] = ["crates/", "guests/", ".ci/", ".cargo/", "docs/"];

/// A newcomer's machine has other paths than ours.
pub fn no_paths_of_one_machine(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".md") {
        for (number, line) in (1..).zip(text.lines()) {
            for root in roots(line).filter(|root| !EVERYWHERE.contains(root)) {
                let message = format!("`/{root}…` is a path of one machine only");
                findings.push(finding(format!("{path}:{number}"), message));
            }
        }
    }
    findings
}

/// The first part of each absolute path in `line`.
fn roots(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices('/').filter_map(|(index, _)| {
        // Within a relative path, a URL or an either/or it is no beginning.
        let before = line[..index].chars().next_back();
        if before
            .is_some_and(|character| !character.is_whitespace() && !"`'\"(=:".contains(character))
        {
            return None;
        }
        let rest = &line[index + 1..];
        let end =
            rest.find(|character: char| !character.is_alphanumeric() && !"._-".contains(character));
        let root = &rest[..end.unwrap_or(rest.len())];
        root.starts_with(char::is_alphanumeric).then_some(root)
    })
}

/// Prose that describes folders which are gone is worse than none.
pub fn paths_exist(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for document in CURRENT {
        let Some(text) = tree.text(document) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            for path in links(line).chain(code(line)) {
                if !tree.has(path) && !tree.has(&format!("guests/{path}")) {
                    let message = format!("there is no `{path}`");
                    findings.push(finding(format!("{document}:{number}"), message));
                }
            }
        }
    }
    findings
}

/// Targets of links within the project.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
}

/// Paths within the project that stand in back quotes, alone or in a command.
fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches(['.', ',', ':', ';']))
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
        .filter(|word| !word.contains(['*', '{', '…']) && !word.chars().any(char::is_uppercase))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn local_paths() {
        let rule = no_paths_of_one_machine;
        let fine = "in ~/.local/share, ../home/x, https://x.org/home/y, `target/debug/jusha`, \
                    and/or, a / b, /in/NAME, `/tmp/x`, GET /v1/audit";
        check(rule, &[("README.md", fine)], &[]);
        for bad in ["see /home/ada/x", "`/workspace/main`", "(/root/.cargo)", "PATH=/opt/x"] {
            check(rule, &[("README.md", &format!("\n{bad}"))], &["README.md:2: "]);
        }
    }

    #[test]
    fn gone_paths() {
        let rule = paths_exist;
        let there = ("crates/a/src/x.rs", "");
        let fine = "`crates/a/src/x.rs`, `crates/a`, `run crates/a/src/x.rs -- 5`, `crates/*`, \
                    [it](crates/a/src/x.rs#top), [web](https://x.org/crates/b), a/b, \
                    `guests/NAME.c`";
        check(rule, &[there, ("README.md", fine)], &[]);
        let gone = ("README.md", "see\n`crates/b/src/y.rs` and [it](docs/z.md)");
        let said = &[
            "README.md:2: there is no `crates/b/src/y.rs`",
            "README.md:2: there is no `docs/z.md`",
        ];
        check(rule, &[there, gone], said);
        check(rule, &[there, ("CHANGELOG.md", "`crates/b`")], &[]);
    }
}
