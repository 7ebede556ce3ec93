//! The control group of a container that is restored, in cgroup v2.
//!
//! runc makes the new container's group and tells CRIU of it for cgroup v1 alone (`libcontainer/criu_linux.go`,
//! `criuApplyCgroups`). Without a word CRIU puts the processes into a group of the *old* container's name, and
//! the engine finds its own one gone: no `docker pause`, no `docker top`, no further checkpoint.

use serde_json::Value;
use std::path::Path;

/// Whether this host has cgroup v2 alone.
pub(crate) fn unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Where runc makes the group, from the root of the hierarchy; none where only runc knows.
pub(crate) fn path(spec: &Value, systemd: bool) -> Option<String> {
    let wanted = spec["linux"]["cgroupsPath"].as_str()?;
    if !systemd {
        return wanted.starts_with('/').then(|| wanted.to_owned());
    }
    // slice:prefix:name
    let mut parts = wanted.splitn(3, ':');
    let (slice, prefix, name) = (parts.next()?, parts.next()?, parts.next()?);
    let slice = if slice.is_empty() {
        "system.slice"
    } else {
        slice
    };
    let unit = match (name.ends_with(".slice"), prefix) {
        (true, _) => name.to_owned(),
        (false, "") => format!("{name}.scope"),
        (false, prefix) => format!("{prefix}-{name}.scope"),
    };
    Some(format!("{}/{unit}", expand(slice)?))
}

/// A slice's folder: `a-b.slice` lies in `a.slice` (systemd.slice(5)).
fn expand(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(String::new());
    }
    let ends = name.match_indices('-').map(|(at, _)| at);
    Some(
        ends.chain([name.len()])
            .map(|end| format!("/{}.slice", &name[..end]))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wanted: &str, systemd: bool) -> Option<String> {
        path(
            &serde_json::json!({ "linux": { "cgroupsPath": wanted } }),
            systemd,
        )
    }

    #[test]
    fn the_groups_that_engines_ask_for() {
        let cases = [
            (
                "system.slice:docker:abc",
                true,
                "/system.slice/docker-abc.scope",
            ),
            (":docker:abc", true, "/system.slice/docker-abc.scope"),
            (
                "machine.slice:libpod:abc",
                true,
                "/machine.slice/libpod-abc.scope",
            ),
            (
                "a-b-c.slice::x",
                true,
                "/a.slice/a-b.slice/a-b-c.slice/x.scope",
            ),
            ("-.slice:docker:abc", true, "/docker-abc.scope"),
            ("a.slice::a-b.slice", true, "/a.slice/a-b.slice"),
            ("/docker/abc", false, "/docker/abc"),
        ];
        for (wanted, systemd, place) in cases {
            assert_eq!(of(wanted, systemd).as_deref(), Some(place), "{wanted}");
        }
        // Below runc's own group; a path where units are named.
        assert_eq!(of("docker/abc", false), None);
        assert_eq!(of("/docker/abc", true), None);
        assert_eq!(path(&serde_json::json!({}), false), None);
    }
}
