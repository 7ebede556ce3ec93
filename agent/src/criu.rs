//! CRIU's configuration for one dump: what runc has no option for.

use crate::error::{AgentError, Result};
use crate::gate::Gate;
use crate::job::SendJob;
use crate::lazy::SOCKET;
use host::{Cmd, Host, Local};
use std::path::Path;

/// The variable that names the file to CRIU.
pub(crate) const VARIABLE: &str = "CRIU_CONFIG_FILE";

/// Writes the file; the dump waits at the gate.
pub(crate) fn configure(job: &SendJob) -> Result<Gate> {
    let gate = Gate::close(job.config.parent().unwrap_or(Path::new("/")))?;
    let mut text = format!("action-script {}\n", gate.script().display());
    if job.serve.is_some() {
        text.push_str(&format!("ps-socket {SOCKET}\n"));
    }
    if job.lock_network.is_some() && can_skip_lock() {
        text.push_str("network-lock skip\n");
    }
    std::fs::write(&job.config, text).map_err(|error| AgentError::file(&job.config, error))?;
    Ok(gate)
}

/// Whether this CRIU can be told that the network is locked already: it takes the option and says its version,
/// or refuses the option. Its own lock takes eight calls of iptables, half of them while nothing else goes on.
fn can_skip_lock() -> bool {
    let cmd = Cmd::reads("criu").args(["--network-lock", "skip", "--version"]);
    Local.run(&cmd).is_ok_and(|output| output.status == 0)
}
