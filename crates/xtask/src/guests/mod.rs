//! `cargo xtask guests`: unmodified programs of today's compilers, run whole and interrupted.
//!
//! Each program is fetched or built with a pinned compiler (`fetch`, `programs`), run without a
//! stop, and then stopped and resumed ten times at random fuel, each time in a new process
//! (`trial`). Whatever differs is an error of ours. Everything that comes from elsewhere lies
//! below `target/guests`; deleting that folder starts anew.

mod fetch;
mod programs;
mod trial;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::{chores, run, system};
use trial::Report;

/// Where things are.
struct Places {
    /// The workspace.
    root: PathBuf,
    /// What was fetched and built.
    work: PathBuf,
    /// The program under test.
    jusha: PathBuf,
}

/// The chore. Names choose among the programs; `--seed N` draws other points to stop at.
pub fn check(root: &Path, args: &[String]) -> Result<(), String> {
    let (seed, names) = options(args)?;
    let chosen = programs::chosen(&names)?;
    system::provide(root, &[system::BUILD, system::GUESTS, system::LANGUAGES])?;
    run::shown(
        run::cargo(root, &["build", "--locked", "--workspace", "--bin", "jusha"])
            .stdout(Stdio::null()),
    )?;
    let target = chores::target(root);
    let places = Places {
        root: root.to_owned(),
        work: target.join("guests"),
        jusha: target.join("debug/jusha"),
    };
    println!("stops drawn from seed {seed}");
    let mut rows = vec![trial::HEADINGS.map(str::to_owned)];
    let mut failed = Vec::new();
    for program in chosen {
        eprintln!("xtask: {} ({})", program.name, program.language);
        let outcome =
            program.provide(&places).and_then(|module| trial::run(&places, program, &module, seed));
        rows.push(row(program, outcome.as_ref()));
        if let Err(error) = outcome {
            eprintln!("xtask: {}: {error}", program.name);
            failed.push(program.name);
        }
    }
    print!("{}", table(&rows));
    match failed.as_slice() {
        [] => Ok(()),
        names => Err(format!("failed: {}; the reasons are above", names.join(", "))),
    }
}

fn options(args: &[String]) -> Result<(u64, Vec<&str>), String> {
    let mut seed = 1;
    let mut names = Vec::new();
    let mut rest = args.iter().map(String::as_str);
    while let Some(arg) = rest.next() {
        match arg {
            "--seed" => {
                let number = rest.next().and_then(|text| text.parse().ok());
                seed = number.ok_or("--seed takes a number")?;
            }
            option if option.starts_with('-') => {
                return Err(format!("there is no option `{option}`; see cargo xtask help"));
            }
            name => names.push(name),
        }
    }
    Ok((seed, names))
}

type Row = [String; trial::HEADINGS.len()];

fn row(program: &programs::Program, outcome: Result<&Report, &String>) -> Row {
    let figures = match outcome {
        Ok(report) => report.figures(),
        Err(_) => {
            let mut figures = [const { String::new() }; trial::HEADINGS.len() - 3];
            figures[trial::HEADINGS.len() - 4] = "FAILED".to_owned();
            figures
        }
    };
    let names = [program.language, program.name, program.compiler].map(str::to_owned);
    let cells: Vec<String> = names.into_iter().chain(figures).collect();
    cells.try_into().unwrap_or_default()
}

/// Columns as wide as their widest cell.
fn table(rows: &[Row]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; trial::HEADINGS.len()] = std::array::from_fn(width);
    let line = |row: &Row| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let args = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(options(&args("")), Ok((1, vec![])));
        assert_eq!(options(&args("store --seed 7 bank")), Ok((7, vec!["store", "bank"])));
        assert!(options(&args("--seed")).is_err());
        assert!(options(&args("--sede 7")).unwrap_err().contains("`--sede`"));
        assert!(programs::chosen(&["nothing"]).unwrap_err().contains("there are"));
        assert_eq!(programs::chosen(&[]).unwrap().len(), 8);
    }

    #[test]
    fn tables_line_up() {
        let cell = |text: &str| std::array::from_fn(|_| text.to_owned());
        let text = table(&[cell("long"), cell("é")]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("long  long") && lines[1].starts_with("é     é"), "{text}");
    }
}
