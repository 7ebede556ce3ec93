//! What mode `copy` asks of the two hosts and of the container.

use crate::{Failure, leftover};
use engine::{Container, Name, commands};
use host::{Cmd, Host, HostError};

/// Marks of volumes whose container moved away: what they hold is old.
pub(crate) const MOVED: &str = "/var/lib/transship/moved";

/// The mark of a volume. Docker's names for volumes are safe in a path.
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

/// What the container is made of can be moved.
pub(crate) fn movable(host: &dyn Host, container: &Container) -> Result<(), Failure> {
    let (on, name) = (host.name(), container.name());
    if container.upper_dir().is_none() {
        return Err(Failure::refused(on, format!("Docker on {on} does not keep {name}'s files with overlay2: what it wrote cannot be found")).fix("--mode tarball"));
    }
    if container.tty() {
        return Err(Failure::refused(
            on,
            format!("{name} has a terminal, which mode copy does not move"),
        )
        .fix("--mode tarball"));
    }
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

/// The destination has what the container needs, and nothing of its own would be overwritten.
pub(crate) fn place(host: &dyn Host, container: &Container) -> Result<(), Failure> {
    let on = host.name();
    for mount in container.mounts() {
        if mount.kind == "bind" {
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
                .fix(format!(
                    "copy it there, or make it, on {on}: mkdir -p {}",
                    host::quote(&mount.source)
                )));
            }
        }
        let (Some(volume), false) = (&mount.volume, mount.anonymous) else {
            continue;
        };
        own_volume(host, volume)?;
    }
    Ok(())
}

/// A named volume that is there already may be overwritten only if it is what an earlier move left.
fn own_volume(host: &dyn Host, volume: &str) -> Result<(), Failure> {
    let on = host.name();
    let name = Name::new(volume).map_err(|error| Failure::refused(on, error.to_string()))?;
    let cmd = commands::inspect_volume(&name);
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
        "if it is not needed, on {on}: docker volume rm {volume}"
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

/// How a container that an interrupted move left frozen is thawed.
pub(crate) fn thaw_line(container: &Container, name: &Name) -> String {
    let mut lines = vec![format!(
        "flock -w 600 {}/dumping true",
        leftover::folder(name)
    )];
    if let Some(pid) = container.pid() {
        lines.push(super::network::unlock(pid).line());
    }
    lines.push(commands::unpause(name).line());
    lines.join("; ")
}
