//! Phase `verify`, and the proofs that undoing needs: exactly one copy runs.

use super::engine_phases::{layout, new_id};
use crate::context::Context;
use crate::layout::WentOn;
use crate::leftover::{self, CHECKPOINT};
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, ask};
use engine::commands;
use host::Cmd;
use std::time::{Duration, Instant};

/// How long a restored container must be seen running.
const STEADY: Duration = Duration::from_millis(300);
/// How long a destination whose engine or network is away may take to come back before the
/// migration gives up proving that the container does not run there.
const PATIENCE: Duration = Duration::from_secs(30);

/// The container runs on the destination, goes on running, and was not started anew.
pub(crate) struct Verify;

impl Phase for Verify {
    fn name(&self) -> &'static str {
        "verify"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "does {} run on {}, and did it go on?",
            context.new_name,
            context.destination.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        if context.options.dry_run {
            return Ok(());
        }
        let id = new_id(context);
        let (name, destination) = (
            context.new_name.clone(),
            context.destination.name().to_owned(),
        );
        let until = Instant::now() + STEADY;
        loop {
            let Some(now) = layout(&context.destination, &id)? else {
                let state = ask::state(&*context.destination.host, &id)?;
                return Err(Failure::failed(
                    &destination,
                    format!("{name} was restored on {destination} and ended at once, with exit code {}", state.exit_code),
                )
                .fix(format!("see what it said, on {destination}, after trying again with --keep-source: docker logs {name}")));
            };
            match context.layout.as_ref().map(|before| before.compare(&now)) {
                Some(WentOn::Yes) => {}
                Some(WentOn::StartedAnew) => {
                    return Err(Failure::failed(
                        &destination,
                        format!("{destination} started {name} anew instead of restoring it from the checkpoint"),
                    )
                    .fix(format!("transship doctor {destination}")));
                }
                Some(WentOn::Unknown) | None => {
                    context.warn(format!(
                        "{name} runs on {destination}, but that it went on could not be proven: its addresses are not randomized there (kernel.randomize_va_space)"
                    ));
                    return Ok(());
                }
            }
            if Instant::now() >= until {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        Ok(())
    }
}

/// Ends what runs on the destination, and proves that nothing does any more.
pub(crate) fn stop_on_destination(context: &mut Context) -> Result<(), Doubt> {
    let Err(why) = end_on_destination(context) else {
        return Ok(());
    };
    let remove = commands::remove_force(&new_id(context));
    let source = context.source.name().to_owned();
    let destination = context.destination.name().to_owned();
    let name = context.name.clone();
    let mut back = leftover::restart_lines(&context.source.docker, &context.container, &name);
    back.push(leftover::remove(&name).line());
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

/// The same; an error says why it could not be proven.
pub(crate) fn end_on_destination(context: &mut Context) -> Result<(), String> {
    let id = new_id(context);
    let side = &context.destination;
    let remove = commands::remove_force(&id);
    let until = Instant::now() + PATIENCE;
    let mut why;
    loop {
        why = match ask::gone(&*side.host, &remove) {
            Ok(()) => return Ok(()),
            Err(failure) => failure.what,
        };
        // With the engine away, the runtime below it still knows what runs.
        let root = side.docker.runc_root("runc");
        let kill = Cmd::changes("runc").args(["--root", &root, "kill", id.as_str(), "KILL"]);
        let _ = side.host.run(&kill);
        if runs_in_runc(context, &root, id.as_str()) == Some(false) {
            let name = context.destination.name().to_owned();
            let text = format!(
                "the engine on {name} does not answer ({why}); nothing of the container runs there; once it does: {}",
                remove.line()
            );
            context.warn(text);
            return Ok(());
        }
        if Instant::now() >= until {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Err(why)
}

/// Whether runc has a running container of that id; none where it cannot be asked.
fn runs_in_runc(context: &Context, root: &str, id: &str) -> Option<bool> {
    let output = context
        .destination
        .host
        .run(&Cmd::reads("runc").args(["--root", root, "state", id]))
        .ok()?;
    if output.status != 0 {
        return output
            .stderr_text()
            .contains("does not exist")
            .then_some(false);
    }
    let state: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(state["status"] != "stopped")
}

/// Lets the container go on at the source: it runs still, or is started from its checkpoint.
pub(crate) fn bring_back(context: &mut Context) -> Result<(), Doubt> {
    let name = context.name.clone();
    let source = context.source.name().to_owned();
    let doubt = |why: String| Doubt {
        what: format!(
            "{name} could not be brought back on {source}: {why}; its images are in {} there",
            leftover::folder(&name)
        ),
        fix: {
            let mut lines =
                leftover::restart_lines(&context.source.docker, &context.container, &name);
            lines.push(leftover::remove(&name).line());
            vec![format!("on {source}: {}", lines.join(" && "))]
        },
    };
    let went_on = |context: &Context| -> Result<bool, Failure> {
        let now = layout(&context.source, &context.name)?;
        Ok(match (&context.layout, &now) {
            (Some(before), Some(now)) => before.compare(now) != WentOn::StartedAnew,
            (None, Some(_)) => true,
            (_, None) => false,
        })
    };
    let state = ask::state(&*context.source.host, &context.name)
        .map_err(|error| doubt(error.to_string()))?;
    if state.running {
        if state.paused {
            let resume = commands::unpause(&name);
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
        .docker
        .checkpoint_path(&leftover::images(&name), id, CHECKPOINT);
    for cmd in leftover::restore(&context.source.docker, id, &name, &path) {
        context
            .source
            .host
            .text(&cmd)
            .map_err(|error| doubt(error.to_string()))?;
    }
    if !context.source.docker.restores_from_folder() {
        let used = format!("{}/{CHECKPOINT}", context.source.docker.restore_dir(id));
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
