//! The receiving side.

use super::{OPAQUE, OVERLAY, attributes, is_whiteout};
use crate::error::{AgentError, Result};
use crate::frame::{Meta, What};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chmodat, chownat, fstat,
    ftruncate, linkat, mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a tree is on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Files as they are: a volume, images, or a layer that is not mounted.
    Plain,
    /// The files of a mounted overlay, given those of its upper layer: its marks for deleted files and
    /// opaque folders become deletions.
    Merged,
}

/// A tree that is being written.
pub(crate) struct Store {
    root: PathBuf,
    folder: OwnedFd,
    style: Style,
    open: HashMap<u32, Open>,
    /// Folders get their times last: each file made in them changes these.
    folders: Vec<(Vec<u8>, Meta)>,
    /// The times of folders in which something was made or removed, of which nothing need be told: a file
    /// that was only written to is made anew here, but not where it came from.
    touched: HashMap<Vec<u8>, Times>,
}

/// When it was read, and changed, last: seconds and nanoseconds.
#[derive(Clone, Copy)]
struct Times {
    read: (i64, u32),
    changed: (i64, u32),
}

impl From<&Meta> for Times {
    fn from(meta: &Meta) -> Self {
        Times {
            read: meta.atime,
            changed: meta.mtime,
        }
    }
}

struct Open {
    file: OwnedFd,
    path: Vec<u8>,
    meta: Meta,
}

const O_FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

impl Store {
    pub fn new(root: &Path, style: Style) -> Result<Self> {
        let folder = rustix::fs::open(root, O_FOLDER, Mode::empty())
            .map_err(|error| AgentError::file(root, error))?;
        Ok(Store {
            root: root.to_owned(),
            folder,
            style,
            open: HashMap::new(),
            folders: Vec::new(),
            touched: HashMap::new(),
        })
    }

    /// Empties it.
    pub fn clear(&self) -> Result<()> {
        clear(&self.folder).map_err(|error| AgentError::file(&self.root, error))
    }

    fn failed(&self, path: &[u8], error: impl std::fmt::Display) -> AgentError {
        AgentError::file(&self.root.join(OsStr::from_bytes(path)), error)
    }

