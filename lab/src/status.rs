//! How a lab is.

use crate::cgroup::Layout;
use crate::config::{Engine, LabConfig, Node, recorded};
use crate::error::{LabError, Result};
use crate::inside::LabHost;
use crate::machine::need_root;
use crate::{boot, daemons, net};
use ::host::Cmd;
use serde::Serialize;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// How a lab is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Whether there is such a lab, up or broken.
    pub exists: bool,
    /// Whether all of its hosts are up.
    pub up: bool,
    /// Its range of addresses.
    pub subnet: Option<String>,
    /// Configuration for `ssh -F`.
    pub ssh_config: Option<PathBuf>,
    /// Its hosts.
    pub hosts: Vec<HostStatus>,
}

/// How a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostStatus {
    /// Its name: `a`, `b`, ...
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its engine.
    pub engine: Engine,
    /// What the engine says its version is; none where it does not answer.
    pub version: Option<String>,
    /// Whether all of it works.
    pub up: bool,
    /// What does not work, each a sentence; empty if it is up.
    pub why: Vec<String>,
    /// Process id of its init on this machine.
    pub pid: Option<u32>,
}

/// What works of a host.
pub(crate) struct Health {
    pub(crate) inside: std::result::Result<LabHost, String>,
    pub(crate) plugged: bool,
    pub(crate) sshd: bool,
    pub(crate) version: Option<String>,
}

impl Health {
    pub(crate) fn of(
        config: &LabConfig,
        node: &Node,
        layout: &Layout,
        links: &[net::Link],
    ) -> Health {
        let inside = boot::running(node, layout);
        let plugged = net::plugged(links, config, node);
        Health {
            plugged,
            sshd: plugged && inside.is_ok() && daemons::sshd_greets(node),
            version: inside
                .as_ref()
                .ok()
                .and_then(|host| daemons::engine_version(node, host)),
            inside,
        }
    }

    /// What does not work, each a sentence.
    pub(crate) fn why(&self, node: &Node) -> Vec<String> {
        if let Err(why) = &self.inside {
            return vec![why.clone()];
        }
        let mut why = Vec::new();
        if !self.plugged {
            why.push(format!("its interface {} is not in the bridge", node.label));
        } else if !self.sshd {
            why.push(format!("sshd does not answer on {}:22", node.address));
        }
        if self.version.is_none() {
            why.push(format!("{} does not answer", node.engine));
        }
        why
    }

    fn status(self, node: &Node) -> HostStatus {
        let why = self.why(node);
        HostStatus {
            name: node.name.clone(),
            address: node.address,
            engine: node.engine,
            up: why.is_empty(),
            why,
            pid: self.inside.as_ref().ok().map(LabHost::pid),
            version: self.version,
        }
    }
}

/// Looks at all hosts at once.
pub(crate) fn look(config: &LabConfig, layout: &Layout) -> Result<Vec<Health>> {
    let links = net::links()?;
    let nodes = config.nodes();
    Ok(std::thread::scope(|scope| {
        let looks: Vec<_> = nodes
            .iter()
            .map(|node| scope.spawn(|| Health::of(config, node, layout, &links)))
            .collect();
        looks
            .into_iter()
            .map(|look| look.join().expect("looking cannot panic"))
            .collect()
    }))
}

/// Makes a status of what was seen.
pub(crate) fn sum_up(config: &LabConfig, seen: Vec<Health>) -> Status {
    let nodes = config.nodes();
    let hosts: Vec<HostStatus> = seen
        .into_iter()
        .zip(&nodes)
        .map(|(health, node)| health.status(node))
        .collect();
    Status {
        name: config.name.clone(),
        exists: true,
        up: hosts.iter().all(|host| host.up),
        subnet: Some(config.subnet.to_string()),
        ssh_config: Some(config.ssh_config()),
        hosts,
    }
}

/// How the lab of that name is. Of `config` only the name and the state folder matter.
///
/// # Errors
/// Not root, no cgroups, or `ip` failed.
pub fn status(config: &LabConfig) -> Result<Status> {
    need_root()?;
    config.validate()?;
    let Some(config) = recorded(&config.record()) else {
        return Ok(Status {
            name: config.name.clone(),
            exists: false,
            up: false,
            subnet: None,
            ssh_config: None,
            hosts: Vec::new(),
        });
    };
    let seen = look(&config, &Layout::of_this_machine()?)?;
    Ok(sum_up(&config, seen))
}

/// A host of the lab of that name, for running commands in it.
/// Of `config` only the name and the state folder matter.
///
/// # Errors
/// No such lab or host, or its init does not run.
pub fn host(config: &LabConfig, name: &str) -> Result<LabHost> {
    need_root()?;
    config.validate()?;
    let Some(config) = recorded(&config.record()) else {
        return Err(LabError::NoLab {
            name: config.name.clone(),
        });
    };
    let nodes = config.nodes();
    let Some(node) = nodes.iter().find(|node| node.name == name) else {
        return Err(LabError::NoHost {
            name: config.name.clone(),
            host: name.to_owned(),
            hosts: nodes.into_iter().map(|node| node.name).collect(),
        });
    };
    boot::running(node, &Layout::of_this_machine()?).map_err(|why| LabError::HostDown {
        name: config.name.clone(),
        host: name.to_owned(),
        why,
    })
}

/// The command that runs `argv` in a host, for the caller to run on this machine with its own
/// standard input, output and error.
///
/// # Errors
/// As for [`host`]; [`LabError::BadConfig`] where `argv` is empty.
pub fn exec(config: &LabConfig, name: &str, argv: &[String]) -> Result<Cmd> {
    let Some((program, args)) = argv.split_first() else {
        return Err(LabError::BadConfig {
            what: "there is no command to run".to_owned(),
            fix: format!("transship lab exec {name} -- bash"),
        });
    };
    let cmd = Cmd::changes(program).args(args.iter().cloned());
    Ok(host(config, name)?.wrap(&cmd))
}
