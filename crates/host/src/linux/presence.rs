//! Whether somebody is at the computer: sessions of the login manager, and when its terminals were
//! last read from.
//! (<https://systemd.io/ENVIRONMENT/>, sd-login.3; the kernel notes a terminal's last input as its
//! time of access.)

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Presence;

/// A session as the login manager describes it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Session {
    uid: u32,
    kind: String,
    class: String,
    state: String,
    terminal: String,
}

impl Session {
    fn parse(text: &str) -> Session {
        let mut session = Session::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "UID" => session.uid = value.parse().unwrap_or(0),
                "TYPE" => value.clone_into(&mut session.kind),
                "CLASS" => value.clone_into(&mut session.class),
                "STATE" => value.clone_into(&mut session.state),
                "TTY" => value.clone_into(&mut session.terminal),
                _ => {}
            }
        }
        session
    }

    /// A login screen, a user's background services and what is left of a session have nobody.
    fn has_somebody(&self) -> bool {
        matches!(&*self.class, "" | "user" | "user-early" | "user-incomplete" | "lock-screen")
            && self.state != "closing"
    }

    fn is_graphical(&self) -> bool {
        matches!(&*self.kind, "x11" | "wayland" | "mir")
    }
}

/// See the module.
#[derive(Debug)]
pub struct Watcher {
    root: PathBuf,
    terminals: BTreeMap<PathBuf, Touched>,
    last_ms: u64,
}

/// When a terminal was last touched, by a clock that does not jump.
#[derive(Debug, Clone, Copy)]
struct Touched {
    accessed: SystemTime,
    at_ms: u64,
}

impl Watcher {
    /// `root` is `/`, or what stands for it.
    pub fn new(root: &Path) -> Self {
        Watcher { root: root.to_owned(), terminals: BTreeMap::new(), last_ms: 0 }
    }

    /// Who is there at `now_ms`; `display` says for how long nobody touched keyboard and mouse of
    /// the displays, if it can.
    pub fn look(&mut self, now_ms: u64, display: impl FnOnce() -> Option<u64>) -> Presence {
        let all = sessions(&self.root.join("run/systemd/sessions"));
        let greeters: Vec<u32> =
            all.iter().filter(|session| session.class == "greeter").map(|s| s.uid).collect();
        let present = || all.iter().filter(|session| session.has_somebody());
        let display = if present().any(Session::is_graphical) || self.has_display(&greeters) {
            match display() {
                None => return Presence::Unknown,
                idle => idle,
            }
        } else {
            None
        };
        let mut paths = pseudo_terminals(&self.root.join("dev/pts"));
        let named = present().filter(|session| !session.terminal.is_empty());
        paths.extend(named.map(|session| self.root.join("dev").join(&session.terminal)));
        let terminals = self.touched(paths, now_ms);
        match terminals.into_iter().chain(display).min() {
            Some(for_ms) => Presence::Idle { for_ms },
            None => Presence::Nobody,
        }
    }

    /// Whether an X server runs that is not a login screen's: one that a user started from a
    /// terminal is in no session's description.
    fn has_display(&self, greeters: &[u32]) -> bool {
        let sockets = fs::read_dir(self.root.join("tmp/.X11-unix")).into_iter().flatten();
        sockets
            .flatten()
            .any(|entry| entry.metadata().is_ok_and(|socket| !greeters.contains(&socket.uid())))
    }

    /// For how long each terminal was not touched. The clock on the wall may jump: it is asked how
    /// old a touch is only once, when the touch is new here.
    fn touched(&mut self, paths: Vec<PathBuf>, now_ms: u64) -> Vec<u64> {
        let since_last = now_ms.saturating_sub(self.last_ms);
        let earlier = std::mem::take(&mut self.terminals);
        for path in paths {
            let Some(accessed) = fs::metadata(&path).ok().and_then(|meta| meta.accessed().ok())
            else {
                continue;
            };
            let age = SystemTime::now().duration_since(accessed);
            let age_ms = age.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            let touched = match earlier.get(&path) {
                Some(known) if known.accessed == accessed => *known,
                // Since the last look, whatever the clock says.
                Some(_) => {
                    let age_ms = age_ms.min(since_last);
                    Touched { accessed, at_ms: now_ms.saturating_sub(age_ms) }
                }
                None => Touched { accessed, at_ms: now_ms.saturating_sub(age_ms) },
            };
            self.terminals.insert(path, touched);
        }
        self.last_ms = now_ms;
        self.terminals.values().map(|touched| now_ms.saturating_sub(touched.at_ms)).collect()
    }
}

fn sessions(directory: &Path) -> Vec<Session> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    // Beside the descriptions there are pipes of the same names with `.ref`.
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .map(|text| Session::parse(&text))
        .collect()
}

