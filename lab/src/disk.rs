//! A host's own disk: what differs from the shared root file system.

use crate::config::{Engine, LabConfig, Node};
use crate::error::{Result, at};
use crate::ssh::{self, Keys};
use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file to be written into a host's disk.
pub(crate) struct File {
    path: &'static str,
    text: String,
    mode: u32,
}

impl File {
    pub(crate) fn new(path: &'static str, text: &str, mode: u32) -> File {
        File {
            path,
            text: text.to_owned(),
            mode,
        }
    }
}

/// Folders that files are written to; in an overlay they get the mode they have in the upper layer.
const FOLDERS: [(&str, u32); 7] = [
    ("etc", 0o755),
    ("etc/containers", 0o755),
    ("etc/docker", 0o755),
    ("etc/ssh", 0o755),
    ("etc/ssh/sshd_config.d", 0o755),
    ("root", 0o700),
    ("root/.ssh", 0o700),
];

/// Experimental, since the checkpoint commands need it; overlay2, since CRIU and the engine's own
/// restore are known to work on it.
const DAEMON_JSON: &str = r#"{"experimental":true,"storage-driver":"overlay2"}"#;
/// Without systemd in the host there is neither its cgroup manager nor its journal. runc, since
/// a checkpoint is made and restored by runc on every engine.
const CONTAINERS_CONF: &str =
    "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n";
const STORAGE_CONF: &str = "[storage]\ndriver = \"overlay\"\n\
                            graphroot = \"/var/lib/containers/storage\"\nrunroot = \"/run/containers/storage\"\n";
/// Silences Podman's advice about cgroup v1, which would be in the way of everything that reads its
/// standard error.
pub(crate) const PODMAN_QUIET: (&str, &str) = ("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");

/// Makes the folders of a host, and fills its disk unless that was done before: a host that is
/// started again finds what it had.
pub(crate) fn ensure(config: &LabConfig, node: &Node, keys: &Keys) -> Result<()> {
    for name in ["work", "root", "docker", "containers"] {
        let folder = node.dir.join(name);
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
    }
    let upper = node.dir.join("upper");
    if upper.exists() {
        return Ok(());
    }
    let half = node.dir.join("upper.half");
    folder(&half, 0o755)?;
    for (name, mode) in FOLDERS {
        folder(&half.join(name), mode)?;
    }
    for file in files(config, node, keys) {
        write(&half.join(file.path), &file.text, file.mode)?;
    }
    std::fs::rename(&half, &upper).map_err(at(&upper))
}

fn files(config: &LabConfig, node: &Node, keys: &Keys) -> Vec<File> {
    let nodes = config.nodes();
    let mut hosts = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for node in &nodes {
        let _ = writeln!(hosts, "{} {}", node.address, node.name);
    }
    let mut files = ssh::host_files(&nodes, keys);
    files.push(File::new("etc/hosts", &hosts, 0o644));
    files.push(File::new(
        "etc/hostname",
        &format!("{}\n", node.name),
        0o644,
    ));
    let no_way_out = "# No name server: the lab has no way out.\n";
    files.push(File::new("etc/resolv.conf", no_way_out, 0o644));
    match node.engine {
        Engine::Docker26 | Engine::Docker28 => {
            files.push(File::new("etc/docker/daemon.json", DAEMON_JSON, 0o644));
        }
        Engine::Podman => {
            files.push(File::new(
                "etc/containers/containers.conf",
                CONTAINERS_CONF,
                0o644,
            ));
            files.push(File::new(
                "etc/containers/storage.conf",
                STORAGE_CONF,
                0o644,
            ));
            // Read by sshd's PAM session.
            let quiet = format!("{}={}\n", PODMAN_QUIET.0, PODMAN_QUIET.1);
            files.push(File::new("etc/environment", &quiet, 0o644));
        }
    }
    files
}

/// Makes a folder with this mode, whatever the umask.
pub(crate) fn folder(path: &Path, mode: u32) -> Result<()> {
    std::fs::create_dir_all(path)
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(at(path))
}

/// Writes a file that is complete or not there, never readable by more than its mode says.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let half = PathBuf::from(format!("{}.half", path.display()));
    let _ = std::fs::remove_file(&half);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&half)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::set_permissions(&half, Permissions::from_mode(mode)))
        .and_then(|()| std::fs::rename(&half, path))
        .map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_disk_is_filled_once_with_the_modes_ssh_insists_on() {
        let dir = tempfile::tempdir().unwrap();
        let config = LabConfig {
            state_root: dir.path().to_owned(),
            ..LabConfig::default()
        };
        std::fs::create_dir(config.state_dir()).unwrap();
        let keys = ssh::ensure(&config).unwrap();
        let node = &config.nodes()[1];
        ensure(&config, node, &keys).unwrap();
        let upper = node.dir.join("upper");
        assert_eq!(mode(&upper), 0o755);
        assert_eq!(mode(&upper.join("root/.ssh")), 0o700);
        assert_eq!(mode(&upper.join("etc/ssh/ssh_host_ed25519_key")), 0o600);
        assert_eq!(mode(&upper.join("etc/hosts")), 0o644);
        let hosts = std::fs::read_to_string(upper.join("etc/hosts")).unwrap();
        assert!(hosts.contains("10.77.0.2 a\n10.77.0.3 b\n"), "{hosts}");

        let changed = upper.join("etc/docker/daemon.json");
        std::fs::write(&changed, "mine").unwrap();
        ensure(&config, node, &keys).unwrap();
        assert_eq!(std::fs::read_to_string(changed).unwrap(), "mine");
    }
}
