//! The work folder of a migration: images while it runs, a lock against a second one, and what an
//! earlier one left behind if it was killed.

use crate::context::SLOW;
use crate::copy::subject;
use crate::{Failure, Kind};
use engine::{Container, Docker, Name, commands};
use host::{Cmd, Host};

/// Everything that transship keeps on a host.
pub(crate) const HOME: &str = "/var/lib/transship";
/// Work folders live here, on both hosts, one for each container that is being moved.
const ROOT: &str = "/var/lib/transship/migrate";
/// Name of the checkpoints that a migration makes.
pub(crate) const CHECKPOINT: &str = "transship";

/// The same as a name.
pub(crate) fn checkpoint() -> Name {
    Name::new(CHECKPOINT).expect("it is a name")
}

/// The work folder of a migration of `name`; the same on both hosts. Names are those that Docker
/// allows, so they are safe in a path.
pub(crate) fn folder(name: &Name) -> String {
    format!("{ROOT}/{name}")
}

/// The folder inside it that Docker writes its checkpoint into.
pub(crate) fn images(name: &Name) -> String {
    format!("{}/images", folder(name))
}

/// Makes the work folder for root alone. `mkdir` without `-p` fails where it exists: that is the lock.
pub(crate) fn create(name: &Name) -> Cmd {
    let script = r#"umask 077; mkdir -p "$1" && mkdir "$2" && mkdir "$2/images""#;
    Cmd::changes("sh").args(["-c", script, "sh", ROOT, &folder(name)])
}

/// Removes the work folder with the images in it, which may be a file system in memory.
pub(crate) fn remove(name: &Name) -> Cmd {
    let script = r#"umount -q "$1/images"; rm -rf "$1""#;
    Cmd::changes("sh").args(["-c", script, "sh", &folder(name)])
}

/// Refuses where an earlier migration of that name left its folder, or one is under way.
pub(crate) fn check(
    host: &dyn Host,
    name: &Name,
    stopped: Option<(&Docker, &Container)>,
) -> Result<(), Failure> {
    let folder = folder(name);
    let script =
        r#"[ -d "$1" ] || exit 0; date -r "$1" +%FT%T; find "$1" -name inventory.img | head -n 1"#;
    let found = host.text(&Cmd::reads("sh").args(["-c", script, "sh", &folder]))?;
    let mut lines = found.lines();
    let Some(since) = lines.next() else {
        return Ok(());
    };
    let on = host.name();
    let mut failure = Failure::new(
        Kind::Refused,
        format!("another migration of {name} is under way on {on} since {since}, or was killed and left {folder} there"),
    )
    .on(on);
    if let Some((_, container)) = stopped
        && container.paused()
    {
        return Err(failure.fix(format!(
            "if none is under way and {name} does not run elsewhere, let it go on, on {on}: {}; {}",
            subject::thaw_line(container, name),
            remove(name).line()
        )));
    }
    if let (Some((docker, container)), Some(_)) = (stopped, lines.next()) {
        failure = failure.fix(format!(
            "if none is under way, bring {name} back from that checkpoint, on {on}: {}",
            restart_lines(docker, container, name).join(" && ")
        ));
    }
    Err(failure.fix(format!(
        "if none is under way{}, on {on}: {}",
        if stopped.is_some() {
            " and the container runs"
        } else {
            ""
        },
        remove(name).line()
    )))
}

/// The commands that start a container on its own host from the checkpoint in the work folder.
pub(crate) fn restart_lines(docker: &Docker, container: &Container, name: &Name) -> Vec<String> {
    let path = docker.checkpoint_path(&images(name), container.id(), CHECKPOINT);
    restore(docker, container.id(), name, &path)
        .iter()
        .map(Cmd::line)
        .collect()
}

/// The commands that start the container `id` from the checkpoint at `path`: engines that read any
/// folder are told which, others find it in the container's own.
pub(crate) fn restore(docker: &Docker, id: &str, name: &Name, path: &str) -> Vec<Cmd> {
    if docker.restores_from_folder() {
        let parent = path.rsplit_once('/').map_or(path, |(parent, _)| parent);
        return vec![commands::start_from(name, Some(parent), &checkpoint())];
    }
    // The engine uploads the folder to containerd's content store, which may still hold the same content
    // from the checkpoint or an earlier try and then refuses it (moby#42900): no two may be alike. CRIU
    // does not look at files that it did not write.
    let own = docker.restore_dir(id);
    let script = r#"umask 077; mkdir -p "$2" && rm -rf "$2/$3" && cp -a "$1" "$2/$3" && date +%s%N > "$2/$3/unique""#;
    vec![
        Cmd::changes("sh")
            .args(["-c", script, "sh", path, &own, CHECKPOINT])
            .timeout(SLOW),
        commands::start_from(name, None, &checkpoint()),
    ]
}
