//! Phase `create`: the container on the destination, with its whole configuration.

use crate::context::Context;
use crate::copy::{marks, subject};
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, ask, leftover, tool};
use engine::Name;
use host::Cmd;

/// The engine's `create` on the destination, with the whole configuration.
pub(crate) struct Create;

/// The file that the engine writes the new container's id into, whatever happens to us.
fn id_file(context: &Context) -> String {
    format!("{}/new-id", leftover::folder(&context.name))
}

impl Phase for Create {
    fn name(&self) -> &'static str {
        "create"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "{} create on {}",
            context.kind().program(),
            context.destination.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let mut container = context.container.clone().with_restart_policy("no");
        if context.options.mode.streams() {
            container = container.with_runtime(tool::runtime(&context.destination.engine));
            make_volumes(context)?;
        }
        let recreated = engine::recreate(
            &container,
            &context.image,
            &context.new_name,
            &context.destination.engine,
        );
        for note in &recreated.notes {
            context.warn(note.clone());
        }
        // Where it is not there, `create` fails and says so.
        if context.options.dry_run {
            for need in &recreated.needs {
                context.warn(need.clone());
            }
        }
        let mut create = recreated.create;
        let verb = create.args.iter().position(|word| word == "create");
        create.args.insert(
            verb.map_or(0, |at| at + 1),
            format!("--cidfile={}", id_file(context)),
        );
        let host = &context.destination.host;
        let printed = host.text(&create.stand_in("the-new-id"))?;
        let id = printed.lines().last().unwrap_or_default();
        let id = Name::new(id).map_err(|_| {
            Failure::failed(
                host.name(),
                format!(
                    "{} create on {} printed `{printed}` instead of an id",
                    context.kind().program(),
                    host.name()
                ),
            )
        })?;
        context.measured.new_id = Some(id);
        context.note(None, false)?;
        let host = &context.destination.host;
        for connect in &recreated.connect {
            host.text(connect)?;
        }
        Ok(())
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        if context.options.dry_run {
            return Ok(());
        }
        // By its id: a container that somebody else gave the name is not ours.
        let Some(which) = context.measured.new_id.clone().or_else(|| written(context)) else {
            if let Ok(Some(_)) = ask::container(
                &*context.destination.host,
                context.kind(),
                &context.new_name,
            ) {
                let (name, on) = (
                    context.new_name.clone(),
                    context.destination.name().to_owned(),
                );
                context.warn(format!(
                    "a container {name} was perhaps made on {on}; if you did not make it, on {on}: {} rm {name}",
                    context.kind().program()
                ));
                return Ok(());
            }
            remove_volumes(context);
            return Ok(());
        };
        let cmd = context.kind().remove_moved(&which);
        let side = &context.destination;
        if let Err(error) = ask::gone(&*side.host, &cmd) {
            let text = format!(
                "the container made on {} could not be removed: {error}; run there: {}",
                side.name(),
                cmd.line()
            );
            context.leave(text);
            return Ok(());
        }
        remove_volumes(context);
        Ok(())
    }
}

/// The id that the engine wrote down.
fn written(context: &Context) -> Option<Name> {
    let cmd = Cmd::reads("cat").arg(id_file(context));
    let id = context.destination.host.text(&cmd).ok()?;
    Name::new(id.trim()).ok()
}

/// Makes the named volumes as they are on the source, with their labels: `create` would make plain ones.
fn make_volumes(context: &Context) -> Result<(), Failure> {
    let (from, to) = (&context.source.host, &context.destination.host);
    for volume in subject::named_volumes(&context.container) {
        if ask::volume(&**to, context.kind(), &volume)?.is_some() {
            continue;
        }
        let found = ask::volume(&**from, context.kind(), &volume)?;
        if let Some(make) = found.and_then(|found| context.kind().create_volume(&found)) {
            to.text(&make)?;
        }
    }
    Ok(())
}

/// Removes the named volumes that came into being with the container. One that was there before was let
/// pass only with the mark of an earlier move.
fn remove_volumes(context: &mut Context) {
    if !context.options.mode.streams() {
        // There it was not looked whether they were there before.
        return;
    }
    for volume in subject::named_volumes(&context.container) {
        let host = &context.destination.host;
        if let Err(failure) = marks::keep_or_remove(&**host, context.kind(), &volume) {
            context.leave(format!(
                "the volume {volume} made on {} could not be removed: {}",
                context.destination.name(),
                failure.what
            ));
        }
    }
}
