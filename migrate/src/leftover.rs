//! The work folder of a migration on a host: images while it runs, a lock against a second one, and what
//! an earlier one left behind if it was killed.

use crate::context::SLOW;
use crate::copy::thaw;
use crate::{Failure, Kind, journal};
use engine::{Container, Docker, Engine, Name};
use host::{Cmd, Host};
use std::path::Path;
use std::time::Duration;

/// Everything that transship keeps on a host.
pub(crate) const HOME: &str = "/var/lib/transship";
/// Work folders live here, on both hosts, one for each container that is being moved.
const ROOT: &str = "/var/lib/transship/migrate";
/// Name of the checkpoints that a migration makes.
pub(crate) const CHECKPOINT: &str = "transship";
/// How long what a killed migration started on a host may take to end.
pub(crate) const ENDS: Duration = Duration::from_secs(660);

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

/// The file that everything that a migration starts on a host, and that outlives it, holds locked.
pub(crate) fn held(name: &Name) -> String {
    format!("{}/held", folder(name))
}

/// Makes the work folder for root alone, with the id of the migration in it. It appears whole, and only
/// where there is none: that is the lock.
pub(crate) fn create(name: &Name, id: &str) -> Cmd {
    let script = r#"umask 077; mkdir -p "$1" && new=$1/.$3 && mkdir "$new" "$new/images" && printf '%s\n%s\n' "$3" "$4" > "$new/owner" && : > "$new/held" && mv -T "$new" "$2" && exit; rm -rf "$1/.$3"; exit 1"#;
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".into());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let who = format!("{user}@{}", machine.trim());
    Cmd::changes("sh").args(["-c", script, "sh", ROOT, &folder(name), id, &who])
}

/// Ends a lazy-pages daemon that works on the images in folder `$1`: one whose agent was killed before the restore
/// connected to it waits for that without end. So does a restore whose CRIU waits for a process that was killed, where
/// our runtime, which would have ended it, was killed too.
const END_WAITING: &str = r#"for f in $(LC_ALL=C grep -lsa -- "^criu.lazy-pages.*$1/images" /proc/[0-9]*/cmdline); do f=${f#/proc/}; kill -KILL "${f%/cmdline}"; done
for f in $(LC_ALL=C grep -lsa -- "^runc.*restore.*$1/images" /proc/[0-9]*/cmdline); do f=${f%/cmdline}; p=$(sed -n 's/^PPid:[^0-9]*//p' "$f/status"); grep -qsa transship-runtime "/proc/$p/cmdline" || kill -KILL $(cat "$f"/task/*/children) "${f#/proc/}"; done"#;

/// Removes the work folder of this migration with the images in it, which may be a file system in memory;
/// that of another migration stays.
pub(crate) fn remove(name: &Name, id: &str) -> Cmd {
    let script = format!(
        r#"rm -rf "$3/.$2"; [ "$(head -n 1 "$1/owner" 2>/dev/null)" = "$2" ] || exit 0; {END_WAITING}; umount -ql "$1/images"; {REMOVE}"#
    );
    Cmd::changes("sh").args(["-c", &script, "sh", &folder(name), id, ROOT])
}

/// Removes folder `$1`, in which CRIU may have worked. A CRIU that is killed leaves the control groups of the
/// host mounted there (v1): they are taken away, and by no means entered.
const REMOVE: &str = r#"while read -r _ at _; do case $at in "$1"/*.criu.cg*/*) ;; "$1"/*.criu.cg*) echo "$at";; esac; done < /proc/mounts | while read -r at; do umount -l "$at"; done; rm -rf --one-file-system "$1""#;

/// Removes the folder of a pending container; and where it did not come to run (`runc` is the folder that runc
/// has for it then), the root that a killed runc left mounted.
pub(crate) fn remove_pending(folder: &str, runc: Option<&str>) -> Cmd {
    let script = format!(
        r#"[ -z "$2" ] || ! umount -lq "$2/criu-root" || rmdir "$2/criu-root" "$2"; {REMOVE}"#
    );
    Cmd::changes("sh").args(["-c", &script, "sh", folder, runc.unwrap_or_default()])
}

/// Removes it, whosever it is: for a person who knows that none is under way.
fn remove_any(name: &Name) -> Cmd {
    let script = r#"umount -q "$1/images"; rm -rf "$1""#;
    Cmd::changes("sh").args(["-c", script, "sh", &folder(name)])
}

/// Whether the work folder on a host is that of this migration.
pub(crate) fn is_ours(host: &dyn Host, name: &Name, id: &str) -> Result<bool, Failure> {
    let script = r#"head -n 1 "$1/owner" 2>/dev/null; true"#;
    let owner = host.text(&Cmd::reads("sh").args(["-c", script, "sh", &folder(name)]))?;
    Ok(owner == id)
}

/// Ends what a killed migration started on a host and is still at work there: its agent is told to end,
/// and the dump, the checkpoint or the engine's command is waited for, since it cannot be taken back
/// half-way.
pub(crate) fn halt(name: &Name) -> Cmd {
    let script = format!(
        r#"
[ -d "$1" ] || exit 0
if pid=$(cat "$1/agent" 2>/dev/null) && grep -qa '[[:cntrl:]]agent[[:cntrl:]]' "/proc/$pid/cmdline" 2>/dev/null; then kill "$pid"; fi
{END_WAITING}
flock -w "$2" "$1/held" true || exit 1
for i in $(seq "$2"); do grep -qsa -- "$1[/]" /proc/[0-9]*/cmdline || exit 0; {END_WAITING}; sleep 1; done
exit 1
"#
    );
    Cmd::changes("sh")
        .args([
            "-c",
            &script,
            "sh",
            &folder(name),
            &ENDS.as_secs().to_string(),
        ])
        .timeout(2 * ENDS)
}

