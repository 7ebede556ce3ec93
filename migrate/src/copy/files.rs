//! Phases `files` and `start`: what can be done while the container still runs.

use super::flow::{PATIENCE, Shared, sent};
use super::{binds, network, state, tcp};
use crate::context::{Context, Side};
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, ask, layout, leftover, random};
use agent::{Event, Place, ReceiveJob, Rounds, SendJob, Serve, Token};
use engine::{Container, Name};
use host::Cmd;
use runtime::pending;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long our runtime waits for the images without a sign that they come, in seconds.
const SILENCE: u64 = 120;
/// What the engine's start and CRIU's work take of the time that an engine waits for its runtime, in seconds.
const MARGIN: u64 = 20;
/// So few bytes tell nothing of the link's rate.
const TELLING: u64 = 4 << 20;

/// The folder of the pending container on the destination.
pub(super) fn pending_folder(context: &Context) -> String {
    format!("{}/{}", pending::HOME, context.new_id())
}

pub(super) fn words(cmd: &Cmd) -> Vec<String> {
    std::iter::once(&cmd.program)
        .chain(&cmd.args)
        .cloned()
        .collect()
}

/// Sends what the container wrote so far.
pub(super) struct Files {
    flow: Shared,
}

impl Files {
    pub fn new(flow: &Shared) -> Self {
        Files { flow: flow.clone() }
    }
}

impl Phase for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn title(&self, context: &Context) -> String {
        let memory = if context.ahead > 0 { ", memory" } else { "" };
        format!(
            "what {} wrote so far: files, volumes, log{memory}",
            context.name
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        make_pending(context)?;
        context.layout = layout::of(&context.source, &context.name)?;
        let binds = binds::copied(context)?;
        let mut flow = self.flow.lock();
        let mut send = send_job(context, &binds)?;
        if context.options.dry_run {
            return plan(context, &send);
        }
        let receive = receive_job(context, Token(random::bytes()?), &binds)?;
        let link = flow.listen(context, "receive", &receive)?;
        send.link = link.map(|link| (link, receive.token));
        let begun = Instant::now();
        if !flow.meet(context, "files", "send", &send)? {
            let (source, destination) = (context.source.name(), context.destination.name());
            context.warn(format!(
                "{source} reaches no port of {destination}: all bytes go through SSH, by way of this machine, which is slower"
            ));
        }
        flow.carry(context, "files", sent)?;
        flow.hear(context, "files", PATIENCE, |event| *event == Event::Pass)?;
        let bytes = flow.carried();
        context.measured.phase_bytes = Some(bytes);
        in_time(context, bytes, begun.elapsed())
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        self.flow.lock().end();
        if context.measured.new_id.is_some() && !context.options.dry_run {
            let destination = &context.destination;
            let root = destination.engine.runc_root(runtime::REGISTERED);
            let runc = format!("{root}/{}", context.new_id());
            let cmd = leftover::remove_pending(&pending_folder(context), Some(&runc));
            if let Err(error) = context.destination.host.text(&cmd) {
                context.warn(format!(
                    "what CRIU worked with is still on {}: {error}",
                    context.destination.name()
                ));
            }
        }
        Ok(())
    }
}

/// Refuses, before the freeze, where the engine would give up its runtime before the memory has come at the rate
/// that was measured.
fn in_time(context: &Context, bytes: u64, took: Duration) -> Result<(), Failure> {
    let ahead = context.options.mode.has_rounds() || context.options.leaves_pages();
    let Some(most) = context.destination.engine.create_seconds() else {
        return Ok(());
    };
    if ahead {
        return Ok(());
    }
    // What went ahead goes again only where it changes.
    let memory = context.memory - context.ahead;
    let Some(seconds) = expected(memory, bytes, took).filter(|it| it + MARGIN > most) else {
        return Ok(());
    };
    let (on, kind) = (context.destination.name(), context.kind());
    Err(Failure::failed(
        on,
        format!(
            "{} MiB of memory would take about {seconds} s at the rate of the link, and {kind} on {on} gives up what does not start within {most} s",
            memory >> 20
        ),
    )
    .fix("--mode post-copy, where the memory follows once the container runs"))
}

/// How many seconds the memory takes at the rate of what was sent before; none where that was too little to
/// tell.
fn expected(memory: u64, bytes: u64, took: Duration) -> Option<u64> {
    let rate = bytes as f64 / took.as_secs_f64().max(0.001);
    (bytes >= TELLING).then(|| (memory as f64 / rate) as u64)
}

