//! `jusha provide service` and `log`: the agent as a service of its owner, and what it said.

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::owner::Agent;
use crate::error::{CliError, CliResult, io};
use crate::terminal;

/// The unit's name.
const UNIT: &str = "jusha-provide.service";
/// What the agent writes, in its directory.
pub const LOG_FILE: &str = "provide.log";
/// Between two looks for more.
const INTERVAL: Duration = Duration::from_millis(300);

/// Keep the agent running while you are logged in, as a systemd user unit
#[derive(Debug, Args)]
pub struct Service {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write the unit and start it
    Install {
        /// Only show the unit
        #[arg(long)]
        print: bool,
        #[command(flatten)]
        agent: Agent,
    },
    /// Stop it and remove the unit
    Remove,
}

/// Show what the agent said
#[derive(Debug, Args)]
pub struct Log {
    /// Go on with what it says from now on
    #[arg(long, short)]
    follow: bool,
    /// How many of the last lines
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    lines: usize,
    #[command(flatten)]
    agent: Agent,
}

/// Runs `service`.
pub fn main(options: &Service) -> CliResult {
    match &options.verb {
        Verb::Install { print, agent } => install(*print, &agent.data()?),
        Verb::Remove => remove(),
    }
}

fn unit(program: &Path, data: &Path) -> String {
    // systemd's own escapes: a path may have spaces and per cent signs.
    let quoted = |path: &Path| {
        let text = path.display().to_string();
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
    };
    format!(
        "\
[Unit]
Description=Jusha: sells this computer's idle time
After=network-online.target

[Service]
ExecStart={} provide --data {}
# It stops its tasks at checkpoints, which are paid; only then its workers are ended.
KillMode=mixed
TimeoutStopSec=90
Restart=on-failure
RestartSec=30
# Workers lower themselves further. Within its group that counts; between groups this does.
Nice=10
CPUWeight=idle
IOWeight=1
NoNewPrivileges=yes

[Install]
WantedBy=default.target
",
        quoted(program),
        quoted(data)
    )
}

fn units() -> CliResult<PathBuf> {
    let of = |path: std::ffi::OsString| Some(PathBuf::from(path)).filter(|p| p.is_absolute());
    let config = std::env::var_os("XDG_CONFIG_HOME").and_then(of);
    let home = || Some(std::env::var_os("HOME").and_then(of)?.join(".config"));
    let config = config.or_else(home);
    let config = config.ok_or_else(|| CliError::new("no home directory is known").hint("set HOME"));
    Ok(config?.join("systemd/user"))
}

fn install(print: bool, data: &Path) -> CliResult {
    let program = io(std::env::current_exe(), "find this program's own file")?;
    let text = unit(&program, data);
    if print {
        terminal::out(text.as_bytes())?;
        return Ok(0);
    }
    if !data.join("enrolment.json").exists() {
        return Err(CliError::new(format!("{} is not enrolled with any exchange", data.display()))
            .hint("run `jusha provide JOINSTRING` once first"));
    }
    let directory = units()?;
    let path = directory.join(UNIT);
    io(fs::create_dir_all(&directory), format_args!("make {}", directory.display()))?;
    io(fs::write(&path, text), format_args!("write {}", path.display()))?;
    terminal::line(&format!("wrote {}", path.display()))?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", "--now", UNIT])?;
    terminal::line(
        "it runs, and will whenever you are logged in; `jusha provide status` shows it",
    )?;
    terminal::line("`loginctl enable-linger` lets it run while you are not")?;
    Ok(0)
}

fn remove() -> CliResult {
    let path = units()?.join(UNIT);
    if !path.exists() {
        return Err(CliError::new(format!("there is no {}", path.display())));
    }
    systemctl(&["disable", "--now", UNIT])?;
    io(fs::remove_file(&path), format_args!("remove {}", path.display()))?;
    systemctl(&["daemon-reload"])?;
    terminal::line(&format!("removed {}", path.display()))?;
    Ok(0)
}

fn systemctl(args: &[&str]) -> CliResult<()> {
    let line = format!("systemctl --user {}", args.join(" "));
    match Command::new("systemctl").arg("--user").args(args).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(CliError::new(format!("`{line}` failed: {said}"))
                .hint("without systemd start `jusha provide` by whatever starts your programs"))
        }
        Err(error) => Err(CliError::new(format!("can't run `{line}`: {error}"))
            .hint("without systemd start `jusha provide` by whatever starts your programs")),
    }
}

/// Runs `log`.
pub async fn log(options: &Log) -> CliResult {
    let path = options.agent.data()?.join(LOG_FILE);
    let mut file = io(fs::File::open(&path), format_args!("read {}", path.display()))?;
    let mut text = String::new();
    io(file.read_to_string(&mut text), format_args!("read {}", path.display()))?;
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(options.lines)..] {
        terminal::line(line)?;
    }
    if !options.follow {
        return Ok(0);
    }
    let mut at = text.len() as u64;
    loop {
        tokio::time::sleep(INTERVAL).await;
        // An agent that was started again begins a new file.
        let Ok(file) = fs::File::open(&path) else { continue };
        if file.metadata().is_ok_and(|meta| meta.len() < at) {
            at = 0;
        }
        let mut reader = BufReader::new(file);
        io(reader.seek(SeekFrom::Start(at)), format_args!("read {}", path.display()))?;
        let mut line = String::new();
        // A line that is not whole yet is read again.
        while reader.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
            at += line.len() as u64;
            if !terminal::out_while_read(line.as_bytes())? {
                return Ok(0);
            }
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_anything_in_it_stays_one_argument() {
        let text = unit(Path::new("/opt/my jusha/jusha"), Path::new("/home/ada/100% \"mine\""));
        let line = text.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        assert_eq!(
            line,
            r#"ExecStart="/opt/my jusha/jusha" provide --data "/home/ada/100%% \"mine\"""#
        );
    }
}
