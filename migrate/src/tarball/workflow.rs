//! What the engines of both hosts must be able to do for the workflow of the thesis: refused where not.

use crate::{Failure, tool};
use engine::{Container, Docker, Engine};
use host::Host;
use std::sync::Arc;

/// Docker with checkpoints in its API, which mode tarball uses.
pub(crate) fn checkpoints<'a>(host: &dyn Host, engine: &'a Engine) -> Result<&'a Docker, Failure> {
    let on = host.name();
    let Some(docker) = engine.docker() else {
        return Err(Failure::refused(
            on,
            format!(
                "mode tarball is a workflow of Docker, and the container on {on} is one of {}",
                engine.kind()
            ),
        )
        .fix("--mode copy"));
    };
    match docker.makes_checkpoints(on) {
        Ok(()) => Ok(docker),
        Err(error) => Err(Failure::from(error).fix(r#"or by hand: put "experimental": true into /etc/docker/daemon.json there, then: systemctl restart docker"#)),
    }
}

/// The two engines understand each other's checkpoints.
pub(crate) fn pair(
    source: &Arc<dyn Host>,
    destination: &Arc<dyn Host>,
    from: &Docker,
    to: &Docker,
) -> Result<(), Failure> {
    if from.restores_from_folder() == to.restores_from_folder() {
        return Ok(());
    }
    Err(Failure::refused(
        destination.name(),
        format!(
            "Docker {} on {} and Docker {} on {} write checkpoints of different forms: 17.10 and before, 17.11 and later",
            from.version,
            source.name(),
            to.version,
            destination.name()
        ),
    )
    .fix(format!("transship provision {} {}", source.name(), destination.name())))
}

/// The container outlives its checkpoint, and the source can restore it too.
pub(crate) fn suits(
    host: &dyn Host,
    docker: &Engine,
    container: &Container,
) -> Result<(), Failure> {
    let (on, name) = (host.name(), container.name());
    if container.auto_remove() {
        return Err(Failure::refused(
            on,
            format!("{name} on {on} was started with --rm: Docker would delete it as soon as it is frozen, and nothing could be undone"),
        )
        .fix(format!("start it without --rm, on {on}")));
    }
    restorable(host, docker, container)
}

/// Both engines must restore it: the destination's for the migration, the source's for the way back.
pub(crate) fn restorable(
    host: &dyn Host,
    docker: &Engine,
    container: &Container,
) -> Result<(), Failure> {
    docker.can_restore(container).map_err(|why| {
        Failure::refused(
            host.name(),
            format!(
                "{} cannot be restored on {}: {why}",
                container.name(),
                host.name()
            ),
        )
        .fix(why.fix)
    })
}

/// The destination's engine can create it with its runtime. A container that mode copy brought has ours.
pub(crate) fn runtime(
    host: &dyn Host,
    engine: &Engine,
    container: &Container,
) -> Result<(), Failure> {
    let runtime = container.runtime();
    if engine.creates_with(runtime) {
        return Ok(());
    }
    let on = host.name();
    let what = format!(
        "{} has the OCI runtime {runtime}, which the engine on {on} does not know",
        container.name()
    );
    let failure = Failure::refused(on, what);
    Err(if runtime == tool::RUNTIME {
        failure
            .fix(format!("transship provision {on}"))
            .fix("or --mode copy, which makes it known there")
    } else {
        failure.fix(format!(
            "put {runtime} under \"runtimes\" into /etc/docker/daemon.json on {on}, then: systemctl reload docker"
        ))
    })
}
