//! Phase `clean`, after the commit point: what was made on the way goes, and the stopped source.

use super::engine_phases::new_id;
use super::prepare::{Which, remove_folder};
use crate::Failure;
use crate::context::{Context, SLOW};
use crate::leftover::CHECKPOINT;
use crate::pipeline::{Doubt, Phase};
use engine::commands;
use host::Cmd;

/// Where the logs of containers that moved away are kept.
const LOGS: &str = "/var/lib/transship/logs";

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
        let id = new_id(context);
        remove_folder(context, Which::Destination);
        if !context.destination.docker.restores_from_folder() {
            let used = format!(
                "{}/{CHECKPOINT}",
                context.destination.docker.restore_dir(id.as_str())
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
                .text(&commands::set_restart_policy(&id, &policy))?;
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
        if context.options.keep_source {
            return Ok(());
        }
        if !context.left_behind.is_empty() {
            let what = context.left_behind.join(", ");
            context.warn(format!(
                "the stopped {name} stays on {source}: it has what mode tarball does not move ({what}); when you need it no more, on {source}: docker rm {name}"
            ));
            return Ok(());
        }
        let log = format!("{LOGS}/{name}-{}.log", &context.container.id()[..12]);
        let script = r#"umask 077; mkdir -p "$1" && docker logs --timestamps "$3" > "$2" 2>&1"#;
        let host = &context.source.host;
        host.text(
            &Cmd::changes("sh")
                .args(["-c", script, "sh", LOGS, &log, name.as_str()])
                .timeout(SLOW),
        )?;
        host.text(&commands::remove(&name))?;
        context.log_kept = Some(log);
        Ok(())
    }
}
