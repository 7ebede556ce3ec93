//! The user's SSH configuration, as `ssh -G` resolves it.

use super::SshOptions;
use crate::{Cmd, Host, HostError, Local, Result};
use std::path::PathBuf;

/// What of the configuration a connection needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SshConfig {
    pub hostname: String,
    pub port: u16,
    pub user: String,
    pub identity_files: Vec<PathBuf>,
    pub identities_only: bool,
    pub known_hosts_files: Vec<PathBuf>,
    /// Name under which the host's key is known, where it is not the host's own.
    pub host_key_alias: Option<String>,
    pub accept_new: bool,
    pub proxy: Option<Cmd>,
}

impl SshConfig {
    /// Asks `ssh -G` what applies to this host.
    pub fn resolve(
        name: &str,
        host: &str,
        user: Option<&str>,
        port: Option<u16>,
        options: &SshOptions,
    ) -> Result<Self> {
        let mut cmd = Cmd::reads("ssh").arg("-G");
        if let Some(file) = &options.config {
            cmd = cmd.arg("-F").arg(file.to_string_lossy());
        }
        if let Some(port) = port {
            cmd = cmd.arg("-p").arg(port.to_string());
        }
        if let Some(user) = user {
            cmd = cmd.arg("-l").arg(user);
        }
        cmd = cmd.args(["--", host]);
        let unusable = |what: String, fix: &str| HostError::Unreachable {
            host: name.to_owned(),
            what,
            fix: fix.to_owned(),
        };
        let text = match Local.text(&cmd) {
            Ok(text) => text,
            Err(HostError::NoProgram { .. }) => {
                return Err(unusable(
                    "there is no `ssh` on this machine, which resolves your SSH configuration"
                        .to_owned(),
                    "apt-get install openssh-client",
                ));
            }
            Err(HostError::Failed { said, .. }) => {
                return Err(unusable(
                    format!("your SSH configuration cannot be read: {said}"),
                    &cmd.line(),
                ));
            }
            Err(error) => return Err(error),
        };
        let mut config = parse(&text, &home());
        if config.hostname.is_empty() {
            config.hostname = host.to_owned();
        }
        if let Some(identity) = &options.identity {
            config.identity_files.insert(0, identity.clone());
        }
        if options.accept_new_host_keys {
            config.accept_new = true;
        }
        config.proxy = proxy(&text, &config, options);
        Ok(config)
    }

    /// The name that known_hosts files have for this host.
    pub fn known_as(&self) -> String {
        let name = self.host_key_alias.as_deref().unwrap_or(&self.hostname);
        if self.port == 22 || self.host_key_alias.is_some() {
            name.to_owned()
        } else {
            format!("[{name}]:{}", self.port)
        }
    }
}

fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from("/root"))
}

fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| name.eq_ignore_ascii_case(key))
        .map(|(_, value)| value.trim())
        .filter(|value| !value.is_empty() && *value != "none")
}

fn parse(text: &str, home: &std::path::Path) -> SshConfig {
    let path = |text: &str| match text.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => PathBuf::from(text),
    };
    let mut config = SshConfig {
        hostname: value(text, "hostname").unwrap_or_default().to_owned(),
        port: value(text, "port")
            .and_then(|port| port.parse().ok())
            .unwrap_or(22),
        user: value(text, "user").unwrap_or("root").to_owned(),
        identities_only: value(text, "identitiesonly") == Some("yes"),
        host_key_alias: value(text, "hostkeyalias").map(str::to_owned),
        accept_new: value(text, "stricthostkeychecking") == Some("accept-new"),
        ..SshConfig::default()
    };
    let all = |key: &'static str| {
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .filter(move |(name, rest)| *name == key && *rest != "none")
            .map(|(_, rest)| rest)
    };
    config.identity_files = all("identityfile").map(path).collect();
    // The user's own files first: a new key is written to the first.
    config.known_hosts_files = all("userknownhostsfile")
        .chain(all("globalknownhostsfile"))
        .flat_map(str::split_whitespace)
        .map(path)
        .collect();
    config
}

/// The command that connects its standard input and output to the host, where the configuration names one.
fn proxy(text: &str, config: &SshConfig, options: &SshOptions) -> Option<Cmd> {
    if let Some(jump) = value(text, "proxyjump") {
        let mut cmd = Cmd::reads("ssh");
        if let Some(file) = &options.config {
            cmd = cmd.arg("-F").arg(file.to_string_lossy());
        }
        if let Some((before, last)) = jump.rsplit_once(',') {
            cmd = cmd.args(["-J", before]).args([
                "-W",
                &format!("[{}]:{}", config.hostname, config.port),
                "--",
                last,
            ]);
        } else {
            cmd = cmd.args([
                "-W",
                &format!("[{}]:{}", config.hostname, config.port),
                "--",
                jump,
            ]);
        }
        return Some(cmd);
    }
    let command = value(text, "proxycommand")?
        .replace("%h", &config.hostname)
        .replace("%p", &config.port.to_string())
        .replace("%r", &config.user)
        .replace("%%", "%");
    Some(Cmd::reads("sh").args(["-c", &format!("exec {command}")]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const G: &str = "host a\nuser root\nhostname 10.77.0.2\nport 2222\nidentitiesonly yes\nstricthostkeychecking true\n\
        identityfile ~/.ssh/id_ed25519\nidentityfile /lab/id\nglobalknownhostsfile /etc/ssh/ssh_known_hosts\n\
        userknownhostsfile /lab/known_hosts\nproxyjump root@j,k\nhostkeyalias none\n";

    #[test]
    fn what_ssh_resolves_is_taken_over() {
        let config = parse(G, Path::new("/home/me"));
        assert_eq!(
            (config.hostname.as_str(), config.port, config.user.as_str()),
            ("10.77.0.2", 2222, "root")
        );
        assert!(config.identities_only && !config.accept_new);
        assert_eq!(
            config.identity_files,
            [
                PathBuf::from("/home/me/.ssh/id_ed25519"),
                PathBuf::from("/lab/id")
            ]
        );
        assert_eq!(config.known_hosts_files[0], Path::new("/lab/known_hosts"));
        assert_eq!(config.known_as(), "[10.77.0.2]:2222");
    }

    #[test]
    fn a_jump_host_becomes_a_command() {
        let config = parse(G, Path::new("/root"));
        let cmd = proxy(G, &config, &SshOptions::default()).unwrap();
        assert_eq!(cmd.line(), "ssh -J root@j -W '[10.77.0.2]:2222' -- k");
    }
}
