//! Phase `image`: the container's image, moved where the destination lacks it.

use super::files::words;
use super::flow::{Flow, PATIENCE, sent};
use super::layers;
use crate::context::Context;
use crate::pipeline::{Doubt, Phase};
use crate::{Failure, ask, random};
use agent::{Event, LoadJob, SaveJob, Token};
use host::Cmd;

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
        let known = layers::known(&*to.host, &to.engine, &context.image);
        let from = &context.source.engine;
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
        let save = context.source.engine.save_image(&context.image, &name);
        let bytes = transfer(context, &save)?;
        arrived(context, &name, &id)?;
        context.measured.phase_bytes = Some(bytes);
        Ok(())
    }

    fn undo(&mut self, _: &mut Context) -> Result<(), Doubt> {
        // An image harms nobody, and the next try needs it.
        Ok(())
    }
}

/// Has the agents bring what `save` prints on the source to the destination's engine; how many bytes.
fn transfer(context: &mut Context, save: &Cmd) -> Result<u64, Failure> {
    let load = context.destination.engine.load_image();
    if context.options.dry_run {
        context.destination.host.text(&load)?;
        return Ok(0);
    }
    // What comes later is a stream of its own.
    let mut flow = Flow::default();
    let result = bring(context, &mut flow, save, &load);
    // A second try comes on top of the first.
    if let Some(wire) = flow.wire() {
        context.measured.image_wire.sent += wire.sent;
        context.measured.image_wire.received += wire.received;
    }
    flow.end();
    result
}

fn bring(context: &Context, flow: &mut Flow, save: &Cmd, load: &Cmd) -> Result<u64, Failure> {
    let token = Token(random::bytes()?);
    let load = LoadJob {
        load: words(load),
        token: token.clone(),
    };
    let link = flow.listen(context, "load", &load)?;
    let save = SaveJob {
        save: words(save),
        link: link.map(|link| (link, token)),
    };
    flow.meet(context, "image", "save", &save)?;
    flow.carry(context, "image", sent)?;
    flow.hear(context, "image", PATIENCE, |event| *event == Event::Pass)?;
    Ok(flow.carried())
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
