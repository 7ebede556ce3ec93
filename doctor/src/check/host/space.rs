//! Disk, memory, and what earlier migrations left.

use crate::check::catalogue::{Check, meta};
use crate::check::subject::{Subject, list, size};
use crate::check::verdict::{Group, Outcome};

/// Below this a checkpoint of even a small container may not fit.
const LEAST_DISK: u64 = 256 << 20;
/// Below this a container of usual size may not fit.
const ENOUGH_DISK: u64 = 2 << 30;
/// Below this there is no room for another container.
const LEAST_MEMORY: u64 = 128 << 20;

pub(super) fn checks<'s>() -> Vec<Check<Subject<'s>>> {
    vec![
        Check::new(
            meta(
                "space.disk",
                Group::Space,
                "There is room for a container's files and images",
                "free space where the engine keeps its data (else on /var/lib), and in mode tarball for the checkpoint. It warns below 2 GiB and fails below 256 MiB",
                "the container's image and files are written there, in mode tarball the memory too",
                "`docker system df`, and make room",
            ),
            disk,
        ),
        Check::new(
            meta(
                "space.memory",
                Group::Space,
                "There is memory for another container",
                "available memory. It warns below 128 MiB",
                "a destination holds the container's memory, a source the pages on their way",
                "stop what is not needed, or add memory",
            ),
            memory,
        ),
        Check::new(
            meta(
                "leftovers.migrations",
                Group::Leftovers,
                "No earlier migration left anything behind",
                "/run/transship/restore and /var/lib/transship/migrate",
                "they hold what a migration was doing when it was cut off, among it memory of containers",
                "migrate the container again: transship says how to bring it back and what to remove",
            ),
            leftovers,
        ),
        Check::new(
            meta(
                "leftovers.mounts",
                Group::Leftovers,
                "No mounts are left of a CRIU that is gone",
                "the mount table, while no criu runs: what CRIU mounts for itself (.criu.cgyard, .criu.mntns, crtools-proc)",
                "CRIU takes its mounts away at the end; those of one that was killed hold control groups and file systems, which can then not be removed",
                "`umount -l` each of them",
            ),
            mounts,
        ),
    ]
}

fn disk(subject: &Subject<'_>) -> Outcome {
    let docker = subject.docker().and_then(|docker| docker.root.as_deref());
    let podman = subject.podman().and_then(|podman| podman.root.as_deref());
    let wanted: Vec<&str> = docker.into_iter().chain(podman).collect();
    let wanted = if wanted.is_empty() {
        vec!["/var/lib"]
    } else {
        wanted
    };
    let tightest = subject
        .facts
        .disks
        .iter()
        .filter(|disk| wanted.contains(&disk.folder.as_str()))
        .min_by_key(|disk| disk.available);
    let Some(disk) = tightest else {
        return Outcome::skip(format!("df said nothing of {}", list(&wanted)));
    };
    let found = format!(
        "{} free on {} for {}",
        size(disk.available),
        disk.mount,
        disk.folder
    );
    if disk.available < LEAST_DISK {
        return Outcome::fail("the disk is full").found(found);
    }
    if disk.available < ENOUGH_DISK {
        return Outcome::warn("the disk is nearly full").found(found);
    }
    Outcome::ok(found)
}

fn memory(subject: &Subject<'_>) -> Outcome {
    let Some(memory) = &subject.facts.memory else {
        return Outcome::skip("/proc/meminfo could not be read");
    };
    let Some(available) = memory.available else {
        return Outcome::skip("this kernel does not say how much memory is available");
    };
    let found = format!("{} of {} available", size(available), size(memory.total));
    if available < LEAST_MEMORY {
        return Outcome::warn("memory is nearly used up").found(found);
    }
    Outcome::ok(found)
}

fn leftovers(subject: &Subject<'_>) -> Outcome {
    let entries = &subject.facts.leftovers.entries;
    if entries.is_empty() {
        return Outcome::ok("no earlier migration left anything");
    }
    let shown: Vec<&String> = entries.iter().take(5).collect();
    let more = entries.len() - shown.len();
    let found = match more {
        0 => list(&shown),
        _ => format!("{} and {more} more", list(&shown)),
    };
    Outcome::warn("earlier migrations left something behind")
        .found(found)
        .fix("migrate the container again: transship says how to bring it back and what to remove")
}

fn mounts(subject: &Subject<'_>) -> Outcome {
    let mounts = &subject.facts.leftovers.mounts;
    if mounts.is_empty() {
        return Outcome::ok("no mounts of CRIU are left");
    }
    // What lies in another goes first.
    let mut innermost: Vec<&String> = mounts.iter().collect();
    innermost.sort_by_key(|mount| std::cmp::Reverse(mount.len()));
    let quoted: Vec<_> = innermost.iter().map(|mount| host::quote(mount)).collect();
    Outcome::warn("mounts of a CRIU that is gone are left")
        .found(list(mounts))
        .fix(format!("umount -l {}", quoted.join(" ")))
}
