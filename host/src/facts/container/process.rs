//! The processes of a container, from /proc.

use crate::facts::transcript::{Transcript, keyed};
use serde::Serialize;
use std::collections::BTreeMap;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Process {
    /// As the host counts.
    pub pid: u32,
    /// Its parent, as the host counts.
    pub parent: u32,
    /// Name of its program, at most 15 characters.
    pub name: String,
    /// The program's file, as the container sees it.
    pub program: String,
    /// Letter of its state (`S`, `R`, `D`, `T`, `Z`).
    pub state: String,
    /// Who traces it; 0 for nobody.
    pub tracer: u32,
    /// Seccomp mode: 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
    /// Number of threads.
    pub threads: u32,
    /// Bytes that a checkpoint would hold: its share of anonymous and shared memory, swap included, and its own huge pages.
    pub memory: u64,
    /// Bytes of huge pages that it alone has; [`memory`](Process::memory) has them too.
    pub huge: u64,
    /// Bytes of huge pages that others have too.
    pub huge_shared: u64,
    /// Number of POSIX timers.
    pub timers: usize,
    /// Milliseconds since it last used AVX-512, where the kernel says so.
    pub avx512: Option<u64>,
    /// Open files, by descriptor.
    pub files: Vec<OpenFile>,
    /// Files of bind mounts that it has mapped: the path as it sees it, and the size.
    pub mapped: Vec<(String, u64)>,
    /// Mappings of devices, of deleted files, of huge pages and of System V memory.
    pub mappings: Vec<Mapping>,
}

/// An open file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct OpenFile {
    /// Descriptor.
    pub fd: u32,
    /// What the link in /proc/PID/fd names: a path as the container sees it, `socket:[N]`, `anon_inode:[eventpoll]` …
    pub target: String,
    /// Number of its names in the file system; 0 where it is deleted.
    pub links: Option<u64>,
    /// Bytes on disk.
    pub used: u64,
    /// Size in bytes.
    pub size: u64,
    /// `regular file`, `character special file`, `fifo` …
    pub kind: String,
    /// Device numbers (`major:minor`) of what it watches, for inotify.
    pub watches: Vec<String>,
    /// Whether its owner holds a lock on it.
    pub locked: bool,
}

/// A mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// File, without the mark ` (deleted)`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Whether the file is deleted.
    pub deleted: bool,
}

impl OpenFile {
    /// The inode of a socket.
    #[must_use]
    pub fn socket(&self) -> Option<u64> {
        self.target
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse()
            .ok()
    }
}

/// Reads the sections `process.PID.*`, in the order of process ids.
pub(super) fn parse(transcript: &Transcript) -> Vec<Process> {
    let pids: BTreeMap<u32, &str> = transcript
        .sections()
        .filter_map(|(name, section)| {
            let pid = name.strip_prefix("process.")?.strip_suffix(".status")?;
            Some((pid.parse().ok()?, section.text.as_str()))
        })
        .collect();
    pids.into_iter()
        .map(|(pid, status)| process(transcript, pid, status))
        .collect()
}

fn process(transcript: &Transcript, pid: u32, status: &str) -> Process {
    let text = |what: &str| transcript.text(&format!("process.{pid}.{what}"));
    let word = |key: &str| {
        let rest = status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        rest.and_then(|rest| rest.split_whitespace().next())
    };
    let number = |key: &str| word(key).and_then(|text| text.parse().ok());
    Process {
        pid,
        parent: number("PPid").unwrap_or(0),
        name: word("Name").unwrap_or_default().to_owned(),
        program: word("Exe").unwrap_or_default().to_owned(),
        state: word("State").unwrap_or_default().to_owned(),
        tracer: number("TracerPid").unwrap_or(0),
        seccomp: number("Seccomp").unwrap_or(0),
        threads: number("Threads").unwrap_or(1),
        memory: memory(text("memory")),
        huge: kilobytes(text("memory"), &["Private_Hugetlb"]),
        huge_shared: kilobytes(text("memory"), &["Shared_Hugetlb"]),
        timers: keyed(text("timers"), "ID:").count(),
        avx512: text("arch")
            .lines()
            .find_map(|line| line.strip_prefix("AVX512_elapsed_ms:"))
            .and_then(|text| text.trim().parse().ok()),
        files: files(text("fd"), text("stat"), text("fdinfo")),
        mapped: text("mapped").lines().filter_map(mapped).collect(),
        mappings: text("maps").lines().filter_map(mapping).collect(),
    }
}

/// Adds up anonymous and shared memory, the process's share of it, swap, and huge pages that it alone has, which no
/// other number holds. Where the kernel does not tell shares apart (before 5.3, smaps_rollup since 4.14 or smaps),
/// private memory is all that is known.
fn memory(text: &str) -> u64 {
    let has_shares = text.lines().any(|line| line.starts_with("Pss_Anon:"));
    let names: &[&str] = if has_shares {
        &["Pss_Anon", "Pss_Shmem", "SwapPss", "Private_Hugetlb"]
    } else {
        &["Anonymous", "Swap", "Private_Hugetlb"]
    };
    kilobytes(text, names)
}

/// Adds up the lines of these names, in bytes.
fn kilobytes(text: &str, names: &[&str]) -> u64 {
    let values = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let value = rest.split_whitespace().next()?;
        names.contains(&name).then(|| value.parse::<u64>().ok())?
    });
    values.fold(0_u64, u64::saturating_add).saturating_mul(1024)
}

