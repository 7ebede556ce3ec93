//! Podman and its OCI runtime.

use super::table;
use crate::check::catalogue::{Check, meta};
use crate::check::subject::Subject;
use crate::check::verdict::{Group, Outcome};
use semver::Version;

/// What Podman's versions can do; its form is checked by the tests.
const PODMAN: &str = include_str!(concat!(env!("OUT_DIR"), "/podman.json"));

pub(super) fn checks<'s>() -> Vec<Check<Subject<'s>>> {
    let mut version = meta(
        "engine.podman-version",
        Group::Engine,
        "This version of Podman checkpoints and restores",
        "its version against a table of what each one can do",
        "checkpoints came to Podman in steps",
        "upgrade Podman: `transship provision HOST`",
    );
    version.source = table::sources(PODMAN).into();
    vec![
        Check::new(version, podman_version),
        Check::new(
            meta(
                "engine.podman",
                Group::Engine,
                "Podman works",
                "`podman info`. It warns where Podman is installed and does not answer",
                "containers of a Podman that does not answer cannot be moved",
                "`podman info`, and mend what it says",
            ),
            podman,
        ),
        Check::new(
            meta(
                "engine.podman-root",
                Group::Engine,
                "Podman runs as root",
                "what `podman info` says. It fails for rootless Podman",
                "Podman checkpoints containers of root alone",
                "log in as root, and make the containers there",
            ),
            podman_root,
        ),
        Check::new(
            meta(
                "engine.podman-runtime",
                Group::Engine,
                "Podman's OCI runtime can checkpoint",
                "whether crun was built with CRIU and finds libcriu, or whether runc can checkpoint. It warns where it cannot",
                "Podman has its runtime make and restore every checkpoint, and crun loads libcriu for that",
                "install the package of libcriu (libcriu2 on Debian and Ubuntu, criu-libs on Fedora), or use runc",
            ),
            podman_runtime,
        ),
        Check::new(
            meta(
                "engine.podman-cgroup",
                Group::Engine,
                "Podman and the host agree on control groups",
                "the host's cgroup version where Podman 5 or later is installed. It warns for v1",
                "Podman 5 calls cgroup v1 deprecated, and a later version will do without it",
                "boot with the kernel parameter systemd.unified_cgroup_hierarchy=1, on the other host too; until an upgrade of Podman nothing needs to be done",
            ),
            podman_cgroup,
        ),
    ]
}

fn podman_version(subject: &Subject<'_>) -> Outcome {
    let Some(podman) = subject.podman() else {
        return Outcome::skip("there is no Podman that works");
    };
    let text = podman.text.as_deref().unwrap_or_default();
    table::judge(PODMAN, "Podman", text, podman.version.as_ref())
}

fn podman(subject: &Subject<'_>) -> Outcome {
    let Some(podman) = &subject.facts.podman else {
        return Outcome::skip("Podman is not installed");
    };
    match (&podman.text, &podman.error) {
        (Some(version), _) => Outcome::ok(format!("Podman {version} works")),
        (None, error) => Outcome::warn("Podman does not work").found(
            error
                .clone()
                .unwrap_or_else(|| "`podman info` said nothing".to_owned()),
        ),
    }
}

fn podman_root(subject: &Subject<'_>) -> Outcome {
    match subject.podman() {
        None => Outcome::skip("there is no Podman that works"),
        Some(podman) if podman.rootless => {
            Outcome::fail("Podman runs without root").found("podman info: rootless")
        }
        Some(_) => Outcome::ok("Podman runs as root"),
    }
}

fn podman_runtime(subject: &Subject<'_>) -> Outcome {
    let Some(runtime) = subject.podman().and_then(|podman| podman.runtime.as_ref()) else {
        return Outcome::skip("there is no Podman that works");
    };
    let facts = subject.facts;
    let known = match runtime.name.as_str() {
        "crun" => facts.crun.as_ref(),
        "runc" => facts.runc.as_ref(),
        _ => None,
    };
    let Some(known) = known else {
        return Outcome::warn(format!(
            "whether {} can checkpoint is not known",
            runtime.name
        ))
        .found(format!("{} in {}", runtime.name, runtime.path));
    };
    if known.checkpoint == Some(false) {
        return Outcome::warn(format!(
            "Podman's runtime {} was built without checkpoints",
            runtime.name
        ))
        .found(runtime.path.clone());
    }
    let library = facts.criu.as_ref().and_then(|criu| criu.library.as_ref());
    if runtime.name == "crun" && library.is_none() && facts.criu.is_some() {
        return Outcome::warn("crun does not find libcriu")
            .found("no libcriu.so in the linker's cache")
            .fix(subject.install(
                if facts.os.as_ref().is_some_and(|os| os.is_like("debian")) {
                    "libcriu2"
                } else {
                    "criu-libs"
                },
            ));
    }
    Outcome::ok(format!("Podman's runtime {} can checkpoint", runtime.name))
}

fn podman_cgroup(subject: &Subject<'_>) -> Outcome {
    let (Some(podman), Some(cgroup)) = (subject.podman(), subject.cgroup()) else {
        return Outcome::skip("there is no Podman that works, or no control groups");
    };
    if cgroup.number() == 1 && podman.version >= Some(Version::new(5, 0, 0)) {
        return Outcome::warn("Podman calls cgroup v1 deprecated").found(format!(
            "Podman {} on cgroup v1",
            podman.text.as_deref().unwrap_or_default()
        ));
    }
    Outcome::ok(format!("Podman works with cgroup v{}", cgroup.number()))
}
