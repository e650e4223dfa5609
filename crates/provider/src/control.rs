//! The owner's way to a running agent: a socket in the data directory, which nobody else can open.
//!
//! One line of a request, one line of an answer. Settings don't come this way: they are in a file,
//! and hold whether an agent runs or not.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::status::Status;

/// In the data directory.
pub const SOCKET_FILE: &str = "control.sock";
/// For the agent to answer: it is never busy for long.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const REQUEST_BYTES_MAX: u64 = 4096;

/// What the owner may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// How is it going?
    Status,
    /// The settings changed: don't wait for the next look.
    Look,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nothing listens there.
    #[error("no agent runs in {}", data.display())]
    NotRunning {
        /// The data directory.
        data: PathBuf,
    },
    /// It listens, and something is wrong.
    #[error("the agent in {} does not answer", data.display())]
    Silent {
        /// The data directory.
        data: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A request with the way back.
pub(crate) type Asked = (Request, oneshot::Sender<Status>);

/// Listens until the agent ends. A socket that can't be made is no reason to earn nothing.
pub(crate) fn listen(data: &Path, asked: UnboundedSender<Asked>) {
    let path = data.join(SOCKET_FILE);
    // Left by an agent that was killed: this one holds the directory's lock.
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).and_then(|listener| {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match listener {
        Ok(listener) => {
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let asked = asked.clone();
                    tokio::spawn(async move {
                        // Whoever asked is gone, then.
                        let _ = answer(stream, asked).await;
                    });
                }
            });
        }
        Err(error) => {
            tracing::warn!("`jusha provide status` won't work: {}: {error}", path.display());
        }
    }
}

async fn answer(stream: UnixStream, asked: UnboundedSender<Asked>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(REQUEST_BYTES_MAX).read_line(&mut line).await?;
    let request: Request = serde_json::from_str(&line)?;
    let (back, status) = oneshot::channel();
    let gone = || io::Error::other("the agent is ending");
    asked.send((request, back)).map_err(|_| gone())?;
    let status = status.await.map_err(|_| gone())?;
    let mut text = serde_json::to_string(&status)?;
    text.push('\n');
    stream.write_all(text.as_bytes()).await
}

/// Asks the agent of a data directory.
pub async fn ask(data: &Path, request: Request) -> Result<Status, ControlError> {
    let stream = UnixStream::connect(data.join(SOCKET_FILE))
        .await
        .map_err(|_| ControlError::NotRunning { data: data.to_owned() })?;
    let conversation = async {
        let mut stream = BufReader::new(stream);
        let mut text = serde_json::to_string(&request)?;
        text.push('\n');
        stream.write_all(text.as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        Ok(serde_json::from_str(&line)?)
    };
    timeout(ANSWER_MAX, conversation)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| ControlError::Silent { data: data.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn only_the_owner_can_ask_and_nonsense_gets_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            ask(dir.path(), Request::Status).await,
            Err(ControlError::NotRunning { .. })
        ));
        let (asked, mut requests) = mpsc::unbounded_channel();
        listen(dir.path(), asked);
        let path = dir.path().join(SOCKET_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut nonsense = UnixStream::connect(&path).await.unwrap();
        nonsense.write_all(b"\"everything\"\n").await.unwrap();
        let mut said = Vec::new();
        nonsense.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"");
        let agent = async {
            let (request, back) = requests.recv().await.unwrap();
            assert_eq!(request, Request::Look);
            back.send(Status::default()).unwrap();
        };
        let (answer, ()) = tokio::join!(ask(dir.path(), Request::Look), agent);
        assert_eq!(answer.unwrap(), Status::default());
    }
}
