//! Everything that is looked at before anything is touched, and the reasons to refuse.

use crate::choice::Engines;
use crate::copy::{binds, connections, lazy, rounds, subject, tcp};
use crate::tarball::{links, workflow};
use crate::{Failure, Kind, Mode, Options, ask, space, tool};
use crate::{leftover, others, sleeper, undumpable};
use engine::{Container, Engine, Kind as Which, Name};
use host::{Cmd, Host, HostError};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// What was found, all good.
pub(crate) struct Subject {
    pub source_engine: Engine,
    pub destination_engine: Engine,
    pub container: Container,
    /// Its name on the source.
    pub name: Name,
    pub image: Value,
    /// Memory of its processes, in bytes.
    pub memory: u64,
    /// So much of it is sent before the freeze.
    pub ahead: u64,
    /// What this mode does not move.
    pub left_behind: Vec<String>,
    pub warnings: Vec<String>,
}

/// Looks at both hosts side by side, then at the container; refuses where it would not work.
pub(crate) fn inspect(
    source: &Arc<dyn Host>,
    destination: &Arc<dyn Host>,
    options: &Options,
) -> Result<Subject, Failure> {
    let copies = options.mode.streams();
    usage(options)?;
    let (source_looked, destination_looked) = std::thread::scope(|scope| {
        let other = scope.spawn(|| look(&**destination, options.mode));
        (
            look(&**source, options.mode),
            other.join().expect("looking does not panic"),
        )
    });
    let (source_looked, destination_looked) = (source_looked?, destination_looked?);
    if source_looked.identity == destination_looked.identity {
        return Err(Failure::new(
            Kind::Usage,
            format!(
                "{} and {} are the same host",
                source.name(),
                destination.name()
            ),
        )
        .fix("name another host with --to"));
    }
    let (source_engine, container) = source_looked.engines.with(&**source, &options.container)?;
    let kind = source_engine.kind();
    let journals = options.journal.as_deref();
    let container = running(&**source, &source_engine, container, journals)?;
    let destination_engine =
        destination_looked
            .engines
            .same(kind, &**destination, source.name())?;
    let name = Name::new(container.name())
        .map_err(|error| Failure::refused(source.name(), error.to_string()))?;
    // First: what an earlier migration left looks like a name taken and a volume that would be lost.
    leftover::check(&**source, &name, None, journals)?;
    leftover::check(&**destination, &name, None, journals)?;
    free_name(&**destination, kind, options.name.as_ref().unwrap_or(&name))?;
    tcp::free(&**destination, kind, &container)?;
    sleeper::does_not_merely_sleep(&**source, &container)?;
    undumpable::none(&**source, &container, &options.ignore)?;
    let mut dockers = None;
    let mut warnings = Vec::new();
    if copies {
        tool::check(&**source, &source_engine)?;
        tool::check(&**destination, &destination_engine)?;
        subject::runtime(&**source, &source_engine, &container)?;
        subject::movable(&**source, &container)?;
        let copied = if options.copy_bind {
            binds::folders(&**source, &container)?
        } else {
            Vec::new()
        };
        subject::place(&**destination, &container, &copied)?;
        if options.tcp_established {
            warnings = tcp::check(&**source, &**destination, &destination_engine, &container)?;
        } else {
            connections::none_open(&**source, &container)?;
        }
        if options.mode.has_rounds() {
            rounds::tracks(&**source)?;
        }
        if options.leaves_pages() {
            lazy::serves(&**source)?;
            lazy::fetches(&**destination)?;
        }
    } else {
        let from = workflow::checkpoints(&**source, &source_engine)?;
        let to = workflow::checkpoints(&**destination, &destination_engine)?;
        workflow::pair(source, destination, from, to)?;
        workflow::suits(&**source, &source_engine, &container)?;
        workflow::restorable(&**destination, &destination_engine, &container)?;
        workflow::runtime(&**destination, &destination_engine, &container)?;
        for host in [source, destination] {
            links::none(&**host, &container)?;
        }
        dockers = Some((from, to));
    }
    others::there(&**source, &**destination, &container)?;
    let image = image(source, destination, &container, copies)?;
    let memory = space::memory(&**source, &container, &name)?;
    if copies {
        // Here, what was sent is freed at once.
        subject::memory(&**destination, room(options.mode, memory))?;
        subject::memory(&**source, memory / 2)?;
        let ahead = ahead(&**destination, options.mode, memory);
        warnings.extend(subject::warnings(&**source, &container)?);
        return Ok(Subject {
            name,
            source_engine,
            destination_engine,
            container,
            image,
            memory,
            ahead,
            left_behind: Vec::new(),
            warnings,
        });
    }
    if let Some((from, to)) = dockers {
        space::check(&**source, from, memory)?;
        space::check(&**destination, to, memory)?;
    }
    let left_behind = left_behind(&**source, &name, &container)?;
    if !left_behind.is_empty() {
        warnings.push(format!(
            "mode tarball moves memory only, not {}: the restore fails where the container uses that",
            left_behind.join(", ")
        ));
    }
    Ok(Subject {
        name,
        source_engine,
        destination_engine,
        container,
        image,
        memory,
        ahead: 0,
        left_behind,
        warnings,
    })
}

