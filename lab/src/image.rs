//! The image that containers in the lab are made from: busybox with the lab's workloads.
//!
//! It is written as an archive that `docker load` and `podman load` read, without an engine: the same
//! bytes, so the same image id, on every host and in every lab.

use crate::config::LabConfig;
use crate::disk::{self, folder};
use crate::error::{LabError, Result, at};
use crate::event::{Event, note, step};
use crate::machine::Lock;
use host::{Cmd, Host, Local};
use sha2::{Digest, Sha256};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Reference of the image.
pub(crate) const NAME: &str = "busybox:latest";

const WORKLOADS: [(&str, &str); 2] = [
    ("hog", include_str!("../workloads/hog.c")),
    ("tcps", include_str!("../workloads/tcps.c")),
];
const APPLETS: &str = "awk cat chmod date dd echo env expr false find grep head hostname httpd id ip \
    kill ln ls md5sum mkdir mkfifo mv nc od ping printf ps pwd rm sed seq sh sha256sum sleep sort stat \
    stty sync tail tar test tee timeout touch tr true tty uname uniq usleep vi wc wget xargs";

/// The image, ready to be loaded.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Archive as `docker load` takes it.
    pub(crate) archive: PathBuf,
    /// `sha256:` and the digest of its configuration.
    pub(crate) id: String,
}

/// The image from the cache, or made now of the busybox in a root file system.
pub(crate) fn ensure(
    config: &LabConfig,
    rootfs: &Path,
    on: &mut dyn FnMut(Event),
) -> Result<Image> {
    let busybox = rootfs.join("usr/bin/busybox");
    let compiler = which::which("gcc").is_ok();
    let key = key(&std::fs::read(&busybox).map_err(at(&busybox))?, compiler);
    let done = config.cache.join(format!("image-{key}"));
    if !done.is_dir() {
        let _lock = Lock::take(&config.cache, on)?;
        if !done.is_dir() {
            if !compiler {
                note(
                    on,
                    "no gcc here: the image has no hog and tcps (apt-get install gcc libc6-dev)",
                );
            }
            step(on, "image busybox", |_| build(&done, &busybox, compiler))?;
        }
    }
    let id = done.join("id");
    Ok(Image {
        archive: done.join("image.tar"),
        id: std::fs::read_to_string(&id).map_err(at(&id))?,
    })
}

fn key(busybox: &[u8], compiler: bool) -> String {
    let mut hash = Sha256::new();
    hash.update(busybox);
    hash.update(format!(
        "{compiler} {APPLETS} {WORKLOADS:?} {}",
        config_json("")
    ));
    hex(&hash.finalize())[..12].to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Configuration of the image, OCI image-spec config.md.
fn config_json(layer: &str) -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    serde_json::json!({
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": { "Cmd": ["sh"], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "comment": "busybox of the lab" }],
    })
    .to_string()
}

fn build(done: &Path, busybox: &Path, compiler: bool) -> Result<()> {
    let half = done.with_extension("half");
    if half.exists() {
        std::fs::remove_dir_all(&half).map_err(at(&half))?;
    }
    let root = half.join("root");
    for (name, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
    ] {
        folder(&root.join(name), mode)?;
    }
    folder(&root, 0o755)?;
    let bin = root.join("bin");
    std::fs::copy(busybox, bin.join("busybox")).map_err(at(busybox))?;
    executable(&bin.join("busybox"))?;
    for applet in APPLETS.split_whitespace() {
        symlink("busybox", bin.join(applet)).map_err(at(&bin))?;
    }
    let write = |path: PathBuf, bytes: &[u8]| std::fs::write(&path, bytes).map_err(at(&path));
    disk::write(
        &root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\n",
        0o644,
    )?;
    disk::write(&root.join("etc/group"), "root:x:0:\n", 0o644)?;
    if compiler {
        for (name, source) in WORKLOADS {
            compile(&bin.join(name), source)?;
        }
    }
    let layer = half.join("layer.tar");
    // The same bytes for the same content, whenever and by whomever it is made.
    tar(
        &root,
        &layer,
        &[
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            ".",
        ],
    )?;
    let layer_digest = hex(&Sha256::digest(std::fs::read(&layer).map_err(at(&layer))?));
    let config = config_json(&layer_digest);
    let id = hex(&Sha256::digest(&config));
    let config_name = format!("{id}.json");
    let manifest = serde_json::json!([{
        "Config": config_name, "RepoTags": [NAME], "Layers": ["layer.tar"],
    }]);
    write(half.join(&config_name), config.as_bytes())?;
    write(half.join("manifest.json"), manifest.to_string().as_bytes())?;
    write(half.join("id"), format!("sha256:{id}").as_bytes())?;
    tar(
        &half,
        &half.join("image.tar"),
        &["manifest.json", &config_name, "layer.tar"],
    )?;
    std::fs::remove_file(&layer).map_err(at(&layer))?;
    std::fs::remove_dir_all(&root).map_err(at(&root))?;
    std::fs::rename(&half, done).map_err(at(done))
}

fn tar(folder: &Path, to: &Path, args: &[&str]) -> Result<()> {
    let cmd = Cmd::changes("tar")
        .args([
            "-C",
            &folder.to_string_lossy(),
            "-cf",
            &to.to_string_lossy(),
        ])
        .args(args.iter().copied());
    Ok(Local.text(&cmd).map(drop)?)
}

/// Makes a file executable for all, whatever the umask: modes are part of the image's id.
fn executable(path: &Path) -> Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(at(path))
}

fn compile(to: &Path, source: &str) -> Result<()> {
    let cmd = Cmd::changes("gcc")
        .args([
            "-O2",
            "-static",
            "-x",
            "c",
            "-o",
            &to.to_string_lossy(),
            "-",
        ])
        .stdin(source.as_bytes());
    Local.text(&cmd).map_err(|error| LabError::Image {
        what: error.to_string(),
    })?;
    executable(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_builds_have_one_id() {
        let dir = tempfile::tempdir().unwrap();
        let busybox = dir.path().join("busybox");
        std::fs::write(&busybox, "not really").unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        build(&one, &busybox, false).unwrap();
        build(&two, &busybox, false).unwrap();
        let read = |path: &Path| std::fs::read_to_string(path.join("id")).unwrap();
        assert!(read(&one).starts_with("sha256:"));
        assert_eq!(read(&one), read(&two));
        assert!(one.join("image.tar").exists() && !one.join("root").exists());
    }

    #[test]
    fn the_key_changes_with_the_content() {
        assert_ne!(key(b"a", true), key(b"b", true));
        assert_ne!(key(b"a", true), key(b"a", false));
    }

    #[test]
    fn what_the_compiler_says_is_handed_on() {
        if which::which("gcc").is_err() {
            eprintln!("SKIPPED: no gcc");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let error = compile(&dir.path().join("x"), "int main(void) { retrun 0; }").unwrap_err();
        assert!(error.to_string().contains("retrun"), "{error}");
    }
}
