//! Phases `checkpoint`, `create` and `restore`: what the engines do.

use super::proof;
use crate::context::{Context, Side};
use crate::layout::Layout;
use crate::leftover::{self, CHECKPOINT};
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, Mode, ask, criu_log, tool};
use engine::{Name, commands};
use std::time::{Duration, Instant};

/// How long an engine may need, after its command returned, to notice that a container stopped.
const SETTLE: Duration = Duration::from_secs(30);

/// `docker checkpoint create` on the source: from here the container stands still.
#[derive(Default)]
pub(crate) struct Checkpoint {
    begun: bool,
}

impl Phase for Checkpoint {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "freeze {} on {} and write its images",
            context.name,
            context.source.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let name = context.name.clone();
        context.layout = layout(&context.source, &name)?;
        let host = &context.source.host;
        let cmd =
            commands::checkpoint_create(&name, &leftover::images(&name), &leftover::checkpoint());
        self.begun = true;
        let last_sign = Instant::now();
        let output = host.run(&cmd)?;
        if output.status != 0 {
            let error = host::HostError::failed(host.name(), &cmd, &output);
            return Err(criu_log::explain(
                &context.source,
                context.container.id(),
                &leftover::images(&name),
                error.into(),
            ));
        }
        context.measured.last_sign_on_source = Some(last_sign);
        if context.options.dry_run {
            return Ok(());
        }
        // 17.11 to 18.06 leave it running in spite of what was asked for, and every engine may need a
        // moment to notice.
        let deadline = Instant::now() + SETTLE;
        loop {
            let state = ask::state(&**host, &name)?;
            if !state.running {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Failure::failed(
                    host.name(),
                    format!(
                        "{name} still runs on {} after its checkpoint was made",
                        host.name()
                    ),
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        if !self.begun || context.options.dry_run {
            return Ok(());
        }
        proof::bring_back(context)
    }
}

/// `docker create` on the destination, with the whole configuration.
#[derive(Default)]
pub(crate) struct Create {
    begun: bool,
    id: Option<Name>,
}

impl Phase for Create {
    fn name(&self) -> &'static str {
        "create"
    }

    fn title(&self, context: &Context) -> String {
        format!("docker create on {}", context.destination.name())
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let mut container = context.container.clone().with_restart_policy("no");
        if context.options.mode == Mode::Copy {
            container = container.with_runtime(tool::RUNTIME);
        }
        let recreated = engine::recreate(
            &container,
            &context.image,
            &context.new_name,
            &context.destination.docker,
        );
        for note in &recreated.notes {
            context.warn(note.clone());
        }
        self.begun = true;
        let host = &context.destination.host;
        let printed = host.text(&recreated.create.stand_in("the-new-id"))?;
        let id = printed.lines().last().unwrap_or_default();
        let id = Name::new(id).map_err(|_| {
            Failure::failed(
                host.name(),
                format!(
                    "docker create on {} printed `{printed}` instead of an id",
                    host.name()
                ),
            )
        })?;
        self.id = Some(id.clone());
        for connect in &recreated.connect {
            host.text(connect)?;
        }
        context.measured.new_id = Some(id);
        Ok(())
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        if !self.begun || context.options.dry_run {
            return Ok(());
        }
        // By its id where it is known: a container that somebody else gave the name is not ours.
        let Some(which) = self.id.clone() else {
            if let Ok(Some(_)) = ask::container(&*context.destination.host, &context.new_name) {
                let (name, on) = (
                    context.new_name.clone(),
                    context.destination.name().to_owned(),
                );
                context.warn(format!(
                    "a container {name} was perhaps made on {on}; if you did not make it, on {on}: docker rm {name}"
                ));
            }
            return Ok(());
        };
        let cmd = commands::remove_force(&which);
        let side = &context.destination;
        if let Err(error) = ask::gone(&*side.host, &cmd) {
            let text = format!(
                "the container made on {} could not be removed: {error}; run there: {}",
                side.name(),
                cmd.line()
            );
            context.warn(text);
        }
        Ok(())
    }
}

/// `docker start --checkpoint` on the destination.
#[derive(Default)]
pub(crate) struct Restore {
    begun: bool,
}

impl Phase for Restore {
    fn name(&self) -> &'static str {
        "restore"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "start {} on {} from the checkpoint",
            context.new_name,
            context.destination.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let id = new_id(context);
        let images = leftover::images(&context.name);
        let path =
            context
                .source
                .docker
                .checkpoint_path(&images, context.container.id(), CHECKPOINT);
        self.begun = true;
        let Side { host, docker } = &context.destination;
        for cmd in leftover::restore(docker, id.as_str(), &id, &path) {
            let output = host.run(&cmd)?;
            if output.status != 0 {
                let error = host::HostError::failed(host.name(), &cmd, &output);
                return Err(criu_log::explain(
                    &context.destination,
                    id.as_str(),
                    &images,
                    error.into(),
                ));
            }
        }
        context.measured.first_sign_on_destination = Some(Instant::now());
        Ok(())
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        if !self.begun || context.options.dry_run {
            return Ok(());
        }
        proof::stop_on_destination(context)
    }
}

/// The layout of the container on a side, where it runs.
pub(crate) fn layout(side: &Side, id: &Name) -> Result<Option<Layout>, Failure> {
    let state = ask::state(&*side.host, id)?;
    match state.pid {
        Some(pid) if state.running => Ok(Layout::read(&*side.host, pid)?),
        _ => Ok(None),
    }
}

/// Id of the container made on the destination; only phases after `create` ask.
pub(crate) fn new_id(context: &Context) -> Name {
    context.measured.new_id.clone().expect("`create` has run")
}
