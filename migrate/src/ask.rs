//! Questions to an engine about one container or image.

use crate::Failure;
use engine::{Container, Name, commands};
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
}

/// Removes a container; one that is gone already is as good.
pub(crate) fn gone(host: &dyn Host, remove: &Cmd) -> Result<(), Failure> {
    let output = host.run(remove)?;
    if output.status == 0 || output.stderr_text().contains("No such container") {
        return Ok(());
    }
    Err(HostError::failed(host.name(), remove, &output).into())
}

/// What `docker inspect` says; none where there is no such thing. Every other failure is an error: a
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
    {
        return Ok(None);
    }
    Err(HostError::failed(host.name(), cmd, &output).into())
}

fn nonsense(host: &dyn Host, cmd: &Cmd) -> Failure {
    Failure::failed(
        host.name(),
        format!(
            "{} printed what Docker never prints to `{}`",
            host.name(),
            cmd.line()
        ),
    )
}

/// The container of that name or id, if there is one.
pub(crate) fn container(host: &dyn Host, name: &Name) -> Result<Option<Container>, Failure> {
    let cmd = commands::inspect(name);
    let Some(output) = inspect(host, &cmd)? else {
        return Ok(None);
    };
    Container::parse(&output.stdout)
        .map(Some)
        .ok_or_else(|| nonsense(host, &cmd))
}

/// `docker image inspect` of an image, by reference or id, if there is one.
pub(crate) fn image(host: &dyn Host, reference: &str) -> Result<Option<Value>, Failure> {
    let cmd = commands::inspect_image(reference);
    let Some(output) = inspect(host, &cmd)? else {
        return Ok(None);
    };
    let mut list: Value =
        serde_json::from_slice(&output.stdout).map_err(|_| nonsense(host, &cmd))?;
    match list.get_mut(0) {
        Some(image) => Ok(Some(image.take())),
        None => Err(nonsense(host, &cmd)),
    }
}

/// The state of a container that must exist.
pub(crate) fn state(host: &dyn Host, name: &Name) -> Result<State, Failure> {
    let cmd = commands::state(name);
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
    })
}
