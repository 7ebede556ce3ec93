//! Phase `image`: the container's image, moved where the destination lacks it.

use crate::context::{Context, SLOW};
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, ask};
use host::{Cmd, HostError};
use std::io::{Read as _, Write as _};

/// `save` into `load`, and the ids compared.
pub(super) struct Image;

impl Phase for Image {
    fn name(&self) -> &'static str {
        "image"
    }

    fn title(&self, context: &Context) -> String {
        format!(
            "{} on {}",
            context.container.image_ref(),
            context.destination.name()
        )
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        let id = context.container.image_id().to_owned();
        let name = engine::image_to_name(&context.container, &context.image);
        let to = &context.destination;
        if ask::image(&*to.host, to.engine.kind(), &name)?.is_some_and(|image| image["Id"] == *id) {
            return Ok(());
        }
        let save = context.source.engine.save_image(&context.image, &name);
        let (save, load) = (save.timeout(SLOW), to.engine.load_image().timeout(SLOW));
        let (mut source, mut destination) =
            (context.source.host.open(&save)?, to.host.open(&load)?);
        let lost = |host: &str, cmd: &Cmd, error: &std::io::Error| HostError::Lost {
            host: host.to_owned(),
            doing: cmd.line(),
            why: error.to_string(),
        };
        let mut buffer = vec![0; 256 * 1024];
        let mut bytes = 0;
        loop {
            let n = source
                .read(&mut buffer)
                .map_err(|error| lost(context.source.name(), &save, &error))?;
            if n == 0 {
                break;
            }
            if context.is_interrupted() {
                return Err(Failure::new(
                    crate::Kind::Interrupted,
                    "interrupted while the image was moved",
                ));
            }
            destination
                .write_all(&buffer[..n])
                .map_err(|error| lost(to.name(), &load, &error))?;
            bytes += n as u64;
        }
        let (saved, loaded) = (source.finish()?, destination.finish()?);
        for (host, cmd, output) in [
            (context.source.name(), &save, saved),
            (to.name(), &load, loaded),
        ] {
            if output.status != 0 {
                return Err(HostError::failed(host, cmd, &output).into());
            }
        }
        if !context.options.dry_run
            && ask::image(&*to.host, to.engine.kind(), &name)?
                .is_none_or(|image| image["Id"] != *id)
        {
            return Err(Failure::failed(
                to.name(),
                format!(
                    "the image {name} on {} is another after it was moved",
                    to.name()
                ),
            ));
        }
        context.measured.phase_bytes = Some(bytes);
        Ok(())
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        // An image harms nobody, and the next try needs it.
        Ok(())
    }
}
