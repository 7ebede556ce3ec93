//! What can be wrong with an engine.

use crate::Kind;
use host::{HostError, quote};

/// Why an engine can't be used, on which host; [`EngineError::fix`] says what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The engine's program is not on the host.
    #[error("{host}: {engine} is not installed")]
    Missing {
        /// Host, as the user wrote it.
        host: String,
        /// Which engine.
        engine: Kind,
    },
    /// Podman is a user's, not root's: nothing of it can be checkpointed.
    #[error("{host}: Podman runs without root there, and CRIU needs root")]
    Rootless {
        /// Host, as the user wrote it.
        host: String,
    },
    /// The client is there, the daemon does not answer.
    #[error("{host}: the Docker daemon does not answer: {said}")]
    Down {
        /// Host, as the user wrote it.
        host: String,
        /// What the client said.
        said: String,
    },
    /// The daemon is there, this user may not talk to it.
    #[error("{host}: this user may not talk to the Docker daemon: {said}")]
    Denied {
        /// Host, as the user wrote it.
        host: String,
        /// What the client said.
        said: String,
    },
    /// The daemon refuses checkpoints, because its experimental features are off.
    #[error("{host}: the Docker daemon refuses checkpoints: its experimental features are off")]
    NotExperimental {
        /// Host, as the user wrote it.
        host: String,
    },
    /// The engine's answer could not be understood.
    #[error("{host}: `{doing}` printed what the engine never prints ({why}): {said}")]
    Nonsense {
        /// Host, as the user wrote it.
        host: String,
        /// The command line that ran.
        doing: String,
        /// What was wrong with the answer.
        why: String,
        /// The beginning of the answer.
        said: String,
    },
    /// The command could not be run at all.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl EngineError {
    /// What to do about it: a command that can be pasted, where one exists.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            EngineError::Missing { host, .. } | EngineError::NotExperimental { host } => {
                format!("transship provision {}", quote(host))
            }
            EngineError::Down { host, .. } => on(host, "systemctl restart docker"),
            EngineError::Denied { host, .. } => on(host, "sudo usermod -aG docker \"$(id -un)\""),
            EngineError::Rootless { .. } => {
                "log in as root: --from root@HOST --to root@HOST".to_owned()
            }
            EngineError::Nonsense { host, doing, .. } => on(host, doing),
            EngineError::Host(HostError::Unreachable { fix, .. }) => fix.clone(),
            EngineError::Host(error) => match error.host() {
                "local" => "docker version".to_owned(),
                host => format!("transship doctor {}", quote(host)),
            },
        }
    }
}

/// A command line for that host, to be pasted here.
fn on(host: &str, line: &str) -> String {
    if host == "local" {
        return line.to_owned();
    }
    // Only an ssh:// address may name a port.
    let target = if host.contains(':') && !host.starts_with("ssh://") {
        format!("ssh://{host}")
    } else {
        host.to_owned()
    };
    format!("ssh {} {}", quote(&target), quote(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixes_can_be_pasted() {
        let down = |host: &str| {
            EngineError::Down {
                host: host.to_owned(),
                said: String::new(),
            }
            .fix()
        };
        assert_eq!(down("local"), "systemctl restart docker");
        assert_eq!(down("root@a"), "ssh root@a 'systemctl restart docker'");
        assert_eq!(
            down("root@a:2222"),
            "ssh ssh://root@a:2222 'systemctl restart docker'"
        );
        let denied = EngineError::Denied {
            host: "u@a".to_owned(),
            said: String::new(),
        };
        assert_eq!(
            denied.fix(),
            r#"ssh u@a 'sudo usermod -aG docker "$(id -un)"'"#
        );
    }
}
