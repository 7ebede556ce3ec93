//! Both sides against each other, on real files.

use super::*;
use crate::error::Result;
use crate::frame::{Frame, Message, Meta, Receiver, Sender, What};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn pass(from: &Path, to: &mut Store, before: Option<&Manifest>) -> Manifest {
    let mut stream = Vec::new();
    let mut sender = Sender::new(&mut stream);
    let manifest = send(from, 0, before, &mut sender, &mut |_| Ok(())).unwrap();
    sender.pass(true).unwrap();
    let mut receiver = Receiver::new(&stream[..]);
    while let Some(frame) = receiver.next().unwrap() {
        apply(to, frame).unwrap();
    }
    to.finish().unwrap();
    manifest
}

fn apply(to: &mut Store, frame: Frame) -> Result<()> {
    match frame {
        Frame::Message(Message::Entry {
            path, meta, what, ..
        }) => to.entry(path, meta, what),
        Frame::Message(Message::Close { id, size }) => to.close(id, size),
        Frame::Message(Message::Gone { path, .. }) => to.gone(&path),
        Frame::Data { id, offset, bytes } => to.data(id, offset, bytes),
        _ => Ok(()),
    }
}

fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let content = if meta.is_file() {
                blake3::hash(&fs::read(&path).unwrap()).to_string()
            } else {
                String::new()
            };
            let target = fs::read_link(&path)
                .map(|target| target.display().to_string())
                .unwrap_or_default();
            let size = if meta.is_dir() { 0 } else { meta.size() };
            lines.push(format!(
                "{} {:o} {}:{} {size} {}.{} n{} d{} {target} {content}",
                path.strip_prefix(root).unwrap().display(),
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.mtime(),
                meta.mtime_nsec(),
                if meta.is_dir() { 0 } else { meta.nlink() },
                meta.rdev(),
            ));
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    lines.sort();
    lines
}

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: device nodes and owners need root");
    }
    root
}

fn two() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    (dir, from, to)
}

#[test]
fn every_sort_of_file_arrives_as_it_was() {
    if !root() {
        return;
    }
    let (_dir, from, to) = two();
    fs::create_dir_all(from.join("a/b c/d")).unwrap();
    fs::set_permissions(from.join("a"), fs::Permissions::from_mode(0o1750)).unwrap();
    fs::write(from.join("a/file"), "content").unwrap();
    fs::hard_link(from.join("a/file"), from.join("a/b c/again")).unwrap();
    std::os::unix::fs::chown(from.join("a/file"), Some(1234), Some(99)).unwrap();
    fs::set_permissions(from.join("a/file"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("../../nowhere", from.join("a/b c/link")).unwrap();
    for (name, mode, device) in [
        ("null", 0o020_666, 259),
        ("whiteout", 0o020_000, 0),
        ("fifo", 0o010_640, 0),
        ("socket", 0o140_755, 0),
    ] {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            from.join(name),
            rustix::fs::FileType::from_raw_mode(mode),
            rustix::fs::Mode::from_raw_mode(mode),
            device,
        )
        .unwrap();
    }
    let sparse = fs::File::create(from.join("sparse")).unwrap();
    sparse.write_at(b"end", 64 << 20).unwrap();
    sparse.set_len(65 << 20).unwrap();
    fs::write(from.join("empty"), "").unwrap();
    fs::write(from.join("large"), vec![7; (2 << 20) + 11]).unwrap();
    let weird: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"not\xffutf8\n");
    fs::write(from.join(weird), "x").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::lsetxattr(from.join("a/file"), "user.colour", b"blue\0", flags).unwrap();
    let mut store = Store::new(&to, Style::Plain).unwrap();
    pass(&from, &mut store, None);
    assert_eq!(listing(&from), listing(&to));
    let mut value = [0; 16];
    let n = rustix::fs::lgetxattr(to.join("a/file"), "user.colour", &mut value[..]).unwrap();
    assert_eq!(&value[..n], b"blue\0");
    let blocks = to.join("sparse").metadata().unwrap().blocks();
    assert!(blocks < 1000, "{blocks} blocks: the hole was filled");
}

