//! Child processes that never outlive the test, and waiting for what has no event.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// Nothing here takes so long, however busy the computer is: what does has failed.
pub const GUARD: Duration = Duration::from_secs(180);
/// Between two looks at what has no event.
const INTERVAL: Duration = Duration::from_millis(5);

/// Fails a test that waits for something that never comes.
pub async fn guarded<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(GUARD, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {} s", GUARD.as_secs()),
    }
}

/// Looks again and again until there is something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    guarded(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    })
    .await
}

/// A child process, killed when dropped.
pub struct Process {
    child: Child,
    /// Open for as long as the process may write to it.
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a command. What it says on standard error goes to the end of `log`.
    pub fn start(mut command: Command, log: &Path) -> Process {
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Process { child, stdout }
    }

    /// Its process id.
    pub fn id(&self) -> Pid {
        pid(&self.child).expect("a process that was not waited for")
    }

    /// The next line of its standard output; empty at its end.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        guarded("a line", self.stdout.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    /// As a power cut would.
    pub async fn kill(mut self) {
        kill(self.id(), Signal::SIGKILL).unwrap();
        guarded("the end of a killed process", self.child.wait()).await.unwrap();
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        kill(self.id(), Signal::SIGTERM).unwrap();
    }

    /// Waits until it ends by itself.
    pub async fn exit(mut self) -> ExitStatus {
        guarded("a process's exit", self.child.wait()).await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = pid(&self.child) {
            // It may have ended by itself.
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }
}

/// `None` once it was waited for: then the number may be somebody else's.
fn pid(child: &Child) -> Option<Pid> {
    child.id().map(|id| Pid::from_raw(i32::try_from(id).unwrap()))
}

/// The processes that `parent` started and that run.
pub fn children_of(parent: Pid) -> Vec<Pid> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // It may be gone by now.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // After the name in parentheses: state, parent.
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let mut fields = rest.split(' ');
        let (state, of) = (fields.next(), fields.next());
        if state != Some("Z") && of.and_then(|of| of.parse().ok()) == Some(parent.as_raw()) {
            children.push(Pid::from_raw(id));
        }
    }
    children
}
