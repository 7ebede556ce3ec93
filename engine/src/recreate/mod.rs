//! A container's whole configuration as the command that makes it anew.

mod limits;
mod line;
mod network;
mod process;
mod rest;
mod security;
mod storage;

use crate::{Container, Engine, Name};
use host::Cmd;
use line::Line;
use serde_json::Value;

/// How to make a container anew on another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recreated {
    /// `create` with all of the container's configuration that differs from the engine's and the
    /// image's defaults; prints the new container's id.
    pub create: Cmd,
    /// Attaches the container to its further networks, after `create` and before any start.
    pub connect: Vec<Cmd>,
    /// What cannot be carried: one sentence each.
    pub notes: Vec<String>,
    /// What `create` will ask for on the destination: one sentence each.
    pub needs: Vec<String>,
}

/// Turns a container into the commands that make it anew as `new_name`.
///
/// `image` is what `image inspect` says about the container's image (on either host: the destination
/// has to have the image with the same id). The options are those that `docker_on_destination` knows.
#[must_use]
pub fn recreate(
    container: &Container,
    image: &Value,
    new_name: &Name,
    engine_on_destination: &Engine,
) -> Recreated {
    let image = image.get(0).unwrap_or(image);
    let from = From {
        container,
        config: container.config(),
        host: container.host_config(),
        image: &image["Config"],
        engine: engine_on_destination,
    };
    let mut line = Line::default();
    if from.engine.has_pull_option() {
        line.option("pull", "never");
    }
    line.option("name", new_name.as_str());
    process::options(&from, &mut line);
    network::options(&from, &mut line);
    storage::options(&from, &mut line);
    limits::options(&from, &mut line);
    security::options(&from, &mut line);
    rest::options(&from, &mut line);
    line.place_environment();
    let command = process::command(&from, &mut line);
    let connect = network::connect(&from, new_name, &mut line);
    let mut words = line.unpacking();
    let runtime = line
        .runtime
        .map(|runtime| ["--runtime".to_owned(), runtime]);
    let (before, after) = from
        .engine
        .place_of_runtime(runtime.into_iter().flatten().collect());
    words.push(from.engine.kind().program().to_owned());
    let create = Cmd::changes(&words[0])
        .args(words[1..].iter().cloned())
        .args(before)
        .arg("create")
        .args(after)
        .args(line.args)
        .arg(image_to_name(container, image))
        .args(command)
        .stdin(&line.stdin)
        // A dry run shows an id of the right form.
        .stand_in(&"0".repeat(64));
    Recreated {
        create,
        connect,
        notes: line.notes,
        needs: line.needs,
    }
}

/// What a container is made from.
struct From<'a> {
    container: &'a Container,
    /// `Config` of the container.
    config: &'a Value,
    /// `HostConfig` of the container.
    host: &'a Value,
    /// `Config` of the image.
    image: &'a Value,
    /// The engine that makes the container anew.
    engine: &'a Engine,
}

/// The image by the user's own name if that still means this image, else by its id.
#[must_use]
pub fn image_to_name(container: &Container, image: &Value) -> String {
    let name = container.image_ref();
    let tags = line::strings(&image["RepoTags"]);
    let means_it = |name: &str| image["Id"] == container.image_id() && tags.contains(&name);
    let tagged = name
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains(':'));
    if means_it(name) || (!tagged && means_it(&format!("{name}:latest"))) {
        name.to_owned()
    } else {
        container.image_id().to_owned()
    }
}
