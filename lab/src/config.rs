//! What a lab is to be made of, and the names that follow from it.

use crate::error::{LabError, Result};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Longest name of a lab: interfaces are called `ts-<name>-<host>`, and Linux allows 15 characters
/// (IFNAMSIZ, netdevice(7)).
pub const MAX_NAME: usize = 8;
/// Most hosts in a lab: their names are one letter each.
pub const MAX_HOSTS: usize = 26;

/// Which container engine a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Docker 26.1 of Debian 13.
    #[serde(rename = "docker-26")]
    Docker26,
    /// Docker 28.5 of Debian testing.
    #[serde(rename = "docker-28")]
    Docker28,
    /// Podman 5.4 of Debian 13, with runc.
    Podman,
}

impl Engine {
    /// All engines, in the order help texts name them.
    pub const ALL: [Engine; 3] = [Engine::Docker26, Engine::Docker28, Engine::Podman];
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Docker26 => "docker-26",
            Engine::Docker28 => "docker-28",
            Engine::Podman => "podman",
        })
    }
}

impl FromStr for Engine {
    type Err = LabError;

    fn from_str(text: &str) -> Result<Self> {
        Engine::ALL
            .into_iter()
            .find(|engine| engine.to_string() == text)
            .ok_or_else(|| LabError::BadConfig {
                what: format!("the lab has no engine `{text}`"),
                fix: format!(
                    "one of {}",
                    Engine::ALL.map(|engine| engine.to_string()).join(", ")
                ),
            })
    }
}

/// What a lab is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabConfig {
    /// Name: 1 to 8 lowercase letters and digits. Several labs stand side by side by their names.
    pub name: String,
    /// How many hosts; they are called `a`, `b`, `c` and so on.
    pub hosts: usize,
    /// The range of addresses: this machine gets the first, the hosts those that follow.
    pub subnet: Ipv4Net,
    /// One engine for all hosts, or one for each.
    pub engines: Vec<Engine>,
    /// Folder that holds a folder per lab.
    pub state_root: PathBuf,
    /// Folder for root file systems and images, shared by all labs and kept by `down`.
    pub cache: PathBuf,
    /// Debian mirror; without one, the one of this machine's apt sources.
    pub mirror: Option<String>,
}

impl Default for LabConfig {
    fn default() -> Self {
        LabConfig {
            name: "lab".to_owned(),
            hosts: 2,
            subnet: Ipv4Net::new_assert(Ipv4Addr::new(10, 77, 0, 0), 24),
            engines: vec![Engine::Docker26],
            state_root: PathBuf::from("/var/lib/transship/lab"),
            cache: PathBuf::from("/var/cache/transship"),
            mirror: None,
        }
    }
}

/// One host of a lab, as planned: names and addresses that follow from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name of the lab.
    pub lab: String,
    /// Name of the host: `a`, `b`, ...
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its engine.
    pub engine: Engine,
    /// Folder with its disk and its init's state.
    pub dir: PathBuf,
    /// Network namespace, this machine's end of its cable, and its cgroup: one name for the three.
    pub label: String,
}

impl LabConfig {
    /// Says whether the lab can be made at all.
    ///
    /// # Errors
    /// [`LabError::BadConfig`] with what would be right.
    pub fn validate(&self) -> Result<()> {
        let bad = |what: String, fix: &str| {
            Err(LabError::BadConfig {
                what,
                fix: fix.to_owned(),
            })
        };
        // No dash: lab `x-a` would have a bridge with the name of a cable of lab `x`.
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if self.name.is_empty() || self.name.len() > MAX_NAME || !self.name.chars().all(plain) {
            return bad(
                format!("`{}` cannot be the name of a lab", self.name),
                "1 to 8 lowercase letters and digits: --lab lab2",
            );
        }
        if !(1..=MAX_HOSTS).contains(&self.hosts) {
            return bad(
                format!("a lab cannot have {} hosts", self.hosts),
                "--hosts 2",
            );
        }
        if self.engines.len() != 1 && self.engines.len() != self.hosts {
            return bad(
                format!("{} engines for {} hosts", self.engines.len(), self.hosts),
                "one engine for all hosts, or one for each",
            );
        }
        if self.subnet.addr() != self.subnet.network() {
            return bad(
                format!("{} is an address, not a range", self.subnet),
                &format!("--subnet {}", self.subnet.trunc()),
            );
        }
        if self.subnet.hosts().count() < self.hosts + 1 || self.subnet.prefix_len() > 30 {
            return bad(
                format!(
                    "{} has too few addresses for {} hosts",
                    self.subnet, self.hosts
                ),
                "a larger range: --subnet 10.88.0.0/24",
            );
        }
        for path in [&self.state_root, &self.cache] {
            // They become options of an overlay mount, where these characters separate.
            let text = path.to_string_lossy();
            if !path.is_absolute() || text.contains([':', ',', '\\', '\n', ' ', '"']) {
                return bad(
                    format!("the lab cannot work in the folder {text:?}"),
                    "an absolute path without colons, commas, quotes, spaces and backslashes",
                );
            }
        }
        Ok(())
    }

