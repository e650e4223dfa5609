//! Looks at the computer and at its owner's settings, again and again, and says whether to work.
//!
//! A thread of its own: files of the kernel may take a while on a busy computer, and nothing that
//! is paid waits for them. What it decides from is in the crate `host`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use host::governor::{Governor, Verdict};
use host::linux::Linux;
use host::policy::Policy;
use host::settings::{self, Settings};
use host::{Host, Observation};
use runtime::launch::Freezer;
use tokio::sync::watch;

use crate::{ProviderError, durable};

/// Between two looks while work may run: an owner who comes back waits no longer than this.
const WHILE_WORKING: Duration = Duration::from_secs(1);
/// While nothing runs, beginning may take longer, and looking costs next to nothing.
const WHILE_WAITING: Duration = Duration::from_secs(5);

/// What was seen last, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    pub verdict: Verdict,
    pub seen: Observation,
    pub settings: Settings,
    /// Why the file is not what holds.
    pub settings_problem: Option<String>,
}

/// The agent's end. Dropping it ends the thread.
pub(crate) struct Lookout {
    pub sight: watch::Receiver<Sight>,
    /// For the agent to say, which knows.
    pub traffic_today_bytes: Arc<AtomicU64>,
    wake: mpsc::Sender<()>,
}

impl Lookout {
    /// Reads the settings, which are written if there are none, looks once, and goes on looking.
    pub(crate) fn start(
        settings: &Path,
        root: &Path,
        always: bool,
        freezer: Freezer,
    ) -> Result<Lookout, ProviderError> {
        let traffic_today_bytes = Arc::<AtomicU64>::default();
        let mut looking = Looking {
            file: SettingsFile::open(settings)?,
            host: Linux::new(root),
            governor: Governor::new(),
            always,
            freezer,
            traffic_today_bytes: traffic_today_bytes.clone(),
        };
        let (sender, sight) = watch::channel(looking.look());
        let (wake, woken) = mpsc::channel();
        let watching = move || {
            loop {
                let works = sender.borrow().verdict == Verdict::Work;
                let wait = if works { WHILE_WORKING } else { WHILE_WAITING };
                match woken.recv_timeout(wait) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                sender.send_replace(looking.look());
            }
        };
        std::thread::Builder::new()
            .name("lookout".to_owned())
            .spawn(watching)
            .map_err(|source| ProviderError::System { what: "start a thread", source })?;
        Ok(Lookout { sight, traffic_today_bytes, wake })
    }

    /// Looks now.
    pub(crate) fn wake(&self) {
        // The thread ends with this.
        let _ = self.wake.send(());
    }
}

struct Looking {
    file: SettingsFile,
    host: Linux,
    governor: Governor,
    always: bool,
    freezer: Freezer,
    traffic_today_bytes: Arc<AtomicU64>,
}

impl Looking {
    fn look(&mut self) -> Sight {
        self.file.reread();
        let settings = self.file.settings.clone();
        self.governor.pause(settings.paused);
        let mut own = self.freezer.processes();
        own.push(std::process::id());
        let traffic_today_bytes = self.traffic_today_bytes.load(Ordering::Relaxed);
        let seen = Observation { traffic_today_bytes, ..self.host.observe(&own) };
        let always = self.always.then(Policy::always);
        let verdict = self.governor.decide(always.as_ref().unwrap_or(&settings.policy), &seen);
        Sight { verdict, seen, settings, settings_problem: self.file.problem.clone() }
    }
}

/// The file, and what it said when it was last in order.
struct SettingsFile {
    path: PathBuf,
    read_at: Option<(SystemTime, u64)>,
    settings: Settings,
    problem: Option<String>,
}

impl SettingsFile {
    fn open(path: &Path) -> Result<Self, ProviderError> {
        let disk = |verb| {
            let path = path.to_owned();
            move |source| ProviderError::Disk { verb, path, source }
        };
        if !path.exists() {
            durable::keep(path, settings::template().as_bytes()).map_err(disk("write"))?;
        }
        let stamp = stamp(path);
        let text = fs::read_to_string(path).map_err(disk("read"))?;
        let settings = settings::parse(&text)
            .map_err(|source| ProviderError::Settings { path: path.to_owned(), source })?;
        Ok(SettingsFile { path: path.to_owned(), read_at: stamp, settings, problem: None })
    }

    /// Takes what the owner changed; what is not in order changes nothing.
    fn reread(&mut self) {
        let now = stamp(&self.path);
        if now == self.read_at {
            return;
        }
        self.read_at = now;
        let read = fs::read_to_string(&self.path).map_err(|error| error.to_string());
        match read.and_then(|text| settings::parse(&text).map_err(|error| error.to_string())) {
            Ok(settings) => {
                self.settings = settings;
                self.problem = None;
            }
            Err(problem) => {
                tracing::error!("{} changes nothing: {problem}", self.path.display());
                self.problem = Some(problem);
            }
        }
    }
}

/// Tells one version of the file from another.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_wrong_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.toml");
        let mut file = SettingsFile::open(&path).unwrap();
        assert_eq!(file.settings, Settings::default());
        assert_eq!(fs::read_to_string(&path).unwrap(), settings::template());
        fs::write(&path, "idle_s = 7").unwrap();
        file.reread();
        assert_eq!((file.settings.policy.idle_s, &file.problem), (7, &None));
        fs::write(&path, "idle_s = seven").unwrap();
        file.reread();
        assert_eq!(file.settings.policy.idle_s, 7);
        assert!(file.problem.is_some());
        assert!(matches!(SettingsFile::open(&path), Err(ProviderError::Settings { .. })));
        fs::write(&path, "idle_s = 70").unwrap();
        file.reread();
        assert_eq!((file.settings.policy.idle_s, &file.problem), (70, &None));
    }
}
