//! Kernel, control groups and security of two hosts.

use super::Pair;
use crate::check::catalogue::{Check, meta};
use crate::check::subject::{Subject, list};
use crate::check::verdict::{Group, Outcome};

pub(super) fn checks<'p>() -> Vec<Check<Pair<'p>>> {
    vec![
        Check::new(
            meta(
                "pair.two-hosts",
                Group::Pair,
                "Source and destination are two machines",
                "the boots' identifiers and the hosts' names. It fails where both are equal",
                "a container cannot move to where it is",
                "name another destination",
            ),
            two_hosts,
        ),
        Check::new(
            meta(
                "pair.architecture",
                Group::Pair,
                "Both hosts have the same architecture",
                "`uname -m` on both",
                "memory and registers of a program mean nothing to another architecture",
                "choose a destination of the same architecture",
            ),
            architecture,
        ),
        Check::new(
            meta(
                "pair.kernel",
                Group::Pair,
                "The destination's kernel is not older than the source's",
                "both kernels' versions. It warns where the destination's is older by its first two numbers",
                "a program may use calls, options of sockets or layouts of its fast clock that the older kernel does not have",
                "upgrade the destination's kernel",
            ),
            kernel,
        ),
        Check::new(
            meta(
                "pair.capabilities",
                Group::Pair,
                "The destination's kernel knows every capability of the source's",
                "kernel.cap_last_cap on both. It warns where the destination has fewer and its CRIU is older than 3.19",
                "older CRIU fails to restore capabilities that the kernel does not know",
                "install CRIU 3.19 or later on the destination: `transship provision DESTINATION`",
            ),
            capabilities,
        ),
        Check::new(
            meta(
                "pair.cgroup",
                Group::Pair,
                "Both hosts use the same version of control groups",
                "the versions of both. It fails where they differ",
                "a checkpoint holds the container's groups in the form of its host, and CRIU does not translate them",
                "boot one of them with the kernel parameter systemd.unified_cgroup_hierarchy=1 (v2) or =0 (v1)",
            ),
            cgroup,
        ),
        Check::new(
            meta(
                "pair.time-namespace",
                Group::Pair,
                "The monotonic clock goes on at the destination",
                "whether the destination has time namespaces. It warns where it has none and was booted later than the source",
                "CLOCK_MONOTONIC counts from boot, and would jump back for a program that moves",
                "upgrade the destination to Linux 5.6 or later",
            ),
            monotonic,
        ),
        Check::new(
            meta(
                "pair.apparmor",
                Group::Pair,
                "The destination has the source's AppArmor profiles for containers",
                "AppArmor on both. It fails where only the source has it, and warns where the destination lacks a loaded profile of an engine",
                "CRIU sets a process's profile again and fails where it is not loaded: `can't write lsm profile`",
                "switch AppArmor on at the destination, and start one container there, so that the engine loads its profile",
            ),
            apparmor,
        ),
        Check::new(
            meta(
                "pair.selinux",
                Group::Pair,
                "Both hosts use SELinux the same way",
                "SELinux's mode on both. It warns where only one enforces it",
                "a process's label is part of its checkpoint",
                "use the same mode on both (`setenforce`)",
            ),
            selinux,
        ),
        Check::new(
            meta(
                "pair.io-uring",
                Group::Pair,
                "Programs may use io_uring on the destination as on the source",
                "kernel.io_uring_disabled on both. It warns where the destination forbids more",
                "a program that asks for io_uring after the move is refused, though it was not before; open rings cannot be moved at all (container.kernel-objects)",
                "`sysctl -w kernel.io_uring_disabled=0` on the destination, if its programs need it",
            ),
            io_uring,
        ),
    ]
}

fn two_hosts(pair: &Pair<'_>) -> Outcome {
    let (Some(from), Some(to)) = (&pair.source.facts.kernel, &pair.destination.facts.kernel) else {
        return Outcome::skip("one host's kernel is not known");
    };
    let same_boot = from.boot_id.is_some() && from.boot_id == to.boot_id;
    match (same_boot, from.hostname == to.hostname) {
        (true, true) => Outcome::fail("source and destination are one machine")
            .found(format!("both are {}, with the same boot id", from.hostname)),
        (true, false) => Outcome::ok("two hosts on one kernel, as in a lab"),
        _ => Outcome::ok("source and destination are two machines"),
    }
}

fn architecture(pair: &Pair<'_>) -> Outcome {
    match (pair.source.machine(), pair.destination.machine()) {
        (Some(from), Some(to)) if from == to => Outcome::ok(format!("both are {from}")),
        (Some(from), Some(to)) => Outcome::fail("the architectures differ").found(format!(
            "{from} on {}, {to} on {}",
            pair.source.name, pair.destination.name
        )),
        _ => Outcome::skip("one architecture is not known"),
    }
}

fn kernel(pair: &Pair<'_>) -> Outcome {
    let (Some(from), Some(to)) = (pair.source.kernel(), pair.destination.kernel()) else {
        return Outcome::skip("one kernel's version is not known");
    };
    let both = format!(
        "{} on {}, {} on {}",
        pair.source.release(),
        pair.source.name,
        pair.destination.release(),
        pair.destination.name
    );
    if (to.major, to.minor) < (from.major, from.minor) {
        return Outcome::warn("the destination's kernel is older").found(both);
    }
    Outcome::ok(format!("Linux {both}"))
}

