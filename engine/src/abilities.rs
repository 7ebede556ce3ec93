//! What each version of Docker can do. Nothing outside this file compares versions.

use crate::{Container, Docker};
use semver::Version;
use std::cmp::Ordering;

/// Why something does not work on an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Why {
    /// What does not work, and why.
    pub reason: String,
    /// What to do instead.
    pub fix: &'static str,
    /// Where this is known from.
    pub known_from: &'static str,
}

fn compare(version: &Version, numbers: (u64, u64, u64)) -> Ordering {
    // Pre-releases of a version already behave like it.
    (version.major, version.minor, version.patch).cmp(&numbers)
}

fn since(version: &Version, numbers: (u64, u64, u64)) -> bool {
    compare(version, numbers) != Ordering::Less
}

fn within(version: &Version, from: (u64, u64, u64), before: (u64, u64, u64)) -> bool {
    since(version, from) && !since(version, before)
}

impl Docker {
    fn daemon_since(&self, major: u64, minor: u64) -> bool {
        since(&self.version, (major, minor, 0))
    }

    /// An option on the command line needs a client that has it and a daemon that heeds it.
    fn both_since(&self, major: u64, minor: u64) -> bool {
        self.daemon_since(major, minor) && since(&self.client, (major, minor, 0))
    }

    /// Whether `docker start --checkpoint-dir` restores from any folder: up to 17.10. Later ones refuse
    /// with `custom checkpointdir is not supported`; there, put the checkpoint into [`Docker::restore_dir`].
    #[must_use]
    pub fn restores_from_folder(&self) -> bool {
        !self.daemon_since(17, 11)
    }

    /// Where `docker checkpoint create --checkpoint-dir DIR` puts a checkpoint of that name. 17.06 to 17.12 add
    /// the container's id. Measured on 17.09.1, 26.1.5 and 28.5.2.
    #[must_use]
    pub fn checkpoint_path(&self, dir: &str, container_id: &str, name: &str) -> String {
        let dir = dir.trim_end_matches('/');
        if within(&self.version, (17, 6, 0), (18, 1, 0)) {
            format!("{dir}/{container_id}/checkpoints/{name}")
        } else {
            format!("{dir}/{name}")
        }
    }

    /// The folder from which `docker start --checkpoint NAME` restores a container when it's given no other.
    #[must_use]
    pub fn restore_dir(&self, container_id: &str) -> String {
        let root = self.root_dir.trim_end_matches('/');
        format!("{root}/containers/{container_id}/checkpoints")
    }

    /// Whether a container with a terminal can be restored: from 19.03 on. Before,
    /// `cannot allocate tty if runc will detach without setting console socket`.
    #[must_use]
    pub fn restores_tty(&self) -> bool {
        self.daemon_since(19, 3)
    }

    /// Whether containers can be created with an OCI runtime of our own (`--runtime`, `runtimes` in
    /// daemon.json, reread on SIGHUP): since 1.12.
    #[must_use]
    pub fn takes_runtimes(&self) -> bool {
        self.daemon_since(1, 12)
    }

    /// The json-file log of a container, which may not have been started yet.
    #[must_use]
    pub fn json_log(&self, container_id: &str) -> String {
        let root = self.root_dir.trim_end_matches('/');
        format!("{root}/containers/{container_id}/{container_id}-json.log")
    }

    /// Whether `save` names a layer's file by the layer's content, `blobs/sha256/…`. Since 25.0, and unless
    /// images are kept by containerd, which compresses layers and whose `load` wants all. Source: moby,
    /// `image/tarexport/save.go`.
    #[must_use]
    pub fn saves_layers_by_content(&self) -> bool {
        self.daemon_since(25, 0) && self.storage_driver == "overlay2"
    }

    /// Whether `load` does without the files of layers that are there already: `image/tarexport/load.go` asks
    /// for these first. Not where images are kept by containerd.
    #[must_use]
    pub fn loads_without_known_layers(&self) -> bool {
        self.storage_driver == "overlay2"
    }

    /// Where runc keeps the state of this daemon's containers, for `runc --root`; `runtime` is the one that the
    /// container was created with. Up to 17.10 runc's own default; up to 19.03 a folder for each runtime;
    /// later one for all. Source: moby, `daemon/start_unix.go`, `daemon/runtime_unix.go`.
    #[must_use]
    pub fn runc_root(&self, runtime: &str) -> String {
        if !self.daemon_since(17, 11) {
            "/run/runc".to_owned()
        } else if !self.daemon_since(20, 10) && !runtime.is_empty() {
            format!("/run/docker/runtime-{runtime}/moby")
        } else {
            "/run/docker/runtime-runc/moby".to_owned()
        }
    }