/// Refuses where an earlier migration of that name left its folder, or one is under way.
pub(crate) fn check(
    host: &dyn Host,
    name: &Name,
    stopped: Option<(&Engine, &Container)>,
    journals: Option<&Path>,
) -> Result<(), Failure> {
    let folder = folder(name);
    let script = r#"[ -d "$1" ] || exit 0; date -r "$1" +%FT%T; { cat "$1/owner" 2>/dev/null || printf '\n\n'; } | head -n 2; find "$1" -name "round-*" -prune -o -type f -name inventory.img -print | head -n 1"#;
    let found = host.text(&Cmd::reads("sh").args(["-c", script, "sh", &folder]))?;
    let mut lines = found.lines();
    let Some(since) = lines.next() else {
        return Ok(());
    };
    let (id, who) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let on = host.name();
    let ours = journals.and_then(|home| journal::find(home, id));
    if let Some(ours) = &ours
        && ours.under_way
    {
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "{name} is being moved from {} to {} at this moment, by process {} (migration {id})",
                ours.record.source, ours.record.destination, ours.record.process
            ),
        )
        .on(on)
        .fix("wait for it: transship migrate status"));
    }
    let what = match &ours {
        Some(_) => {
            format!("an earlier migration of {name}, {id}, was killed and left {folder} on {on}")
        }
        None if who.is_empty() => format!(
            "another migration of {name} is under way on {on} since {since}, or was killed and left {folder} there"
        ),
        None => format!(
            "another migration of {name}, {id}, begun by {who}, is under way on {on} since {since}, or was killed and left {folder} there"
        ),
    };
    let mut failure = Failure::new(Kind::Refused, what).on(on);
    if ours.is_some() {
        return Err(failure.fix(format!("transship migrate undo {id}")));
    }
    if !who.is_empty() {
        failure = failure.fix(format!("where it was begun, as {who}: transship migrate status {id}, and if it was killed: transship migrate undo {id}"));
    }
    if let Some((_, container)) = stopped
        && container.paused()
    {
        return Err(failure.fix(format!(
            "if none is under way and {name} does not run elsewhere, let it go on, on {on}: {}; {}",
            thaw::line(container, name),
            remove_any(name).line()
        )));
    }
    if let (Some((Engine::Docker(docker), container)), Some(_)) = (stopped, lines.next()) {
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
        remove_any(name).line()
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
        return vec![engine::Kind::Docker.start_from(name, Some(parent), &checkpoint())];
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
        engine::Kind::Docker.start_from(name, None, &checkpoint()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn a_restore_that_nobody_watches_any_more_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        // Shells in the place of both.
        std::os::unix::fs::symlink("/bin/sh", dir.path().join("runc")).unwrap();
        let ours = dir.path().join("transship-runtime");
        std::os::unix::fs::symlink("/bin/sh", &ours).unwrap();
        let runc = r#"PATH=$1:$PATH runc -c "echo; sleep 60; :" restore "$1/images"; :"#;
        let start = |parent: &std::path::Path| {
            let mut child = Command::new(parent)
                .args(["-c", runc, "sh"])
                .arg(dir.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
            child
        };
        let (mut alone, mut watched) = (start("/bin/sh".as_ref()), start(&ours));
        let end = Command::new("sh")
            .args(["-c", END_WAITING, "sh"])
            .arg(dir.path())
            .status();
        end.unwrap();
        alone.wait().unwrap();
        assert!(watched.try_wait().unwrap().is_none());
        watched.kill().unwrap();
        watched.wait().unwrap();
        let end = Command::new("sh")
            .args(["-c", END_WAITING, "sh"])
            .arg(dir.path())
            .status();
        end.unwrap();
    }
}
