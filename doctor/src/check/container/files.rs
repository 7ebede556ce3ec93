//! Open files and mappings of a container.

use super::{Inmate, some, who};
use crate::check::catalogue::{Check, meta};
use crate::check::size;
use crate::check::verdict::{Group, Outcome};
use engine::Container as Inspected;
use host::facts::container::{Container, OpenFile};
use semver::Version;

/// CRIU's own limit for a deleted file, in bytes (criu/include/cr_options.h).
const DEFAULT_GHOST_LIMIT: u64 = 1 << 20;

pub(super) fn checks<'p>() -> Vec<Check<Inmate<'p>>> {
    vec![
        Check::new(
            meta(
                "container.deleted-files",
                Group::Container,
                "Deleted files that are open are small",
                "files without a name that a process has open or mapped, against CRIU's ghost-limit. It warns where one is larger, and fails where it is over 128 MiB too",
                "CRIU takes a deleted file along in its images, by default up to 1 MiB. All modes of transship but tarball ask for 128 MiB",
                "`echo 'ghost-limit 64M' >>/etc/criu/runc.conf` on the source, for mode tarball or a checkpoint by hand",
            ),
            deleted,
        ),
        Check::new(
            meta(
                "container.inotify",
                Group::Container,
                "It watches no files of an overlay file system",
                "what each inotify descriptor watches. It fails where that is on overlayfs, as most images are",
                "CRIU finds a watched file by its handle, and overlayfs gives out none",
                "watch a folder of a volume or bind mount, or have the program poll",
            ),
            inotify,
        ),
        Check::new(
            meta(
                "container.devices",
                Group::Container,
                "It has no devices open but the usual ones",
                "open and mapped device files besides null, zero, full, random, urandom and terminals. It fails where there is another",
                "the state of a device is in its driver, where CRIU cannot read it",
                "close the device before the migration",
            ),
            devices,
        ),
        Check::new(
            meta(
                "container.gpu",
                Group::Container,
                "It does not use a GPU",
                "open and mapped files of NVIDIA, AMD and DRI devices. It fails where there is one",
                "memory of a GPU is checkpointed by plugins of CRIU only (cuda_plugin, amdgpu_plugin), which the engines do not set up",
                "stop the use of the GPU before the migration, or use CRIU's plugin by hand",
            ),
            gpu,
        ),
        Check::new(
            meta(
                "container.kernel-objects",
                Group::Container,
                "It uses no kernel objects that CRIU does not know",
                "open io_uring, perf_event, userfaultfd, BPF programs and KVM. It fails where there is one",
                "their state is in the kernel, and CRIU has no way to read it",
                "have the program do without: many have a switch (UV_USE_IO_URING=0 for Node.js, nginx's `aio threads`)",
            ),
            objects,
        ),
        Check::new(
            meta(
                "container.memfd",
                Group::Container,
                "Its memory files can be checkpointed",
                "open and mapped memfd files and huge pages, and CRIU's version. It fails for a memfd before CRIU 3.15, and for huge pages before 3.17",
                "support came with these versions",
                "`transship provision HOST`",
            ),
            memfd,
        ),
        Check::new(
            meta(
                "container.file-locks",
                Group::Container,
                "Its file locks can be taken along",
                "/proc/locks and fdinfo for locks of its processes. It warns where there is one and file-locks is not switched on",
                "a lock is shared with whoever else uses the file, so CRIU takes it along only when asked to, which all modes but tarball do",
                "for mode tarball, `echo file-locks >>/etc/criu/runc.conf` on both hosts",
            ),
            locks,
        ),
    ]
}

fn nothing_seen(inmate: &Inmate<'_>) -> Option<Outcome> {
    let empty = inmate.container.processes.is_empty();
    empty.then(|| Outcome::skip("the container does not run"))
}

/// Anonymous files of the kernel's own look deleted and are none.
fn has_a_file(path: &str) -> bool {
    path.starts_with('/')
        && ![
            "/memfd:",
            "/dev/zero",
            "/SYSV",
            "/anon_hugepage",
            "/dev/shm/transship",
        ]
        .iter()
        .any(|start| path.starts_with(start))
}

