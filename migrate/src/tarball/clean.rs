//! Phase `clean`, after the commit point: what was made on the way goes, and the stopped source.

use crate::context::Context;
use crate::leftover::CHECKPOINT;
use crate::pipeline::{Doubt, Phase};
use crate::prepare::{Which, remove_folder};
use crate::{Failure, ask, logs};
use host::Cmd;

/// Removes images on both hosts, gives the container its restart policy, removes the stopped source.
pub(super) struct Clean;

impl Phase for Clean {
    fn name(&self) -> &'static str {
        "clean"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "remove what was made on the way on {} and {}",
            context.source.name(),
            context.destination.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let id = context.new_id();
        remove_folder(context, Which::Destination);
        if !context.destination.docker().restores_from_folder() {
            let used = format!(
                "{}/{CHECKPOINT}",
                context.destination.docker().restore_dir(id.as_str())
            );
            context
                .destination
                .host
                .text(&Cmd::changes("rm").args(["-rf", &used]))?;
        }
        let policy = context.container.restart_policy();
        if policy != "no" {
            context
                .destination
                .host
                .text(&context.kind().set_restart_policy(&id, &policy))?;
        }
        self.retire_source(context)?;
        remove_folder(context, Which::Source);
        Ok(())
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        Ok(())
    }
}

impl Clean {
    /// Removes the stopped container from the source, unless that would lose something.
    fn retire_source(&self, context: &mut Context) -> Result<(), Failure> {
        let (name, source) = (context.name.clone(), context.source.name().to_owned());
        let id = context.source_id();
        // By its id: after an interrupted cleaning another may have its name.
        if context.options.keep_source
            || ask::container(&*context.source.host, context.kind(), &id)?.is_none()
        {
            return Ok(());
        }
        if !context.left_behind.is_empty() {
            let what = context.left_behind.join(", ");
            context.warn(format!(
                "the stopped {name} stays on {source}: it has what mode tarball does not move ({what}); when you need it no more, on {source}: docker rm {name}"
            ));
            return Ok(());
        }
        let log = logs::keep(context, &id)?;
        let host = &context.source.host;
        host.text(&context.kind().remove(&id))?;
        context.log_kept = Some(log);
        Ok(())
    }
}
