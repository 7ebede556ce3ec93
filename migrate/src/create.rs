//! Phase `create`: the container on the destination, with its whole configuration.

use crate::context::Context;
use crate::copy::subject::moved_mark;
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
            }
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

/// Removes the named volumes that came into being with the container. One that was there before was let
/// pass only with the mark of an earlier move.
fn remove_volumes(context: &mut Context) {
    let volumes: Vec<String> = context
        .container
        .mounts()
        .into_iter()
        .filter(|mount| mount.kind == "volume" && !mount.anonymous)
        .filter_map(|mount| mount.volume)
        .collect();
    if !context.options.mode.streams() {
        // There it was not looked whether they were there before.
        return;
    }
    for volume in volumes {
        let script =
            r#"[ -e "$1" ] || ! "$3" volume inspect "$2" >/dev/null 2>&1 || "$3" volume rm "$2""#;
        let cmd = Cmd::changes("sh").args([
            "-c",
            script,
            "sh",
            &moved_mark(&volume),
            &volume,
            context.kind().program(),
        ]);
        if let Err(error) = context.destination.host.text(&cmd) {
            context.leave(format!(
                "the volume {volume} made on {} could not be removed: {error}",
                context.destination.name()
            ));
        }
    }
}
