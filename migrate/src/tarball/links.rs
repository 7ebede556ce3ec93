//! Bind mounts of what is a symbolic link. From 3.17 on CRIU mounts the link and not what it leads to, and the restore
//! fails, on the source too. Mode copy names the end of the link in the bundle; here the engine makes the bundle.

use crate::Failure;
use engine::Container;
use host::{Cmd, Host};

/// Prints CRIU's version, and which of the paths are links; among them, where it is asked for, the program that Docker
/// mounts for `--init`.
const LOOK: &str = r#"criu --version | sed -n 's/^Version: *//p'
[ "$1" != true ] || set -- "$@" "$(command -v docker-init)"
shift
for at; do [ ! -L "$at" ] || printf '%s\n' "$at"; done"#;

/// No bind mount of the container leads through a link on this host.
pub(crate) fn none(host: &dyn Host, container: &Container) -> Result<(), Failure> {
    let init = container.raw()["HostConfig"]["Init"] == true;
    let binds = container.mounts().into_iter();
    let binds = binds.filter(|mount| mount.kind == "bind");
    let cmd = Cmd::reads("sh")
        .args(["-c", LOOK, "sh", &init.to_string()])
        .args(binds.map(|mount| mount.source));
    let text = host.text(&cmd)?;
    let (version, links) = text.split_once('\n').unwrap_or((&text, ""));
    let Some(link) = links.lines().next().filter(|_| mounts_links(version)) else {
        return Ok(());
    };
    let (on, name) = (host.name(), container.name());
    let what = format!(
        "{name} has {link} mounted, a symbolic link on {on}, which CRIU {version} cannot restore"
    );
    Err(Failure::refused(on, what).fix("--mode copy"))
}

/// Whether CRIU of this version mounts links; of one that says none nothing is known.
fn mounts_links(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(3), Some(17))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_engine_of_3_17_mounts_links() {
        for (version, yes) in [
            ("2.0", false),
            ("3.16.1", false),
            ("3.17.1", true),
            ("4.2.1", true),
            ("", false),
        ] {
            assert_eq!(mounts_links(version), yes, "{version}");
        }
    }
}
