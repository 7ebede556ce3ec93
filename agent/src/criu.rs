//! CRIU's configuration for one dump: what runc has no option for.

use crate::error::{AgentError, Result};
use crate::gate::Gate;
use crate::job::SendJob;
use crate::lazy::SOCKET;
use host::{Cmd, Host, Local};
use runtime::criu::GHOST_LIMIT;
use std::path::Path;

/// Writes the file; the dump waits at the gate.
pub(crate) fn configure(job: &SendJob) -> Result<Gate> {
    let gate = Gate::close(job.config.parent().unwrap_or(Path::new("/")))?;
    let (script, ghosts) = (gate.script().display(), GHOST_LIMIT >> 20);
    let mut text = format!("action-script {script}\nghost-limit {ghosts}M\n");
    if job.serve.is_some() {
        text.push_str(&format!("ps-socket {SOCKET}\n"));
    }
    if job.lock_network.is_some() && can_skip_lock() {
        text.push_str("network-lock skip\n");
    }
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", job.first));
    for hierarchy in own_hierarchies(&groups.unwrap_or_default()) {
        text.push_str(&format!("cgroup-dump-controller {hierarchy}\n"));
    }
    std::fs::write(&job.config, text).map_err(|error| AgentError::file(&job.config, error))?;
    Ok(gate)
}

/// The hierarchies of control groups that CRIU is to dump, from the `/proc/PID/cgroup` of the container's first process:
/// those in whose root it is not. Of these CRIU would dump the groups of the whole host, and make them anew on the other
/// one: where v1 and v2 are both mounted, an engine that manages v1 leaves containers in the root of v2. None where CRIU
/// is to dump what it does by itself, which is all: v2 alone has no name to call it by.
fn own_hierarchies(groups: &str) -> Vec<&str> {
    let hierarchies = groups.lines().filter_map(|line| {
        let (_, named) = line.split_once(':')?;
        named.split_once(':').filter(|(_, path)| *path != "/")
    });
    let names: Vec<_> = hierarchies.map(|(name, _)| name).collect();
    if names.contains(&"") {
        return Vec::new();
    }
    names
}

/// Whether this CRIU can be told that the network is locked already: it takes the option and says its version,
/// or refuses the option. Its own lock takes eight calls of iptables, half of them while nothing else goes on.
fn can_skip_lock() -> bool {
    let cmd = Cmd::reads("criu").args(["--network-lock", "skip", "--version"]);
    Local.run(&cmd).is_ok_and(|output| output.status == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_root_of_a_hierarchy_is_not_the_containers() {
        let v1 = "13:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:rdma:/\n1:name=systemd:/docker/abc\n";
        let names = ["memory", "cpu,cpuacct", "name=systemd"];
        assert_eq!(own_hierarchies(v1), names);
        assert_eq!(own_hierarchies(&format!("{v1}0::/\n")), names);
        assert!(own_hierarchies(&format!("{v1}0::/system.slice/docker-abc.scope\n")).is_empty());
        assert!(own_hierarchies("0::/docker/abc\n").is_empty());
    }
}
