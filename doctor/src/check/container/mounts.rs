//! What is mounted into a container, and room for what comes along.

use super::place::at;
use super::{Inmate, count, some};
use crate::check::catalogue::{Check, meta};
use crate::check::subject::{Subject, size};
use crate::check::verdict::{Group, Outcome};
use engine::Container as Inspected;
use host::facts::container::{Destination, Volume};

pub(super) fn checks<'p>() -> Vec<Check<Inmate<'p>>> {
    vec![
        Check::new(
            meta(
                "container.mounts",
                Group::Container,
                "What is mounted into it is at the destination",
                "files and folders that are mounted from the host, and volumes by their names. It fails where a file or folder is missing; and where a volume of that name is there which no earlier migration left, or a volume belongs to a driver other than local, which the modes that copy refuse. A volume that is not there is brought along by these modes; in mode tarball it is made empty, and one that is there is used as it is",
                "CRIU mounts them again, and open files in them must be there; a volume of somebody else's would be overwritten",
                "have the migration bring folders along (`--copy-bind`), copy them there, or mount the same network file system",
            ),
            |inmate| at(inmate, mounts),
        ),
        Check::new(
            meta(
                "container.inner-mounts",
                Group::Container,
                "It has mounted nothing by itself that CRIU cannot mount again",
                "the container's mount table beside what the engine mounted. It warns for a file system of a disk, of the network or of FUSE that was mounted inside, or below a bind mount",
                "CRIU mounts again what is in memory and what the engine names to it; the server or disk of another mount it does not know",
                "unmount it in the container before the migration, or have the engine mount it (`-v`) on both hosts",
            ),
            inner,
        ),
        Check::new(
            meta(
                "container.space",
                Group::Container,
                "What it keeps on disk fits the destination",
                "the size of the layer that it writes, of its volumes, and of its image where the destination lacks it; and what is free where the destination's engine keeps its data. It fails where it does not fit",
                "modes that copy bring all of it along",
                "make room at the destination: `docker system df` says what takes it, or choose another",
            ),
            |inmate| at(inmate, space),
        ),
    ]
}

fn mounts(
    inmate: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
) -> Outcome {
    let (mut missing, mut sources) = (Vec::new(), Vec::new());
    let mut binds = 0;
    for mount in inspected
        .mounts()
        .iter()
        .filter(|mount| mount.kind == "bind")
    {
        binds += 1;
        if !matches!(answers.paths.get(&mount.source), Some(Some(_))) {
            missing.push(format!(
                "{}, mounted at {}",
                mount.source, mount.destination
            ));
            sources.push(mount.source.clone());
        }
    }
    if !missing.is_empty() {
        let outcome =
            Outcome::fail("something mounted into the container is missing at the destination")
                .found(some(&missing))
                .fix(format!(
                    "transship migrate {} --from {} --to {} --copy-bind   # copies folders along",
                    inmate.name,
                    host::quote(inmate.source.name),
                    host::quote(host.name)
                ));
        return sources.iter().fold(outcome, |outcome, source| {
            outcome.fix(format!(
                "rsync -a -R {} {}   # or this on {}, which copies it as it is now",
                host::quote(source),
                host::quote(&format!("{}:/", host.name)),
                inmate.source.name
            ))
        });
    }
    volumes(inmate, inspected, host, answers, binds)
}

