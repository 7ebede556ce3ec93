//! What mode `copy` asks of the two hosts and of the container.

use super::binds;
use crate::Failure;
use engine::{Container, Engine, Kind, Name};
use host::{Cmd, Host, HostError};
use std::path::Path;

/// Marks of volumes whose container moved away: what they hold is old.
pub(crate) const MOVED: &str = "/var/lib/transship/moved";

/// The mark of a volume. The engines' names for volumes are safe in a path.
pub(crate) fn moved_mark(volume: &str) -> String {
    format!("{MOVED}/{volume}")
}

/// Programs that this mode runs on a host.
const PROGRAMS: [&str; 4] = ["runc", "flock", "nsenter", "mount"];

/// The programs are there.
pub(crate) fn programs(host: &dyn Host) -> Result<(), Failure> {
    let on = host.name();
    for program in PROGRAMS {
        let found =
            host.run(&Cmd::reads("sh").args(["-c", r#"command -v "$1""#, "sh", program]))?;
        if found.status != 0 {
            return Err(
                Failure::refused(on, format!("there is no program {program} on {on}"))
                    .fix(format!("transship provision {on}")),
            );
        }
    }
    Ok(())
}

/// The container is one of runc's: nothing else knows its state.
pub(crate) fn runtime(
    host: &dyn Host,
    engine: &Engine,
    container: &Container,
) -> Result<(), Failure> {
    let (on, name) = (host.name(), container.name());
    let root = engine.runc_root(container.runtime());
    let known = host.run(&Cmd::reads("runc").args(["--root", &root, "state", container.id()]))?;
    if known.status == 0 {
        return Ok(());
    }
    let kind = engine.kind();
    Err(Failure::refused(
        on,
        format!(
            "{name} on {on} was created with the OCI runtime {}, whose containers runc cannot checkpoint",
            container.runtime()
        ),
    )
    .fix(match kind {
        Kind::Podman => format!("make runc Podman's runtime for what is created from now on, on {on}: podman --runtime runc create ..."),
        Kind::Docker => format!("create it with runc, on {on}: docker create --runtime runc ..."),
    }))
}

/// What the container is made of can be moved.
pub(crate) fn movable(host: &dyn Host, container: &Container) -> Result<(), Failure> {
    let (on, name) = (host.name(), container.name());
    if container.upper_dir().is_none() {
        return Err(Failure::refused(on, format!("the engine on {on} does not keep {name}'s files with overlay2: what it wrote cannot be found")).fix("--mode tarball"));
    }
    if container.pod().is_some() {
        return Err(Failure::refused(
            on,
            format!(
                "{name} belongs to a pod, whose namespaces it shares: it cannot be moved alone"
            ),
        ));
    }
    none_stopped(host, container)?;
    for mount in container.mounts() {
        let local = mount
            .driver
            .as_deref()
            .is_none_or(|driver| driver == "local");
        if mount.kind == "volume" && !local {
            return Err(Failure::refused(
                on,
                format!(
                    "the volume at {} of {name} belongs to the driver {}",
                    mount.destination,
                    mount.driver.unwrap_or_default()
                ),
            ));
        }
    }
    Ok(())
}

/// None of its processes is stopped: CRIU would wait for such a one without end. The source's agent looks
/// again right before the freeze.
fn none_stopped(host: &dyn Host, container: &Container) -> Result<(), Failure> {
    let script = r#"look() { ! grep -qs '^State:.T' "/proc/$1/status" || echo "$1"; for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do look "$child"; done; }; look "$1""#;
    let Some(first) = container.pid() else {
        return Ok(());
    };
    let found = host.text(&Cmd::reads("sh").args(["-c", script, "sh", &first.to_string()]))?;
    let Some(pid) = found.lines().next() else {
        return Ok(());
    };
    let (on, name) = (host.name(), container.name());
    Err(Failure::refused(
        on,
        format!("process {pid} of {name} on {on} is stopped (SIGSTOP), and CRIU cannot dump it so"),
    )
    .fix(format!("let it go on, on {on}: kill -CONT {pid}")))
}

/// The destination has what the container needs, and nothing of its own would be overwritten.
/// Bind mounts in `copied` are brought along.
pub(crate) fn place(
    host: &dyn Host,
    container: &Container,
    copied: &[String],
) -> Result<(), Failure> {
    let on = host.name();
    binds::free(host, copied)?;
    for mount in container.mounts() {
        let comes = copied
            .iter()
            .any(|folder| Path::new(&mount.source).starts_with(folder));
        if mount.kind == "bind" && !comes {
            let there = host.run(&Cmd::reads("test").args(["-e", &mount.source]))?;
            if there.status != 0 {
                return Err(Failure::refused(
                    on,
                    format!(
                        "{}, which {} sees at {}, is not on {on}",
                        mount.source,
                        container.name(),
                        mount.destination
                    ),
                )
                .fix("--copy-bind, where it is a folder, to copy it along")
                .fix(format!(
                    "or copy it there, or make it, on {on}: mkdir -p {}",
                    host::quote(&mount.source)
                )));
            }
        }
        let (Some(volume), false) = (&mount.volume, mount.anonymous) else {
            continue;
        };
        own_volume(host, container.kind(), volume)?;
    }
    Ok(())
}

/// A named volume that is there already may be overwritten only if it is what an earlier move left.
fn own_volume(host: &dyn Host, kind: Kind, volume: &str) -> Result<(), Failure> {
    let on = host.name();
    let name = Name::new(volume).map_err(|error| Failure::refused(on, error.to_string()))?;
    let cmd = kind.inspect_volume(&name);
    let output = host.run(&cmd)?;
    if output.status != 0 {
        if output
            .stderr_text()
            .to_lowercase()
            .contains("no such volume")
        {
            return Ok(());
        }
        return Err(HostError::failed(on, &cmd, &output).into());
    }
    let marked = host.run(&Cmd::reads("test").args(["-e", &moved_mark(volume)]))?;
    if marked.status == 0 {
        return Ok(());
    }
    Err(Failure::refused(
        on,
        format!("{on} has a volume {volume} already, and what is in it would be lost"),
    )
    .fix(format!(
        "if it is not needed, on {on}: {} volume rm {volume}",
        kind.program()
    )))
}

/// Both hosts have the memory: the images beside the processes.
pub(crate) fn memory(host: &dyn Host, needed: u64) -> Result<(), Failure> {
    let text = host.text(&Cmd::reads("cat").arg("/proc/meminfo"))?;
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(u64::MAX, |kib| kib.saturating_mul(1024));
    if available >= needed {
        return Ok(());
    }
    let on = host.name();
    Err(Failure::refused(
        on,
        format!(
            "not enough memory on {on}: about {} MiB are needed, {} MiB are available",
            needed >> 20,
            available >> 20
        ),
    )
    .fix("--mode tarball, which needs disk instead"))
}
