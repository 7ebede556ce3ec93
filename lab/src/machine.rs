//! What the lab needs of this machine: root, programs, room, and a few bounded waits.

use crate::error::{LabError, Result, at};
use crate::event::{Event, note};
use rustix::fs::FlockOperation;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// Largest pipe that CRIU's page server asks for without looking whether it got it, with room to
/// spare: it sets 4 MiB, ignores a refusal, and dies later.
const PIPE_MAX: u64 = 16 << 20;
const PIPE_MAX_FILE: &str = "/proc/sys/fs/pipe-max-size";

/// Programs needed for any lab, and the Debian package of each.
const TOOLS: [(&str, &str); 11] = [
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("mount", "mount"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("tar", "tar"),
    ("chroot", "coreutils"),
    ("sh", "dash"),
    ("bash", "bash"),
];
/// Programs needed to build a root file system.
const BUILD_TOOLS: [(&str, &str); 3] = [
    ("debootstrap", "debootstrap"),
    ("setpriv", "util-linux"),
    ("rm", "coreutils"),
];

/// Refuses where we are not root.
pub(crate) fn need_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err(LabError::NotRoot)
    }
}

/// Refuses where programs are missing, naming all of them at once.
pub(crate) fn need_tools(build: bool) -> Result<()> {
    let more: &[_] = if build { &BUILD_TOOLS } else { &[] };
    let missing: Vec<_> = TOOLS
        .iter()
        .chain(more)
        .filter(|(program, _)| which::which(program).is_err())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<String> = missing.iter().map(|(_, p)| (*p).to_owned()).collect();
    packages.sort();
    packages.dedup();
    Err(LabError::MissingTools {
        programs: missing
            .iter()
            .map(|(program, _)| (*program).to_owned())
            .collect(),
        packages,
    })
}

/// Refuses where the disk of a folder has less than `needed` MiB left.
pub(crate) fn need_space(folder: &Path, needed: u64) -> Result<()> {
    let stat = rustix::fs::statvfs(folder).map_err(|e| at(folder)(e.into()))?;
    let available = stat.f_bavail.saturating_mul(stat.f_frsize) >> 20;
    if available >= needed {
        return Ok(());
    }
    Err(LabError::NoSpace {
        path: folder.to_owned(),
        needed,
        available,
    })
}

/// Raises the size up to which a pipe may grow, if it is lower than CRIU needs.
pub(crate) fn raise_pipe_size(on: &mut dyn FnMut(Event)) -> Result<()> {
    let path = Path::new(PIPE_MAX_FILE);
    let text = std::fs::read_to_string(path).map_err(at(path))?;
    let now: u64 = text.trim().parse().unwrap_or(0);
    if now < PIPE_MAX {
        std::fs::write(path, PIPE_MAX.to_string()).map_err(at(path))?;
        note(
            on,
            format!(
                "fs.pipe-max-size raised from {now} to {PIPE_MAX}, which CRIU's page server needs"
            ),
        );
    }
    Ok(())
}

/// An exclusive lock on a file or folder, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock; says so where it has to wait for another process.
    pub(crate) fn take(path: &Path, on: &mut dyn FnMut(Event)) -> Result<Lock> {
        let file = File::open(path).map_err(at(path))?;
        let flock = |how| rustix::fs::flock(&file, how);
        if flock(FlockOperation::NonBlockingLockExclusive).is_err() {
            note(
                on,
                format!(
                    "another process works on {}: waiting for it",
                    path.display()
                ),
            );
            flock(FlockOperation::LockExclusive).map_err(|e| at(path)(e.into()))?;
        }
        Ok(Lock { _file: file })
    }
}

/// Asks `done` again and again until it says yes; `false` where it never did.
pub(crate) fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        if done() {
            return true;
        }
        if started.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// The last lines of a text, for an error message.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_skips_empty_lines() {
        assert_eq!(tail("a\n\nb\n\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
    }

    #[test]
    fn too_little_room_names_the_figures() {
        let error = need_space(Path::new("/"), u64::MAX >> 20).unwrap_err();
        assert!(matches!(error, LabError::NoSpace { .. }), "{error}");
    }

    #[test]
    fn a_lock_makes_others_wait_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path(), &mut |_| ()).unwrap();
        let (tx, rx) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                Lock::take(dir.path(), &mut |event| tx.send(event).unwrap()).unwrap();
            });
            assert!(matches!(rx.recv().unwrap(), Event::Note { .. }));
            assert!(!second.is_finished());
            drop(first);
            second.join().unwrap();
        });
    }
}