/// How the volumes stand, where all that is mounted from the host is there.
fn volumes(
    inmate: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
    binds: usize,
) -> Outcome {
    let foreign: Vec<String> = inspected
        .mounts()
        .iter()
        .filter(|mount| mount.kind == "volume")
        .filter_map(|mount| {
            let driver = mount
                .driver
                .as_deref()
                .filter(|driver| *driver != "local")?;
            Some(format!(
                "the volume at {} belongs to the driver {driver}",
                mount.destination
            ))
        })
        .collect();
    if !foreign.is_empty() {
        return Outcome::fail("a volume is not kept on the source's own disk, and only those are moved")
            .found(some(&foreign))
            .because("its driver keeps what is in it, and transship cannot tell whether both hosts would see the same")
            .fix("create the container with a local volume, or with the network file system mounted on both hosts as a bind mount");
    }
    let standing = |wanted: Volume| {
        let volumes = answers.volumes.iter();
        let names = volumes.filter(move |(_, volume)| **volume == wanted);
        names.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let there = standing(Volume::There);
    if !there.is_empty() {
        let outcome = Outcome::fail(
            "a volume of that name is at the destination, and modes that copy do not overwrite it",
        )
        .found(format!(
            "{} has {}; mode tarball would take what is in it",
            host.name,
            some(&there)
        ));
        return there.iter().fold(outcome, |outcome, name| {
            outcome.fix(format!(
                "ssh {} {} volume rm {}   # if it is not needed",
                host::quote(host.name),
                inmate.engine(),
                host::quote(name)
            ))
        });
    }
    let binds = count(binds, "bind mount");
    let coming = standing(Volume::Missing);
    Outcome::ok(match answers.volumes.len() {
        0 => format!("{binds}, all there"),
        all if coming.is_empty() => format!(
            "{binds}, all there; {} of an earlier migration, overwritten by modes that copy",
            count(all, "volume")
        ),
        _ => format!(
            "{binds}, all there; modes that copy bring along volume {}, which mode tarball would make empty",
            coming.join(", ")
        ),
    })
}

/// File systems that CRIU mounts anew (criu/filesystems.c); what is in those in memory goes along.
const MOUNTED_ANEW: [&str; 17] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "binfmt_misc",
    "tmpfs",
    "devpts",
    "simfs",
    "pstore",
    "mqueue",
    "securityfs",
    "fusectl",
    "debugfs",
    "tracefs",
    "cgroup",
    "cgroup2",
    "overlay",
    "autofs",
];

/// Files that engines mount into every container.
const OF_ENGINES: [&str; 6] = [
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/run/.containerenv",
    "/run/secrets",
    "/dev/console",
];

fn inner(inmate: &Inmate<'_>) -> Outcome {
    let Some(inspected) = inmate.inspected else {
        return Outcome::skip("there is no such container");
    };
    if inmate.container.mounts.is_empty() {
        return Outcome::skip("its mount table is not known");
    }
    let mut known: Vec<String> = OF_ENGINES.map(str::to_owned).to_vec();
    known.extend(
        inspected
            .mounts()
            .into_iter()
            .map(|mount| mount.destination),
    );
    let own: Vec<String> = inmate
        .container
        .mounts
        .iter()
        .filter(|mount| mount.path != "/" && !MOUNTED_ANEW.contains(&mount.kind.as_str()))
        .filter(|mount| {
            // Podman sees /var/run where the container sees /run.
            let path = mount.path.replacen("/var/run/", "/run/", 1);
            !known
                .iter()
                .any(|known| *known == mount.path || *known == path)
        })
        // Devices that the engine binds into /dev.
        .filter(|mount| !mount.path.starts_with("/dev/"))
        .map(|mount| format!("{} ({})", mount.path, mount.kind))
        .collect();
    if own.is_empty() {
        return Outcome::ok("it has mounted nothing that CRIU cannot mount again");
    }
    Outcome::warn("something is mounted in the container that the engine does not know of")
        .found(some(&own))
}

fn space(
    inmate: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
) -> Outcome {
    let Some(files) = inmate.container.disk else {
        return Outcome::skip("how much it keeps on disk was not measured in time");
    };
    let bare = |id: &str| id.trim_start_matches("sha256:").to_owned();
    let there = answers.image.as_deref().map(bare);
    let image = if there == Some(bare(inspected.image_id())) {
        0
    } else {
        inmate.container.image_size.unwrap_or(0)
    };
    let root = if inmate.podman() {
        host.podman().and_then(|podman| podman.root.as_deref())
    } else {
        host.docker().and_then(|docker| docker.root.as_deref())
    };
    let disks = &host.facts.disks;
    let Some(disk) = root.and_then(|root| disks.iter().find(|disk| disk.folder == root)) else {
        return Outcome::skip(
            "how much is free where the destination's engine keeps its data is not known",
        );
    };
    let needed = files.saturating_add(image);
    let what = format!(
        "{} of files{} to bring along, {} free on {} of {}",
        size(files),
        match image {
            0 => String::new(),
            image => format!(" and {} of image", size(image)),
        },
        size(disk.available),
        disk.mount,
        host.name
    );
    if needed > disk.available {
        return Outcome::fail("what it keeps on disk does not fit the destination")
            .found(what)
            .fix(format!(
                "ssh {} {} system df",
                host::quote(host.name),
                inmate.engine()
            ));
    }
    Outcome::ok(what)
}
