//! Phases `freeze`, `move` and `restore`: from here to there.

use super::files::pending_folder;
use super::flow::{PATIENCE, Shared, sent};
use super::thaw;
use crate::context::Context;
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, criu_log, leftover, proof};
use agent::{Event, FREEZE};
use std::time::{Duration, Instant};

/// Bytes a second of memory that CRIU restores at the least, from images in memory.
const SLOWEST_RESTORE: u64 = 20_000_000;

/// Locks the container's network and freezes it.
pub(super) struct Freeze {
    flow: Shared,
    /// We asked for it, and did not hear that it stands still.
    asked: bool,
}

impl Freeze {
    pub fn new(flow: &Shared) -> Self {
        Freeze {
            flow: flow.clone(),
            asked: false,
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
        context.measured.last_sign_on_source = Some(Instant::now());
        self.asked = true;
        flow.tell_source(FREEZE)?;
        let told = flow.carry(context, "freeze", |event| {
            matches!(event, Event::Frozen { .. })
        })?;
        self.asked = false;
        if let Event::Frozen { seconds } = told {
            context.measured.downtime.freeze = seconds;
        }
        Ok(())
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        if context.options.dry_run {
            return Ok(());
        }
        self.flow.lock().end();
        thaw::go_on(context, !self.asked)
    }
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
        let told = flow.carry(context, "move", sent).and_then(|told| {
            flow.hear(context, "move", PATIENCE, |event| {
                matches!(event, Event::Arrived { .. })
            })?;
            Ok(told)
        });
        if let Event::Sent { dump_seconds, .. } =
            told.map_err(|failure| explain(context, failure))?
        {
            context.measured.downtime.dump = dump_seconds;
        }
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
        let patience = PATIENCE + Duration::from_secs(context.memory / SLOWEST_RESTORE);
        let told = flow
            .hear(context, "restore", patience, |event| {
                matches!(event, Event::Started { .. })
            })
            .map_err(|failure| explain(context, failure))?;
        context.measured.first_sign_on_destination = Some(Instant::now());
        if let Event::Started { took } = told {
            let downtime = &mut context.measured.downtime;
            (downtime.restore, downtime.network, downtime.start) =
                (took.restore, took.network, took.start);
        }
        Ok(())
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        // What `move` undoes proves it.
        Ok(())
    }
}

/// Adds what CRIU's log says, where it was CRIU that failed.
pub(super) fn explain(context: &Context, failure: Failure) -> Failure {
    if failure.what.contains("criu failed") {
        let images = leftover::images(&context.name);
        criu_log::explain(&context.source, context.container.id(), &images, failure)
    } else if failure.what.contains("CRIU could not restore") {
        let id = context.new_id();
        criu_log::explain(
            &context.destination,
            id.as_str(),
            &pending_folder(context),
            failure,
        )
    } else {
        failure
    }
}

/// Ends the container on the destination, and proves it.
fn stop(context: &mut Context) -> Result<(), Doubt> {
    if context.options.dry_run {
        return Ok(());
    }
    proof::end_on_destination(context).map_err(|why| {
        let (name, source, destination) = (context.name.clone(), context.source.name(), context.destination.name());
        Doubt {
            what: format!("it is not known whether {name} runs on {destination} ({why}); on {source} it stands frozen"),
            fix: vec![
                format!(
                    "on {destination}, to be sure that it does not run there: {}",
                    context.kind().remove_moved(&context.new_id()).line()
                ),
                format!("then on {source}: {}", thaw::line(&context.container, &name)),
            ],
        }
    })
}
