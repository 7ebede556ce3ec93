//! A running container from outside: what its processes have open, mapped and locked. Read without
//! touching it; the container runs on.

mod activity;
mod destination;
mod process;
mod socket;

pub use activity::Activity;
pub use destination::{Destination, Place, Published, Volume};
pub use process::{Mapping, OpenFile, Process};
pub use socket::{Family, Socket, tcp_sockets};

use super::guard::Guard;
use super::transcript::{Transcript, keyed};
use crate::{Cmd, Host, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PROBE: &str = include_str!("../container.sh");

/// A container of hundreds of processes takes seconds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(300);

/// What is known of a container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Container {
    /// The engine that knows it, `docker` or `podman`; `None` where none does.
    pub engine: Option<String>,
    /// The engine's own description (`inspect`), as it printed it.
    pub inspect: String,
    /// Its first process, as the host counts; `None` unless it runs.
    pub pid: Option<u32>,
    /// Its processes, those of `exec` included.
    pub processes: Vec<Process>,
    /// Its mount table.
    pub mounts: Vec<MountPoint>,
    /// Sockets of its network namespace.
    pub sockets: Vec<Socket>,
    /// Whether `ss` could say who is at the other end of each Unix socket.
    pub peers_known: bool,
    /// Processes of the host that hold a file lock.
    pub lockers: BTreeSet<u32>,
    /// Bytes of the layer that it writes and of its volumes; `None` where one was not measured in time.
    pub disk: Option<u64>,
    /// Bytes of its image, as the engine says.
    pub image_size: Option<u64>,
    /// Its networks by name, as the engine describes them.
    pub networks: BTreeMap<String, Value>,
    /// What its processes did while it was looked at; `None` where the kernel does not say.
    pub activity: Option<Activity>,
    /// Parts of the probe whose parser broke down: nothing is known of them.
    pub broken: Vec<String>,
    /// The probe's own text.
    #[serde(skip)]
    pub transcript: Transcript,
}

/// A line of a mount table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MountPoint {
    /// Device number, `major:minor`.
    pub device: String,
    /// The part of the file system that is mounted.
    pub root: String,
    /// Where it is mounted.
    pub path: String,
    /// `overlay`, `proc`, `ext4` …
    pub kind: String,
}

impl Container {
    /// Looks into the container `name` of a host, without touching it.
    ///
    /// # Errors
    /// Where the host cannot run a shell script.
    pub fn gather(host: &dyn Host, name: &str) -> Result<Container> {
        Self::probe(host, name, "gather")
    }

    /// The same without what takes time: how much memory, disk and processor it takes, and its networks.
    ///
    /// # Errors
    /// Where the host cannot run a shell script.
    pub fn glance(host: &dyn Host, name: &str) -> Result<Container> {
        Self::probe(host, name, "glance")
    }

    fn probe(host: &dyn Host, name: &str, how: &str) -> Result<Container> {
        let cmd = Cmd::reads("sh")
            .args(["-s", "transship-container", name, how])
            .stdin(PROBE.as_bytes())
            .timeout(PROBE_TIMEOUT);
        super::transcript_of(host, &cmd).map(Container::build)
    }

    /// A container from the text of a probe. Never fails: what is not there is missing.
    #[must_use]
    pub fn parse(text: &str) -> Container {
        Container::build(Transcript::parse(text))
    }

