//! Phases `archive` and `unpack`: the tarball on either side.

use crate::Failure;
use crate::context::{Context, SLOW};
use crate::leftover;
use crate::pipeline::{Doubt, Phase};
use host::Cmd;

/// Path of the tarball, the same on both hosts.
pub(super) fn path(context: &Context) -> String {
    format!("{}/checkpoint.tar.gz", leftover::folder(&context.name))
}

/// `tar -cz` on the source.
pub(super) struct Archive;

impl Phase for Archive {
    fn name(&self) -> &'static str {
        "archive"
    }

    fn title(&self, context: &Context) -> String {
        format!("tar -cz on {}", context.source.name())
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let tarball = path(context);
        let images = leftover::images(&context.name);
        let source = &context.source.host;
        source.text(
            &Cmd::changes("tar")
                .args(["-czf", &tarball, "-C", &images, "."])
                .timeout(SLOW),
        )?;
        let size = source.text(
            &Cmd::follows("stat")
                .args(["-c", "%s", &tarball])
                .stand_in("0"),
        )?;
        let bytes = size.trim().parse::<u64>().map_err(|_| {
            Failure::failed(
                context.source.name(),
                format!(
                    "the size of {tarball} on {} is `{size}`",
                    context.source.name()
                ),
            )
        })?;
        context.measured.tarball_bytes = Some(bytes);
        context.measured.phase_bytes = Some(bytes);
        Ok(())
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        // The tarball lies in the work folder, which goes as a whole.
        Ok(())
    }
}

/// `tar -x` on the destination.
pub(super) struct Unpack;

impl Phase for Unpack {
    fn name(&self) -> &'static str {
        "unpack"
    }

    fn title(&self, context: &Context) -> String {
        format!("tar -x on {}", context.destination.name())
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let tarball = path(context);
        let images = leftover::images(&context.name);
        let cmd = Cmd::changes("tar")
            .args(["-xzf", &tarball, "-C", &images])
            .timeout(SLOW);
        context.destination.host.text(&cmd)?;
        Ok(())
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        Ok(())
    }
}
