//! What mode `copy` asks of the two hosts and of the container.

use super::binds;
use super::marks::Left;
use crate::{Failure, ask};
use engine::{Container, Engine, Kind, Name};
use host::{Cmd, Host};
use std::path::Path;

/// Programs that this mode runs on a host. CRIU has file systems in memory packed by tar.
const PROGRAMS: [&str; 5] = ["runc", "flock", "nsenter", "mount", "tar"];

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
    plain_volumes(host, container)?;
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
    networks(host, container)?;
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

/// A named volume that is there already may be overwritten only if it is what an earlier move left, untouched,
/// and no container there has it.
fn own_volume(host: &dyn Host, kind: Kind, volume: &str) -> Result<(), Failure> {
    let on = host.name();
    let name = Name::new(volume).map_err(|error| Failure::refused(on, error.to_string()))?;
    if ask::volume(host, kind, &name)?.is_none() {
        return Ok(());
    }
    let users = host.text(&kind.containers_with_volume(&name))?;
    if !users.is_empty() {
        let users = users.lines().collect::<Vec<_>>().join(", ");
        return Err(Failure::refused(
            on,
            format!("{on} has a volume {volume} already, which {users} uses there, and what is in it would be lost"),
        )
        .fix("let the container use a volume of another name"));
    }
    if Left::Volume(kind, &name).holds(host)? {
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

/// Its networks are there: the engine would say so only when it attaches the container.
fn networks(host: &dyn Host, container: &Container) -> Result<(), Failure> {
    if !container.has_own_network_namespace() {
        return Ok(());
    }
    let (on, kind) = (host.name(), container.kind());
    for network in container.networks() {
        let Ok(name) = Name::new(&network.name) else {
            continue;
        };
        if ask::network(host, kind, &name)?.is_none() {
            return Err(Failure::refused(
                on,
                format!(
                    "there is no network {name} on {on}, which {} is in",
                    container.name()
                ),
            )
            .fix(format!(
                "on {on}, with the options that it has where the container is: {} network create {name}",
                kind.program()
            )));
        }
    }
    Ok(())
}

/// What goes on well enough, but that the user should know before.
pub(crate) fn warnings(host: &dyn Host, container: &Container) -> Result<Vec<String>, Failure> {
    let (on, name, kind) = (host.name(), container.name(), container.kind());
    let mut warnings = Vec::new();
    if !container.has_own_network_namespace() {
        warnings.push(format!(
            "{name} has no network of its own ({}), which cannot be locked while it is frozen: data that the kernel of {on} acknowledges meanwhile is lost with the connections it belongs to",
            container.network_mode()
        ));
    }
    for volume in named_volumes(container) {
        let users = host.text(&kind.containers_with_volume(&volume))?;
        let others: Vec<&str> = users.lines().filter(|user| *user != name).collect();
        if !others.is_empty() {
            warnings.push(format!(
                "the volume {volume} is used by {} on {on} too: they stay, with what is in it there, and {name} gets a copy that goes its own way",
                others.join(", ")
            ));
        }
    }
    Ok(warnings)
}

/// The volumes of a container that have a name.
pub(crate) fn named_volumes(container: &Container) -> Vec<Name> {
    let mounts = container.mounts().into_iter();
    mounts
        .filter(|mount| mount.kind == "volume" && !mount.anonymous)
        .filter_map(|mount| Name::new(&mount.volume?).ok())
        .collect()
}

/// A volume of the local driver may be a mount of something else, which is not the engine's folder then.
fn plain_volumes(host: &dyn Host, container: &Container) -> Result<(), Failure> {
    let (on, name) = (host.name(), container.name());
    for volume in named_volumes(container) {
        let Some(found) = ask::volume(host, container.kind(), &volume)? else {
            continue;
        };
        let options = found["Options"].as_object();
        let mounts = ["type", "device", "o"];
        let given = options
            .into_iter()
            .flatten()
            .find(|(option, _)| mounts.contains(&option.as_str()));
        if let Some((option, value)) = given {
            return Err(Failure::refused(
                on,
                format!(
                    "the volume {volume} of {name} is a mount of something else ({option}={}), which cannot be copied as the engine's own",
                    value.as_str().unwrap_or_default()
                ),
            )
            .fix("what is mounted there has to be made reachable from both hosts, as a bind mount, or copied into a plain volume"));
        }
    }
    Ok(())
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
