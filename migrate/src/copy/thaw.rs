//! How a frozen source is made to go on.

use super::network;
use crate::leftover;
use engine::{Container, Name};
use host::Cmd;
use std::time::Duration;

/// The commands that let the frozen source go on, in order: first whoever dumps it must have ended. At the end
/// its neighbours are told where it is: the destination may have told them already that it is there.
pub(crate) fn cmds(container: &Container, name: &Name) -> Vec<Cmd> {
    let own = container.pid();
    let own = own.filter(|_| container.has_own_network_namespace());
    let mut cmds = vec![ended(name)];
    cmds.extend(own.map(network::unlock));
    cmds.push(container.kind().unpause(name));
    cmds.extend(own.map(network::announce));
    cmds
}

/// Waits until whoever dumps it has ended.
pub(crate) fn ended(name: &Name) -> Cmd {
    let wait = leftover::ENDS.as_secs().to_string();
    Cmd::changes("flock")
        .args(["-w", &wait, &leftover::held(name), "true"])
        .timeout(leftover::ENDS + Duration::from_secs(10))
}

/// The same, to be pasted.
pub(crate) fn line(container: &Container, name: &Name) -> String {
    let lines: Vec<String> = cmds(container, name).iter().map(Cmd::line).collect();
    lines.join("; ")
}

/// What the engine's runtime says where the engine takes the container for frozen and the kernel does not: a
/// CRIU that ends half-way (killed, out of memory) had thawed it for the dump.
pub(crate) const RUNTIME_DISAGREES: &str = "container not paused";

/// Freezes the container anew, cleanly, so that the engine can thaw it. What is left half frozen by a CRIU that
/// ended, or is thawed already, is thawed first: runc takes neither for frozen.
pub(crate) fn refreeze(runc_root: &str, container: &Container) -> Option<Cmd> {
    let script = format!("{MELT}\nexec runc --root \"$2\" pause \"$3\"\n");
    let pid = container.pid()?.to_string();
    Some(Cmd::changes("sh").args(["-c", &script, "sh", &pid, runc_root, container.id()]))
}

/// Lets process `$1` and all others of its control group go on, whoever froze them.
const MELT: &str = r#"
v1=$(sed -n 's/^[0-9]*:freezer://p' "/proc/$1/cgroup"); v2=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
if [ -n "$v1" ] && [ -e "/sys/fs/cgroup/freezer$v1/freezer.state" ]; then echo THAWED > "/sys/fs/cgroup/freezer$v1/freezer.state"
elif [ -e "/sys/fs/cgroup$v2/cgroup.freeze" ]; then echo 0 > "/sys/fs/cgroup$v2/cgroup.freeze"
fi"#;

/// Lets a container go on that the engine has not frozen, and that a CRIU left frozen which ended half-way.
pub(crate) fn melt(container: &Container) -> Option<Cmd> {
    let pid = container.pid()?.to_string();
    Some(Cmd::changes("sh").args(["-c", MELT, "sh", &pid]))
}