/// All terminals of windows and remote logins, of whichever user.
fn pseudo_terminals(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let numbered = entries.filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
    });
    numbered.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::time::Duration;

    use super::*;

    /// A computer of files, looked at at `NOW`.
    struct Computer {
        dir: tempfile::TempDir,
        watcher: Watcher,
    }

    const NOW: u64 = 10_000_000;

    fn computer(files: &[(&str, &str)]) -> Computer {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let watcher = Watcher::new(dir.path());
        Computer { dir, watcher }
    }

    impl Computer {
        fn touch(&self, terminal: &str, ago_s: i64) {
            let path = self.dir.path().join("dev").join(terminal);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = File::options().create(true).append(true).open(path).unwrap();
            let ago = Duration::from_secs(ago_s.unsigned_abs());
            let now = SystemTime::now();
            let at = if ago_s < 0 { now + ago } else { now - ago };
            file.set_times(FileTimes::new().set_accessed(at)).unwrap();
        }

        /// Minutes idle, or a word.
        fn at(&mut self, now_ms: u64, display_ms: Option<u64>) -> String {
            match self.watcher.look(now_ms, || display_ms) {
                Presence::Idle { for_ms } => format!("{} min", for_ms / 60_000),
                Presence::Nobody => "nobody".to_owned(),
                Presence::Unknown => "unknown".to_owned(),
            }
        }

        fn now(&mut self, display_ms: Option<u64>) -> String {
            self.at(NOW, display_ms)
        }
    }

    /// As systemd 252 writes them, shortened.
    const GNOME: (&str, &str) = (
        "run/systemd/sessions/2",
        "# This is private data. Do not parse.\nUID=1000\nUSER=ada\nACTIVE=1\nIS_DISPLAY=1\n\
         STATE=active\nREMOTE=0\nTYPE=wayland\nORIGINAL_TYPE=wayland\nCLASS=user\nSEAT=seat0\n\
         TTY=tty2\nTTY_VALIDITY=from-pam\nSERVICE=gdm-password\nDESKTOP=gnome\nVTNR=2\n",
    );
    const SSH: (&str, &str) = (
        "run/systemd/sessions/7",
        "UID=1000\nUSER=ada\nACTIVE=1\nSTATE=active\nREMOTE=1\nTYPE=tty\nCLASS=user\nTTY=pts/3\n\
         REMOTE_HOST=192.0.2.7\nSERVICE=sshd\n",
    );
    const SFTP: (&str, &str) = (
        "run/systemd/sessions/8",
        "UID=1000\nACTIVE=1\nSTATE=active\nREMOTE=1\nTYPE=unspecified\nCLASS=user\nSERVICE=sshd\n",
    );
    const GREETER: (&str, &str) = (
        "run/systemd/sessions/c1",
        "UID=120\nUSER=gdm\nACTIVE=1\nSTATE=active\nTYPE=x11\nCLASS=greeter\nSEAT=seat0\nTTY=tty1\n",
    );
    const MANAGER: (&str, &str) = (
        "run/systemd/sessions/3",
        "UID=1000\nUSER=ada\nACTIVE=1\nSTATE=active\nTYPE=unspecified\nCLASS=manager\n",
    );

    #[test]
    fn without_seat_display_or_session_there_is_nobody() {
        assert_eq!(computer(&[]).now(None), "nobody");
        assert_eq!(computer(&[SFTP, MANAGER]).now(None), "nobody", "programs, judged by load");
        assert_eq!(computer(&[GREETER]).now(None), "nobody", "a login screen");
        let left = SSH.1.replace("STATE=active", "STATE=closing");
        assert_eq!(computer(&[(SSH.0, &left)]).now(None), "nobody");
        assert_eq!(computer(&[("dev/pts/ptmx", "")]).now(None), "nobody");
    }

    #[test]
    fn a_terminal_tells_when_it_was_last_typed_into() {
        let mut remote = computer(&[SSH]);
        remote.touch("pts/3", 12 * 60 + 5);
        assert_eq!(remote.now(None), "12 min");
        remote.touch("pts/0", 7 * 60 + 5);
        assert_eq!(remote.now(None), "7 min", "a window of anybody's");
        let mut console = computer(&[(
            "run/systemd/sessions/1",
            "UID=0\nSTATE=active\nTYPE=tty\nCLASS=user\nSEAT=seat0\nTTY=tty1\n",
        )]);
        console.touch("tty1", 3 * 60 + 5);
        assert_eq!(console.now(None), "3 min");
    }

    #[test]
    fn a_display_whose_idle_time_cannot_be_read_counts_as_busy() {
        let mut desktop = computer(&[GNOME, SSH]);
        desktop.touch("pts/3", 3600);
        assert_eq!(desktop.now(None), "unknown");
        assert_eq!(desktop.now(Some(8 * 60_000)), "8 min");
        desktop.touch("pts/3", 61);
        let later = NOW + 120_000;
        assert_eq!(desktop.at(later, Some(8 * 60_000)), "1 min", "whichever was touched last");
        // Nobody told the login manager.
        let mut started = computer(&[("tmp/.X11-unix/X0", "")]);
        assert_eq!(started.now(None), "unknown");
        assert_eq!(started.now(Some(60_000)), "1 min");
    }

    #[test]
    fn the_clock_on_the_wall_may_jump() {
        let mut remote = computer(&[SSH]);
        remote.touch("pts/3", 60);
        assert_eq!(remote.at(NOW, None), "1 min");
        let later = NOW + 120_000;
        assert_eq!(remote.at(later, None), "3 min", "untouched for two minutes more");
        // Touched just now, and meanwhile the clock was put forward by an hour.
        remote.touch("pts/3", 3600);
        assert_eq!(remote.at(later + 5_000, None), "0 min");
        // Put back: the touch is in the future.
        remote.touch("pts/3", -3600);
        assert_eq!(remote.at(later + 10_000, None), "0 min");
        assert_eq!(remote.at(later + 10_000 + 600_000, None), "10 min");
    }
}
