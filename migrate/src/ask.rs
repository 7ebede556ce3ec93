//! Questions to an engine about one container or image.

use crate::Failure;
use engine::{Container, Kind, Name};
use host::{Cmd, Host, HostError, Output};
use serde_json::Value;

/// A container's state of the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub running: bool,
    pub paused: bool,
    /// Process id on the host of its first process.
    pub pid: Option<u32>,
    pub exit_code: i64,
    /// It ran, now or before.
    pub started: bool,
}

/// Removes a container; one that is gone already is as good.
pub(crate) fn gone(host: &dyn Host, remove: &Cmd) -> Result<(), Failure> {
    let output = host.run(remove)?;
    if output.status == 0
        || output
            .stderr_text()
            .to_lowercase()
            .contains("no such container")
    {
        return Ok(());
    }
    Err(HostError::failed(host.name(), remove, &output).into())
}

/// What an engine's `inspect` says; none where there is no such thing. Every other failure is an error: a
/// daemon that does not answer must not look like a container that is gone.
fn inspect(host: &dyn Host, cmd: &Cmd) -> Result<Option<Output>, Failure> {
    let output = host.run(cmd)?;
    if output.status == 0 {
        return Ok(Some(output));
    }
    let said = output.stderr_text().to_lowercase();
    if said.contains("no such container")
        || said.contains("no such image")
        || said.contains("no such object")
        || said.contains("no such volume")
        || said.contains("image not known")
        || said.contains("no such network")
        || (said.contains("network") && said.contains("not found"))
    {
        return Ok(None);
    }
    Err(HostError::failed(host.name(), cmd, &output).into())
}

fn nonsense(host: &dyn Host, cmd: &Cmd) -> Failure {
    Failure::failed(
        host.name(),
        format!(
            "{} printed what its engine never prints to `{}`",
            host.name(),
            cmd.line()
        ),
    )
}

/// The container of that name or id, if there is one.
pub(crate) fn container(
    host: &dyn Host,
    kind: Kind,
    name: &Name,
) -> Result<Option<Container>, Failure> {
    let cmd = kind.inspect(name);
    let Some(output) = inspect(host, &cmd)? else {
        return Ok(None);
    };
    Container::parse(&output.stdout)
        .map(Some)
        .ok_or_else(|| nonsense(host, &cmd))
}

/// What the engine tells of a network, if there is one.
pub(crate) fn network(host: &dyn Host, kind: Kind, name: &Name) -> Result<Option<Value>, Failure> {
    let mut network = first(host, &kind.inspect_network(name))?;
    if let Some(network) = &mut network {
        kind.network_as_docker(network);
    }
    Ok(network)
}

/// What the engine tells of a volume, if there is one.
pub(crate) fn volume(host: &dyn Host, kind: Kind, name: &Name) -> Result<Option<Value>, Failure> {
    first(host, &kind.inspect_volume(name))
}

/// What the engine tells of an image, by reference or id, if there is one.
pub(crate) fn image(
    host: &dyn Host,
    kind: Kind,
    reference: &str,
) -> Result<Option<Value>, Failure> {
    first(host, &kind.inspect_image(reference))
}

/// The one entry of what an inspection printed.
fn first(host: &dyn Host, cmd: &Cmd) -> Result<Option<Value>, Failure> {
    let Some(output) = inspect(host, cmd)? else {
        return Ok(None);
    };
    let mut list: Value =
        serde_json::from_slice(&output.stdout).map_err(|_| nonsense(host, cmd))?;
    match list.get_mut(0) {
        Some(image) => Ok(Some(image.take())),
        None => Err(nonsense(host, cmd)),
    }
}

/// The state of a container that must exist.
pub(crate) fn state(host: &dyn Host, kind: Kind, name: &Name) -> Result<State, Failure> {
    let cmd = kind.state(name);
    let text = host.text(&cmd)?;
    let state: Value = serde_json::from_str(&text).map_err(|_| nonsense(host, &cmd))?;
    Ok(State {
        running: state["Running"] == true,
        paused: state["Paused"] == true,
        pid: state["Pid"]
            .as_u64()
            .and_then(|pid| u32::try_from(pid).ok())
            .filter(|pid| *pid != 0),
        exit_code: state["ExitCode"].as_i64().unwrap_or_default(),
        // The engine's word for never.
        started: state["StartedAt"]
            .as_str()
            .is_some_and(|at| !at.starts_with("0001")),
    })
}
