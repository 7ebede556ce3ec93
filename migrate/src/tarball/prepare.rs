//! Phase `prepare`: the work folders, which are locks too, and a source that stays down once frozen.

use crate::Failure;
use crate::context::{Context, Side};
use crate::leftover;
use crate::pipeline::{Doubt, Phase};
use engine::commands;

/// Makes the work folders; takes away a restart policy that would start the frozen container anew.
#[derive(Default)]
pub(crate) struct Prepare {
    source_folder: bool,
    destination_folder: bool,
    policy_taken: bool,
}

impl Phase for Prepare {
    fn name(&self) -> &'static str {
        "prepare"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "folders for the images on {} and {}",
            context.source.name(),
            context.destination.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let name = &context.name;
        context.source.host.text(&leftover::create(name))?;
        self.source_folder = true;
        context.destination.host.text(&leftover::create(name))?;
        self.destination_folder = true;
        if context.container.restart_policy() != "no" {
            context
                .source
                .host
                .text(&commands::set_restart_policy(name, "no"))?;
            self.policy_taken = true;
        }
        Ok(())
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        if self.policy_taken {
            let update =
                commands::set_restart_policy(&context.name, &context.container.restart_policy());
            if let Err(error) = context.source.host.text(&update) {
                context.warn(format!(
                    "the restart policy could not be put back: {error}; {}",
                    update.line()
                ));
            }
        }
        let (source, destination) = (self.source_folder, self.destination_folder);
        for (made, side) in [(source, Which::Source), (destination, Which::Destination)] {
            if made {
                remove_folder(context, side);
            }
        }
        Ok(())
    }
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
    let cmd = leftover::remove(&context.name);
    let side = which.of(context);
    if let Err(error) = side.host.text(&cmd) {
        let text = format!(
            "the images could not be removed from {}: {error}; run there: {}",
            side.name(),
            cmd.line()
        );
        context.warn(text);
    }
}