/// Less memory than that is through before it is known which of it changed.
const AHEAD_LEAST: u64 = 16 << 20;
/// No more is sent ahead: what is in each page is kept in mind, in 32 bytes.
const AHEAD_MOST: u64 = 4 << 30;

/// How much memory is sent before the freeze. The destination keeps it beside the images.
fn ahead(destination: &dyn Host, mode: Mode, memory: u64) -> u64 {
    let most = memory.min(AHEAD_MOST);
    let fits = || subject::memory(destination, room(mode, memory) + most).is_ok();
    if mode == Mode::Copy && memory >= AHEAD_LEAST && fits() {
        most
    } else {
        0
    }
}

/// The memory that a container's own takes on the destination meanwhile: images and processes beside them, and
/// what rounds had sent that changed later.
pub(crate) fn room(mode: Mode, memory: u64) -> u64 {
    let times = if mode.has_rounds() { 3 } else { 2 };
    memory.saturating_mul(times)
}

/// Options that only go with some modes.
fn usage(options: &Options) -> Result<(), Failure> {
    let of_rounds = [
        (options.max_downtime.is_some(), "--max-downtime"),
        (options.then_post_copy, "--then-post-copy"),
    ];
    if let (false, Some((_, option))) = (
        options.mode.has_rounds(),
        of_rounds.iter().find(|(given, _)| *given),
    ) {
        let mode = options.mode.as_str();
        let what = format!("mode {mode} sends no memory while the container runs");
        return Err(
            Failure::new(Kind::Usage, what).fix(format!("{option} goes with --mode pre-copy"))
        );
    }
    if options.mode.streams() {
        return Ok(());
    }
    let (what, option) = if options.copy_bind {
        ("moves no files", "--copy-bind")
    } else if options.tcp_established {
        ("does not take TCP connections along", "--tcp-established")
    } else {
        return Ok(());
    };
    let what = format!("mode {} {what}", options.mode.as_str());
    let fix = format!("{option} goes with --mode copy, post-copy and pre-copy");
    Err(Failure::new(Kind::Usage, what).fix(fix))
}

struct Looked {
    engines: Engines,
    /// What tells two hosts apart, whatever they are called: the boot, and the namespaces where several
    /// hosts share a kernel.
    identity: String,
}

fn look(host: &dyn Host, mode: Mode) -> Result<Looked, Failure> {
    let engines = Engines::of(host)?;
    let script = "cat /proc/sys/kernel/random/boot_id; readlink /proc/self/ns/net /proc/self/ns/pid /proc/self/ns/mnt";
    let identity = host.text(&Cmd::reads("sh").args(["-c", script]))?;
    if mode.streams() {
        subject::programs(host)?;
    }
    criu(host)?;
    Ok(Looked { engines, identity })
}

