//! The one way in and out of a worker process: a socket pair, on which every message is its
//! length as 8 little-endian bytes and its postcard encoding.
//!
//! It is a socket and not two pipes so that the agent can hand an open file in with a message (a
//! worker can open none). Nothing is ever handed out: the agent's end takes no descriptors.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message that anything may be: a checkpoint of 4 GiB of memory, its frames, its
/// outputs, and the task. What one peer takes from another is bounded more narrowly by it.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 6 << 30;
/// Descriptors that may be on their way at once.
const DESCRIPTORS_MAX: usize = 4;

/// Sends a message.
pub(crate) fn send<T: Serialize>(stream: &mut UnixStream, message: &T) -> io::Result<()> {
    send_with(stream, message, None)
}

/// Sends a message and, if there is one, an open file to which it refers.
pub(crate) fn send_with<T: Serialize>(
    stream: &mut UnixStream,
    message: &T,
    file: Option<&File>,
) -> io::Result<()> {
    let mut bytes = postcard::to_extend(message, vec![0; 8]).map_err(io::Error::other)?;
    let length = (bytes.len() - 8) as u64;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message is too long for the pipe"));
    }
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    let mut sent = 0;
    if let Some(file) = file {
        let descriptors = [file.as_raw_fd()];
        let with = [ControlMessage::ScmRights(&descriptors)];
        let head = [IoSlice::new(&bytes[..8])];
        sent = sendmsg::<()>(stream.as_raw_fd(), &head, &with, MsgFlags::MSG_NOSIGNAL, None)?;
    }
    stream.write_all(&bytes[sent..])
}

/// Receives a message of at most `max` bytes.
pub(crate) fn receive<T: DeserializeOwned>(input: &mut impl Read, max: u64) -> io::Result<T> {
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > max {
        return Err(io::Error::other(format!(
            "it sent a message of {length} bytes, where {max} is the most that can be"
        )));
    }
    // Grows with what really comes, so that a length alone allocates nothing.
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (message, rest) = postcard::take_from_bytes(&bytes)
        .map_err(|error| io::Error::other(format!("it sent what is no message ({error})")))?;
    if !rest.is_empty() {
        return Err(io::Error::other("it sent a message with something behind it"));
    }
    Ok(message)
}

/// A worker's end: bytes, and the files that came with them.
pub(crate) struct Inbox {
    stream: UnixStream,
    files: VecDeque<File>,
}

impl Inbox {
    pub fn new(stream: UnixStream) -> Self {
        Inbox { stream, files: VecDeque::new() }
    }

    /// The next file. It is there once the message that it came with is.
    pub fn file(&mut self) -> io::Result<File> {
        self.files.pop_front().ok_or_else(|| io::Error::other("a message lacks its file"))
    }
}

impl Read for Inbox {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut room = nix::cmsg_space!([std::os::fd::RawFd; DESCRIPTORS_MAX]);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message =
            recvmsg::<()>(self.stream.as_fd().as_raw_fd(), &mut parts, Some(&mut room), flags)?;
        for part in message.cmsgs()? {
            let ControlMessageOwned::ScmRights(descriptors) = part else { continue };
            for descriptor in descriptors {
                // SAFETY: the kernel made this descriptor for us just now; nobody else has it.
                let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
                self.files.push_back(File::from(owned));
            }
        }
        Ok(message.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(text: &[u8], max: u64) -> io::Result<Vec<u8>> {
        receive(&mut &text[..], max)
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let whole = [&3u64.to_le_bytes()[..], &[2, 7, 8]].concat();
        assert_eq!(bytes_of(&whole, 16).unwrap(), [7, 8]);
        for end in 0..whole.len() {
            assert!(bytes_of(&whole[..end], 16).is_err(), "{end}");
        }
        assert!(bytes_of(&whole, 2).unwrap_err().to_string().contains("3 bytes"));
        let behind = [&4u64.to_le_bytes()[..], &[2, 7, 8, 9]].concat();
        assert!(bytes_of(&behind, 16).unwrap_err().to_string().contains("behind it"));
        assert!(bytes_of(&[0xff; 64], u64::MAX - 1).unwrap_err().to_string().contains("bytes"));
    }

    #[test]
    fn files_come_with_their_messages() {
        let (mut agent, worker) = UnixStream::pair().unwrap();
        let mut inbox = io::BufReader::new(Inbox::new(worker));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"code").unwrap();
        send(&mut agent, &"first").unwrap();
        send_with(&mut agent, &"second", Some(&file)).unwrap();
        send(&mut agent, &"third").unwrap();
        for expected in ["first", "second", "third"] {
            assert_eq!(receive::<String>(&mut inbox, 99).unwrap(), expected);
        }
        assert_eq!(inbox.get_mut().file().unwrap().metadata().unwrap().len(), 4);
        assert!(inbox.get_mut().file().is_err());
    }
}
