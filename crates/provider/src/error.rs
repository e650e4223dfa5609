//! What can end the agent, each with what to do about it.

use std::path::PathBuf;

/// Why the agent could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The directory has no enrolment and no join string was given.
    #[error("{} is not enrolled with any exchange", data.display())]
    NotEnrolled {
        /// The data directory.
        data: PathBuf,
    },
    /// The directory belongs to another exchange.
    #[error("{} is enrolled with {enrolled}, not with {asked}", data.display())]
    OtherExchange {
        /// The data directory.
        data: PathBuf,
        /// Where it is enrolled.
        enrolled: String,
        /// Where the join string points.
        asked: String,
    },
    /// The join string is malformed.
    #[error("`{text}` is not a join string: {problem}")]
    JoinString {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Whom to trust is unclear.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// Nothing answers there, or something else does.
    #[error("no exchange answers at {url}")]
    Unreachable {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The exchange refused the enrolment.
    #[error("{url} refused to enrol this machine: {message} ({code})")]
    EnrolmentRefused {
        /// The URL.
        url: String,
        /// A stable code.
        code: String,
        /// In words.
        message: String,
    },
    /// The exchange refuses this machine for good.
    #[error("the exchange no longer serves this machine: {message} ({code})")]
    Dismissed {
        /// A stable code.
        code: String,
        /// In words.
        message: String,
    },
    /// The exchange does not take what this machine offers.
    #[error("the exchange refused this machine's offer: {message} ({code})")]
    OfferRefused {
        /// A stable code.
        code: String,
        /// In words.
        message: String,
    },
    /// Another agent uses the directory.
    #[error("{} is in use by another agent", data.display())]
    InUse {
        /// The data directory.
        data: PathBuf,
    },
    /// A file of the data directory can't be read or written.
    #[error("can't {verb} {}", path.display())]
    Disk {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of the data directory does not hold what it should.
    #[error("{} is damaged: {problem}", path.display())]
    DamagedState {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The owner's settings are not in order.
    #[error("{} is not in order: {source}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: host::settings::SettingsError,
    },
    /// A second signal came while draining.
    #[error("stopped at once: work since the last accepted checkpoints is given up")]
    Interrupted,
    /// The operating system refused something basic.
    #[error("the operating system refused to {what}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ProviderError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            ProviderError::NotEnrolled { .. } => {
                "paste a join string: `jusha provide 'http://HOST:PORT/#join=CODE'`; \
                 `jusha machine join` prints one"
                    .to_owned()
            }
            ProviderError::OtherExchange { .. } => {
                "use another directory for the other exchange: --data DIR".to_owned()
            }
            ProviderError::JoinString { .. } => {
                "it looks like http://HOST:PORT/#join=CODE (quote it: the shell takes # for a \
                 comment)"
                    .to_owned()
            }
            ProviderError::Tls(_) => {
                "--ca names a file with the certificate of the exchange's authority, in PEM"
                    .to_owned()
            }
            ProviderError::Unreachable { .. } => {
                "check the address, and that `jusha exchange` runs there".to_owned()
            }
            ProviderError::EnrolmentRefused { .. } => {
                "a join code works once and not for ever: `jusha machine join` prints a new one"
                    .to_owned()
            }
            ProviderError::Dismissed { .. } => {
                "if it was retired on purpose, enrol anew with a new --data DIR".to_owned()
            }
            ProviderError::OfferRefused { .. } => {
                "change --price, --slots or --memory accordingly".to_owned()
            }
            ProviderError::InUse { .. } => {
                "stop the other `jusha provide`, or use --data DIR".to_owned()
            }
            ProviderError::Disk { .. } => {
                "check the directory's permissions and that the disk isn't full".to_owned()
            }
            ProviderError::DamagedState { .. } => {
                "restore it from a backup, or enrol anew with a new --data DIR".to_owned()
            }
            ProviderError::Settings { .. } => {
                "`jusha provide set KEY VALUE` changes a setting, `jusha provide set KEY default` \
                 takes it back"
                    .to_owned()
            }
            ProviderError::Interrupted => "the exchange moves the tasks to other machines".into(),
            ProviderError::System { .. } => "see the cause above".to_owned(),
        }
    }
}
