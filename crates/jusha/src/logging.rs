//! Logs of what runs for long: on standard error, lines for people or an object per line.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cmd::exchange::LogFormat;

/// Starts logging. `RUST_LOG` chooses what; `info` by default.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Started twice, it goes on as it was.
    let _ = match format {
        LogFormat::Json => subscriber.json().try_init(),
        LogFormat::Text => {
            subscriber.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
        }
    };
}

/// Longer than this, the next start begins a new file.
const FILE_BYTES_MAX: u64 = 5_000_000;

/// Starts logging for people, on standard error and at the end of a file. Where the file can't be
/// written, the rest goes on.
pub fn start_with_file(path: &Path) {
    let file = open(path).map(|file| Arc::new(Mutex::new(file)));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let both = Both { file: file.ok() };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(both);
    let _ = subscriber.with_ansi(false).with_target(false).try_init();
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    if fs::metadata(path).is_ok_and(|meta| meta.len() > FILE_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.before"))?;
    }
    File::options().create(true).append(true).open(path)
}

/// Writes twice.
#[derive(Clone)]
struct Both {
    file: Option<Arc<Mutex<File>>>,
}

impl Write for Both {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &self.file {
            // A full disk is no reason to say nothing.
            let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes);
        }
        io::stderr().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Both {
    type Writer = Both;

    fn make_writer(&'a self) -> Both {
        self.clone()
    }
}