    fn build(transcript: Transcript) -> Container {
        let guard = Guard::default();
        let text = |section| transcript.text(section);
        let sockets = guard.read("sockets", || {
            let mut sockets = socket::parse(&transcript);
            socket::peers(&mut sockets, text("unix-peers"));
            sockets
        });
        let image_size = keyed(text("size"), "image").next();
        let image_size = image_size.and_then(|size| size.parse().ok());
        let mut container = Container {
            engine: Some(text("engine").trim().to_owned()).filter(|engine| !engine.is_empty()),
            inspect: text("inspect").to_owned(),
            pid: text("pid").trim().parse().ok().filter(|pid| *pid > 0),
            processes: guard.read("processes", || process::parse(&transcript)),
            mounts: guard.read("mounts", || {
                text("mountinfo").lines().filter_map(mount).collect()
            }),
            sockets,
            peers_known: transcript.good("unix-peers"),
            lockers: guard.read("locks", || {
                text("locks").lines().filter_map(locker).collect()
            }),
            disk: guard.read("size", || disk(text("size"))),
            image_size,
            networks: guard.read("networks", || networks(text("networks"))),
            activity: guard.read("activity", || activity::parse(&transcript)),
            broken: Vec::new(),
            transcript: Transcript::default(),
        };
        container.broken = guard.broken();
        container.transcript = transcript;
        container
    }

    /// The sockets that a process of the container has open, each once.
    #[must_use]
    pub fn own_sockets(&self) -> Vec<&Socket> {
        let open = self.socket_inodes();
        self.sockets
            .iter()
            .filter(|socket| open.contains(&socket.inode))
            .collect()
    }

    /// Inodes of all sockets that its processes have open.
    #[must_use]
    pub fn socket_inodes(&self) -> BTreeSet<u64> {
        let files = self.processes.iter().flat_map(|process| &process.files);
        files.filter_map(OpenFile::socket).collect()
    }

    /// Whether a device number is that of an overlay file system of the container.
    #[must_use]
    pub fn is_overlay(&self, device: &str) -> bool {
        self.mounts
            .iter()
            .any(|mount| mount.device == device && mount.kind == "overlay")
    }
}

/// Adds up lines `folder KIBIBYTES`.
fn disk(text: &str) -> Option<u64> {
    let folders: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("folder"))
        .collect();
    let mut sizes = folders
        .iter()
        .map(|size| size.trim().parse::<u64>().ok()?.checked_mul(1024));
    let sum = sizes.try_fold(0_u64, |sum, size| sum.checked_add(size?));
    sum.filter(|_| !folders.is_empty())
}

/// Reads the engine's list of networks; Docker writes names with a capital letter.
fn networks(text: &str) -> BTreeMap<String, Value> {
    let list = match serde_json::from_str(text.trim()) {
        Ok(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    list.into_iter()
        .filter_map(|network| {
            let name = network["Name"].as_str().or(network["name"].as_str())?;
            Some((name.to_owned(), network))
        })
        .collect()
}

/// Reads a line of mountinfo (proc(5)): optional fields end with a lone dash.
fn mount(line: &str) -> Option<MountPoint> {
    let (before, after) = line.split_once(" - ")?;
    let mut words = before.split(' ').skip(2);
    Some(MountPoint {
        device: words.next()?.to_owned(),
        root: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        kind: after.split(' ').next()?.to_owned(),
    })
}

/// Reads a line of /proc/locks; the owner of an open file description's lock is -1.
fn locker(line: &str) -> Option<u32> {
    let mut words = line.split_whitespace().skip(1).skip_while(|w| *w == "->");
    let class = words.next()?;
    // Leases and delegations are no locks of a program.
    if !matches!(class, "POSIX" | "FLOCK" | "OFDLCK") {
        return None;
    }
    words.nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_locks_as_the_kernel_writes_them() {
        let mount = mount("571 570 0:52 / /proc rw,nosuid shared:9 - proc proc rw").unwrap();
        assert_eq!(
            (mount.device.as_str(), mount.kind.as_str()),
            ("0:52", "proc")
        );
        assert_eq!(
            locker("1: POSIX  ADVISORY  WRITE 708 fe:00:13 0 EOF"),
            Some(708)
        );
        assert_eq!(
            locker("2: -> FLOCK  ADVISORY  WRITE 7 fe:00:13 0 EOF"),
            Some(7)
        );
        assert_eq!(locker("3: OFDLCK ADVISORY  WRITE -1 fe:00:13 0 EOF"), None);
        assert_eq!(locker("4: LEASE  ACTIVE    READ  9 fe:00:13 0 EOF"), None);
    }
}
