//! A cgroup for each host, in every hierarchy this machine has.
//!
//! Machines differ: cgroup v1 with one hierarchy per controller, v2 with one tree, or both mounted
//! with the controllers in v1 (systemd calls that hybrid). Where v1 has the controllers, v1 is used,
//! as container engines do.

use crate::error::{LabError, Result, at};
use crate::machine::wait_until;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In v2 a cgroup that hands controllers on holds no processes itself: they live in this leaf.
const LEAF: &str = "init";

/// A cgroup v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// What to mount it with: `cpu`, `cpu,cpuacct`, `name=systemd`.
    options: String,
    /// Where it is mounted.
    mount: PathBuf,
}

/// How this machine's cgroups are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    V1(Vec<Hierarchy>),
    V2(PathBuf),
}

impl Layout {
    /// The layout of this machine.
    pub(crate) fn of_this_machine() -> Result<Layout> {
        let path = Path::new("/proc/self/mountinfo");
        let text = std::fs::read_to_string(path).map_err(at(path))?;
        Layout::parse(&text).ok_or(LabError::NoCgroups)
    }

    /// Reads mountinfo, proc(5): mount point in field 5; after ` - ` the type, the source, and the
    /// options of the file system.
    fn parse(mountinfo: &str) -> Option<Layout> {
        let mut v1: Vec<Hierarchy> = Vec::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let mut after = after.split(' ');
            let (kind, options) = (after.next(), after.nth(1).unwrap_or_default());
            let Some(mount) = before.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            if kind == Some("cgroup2") {
                v2.get_or_insert(mount);
            } else if kind == Some("cgroup") {
                let ours: Vec<&str> = options.split(',').filter(|o| is_controller(o)).collect();
                let options = ours.join(",");
                if !options.is_empty() && v1.iter().all(|h| h.options != options) {
                    v1.push(Hierarchy { options, mount });
                }
            }
        }
        let controllers = v1.iter().any(|h| !h.options.starts_with("name="));
        if controllers {
            return Some(Layout::V1(v1));
        }
        v2.map(Layout::V2)
    }

    /// Arguments for init.sh.
    pub(crate) fn init_args(&self) -> Vec<String> {
        match self {
            Layout::V1(all) => all.iter().map(|h| h.options.clone()).collect(),
            Layout::V2(_) => vec!["cgroup2".to_owned()],
        }
    }

    fn mounts(&self) -> Vec<&Path> {
        match self {
            Layout::V1(all) => all.iter().map(|h| h.mount.as_path()).collect(),
            Layout::V2(mount) => vec![mount],
        }
    }

    fn folders(&self, label: &str) -> Vec<PathBuf> {
        self.mounts()
            .iter()
            .map(|mount| mount.join(label))
            .collect()
    }

    /// Makes a host's cgroups; those that are there stay. Returns the files through which init joins.
    pub(crate) fn create(&self, label: &str) -> Result<Vec<PathBuf>> {
        if let Layout::V2(mount) = self {
            hand_on_controllers(mount);
        }
        for folder in self.folders(label) {
            std::fs::create_dir_all(&folder).map_err(at(&folder))?;
            // A new v1 cpuset is empty, and nothing may join an empty one.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                inherit(&folder, file)?;
            }
        }
        Ok(self
            .folders(label)
            .iter()
            .map(|f| f.join("cgroup.procs"))
            .collect())
    }

    /// After init has made its cgroup namespace: v2 lets the host's engine make cgroups with
    /// controllers only when all processes are out of the way, in a leaf.
    pub(crate) fn settle(&self, label: &str) -> Result<()> {
        let Layout::V2(mount) = self else {
            return Ok(());
        };
        let host = mount.join(label);
        let leaf = host.join(LEAF);
        std::fs::create_dir_all(&leaf).map_err(at(&leaf))?;
        for pid in pids_in(&host) {
            // It may have ended by now; any other reason shows when controllers are handed on.
            let _ = std::fs::write(leaf.join("cgroup.procs"), pid.to_string());
        }
        hand_on_controllers(&host);
        Ok(())
    }

    /// The files through which more processes join a host that is up.
    pub(crate) fn joins(&self, label: &str) -> Vec<PathBuf> {
        let leaf = |folder: PathBuf| match self {
            Layout::V1(_) => folder.join("cgroup.procs"),
            Layout::V2(_) => folder.join(LEAF).join("cgroup.procs"),
        };
        self.folders(label).into_iter().map(leaf).collect()
    }

    /// All processes of a host, its containers included.
    pub(crate) fn pids(&self, label: &str) -> BTreeSet<u32> {
        let mut pids = BTreeSet::new();
        for folder in self.folders(label) {
            for folder in tree(&folder) {
                pids.extend(pids_in(&folder));
            }
        }
        pids
    }

    /// Lets frozen processes of a host go on: with cgroup v1 even a killed one ends only then.
    pub(crate) fn thaw(&self, label: &str) {
        for folder in self.folders(label).iter().flat_map(|folder| tree(folder)) {
            // Only the freezer's folders have the first; v2's, but for the root, the second.
            for (file, state) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
                let file = folder.join(file);
                if file.exists() {
                    let _ = std::fs::write(file, state);
                }
            }
        }
    }

    /// Labels of hosts that have a cgroup here, of those that begin with `prefix`.
    pub(crate) fn labels(&self, prefix: &str) -> BTreeSet<String> {
        self.mounts()
            .into_iter()
            .filter_map(|mount| std::fs::read_dir(mount).ok())
            .flat_map(|entries| entries.flatten())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix))
            .collect()
    }

    /// Removes a host's cgroups; its processes must have ended. Returns what would not go.
    pub(crate) fn remove(&self, label: &str) -> Vec<PathBuf> {
        let folders = self.folders(label);
        // The kernel lets go of a cgroup a little after its last process.
        wait_until(Duration::from_secs(10), || {
            for folder in &folders {
                for folder in tree(folder) {
                    let _ = std::fs::remove_dir(folder);
                }
            }
            folders.iter().all(|folder| !folder.exists())
        });
        folders
            .into_iter()
            .filter(|folder| folder.exists())
            .collect()
    }
}

