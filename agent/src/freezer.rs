//! Freezing a container by its control group, as `runc pause` does, but without the time that runc takes to start:
//! the container stands still meanwhile.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// For how long is waited; whoever cannot wait any longer takes runc, which tries harder.
const SOON: Duration = Duration::from_millis(100);
/// How often is looked.
const LOOK: Duration = Duration::from_micros(200);

/// The freezer of a control group.
pub(crate) struct Freezer {
    /// What is written to, and what.
    file: PathBuf,
    word: &'static str,
    /// Where a line says that all in it stand still, and how.
    state: PathBuf,
    frozen: &'static str,
}

impl Freezer {
    /// That of a container, from the file in which runc keeps where its groups are (libcontainer, `container.go`:
    /// `cgroup_paths`); none where that does not tell.
    pub fn of(state: &Path) -> Option<Self> {
        let state: Value = serde_json::from_slice(&std::fs::read(state).ok()?).ok()?;
        let group = |name: &str| Some(Path::new(state["cgroup_paths"][name].as_str()?));
        Some(if let Some(v1) = group("freezer") {
            Freezer {
                file: v1.join("freezer.state"),
                word: "FROZEN",
                state: v1.join("freezer.state"),
                frozen: "FROZEN",
            }
        } else {
            let v2 = group("")?;
            Freezer {
                file: v2.join("cgroup.freeze"),
                word: "1",
                state: v2.join("cgroup.events"),
                frozen: "frozen 1",
            }
        })
    }

    /// Waits until all in it stand still; not any longer once it is `over`. Whether they do.
    pub fn wait(&self, over: impl Fn() -> bool) -> bool {
        while !self.is_frozen() {
            if over() {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    fn is_frozen(&self) -> bool {
        let text = std::fs::read_to_string(&self.state).unwrap_or_default();
        text.lines().any(|line| line == self.frozen)
    }

    /// Freezes it; whether all in it stood still soon.
    pub fn freeze(&self) -> bool {
        // Never makes a file where there is no such group.
        let file = std::fs::File::options().write(true).open(&self.file);
        let written =
            file.and_then(|mut file| std::io::Write::write_all(&mut file, self.word.as_bytes()));
        let since = Instant::now();
        written.is_ok() && self.wait(|| since.elapsed() >= SOON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A freezer in a folder with these files, for a container whose group runc knows by this name.
    fn freezer(group: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Option<Freezer>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let state = dir.path().join("state.json");
        let text = serde_json::json!({"id": "abc", "cgroup_paths": {group: dir.path()}});
        std::fs::write(&state, text.to_string()).unwrap();
        let freezer = Freezer::of(&state);
        (dir, freezer)
    }

    #[test]
    fn a_group_of_either_version_is_frozen() {
        let (_dir, v1) = freezer("freezer", &[("freezer.state", "THAWED")]);
        assert!(v1.unwrap().freeze());
        let files = [
            ("cgroup.freeze", "0"),
            ("cgroup.events", "populated 1\nfrozen 1\n"),
        ];
        let (dir, v2) = freezer("", &files);
        assert!(v2.unwrap().freeze());
        let written = std::fs::read_to_string(dir.path().join("cgroup.freeze")).unwrap();
        assert_eq!(written, "1");
    }

    #[test]
    fn what_does_not_freeze_or_is_not_known_is_left_to_runc() {
        let files = [
            ("cgroup.freeze", "0"),
            ("cgroup.events", "populated 1\nfrozen 0\n"),
        ];
        let (_dir, slow) = freezer("", &files);
        assert!(!slow.unwrap().freeze());
        let (dir, gone) = freezer("freezer", &[]);
        assert!(!gone.unwrap().freeze());
        assert!(!dir.path().join("freezer.state").exists());
        assert!(freezer("pids", &[]).1.is_none());
        assert!(Freezer::of(Path::new("/no/such/state")).is_none());
    }
}