/// Reads `ls -ln` of a folder of descriptors, stat of each, and what fdinfo says of watches and locks.
fn files(list: &str, stat: &str, info: &str) -> Vec<OpenFile> {
    let mut files: BTreeMap<u32, OpenFile> = BTreeMap::new();
    for line in list.lines() {
        let Some((before, target)) = line.split_once(" -> ") else {
            continue;
        };
        if let Some(fd) = before.rsplit(' ').next().and_then(|fd| fd.parse().ok()) {
            let file = OpenFile {
                fd,
                target: target.to_owned(),
                ..OpenFile::default()
            };
            files.insert(fd, file);
        }
    }
    let fd_of = |path: &str| path.rsplit('/').next()?.parse::<u32>().ok();
    for line in stat.lines() {
        let words: Vec<&str> = line.split('|').collect();
        let [path, links, blocks, size, kind] = words[..] else {
            continue;
        };
        if let Some(file) = fd_of(path).and_then(|fd| files.get_mut(&fd)) {
            file.links = links.parse().ok();
            file.used = blocks.parse::<u64>().unwrap_or(0).saturating_mul(512);
            file.size = size.parse().unwrap_or(0);
            kind.clone_into(&mut file.kind);
        }
    }
    for line in info.lines() {
        let Some((path, rest)) = line.split_once(':') else {
            continue;
        };
        let Some(file) = fd_of(path).and_then(|fd| files.get_mut(&fd)) else {
            continue;
        };
        file.locked |= rest.starts_with("lock:");
        let device = rest.split(' ').find_map(|word| word.strip_prefix("sdev:"));
        file.watches.extend(device.and_then(device_number));
    }
    files.into_values().collect()
}

/// The kernel's own number of a device (MINORBITS is 20, include/linux/kdev_t.h) as `major:minor`.
fn device_number(text: &str) -> Option<String> {
    let number = u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()?;
    Some(format!("{}:{}", number >> 20, number & 0xf_ffff))
}

/// Reads a line `SIZE|KIND|/proc/PID/root/PATH` of a regular file.
fn mapped(line: &str) -> Option<(String, u64)> {
    let mut words = line.splitn(3, '|');
    let size = words.next()?.parse().ok()?;
    words.next()?.starts_with("regular").then_some(())?;
    let (_, path) = words.next()?.split_once("/root/")?;
    Some((format!("/{path}"), size))
}

/// Reads a line of maps.
fn mapping(line: &str) -> Option<Mapping> {
    let range = line.split(' ').next()?;
    let (from, to) = range.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    let path = line
        .split_whitespace()
        .skip(5)
        .collect::<Vec<_>>()
        .join(" ");
    let short = path.strip_suffix(" (deleted)");
    (!path.is_empty()).then_some(())?;
    Some(Mapping {
        size: address(to)?.checked_sub(address(from)?)?,
        deleted: short.is_some(),
        path: short.unwrap_or(&path).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_put_together_from_three_lists() {
        let list = "total 0\nlrwx------ 1 0 0 64 Nov 22 18:00 0 -> /dev/null\n\
            lrwx------ 1 0 0 64 Nov 22 18:00 4 -> /tmp/a -> b (deleted)\n\
            lr-x------ 1 0 0 64 Nov 22 18:00 5 -> anon_inode:inotify\n\
            lrwx------ 1 0 0 64 Nov 22 18:00 6 -> socket:[4711]\n";
        let stat = "/proc/1/fd/0|1|0|0|character special file\n\
            /proc/1/fd/4|0|4096|2097152|regular file\nstat: cannot stat '/proc/1/fd/9'\n";
        let info = "/proc/1/fdinfo/5:inotify wd:1 ino:2 sdev:fe00003 mask:fce ignored_mask:0\n\
            /proc/1/fdinfo/4:lock:\t1: FLOCK  ADVISORY  WRITE 9 fe:00:1 0 EOF\n";
        let files = files(list, stat, info);
        assert_eq!(files.len(), 4);
        assert_eq!(files[1].target, "/tmp/a -> b (deleted)");
        assert_eq!((files[1].links, files[1].used), (Some(0), 2 << 20));
        assert!(files[1].locked);
        assert_eq!(files[2].watches, ["254:3"]);
        assert_eq!(files[3].socket(), Some(4711));
    }

    #[test]
    fn memory_is_the_share_that_a_checkpoint_holds() {
        assert_eq!(
            memory(
                "Rss:  900 kB\nPss_Anon:  100 kB\nPss_File: 500 kB\nPss_Shmem: 28 kB\nSwapPss: 0 kB\n"
            ),
            128 << 10
        );
        assert_eq!(
            memory("Anonymous: 4 kB\nAnonymous: 8 kB\nSwap: 0 kB\n"),
            12 << 10
        );
        // Linux 4.14 to 5.2: a summary that knows the share of swap and no other.
        assert_eq!(
            memory("Rss: 900 kB\nPss: 800 kB\nAnonymous: 500 kB\nSwap: 24 kB\nSwapPss: 24 kB\n"),
            524 << 10
        );
        assert_eq!(
            memory("Pss_Anon: 4 kB\nShared_Hugetlb: 4096 kB\nPrivate_Hugetlb: 2048 kB\n"),
            2052 << 10
        );
    }
}
