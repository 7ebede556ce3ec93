//! CRIU, engines and runtimes of two hosts.

use super::Pair;
use crate::check::catalogue::{Check, meta};
use crate::check::verdict::{Group, Outcome};
use semver::Version;

pub(super) fn checks<'p>() -> Vec<Check<Pair<'p>>> {
    vec![
        Check::new(
            meta(
                "pair.criu-version",
                Group::Pair,
                "CRIU on the destination reads what CRIU on the source writes",
                "both versions. It fails where the destination's is older by its first two numbers, and warns where only the last is lower",
                "CRIU reads images of older versions, not of newer ones",
                "`transship provision DESTINATION`",
            ),
            criu,
        ),
        Check::new(
            meta(
                "pair.engine",
                Group::Pair,
                "Both hosts have the same engine",
                "whether Docker answers on both, or Podman works on both",
                "a container is made anew by the same engine that it comes from",
                "`transship provision DESTINATION`",
            ),
            engine,
        ),
        Check::new(
            meta(
                "pair.docker-version",
                Group::Pair,
                "Both Docker versions go together",
                "the daemons' versions. It warns where the minor versions differ, and fails in neither direction; for mode tarball it says where the formats differ (up to 17.10, and later)",
                "each version hides other files of /proc and /sys from containers, and these mounts are part of a checkpoint; and Docker up to 17.10 writes its checkpoints in another form",
                "install the same version on both: `transship provision SOURCE DESTINATION`",
            ),
            docker,
        ),
        Check::new(
            meta(
                "pair.docker-storage",
                Group::Pair,
                "Both Dockers keep containers in the same storage driver",
                "the daemons' storage drivers. It warns where they differ",
                "open files carry marks of their file system, which differ between drivers",
                "use the same driver on both, in /etc/docker/daemon.json",
            ),
            storage,
        ),
        Check::new(
            meta(
                "pair.podman-version",
                Group::Pair,
                "Both Podman versions go together",
                "both versions, and what makes their networks. It warns where the major versions or the network backends differ",
                "the mounts that Podman makes in every container are part of a checkpoint and change with its versions; netavark and CNI give addresses in different ways",
                "install the same version on both: `transship provision SOURCE DESTINATION`",
            ),
            podman,
        ),
        Check::new(
            meta(
                "pair.podman-runtime",
                Group::Pair,
                "Both Podmans use the same OCI runtime",
                "the names of the runtimes. It warns where they differ",
                "Podman restores a checkpoint with the runtime that made it, which must be there too",
                "set the same `runtime` in /etc/containers/containers.conf on both",
            ),
            podman_runtime,
        ),
    ]
}

fn criu(pair: &Pair<'_>) -> Outcome {
    let (Some(from), Some(to)) = (pair.source.criu_version(), pair.destination.criu_version())
    else {
        return Outcome::skip("CRIU is not installed on both");
    };
    let (written, read) = (pair.source.criu_text(), pair.destination.criu_text());
    let found = format!(
        "{written} on {}, {read} on {}",
        pair.source.name, pair.destination.name
    );
    if (to.major, to.minor) < (from.major, from.minor) {
        return Outcome::fail("CRIU on the destination is older than on the source").found(found);
    }
    if to < from {
        return Outcome::warn("CRIU on the destination is a little older than on the source")
            .found(found);
    }
    Outcome::ok(if from == to {
        format!("CRIU {read} on both")
    } else {
        format!("CRIU {read} reads what CRIU {written} writes")
    })
}

fn engine(pair: &Pair<'_>) -> Outcome {
    let (from, to) = (&pair.source, &pair.destination);
    let docker = from.docker().is_some() && to.docker().is_some();
    let podman = from.podman().is_some() && to.podman().is_some();
    match (docker, podman) {
        (true, true) => Outcome::ok("Docker and Podman are on both"),
        (true, false) => Outcome::ok("Docker is on both"),
        (false, true) => Outcome::ok("Podman is on both"),
        (false, false) if from.docker().is_none() && from.podman().is_none() => {
            Outcome::skip("the source has no engine, see engine.present")
        }
        (false, false) => {
            Outcome::fail("the destination lacks the source's engine").found(format!(
                "{}: {}; {}: {}",
                from.name,
                from.headline(),
                to.name,
                to.headline()
            ))
        }
    }
}