fn deleted(inmate: &Inmate<'_>) -> Outcome {
    if let Some(skip) = nothing_seen(inmate) {
        return skip;
    }
    let limit = match inmate.criu_option("ghost-limit") {
        Some(text) => bytes(text).unwrap_or(DEFAULT_GHOST_LIMIT),
        None => DEFAULT_GHOST_LIMIT,
    };
    let mut ghosts: Vec<(u64, String)> = Vec::new();
    for (process, file) in inmate.files() {
        let Some(path) = file.target.strip_suffix(" (deleted)") else {
            continue;
        };
        if file.links == Some(0) && file.kind.starts_with("regular") && has_a_file(path) {
            let what = format!("{} has {path} open, {}", who(process), size(file.used));
            ghosts.push((file.used, what));
        }
    }
    for process in &inmate.container.processes {
        for mapping in &process.mappings {
            if mapping.deleted && has_a_file(&mapping.path) {
                let what = format!(
                    "{} has {} mapped, {}",
                    who(process),
                    mapping.path,
                    size(mapping.size)
                );
                ghosts.push((mapping.size, what));
            }
        }
    }
    let mut large: Vec<String> = Vec::new();
    let mut most = 0;
    for (bytes, what) in &ghosts {
        if *bytes > limit && !large.contains(what) {
            large.push(what.clone());
            most = most.max(*bytes);
        }
    }
    if large.is_empty() {
        return Outcome::ok(match ghosts.len() {
            0 => "no deleted file is in use".to_owned(),
            count => format!(
                "{count} deleted files are in use, each at most {}",
                size(limit)
            ),
        });
    }
    let enough = (most >> 20) + 1;
    let found = format!("{}; the limit is {}", some(&large), size(limit));
    let fix = inmate.switch_on(&format!("ghost-limit {}M", enough.next_power_of_two()));
    // What the host is configured for counts above what the modes ask for.
    if most <= runtime::criu::GHOST_LIMIT && inmate.criu_option("ghost-limit").is_none() {
        return Outcome::warn(
            "a deleted file is in use that mode tarball would not take along; the other modes do",
        )
        .found(found)
        .fix(format!("for mode tarball: {fix}"));
    }
    Outcome::fail("a deleted file is in use that is larger than CRIU takes along")
        .found(found)
        .fix(fix)
}

/// Reads a size as CRIU does: a number with K, M or G.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.get(digits.len()..)?.chars().next() {
        Some('k' | 'K') => 10,
        Some('m' | 'M') => 20,
        Some('g' | 'G') => 30,
        _ => 0,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn inotify(inmate: &Inmate<'_>) -> Outcome {
    if let Some(skip) = nothing_seen(inmate) {
        return skip;
    }
    let watches = |file: &OpenFile| {
        let mut devices = file.watches.iter();
        devices.any(|device| inmate.container.is_overlay(device))
    };
    let bad = inmate.open(watches);
    if bad.is_empty() {
        return Outcome::ok("no file of an overlay file system is watched");
    }
    Outcome::fail("a file of an overlay file system is watched by inotify").found(some(&bad))
}

/// Whether a path is a device of a GPU.
fn is_gpu(path: &str) -> bool {
    ["/dev/nvidia", "/dev/dri/", "/dev/kfd"]
        .iter()
        .any(|start| path.starts_with(start))
}

/// Devices that CRIU knows: memory devices, terminals, tun.
fn is_usual(path: &str) -> bool {
    const USUAL: [&str; 9] = [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
        "/dev/ptmx",
        "/dev/console",
        "/dev/net/tun",
    ];
    const FILES: [&str; 3] = ["/dev/pts/", "/dev/shm/", "/dev/hugepages/"];
    USUAL.contains(&path) || FILES.iter().any(|folder| path.starts_with(folder))
}

fn mapped(inmate: &Inmate<'_>, which: impl Fn(&str) -> bool) -> Vec<String> {
    let processes = inmate.container.processes.iter();
    processes
        .flat_map(|process| {
            process
                .mappings
                .iter()
                .map(move |mapping| (process, mapping))
        })
        .filter(|(_, mapping)| which(&mapping.path))
        .map(|(process, mapping)| format!("{} has {} mapped", who(process), mapping.path))
        .collect()
}

fn devices(inmate: &Inmate<'_>) -> Outcome {
    if let Some(skip) = nothing_seen(inmate) {
        return skip;
    }
    let other = |path: &str| !is_usual(path) && !is_gpu(path);
    let mut bad = inmate.open(|file| {
        let device = matches!(
            file.kind.as_str(),
            "character special file" | "block special file"
        );
        device && other(&file.target)
    });
    bad.extend(mapped(inmate, |path| {
        path.starts_with("/dev/") && other(path)
    }));
    if bad.is_empty() {
        return Outcome::ok("no device is open but the usual ones");
    }
    Outcome::fail("a device is in use that CRIU does not know").found(some(&bad))
}

fn gpu(inmate: &Inmate<'_>) -> Outcome {
    if let Some(skip) = nothing_seen(inmate) {
        return skip;
    }
    let mut bad = inmate.open(|file| is_gpu(&file.target));
    bad.extend(mapped(inmate, is_gpu));
    if bad.is_empty() {
        return Outcome::ok("no GPU is in use");
    }
    Outcome::fail("a GPU is in use").found(some(&bad))
}

