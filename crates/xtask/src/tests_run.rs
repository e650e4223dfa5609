//! `cargo xtask test`: everything that must hold before a change lands.
//!
//! Every step runs whatever the others came to, so that one look shows all that is wrong. The
//! last line is for machines: `N passed, N failed`; it never says `0 failed` of a failure.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{api, python, run, system, tidy};

/// Tests that ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

struct Step {
    name: &'static str,
    took: Duration,
    failed: bool,
}

struct Report {
    steps: Vec<Step>,
    count: Count,
}

/// Runs every step, or with `quick` those that a change needs again and again.
pub fn everything(root: &Path, quick: bool) -> Result<(), String> {
    system::provide(root, &[system::BUILD, system::TESTS])?;
    let mut report = Report { steps: Vec::new(), count: Count::default() };
    let cargo = |args: &[&str]| run::cargo(root, args);
    report.step("format", || run::shown(&mut cargo(&["fmt", "--all", "--check"])));
    report.step("tidy", || tidy::report(root));
    report.step("clippy", || {
        let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        run::shown(&mut cargo(&args))
    });
    if !quick {
        report.step("docs", || {
            // Private items too: most of what the documentation explains is private.
            let args = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
            run::shown(cargo(&args).env("RUSTDOCFLAGS", "-D warnings"))
        });
    }
    let unit_only: &[&str] = if quick { &["--lib", "--bins"] } else { &[] };
    if run::works(&mut cargo(&["nextest", "--version"])) {
        let args = ["nextest", "run", "--workspace", "--locked", "--no-fail-fast"];
        report.tests("tests", cargo(&args).args(unit_only), nextest_count);
    } else {
        eprintln!("xtask: cargo-nextest is not installed; `cargo test` takes longer");
        let args = ["test", "--workspace", "--locked", "--no-fail-fast"];
        let all: &[&str] = if quick { unit_only } else { &["--lib", "--bins", "--tests"] };
        report.tests("tests", cargo(&args).args(all), libtest_count);
    }
    if !quick {
        let args = ["test", "--workspace", "--locked", "--no-fail-fast", "--doc"];
        report.tests("doc tests", &mut cargo(&args), libtest_count);
        report.step("api", || api::step(root));
        report.python(root);
    }
    report.close()
}

impl Report {
    fn step(&mut self, name: &'static str, act: impl FnOnce() -> Result<(), String>) {
        eprintln!("\n== {name}");
        let begun = Instant::now();
        let outcome = act();
        if let Err(error) = &outcome {
            eprintln!("xtask: {name}: {error}");
        }
        self.steps.push(Step { name, took: begun.elapsed(), failed: outcome.is_err() });
    }

    fn tests(
        &mut self,
        name: &'static str,
        command: &mut Command,
        count: fn(&str) -> Option<Count>,
    ) {
        let mut counted = Count::default();
        self.step(name, || {
            let mut add = |line: &str| {
                let Count { passed, failed } = count(line).unwrap_or_default();
                counted.passed += passed;
                counted.failed += failed;
            };
            match run::read(command, &mut add)? {
                true => Ok(()),
                false if counted.failed > 0 => Err(format!("{} tests failed", counted.failed)),
                false => Err("the tests could not be built or run".to_owned()),
            }
        });
        self.count.passed += counted.passed;
        self.count.failed += counted.failed;
    }

    /// The Python SDK's, on each Python that is here.
    fn python(&mut self, root: &Path) {
        let mut commands = Vec::new();
        self.step("python", || {
            python::build(root)?;
            match python::commands(root) {
                Ok(found) => commands = found,
                // Without a network that is nobody's fault, and nothing that the change did.
                Err(error) => eprintln!("xtask: SKIPPED, the tests of the Python SDK: {error}"),
            }
            Ok(())
        });
        for mut command in commands {
            self.tests("python tests", &mut command, pytest_count);
        }
    }

    fn close(self) -> Result<(), String> {
        eprintln!();
        for Step { name, took, failed } in &self.steps {
            let verdict = if *failed { "FAILED" } else { "ok" };
            eprintln!("{verdict:>7}  {name:<12} {:>6.1} s", took.as_secs_f64());
        }
        let (count, failed) = self.total();
        println!("{} passed, {} failed", count.passed, count.failed);
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
    }