    /// Address of this machine in the lab's network.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.nth_address(1)
    }

    fn nth_address(&self, n: usize) -> Ipv4Addr {
        let offset = u32::try_from(n).unwrap_or(u32::MAX);
        Ipv4Addr::from(u32::from(self.subnet.network()).saturating_add(offset))
    }

    /// Name of the bridge between the hosts; also the start of every other name of this lab's.
    #[must_use]
    pub fn bridge(&self) -> String {
        format!("ts-{}", self.name)
    }

    /// Folder with all that this lab keeps.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.state_root.join(&self.name)
    }

    /// Configuration for `ssh -F`.
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        self.state_dir().join("ssh_config")
    }

    /// Where the configuration of a lab that is there is written down.
    pub(crate) fn record(&self) -> PathBuf {
        self.state_dir().join("lab.json")
    }

    /// The hosts.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        ('a'..='z')
            .take(self.hosts)
            .enumerate()
            .map(|(index, letter)| Node {
                lab: self.name.clone(),
                name: letter.to_string(),
                address: self.nth_address(index + 2),
                engine: self.engines[index.min(self.engines.len() - 1)],
                dir: self.state_dir().join(letter.to_string()),
                label: format!("{}-{letter}", self.bridge()),
            })
            .collect()
    }

    /// What the lab is made of, in words.
    pub(crate) fn in_words(&self) -> String {
        let engines: Vec<String> = self.nodes().iter().map(|n| n.engine.to_string()).collect();
        format!(
            "{} hosts ({}) in {}",
            self.hosts,
            engines.join(", "),
            self.subnet
        )
    }
}

/// Reads the configuration of a lab that is there; `None` where there is none.
pub(crate) fn recorded(path: &Path) -> Option<LabConfig> {
    let config: LabConfig = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    config.validate().ok().map(|()| config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut LabConfig)) -> LabConfig {
        let mut config = LabConfig::default();
        change(&mut config);
        config
    }

    #[test]
    fn the_default_is_valid_and_gives_two_hosts() {
        let config = LabConfig::default();
        config.validate().unwrap();
        let nodes = config.nodes();
        let seen: Vec<_> = nodes
            .iter()
            .map(|n| (n.name.as_str(), n.address.to_string(), n.label.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("a", "10.77.0.2".to_owned(), "ts-lab-a"),
                ("b", "10.77.0.3".to_owned(), "ts-lab-b")
            ]
        );
        assert_eq!(config.gateway().to_string(), "10.77.0.1");
    }

    #[test]
    fn every_name_fits_an_interface() {
        let config = with(|c| c.name = "x".repeat(MAX_NAME));
        config.validate().unwrap();
        assert!(config.nodes().iter().all(|n| n.label.len() <= 15));
    }

    #[test]
    fn names_that_could_clash_or_not_fit_are_refused() {
        for name in ["", "Lab", "x-a", "a/b", "ninechars", "ä"] {
            assert!(
                with(|c| c.name = name.to_owned()).validate().is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_range_must_hold_all_hosts_and_this_machine() {
        let small = |n| {
            with(|c| {
                c.subnet = "10.1.2.8/29".parse().unwrap();
                c.hosts = n;
            })
        };
        small(5).validate().unwrap();
        assert_eq!(small(5).nodes()[4].address.to_string(), "10.1.2.14");
        assert!(small(6).validate().is_err());
        assert!(
            with(|c| c.subnet = "10.1.2.3/32".parse().unwrap())
                .validate()
                .is_err()
        );
    }

    #[test]
    fn an_address_is_not_taken_for_a_range() {
        let error = with(|c| c.subnet = "10.1.2.3/24".parse().unwrap())
            .validate()
            .unwrap_err();
        assert_eq!(error.fix(), "--subnet 10.1.2.0/24");
    }

    #[test]
    fn engines_are_one_or_one_for_each() {
        with(|c| c.engines = vec![Engine::Docker26, Engine::Podman])
            .validate()
            .unwrap();
        assert!(with(|c| c.engines = vec![]).validate().is_err());
        assert!(
            with(|c| c.engines = vec![Engine::Podman; 3])
                .validate()
                .is_err()
        );
    }

    #[test]
    fn paths_that_a_mount_would_split_are_refused() {
        assert!(with(|c| c.cache = "/var/a:b".into()).validate().is_err());
        assert!(with(|c| c.state_root = "lab".into()).validate().is_err());
    }

    #[test]
    fn engines_read_back_as_they_print() {
        for engine in Engine::ALL {
            assert_eq!(engine.to_string().parse::<Engine>().unwrap(), engine);
        }
        assert!(
            "docker"
                .parse::<Engine>()
                .unwrap_err()
                .fix()
                .contains("docker-26")
        );
    }
}