#[test]
fn the_next_pass_sends_what_changed_and_no_more() {
    let (_dir, from, to) = two();
    fs::create_dir_all(from.join("deep/er")).unwrap();
    for name in ["keeps", "goes", "grows", "deep/er/goes too", "turns"] {
        fs::write(from.join(name), vec![1; 300_000]).unwrap();
    }
    let mut store = Store::new(&to, Style::Plain).unwrap();
    // Old enough to be sure that nothing changes within the same tick.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let first = pass(&from, &mut store, None);
    fs::remove_file(from.join("goes")).unwrap();
    fs::remove_dir_all(from.join("deep")).unwrap();
    fs::write(from.join("grows"), "other").unwrap();
    fs::remove_file(from.join("turns")).unwrap();
    fs::create_dir(from.join("turns")).unwrap();
    fs::write(from.join("turns/new"), "new").unwrap();
    let mut stream = Vec::new();
    let mut sender = Sender::new(&mut stream);
    send(&from, 0, Some(&first), &mut sender, &mut |_| Ok(())).unwrap();
    sender.pass(true).unwrap();
    assert!(
        stream.len() < 2000,
        "{} bytes for small changes",
        stream.len()
    );
    let mut receiver = Receiver::new(&stream[..]);
    while let Some(frame) = receiver.next().unwrap() {
        apply(&mut store, frame).unwrap();
    }
    store.finish().unwrap();
    assert_eq!(listing(&from), listing(&to));
}

#[test]
fn a_path_or_link_never_leads_out_of_the_tree() {
    let (dir, _, to) = two();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, to.join("door")).unwrap();
    let mut store = Store::new(&to, Style::Plain).unwrap();
    let meta = Meta {
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        atime: (0, 0),
        xattrs: Vec::new(),
    };
    for path in [
        "../outside/x",
        "door/x",
        "/etc/x",
        "a//b",
        "./x",
        "..",
        "a/../../outside/x",
    ] {
        let result = store.entry(path.as_bytes().to_vec(), meta.clone(), What::File(0));
        assert!(result.is_err(), "{path}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn marks_of_an_overlay_become_deletions_where_it_is_mounted() {
    if !root() {
        return;
    }
    let (_dir, from, to) = two();
    fs::create_dir(from.join("opaque")).unwrap();
    fs::write(from.join("opaque/new"), "new").unwrap();
    rustix::fs::lsetxattr(
        from.join("opaque"),
        "trusted.overlay.opaque",
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        from.join("deleted"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::empty(),
        0,
    )
    .unwrap();
    fs::create_dir(to.join("opaque")).unwrap();
    fs::write(to.join("opaque/from the image"), "").unwrap();
    fs::write(to.join("deleted"), "").unwrap();
    let mut store = Store::new(&to, Style::Merged).unwrap();
    pass(&from, &mut store, None);
    let names: Vec<_> = listing(&to)
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["opaque", "opaque/new"]);
}

#[test]
fn a_folder_keeps_its_time_though_files_in_it_are_made_anew() {
    if !root() {
        return;
    }
    let (_dir, _, to) = two();
    let meta = |mode, second| Meta {
        mode,
        uid: 0,
        gid: 0,
        mtime: (second, 5),
        atime: (second, 5),
        xattrs: Vec::new(),
    };
    let path = |name: &str| name.as_bytes().to_vec();
    let file = |store: &mut Store, name: &str| {
        let what = What::File(1);
        store.entry(path(name), meta(0o100_644, 30), what).unwrap();
        store.data(1, 0, b"log").unwrap();
        store.close(1, 3).unwrap();
    };
    let time = |name: &str| {
        let meta = to.join(name).symlink_metadata().unwrap();
        (meta.mtime(), meta.mtime_nsec())
    };
    let mut first = Store::new(&to, Style::Plain).unwrap();
    for (name, second) in [("", 9), ("d", 10), ("d/e", 11), ("was", 12)] {
        let what = What::Folder;
        first
            .entry(path(name), meta(0o040_755, second), what)
            .unwrap();
    }
    for name in ["d/e/f", "was/f"] {
        file(&mut first, name);
    }
    first.finish().unwrap();
    // A file was written to, another is gone with its folder, which is a file now; a folder is new.
    let mut second = Store::new(&to, Style::Merged).unwrap();
    second.gone(b"was/f").unwrap();
    file(&mut second, "was");
    file(&mut second, "d/e/f");
    second
        .entry(path("d/new"), meta(0o040_755, 20), What::Folder)
        .unwrap();
    file(&mut second, "d/new/f");
    second.finish().unwrap();
    assert_eq!(
        ["", "d", "d/e", "was", "d/new", "d/new/f"].map(time),
        [(9, 5), (10, 5), (11, 5), (30, 5), (20, 5), (30, 5)]
    );
}

#[test]
fn the_time_of_the_last_reading_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    let file = fs::File::create(from.join("read")).unwrap();
    let times = fs::FileTimes::new().set_accessed(long_ago);
    file.set_times(times).unwrap();
    pass(&from, &mut Store::new(&to, Style::Plain).unwrap(), None);
    let meta = fs::metadata(to.join("read")).unwrap();
    assert_eq!(meta.accessed().unwrap(), long_ago);
}