    /// All tests, and the steps that failed. A failed step that is not of failed tests counts
    /// as one failure.
    fn total(&self) -> (Count, Vec<&'static str>) {
        let failed: Vec<_> =
            self.steps.iter().filter(|step| step.failed).map(|step| step.name).collect();
        let Count { passed, failed: tests } = self.count;
        let others = failed.iter().filter(|name| !name.ends_with("tests")).count() as u64;
        let unspoken = u64::from(tests == 0 && others == 0 && !failed.is_empty());
        (Count { passed, failed: tests + others + unspoken }, failed)
    }
}

/// nextest's last line: `Summary [ 1.2s] 12 tests run: 10 passed (1 slow), 2 failed, 0 skipped`.
fn nextest_count(line: &str) -> Option<Count> {
    let (_, figures) = line.trim_start().strip_prefix("Summary")?.split_once("run:")?;
    Some(count(figures, ','))
}

/// The line of one test program: `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
fn libtest_count(line: &str) -> Option<Count> {
    let (_, figures) = line.trim_start().strip_prefix("test result:")?.split_once('.')?;
    Some(count(figures, ';'))
}

/// pytest's last line: `2 failed, 14 passed, 1 skipped in 83.21s (0:01:23)`.
fn pytest_count(line: &str) -> Option<Count> {
    let (figures, took) = line.rsplit_once(" in ")?;
    took.split(' ').next()?.strip_suffix('s')?.parse::<f64>().ok()?;
    Some(count(figures.trim_matches('='), ','))
}

fn count(figures: &str, separator: char) -> Count {
    let mut count = Count::default();
    for figure in figures.split(separator) {
        let Some((number, what)) = figure.trim().split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        if what.starts_with("passed") {
            count.passed += number;
        } else if ["failed", "timed out", "exec failed", "error"]
            .iter()
            .any(|bad| what.starts_with(bad))
        {
            count.failed += number;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_understood() {
        let nextest = |line| nextest_count(line).map(|count| (count.passed, count.failed));
        assert_eq!(
            nextest("     Summary [   1.204s] 12 tests run: 12 passed, 3 skipped"),
            Some((12, 0))
        );
        assert_eq!(
            nextest(
                " Summary [ 9.1s] 9/12 tests run: 5 passed (1 slow, 2 leaky), 2 failed, \
                 1 timed out, 1 exec failed, 0 skipped"
            ),
            Some((5, 4))
        );
        assert_eq!(nextest("        PASS [   0.004s] base digest::tests::a"), None);
        let libtest = |line| libtest_count(line).map(|count| (count.passed, count.failed));
        assert_eq!(
            libtest("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out"),
            Some((3, 0))
        );
        assert_eq!(libtest("test result: FAILED. 3 passed; 2 failed; 0 ignored"), Some((3, 2)));
        assert_eq!(libtest("test result_is_shown ... ok"), None);
        let pytest = |line| pytest_count(line).map(|count| (count.passed, count.failed));
        assert_eq!(pytest("14 passed, 2 skipped in 83.21s (0:01:23)"), Some((14, 0)));
        assert_eq!(pytest("== 2 failed, 3 passed, 1 error in 0.52s =="), Some((3, 3)));
        assert_eq!(pytest("E   what was there in 3 places"), None);
    }

    fn total(steps: &[(&'static str, bool)], passed: u64, failed: u64) -> (u64, u64) {
        let steps = steps
            .iter()
            .map(|(name, failed)| Step { name, took: Duration::ZERO, failed: *failed })
            .collect();
        let report = Report { steps, count: Count { passed, failed } };
        let count = report.total().0;
        (count.passed, count.failed)
    }

    #[test]
    fn a_failure_is_never_reported_as_none() {
        assert_eq!(total(&[("tidy", false), ("tests", false)], 5, 0), (5, 0));
        assert_eq!(total(&[("tidy", false), ("tests", true)], 4, 1), (4, 1));
        assert_eq!(total(&[("tidy", true), ("tests", false)], 5, 0), (5, 1));
        assert_eq!(total(&[("tidy", true), ("tests", true)], 4, 1), (4, 2));
        assert_eq!(total(&[("tests", true)], 0, 0), (0, 1), "they could not be built");
    }

    #[test]
    fn a_test_step_reads_its_program() {
        // Words of their own: whoever counts our tests reads this, too.
        let count = |line: &str| (line == "two of five").then_some(Count { passed: 3, failed: 2 });
        let mut report = Report { steps: Vec::new(), count: Count::default() };
        let mut shell = run::command(Path::new("."), "sh", &["-c", "echo 'two of five'; exit 1"]);
        report.tests("tests", &mut shell, count);
        assert_eq!(report.count, Count { passed: 3, failed: 2 });
        assert_eq!(report.close(), Err("failed: tests".to_owned()));
    }
}
