//! Phase `pages` of post-copy: the container runs on the destination, its memory follows.

use super::flow::Shared;
use super::thaw;
use crate::ask::{self, State};
use crate::context::{Context, Side};
use crate::event::Event as Told;
use crate::layout::Layout;
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, leftover};
use agent::Event;
use engine::Kind;
use host::{Cmd, Output};
use std::time::{Duration, Instant};

/// How long an engine may take to notice that a container has ended.
const NOTICED: Duration = Duration::from_secs(10);
/// For how long is waited at once for agents that go on alone, and before a host is tried again.
const MOMENT: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(500);
/// How long the source may take to learn that all has come.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Waits until the last page has come. There is no way back any more without losing what the container
/// did since: it is not interrupted, and what fails is for a person to decide.
pub(super) struct Pages {
    flow: Shared,
    /// Since when it is under way.
    begun: Option<Instant>,
    /// How it ended on the destination, if it is known that it did.
    ended: Option<Ended>,
    left: Option<u64>,
}

impl Pages {
    pub fn new(flow: &Shared) -> Self {
        Pages {
            flow: flow.clone(),
            begun: None,
            ended: None,
            left: None,
        }
    }

    /// It may have ended while its memory came. One that was through is; of any other end a person must know.
    fn runs(&mut self, context: &mut Context) -> Result<(), Failure> {
        let side = &context.destination;
        match known(context) {
            Ok(state) if !state.running && state.exit_code != 0 => {
                self.ended = Some(Ended::With(state.exit_code));
                Err(Failure::failed(
                    side.name(),
                    format!(
                        "{} ended on {} with exit code {} while its memory came",
                        context.new_name,
                        side.name(),
                        state.exit_code
                    ),
                ))
            }
            // An engine that does not answer has ended nothing.
            Err(failure) => {
                let on = side.name();
                let docker = match context.kind() {
                    Kind::Docker => {
                        "; without live-restore it ends its containers when it is started anew"
                    }
                    Kind::Podman => "",
                };
                context.warn(format!(
                    "the engine on {on} does not answer ({failure}){docker}"
                ));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What the agents tell until one knows how it ended.
    fn hear(&mut self, context: &mut Context) -> Result<(), Failure> {
        let flow = self.flow.clone();
        let mut flow = flow.lock();
        let mut cut_now = false;
        while let Some(event) = flow.destination_event() {
            match event {
                Event::Pages { left, total, cut } => {
                    self.left = Some(left);
                    if cut != cut_now {
                        cut_now = cut;
                        context.tell(Told::Link { up: !cut });
                    }
                    context.tell(Told::Pages { left, total });
                }
                Event::Complete { .. } => {
                    flow.source_completes(LAST_WORDS);
                    return Ok(());
                }
                Event::Lost { why, ended } => {
                    self.ended = ended.then_some(Ended::ByAgent);
                    return Err(Failure::failed(context.destination.name(), why));
                }
                _ => {}
            }
        }
        // The one on the destination cannot be heard any more: the other knows too.
        let (source, destination) = (context.source.name(), context.destination.name());
        match flow.source_event() {
            Some(Event::Complete { wire }) => {
                flow.add_wire(wire);
                Ok(())
            }
            Some(Event::Lost { why, .. }) => Err(Failure::failed(source, why)),
            _ => {
                let why =
                    format!("neither the agent on {source} nor that on {destination} answers");
                self.alone(context, why)
            }
        }
    }

    /// The connections to both agents are lost, which need none: how they ended is asked once they have.
    fn alone(&mut self, context: &mut Context, why: String) -> Result<(), Failure> {
        let (source, destination) = (&context.source, &context.destination);
        self.ended = Some(Ended::Unasked);
        for side in [source, destination] {
            while again(context, side, &held(context, MOMENT))?.status != 0 {}
        }
        let has_all = again(context, destination, &complete(context))?.status == 0;
        if has_all {
            context.warn(format!(
                "the connections to {} and {} were lost: the two brought the memory alone",
                context.source.name(),
                context.destination.name()
            ));
            return Ok(());
        }
        let ended = known(context).is_ok_and(|state| !state.running);
        self.ended = ended.then_some(Ended::ByAgent);
        Err(Failure::failed(destination.name(), why))
    }
}

/// Runs a command on a host that may be out of reach for as long as the hosts may be out of each other's.
fn again(context: &Context, side: &Side, cmd: &Cmd) -> Result<Output, Failure> {
    let since = Instant::now();
    loop {
        match side.host.run(cmd) {
            Err(_) if since.elapsed() < context.options.link_timeout => std::thread::sleep(AGAIN),
            other => return Ok(other?),
        }
    }
}

/// Waits until all that the migration started on a host has ended, for so long; its status says whether it has.
fn held(context: &Context, at_most: Duration) -> Cmd {
    let (held, wait) = (leftover::held(&context.name), at_most.as_secs().to_string());
    let script = r#"[ ! -e "$2" ] || flock -w "$1" "$2" true"#;
    let cmd = Cmd::changes("sh").args(["-c", script, "sh", &wait, &held]);
    cmd.timeout(at_most + Duration::from_secs(10))
}

/// Whether the last page has come to the destination, as its status.
fn complete(context: &Context) -> Cmd {
    let complete = format!("{}/{}", leftover::folder(&context.name), agent::COMPLETE);
    Cmd::reads("test").args(["-e", &complete])
}

/// How the container stands on the destination: engines say for a moment that one runs whose process has ended.
fn known(context: &Context) -> Result<State, Failure> {
    let host = &*context.destination.host;
    let until = Instant::now() + NOTICED;
    loop {
        let state = ask::state(host, context.kind(), &context.new_id())?;
        let gone = match state.pid.filter(|_| state.running) {
            Some(pid) => Layout::read(host, pid)?.is_none(),
            None => false,
        };
        if !gone {
            return Ok(state);
        }
        if Instant::now() >= until {
            // How it ended nobody knows; not well, as far as we can say.
            return Ok(State {
                running: false,
                exit_code: -1,
                ..state
            });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How a container ended on the destination before its move was complete.
#[derive(Clone, Copy)]
enum Ended {
    /// The agent there ended it, whose pages could not come any more.
    ByAgent,
    /// Whether it did is not known: neither host could be asked.
    Unasked,
    /// By itself, or somebody else ended it, with this exit code.
    With(i64),
}

impl Phase for Pages {
    fn name(&self) -> &'static str {
        "pages"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "{} runs on {}; its memory follows",
            context.new_name,
            context.destination.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        if context.options.dry_run {
            return Ok(());
        }
        self.begun = Some(Instant::now());
        self.hear(context)?;
        // What follows must find connections that are not lost; and is warned of where there are none.
        for side in [&context.source, &context.destination] {
            let _ = again(context, side, &Cmd::reads("true"));
        }
        self.runs(context)?;
        if context.is_interrupted() {
            context.warn(
                "interrupted after the container had gone on: that could not be taken back, so its move was completed",
            );
        }
        let flow = self.flow.lock();
        context.measured.phase_bytes = flow.pages_bytes();
        context.measured.wire = flow.wire();
        Ok(())
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        if self.begun.is_none() {
            return Ok(());
        }
        self.flow.lock().end();
        Err(doubt(context, self.ended, self.left))
    }

    fn can_be_interrupted(&self) -> bool {
        false
    }
}

/// What a person must know and type where the container had gone on and lost part of its memory.
fn doubt(context: &Context, ended: Option<Ended>, left: Option<u64>) -> Doubt {
    let (name, source, destination) = (
        context.name.as_str(),
        context.source.name(),
        context.destination.name(),
    );
    let ran = context
        .measured
        .first_sign_on_destination
        .map_or(0.0, |first| first.elapsed().as_secs_f64());
    let left = left.map_or_else(
        || "part of its memory".to_owned(),
        |left| format!("{left} pages of its memory"),
    );
    let there = match ended {
        Some(Ended::Unasked) => format!(
            "whether the rest of its memory came there is not known, for {source} and {destination} cannot both be asked: else it is ended there"
        ),
        Some(Ended::With(code)) => format!("it ended there with exit code {code}"),
        Some(Ended::ByAgent) => format!(
            "{left} could not be fetched: it was ended there after {ran:.1} s, before anything could go wrong with what it had"
        ),
        None => format!(
            "{left} could not be fetched: whether it was ended there is not known; without those pages it cannot go on, and {destination} ends it once it has not reached {source} for {} s",
            context.options.link_timeout.as_secs()
        ),
    };
    let gone = format!(
        "{}; {}",
        context.kind().remove_force(&context.new_id()).line(),
        leftover::remove(&context.name, &context.id).line(),
    );
    if thaw::ends(context, Duration::ZERO) {
        return Doubt {
            what: format!(
                "{name} had gone on on {destination}, and {there}. On {source} it ended while it stood frozen: its shim was killed, say, or CRIU while it was at work in it. Lost is all that it kept in memory; not lost are its files and its log: on {source} as they were when it was frozen, and what it wrote since in its stopped container on {destination}"
            ),
            fix: vec![
                format!(
                    "to start it anew with its files as they are on {source}, on {destination}, so that it certainly does not run there: {gone}"
                ),
                format!(
                    "then on {source}: {}; {}",
                    thaw::start_anew(context),
                    leftover::remove(&context.name, &context.id).line()
                ),
            ],
        };
    }
    Doubt {
        what: format!(
            "{name} had gone on on {destination}, and {there}. On {source} it stands frozen, whole, as it was when it was frozen. Lost is what it kept in memory on {destination} since then; not lost are the files and the log that it wrote there, which its stopped container on {destination} has. Whether it may go on on {source}, where it knows nothing of what it told others since, is for you to decide"
        ),
        fix: vec![
            format!(
                "to let it go on as it was when it was frozen, on {destination}, so that it certainly does not run there: {gone}"
            ),
            format!(
                "then on {source}: {}; {}",
                thaw::line(&context.container, &context.name),
                leftover::remove(&context.name, &context.id).line()
            ),
        ],
    }
}

/// For `migrate undo`: whether a migration whose transship was killed after the container had been let go
/// on there got to its end without it. Its agents bring the pages alone.
///
/// # Errors
/// The container went on there and did not get all of its memory.
pub(crate) fn went_through(context: &Context) -> Result<bool, Doubt> {
    for side in [&context.source, &context.destination] {
        let cmd = held(context, leftover::ENDS);
        side.host.text(&cmd).map_err(|error| Doubt {
            what: format!(
                "{} may run on {} and still fetch its memory: {error}",
                context.name,
                context.destination.name()
            ),
            fix: Vec::new(),
        })?;
    }
    let host = &context.destination.host;
    let has_all = host
        .run(&complete(context))
        .is_ok_and(|output| output.status == 0);
    match known(context) {
        Ok(state) if has_all && state.running => Ok(true),
        // It never ran there: it can go on here.
        Ok(state) if !state.started => Ok(false),
        _ => Err(doubt(context, None, None)),
    }
}
