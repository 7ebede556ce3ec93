//! Trees of files: sent in passes, each pass only what changed since the one before.
//!
//! Both sides walk with file descriptors and never follow a symbolic link: a container that is still
//! running may swap a folder for a link at any moment, and what it names must not be read or written.

mod attributes;
mod store;
mod walk;

pub(crate) use store::{Store, Style};
pub(crate) use walk::{Manifest, send, size};

/// Attribute by which overlayfs marks a folder that hides what is below it.
pub(crate) const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// All of overlayfs's own attributes begin so.
pub(crate) const OVERLAY: &[u8] = b"trusted.overlay.";

/// Whether mode and device number are those of overlayfs's mark for a deleted file.
pub(crate) fn is_whiteout(mode: u32, device: u64) -> bool {
    mode & 0o170_000 == 0o020_000 && device == 0
}

#[cfg(test)]
mod tests;
