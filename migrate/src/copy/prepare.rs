//! Phase `prepare`: work folders, which are locks too, with memory for the images; our program on both hosts.

use super::flow::Shared;
use crate::context::Context;
use crate::pipeline::{Doubt, Phase};
use crate::tarball::prepare::{Which, remove_folder};
use crate::tool::Tool;
use crate::{Failure, leftover};
use host::Cmd;

/// Makes the work folders, pushes the program, registers the runtime on the destination.
pub(super) struct Prepare {
    flow: Shared,
    source_folder: bool,
    destination_folder: bool,
}

impl Prepare {
    pub fn new(flow: &Shared) -> Self {
        Prepare {
            flow: flow.clone(),
            source_folder: false,
            destination_folder: false,
        }
    }
}

/// A file system in memory for the images: theirs alone, as large as they may become and no larger, and
/// gone with all that was in it when it is unmounted.
fn memory(folder: &str, bytes: u64) -> Cmd {
    let options = format!("size={bytes},mode=0700,nosuid,nodev,noexec");
    Cmd::changes("mount").args(["-t", "tmpfs", "-o", &options, "transship", folder])
}

impl Phase for Prepare {
    fn name(&self) -> &'static str {
        "prepare"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "transship's own program on {} and {}, room for the images",
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
        // Pages, and a little for what describes them.
        let most = context.memory + context.memory / 8 + (256 << 20);
        for side in [&context.source, &context.destination] {
            side.host.text(&memory(&leftover::images(name), most))?;
        }
        let tool = Tool::own()?;
        std::thread::scope(|scope| {
            let other = scope.spawn(|| tool.push(&*context.destination.host));
            tool.push(&*context.source.host)?;
            other.join().expect("pushing does not panic")
        })?;
        tool.register(&mut context.destination)?;
        self.flow.lock().tool = tool.path();
        Ok(())
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        let (source, destination) = (self.source_folder, self.destination_folder);
        for (made, side) in [(source, Which::Source), (destination, Which::Destination)] {
            if made {
                remove_folder(context, side);
            }
        }
        Ok(())
    }
}
