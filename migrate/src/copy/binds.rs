//! Bind mounts that move along (`--copy-bind`): folders that the destination lacks or has empty.

use super::marks::Left;
use crate::Failure;
use crate::context::Context;
use crate::leftover;
use crate::pipeline::{Doubt, Phase};
use engine::Container;
use host::{Cmd, Host};
use std::path::Path;

/// The folders of the source that bind mounts name, each once and none that is inside of another. Single
/// files and sockets are not among them.
pub(crate) fn folders(source: &dyn Host, container: &Container) -> Result<Vec<String>, Failure> {
    let mut paths: Vec<String> = container
        .mounts()
        .into_iter()
        .filter(|mount| mount.kind == "bind")
        .map(|mount| mount.source)
        .collect();
    paths.sort();
    let mut folders: Vec<String> = Vec::new();
    for path in paths {
        let inside = folders
            .iter()
            .any(|above| Path::new(&path).starts_with(above));
        if !inside && source.run(&Cmd::reads("test").args(["-d", &path]))?.status == 0 {
            folders.push(path);
        }
    }
    Ok(folders)
}

/// Refuses where the destination has something in one of these folders that would be lost: more than what the
/// container left there when it moved away.
pub(crate) fn free(destination: &dyn Host, folders: &[String]) -> Result<(), Failure> {
    let on = destination.name();
    for folder in folders {
        let script = r#"[ ! -e "$1" ] || { [ -d "$1" ] && [ -z "$(ls -A "$1")" ]; }"#;
        let cmd = Cmd::reads("sh").args(["-c", script, "sh", folder]);
        if destination.run(&cmd)?.status != 0 && !Left::Folder(folder).holds(destination)? {
            return Err(Failure::refused(
                on,
                format!("{folder} on {on} is not empty, and what is in it would be lost"),
            )
            .fix("without --copy-bind, if it is what the container needs")
            .fix(format!(
                "or, if it is not needed, on {on}: rm -rf {}",
                host::quote(folder)
            )));
        }
    }
    Ok(())
}

/// Says, in the work folder on the destination, that what is in a folder is this migration's.
fn mark(context: &Context, number: usize) -> String {
    format!("{}/bind-{number}", leftover::folder(&context.name))
}

/// The folders that this migration copies along.
pub(super) fn copied(context: &Context) -> Result<Vec<String>, Failure> {
    if context.options.copy_bind {
        folders(&*context.source.host, &context.container)
    } else {
        Ok(Vec::new())
    }
}

/// Makes the folders on the destination, before `docker create`, which may ask for them.
pub(super) struct Binds;

impl Phase for Binds {
    fn name(&self) -> &'static str {
        "binds"
    }

    fn title(&self, context: &Context) -> String {
        format!("folders of bind mounts on {}", context.destination.name())
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let folders = copied(context)?;
        let host = &context.destination.host;
        // Once more: what came there meanwhile is not ours to clear.
        free(&**host, &folders)?;
        for (number, folder) in folders.iter().enumerate() {
            let script = r#"mkdir -p "$1" && touch "$2""#;
            host.text(&Cmd::changes("sh").args([
                "-c",
                script,
                "sh",
                folder,
                &mark(context, number),
            ]))?;
        }
        Ok(())
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        let folders = match copied(context) {
            Ok(folders) => folders,
            Err(failure) => {
                context.warn(format!(
                    "what was copied of bind mounts is still on {}: {}",
                    context.destination.name(),
                    failure.what
                ));
                return Ok(());
            }
        };
        for (number, folder) in folders.iter().enumerate() {
            let script = r#"[ ! -e "$2" ] || { find "$1" -xdev -mindepth 1 -delete && rm "$2"; }"#;
            let cmd = Cmd::changes("sh").args(["-c", script, "sh", folder, &mark(context, number)]);
            if let Err(error) = context.destination.host.text(&cmd) {
                context.warn(format!(
                    "what was copied into {folder} is still there: {error}"
                ));
            }
        }
        Ok(())
    }
}
