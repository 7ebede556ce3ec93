//! Phase `prepare`: work folders, which are locks too, and what each mode needs on the two hosts before
//! anything else.

use crate::context::{Context, Side};
use crate::pipeline::{Doubt, Phase};
use crate::tool::Tool;
use crate::{Failure, Mode, leftover};
use host::Cmd;

/// Makes the work folders. For mode tarball: takes away a restart policy that would start the frozen
/// container anew. For all others: memory for the images, our program on both hosts and as a runtime.
pub(crate) struct Prepare;

impl Phase for Prepare {
    fn name(&self) -> &'static str {
        "prepare"
    }

    fn title(&self, context: &Context) -> String {
        let (source, destination) = (context.source.name(), context.destination.name());
        match context.options.mode {
            Mode::Tarball => format!("folders for the images on {source} and {destination}"),
            Mode::Copy | Mode::PostCopy | Mode::PreCopy => format!(
                "transship's own program on {source} and {destination}, room for the images"
            ),
        }
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        for which in [Which::Source, Which::Destination] {
            let side = which.of(context);
            if let Err(error) = side
                .host
                .text(&leftover::create(&context.name, &context.id))
            {
                // Another one may have begun since we looked.
                leftover::check(
                    &*side.host,
                    &context.name,
                    None,
                    context.options.journal.as_deref(),
                )?;
                return Err(error.into());
            }
        }
        match context.options.mode {
            Mode::Tarball => keep_down(context),
            Mode::Copy | Mode::PostCopy | Mode::PreCopy => equip(context),
        }
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        let policy = context.container.restart_policy();
        if context.options.mode == Mode::Tarball && policy != "no" && holds_source(context) {
            let update = context.kind().set_restart_policy(&context.name, &policy);
            if let Err(error) = context.source.host.text(&update) {
                context.warn(format!(
                    "the restart policy could not be put back: {error}; {}",
                    update.line()
                ));
            }
        }
        // The source's last: without it nothing is left to be done there.
        remove_folder(context, Which::Destination);
        remove_folder(context, Which::Source);
        Ok(())
    }
}

/// Whether the source's work folder is ours: a migration that found another's there has touched nothing.
fn holds_source(context: &Context) -> bool {
    // In doubt it is: putting a policy back is harmless.
    !context.source_done
        && leftover::is_ours(&*context.source.host, &context.name, &context.id).unwrap_or(true)
}

/// A source that was frozen must not be started anew by its engine.
fn keep_down(context: &Context) -> Result<(), Failure> {
    if context.container.restart_policy() != "no" {
        let cmd = context.kind().set_restart_policy(&context.name, "no");
        context.source.host.text(&cmd)?;
    }
    Ok(())
}

/// Memory for the images, our program, and the runtime.
fn equip(context: &mut Context) -> Result<(), Failure> {
    // Pages, and a little for what describes them.
    let mut most = context.memory + context.memory / 8 + (256 << 20) + context.ahead;
    if context.options.mode.has_rounds() {
        // Those that a round has anew are freed only once it has come.
        most += context.memory;
    }
    for side in [&context.source, &context.destination] {
        side.host
            .text(&memory(&leftover::images(&context.name), most))?;
    }
    let tool = Tool::own()?;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| tool.push(&*context.destination.host));
        tool.push(&*context.source.host)?;
        other.join().expect("pushing does not panic")
    })?;
    if context.options.tcp_established {
        tool.link(&*context.source.host)?;
    }
    tool.register(&mut context.destination)?;
    context.tool = tool.path();
    Ok(())
}

/// A file system in memory for the images: theirs alone, as large as they may become and no larger, and
/// gone with all that was in it when it is unmounted.
fn memory(folder: &str, bytes: u64) -> Cmd {
    let options = format!("size={bytes},mode=0700,nosuid,nodev,noexec");
    Cmd::changes("mount").args(["-t", "tmpfs", "-o", &options, "transship", folder])
}

/// One of the two sides, where a borrow of it would be in the way.
#[derive(Clone, Copy)]
pub(crate) enum Which {
    Source,
    Destination,
}

impl Which {
    pub fn of<'c>(self, context: &'c Context) -> &'c Side {
        match self {
            Which::Source => &context.source,
            Which::Destination => &context.destination,
        }
    }
}

/// Removes the work folder of one side; images left behind hold secrets, so failing says how.
pub(crate) fn remove_folder(context: &mut Context, which: Which) {
    let cmd = leftover::remove(&context.name, &context.id);
    let side = which.of(context);
    if let Err(error) = side.host.text(&cmd) {
        let text = format!(
            "the images could not be removed from {}: {error}; run there: {}",
            side.name(),
            cmd.line()
        );
        context.leave(text);
    }
}
