//! How a user names a host.

use crate::{Host, Local, Result, Ssh, SshOptions, Sudo};
use std::sync::Arc;

/// A host as written on the command line: `local`, `[ssh://][user@]host[:port]` or an alias of ssh_config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This machine.
    Local,
    /// A machine reached over SSH.
    Ssh {
        /// What the user typed; used in every message.
        text: String,
        /// User to log in as; from the user's ssh_config where not given.
        user: Option<String>,
        /// Host name, address, or alias.
        host: String,
        /// Port; from the user's ssh_config where not given.
        port: Option<u16>,
    },
}

/// Why a host's name cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no host: {why}; write `local`, `[user@]host[:port]` or an alias of your ssh_config"
)]
pub struct BadTarget {
    text: String,
    why: &'static str,
}

impl std::str::FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> std::result::Result<Self, BadTarget> {
        let bad = |why| BadTarget {
            text: text.to_owned(),
            why,
        };
        if text == "local" {
            return Ok(Target::Local);
        }
        let rest = text.strip_prefix("ssh://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, rest) = match rest.rsplit_once('@') {
            Some(("", _)) => return Err(bad("the user before `@` is empty")),
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, rest),
        };
        let (host, port) =
            split_port(rest).ok_or_else(|| bad("the port is no number from 1 to 65535"))?;
        if host.is_empty() {
            return Err(bad("the host's name is empty"));
        }
        // `ssh` would take it for an option.
        if host.starts_with('-') || user.as_deref().is_some_and(|user| user.starts_with('-')) {
            return Err(bad("a name cannot begin with `-`"));
        }
        if text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '/' && !text.starts_with("ssh://"))
        {
            return Err(bad("it has a character that no host's name has"));
        }
        Ok(Target::Ssh {
            text: text.to_owned(),
            user,
            host: host.to_owned(),
            port,
        })
    }
}

/// Splits `host`, `host:port`, `[v6]:port`; a bare IPv6 address has no port.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            None if after.is_empty() => Some((host, None)),
            None => None,
            Some(port) => Some((host, Some(parse_port(port)?))),
        };
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some((_, rest)) if rest.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(parse_port(port)?))),
    }
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Local => f.write_str("local"),
            Target::Ssh { text, .. } => f.write_str(text),
        }
    }
}

impl Target {
    /// Connects to the host, so that what is wrong with it shows now and not half-way. Where we come in as
    /// an ordinary user who may use sudo without a password, commands run through it.
    ///
    /// # Errors
    /// [`crate::HostError::Unreachable`].
    pub fn connect(&self, options: &SshOptions) -> Result<Arc<dyn Host>> {
        match self {
            Target::Local if rustix::process::geteuid().is_root() => Ok(Arc::new(Local)),
            Target::Local => Sudo::where_needed(Arc::new(Local)),
            Target::Ssh {
                text,
                user,
                host,
                port,
            } => {
                let ssh = Ssh::connect(text, host, user.as_deref(), *port, options)?;
                if ssh.user() == "root" {
                    return Ok(Arc::new(ssh));
                }
                Sudo::where_needed(Arc::new(ssh))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(text: &str) -> (Option<String>, String, Option<u16>) {
        match text.parse().unwrap() {
            Target::Ssh {
                user, host, port, ..
            } => (user, host, port),
            Target::Local => panic!("local"),
        }
    }

    #[test]
    fn the_forms_a_host_can_have() {
        assert_eq!("local".parse(), Ok(Target::Local));
        assert_eq!(ssh("a"), (None, "a".into(), None));
        assert_eq!(ssh("root@a"), (Some("root".into()), "a".into(), None));
        assert_eq!(
            ssh("ssh://root@a:2222"),
            (Some("root".into()), "a".into(), Some(2222))
        );
        assert_eq!(ssh("[fe80::1]:22"), (None, "fe80::1".into(), Some(22)));
        assert_eq!(ssh("fd00::1"), (None, "fd00::1".into(), None));
        assert_eq!(ssh("me@corp@a"), (Some("me@corp".into()), "a".into(), None));
    }

    #[test]
    fn what_is_no_host() {
        for text in [
            "",
            "a:0",
            "a:x",
            "@a",
            "root@",
            "-oProxyCommand=x",
            "a b",
            "a/b",
            "[::1",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
