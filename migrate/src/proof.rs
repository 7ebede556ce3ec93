//! Phase `verify`, and the proof that undoing needs: nothing runs on the destination.

use crate::context::Context;
use crate::layout::{self, WentOn};
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, ask};
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
        let id = context.new_id();
        let (name, destination) = (
            context.new_name.clone(),
            context.destination.name().to_owned(),
        );
        let until = Instant::now() + STEADY;
        loop {
            let Some(now) = layout::of(&context.destination, &id)? else {
                let state = ask::state(&*context.destination.host, context.kind(), &id)?;
                return Err(Failure::failed(
                    &destination,
                    format!("{name} was restored on {destination} and ended at once, with exit code {}", state.exit_code),
                )
                .fix(format!("see what it said, on {destination}, after trying again with --keep-source: {} logs {name}", context.kind().program())));
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
///
/// # Errors
/// Why that could not be proven.
pub(crate) fn end_on_destination(context: &mut Context) -> Result<(), String> {
    let id = context.new_id();
    let side = &context.destination;
    let remove = context.kind().remove_moved(&id);
    let until = Instant::now() + PATIENCE;
    let mut why;
    loop {
        why = match ask::gone(&*side.host, &remove) {
            Ok(()) => return Ok(()),
            Err(failure) => failure.what,
        };
        // With the engine away, the runtime below it still knows what runs.
        let runtime = if context.options.mode.streams() {
            runtime::REGISTERED
        } else {
            context.container.runtime()
        };
        let root = side.engine.runc_root(runtime);
        let kill = Cmd::changes("runc").args(["--root", &root, "kill", id.as_str(), "KILL"]);
        let _ = side.host.run(&kill);
        if runs_in_runc(context, &root, id.as_str()) == Some(false) {
            let name = context.destination.name().to_owned();
            let text = format!(
                "the engine on {name} does not answer ({why}); nothing of the container runs there; once it does: {}",
                remove.line()
            );
            context.leave(text);
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
