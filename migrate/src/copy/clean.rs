//! Phase `clean`, after the commit point: the frozen source ends, what was made on the way goes.

use super::files::pending_folder;
use super::flow::Shared;
use super::subject::{MOVED, moved_mark};
use crate::Failure;
use crate::context::Context;
use crate::pipeline::{Doubt, Phase};
use crate::tarball::engine_phases::new_id;
use crate::tarball::prepare::{Which, remove_folder};
use engine::commands;
use host::Cmd;

/// Ends the source, removes images and folders, gives the container its restart policy.
pub(super) struct Clean {
    flow: Shared,
}

impl Clean {
    pub fn new(flow: &Shared) -> Self {
        Clean { flow: flow.clone() }
    }
}

impl Phase for Clean {
    fn name(&self) -> &'static str {
        "clean"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "end the frozen {} on {}, remove what was made on the way",
            context.name,
            context.source.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let source = end_source(context);
        self.flow.lock().end();
        let id = new_id(context);
        remove_folder(context, Which::Destination);
        let destination = &context.destination.host;
        destination.text(&Cmd::changes("rm").args(["-rf", &pending_folder(context)]))?;
        let policy = context.container.restart_policy();
        if policy != "no" {
            destination.text(&commands::set_restart_policy(&id, &policy))?;
        }
        for volume in named_volumes(context) {
            destination.text(&Cmd::changes("rm").args(["-f", &moved_mark(&volume)]))?;
        }
        source?;
        remove_folder(context, Which::Source);
        Ok(())
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        Ok(())
    }
}

fn named_volumes(context: &Context) -> Vec<String> {
    let mounts = context.container.mounts().into_iter();
    mounts
        .filter(|mount| mount.kind == "volume" && !mount.anonymous)
        .filter_map(|mount| mount.volume)
        .collect()
}

/// Ends the frozen source so that none of its processes runs another instruction: each gets its SIGKILL
/// while it is frozen, and only then the engine thaws it.
fn end_source(context: &Context) -> Result<(), Failure> {
    let (host, name) = (&context.source.host, &context.name);
    if context.container.restart_policy() != "no" {
        host.text(&commands::set_restart_policy(name, "no"))?;
    }
    let script = r#"docker top "$1" -o pid | while read -r pid; do case $pid in *[!0-9]*) ;; *) kill -KILL "$pid" ;; esac; done"#;
    host.text(&Cmd::changes("sh").args(["-c", script, "sh", name.as_str()]))?;
    for volume in named_volumes(context) {
        let script = r#"umask 077; mkdir -p "$1" && touch "$2""#;
        host.text(&Cmd::changes("sh").args(["-c", script, "sh", MOVED, &moved_mark(&volume)]))?;
    }
    let end = if context.options.keep_source {
        commands::kill(name)
    } else {
        commands::remove_moved(name)
    };
    host.text(&end)?;
    Ok(())
}
