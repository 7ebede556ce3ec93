//! The sending side.

use super::attributes;
use crate::aside::Tick;
use crate::error::{AgentError, Result};
use crate::frame::{CHUNK, Message, Meta, Sender, What};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, Stat, fstat, openat, readlinkat, seek, statat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// A file changed so shortly before it was looked at may have changed again within the same tick of
/// the file system's clock: it is sent again in the next pass.
const TICK: i64 = 1_000_000_000;

/// What tells whether a file changed: any change of content or attributes moves its ctime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    ctime: i64,
    size: i64,
    mode: u32,
}

/// What a pass sent.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    files: HashMap<Vec<u8>, Stamp>,
    /// When the pass began, nanoseconds since 1970.
    begun: i64,
}

/// Sends a tree, or, after an earlier pass, what changed in it since.
pub(crate) fn send<W: Write>(
    root: &Path,
    tree: u8,
    before: Option<&Manifest>,
    to: &mut Sender<W>,
    tick: Tick<W>,
) -> Result<Manifest> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let folder = rustix::fs::open(root, flags, Mode::empty())
        .map_err(|error| AgentError::file(root, error))?;
    let mut walk = Walk {
        root,
        tree,
        before,
        to,
        tick,
        now: Manifest {
            files: HashMap::new(),
            begun: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
        },
        first_names: HashMap::new(),
        next_id: 0,
    };
    let stat = fstat(&folder).map_err(|error| AgentError::file(root, error))?;
    if let Some(before) = before {
        walk.gone(before, &folder)?;
    }
    walk.entry(folder.as_fd(), OsStr::new(""), &[], &stat)?;
    walk.folder(folder, &[])?;
    Ok(walk.now)
}

struct Walk<'a, W> {
    root: &'a Path,
    tree: u8,
    before: Option<&'a Manifest>,
    to: &'a mut Sender<W>,
    tick: Tick<'a, W>,
    now: Manifest,
    /// Files with several names: the name that was sent first.
    first_names: HashMap<(u64, u64), Vec<u8>>,
    next_id: u32,
}

fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        inode: stat.st_ino,
        ctime: stat
            .st_ctime
            .saturating_mul(1_000_000_000)
            .saturating_add(stat.st_ctime_nsec as i64),
        size: stat.st_size,
        mode: stat.st_mode,
    }
}

