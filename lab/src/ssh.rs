//! Keys and configuration for ssh into the hosts, made for this lab alone.

use crate::config::{LabConfig, Node};
use crate::disk::{File, write};
use crate::error::{Result, at};
use host::{Cmd, Host, Local};
use std::fmt::Write as _;
use std::path::Path;

/// Keys of a lab: one for all users, one for all hosts. A host key per host would tell nobody more:
/// they stand on one machine.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// Private key for logging in.
    pub(crate) user: String,
    /// Its public half, one line.
    pub(crate) user_public: String,
    /// Private key of the hosts.
    pub(crate) host: String,
    host_public: String,
}

/// Makes the lab's keys, known_hosts and ssh_config in its state folder, if they are not there.
pub(crate) fn ensure(config: &LabConfig) -> Result<Keys> {
    let dir = config.state_dir();
    let keys = Keys {
        user: key(&dir, "id_ed25519", "transship-lab")?,
        user_public: read(&dir.join("id_ed25519.pub"))?,
        host: key(&dir, "host_ed25519", "transship-lab-host")?,
        host_public: read(&dir.join("host_ed25519.pub"))?,
    };
    let nodes = config.nodes();
    write(&dir.join("known_hosts"), &known_hosts(&nodes, &keys), 0o600)?;
    write(&config.ssh_config(), &client_config(&nodes, &dir), 0o600)?;
    Ok(keys)
}

/// A private key, made now unless it is there.
fn key(dir: &Path, name: &str, comment: &str) -> Result<String> {
    let path = dir.join(name);
    let public = dir.join(format!("{name}.pub"));
    if !path.exists() || !public.exists() {
        let _ = std::fs::remove_file(&path);
        let path = path.to_string_lossy();
        let cmd = Cmd::changes("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", &path]);
        Local.text(&cmd)?;
    }
    read(&path)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(at(path))
}

fn known_hosts(nodes: &[Node], keys: &Keys) -> String {
    let key: Vec<&str> = keys.host_public.split_whitespace().take(2).collect();
    nodes.iter().fold(String::new(), |mut text, node| {
        let _ = writeln!(text, "{},{} {}", node.name, node.address, key.join(" "));
        text
    })
}

/// Configuration of an ssh client whose key and known_hosts lie in `folder`, ssh_config(5).
fn client_config(nodes: &[Node], folder: &Path) -> String {
    let mut text = String::new();
    let mut all = String::new();
    for node in nodes {
        let _ = write!(text, "Host {}\n  HostName {}\n", node.name, node.address);
        let _ = write!(all, " {} {}", node.name, node.address);
    }
    let folder = folder.display();
    let _ = write!(
        text,
        "Host{all}\n  User root\n  IdentityFile {folder}/id_ed25519\n  IdentitiesOnly yes\n  \
         UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n"
    );
    text
}

/// What ssh needs on a host's disk: its host key, who may log in, and the way to the other hosts.
pub(crate) fn host_files(nodes: &[Node], keys: &Keys) -> Vec<File> {
    let home = Path::new("/root/.ssh");
    vec![
        File::new("root/.ssh/authorized_keys", &keys.user_public, 0o600),
        File::new("root/.ssh/id_ed25519", &keys.user, 0o600),
        File::new("root/.ssh/known_hosts", &known_hosts(nodes, keys), 0o600),
        File::new("root/.ssh/config", &client_config(nodes, home), 0o600),
        File::new("etc/ssh/ssh_host_ed25519_key", &keys.host, 0o600),
        File::new("etc/ssh/sshd_config.d/lab.conf", SERVER, 0o644),
    ]
}

/// Tests log in often, all at once, and sometimes wrongly on purpose: no limits, no penalties.
const SERVER: &str = "HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\nMaxStartups 200\n\
                      MaxSessions 200\nPerSourcePenalties no\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_configuration_says_all_that_plain_ssh_needs() {
        let nodes = LabConfig::default().nodes();
        assert_eq!(
            client_config(&nodes, Path::new("/state/lab")),
            "Host a\n  HostName 10.77.0.2\n\
             Host b\n  HostName 10.77.0.3\n\
             Host a 10.77.0.2 b 10.77.0.3\n  User root\n  IdentityFile /state/lab/id_ed25519\n  \
             IdentitiesOnly yes\n  UserKnownHostsFile /state/lab/known_hosts\n  \
             StrictHostKeyChecking yes\n"
        );
    }

    #[test]
    fn keys_are_made_once_and_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let config = LabConfig {
            state_root: dir.path().to_owned(),
            ..LabConfig::default()
        };
        std::fs::create_dir(config.state_dir()).unwrap();
        let first = ensure(&config).unwrap();
        let second = ensure(&config).unwrap();
        assert_eq!(first.user, second.user);
        for name in ["id_ed25519", "known_hosts", "ssh_config"] {
            let mode = config
                .state_dir()
                .join(name)
                .metadata()
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let known = std::fs::read_to_string(config.state_dir().join("known_hosts")).unwrap();
        assert!(known.starts_with("a,10.77.0.2 ssh-ed25519 AAAA"), "{known}");
        assert_eq!(known.lines().count(), 2);
    }
}