fn docker(pair: &Pair<'_>) -> Outcome {
    let (Some(from), Some(to)) = (pair.source.docker(), pair.destination.docker()) else {
        return Outcome::skip("Docker does not answer on both");
    };
    let (Some(a), Some(b)) = (&from.version, &to.version) else {
        return Outcome::skip("one version of Docker is not understood");
    };
    let found = format!(
        "{} on {}, {} on {}",
        from.text, pair.source.name, to.text, pair.destination.name
    );
    let old = |version: &Version| *version < Version::new(17, 11, 0);
    if old(a) != old(b) {
        return Outcome::warn("one Docker writes checkpoints in the old form, the other in the new")
            .found(found)
            .because("Docker up to 17.10 puts a config.json into a checkpoint and wants it back, later ones do not; mode tarball works between equal forms only");
    }
    if (a.major, a.minor) != (b.major, b.minor) {
        return Outcome::warn("the Docker versions differ").found(found);
    }
    Outcome::ok(if a == b {
        format!("Docker {} on both", from.text)
    } else {
        format!("Docker {} and {} go together", from.text, to.text)
    })
}

fn storage(pair: &Pair<'_>) -> Outcome {
    let driver = |subject: &crate::check::Subject<'_>| {
        subject
            .docker()
            .and_then(|docker| docker.storage_driver.clone())
    };
    match (driver(&pair.source), driver(&pair.destination)) {
        (Some(a), Some(b)) if a == b => Outcome::ok(format!("storage driver {a} on both")),
        (Some(a), Some(b)) => Outcome::warn("the storage drivers differ").found(format!(
            "{a} on {}, {b} on {}",
            pair.source.name, pair.destination.name
        )),
        _ => Outcome::skip("Docker does not answer on both"),
    }
}

fn podman(pair: &Pair<'_>) -> Outcome {
    let (Some(from), Some(to)) = (pair.source.podman(), pair.destination.podman()) else {
        return Outcome::skip("Podman does not work on both");
    };
    let (Some(a), Some(b)) = (&from.version, &to.version) else {
        return Outcome::skip("one version of Podman is not understood");
    };
    let (source, destination) = (pair.source.name, pair.destination.name);
    if a.major != b.major {
        return Outcome::warn("the Podman versions differ")
            .found(format!("{a} on {source}, {b} on {destination}"));
    }
    if let (Some(one), Some(other)) = (&from.network_backend, &to.network_backend)
        && one != other
    {
        return Outcome::warn("the Podmans make their networks with different programs")
            .found(format!("{one} on {source}, {other} on {destination}"))
            .fix(format!(
                "on one of them, after its containers are gone: set `network_backend = \"{one}\"` in /etc/containers/containers.conf"
            ));
    }
    Outcome::ok(if a == b {
        format!("Podman {a} on both")
    } else {
        format!("Podman {a} and {b} go together")
    })
}

fn podman_runtime(pair: &Pair<'_>) -> Outcome {
    let runtime = |subject: &crate::check::Subject<'_>| {
        let podman = subject.podman()?;
        Some(podman.runtime.as_ref()?.name.clone())
    };
    match (runtime(&pair.source), runtime(&pair.destination)) {
        (Some(a), Some(b)) if a == b => Outcome::ok(format!("Podman uses {a} on both")),
        (Some(a), Some(b)) => Outcome::warn("the OCI runtimes differ").found(format!(
            "{a} on {}, {b} on {}",
            pair.source.name, pair.destination.name
        )),
        _ => Outcome::skip("Podman does not work on both"),
    }
}