impl<W: Write> Walk<'_, W> {
    fn failed(&self, path: &[u8], error: impl std::fmt::Display) -> AgentError {
        AgentError::file(&self.root.join(OsStr::from_bytes(path)), error)
    }

    /// Tells of all that was sent before and is there no more, deepest first.
    fn gone(&mut self, before: &Manifest, root: &OwnedFd) -> Result<()> {
        let mut gone: Vec<&Vec<u8>> = before
            .files
            .keys()
            .filter(|path| !path.is_empty() && !exists(root, path))
            .collect();
        gone.sort_by_key(|path| std::cmp::Reverse(path.len()));
        for path in gone {
            self.to.message(&Message::Gone {
                tree: self.tree,
                path: path.clone(),
            })?;
        }
        Ok(())
    }

    fn changed(&self, path: &[u8], stamp: Stamp) -> bool {
        let Some(before) = self.before else {
            return true;
        };
        before.files.get(path) != Some(&stamp) || stamp.ctime >= before.begun - TICK
    }

    fn folder(&mut self, folder: OwnedFd, path: &[u8]) -> Result<()> {
        let list = Dir::read_from(&folder).map_err(|error| self.failed(path, error))?;
        for entry in list {
            let entry = entry.map_err(|error| self.failed(path, error))?;
            let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            if name == "." || name == ".." {
                continue;
            }
            let mut below = path.to_vec();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(name.as_bytes());
            // What a running container deletes meanwhile is simply not there.
            let stat = match statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(self.failed(&below, error)),
            };
            match self.entry(folder.as_fd(), &name, &below, &stat) {
                Err(AgentError::File { .. }) if is_gone(&folder, &name) => {
                    self.now.files.remove(&below);
                    continue;
                }
                other => other?,
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                match openat(&folder, &name, flags, Mode::empty()) {
                    Ok(inner) => self.folder(inner, &below)?,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(error) => return Err(self.failed(&below, error)),
                }
            }
        }
        Ok(())
    }

    /// Sends one file, if it changed.
    fn entry(&mut self, folder: BorrowedFd, name: &OsStr, path: &[u8], stat: &Stat) -> Result<()> {
        (self.tick)(self.to)?;
        let stamp = stamp(stat);
        self.now.files.insert(path.to_vec(), stamp);
        if !self.changed(path, stamp) {
            return Ok(());
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        let meta = Meta {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (
                stat.st_mtime,
                u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
            atime: (
                stat.st_atime,
                u32::try_from(stat.st_atime_nsec).unwrap_or(0),
            ),
            xattrs: attributes::read(&attributes::path(folder, name))?,
        };
        if kind != FileType::Directory && stat.st_nlink > 1 {
            // Inodes have numbers of their own on each file system that is mounted inside.
            let file = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.first_names.get(&file) {
                let what = What::Hard(first.clone());
                return self.tell(path, meta, what);
            }
            self.first_names.insert(file, path.to_vec());
        }
        match kind {
            FileType::Directory => self.tell(path, meta, What::Folder),
            FileType::Symlink => {
                let target = readlinkat(folder, name, Vec::new())
                    .map_err(|error| self.failed(path, error))?;
                self.tell(path, meta, What::Symlink(target.into_bytes()))
            }
            FileType::RegularFile => self.file(folder, name, path, meta),
            _ => self.tell(path, meta, What::Node(stat.st_rdev)),
        }
    }

    fn tell(&mut self, path: &[u8], meta: Meta, what: What) -> Result<()> {
        self.to.message(&Message::Entry {
            tree: self.tree,
            path: path.to_vec(),
            meta,
            what,
        })
    }

    fn file(&mut self, folder: BorrowedFd, name: &OsStr, path: &[u8], meta: Meta) -> Result<()> {
        // NONBLOCK: a fifo that took the file's place must not hold us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            openat(folder, name, flags, Mode::empty()).map_err(|error| self.failed(path, error))?;
        let stat = fstat(&file).map_err(|error| self.failed(path, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.failed(path, "it changed its type"));
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.tell(path, meta, What::File(id))?;
        let size = self.data(&file, id, u64::try_from(stat.st_size).unwrap_or(0), path)?;
        self.to.message(&Message::Close { id, size })
    }

    /// Sends a file's data without its holes; returns its size.
    fn data(&mut self, file: &OwnedFd, id: u32, size: u64, path: &[u8]) -> Result<u64> {
        let mut buffer = vec![0; CHUNK.min(usize::try_from(size).unwrap_or(CHUNK).max(1))];
        let mut at = 0;
        while at < size {
            at = match seek(file, SeekFrom::Data(at)) {
                Ok(data) => data,
                // A hole up to the end.
                Err(Errno::NXIO) => break,
                // A file system that knows no holes.
                Err(Errno::INVAL) => at,
                Err(error) => return Err(self.failed(path, error)),
            };
            let end = seek(file, SeekFrom::Hole(at)).unwrap_or(size).min(size);
            while at < end {
                let most = buffer
                    .len()
                    .min(usize::try_from(end - at).unwrap_or(usize::MAX));
                let n = rustix::io::pread(file, &mut buffer[..most], at)
                    .map_err(|error| self.failed(path, error))?;
                if n == 0 {
                    // It shrank; the next pass sends it anew.
                    return Ok(at);
                }
                (self.tick)(self.to)?;
                self.to.data(id, at, &buffer[..n])?;
                at += n as u64;
            }
        }
        Ok(size)
    }
}

/// About how many bytes there are to send; 0 where that was not wanted any more before it was known.
pub(crate) fn size(roots: &[PathBuf], done: &AtomicBool) -> u64 {
    let mut folders = roots.to_vec();
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        if done.load(Relaxed) {
            return 0;
        }
        // What cannot be read is told of by whoever sends it.
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                // Holes are not sent.
                Ok(meta) if meta.is_file() => bytes += meta.len().min(meta.blocks() * 512),
                _ => {}
            }
        }
    }
    bytes
}

fn exists(root: &OwnedFd, path: &[u8]) -> bool {
    statat(root, OsStr::from_bytes(path), AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn is_gone(folder: &OwnedFd, name: &OsStr) -> bool {
    matches!(
        statat(folder, name, AtFlags::SYMLINK_NOFOLLOW),
        Err(Errno::NOENT)
    )
}
