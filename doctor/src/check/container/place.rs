//! What stands at the place where a container is to go: its name, its image, files that it has open.

use super::{Inmate, count, files, some};
use crate::check::catalogue::{Check, meta};
use crate::check::subject::Subject;
use crate::check::verdict::{Group, Outcome};
use engine::Container as Inspected;
use host::facts::container::Destination;

pub(super) fn checks<'p>() -> Vec<Check<Inmate<'p>>> {
    vec![
        Check::new(
            meta(
                "container.name-free",
                Group::Container,
                "Its name is free at the destination",
                "whether the destination's engine knows a container of that name. It fails where it does",
                "names are unique, and the container is created anew there",
                "`transship migrate CONTAINER --from SOURCE --to DESTINATION --name NEW`, or remove the other one",
            ),
            |inmate| at(inmate, name),
        ),
        Check::new(
            meta(
                "container.image",
                Group::Container,
                "Its image is at the destination with the same content",
                "the image's id on both hosts. It warns where the image is missing or another one has its name: modes `copy` and `post-copy` bring it along, mode `tarball` does not",
                "a restored program maps its files again and must find them as they were",
                "`docker save IMAGE | ssh DESTINATION docker load`",
            ),
            |inmate| at(inmate, image),
        ),
        Check::new(
            meta(
                "container.changed-files",
                Group::Container,
                "Open files in mounts are as large at the destination",
                "open and mapped regular files below bind mounts, and their size there. It fails where one is missing or of another size",
                "CRIU compares the size of each open file, and refuses a file that changed",
                "copy the files (`rsync -a`) as the last step before the migration",
            ),
            |inmate| at(inmate, changed),
        ),
    ]
}

pub(super) type Ask = fn(&Inmate<'_>, &Inspected, &Subject<'_>, &Destination) -> Outcome;

pub(super) fn at(inmate: &Inmate<'_>, ask: Ask) -> Outcome {
    let Some(inspected) = inmate.inspected else {
        return Outcome::skip("there is no such container");
    };
    let Some((host, answers)) = &inmate.destination else {
        return Outcome::skip("no destination was named");
    };
    if !answers.engine {
        return Outcome::skip("the destination lacks the container's engine, see pair.engine");
    }
    ask(inmate, inspected, host, answers)
}

fn name(inmate: &Inmate<'_>, _: &Inspected, host: &Subject<'_>, answers: &Destination) -> Outcome {
    if !answers.name_taken {
        return Outcome::ok(format!("no container is called {} there", inmate.name));
    }
    let fix = if inmate.podman() {
        format!(
            "ssh {} podman rename {1} {1}-before",
            host::quote(host.name),
            inmate.name
        )
    } else {
        format!(
            "transship migrate {0} --from {1} --to {2} --name {0}-2",
            inmate.name,
            host::quote(inmate.source.name),
            host::quote(host.name)
        )
    };
    Outcome::fail(format!(
        "a container called {} is there already",
        inmate.name
    ))
    .found(format!("{} knows one", host.name))
    .fix(fix)
}

fn image(
    inmate: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
) -> Outcome {
    let bare = |id: &str| id.trim_start_matches("sha256:").to_owned();
    let wanted = inspected.image_id();
    let image = inspected.image_ref();
    let fix = format!(
        "{0} save {1} | ssh {2} {0} load",
        inmate.engine(),
        host::quote(image),
        host::quote(host.name)
    );
    match &answers.image {
        Some(id) if bare(id) == bare(wanted) => Outcome::ok(format!("{image} is there, the same")),
        Some(id) => Outcome::warn(format!(
            "{image} is another image there: mode tarball needs this one, modes that copy bring it along under that name"
        ))
        .found(format!("{wanted} at the source, {id} at the destination"))
        .fix(fix),
        None => Outcome::warn(format!(
            "{image} is not there: mode tarball needs it, modes that copy bring it along"
        ))
        .found(format!("{} has no image of that name", host.name))
        .fix(fix),
    }
}

fn changed(
    inmate: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
) -> Outcome {
    let opened = files::on_binds(inmate.container, inspected);
    let differing: Vec<String> = opened
        .iter()
        .filter_map(|(path, size)| match answers.paths.get(path)? {
            Some((there, _)) if there == size => None,
            Some((there, _)) => Some(format!(
                "{path} has {size} bytes, and {there} on {}",
                host.name
            )),
            None => Some(format!("{path} is missing on {}", host.name)),
        })
        .collect();
    if differing.is_empty() {
        return Outcome::ok(format!(
            "{} in mounts, all alike",
            count(opened.len(), "open file")
        ));
    }
    Outcome::fail("an open file is another one at the destination").found(some(&differing))
}
