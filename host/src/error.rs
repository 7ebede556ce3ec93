//! What can go wrong between us and a host.

use crate::{Cmd, Output};
use std::time::Duration;

/// Result of an operation on a host.
pub type Result<T> = std::result::Result<T, HostError>;

/// What went wrong, on which host, doing what.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HostError {
    /// The host could not be reached, or did not let us in.
    #[error("{host}: {what}")]
    Unreachable {
        /// Host, as the user wrote it.
        host: String,
        /// What happened.
        what: String,
        /// What to do about it, pasteable where that is possible.
        fix: String,
    },
    /// The connection broke while a command ran: how far it came is unknown.
    #[error("{host}: the connection was lost during `{doing}`: {why}")]
    Lost {
        /// Host, as the user wrote it.
        host: String,
        /// The command line that was running.
        doing: String,
        /// What the transport said.
        why: String,
    },
    /// The command took longer than it may.
    #[error("{host}: `{doing}` did not end within {} s", .after.as_secs())]
    Timeout {
        /// Host, as the user wrote it.
        host: String,
        /// The command line that was running.
        doing: String,
        /// The time it had.
        after: Duration,
    },
    /// The program does not exist on that host.
    #[error("{host}: there is no program `{program}`")]
    NoProgram {
        /// Host, as the user wrote it.
        host: String,
        /// The program that was looked for.
        program: String,
    },
    /// The command ended with a status other than 0.
    #[error("{host}: `{doing}` failed with status {status}: {said}")]
    Failed {
        /// Host, as the user wrote it.
        host: String,
        /// The command line that ran.
        doing: String,
        /// Exit status; 128 + n for signal n.
        status: i32,
        /// What it said on standard error, else on standard output.
        said: String,
    },
}

impl HostError {
    /// The error for a command that ended with a status other than 0.
    #[must_use]
    pub fn failed(host: &str, cmd: &Cmd, output: &Output) -> Self {
        let mut said = output.stderr_text().trim().to_owned();
        if said.is_empty() {
            said = output.stdout_text().trim().to_owned();
        }
        if said.is_empty() {
            said = "it printed nothing".to_owned();
        }
        HostError::Failed {
            host: host.to_owned(),
            doing: cmd.brief(),
            status: output.status,
            said,
        }
    }

    /// The host it happened on, as the user wrote it.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            HostError::Unreachable { host, .. }
            | HostError::Lost { host, .. }
            | HostError::Timeout { host, .. }
            | HostError::NoProgram { host, .. }
            | HostError::Failed { host, .. } => host,
        }
    }

    /// Whether the host itself is out of reach, so that nothing is known of what it does.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, HostError::Unreachable { .. } | HostError::Lost { .. })
    }
}
