//! Extended attributes, ACLs among them.

use super::{OPAQUE, OVERLAY};
use crate::error::{AgentError, Result};
use rustix::fs::{
    XattrFlags, lgetxattr, lgetxattr_query, llistxattr, llistxattr_query, lremovexattr, lsetxattr,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A file of a folder that is held open, as a path for calls that take no descriptor. The last part is
/// not followed by the `l` calls.
pub(super) fn path(folder: BorrowedFd, name: &OsStr) -> PathBuf {
    let folder = format!("/proc/self/fd/{}", folder.as_raw_fd());
    if name.is_empty() {
        // The folder itself, through the descriptor.
        return PathBuf::from(folder).join(".");
    }
    Path::new(&folder).join(name)
}

fn names(file: &Path) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut list = Vec::new();
    loop {
        let size = llistxattr_query(file)?;
        list.resize(size, 0);
        match llistxattr(file, &mut list[..]) {
            Ok(n) => {
                list.truncate(n);
                break;
            }
            // It grew in between.
            Err(Errno::RANGE) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect())
}

fn value(file: &Path, name: &[u8]) -> rustix::io::Result<Vec<u8>> {
    let name = OsStr::from_bytes(name);
    loop {
        let size = lgetxattr_query(file, name)?;
        let mut value = vec![0; size];
        match lgetxattr(file, name, &mut value[..]) {
            Ok(n) => {
                value.truncate(n);
                return Ok(value);
            }
            Err(Errno::RANGE) => {}
            Err(error) => return Err(error),
        }
    }
}

/// All attributes of a file, but those of overlayfs that mean something on one host only.
pub(super) fn read(file: &Path) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let list = match names(file) {
        Ok(list) => list,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(AgentError::file(file, error)),
    };
    let mut found = Vec::new();
    for name in list {
        if name == b"trusted.overlay.redirect" || name == b"trusted.overlay.metacopy" {
            return Err(AgentError::file(
                file,
                "its content is elsewhere in the image (overlayfs redirect or metacopy), which cannot be moved",
            ));
        }
        if name.starts_with(OVERLAY) && name != OPAQUE {
            continue;
        }
        match value(file, &name) {
            Ok(value) => found.push((name, value)),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(AgentError::file(file, error)),
        }
    }
    Ok(found)
}

/// Gives a file these attributes and no others; overlayfs's own are left alone unless given.
pub(super) fn write(file: &Path, wanted: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
    let there = names(file).unwrap_or_default();
    for name in there {
        if !name.starts_with(OVERLAY) && !wanted.iter().any(|(wanted, _)| *wanted == name) {
            // A security module's label that cannot be taken away is its business.
            let _ = lremovexattr(file, OsStr::from_bytes(&name));
        }
    }
    for (name, value) in wanted {
        lsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty())
            .map_err(|error| AgentError::file(file, error))?;
    }
    Ok(())
}
