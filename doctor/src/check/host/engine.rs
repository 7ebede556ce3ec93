//! Whether there is an engine; Docker and runc.

use super::table;
use crate::check::catalogue::{Check, meta};
use crate::check::subject::Subject;
use crate::check::verdict::{Group, Outcome};
use semver::Version;

/// What Docker's versions can do; its form is checked by the tests.
const DOCKER: &str = include_str!(concat!(env!("OUT_DIR"), "/docker.json"));

pub(super) fn checks<'s>() -> Vec<Check<Subject<'s>>> {
    let mut docker_version = meta(
        "engine.docker-version",
        Group::Engine,
        "This version of Docker checkpoints and restores",
        "the daemon's version against a table of what each one can do",
        "checkpoints are experimental in Docker, and broke and were mended several times",
        "install a version that works: `transship provision HOST`",
    );
    docker_version.source = table::sources(DOCKER).into();
    vec![
        Check::new(
            meta(
                "engine.present",
                Group::Engine,
                "Docker or Podman is installed and answers",
                "`docker version` and `podman info`. It fails only where neither works",
                "transship moves their containers",
                "`transship provision HOST`",
            ),
            present,
        ),
        Check::new(docker_version, docker_version_check),
        Check::new(
            meta(
                "engine.docker-experimental",
                Group::Engine,
                "Docker's experimental features are on",
                "what `docker version` and `docker info` say of the daemon. It warns where they are off",
                "without `\"experimental\": true` in /etc/docker/daemon.json Docker refuses `docker checkpoint`, which mode tarball uses; the other modes do not need it",
                "`transship provision HOST`",
            ),
            experimental,
        ),
        Check::new(
            meta(
                "engine.docker-runtime",
                Group::Engine,
                "Docker knows transship's runtime",
                "the runtimes that `docker info` names. It warns where transship's is not among them, and fails where that name is another program's; Docker before 17.11 restores from a folder of choice, and is not asked for one",
                "modes other than tarball have the destination's Docker restore through it. A migration registers it where it is missing, which writes /etc/docker/daemon.json and has the daemon reread it",
                "`transship provision HOST`",
            ),
            docker_runtime,
        ),
        Check::new(
            meta(
                "engine.docker-rootless",
                Group::Engine,
                "Docker runs as root",
                "the daemon's security options. It fails for a rootless daemon",
                "CRIU and runc refuse checkpoints of rootless containers",
                "use the system's Docker daemon",
            ),
            rootless,
        ),
        Check::new(
            meta(
                "engine.docker-storage",
                Group::Engine,
                "Docker keeps containers in a storage driver that can be moved",
                "the daemon's storage driver. It warns for drivers that no migration was tried with",
                "the files that a container changed are read from the driver's upper folder",
                "put `\"storage-driver\": \"overlay2\"` into /etc/docker/daemon.json; images and containers must then be made anew",
            ),
            storage,
        ),
        Check::new(
            meta(
                "engine.docker-cgroup",
                Group::Engine,
                "Docker knows the host's version of control groups",
                "the host's cgroup version against Docker's. It fails for cgroup v2 with a Docker before 20.10",
                "older versions start no container on cgroup v2",
                "upgrade Docker to 20.10 or later, or boot with `systemd.unified_cgroup_hierarchy=0`",
            ),
            docker_cgroup,
        ),
        Check::new(
            meta(
                "engine.containerd",
                Group::Engine,
                "containerd restores what it checkpoints",
                "the version of containerd that Docker 20.10 or later uses. It warns below 1.5",
                "containerd 1.3 and 1.4 start a restored container from the beginning without a word, which mode tarball would notice and undo",
                "upgrade containerd to 1.5 or later",
            ),
            containerd,
        ),
        Check::new(
            meta(
                "engine.runc",
                Group::Engine,
                "runc can checkpoint and restore",
                "what runc says of itself, and its version. It fails where it was built without CRIU, and warns below 1.0.0-rc7, which reads no /etc/criu/runc.conf, but for the copy that Docker 17.09 brings",
                "Docker has runc make and restore every checkpoint, and transship's runtime is runc for everything else",
                "install the distribution's runc, or `transship provision HOST`",
            ),
            runc,
        ),
        Check::new(
            meta(
                "engine.runc-exec",
                Group::Engine,
                "`exec` works in restored containers",
                "runc's version. It warns for 1.2.0 to 1.2.6",
                "they join the wrong time namespace when a program is started in a restored container",
                "upgrade runc to 1.2.7 or 1.3.0",
            ),
            runc_exec,
        ),
    ]
}

