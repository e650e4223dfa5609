//! Running other programs: with their output shown, or shown and read at once.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// A command line in the workspace's root, without standard input: nothing may wait for a
/// person.
pub fn command(root: &Path, program: impl AsRef<OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root).stdin(Stdio::null());
    command
}

/// The cargo that runs us.
pub fn cargo(root: &Path, args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    command(root, cargo, args)
}

/// Runs to the end, output shown.
pub fn shown(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", name(command))) }
}

/// Whether it can be started and succeeds, output hidden.
pub fn works(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs to the end. Both outputs go to standard error as they come, and each line, without its
/// colours, to `read`. Whether it succeeded.
pub fn read(command: &mut Command, read: &mut (dyn FnMut(&str) + Send)) -> Result<bool, String> {
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| cannot_start(command, &error))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read = std::sync::Mutex::new(read);
    std::thread::scope(|scope| {
        scope.spawn(|| stdout.map(|pipe| pass_on(BufReader::new(pipe), &read)));
        scope.spawn(|| stderr.map(|pipe| pass_on(BufReader::new(pipe), &read)));
    });
    let status = child.wait().map_err(|error| format!("{}: {error}", name(command)))?;
    Ok(status.success())
}

fn pass_on(mut pipe: impl BufRead, read: &std::sync::Mutex<&mut (dyn FnMut(&str) + Send)>) {
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        // A closed standard error is no reason to stop the tests.
        let _ = std::io::stderr().write_all(&line);
        let text = without_colours(&String::from_utf8_lossy(&line));
        if let Ok(mut read) = read.lock() {
            read(text.trim_end());
        }
        line.clear();
    }
}

/// Text without terminal escape sequences (`ESC [ … letter`).
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character == '\u{1b}' {
            rest.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("{} can't be started: {error}", name(command))
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let first = command.get_args().next().unwrap_or_default();
    format!("`{} {}`", program.display(), first.display()).replace(" `", "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(
            without_colours("\u{1b}[32;1m  Summary\u{1b}[0m 3 passed"),
            "  Summary 3 passed"
        );
        assert_eq!(without_colours("plain"), "plain");
        assert_eq!(without_colours("cut \u{1b}[3"), "cut ");
    }

    #[test]
    fn lines_of_both_outputs_are_read() {
        let mut lines = Vec::new();
        let mut shell = command(Path::new("."), "sh", &["-c", "echo one; echo two >&2; exit 3"]);
        let passed = read(&mut shell, &mut |line| lines.push(line.to_owned()));
        lines.sort();
        assert_eq!((passed, lines), (Ok(false), vec!["one".to_owned(), "two".to_owned()]));
    }

    #[test]
    fn what_failed_is_named() {
        let missing = shown(&mut command(Path::new("."), "no-such-program-here", &["x"]));
        assert!(missing.unwrap_err().starts_with("`no-such-program-here x` can't be started"));
        let failed = shown(&mut command(Path::new("."), "sh", &["-c", "exit 3"])).unwrap_err();
        assert!(failed.starts_with("`sh -c` ended with") && failed.contains('3'), "{failed}");
    }
}