/// CRIU is there and, by its own judgement, works on the running kernel.
fn criu(host: &dyn Host) -> Result<(), Failure> {
    let name = host.name();
    let output = match host.run(&Cmd::reads("criu").arg("check")) {
        Ok(output) => output,
        Err(HostError::NoProgram { .. }) => {
            return Err(Failure::refused(
                name,
                format!("there is no criu on {name}, which makes and restores the checkpoints"),
            )
            .fix(format!("transship provision {name}"))
            .fix("or by hand, there: apt-get install criu"));
        }
        Err(error) => return Err(error.into()),
    };
    if output.status == 0 {
        return Ok(());
    }
    let version = host
        .text(&Cmd::reads("criu").arg("--version"))
        .unwrap_or_default();
    let version = version
        .lines()
        .next()
        .unwrap_or("Version: unknown")
        .replace("Version: ", "")
        .trim()
        .to_owned();
    let kernel = host.text(&Cmd::reads("uname").arg("-r"))?;
    let mut failure = Failure::refused(
        name,
        format!("CRIU {version} does not work on the kernel of {name}, {kernel}"),
    )
    .fix(format!("transship provision {name}"));
    failure.log = output
        .stderr_text()
        .lines()
        .filter(|line| line.contains("Error"))
        .map(str::to_owned)
        .collect();
    Err(failure)
}

/// It runs; what an earlier migration left says more than that it is stopped.
fn running(
    host: &dyn Host,
    engine: &Engine,
    container: Container,
    journals: Option<&Path>,
) -> Result<Container, Failure> {
    let restarting = container.status() == "restarting";
    if container.running() && !container.paused() && !restarting {
        return Ok(container);
    }
    if let Ok(name) = Name::new(container.name()) {
        leftover::check(host, &name, Some((engine, &container)), journals)?;
    }
    let (on, name, program) = (host.name(), container.name(), engine.kind().program());
    Err(if container.paused() {
        Failure::refused(on, format!("{name} on {on} is paused"))
            .fix(format!("on {on}: {program} unpause {name}"))
    } else if restarting {
        let what = format!("{name} on {on} does not stay up: it ended, and is to be started anew");
        Failure::refused(on, what).fix(format!(
            "why it ends, on {on}: {program} logs --tail 20 {name}"
        ))
    } else {
        Failure::refused(
            on,
            format!("{name} on {on} is not running: only a running container has a state to move"),
        )
        .fix(format!("on {on}: {program} start {name}"))
    })
}

fn free_name(host: &dyn Host, kind: Which, name: &Name) -> Result<(), Failure> {
    let Some(other) = ask::container(host, kind, name)? else {
        return Ok(());
    };
    let on = host.name();
    Err(Failure::refused(
        on,
        format!(
            "{on} has a container {name} already ({})",
            if other.running() {
                "it runs"
            } else {
                "stopped"
            }
        ),
    )
    .fix(format!(
        "if it is not needed, on {on}: {} rm -f {name}",
        kind.program()
    ))
    .fix(format!(
        "or give the moved one another name: --name {name}-2"
    )))
}

/// The image is on the destination, and it is the same one.
fn image(
    source: &Arc<dyn Host>,
    destination: &Arc<dyn Host>,
    container: &Container,
    copies: bool,
) -> Result<Value, Failure> {
    let (reference, id) = (container.image_ref(), container.image_id());
    let image = ask::image(&**source, container.kind(), id)?.ok_or_else(|| {
        Failure::refused(
            source.name(),
            format!(
                "the image {reference} of {} is gone from {}",
                container.name(),
                source.name()
            ),
        )
    })?;
    if copies {
        // This mode brings it along.
        return Ok(image);
    }
    let on = destination.name();
    let carry = format!(
        "docker save {reference} | {}docker load",
        if on == "local" {
            String::new()
        } else {
            format!("ssh {} ", host::quote(on))
        }
    );
    match ask::image(&**destination, container.kind(), reference)? {
        Some(there) if there["Id"] == image["Id"] => Ok(image),
        Some(_) => Err(Failure::refused(
            on,
            format!("the image {reference} on {on} is another than on {}: files that the container has open may differ", source.name()),
        )
        .fix(format!("on {}: {carry}", source.name()))),
        None => Err(Failure::refused(on, format!("the image {reference} is not on {on}"))
            .fix(format!("on {}: {carry}", source.name()))
            .fix(format!("or on {on}: docker pull {reference}"))),
    }
}

/// What the container has besides memory, in words.
fn left_behind(
    host: &dyn Host,
    name: &Name,
    container: &Container,
) -> Result<Vec<String>, Failure> {
    let mut what = Vec::new();
    let changed = host.text(&container.kind().diff(name))?.lines().count();
    if changed > 0 {
        what.push(format!("changes in its root ({changed})"));
    }
    for mount in container.mounts() {
        if mount.kind == "volume" {
            what.push(format!("the volume at {}", mount.destination));
        }
    }
    Ok(what)
}
