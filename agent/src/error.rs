//! What can go wrong on the two hosts.

use host::HostError;
use std::path::Path;

/// Result of what an agent does.
pub type Result<T> = std::result::Result<T, AgentError>;

/// How an agent begins to say that the stream broke: the cause may lie on the other side.
pub const BROKE: &str = "the stream between the hosts broke";

/// What an agent says that was told to end.
pub const ENDED: &str = "the migration was ended";

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file could not be read, written or given its attributes.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What the kernel said.
        why: String,
    },
    /// What came is not what was sent.
    #[error(
        "what arrived is not what was sent ({received} of {sent} bytes, or one of them altered)"
    )]
    Altered {
        /// Bytes sent.
        sent: u64,
        /// Bytes received.
        received: u64,
    },
    /// The same, before it could be decrypted.
    #[error(
        "what arrived is not what was sent: a byte was altered on its way between the hosts, by a faulty network card or by somebody"
    )]
    Forged,
    /// The other side is gone.
    #[error("{BROKE}: {0}")]
    Broken(String),
    /// The other host was out of reach for too long.
    #[error("the other host was not reached for {0} s")]
    Link(u64),
    /// What came makes no sense.
    #[error("the stream between the hosts makes no sense: {0}")]
    Nonsense(String),
    /// The steering side ended the migration.
    #[error("{ENDED}")]
    Ended,
    /// The container's engine or CRIU did not do what they were asked to.
    #[error(transparent)]
    Command(#[from] HostError),
    /// Anything else, as a sentence.
    #[error("{0}")]
    Other(String),
}

impl AgentError {
    pub(crate) fn stream(why: impl std::fmt::Display) -> Self {
        AgentError::Nonsense(why.to_string())
    }

    pub(crate) fn sending(error: std::io::Error) -> Self {
        AgentError::Broken(
            silence(&error).unwrap_or_else(|| format!("nobody reads any more: {error}")),
        )
    }

    pub(crate) fn receiving(error: std::io::Error) -> Self {
        let cause = error.get_ref().and_then(|error| error.downcast_ref());
        match cause {
            Some(rustls::Error::DecryptError) => AgentError::Forged,
            _ => AgentError::Broken(silence(&error).unwrap_or_else(|| error.to_string())),
        }
    }

    /// What an engine prints, or reads.
    pub(crate) fn piping(error: std::io::Error) -> Self {
        AgentError::Other(format!("the engine's image: {error}"))
    }

    pub(crate) fn file(path: &Path, error: impl std::fmt::Display) -> Self {
        AgentError::File {
            path: path.display().to_string(),
            why: error.to_string(),
        }
    }
}

/// What an error of the link means that the kernel gave up, or that moved nothing for too long.
fn silence(error: &std::io::Error) -> Option<String> {
    use std::io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut, WouldBlock};
    let lost = matches!(
        error.kind(),
        TimedOut | WouldBlock | HostUnreachable | NetworkUnreachable
    );
    lost.then(|| "the other host was not reached for too long".to_owned())
}
