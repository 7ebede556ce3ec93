//! Phase `clean`, after the commit point: the frozen source ends, what was made on the way goes.

use super::binds;
use super::files::pending_folder;
use super::flow::Shared;
use super::marks::Left;
use super::subject::named_volumes;
use super::thaw;
use crate::context::Context;
use crate::pipeline::{Doubt, Phase};
use crate::prepare::{Which, remove_folder};
use crate::{Failure, ask, leftover, logs};
use engine::Name;
use host::{Cmd, HostError};
use std::time::Duration;

/// How long an engine may take to notice that a killed container has ended.
const ENDS: Duration = Duration::from_secs(30);

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
        let volumes = named_volumes(&context.container);
        let source = end_source(context, &volumes);
        self.flow.lock().end();
        let id = context.new_id();
        remove_folder(context, Which::Destination);
        let destination = &context.destination.host;
        destination.text(&leftover::remove_pending(&pending_folder(context), None))?;
        let policy = context.container.restart_policy();
        if policy != "no" {
            destination.text(&context.kind().set_restart_policy(&id, &policy))?;
        }
        let folders = binds::copied(context)?;
        for left in left(context, &volumes, &folders) {
            left.unset(&**destination)?;
        }
        source?;
        remove_folder(context, Which::Source);
        Ok(())
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        Ok(())
    }
}

/// What the container leaves on the source and has on the destination.
fn left<'a>(context: &Context, volumes: &'a [Name], folders: &'a [String]) -> Vec<Left<'a>> {
    let kind = context.kind();
    let volumes = volumes.iter().map(|volume| Left::Volume(kind, volume));
    volumes
        .chain(folders.iter().map(|folder| Left::Folder(folder)))
        .collect()
}

/// Ends the frozen source so that none of its processes runs another instruction: each gets its SIGKILL
/// while it is frozen, and only then the engine thaws it.
fn end_source(context: &mut Context, volumes: &[Name]) -> Result<(), Failure> {
    let host = &context.source.host;
    // By its id: after an interrupted cleaning another may have its name.
    let id = context.source_id();
    // Of a frozen one Podman says that it does not run.
    if ask::container(&**host, context.kind(), &id)?
        .is_some_and(|source| source.running() || source.paused())
    {
        if context.container.restart_policy() != "no" {
            host.text(&context.kind().set_restart_policy(&id, "no"))?;
        }
        // Not every engine tells the processes of a frozen container; its cgroup does.
        let script =
            r#"runc --root "$1" ps --format json "$2" | tr -c '0-9\n' ' ' | xargs -r kill -KILL"#;
        let root = context.source.engine.runc_root(context.container.runtime());
        host.text(&Cmd::changes("sh").args(["-c", script, "sh", &root, id.as_str()]))?;
        // With cgroup v2 a signal ends what is frozen, and the engine finds nothing to thaw.
        let unpause = context.kind().unpause(&id);
        let thawed = host.run(&unpause)?;
        // With --rm the engine may have removed it by then.
        let ended = ask::gone(&**host, &context.kind().wait_exit(&id, ENDS));
        // An engine whose shim was killed does not learn of the end.
        if !thaw::ends(context, Duration::ZERO) {
            if ended.is_err() && thawed.status != 0 {
                return Err(HostError::failed(host.name(), &unpause, &thawed).into());
            }
            ended?;
        }
    }
    let folders = binds::copied(context)?;
    for left in left(context, volumes, &folders) {
        left.set(&**host)?;
    }
    if !context.options.keep_source {
        logs::keep_rest(context, &id)?;
        let host = &context.source.host;
        let remove = context.kind().remove_moved(&id);
        // Podman whose conmon was killed only writes down at the first try that it has ended.
        ask::gone(&**host, &remove).or_else(|_| ask::gone(&**host, &remove))?;
    }
    Ok(())
}
