//! Phases `checkpoint` and `restore`: what the engines do.

use super::back;
use crate::context::Context;
use crate::layout;
use crate::leftover::{self, CHECKPOINT};
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, ask, criu_log};
use std::time::{Duration, Instant};

/// How long an engine may need, after its command returned, to notice that a container stopped.
const SETTLE: Duration = Duration::from_secs(30);

/// `docker checkpoint create` on the source: from here the container stands still.
pub(crate) struct Checkpoint;

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
        context.layout = layout::of(&context.source, &name)?;
        let host = &context.source.host;
        let cmd = context.kind().checkpoint_create(
            &name,
            &leftover::images(&name),
            &leftover::checkpoint(),
        );
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
            let state = ask::state(&**host, context.kind(), &name)?;
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
        if context.options.dry_run {
            return Ok(());
        }
        back::bring_back(context)
    }
}

/// `docker start --checkpoint` on the destination.
pub(crate) struct Restore;

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
        let id = context.new_id();
        let images = leftover::images(&context.name);
        let path =
            context
                .source
                .docker()
                .checkpoint_path(&images, context.container.id(), CHECKPOINT);
        let (host, docker) = (&context.destination.host, context.destination.docker());
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
        if context.options.dry_run {
            return Ok(());
        }
        back::stop_on_destination(context)
    }
}