/// Makes the folder by which our runtime knows that the container is on its way.
fn make_pending(context: &Context) -> Result<(), Failure> {
    let options = pending::Options {
        images: PathBuf::from(leftover::images(&context.name)),
        wait_seconds: SILENCE,
        tcp_established: context.options.tcp_established,
        addresses: if context.options.tcp_established {
            tcp::addresses(&context.container)
        } else {
            Vec::new()
        },
        lazy_pages: context.options.leaves_pages(),
        descriptors: state::descriptors(context),
    };
    let script = r#"umask 077; mkdir -p "$1" && mkdir "$2" "$2/work" && mkfifo "$2/gate" && cat > "$2/options.json" || exit
[ -z "$3" ] || { mkdir "$2/$4" && ln -s "$5" "$2/$4/$6" && ln -s "$3" "$2/$4/$7"; }"#;
    let netavark = context.destination.engine.netavark();
    let netavark = netavark.filter(|_| context.options.tcp_established);
    let cmd = Cmd::changes("sh")
        .args(["-c", script, "sh", pending::HOME, &pending_folder(context)])
        .arg(netavark.unwrap_or_default())
        .args([pending::HELPERS, runtime::PATH])
        .args([pending::NETAVARK, pending::REAL])
        .stdin(&serde_json::to_vec(&options).expect("options are plain"));
    context.destination.host.text(&cmd)?;
    Ok(())
}

/// Shows in a dry run what the agents would run.
fn plan(context: &Context, send: &SendJob) -> Result<(), Failure> {
    let (source, destination) = (&context.source.host, &context.destination.host);
    destination.text(&Cmd::changes(&context.tool).args(["agent", "receive"]))?;
    source.text(&Cmd::changes(&context.tool).args(["agent", "send"]))?;
    let show = |line: &[String]| {
        source
            .text(&Cmd::changes(&line[0]).args(line[1..].iter().cloned()))
            .map(drop)
    };
    if let Some(rounds) = &send.rounds {
        show(&rounds.command(&send.images, 1))?;
    }
    destination.text(&context.kind().start(&context.new_id()))?;
    show(&send.freeze)?;
    show(&send.dump)?;
    Ok(())
}

/// The volumes of a container that are moved with it, in order of where it sees them.
fn volumes(container: &Container) -> Vec<engine::Mount> {
    let mut list: Vec<_> = container
        .mounts()
        .into_iter()
        .filter(|mount| mount.kind == "volume")
        .collect();
    list.sort_by(|a, b| a.destination.cmp(&b.destination));
    list
}

fn send_job(context: &Context, binds: &[String]) -> Result<SendJob, Failure> {
    let (container, on) = (&context.container, context.source.name());
    let upper = container
        .upper_dir()
        .ok_or_else(|| Failure::failed(on, "no upper layer"))?;
    let pid = container
        .pid()
        .ok_or_else(|| Failure::failed(on, format!("{} does not run any more", context.name)))?;
    let root = context.source.engine.runc_root(container.runtime());
    let folder = leftover::folder(&context.name);
    let runc = Cmd::changes("runc").args(["--root", &root, "checkpoint"]);
    let pre_dump = runc
        .clone()
        .args(["--pre-dump", "--work-path", &folder, container.id()]);
    let mut dump = runc.args([
        "--leave-running",
        "--image-path",
        &leftover::images(&context.name),
        "--work-path",
        &folder,
        // Else CRIU refuses a container that has a file locked.
        "--file-locks",
    ]);
    if context.source.engine.runtime_makes_network(container) {
        dump = dump.args(["--empty-ns", "network"]);
    }
    let lazy = context.options.leaves_pages();
    if lazy {
        // The agent gives it a descriptor 8 to tell on when the pages can be had.
        dump = dump.args(["--lazy-pages", "--status-fd", "8"]);
    }
    if context.options.tcp_established {
        dump = dump.arg("--tcp-established");
    }
    let dump = dump.arg(container.id());
    let lock = network::lock(pid);
    let own_network = container.has_own_network_namespace();
    let mut trees = vec![PathBuf::from(upper)];
    trees.extend(
        volumes(container)
            .iter()
            .map(|volume| PathBuf::from(&volume.source)),
    );
    trees.extend(binds.iter().map(PathBuf::from));
    Ok(SendJob {
        lock_network: own_network.then(|| {
            (
                words(&lock),
                String::from_utf8_lossy(&lock.stdin).into_owned(),
            )
        }),
        first: pid,
        freeze: words(&context.kind().pause(&context.name)),
        state: PathBuf::from(state::path(context)),
        dump: words(&dump),
        config: PathBuf::from(format!("{folder}/criu.conf")),
        images: PathBuf::from(leftover::images(&context.name)),
        trees,
        log: context.source.engine.log_file(container).map(PathBuf::from),
        link: None,
        serve: lazy.then(|| Serve {
            hold: words(&Cmd::changes("runc").args(["--root", &root, "pause", container.id()])),
            link_seconds: context.options.link_timeout.as_secs(),
            memory: context.memory,
        }),
        rounds: context.options.mode.has_rounds().then(|| Rounds {
            pre_dump: words(&pre_dump),
        }),
        ahead: context.ahead,
        frozen_seconds: frozen_seconds(context),
    })
}