fn present(subject: &Subject<'_>) -> Outcome {
    match (subject.docker(), subject.podman()) {
        (Some(docker), Some(podman)) => Outcome::ok(format!(
            "Docker {} and Podman {} answer",
            docker.text,
            podman.text.as_deref().unwrap_or_default()
        )),
        (Some(docker), None) => Outcome::ok(format!("Docker {} answers", docker.text)),
        (None, Some(podman)) => Outcome::ok(format!(
            "Podman {} answers",
            podman.text.as_deref().unwrap_or_default()
        )),
        (None, None) => {
            let docker = subject.facts.docker.as_ref();
            if let Some(error) = docker.and_then(|docker| docker.error.clone()) {
                return Outcome::fail("Docker is installed, but its daemon does not answer")
                    .found(error)
                    .fix("systemctl start docker || service docker start");
            }
            Outcome::fail("there is no container engine")
                .found("neither a Docker daemon nor Podman")
        }
    }
}

fn docker_version_check(subject: &Subject<'_>) -> Outcome {
    match subject.docker() {
        None => Outcome::skip("there is no Docker daemon that answers"),
        Some(docker) => table::judge(DOCKER, "Docker", &docker.text, docker.version.as_ref()),
    }
}

fn experimental(subject: &Subject<'_>) -> Outcome {
    match subject.docker() {
        None => Outcome::skip("there is no Docker daemon that answers"),
        Some(docker) if docker.experimental => Outcome::ok("Docker's experimental features are on"),
        Some(docker) => Outcome::warn("Docker's experimental features are off").found(format!(
            "Docker {} without \"experimental\": true",
            docker.text
        )),
    }
}

fn docker_runtime(subject: &Subject<'_>) -> Outcome {
    let Some(docker) = subject.docker() else {
        return Outcome::skip("there is no Docker daemon that answers");
    };
    let name = runtime::REGISTERED;
    match docker.runtimes.get(name) {
        Some(Some(path)) if path != runtime::PATH => {
            Outcome::fail(format!("Docker's runtime `{name}` is another program"))
                .found(format!("{path} instead of {}", runtime::PATH))
        }
        Some(_) => Outcome::ok("Docker knows transship's runtime"),
        None if docker.version < Some(Version::new(17, 11, 0)) => Outcome::skip(format!(
            "Docker {} restores from a folder of choice, with mode tarball",
            docker.text
        )),
        None => Outcome::warn("Docker does not know transship's runtime yet")
            .found(format!("no runtime `{name}` in docker info"))
            .fix(subject.provision()),
    }
}

fn rootless(subject: &Subject<'_>) -> Outcome {
    match subject.docker() {
        None => Outcome::skip("there is no Docker daemon that answers"),
        Some(docker) if docker.rootless => {
            Outcome::fail("Docker runs without root").found("security option rootless")
        }
        Some(_) => Outcome::ok("Docker runs as root"),
    }
}

fn storage(subject: &Subject<'_>) -> Outcome {
    let Some(docker) = subject.docker() else {
        return Outcome::skip("there is no Docker daemon that answers");
    };
    match docker.storage_driver.as_deref() {
        Some(driver @ ("overlay2" | "overlay")) => {
            Outcome::ok(format!("Docker keeps containers in {driver}"))
        }
        Some("overlayfs") => Outcome::warn("Docker keeps containers in containerd's image store")
            .found("storage driver overlayfs")
            .because("a checkpoint through the engine then also packs the image and the container's files, and fails where the image's tag is gone; mode tarball is slower with it"),
        Some(driver) => Outcome::warn(format!("no migration was tried with the storage driver {driver}"))
            .found(format!("storage driver {driver}")),
        None => Outcome::skip("docker info does not say"),
    }
}

