//! What is pending: a folder for each container that is on its way to this host.
//!
//! `HOME/ID/` belongs to root and is closed to all others, and so is everything above it: nobody else
//! can make the runtime restore something. In it:
//! - `options.json`: [`Options`];
//! - `gate`: a fifo. The runtime reads it; whoever brings the images holds it open for writing, writes
//!   [`HERE`] at once and again and again while they come, and [`GO`] when they are complete. When it is
//!   closed without that, the runtime gives up at once;
//! - `tried`: made when a restore was begun; no container is restored from one folder twice;
//! - `pid`: process id of the restored first process, until `start`;
//! - `kept`: made by whoever fetches memory that was not in the images, once nothing can be lost any
//!   more by the end of one process; `start` waits for it;
//! - `helpers/`: `netavark`, which is our program, and `real`, which is netavark, where the engine attaches networks
//!   before it calls the runtime; see `attach`;
//! - `locked`: made when the network was locked before it was attached;
//! - `replay`: what the container printed last where it came from; printed before it goes on; `replay.out`,
//!   `replay.err` and `printing` where a process of its own does that;
//! - `work/`: CRIU's log.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder with a folder for each pending container.
pub const HOME: &str = "/run/transship/restore";

/// What is written into the gate by whoever brings the images, as soon as the runtime waits there and then
/// every now and then.
pub const HERE: &[u8] = b"here\n";

/// What is written into the gate when the images are complete.
pub const GO: &[u8] = b"go\n";

/// Name of the file with lines of the json-file log driver that are printed anew.
pub const REPLAY: &str = "replay";

/// Name of the file with the process id of the restored first process.
pub const PID: &str = "pid";

/// Name of the file that says that the user faults of a container without its memory are held.
pub const KEPT: &str = "kept";

/// Name of the folder with what Podman takes for its helpers.
pub const HELPERS: &str = "helpers";

/// Name there of what it takes for netavark.
pub const NETAVARK: &str = "netavark";

/// Name there of the real one.
pub const REAL: &str = "real";

/// Name of the file that says that the network was locked before it was attached.
pub(crate) const LOCKED: &str = "locked";

/// How a container is to be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Folder with the images.
    pub images: PathBuf,
    /// How long to wait for them without a sign that they come, in seconds.
    pub wait_seconds: u64,
    /// Restore established TCP connections.
    #[serde(default)]
    pub tcp_established: bool,
    /// Addresses that these need.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Memory is not in the images: CRIU's lazy-pages daemon, whose socket is in `work/`, brings it.
    #[serde(default)]
    pub lazy_pages: bool,
    /// What runc's image of the container's standard descriptors will say, where that is known: then runc and CRIU are
    /// started before the images are there.
    #[serde(default)]
    pub descriptors: Option<String>,
}

/// The folder of one pending container, checked.
#[derive(Debug)]
pub struct Pending {
    folder: PathBuf,
}

impl Pending {
    /// The folder of a container, if it is pending.
    ///
    /// # Errors
    /// A folder that others than root could have made or changed.
    pub fn find(home: &Path, id: &str) -> Result<Option<Self>, String> {
        if !is_id(id) {
            return Ok(None);
        }
        let folder = home.join(id);
        if folder.symlink_metadata().is_err() {
            return Ok(None);
        }
        let above = home.parent().into_iter().chain([home, &folder]);
        for path in above {
            closed(path)?;
        }
        Ok(Some(Pending { folder }))
    }

    /// The one whose folder this is.
    ///
    /// # Errors
    /// A folder that others than root could have made or changed.
    pub(crate) fn at(folder: &Path) -> Result<Self, String> {
        let folder = folder.to_owned();
        closed(&folder)?;
        Ok(Pending { folder })
    }

    /// A file of the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// How it is to be restored.
    ///
    /// # Errors
    /// No options, or not understood.
    pub fn options(&self) -> Result<Options, String> {
        let path = self.path("options.json");
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Claims the folder for one restore.
    ///
    /// # Errors
    /// It was claimed before.
    pub fn claim(&self) -> Result<(), String> {
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path("tried"))
            .map(drop)
            .map_err(|error| {
                format!("its checkpoint was tried before ({error}): remove this container and move it again")
            })
    }

    /// Removes the folder.
    pub fn remove(&self) {
        // Lives in memory, and `tried` in it keeps it from being used again.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A container's id as engines make them: never a path.
fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && !id.starts_with('.')
}

/// Whether only the user we run as (root) can change what is in a folder.
fn closed(path: &Path) -> Result<(), String> {
    let meta = path
        .symlink_metadata()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if meta.is_dir() && ours && meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(format!(
        "{} is not a folder that root alone can change: nothing is restored from it",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn home() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("restore");
        std::fs::create_dir_all(home.join("abc")).unwrap();
        (dir, home)
    }

    #[test]
    fn only_a_closed_folder_counts() {
        let (_dir, home) = home();
        assert!(Pending::find(&home, "other").unwrap().is_none());
        assert!(Pending::find(&home, "abc").unwrap().is_some());
        for open in [home.join("abc"), home.clone()] {
            std::fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
            let why = Pending::find(&home, "abc").unwrap_err();
            assert!(why.contains("root alone"), "{why}");
            std::fs::set_permissions(&open, Permissions::from_mode(0o700)).unwrap();
        }
        std::os::unix::fs::symlink(home.join("abc"), home.join("link")).unwrap();
        assert!(Pending::find(&home, "link").is_err());
    }

    #[test]
    fn an_id_is_never_a_path() {
        let (_dir, home) = home();
        for id in ["", ".", "..", "../restore/abc", "a/b", "a b"] {
            assert!(Pending::find(&home, id).unwrap().is_none(), "{id}");
        }
    }

    #[test]
    fn a_folder_is_used_once() {
        let (_dir, home) = home();
        let pending = Pending::find(&home, "abc").unwrap().unwrap();
        pending.claim().unwrap();
        assert!(pending.claim().is_err());
        pending.remove();
        assert!(Pending::find(&home, "abc").unwrap().is_none());
    }
}