fn objects(inmate: &Inmate<'_>) -> Outcome {
    const BAD: [&str; 6] = [
        "io_uring",
        "perf_event",
        "userfaultfd",
        "bpf-prog",
        "bpf_link",
        "kvm-",
    ];
    if let Some(skip) = nothing_seen(inmate) {
        return skip;
    }
    let bad_name = |target: &str| {
        let name = target.strip_prefix("anon_inode:").unwrap_or_default();
        BAD.iter()
            .any(|bad| name.trim_start_matches('[').starts_with(bad))
    };
    let mut bad = inmate.open(|file| bad_name(&file.target));
    bad.extend(mapped(inmate, bad_name));
    if bad.is_empty() {
        return Outcome::ok("no kernel object is open that CRIU does not know");
    }
    Outcome::fail("a kernel object is in use that CRIU does not know").found(some(&bad))
}

fn memfd(inmate: &Inmate<'_>) -> Outcome {
    if let Some(skip) = nothing_seen(inmate) {
        return skip;
    }
    let mut files = inmate.open(|file| file.target.starts_with("/memfd:"));
    files.extend(mapped(inmate, |path| path.starts_with("/memfd:")));
    let huge = mapped(inmate, |path| path.starts_with("/anon_hugepage"));
    if files.is_empty() && huge.is_empty() {
        return Outcome::ok("no memory files or huge pages are in use");
    }
    let Some(version) = inmate.source.criu_version() else {
        return Outcome::skip("CRIU is not installed");
    };
    let before = |minor| *version < Version::new(3, minor, 0);
    if !files.is_empty() && before(15) {
        return Outcome::fail("memory files are in use, and CRIU is too old for them").found(
            format!("{}; CRIU {}", some(&files), inmate.source.criu_text()),
        );
    }
    if !huge.is_empty() && before(17) {
        return Outcome::fail("huge pages are in use, and CRIU is too old for them").found(
            format!("{}; CRIU {}", some(&huge), inmate.source.criu_text()),
        );
    }
    Outcome::ok(format!(
        "{} memory files and {} mappings of huge pages, which CRIU {} takes along",
        files.len(),
        huge.len(),
        inmate.source.criu_text()
    ))
}

fn locks(inmate: &Inmate<'_>) -> Outcome {
    if let Some(skip) = nothing_seen(inmate) {
        return skip;
    }
    let mut held: Vec<String> = inmate
        .files()
        .filter(|(_, file)| file.locked)
        .map(|(process, file)| format!("{} has {} locked", who(process), file.target))
        .collect();
    held.dedup();
    let lockers = &inmate.container.lockers;
    for process in &inmate.container.processes {
        let shown = process.files.iter().any(|file| file.locked);
        if !shown && lockers.contains(&process.pid) {
            held.push(format!("{} holds a lock", who(process)));
        }
    }
    if held.is_empty() {
        return Outcome::ok("no file is locked");
    }
    if inmate.criu_option("file-locks").is_some() {
        return Outcome::ok(format!(
            "{} file locks, which CRIU is told to take along",
            held.len()
        ));
    }
    Outcome::warn(
        "a file is locked, and mode tarball would not take that along; the other modes do",
    )
    .found(some(&held))
    .fix(format!(
        "for mode tarball: {}",
        inmate.switch_on("file-locks")
    ))
}

/// Regular files that are open or mapped for a path below a bind mount: the host's path and the size.
pub(super) fn on_binds(container: &Container, inspected: &Inspected) -> Vec<(String, u64)> {
    let mounts = inspected.mounts();
    let binds: Vec<_> = mounts.iter().filter(|mount| mount.kind == "bind").collect();
    let mut found: Vec<(String, u64)> = Vec::new();
    let opened = container.processes.iter().flat_map(|process| {
        let files = process.files.iter();
        let open = files.filter(|file| file.kind.starts_with("regular") && file.links != Some(0));
        let open = open.map(|file| (file.target.as_str(), file.size));
        let mapped = process.mapped.iter();
        open.chain(mapped.map(|(path, size)| (path.as_str(), *size)))
    });
    for (path, size) in opened {
        // The innermost mount holds the file.
        let bind = binds
            .iter()
            .filter_map(|bind| {
                let rest = path.strip_prefix(bind.destination.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then_some((bind, rest))
            })
            .max_by_key(|(bind, _)| bind.destination.len());
        if let Some((bind, rest)) = bind {
            let path = format!("{}{rest}", bind.source);
            if !found.iter().any(|(known, _)| *known == path) {
                found.push((path, size));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_criu_reads_them() {
        assert_eq!(bytes("64M"), Some(64 << 20));
        assert_eq!(bytes("1048576"), Some(1 << 20));
        assert_eq!(bytes("lots"), None);
    }
}
