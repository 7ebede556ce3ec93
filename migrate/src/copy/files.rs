//! Phases `files` and `start`: what can be done while the container still runs.

use super::flow::{Agent, Shared, sent};
use super::network;
use crate::context::Context;
use crate::pipeline::{Doubt, Phase};
use crate::tarball::engine_phases::{layout, new_id};
use crate::{Failure, ask, leftover};
use agent::{Event, Place, ReceiveJob, SendJob, Token};
use engine::{Container, commands};
use host::Cmd;
use runtime::pending;
use std::io::Read as _;
use std::path::PathBuf;

/// How long the engine's start may take in all, with the wait of our runtime for the images; per byte of
/// memory on top of this: a link of 10 MB/s.
const START_SECONDS: u64 = 120;
const SLOWEST: u64 = 10_000_000;

/// The folder of the pending container on the destination.
pub(super) fn pending_folder(context: &Context) -> String {
    format!("{}/{}", pending::HOME, new_id(context))
}

fn words(cmd: &Cmd) -> Vec<String> {
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
        format!("what {} wrote so far: files, volumes, log", context.name)
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let seconds = START_SECONDS + context.memory / SLOWEST;
        make_pending(context, seconds)?;
        context.layout = layout(&context.source, &context.name)?;
        let mut flow = self.flow.lock();
        let mut send = send_job(context)?;
        if context.options.dry_run {
            return plan(context, &flow.tool, &send);
        }
        let receive = receive_job(context, seconds, token()?)?;
        let mut destination =
            Agent::start(&*context.destination.host, &flow.tool, "receive", &receive)?;
        let said = destination.event();
        flow.destination = Some(destination);
        if let Some(Event::Listening { link: Some(link) }) = said? {
            send.link = Some((link, receive.token));
        }
        flow.source = Some(Agent::start(
            &*context.source.host,
            &flow.tool,
            "send",
            &send,
        )?);
        flow.meet(context)?;
        flow.carry(context, "files", sent)?;
        flow.hear(context, |event| *event == Event::Pass)?;
        context.measured.phase_bytes = Some(flow.carried());
        Ok(())
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        self.flow.lock().end();
        if context.measured.new_id.is_some() && !context.options.dry_run {
            let folder = pending_folder(context);
            let _ = context
                .destination
                .host
                .text(&Cmd::changes("rm").args(["-rf", &folder]));
        }
        Ok(())
    }
}

/// What only the two agents know.
fn token() -> Result<Token, Failure> {
    let failed = |error: std::io::Error| Failure::failed("local", format!("/dev/urandom: {error}"));
    let mut token = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut token))
        .map_err(failed)?;
    Ok(Token(token))
}

/// Makes the folder by which our runtime knows that the container is on its way.
fn make_pending(context: &Context, seconds: u64) -> Result<(), Failure> {
    let options = pending::Options {
        images: PathBuf::from(leftover::images(&context.name)),
        wait_seconds: seconds,
        tcp_established: false,
    };
    let script = r#"umask 077; mkdir -p "$1" && mkdir "$2" "$2/work" && mkfifo "$2/gate" && cat > "$2/options.json""#;
    let cmd = Cmd::changes("sh")
        .args(["-c", script, "sh", pending::HOME, &pending_folder(context)])
        .stdin(&serde_json::to_vec(&options).expect("options are plain"));
    context.destination.host.text(&cmd)?;
    Ok(())
}

/// Shows in a dry run what the agents would run.
fn plan(context: &Context, tool: &str, send: &SendJob) -> Result<(), Failure> {
    let (source, destination) = (&context.source.host, &context.destination.host);
    destination.text(&Cmd::changes(tool).args(["agent", "receive"]))?;
    source.text(&Cmd::changes(tool).args(["agent", "send"]))?;
    destination.text(&commands::start(&new_id(context)))?;
    for line in [&send.freeze, &send.dump] {
        source.text(&Cmd::changes(&line[0]).args(line[1..].iter().cloned()))?;
    }
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

fn send_job(context: &Context) -> Result<SendJob, Failure> {
    let (container, on) = (&context.container, context.source.name());
    let upper = container
        .upper_dir()
        .ok_or_else(|| Failure::failed(on, "no upper layer"))?;
    let pid = container
        .pid()
        .ok_or_else(|| Failure::failed(on, format!("{} does not run any more", context.name)))?;
    let root = context.source.docker.runc_root(container.runtime());
    let folder = leftover::folder(&context.name);
    let dump = Cmd::changes("flock").args([
        // Held as long as runc or CRIU run, whoever else was killed: nothing is thawed under their hands.
        &format!("{folder}/dumping"),
        "runc",
        "--root",
        &root,
        "checkpoint",
        "--leave-running",
        "--image-path",
        &leftover::images(&context.name),
        "--work-path",
        &folder,
        "--empty-ns",
        "network",
        container.id(),
    ]);
    let lock = network::lock(pid);
    let own_network = container.has_own_network_namespace();
    let mut trees = vec![PathBuf::from(upper)];
    trees.extend(
        volumes(container)
            .iter()
            .map(|volume| PathBuf::from(&volume.source)),
    );
    Ok(SendJob {
        lock_network: own_network.then(|| {
            (
                words(&lock),
                String::from_utf8_lossy(&lock.stdin).into_owned(),
            )
        }),
        freeze: words(&commands::pause(&context.name)),
        dump: words(&dump),
        images: PathBuf::from(leftover::images(&context.name)),
        trees,
        log: has_log(context).then(|| PathBuf::from(container.log_path())),
        link: None,
    })
}

/// Whether the log can be moved: the engines keep it in a file on both sides.
pub(super) fn has_log(context: &Context) -> bool {
    context.container.log_driver() == "json-file" && !context.container.log_path().is_empty()
}

fn receive_job(context: &Context, start_seconds: u64, token: Token) -> Result<ReceiveJob, Failure> {
    let id = new_id(context);
    let on = context.destination.name();
    let container = ask::container(&*context.destination.host, &id)?
        .ok_or_else(|| Failure::failed(on, format!("the container made on {on} is gone")))?;
    let (Some(upper), Some(merged)) = (container.upper_dir(), container.merged_dir()) else {
        return Err(Failure::failed(
            on,
            format!("Docker on {on} does not tell where a container's files are"),
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
    Ok(ReceiveJob {
        images: PathBuf::from(leftover::images(&context.name)),
        pending: PathBuf::from(pending_folder(context)),
        trees,
        log: has_log(context)
            .then(|| PathBuf::from(context.destination.docker.json_log(id.as_str()))),
        start: words(&commands::start(&id)),
        token,
        start_seconds,
    })
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
            .hear(context, |event| *event == Event::Waiting)
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        // Without its agent the gate is closed, and the engine's start fails: the next undo removes it.
        self.flow.lock().end();
        Ok(())
    }
}
