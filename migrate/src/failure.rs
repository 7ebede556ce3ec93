//! Why a migration did not work.

use engine::EngineError;
use host::HostError;

/// What sort of failure it is; the exit code follows from it and from what could be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for makes no sense.
    Usage,
    /// A host could not be reached or examined.
    Unreachable,
    /// A precondition does not hold; nothing was touched.
    Refused,
    /// Something failed on the way.
    Failed,
    /// The user stopped it.
    Interrupted,
}

/// What happened, on which host, doing what; and the way out.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// What sort of failure it is.
    pub kind: Kind,
    /// The host it happened on, where it was one.
    pub host: Option<String>,
    /// What happened, as a sentence that names host and container.
    pub what: String,
    /// Why, where the logs tell.
    pub cause: Option<String>,
    /// The last telling lines of CRIU's log.
    pub log: Vec<String>,
    /// What to do about it, each a command or sentence that can be pasted.
    pub fix: Vec<String>,
}

impl Failure {
    /// A failure of that kind.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Failure {
            kind,
            host: None,
            what: what.into(),
            cause: None,
            log: Vec::new(),
            fix: Vec::new(),
        }
    }

    /// A precondition on `host` that does not hold.
    pub fn refused(host: &str, what: impl Into<String>) -> Self {
        Failure::new(Kind::Refused, what).on(host)
    }

    /// Something on `host` that failed on the way.
    pub fn failed(host: &str, what: impl Into<String>) -> Self {
        Failure::new(Kind::Failed, what).on(host)
    }

    /// Names the host it happened on.
    #[must_use]
    pub fn on(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// Adds a way out.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let kind = if error.is_unreachable() {
            Kind::Unreachable
        } else {
            Kind::Failed
        };
        let mut failure = Failure::new(kind, error.to_string()).on(error.host());
        match &error {
            HostError::Unreachable { fix, .. } => failure.fix.push(fix.clone()),
            HostError::Lost { host, .. } => failure.fix.push(format!(
                "see whether {host} still answers: ssh {host} uptime; once it does, run this again"
            )),
            HostError::Timeout { host, .. } => failure.fix.push(format!(
                "see what keeps {host} busy: ssh {host} 'uptime; dmesg | tail'; then run this again"
            )),
            HostError::NoProgram { host, .. } => failure
                .fix
                .push(format!("install it: transship provision {host}")),
            HostError::Failed { host, said, .. } if said.contains("No space left on device") => {
                failure.fix.push(format!(
                    "on {host}: df -h, then free space on the one that is full; or docker system prune"
                ));
            }
            _ => {}
        }
        failure
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let (what, fix) = (error.to_string(), error.fix());
        match error {
            EngineError::Host(error) => error.into(),
            EngineError::Missing { host, .. }
            | EngineError::Down { host, .. }
            | EngineError::Denied { host, .. }
            | EngineError::Rootless { host }
            | EngineError::NotExperimental { host }
            | EngineError::Nonsense { host, .. } => {
                let mut failure = Failure::refused(&host, what);
                failure.fix.push(fix);
                failure
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_host_did_not_do_there_is_a_way_out() {
        let (host, doing) = ("b".to_owned(), "docker ps".to_owned());
        for (error, said) in [
            (
                HostError::Lost {
                    host: host.clone(),
                    doing: doing.clone(),
                    why: "end of file".into(),
                },
                "ssh b uptime",
            ),
            (
                HostError::Timeout {
                    host: host.clone(),
                    doing,
                    after: std::time::Duration::from_secs(9),
                },
                "ssh b 'uptime; dmesg | tail'",
            ),
            (
                HostError::NoProgram {
                    host,
                    program: "criu".into(),
                },
                "transship provision b",
            ),
        ] {
            let failure = Failure::from(error);
            assert_eq!(failure.host.as_deref(), Some("b"));
            assert!(failure.fix.concat().contains(said), "{:?}", failure.fix);
        }
    }
}