fn docker_cgroup(subject: &Subject<'_>) -> Outcome {
    let (Some(docker), Some(cgroup)) = (subject.docker(), subject.cgroup()) else {
        return Outcome::skip("there is no Docker daemon that answers, or no control groups");
    };
    let number = cgroup.number();
    if number == 2 && docker.version < Some(Version::new(20, 10, 0)) {
        return Outcome::fail("Docker does not know cgroup v2")
            .found(format!("Docker {} on cgroup v2", docker.text));
    }
    match docker.cgroup_version {
        Some(used) if used != number => {
            Outcome::warn("Docker uses another version of control groups than the host")
                .found(format!(
                    "Docker says v{used}, /sys/fs/cgroup says v{number}"
                ))
                .fix("systemctl restart docker || service docker restart")
        }
        _ => Outcome::ok(format!(
            "Docker uses cgroup v{number}{}",
            docker
                .cgroup_driver
                .as_ref()
                .map(|driver| format!(" through {driver}"))
                .unwrap_or_default()
        )),
    }
}

fn containerd(subject: &Subject<'_>) -> Outcome {
    let Some(docker) = subject.docker() else {
        return Outcome::skip("there is no Docker daemon that answers");
    };
    if docker.version < Some(Version::new(20, 10, 0)) {
        return Outcome::skip("Docker before 20.10 is judged by engine.docker-version");
    }
    let text = docker.containerd.as_deref();
    let Some(version) = text
        .filter(|text| text.contains('.'))
        .and_then(host::version::lenient)
    else {
        return Outcome::skip("Docker does not say its containerd's version");
    };
    if version < Version::new(1, 5, 0) {
        return Outcome::warn(format!(
            "containerd {version} restarts containers instead of restoring them"
        ))
        .found(format!("containerd {version}"));
    }
    Outcome::ok(format!("containerd {version} restores what it checkpoints"))
}

fn runc(subject: &Subject<'_>) -> Outcome {
    let Some(runc) = &subject.facts.runc else {
        return if subject.docker().is_some() {
            Outcome::warn("runc is not found")
                .found("no runc in PATH, though Docker is there")
                .because("transship's runtime is runc for everything but a restore")
        } else {
            Outcome::skip("runc is not installed, and there is no Docker that needs it")
        };
    };
    let Some(version) = &runc.tool.version else {
        return Outcome::skip("runc does not say its version");
    };
    let found = format!("runc {version} in {}", runc.tool.path);
    if runc.checkpoint == Some(false) {
        return Outcome::fail("runc was built without checkpoints").found(found);
    }
    let own = runc.tool.path.ends_with("docker-runc");
    let rc7 = host::version::lenient("1.0.0-rc7").expect("a version");
    if *version < rc7 && !own {
        return Outcome::warn(format!("runc {version} reads no /etc/criu/runc.conf"))
            .found(found)
            .because("options such as tcp-established cannot be given through Docker then");
    }
    Outcome::ok(if own {
        format!("Docker's own runc {version} checkpoints and restores")
    } else {
        format!("runc {version} checkpoints and restores")
    })
}

fn runc_exec(subject: &Subject<'_>) -> Outcome {
    let runc = subject.facts.runc.as_ref();
    let Some(version) = runc.and_then(|runc| runc.tool.version.as_ref()) else {
        return Outcome::skip("runc is not installed");
    };
    if *version >= Version::new(1, 2, 0) && *version < Version::new(1, 2, 7) {
        return Outcome::warn(format!(
            "exec fails in containers that runc {version} restored"
        ))
        .found(format!("runc {version}"));
    }
    Outcome::ok(format!(
        "exec works in containers that runc {version} restored"
    ))
}
