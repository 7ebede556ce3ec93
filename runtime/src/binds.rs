//! Bind mounts of what is a symbolic link.

use serde_json::Value;
use std::path::Path;

/// Names the files and folders that bind mounts lead to: where a source is a symbolic link (`/etc/localtime`; the program
/// of `docker run --init` in Debian) runc's own mount follows it, while CRIU mounts the link itself, and fails.
pub(crate) fn follow_links(spec: &mut Value) {
    for mount in spec["mounts"].as_array_mut().into_iter().flatten() {
        let Some(source) = mount["source"].as_str().map(Path::new) else {
            continue;
        };
        // Other kinds of mounts have words in that place.
        if source.is_absolute()
            && source.is_symlink()
            && let Ok(end) = source.canonicalize()
        {
            mount["source"] = end.to_string_lossy().into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bind_mount_leads_to_is_mounted_and_not_the_link() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::write(dir.join("file"), "").unwrap();
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.join("broken")).unwrap();
        let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let mut spec = serde_json::json!({ "mounts": [
            { "source": at("link") }, { "source": at("file") }, { "source": at("broken") },
            { "source": "proc" }, { "destination": "/x" },
        ]});
        follow_links(&mut spec);
        let sources: Vec<_> = spec["mounts"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|mount| mount["source"].as_str())
            .collect();
        assert_eq!(sources, [&*at("file"), &at("file"), &at("broken"), "proc"]);
        follow_links(&mut serde_json::json!({}));
    }
}
