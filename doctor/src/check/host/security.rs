//! Packet filters, AppArmor and SELinux.

use crate::check::catalogue::{Check, meta};
use crate::check::subject::Subject;
use crate::check::verdict::{Group, Outcome};
use semver::Version;

pub(super) fn checks<'s>() -> Vec<Check<Subject<'s>>> {
    vec![
        Check::new(
            meta(
                "network.filter",
                Group::Network,
                "CRIU can lock a container's network",
                "whether iptables (with iptables-restore) or nft is installed. It fails where both are missing, and warns where only nft is there or iptables does not answer",
                "while a container is frozen its connections must not be answered; CRIU uses iptables for that unless it is told to use nftables",
                "install the package iptables",
            ),
            filter,
        ),
        Check::new(
            meta(
                "network.locks",
                Group::Network,
                "No network is locked by a CRIU that is gone",
                "iptables chains and nftables tables of CRIU's on the host",
                "CRIU takes its rules away at the end; what is left of one that died cuts a container's connections off",
                "look whether a migration is running; if none is, delete the chain or table",
            ),
            locks,
        ),
        Check::new(
            meta(
                "security.apparmor",
                Group::Security,
                "AppArmor does not stand in the way of checkpoints",
                "AppArmor's version against Docker's. It warns for AppArmor 4 with a Docker before 26.1.3 (25.0.6, 23.0.12)",
                "AppArmor 4 confines runc, and those versions of Docker do not allow it to signal or reach its containers",
                "upgrade Docker to 26.1.3 or later",
            ),
            apparmor,
        ),
        Check::new(
            meta(
                "security.selinux",
                Group::Security,
                "SELinux does not stand in the way of checkpoints",
                "SELinux's mode, and the version of container-selinux. It warns where SELinux is enforcing with one before 2.183",
                "older policies deny CRIU's part inside the container its socket",
                "`dnf upgrade -y container-selinux`",
            ),
            selinux,
        ),
    ]
}

fn filter(subject: &Subject<'_>) -> Outcome {
    let tools = &subject.facts.tools;
    match (tools.get("iptables"), tools.contains_key("nft")) {
        (Some(iptables), _) => match iptables.text.as_deref() {
            None => Outcome::ok("iptables is installed"),
            Some(text) if text.trim_start().starts_with("iptables v") => {
                Outcome::ok(text.lines().next().unwrap_or_default().trim())
            }
            Some(text) => Outcome::warn("iptables does not say its version")
                .found(text.to_owned())
                .fix("iptables --version, and mend what it says"),
        },
        (None, true) => Outcome::warn("iptables is not installed, only nftables")
            .found("nft in PATH, no iptables")
            .because("CRIU locks a network with iptables unless its configuration says `network-lock nftables`")
            .fix(subject.install("iptables")),
        (None, false) => Outcome::fail("there is no packet filter")
            .found("neither iptables nor nft in PATH")
            .fix(subject.install("iptables")),
    }
}

fn locks(subject: &Subject<'_>) -> Outcome {
    let locks = &subject.facts.leftovers.network_locks;
    if locks.is_empty() {
        return Outcome::ok("no network is locked by CRIU");
    }
    Outcome::warn("a lock of CRIU's is on the host's network")
        .found(locks.join("; "))
        .fix("iptables-save | grep CRIU; nft list tables | grep CRIU")
}

fn apparmor(subject: &Subject<'_>) -> Outcome {
    let Some(apparmor) = &subject.facts.lsm.apparmor else {
        return Outcome::ok("AppArmor is not there");
    };
    if !apparmor.enabled {
        return Outcome::ok("AppArmor is off");
    }
    let parser = apparmor.parser.as_deref().and_then(host::version::find);
    let docker = subject.docker().and_then(|docker| docker.version.as_ref());
    if let (Some(parser), Some(docker)) = (parser, docker) {
        let mended = match docker.major {
            23 => *docker >= Version::new(23, 0, 12),
            25 => *docker >= Version::new(25, 0, 6),
            _ => *docker >= Version::new(26, 1, 3),
        };
        if parser >= Version::new(4, 0, 0) && !mended {
            return Outcome::warn("AppArmor keeps runc from its containers")
                .found(format!("AppArmor {parser} with Docker {docker}"));
        }
    }
    Outcome::ok("AppArmor is on, and Docker's version goes with it")
}

fn selinux(subject: &Subject<'_>) -> Outcome {
    match subject.facts.lsm.selinux.as_deref() {
        None | Some("disabled") => Outcome::ok("SELinux is not in use"),
        Some("permissive") => Outcome::ok("SELinux is permissive"),
        Some(mode) => {
            let package = subject.facts.packages.get("container-selinux");
            match package.and_then(|text| host::version::lenient(text)) {
                Some(version) if version < Version::new(2, 183, 0) => {
                    Outcome::warn("SELinux's policy for containers is too old")
                        .found(format!("SELinux {mode}, container-selinux {version}"))
                }
                Some(version) => Outcome::ok(format!(
                    "SELinux is {mode}, with container-selinux {version}"
                )),
                None => Outcome::skip(format!(
                    "SELinux is {mode}; the version of its policy for containers is not known"
                )),
            }
        }
    }
}