/// Options of a v1 mount that name what it controls (cgroups(7)), not how it is mounted.
fn is_controller(option: &str) -> bool {
    const HOW: [&str; 7] = [
        "rw",
        "ro",
        "xattr",
        "noprefix",
        "clone_children",
        "cpuset_v2_mode",
        "favordynmods",
    ];
    !HOW.contains(&option) && !option.starts_with("release_agent=")
}

/// Hands on to the children all the controllers that a v2 cgroup has.
fn hand_on_controllers(folder: &Path) {
    let controllers =
        std::fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        // One by one, since any of them may be refused (cpu with realtime processes, say): a host
        // without that controller still works, its containers have no such limit.
        let _ = std::fs::write(
            folder.join("cgroup.subtree_control"),
            format!("+{controller}"),
        );
    }
}

/// Copies a setting from the parent where a new cgroup has none.
fn inherit(folder: &Path, file: &str) -> Result<()> {
    let own = folder.join(file);
    let Ok(value) = std::fs::read_to_string(&own) else {
        return Ok(());
    };
    let parent = folder.parent().map(|parent| parent.join(file));
    if value.trim().is_empty()
        && let Some(Ok(value)) = parent.map(std::fs::read_to_string)
    {
        // v2 inherits by itself and shows an empty value in the root.
        if !value.trim().is_empty() {
            std::fs::write(&own, value.trim()).map_err(at(&own))?;
        }
    }
    Ok(())
}

/// A folder and all below, the deepest first.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(entries) = std::fs::read_dir(folder) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.extend(tree(&entry.path()));
            }
        }
        found.push(folder.to_owned());
    }
    found
}

fn pids_in(folder: &Path) -> Vec<u32> {
    std::fs::read_to_string(folder.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| *pid != 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_counts_as_v1() {
        let text = "24 20 0:20 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                    25 24 0:21 / /sys/fs/cgroup/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n\
                    26 24 0:22 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n\
                    27 24 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let layout = Layout::parse(text).unwrap();
        assert_eq!(layout.init_args(), ["cpu,cpuacct", "name=systemd"]);
        assert_eq!(
            layout.folders("ts-x-a")[0],
            Path::new("/sys/fs/cgroup/cpu,cpuacct/ts-x-a")
        );
    }

    #[test]
    fn a_named_hierarchy_alone_does_not_make_it_v1() {
        let text = "26 24 0:22 / /sys/fs/cgroup/systemd rw - cgroup none rw,name=systemd\n\
                    27 24 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            Layout::parse(text),
            Some(Layout::V2("/sys/fs/cgroup".into()))
        );
    }

    #[test]
    fn more_processes_join_the_leaf_in_v2() {
        let layout = Layout::V2("/cg".into());
        assert_eq!(
            layout.joins("ts-x-a"),
            [Path::new("/cg/ts-x-a/init/cgroup.procs")]
        );
    }

    #[test]
    fn no_cgroups_at_all() {
        assert_eq!(Layout::parse("20 1 8:1 / / rw - ext4 /dev/vda rw\n"), None);
    }
}