fn capabilities(pair: &Pair<'_>) -> Outcome {
    let last = |subject: &Subject<'_>| subject.sysctl("kernel.cap_last_cap");
    let (Some(from), Some(to)) = (last(&pair.source), last(&pair.destination)) else {
        return Outcome::skip("kernel.cap_last_cap is not known on both");
    };
    if to >= from {
        return Outcome::ok("the destination's kernel knows every capability of the source's");
    }
    match pair.destination.criu_version() {
        Some(version) if *version < semver::Version::new(3, 19, 0) => {
            Outcome::warn("the destination's kernel knows fewer capabilities").found(format!(
                "{from} on the source, {to} on the destination, CRIU {version}"
            ))
        }
        Some(_) => Outcome::ok(
            "the destination's CRIU leaves out capabilities that its kernel does not know",
        ),
        None => Outcome::skip("CRIU is not installed on the destination"),
    }
}

fn cgroup(pair: &Pair<'_>) -> Outcome {
    let (Some(from), Some(to)) = (pair.source.cgroup(), pair.destination.cgroup()) else {
        return Outcome::skip("control groups are not known on both");
    };
    let (from, to) = (from.number(), to.number());
    if from == to {
        return Outcome::ok(format!("cgroup v{from} on both"));
    }
    Outcome::fail("the versions of control groups differ").found(format!(
        "v{from} on {}, v{to} on {}",
        pair.source.name, pair.destination.name
    ))
}

fn monotonic(pair: &Pair<'_>) -> Outcome {
    let namespaces = &pair.destination.facts.identity.namespaces;
    if namespaces.is_empty() {
        return Outcome::skip("the destination's namespaces are not known");
    }
    if namespaces.contains("time") {
        return Outcome::ok("the destination has time namespaces");
    }
    let uptime = |subject: &Subject<'_>| subject.facts.kernel.as_ref()?.uptime;
    match (uptime(&pair.source), uptime(&pair.destination)) {
        (Some(from), Some(to)) if to >= from => Outcome::ok(
            "the monotonic clock jumps forward only, since the destination was booted first",
        ),
        (Some(from), Some(to)) => {
            Outcome::warn("the monotonic clock jumps back at the destination").found(format!(
                "by {:.0} s, and there are no time namespaces",
                from - to
            ))
        }
        _ => Outcome::skip("how long the hosts have run is not known"),
    }
}

fn apparmor(pair: &Pair<'_>) -> Outcome {
    let on = |subject: &Subject<'_>| {
        let apparmor = subject.facts.lsm.apparmor.as_ref();
        apparmor.is_some_and(|apparmor| apparmor.enabled)
    };
    match (on(&pair.source), on(&pair.destination)) {
        (false, false) => return Outcome::ok("neither host uses AppArmor"),
        (false, true) => {
            return Outcome::ok(
                "only the destination uses AppArmor, which a checkpoint does not ask for",
            );
        }
        (true, false) => {
            return Outcome::fail("the destination has no AppArmor")
                .found(format!("on at {}, off at {}", pair.source.name, pair.destination.name))
                .fix("start the container with --security-opt apparmor=unconfined, or switch AppArmor on at the destination");
        }
        (true, true) => {}
    }
    let engines = |subject: &Subject<'_>| -> Vec<String> {
        let apparmor = subject.facts.lsm.apparmor.as_ref();
        let names = apparmor
            .into_iter()
            .flat_map(|apparmor| apparmor.profiles.keys());
        names
            .filter(|name| {
                name.as_str() == "docker-default" || name.starts_with("containers-default")
            })
            // Podman's profile has its version in its name.
            .map(|name| name.split("-default").next().unwrap_or(name).to_owned())
            .collect()
    };
    let there = engines(&pair.destination);
    let missing: Vec<String> = engines(&pair.source)
        .into_iter()
        .filter(|name| !there.contains(name))
        .map(|name| format!("{name}-default"))
        .collect();
    if missing.is_empty() {
        return Outcome::ok(
            "the engines' AppArmor profiles are loaded on both, as far as the source has them",
        );
    }
    Outcome::warn("an AppArmor profile is not loaded at the destination")
        .found(format!("{} is missing", list(&missing)))
}

fn selinux(pair: &Pair<'_>) -> Outcome {
    let enforcing =
        |subject: &Subject<'_>| subject.facts.lsm.selinux.as_deref() == Some("enforcing");
    match (enforcing(&pair.source), enforcing(&pair.destination)) {
        (a, b) if a == b => Outcome::ok(if a {
            "both hosts enforce SELinux"
        } else {
            "neither host enforces SELinux"
        }),
        (a, _) => Outcome::warn("only one host enforces SELinux").found(format!(
            "enforcing on {}",
            if a {
                pair.source.name
            } else {
                pair.destination.name
            }
        )),
    }
}

fn io_uring(pair: &Pair<'_>) -> Outcome {
    let forbidden = |subject: &Subject<'_>| subject.sysctl("kernel.io_uring_disabled").unwrap_or(0);
    let (from, to) = (forbidden(&pair.source), forbidden(&pair.destination));
    if to > from {
        return Outcome::warn("the destination forbids io_uring, and the source does not").found(
            format!(
                "kernel.io_uring_disabled is {from} on {}, {to} on {}",
                pair.source.name, pair.destination.name
            ),
        );
    }
    Outcome::ok("the destination allows io_uring as the source does")
}
