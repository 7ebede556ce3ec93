//! runc while it restores, as a child of ours.

use crate::watch::Watch;
use crate::{gate, processes};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(1);

/// Starts it.
pub(crate) fn spawn(command: &mut Command) -> Result<Child, String> {
    let started = command.spawn();
    started.map_err(|error| format!("runc cannot be started: {error}"))
}

/// Its process id.
pub(crate) fn number(runc: &Child) -> Result<i32, String> {
    i32::try_from(runc.id()).map_err(|error| format!("runc: {error}"))
}

/// Ends it, and all that it started.
pub(crate) fn end(runc: &mut Child) {
    if let Ok(pid) = number(runc) {
        processes::kill(pid);
    }
    let _ = runc.wait();
}

/// Waits for the end of a restore, and ends one that hangs; `meanwhile` is called again and again.
pub(crate) fn watched(
    runc: &mut Child,
    gate: &OwnedFd,
    mut meanwhile: impl FnMut(),
) -> Result<ExitStatus, String> {
    let mut watch = Watch::new(number(runc)?);
    loop {
        let ended = runc.try_wait().map_err(|error| format!("runc: {error}"))?;
        if let Some(status) = ended {
            return Ok(status);
        }
        meanwhile();
        // CRIU waits for ever for memory that nobody brings any more, and runc for what a killed CRIU left.
        let why = if !gate::is_held(gate, LOOK) {
            "the migration that was to bring this container ended"
        } else if watch.is_over() {
            "CRIU was killed while it restored the container"
        } else {
            continue;
        };
        end(runc);
        return Err(why.to_owned());
    }
}
