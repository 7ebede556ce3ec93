//! Phases `freeze`, `move` and `restore`: from here to there.

use super::flow::{Shared, sent};
use super::network;
use crate::context::Context;
use crate::layout::WentOn;
use crate::pipeline::{Doubt, Phase};
use crate::tarball::engine_phases::{layout, new_id};
use crate::tarball::proof;
use crate::{Failure, ask, leftover};
use agent::{Event, FREEZE};
use engine::commands;
use host::Cmd;
use std::time::{Duration, Instant};

/// How long a dump that was begun may take to end before the container is thawed.
const DUMP_ENDS: Duration = Duration::from_secs(660);

/// Locks the container's network and freezes it.
pub(super) struct Freeze {
    flow: Shared,
    begun: bool,
}

impl Freeze {
    pub fn new(flow: &Shared) -> Self {
        Freeze {
            flow: flow.clone(),
            begun: false,
        }
    }
}

impl Phase for Freeze {
    fn name(&self) -> &'static str {
        "freeze"
    }

    fn title(&self, context: &Context) -> String {
        format!("freeze {} on {}", context.name, context.source.name())
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        if context.options.dry_run {
            return Ok(());
        }
        let mut flow = self.flow.lock();
        self.begun = true;
        context.measured.last_sign_on_source = Some(Instant::now());
        let said = flow.source.as_mut().map(|agent| agent.say(FREEZE));
        if let Some(Err(failure)) = said {
            return Err(flow.broken(failure));
        }
        flow.carry(context, "freeze", |event| *event == Event::Frozen)
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        if !self.begun {
            return Ok(());
        }
        self.flow.lock().end();
        thaw(context)
    }
}

/// The commands that let the frozen source go on, in order.
pub(super) fn thaw_cmds(context: &Context) -> Vec<Cmd> {
    let dumping = format!("{}/dumping", leftover::folder(&context.name));
    let wait = DUMP_ENDS.as_secs().to_string();
    let mut cmds = vec![
        Cmd::changes("flock")
            .args(["-w", &wait, &dumping, "true"])
            .timeout(DUMP_ENDS + Duration::from_secs(10)),
    ];
    if let Some(pid) = context.container.pid()
        && context.container.has_own_network_namespace()
    {
        cmds.push(network::unlock(pid));
    }
    cmds.push(commands::unpause(&context.name));
    cmds
}

/// Lets the source go on, and proves that it did.
fn thaw(context: &mut Context) -> Result<(), Doubt> {
    let cmds = thaw_cmds(context);
    let (name, source) = (context.name.clone(), context.source.name().to_owned());
    let lines: Vec<String> = cmds.iter().map(Cmd::line).collect();
    let doubt = |why: String| Doubt {
        what: format!(
            "{name} stands frozen on {source} and could not be thawed: {why}; it runs nowhere else"
        ),
        fix: vec![format!("on {source}: {}", lines.join("; "))],
    };
    for cmd in &cmds {
        let output = context
            .source
            .host
            .run(cmd)
            .map_err(|error| doubt(error.to_string()))?;
        let harmless = output.stderr_text().contains("is not paused");
        if output.status != 0 && !harmless {
            return Err(doubt(output.stderr_text().trim().to_owned()));
        }
    }
    let state = ask::state(&*context.source.host, &name).map_err(|error| doubt(error.what))?;
    if !state.running || state.paused {
        return Err(doubt("the engine does not see it running".into()));
    }
    let now = layout(&context.source, &name).map_err(|error| doubt(error.what))?;
    if let (Some(before), Some(now)) = (&context.layout, &now)
        && before.compare(now) == WentOn::StartedAnew
    {
        return Err(doubt("it was started anew meanwhile".into()));
    }
    context.measured.stood_still = true;
    Ok(())
}

/// Dumps, and streams images and what changed into the destination's memory.
pub(super) struct Move {
    flow: Shared,
}

impl Move {
    pub fn new(flow: &Shared) -> Self {
        Move { flow: flow.clone() }
    }
}

impl Phase for Move {
    fn name(&self) -> &'static str {
        "move"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "memory and what changed, {} to {}",
            context.source.name(),
            context.destination.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        if context.options.dry_run {
            return Ok(());
        }
        let mut flow = self.flow.lock();
        let before = flow.carried();
        flow.carry(context, "move", sent)?;
        flow.hear(context, |event| matches!(event, Event::Arrived { .. }))?;
        context.measured.phase_bytes = Some(flow.carried() - before);
        context.measured.wire = flow.wire();
        Ok(())
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        // The runtime may have been told to go although we did not hear of it.
        self.flow.lock().end();
        stop(context)
    }
}

/// The destination's engine says that the container runs.
pub(super) struct Restore {
    flow: Shared,
}

impl Restore {
    pub fn new(flow: &Shared) -> Self {
        Restore { flow: flow.clone() }
    }
}

impl Phase for Restore {
    fn name(&self) -> &'static str {
        "restore"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "{} goes on on {}",
            context.new_name,
            context.destination.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        if context.options.dry_run {
            return Ok(());
        }
        let mut flow = self.flow.lock();
        flow.hear(context, |event| *event == Event::Started)?;
        context.measured.first_sign_on_destination = Some(Instant::now());
        Ok(())
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        // What `move` undoes proves it.
        Ok(())
    }
}

/// Ends the container on the destination, and proves it.
fn stop(context: &mut Context) -> Result<(), Doubt> {
    if context.options.dry_run {
        return Ok(());
    }
    proof::end_on_destination(context).map_err(|why| {
        let (name, source, destination) = (context.name.clone(), context.source.name(), context.destination.name());
        let thaw: Vec<String> = thaw_cmds(context).iter().map(Cmd::line).collect();
        Doubt {
            what: format!("it is not known whether {name} runs on {destination} ({why}); on {source} it stands frozen"),
            fix: vec![
                format!(
                    "on {destination}, to be sure that it does not run there: {}",
                    commands::remove_force(&new_id(context)).line()
                ),
                format!("then on {source}: {}", thaw.join("; ")),
            ],
        }
    })
}
