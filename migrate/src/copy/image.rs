//! Phase `image`: the container's image, moved where the destination lacks it.

use super::layers;
use crate::context::{Context, SLOW};
use crate::event::Event;
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, ask};
use host::{Cmd, HostError, NO_LIMIT};
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

/// How often is looked for Ctrl-C, and progress told.
const TICK: Duration = Duration::from_millis(100);

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
        let from = &context.source.engine;
        let known = layers::known(&*to.host, &to.engine, &context.image);
        if let Some(save) = from.save_image_without(&to.engine, &name, &known) {
            let result = transfer(context, &save).and_then(|bytes| {
                arrived(context, &name, &id)?;
                Ok(bytes)
            });
            match result {
                Ok(bytes) => {
                    context.measured.phase_bytes = Some(bytes);
                    return Ok(());
                }
                Err(failure) if failure.kind == crate::Kind::Interrupted => return Err(failure),
                // There is no tar that can leave something out, or a layer is not what it seemed: all of it.
                Err(_) => {}
            }
        }
        let bytes = transfer(context, &from.save_image(&context.image, &name))?;
        arrived(context, &name, &id)?;
        context.measured.phase_bytes = Some(bytes);
        Ok(())
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        // An image harms nobody, and the next try needs it.
        Ok(())
    }
}

/// Carries what `save` prints on the source to the destination's engine; how many bytes.
fn transfer(context: &Context, save: &Cmd) -> Result<u64, Failure> {
    let to = &context.destination;
    // Both are silent while they read and write layers on a disk; together they take as long as they take.
    let [save, load] =
        [save.clone(), to.engine.load_image()].map(|cmd| cmd.timeout(NO_LIMIT).silence(SLOW));
    let (mut source, mut destination) = (context.source.host.open(&save)?, to.host.open(&load)?);
    let lost = |host: &str, cmd: &Cmd, error: &std::io::Error| HostError::Lost {
        host: host.to_owned(),
        doing: cmd.line(),
        why: error.to_string(),
    };
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    let mut told = Instant::now();
    loop {
        if context.is_interrupted() {
            return Err(Failure::new(
                crate::Kind::Interrupted,
                "interrupted while the image was moved",
            ));
        }
        let ready = source
            .wait(TICK)
            .map_err(|error| lost(context.source.name(), &save, &error))?;
        if !ready {
            continue;
        }
        let n = source
            .read(&mut buffer)
            .map_err(|error| lost(context.source.name(), &save, &error))?;
        if n == 0 {
            break;
        }
        if let Err(error) = destination.write_all(&buffer[..n]) {
            // What it ended for it said.
            if error.kind() == ErrorKind::BrokenPipe {
                let ended = destination.finish()?;
                return Err(HostError::failed(to.name(), &load, &ended).into());
            }
            return Err(lost(to.name(), &load, &error).into());
        }
        bytes += n as u64;
        if told.elapsed() >= TICK {
            told = Instant::now();
            context.tell(Event::Progress {
                phase: "image",
                done: bytes,
                total: None,
            });
        }
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
    Ok(bytes)
}

/// Whether the destination has that very image now.
fn arrived(context: &Context, name: &str, id: &str) -> Result<(), Failure> {
    let to = &context.destination;
    if !context.options.dry_run
        && ask::image(&*to.host, to.engine.kind(), name)?.is_none_or(|image| image["Id"] != *id)
    {
        return Err(Failure::failed(
            to.name(),
            format!(
                "the image {name} on {} is another after it was moved",
                to.name()
            ),
        ));
    }
    Ok(())
}