fn receive_job(context: &Context, token: Token, binds: &[String]) -> Result<ReceiveJob, Failure> {
    let id = context.new_id();
    let on = context.destination.name();
    let side = &context.destination;
    let container = ask::container(&*side.host, side.engine.kind(), &id)?
        .ok_or_else(|| Failure::failed(on, format!("the container made on {on} is gone")))?;
    let (Some(upper), Some(merged)) = (container.upper_dir(), container.merged_dir()) else {
        return Err(Failure::failed(
            on,
            format!("the engine on {on} does not tell where a container's files are"),
        ));
    };
    let mut trees = vec![Place {
        before: upper.into(),
        after: merged.into(),
        overlay: true,
    }];
    let here = volumes(&container);
    for volume in volumes(&context.container) {
        let place = here
            .iter()
            .find(|other| other.destination == volume.destination)
            .ok_or_else(|| {
                Failure::failed(
                    on,
                    format!(
                        "the container made on {on} has no volume at {}",
                        volume.destination
                    ),
                )
            })?;
        trees.push(Place {
            before: PathBuf::from(&place.source),
            after: PathBuf::from(&place.source),
            overlay: false,
        });
    }
    trees.extend(binds.iter().map(|folder| Place {
        before: folder.into(),
        after: folder.into(),
        overlay: false,
    }));
    Ok(ReceiveJob {
        images: PathBuf::from(leftover::images(&context.name)),
        pending: PathBuf::from(pending_folder(context)),
        trees,
        log: side.engine.log_file(&container).map(PathBuf::from),
        print_late: side.engine.owns_log_file(),
        start: words(&start(context, side, &id)),
        token,
        lazy_seconds: context
            .options
            .leaves_pages()
            .then_some(context.options.link_timeout.as_secs()),
        rounds: context.options.mode.has_rounds(),
        ahead: context.ahead > 0,
        frozen_seconds: frozen_seconds(context),
    })
}

/// For how long the hosts may be out of each other's reach while the container stands frozen. It goes on at the source
/// then, and nothing is lost: that is not waited for as long as for pages.
fn frozen_seconds(context: &Context) -> u64 {
    let limit = context.options.link_timeout;
    limit.min(crate::FROZEN_TIMEOUT).as_secs()
}

/// The engine's start of the container. Whoever asks whether all that a migration started has ended must not
/// wait for what stays under the container: it does not get the work folder's lock, which is descriptor 9.
fn start(context: &Context, side: &Side, id: &Name) -> Cmd {
    let start = side.engine.kind().start(id);
    if !side.engine.start_leaves_a_process() {
        return start;
    }
    // A folder in which Podman looks for its helpers first; that there is none is right too.
    let script = r#"export CONTAINERS_HELPER_BINARY_DIR="$1"; shift; "$@" 9<&-; exit $?"#;
    let helpers = format!("{}/{}", pending_folder(context), pending::HELPERS);
    Cmd::changes("sh")
        .args(["-c", script, "sh", &helpers])
        .args(words(&start))
}

/// Waits until the engine has started the container as far as our runtime, which waits for the images.
pub(super) struct Start {
    flow: Shared,
}

impl Start {
    pub fn new(flow: &Shared) -> Self {
        Start { flow: flow.clone() }
    }
}

impl Phase for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "the engine on {} starts {} and waits for its images",
            context.destination.name(),
            context.new_name
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        if context.options.dry_run {
            return Ok(());
        }
        self.flow
            .lock()
            .hear(context, "start", PATIENCE, |event| *event == Event::Waiting)
            .map(drop)
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        // Without its agent the gate is closed, and the engine's start fails: the next undo removes it.
        self.flow.lock().end();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_memory_will_take_is_told_from_what_was_sent() {
        let minute = Duration::from_secs(60);
        assert_eq!(expected(1 << 30, 64 << 20, minute), Some(16 * 60));
        assert_eq!(expected(1 << 30, 1000, minute), None);
    }
}
