//! Child processes of `up` and `demo`: the same program in other roles, each a process of its
//! own as it would be on another computer.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{CliError, CliResult, io};

/// Tells a child whose process it dies with.
const PARENT_VARIABLE: &str = "JUSHA_DIE_WITH_PARENT";

/// To be called first in every process: if this one was started by `up` or `demo`, it gets
/// SIGTERM when that one dies, however it dies.
pub fn die_with_parent() {
    let Some(parent) = std::env::var(PARENT_VARIABLE).ok().and_then(|text| text.parse().ok())
    else {
        return;
    };
    // Refused only where there is no such thing; then children outlive a killed parent.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM);
    // It may have died before.
    if nix::unistd::getppid() != Pid::from_raw(parent) {
        std::process::exit(1);
    }
}

/// A running child. Killed when dropped, so that nothing is left behind by an error.
pub struct Role {
    /// What it is, for messages.
    pub name: String,
    child: Child,
}

/// Starts this program in another role. Its log goes to a file. It is in a process group of
/// its own: Ctrl-C reaches only the parent, which then stops its children in order. (Start it
/// from the main thread: the parent's death is noticed as that of the thread.)
pub fn start(name: &str, args: &[&str], log: &Path) -> CliResult<Role> {
    let program = io(std::env::current_exe(), "find this program's own file")?;
    let log_file = io(File::create(log), format_args!("write {}", log.display()))?;
    let child = Command::new(program)
        .args(args)
        .env(PARENT_VARIABLE, std::process::id().to_string())
        .env_remove("JUSHA_URL")
        .env_remove("JUSHA_TOKEN")
        .env_remove("JUSHA_CA")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .spawn();
    Ok(Role { name: name.to_owned(), child: io(child, format_args!("start {name}"))? })
}

/// Starts an exchange and waits until it listens; its URL.
pub fn start_exchange(args: &[&str], log: &Path) -> CliResult<(Role, String)> {
    let mut role = start("exchange", &[&["exchange"], args].concat(), log)?;
    let stdout = role.child.stdout.take();
    let mut line = String::new();
    if let Some(stdout) = stdout {
        io(BufReader::new(stdout).read_line(&mut line), "hear from the exchange")?;
    }
    match line.trim().strip_prefix("listening on ") {
        Some(url) => Ok((role, url.to_owned())),
        None => Err(role.died(log)),
    }
}

impl Role {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error if it ended by itself.
    pub fn check(&mut self, log: &Path) -> CliResult<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.died(log)),
        }
    }

    /// What it said last.
    fn died(&mut self, log: &Path) -> CliError {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let told = text.lines().rev().find(|line| line.starts_with("error: "));
        let last = told.or_else(|| text.lines().next_back()).unwrap_or("it said nothing");
        CliError::new(format!(
            "the {} ended: {}",
            self.name,
            last.strip_prefix("error: ").unwrap_or(last)
        ))
        .hint(format!("its log is {}", log.display()))
    }

    /// SIGKILL: as if the machine lost power.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and SIGKILL for what does not end in time.
    pub async fn stop(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.terminate();
        let deadline = Instant::now() + limit;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                self.kill();
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM only.
    pub fn terminate(&mut self) {
        if let Ok(None) = self.child.try_wait()
            && let Ok(id) = i32::try_from(self.child.id())
        {
            // It may have ended this instant.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.kill();
    }
}
