//! A temporary directory and the program in it, alone with its own configuration and caches.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use super::process::guarded;

/// A committed example program.
pub fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests").join(format!("{name}.wasm"))
}

/// A temporary directory. After a failure it stays, and is named.
pub struct Scene {
    directory: Option<TempDir>,
}

/// A command that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Exit status; 128 and the signal for a signal, as shells say it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Scene {
    /// An empty one.
    pub fn new() -> Scene {
        let directory = tempfile::Builder::new().prefix("jusha-test-").tempdir().unwrap();
        Scene { directory: Some(directory) }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.as_ref().unwrap().path().join(name)
    }

    /// A path in it, as an argument.
    pub fn arg(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and whatever directories it takes.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The content of a file.
    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The program, with nothing of the user's own around it. It ends with this process, even if
    /// that one is killed.
    pub fn jusha(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jusha"));
        command
            .args(args)
            .env_remove("JUSHA_URL")
            .env_remove("JUSHA_TOKEN")
            .env_remove("JUSHA_CA")
            .env("HOME", self.path("home"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("JUSHA_DIE_WITH_PARENT", std::process::id().to_string())
            .env("RUST_LOG", "info,provider=debug,exchange=debug");
        command
    }

    /// Runs the program to its end.
    pub async fn run(&self, args: &[&str], stdin: &[u8]) -> Ran {
        self.finish(self.jusha(args), stdin).await
    }

    /// Runs a command to its end.
    pub async fn finish(&self, mut command: Command, stdin: &[u8]) -> Ran {
        let input = tempfile::NamedTempFile::new_in(self.directory.as_ref().unwrap()).unwrap();
        std::fs::write(input.path(), stdin).unwrap();
        command
            .stdin(Stdio::from(std::fs::File::open(input.path()).unwrap()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let output = guarded("a command's end", command.output()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
        Ran {
            status: output.status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0)),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(directory) = self.directory.take()
            && std::thread::panicking()
        {
            eprintln!("\nlogs and data stay in {}", directory.keep().display());
        }
    }
}
