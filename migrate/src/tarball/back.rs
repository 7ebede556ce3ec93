//! The way back: the destination ended, the container started on the source from its checkpoint.

use crate::context::Context;
use crate::layout::{self, WentOn};
use crate::leftover::{self, CHECKPOINT};
use crate::pipeline::Doubt;
use crate::proof::end_on_destination;
use crate::{Failure, ask};
use host::Cmd;

/// Ends what runs on the destination, and proves that nothing does any more.
pub(crate) fn stop_on_destination(context: &mut Context) -> Result<(), Doubt> {
    let Err(why) = end_on_destination(context) else {
        return Ok(());
    };
    let remove = context.kind().remove_force(&context.new_id());
    let source = context.source.name().to_owned();
    let destination = context.destination.name().to_owned();
    let name = context.name.clone();
    let mut back = leftover::restart_lines(context.source.docker(), &context.container, &name);
    back.push(leftover::remove(&name, &context.id).line());
    Err(Doubt {
        what: format!(
            "it is not known whether {name} runs on {destination} ({why}); on {source} it is stopped, its images are in {}",
            leftover::folder(&name)
        ),
        fix: vec![
            format!(
                "on {destination}, to be sure that it does not run there: {}",
                remove.line()
            ),
            format!("then on {source}: {}", back.join(" && ")),
        ],
    })
}

/// Lets the container go on at the source: it runs still, or is started from its checkpoint.
pub(crate) fn bring_back(context: &mut Context) -> Result<(), Doubt> {
    if context.source_done {
        return Ok(());
    }
    let name = context.name.clone();
    let source = context.source.name().to_owned();
    let doubt = |why: String| Doubt {
        what: format!(
            "{name} could not be brought back on {source}: {why}; its images are in {} there",
            leftover::folder(&name)
        ),
        fix: {
            let mut lines =
                leftover::restart_lines(context.source.docker(), &context.container, &name);
            lines.push(leftover::remove(&name, &context.id).line());
            vec![format!("on {source}: {}", lines.join(" && "))]
        },
    };
    let went_on = |context: &Context| -> Result<bool, Failure> {
        let now = layout::of(&context.source, &context.name)?;
        Ok(match (&context.layout, &now) {
            (Some(before), Some(now)) => before.compare(now) != WentOn::StartedAnew,
            (None, Some(_)) => true,
            (_, None) => false,
        })
    };
    let state = ask::state(&*context.source.host, context.kind(), &context.name)
        .map_err(|error| doubt(error.to_string()))?;
    if state.running {
        if state.paused {
            let resume = context.kind().unpause(&name);
            context
                .source
                .host
                .text(&resume)
                .map_err(|error| doubt(error.to_string()))?;
        }
        // It was never stopped, or an engine that leaves it running let it go on.
        context.measured.last_sign_on_source = None;
        return Ok(());
    }
    let id = context.container.id();
    let path = context
        .source
        .docker()
        .checkpoint_path(&leftover::images(&name), id, CHECKPOINT);
    for cmd in leftover::restore(context.source.docker(), id, &name, &path) {
        context
            .source
            .host
            .text(&cmd)
            .map_err(|error| doubt(error.to_string()))?;
    }
    if !context.source.docker().restores_from_folder() {
        let used = format!("{}/{CHECKPOINT}", context.source.docker().restore_dir(id));
        let _ = context
            .source
            .host
            .text(&Cmd::changes("rm").args(["-rf", &used]));
    }
    match went_on(context) {
        Ok(true) => Ok(()),
        Ok(false) => Err(doubt("it does not run, or was started anew".into())),
        Err(failure) => Err(doubt(failure.what)),
    }
}