    /// Opens the folder that holds `path`, step by step and following no link; with the last part.
    fn parent(&self, path: &[u8]) -> Result<(OwnedFd, OsString)> {
        let mut folder = self
            .folder
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| self.failed(path, error))?;
        let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let last = parts.pop().unwrap_or_default();
        if parts
            .iter()
            .chain([&last])
            .any(|part| part.is_empty() && !path.is_empty() || *part == b"." || *part == b"..")
        {
            return Err(self.failed(path, "no path of a tree"));
        }
        for part in parts {
            folder = openat(&folder, OsStr::from_bytes(part), O_FOLDER, Mode::empty())
                .map_err(|error| self.failed(path, error))?;
        }
        Ok((folder, OsStr::from_bytes(last).to_owned()))
    }

    /// Keeps in mind when a folder was changed, before something in it is.
    fn touch(&mut self, folder: &OwnedFd, path: &[u8]) -> Result<()> {
        let above = path
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(&[][..], |at| &path[..at]);
        // What takes this path's place has times of its own.
        self.touched.remove(path);
        if !path.is_empty() && !self.touched.contains_key(above) {
            let stat = fstat(folder).map_err(|error| self.failed(above, error))?;
            let nanos = |nanos| u32::try_from(nanos).unwrap_or(0);
            let times = Times {
                read: (stat.st_atime, nanos(stat.st_atime_nsec)),
                changed: (stat.st_mtime, nanos(stat.st_mtime_nsec)),
            };
            self.touched.insert(above.to_vec(), times);
        }
        Ok(())
    }

    /// Makes a file of any sort anew; the bytes of a regular one follow.
    pub fn entry(&mut self, path: Vec<u8>, mut meta: Meta, what: What) -> Result<()> {
        let (folder, name) = self.parent(&path)?;
        self.touch(&folder, &path)?;
        let mut opaque = false;
        if self.style == Style::Merged {
            if let What::Node(device) = what
                && is_whiteout(meta.mode, device)
            {
                return self.gone(&path);
            }
            opaque = meta
                .xattrs
                .iter()
                .any(|(name, value)| name == OPAQUE && value != b"n");
            meta.xattrs.retain(|(name, _)| !name.starts_with(OVERLAY));
        }
        if !path.is_empty() {
            let there = statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW).ok();
            let is_folder = there
                .is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
            let keep = is_folder && matches!(what, What::Folder) && !opaque;
            if there.is_some() && !keep {
                remove(&folder, &name).map_err(|error| self.failed(&path, error))?;
            }
            self.make(&folder, &name, &path, &meta, &what, keep)?;
        }
        match what {
            What::File(_) | What::Hard(_) => Ok(()),
            What::Folder => {
                self.attributes(&folder, &name, &path, &meta)?;
                self.folders.push((path, meta));
                Ok(())
            }
            What::Symlink(_) | What::Node(_) => {
                self.attributes(&folder, &name, &path, &meta)?;
                self.times(&folder, &name, &path, Times::from(&meta))
            }
        }
    }

    fn make(
        &mut self,
        folder: &OwnedFd,
        name: &OsStr,
        path: &[u8],
        meta: &Meta,
        what: &What,
        keep: bool,
    ) -> Result<()> {
        let private = Mode::RUSR | Mode::WUSR;
        let made = match what {
            What::Folder if keep => Ok(()),
            What::Folder => mkdirat(folder, name, Mode::RWXU),
            What::File(id) => {
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                openat(folder, name, flags, private).map(|file| {
                    let (path, meta) = (path.to_vec(), meta.clone());
                    self.open.insert(*id, Open { file, path, meta });
                })
            }
            What::Symlink(target) => symlinkat(OsStr::from_bytes(target), folder, name),
            What::Node(device) => mknodat(
                folder,
                name,
                FileType::from_raw_mode(meta.mode),
                private,
                *device,
            ),
            What::Hard(first) => {
                let (other, other_name) = self.parent(first)?;
                linkat(&other, &other_name, folder, name, AtFlags::empty())
            }
        };
        made.map_err(|error| self.failed(path, error))
    }

    /// Bytes of an open file.
    pub fn data(&mut self, id: u32, offset: u64, bytes: &[u8]) -> Result<()> {
        let open = self
            .open
            .get(&id)
            .ok_or_else(|| AgentError::stream(format!("bytes of file {id}, which is not open")))?;
        let mut done = 0;
        while done < bytes.len() {
            let n = rustix::io::pwrite(&open.file, &bytes[done..], offset + done as u64)
                .map_err(|error| self.failed(&open.path, error))?;
            done += n;
        }
        Ok(())
    }

    /// A file is complete.
    pub fn close(&mut self, id: u32, size: u64) -> Result<()> {
        let Some(open) = self.open.remove(&id) else {
            return Err(AgentError::stream(format!(
                "the end of file {id}, which is not open"
            )));
        };
        ftruncate(&open.file, size).map_err(|error| self.failed(&open.path, error))?;
        let (folder, name) = self.parent(&open.path)?;
        self.attributes(&folder, &name, &open.path, &open.meta)?;
        self.times(&folder, &name, &open.path, Times::from(&open.meta))
    }

    /// Removes a path with all below it; that it is not there is right too.
    pub fn gone(&mut self, path: &[u8]) -> Result<()> {
        let (folder, name) = match self.parent(path) {
            Ok(found) => found,
            Err(AgentError::File { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.touch(&folder, path)?;
        match remove(&folder, &name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed(path, error)),
        }
    }

    /// The pass is complete.
    pub fn finish(&mut self) -> Result<()> {
        if !self.open.is_empty() {
            return Err(AgentError::stream("a pass ended within a file"));
        }
        // Deepest first does not matter: setting a folder's times changes no other's.
        // Those that were told of come second.
        let told = std::mem::take(&mut self.folders);
        let touched = std::mem::take(&mut self.touched).into_iter();
        let told = told
            .into_iter()
            .map(|(path, meta)| (path, Times::from(&meta)));
        for (path, times) in touched.chain(told) {
            match self.parent(&path) {
                Ok((folder, name)) => self.times(&folder, &name, &path, times)?,
                Err(AgentError::File { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Owner, then mode, which changing the owner resets, then the attributes, which both do.
    fn attributes(&self, folder: &OwnedFd, name: &OsStr, path: &[u8], meta: &Meta) -> Result<()> {
        let said = |error: Errno| self.failed(path, error);
        let this = if name.is_empty() {
            OsStr::new(".")
        } else {
            name
        };
        chownat(
            folder,
            this,
            Some(Uid::from_raw(meta.uid)),
            Some(Gid::from_raw(meta.gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(said)?;
        if FileType::from_raw_mode(meta.mode) != FileType::Symlink {
            chmodat(
                folder,
                this,
                Mode::from_raw_mode(meta.mode),
                AtFlags::empty(),
            )
            .map_err(said)?;
        }
        attributes::write(&attributes::path(folder.as_fd(), name), &meta.xattrs)
    }

    fn times(&self, folder: &OwnedFd, name: &OsStr, path: &[u8], times: Times) -> Result<()> {
        let this = if name.is_empty() {
            OsStr::new(".")
        } else {
            name
        };
        let spec = |time: (i64, u32)| Timespec {
            tv_sec: time.0,
            tv_nsec: i64::from(time.1),
        };
        let times = Timestamps {
            last_access: spec(times.read),
            last_modification: spec(times.changed),
        };
        utimensat(folder, this, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.failed(path, error))
    }
}

fn clear(folder: &OwnedFd) -> rustix::io::Result<()> {
    let names: Vec<OsString> = Dir::read_from(folder)?
        .filter_map(std::result::Result::ok)
        .map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned())
        .filter(|name| name != "." && name != "..")
        .collect();
    for name in names {
        remove(folder, &name)?;
    }
    Ok(())
}

fn remove(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return other,
    }
    let inner = openat(folder, name, O_FOLDER, Mode::empty())?;
    clear(&inner)?;
    unlinkat(folder, name, AtFlags::REMOVEDIR)
}