    /// Whether this daemon can restore such a container through its own API (`docker start --checkpoint`).
    ///
    /// # Errors
    /// The reason why it can't, and what to do instead.
    pub fn can_restore(&self, container: &Container) -> Result<(), Why> {
        let version = &self.version;
        let no = |reason: String, fix, known_from| {
            Err(Why {
                reason,
                fix,
                known_from,
            })
        };
        if within(version, (17, 11, 0), (18, 9, 2)) {
            return no(
                format!(
                    "Docker {version} can't restore: its containerd can't give a restored container its network namespace"
                ),
                "use --mode copy, Docker 17.10 or earlier, or 19.03 or later",
                "moby#35691",
            );
        }
        if let Some(containerd) = &self.containerd
            && within(containerd, (1, 3, 0), (1, 5, 0))
        {
            return no(
                format!(
                    "containerd {containerd} silently starts a container from zero where it should restore it"
                ),
                "use --mode copy, or containerd 1.5 or later",
                "criu#1223",
            );
        }
        if within(version, (25, 0, 0), (25, 0, 4)) {
            return no(
                format!(
                    "Docker {version} can't restore: it asks for the checkpoint by a wrong digest"
                ),
                "use --mode copy, or Docker 25.0.4 or later",
                "moby#47466",
            );
        }
        if self.loses_new_network_namespace() && container.has_own_network_namespace() {
            return no(
                format!(
                    "Docker {version} can't restore a container with a network namespace of its own (--network {}): it looks for it in /proc/0/ns/net",
                    container.network_mode()
                ),
                "use --mode copy",
                "containerd#12141; moby, daemon/start_linux.go",
            );
        }
        if container.tty() && !self.restores_tty() {
            return no(
                format!("Docker {version} can't restore a container that has a terminal (-t)"),
                "use Docker 19.03 or later, or a container without -t",
                "moby#38405; measured on 17.09.1",
            );
        }
        Ok(())
    }

    /// 26.0.0, and 28.0 and later, configure the network through the process id of the created task,
    /// which a restored task doesn't have yet; 26.0.1 to 27.5 do it in a hook. It applies to every network mode
    /// that makes a new namespace, `none` too. Source: moby, `initializeCreatedTask` in each release;
    /// measured: on 26.1.5 bridge and `none` work; on 28.5.2 neither does, `host` does.
    fn loses_new_network_namespace(&self) -> bool {
        within(&self.version, (26, 0, 0), (26, 0, 1)) || self.daemon_since(28, 0)
    }

    pub(crate) fn has_pull_option(&self) -> bool {
        self.both_since(20, 10)
    }

    pub(crate) fn has_domainname_option(&self) -> bool {
        self.both_since(19, 3)
    }

    pub(crate) fn has_cgroupns_option(&self) -> bool {
        self.both_since(20, 10)
    }

    pub(crate) fn has_gpus_option(&self) -> bool {
        self.both_since(19, 3)
    }

    pub(crate) fn has_annotation_option(&self) -> bool {
        self.both_since(24, 0)
    }

    pub(crate) fn has_start_interval_option(&self) -> bool {
        self.both_since(25, 0)
    }

    pub(crate) fn has_systempaths_option(&self) -> bool {
        self.both_since(19, 3)
    }

    /// `--network name=…,driver-opt=…`: since 19.03.
    pub(crate) fn has_network_fields(&self) -> bool {
        self.both_since(19, 3)
    }

    /// `bind-nonrecursive` in `--mount`: since 19.03.
    pub(crate) fn has_bind_nonrecursive_field(&self) -> bool {
        self.both_since(19, 3)
    }

    /// `volume-subpath` in `--mount`: since 26.0.
    pub(crate) fn has_volume_subpath_field(&self) -> bool {
        self.both_since(26, 0)
    }

    /// `image-subpath` in `--mount`: since 28.0.
    pub(crate) fn has_image_subpath_field(&self) -> bool {
        self.both_since(28, 0)
    }

    /// Whether the client silently drops `--device-read-bps` and its like (docker/cli#5321); measured on 26.1.5.
    /// Source: docker/cli, `GetList` in `opts/throttledevice.go` of each release.
    pub(crate) fn drops_device_rates(&self) -> bool {
        within(&self.client, (25, 0, 0), (25, 0, 7)) || within(&self.client, (26, 0, 0), (27, 1, 2))
    }

    /// `gw-priority`: since 28.0.
    pub(crate) fn has_gateway_priority(&self) -> bool {
        self.both_since(28, 0)
    }

    /// `bind-recursive=` in `--mount`, which replaces `bind-nonrecursive`: since 25.0.
    pub(crate) fn has_bind_recursive_field(&self) -> bool {
        self.both_since(25, 0)
    }

    /// A limit for kernel memory: ignored by the daemon since 23.0 (API 1.42).
    pub(crate) fn limits_kernel_memory(&self) -> bool {
        !self.daemon_since(23, 0)
    }
}
