//! Errors as a person at a terminal meets them: one line of what, one of what to do.

use std::error::Error;
use std::fmt;

use client::ClientError;
use provider::ProviderError;
use provider::control::ControlError;

use crate::exit;
use crate::terminal::clean;

/// An error, its advice and the exit status it leads to.
#[derive(Debug)]
pub struct CliError {
    message: String,
    hint: Option<String>,
    last_line: Option<String>,
    /// Exit status.
    pub exit: u8,
}

/// What a command ends with.
pub type CliResult<T = u8> = Result<T, CliError>;

impl CliError {
    /// Something in the way that is not the program's fault.
    pub fn new(message: impl Into<String>) -> Self {
        CliError { message: message.into(), hint: None, last_line: None, exit: exit::FAILED }
    }

    /// The program, its input or its checkpoint can't be used.
    pub fn refused(message: impl Into<String>) -> Self {
        CliError { exit: exit::REFUSED, ..CliError::new(message) }
    }

    /// With what to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        CliError { hint: Some(hint.into()), ..self }
    }

    /// With a line below everything.
    pub fn last_line(self, line: impl Into<String>) -> Self {
        CliError { last_line: Some(line.into()), ..self }
    }

    /// With another exit status.
    pub fn exit(self, exit: u8) -> Self {
        CliError { exit, ..self }
    }

    /// An error with all its causes in one line.
    pub fn from_chain(error: &dyn Error) -> Self {
        CliError::new(CliError::chain_text(error))
    }

    /// The line of [`CliError::from_chain`].
    pub fn chain_text(error: &dyn Error) -> String {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many libraries repeat their cause in their own text.
            if !message.contains(&cause_text) {
                message.push_str(": ");
                message.push_str(&cause_text);
            }
            source = cause.source();
        }
        message
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Much of it was said by somebody else: an exchange, a machine, a program's author.
        write!(f, "error: {}", clean(&self.message))?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {}", clean(hint))?;
        }
        match &self.last_line {
            Some(line) => write!(f, "\n{}", clean(line)),
            None => Ok(()),
        }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let hint = match &error {
            ClientError::Unreachable { .. } => Some(
                "is it running? `jusha up` starts one here; `jusha login URL TOKEN` or JUSHA_URL \
                 say which one to use",
            ),
            ClientError::Untrusted { .. } => Some(
                "check the URL; if the exchange has an authority of its own, name its certificate: \
                 --ca FILE, or JUSHA_CA",
            ),
            ClientError::Url { .. } => Some("it looks like https://HOST or http://HOST:PORT"),
            ClientError::Refused { status: 401 | 403, .. } => Some(
                "`jusha login URL TOKEN` stores the token of your account; `jusha exchange account \
                 add NAME` makes one",
            ),
            ClientError::Refused { code, .. } if code == "insufficient_funds" => {
                Some("a smaller --budget, or more credits: `jusha wallet show` says what there is")
            }
            _ => None,
        };
        // What the exchange says about a program is what a machine would have said later.
        let cli = match error.code() {
            Some("invalid_task" | "blob_too_large") => {
                CliError { exit: exit::REFUSED, ..CliError::from_chain(&error) }
            }
            _ => CliError::from_chain(&error),
        };
        match hint {
            Some(hint) => cli.hint(hint),
            None => cli,
        }
    }
}

impl From<ProviderError> for CliError {
    fn from(error: ProviderError) -> Self {
        CliError::from_chain(&error).hint(error.hint())
    }
}

impl From<ControlError> for CliError {
    fn from(error: ControlError) -> Self {
        let hint = match &error {
            ControlError::NotRunning { .. } => {
                "start it by `jusha provide`, or name its directory: --data DIR"
            }
            ControlError::Silent { .. } => "is it of another version? restart it",
        };
        CliError::from_chain(&error).hint(hint)
    }
}

/// For I/O: what was tried with which file, and what the system said.
pub fn io<T>(result: std::io::Result<T>, what: impl fmt::Display) -> CliResult<T> {
    result.map_err(|error| {
        let cli = CliError::new(format!("can't {what}: {error}"));
        match error.kind() {
            std::io::ErrorKind::StorageFull => cli.hint("the disk is full: free some space"),
            std::io::ErrorKind::PermissionDenied => cli.hint("check who may write there"),
            _ => cli,
        }
    })
}
