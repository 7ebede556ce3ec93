//! CRIU's images, sent while CRIU writes them.

use crate::ahead::Ahead;
use crate::aside::Tick;
use crate::error::{AgentError, Result};
use crate::frame::{CHUNK, Message, Meta, Sender, What};
use crate::job::IMAGES;
use crate::pagemap::PAGE;
use rustix::fs::FallocateFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Name of the link to the images of the round before (criu, `include/image.h`: `CR_PARENT_LINK`).
pub(crate) const PARENT: &str = "parent";

fn is_pages(name: &str) -> bool {
    name.starts_with("pages-")
}

/// An image is root's alone.
pub(crate) fn meta(mode: u32) -> Meta {
    Meta {
        mode,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        atime: (0, 0),
        xattrs: Vec::new(),
    }
}

/// The folder of the images, in memory.
pub(crate) struct Images {
    folder: PathBuf,
    open: BTreeMap<String, Growing>,
    buffer: Vec<u8>,
    /// Memory that the destination has already.
    ahead: Ahead,
}

struct Growing {
    id: u32,
    file: File,
    sent: u64,
}

impl Images {
    pub fn new(folder: &Path) -> Self {
        Images {
            folder: folder.to_owned(),
            open: BTreeMap::new(),
            buffer: vec![0; CHUNK],
            ahead: Ahead::default(),
        }
    }

    /// Of pages that were sent ahead it is only said where they are.
    pub fn with(self, ahead: Ahead) -> Self {
        Images { ahead, ..self }
    }

    fn names(&self) -> Result<Vec<String>> {
        let list = std::fs::read_dir(&self.folder)
            .map_err(|error| AgentError::file(&self.folder, error))?;
        // Rounds have folders of their own.
        let is_folder =
            |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        Ok(list
            .flatten()
            .filter(|entry| !is_folder(entry))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }

    /// Sends what pages files have grown by; true if something was sent. CRIU only appends to these; other
    /// images are small, and it may go back in them.
    pub fn send_grown<W: Write>(&mut self, to: &mut Sender<W>, tick: Tick<W>) -> Result<bool> {
        let mut some = false;
        for name in self.names()? {
            if is_pages(&name) {
                some |= self.send(&name, false, to, tick)?;
            }
        }
        Ok(some)
    }

    /// Sends all that is left, once CRIU has ended.
    pub fn send_rest<W: Write>(&mut self, to: &mut Sender<W>, tick: Tick<W>) -> Result<()> {
        for name in self.names()? {
            if name == PARENT {
                self.send_parent(to)?;
            } else {
                self.send(&name, true, to, tick)?;
            }
        }
        for growing in self.open.values() {
            to.message(&Message::Close {
                id: growing.id,
                size: growing.sent,
            })?;
        }
        Ok(())
    }

    /// How many pages were sent.
    pub fn pages(&self) -> u64 {
        let pages = self.open.iter().filter(|(name, _)| is_pages(name));
        pages.map(|(_, growing)| growing.sent).sum::<u64>() / PAGE
    }

    /// The way to the images of the round before.
    fn send_parent<W: Write>(&self, to: &mut Sender<W>) -> Result<()> {
        let path = self.folder.join(PARENT);
        let target = std::fs::read_link(&path).map_err(|error| AgentError::file(&path, error))?;
        to.message(&Message::Entry {
            tree: IMAGES,
            path: PARENT.into(),
            meta: meta(0o120_777),
            what: What::Symlink(target.into_os_string().into_encoded_bytes()),
        })
    }

    /// Sends what a file has grown by; with `rest` to its end, else to the end of a page where that matters.
    fn send<W: Write>(
        &mut self,
        name: &str,
        rest: bool,
        to: &mut Sender<W>,
        tick: Tick<W>,
    ) -> Result<bool> {
        let known = is_pages(name) && !self.ahead.is_empty();
        let path = self.folder.join(name);
        if !self.open.contains_key(name) {
            let file = File::options()
                .read(true)
                .write(true)
                .open(&path)
                .map_err(|error| AgentError::file(&path, error))?;
            let id = u32::MAX - u32::try_from(self.open.len()).unwrap_or(0);
            to.message(&Message::Entry {
                tree: IMAGES,
                path: name.as_bytes().to_vec(),
                meta: meta(0o100_600),
                what: What::File(id),
            })?;
            self.open
                .insert(name.to_owned(), Growing { id, file, sent: 0 });
        }
        let Some(growing) = self.open.get_mut(name) else {
            return Ok(false);
        };
        let mut some = false;
        loop {
            let n = growing
                .file
                .read_at(&mut self.buffer, growing.sent)
                .map_err(|error| AgentError::file(&path, error))?;
            // CRIU may be within a page.
            let whole = n - n % PAGE as usize;
            let n = if known && (whole > 0 || !rest) {
                whole
            } else {
                n
            };
            if n == 0 {
                return Ok(some);
            }
            tick(to)?;
            let bytes = &self.buffer[..n];
            if known && whole > 0 {
                self.ahead.again(growing.id, growing.sent, bytes, to)?;
            } else {
                to.data(growing.id, growing.sent, bytes)?;
            }
            if is_pages(name) {
                // What was sent need not fill this host's memory any longer: the process has it still. What
                // describes the pages is needed for the next round.
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let _ = rustix::fs::fallocate(&growing.file, flags, growing.sent, n as u64);
            }
            growing.sent += n as u64;
            some = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Receiver};

    #[test]
    fn growing_pages_and_the_rest_arrive_once() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            File::options()
                .append(true)
                .create(true)
                .open(dir.path().join(name))
                .unwrap()
                .write_all(bytes)
                .unwrap();
        };
        let mut stream = Vec::new();
        let mut to = Sender::new(&mut stream);
        let mut images = Images::new(dir.path());
        write("pages-1.img", b"first ");
        write("core-1.img", b"half");
        assert!(images.send_grown(&mut to, &mut |_| Ok(())).unwrap());
        assert!(!images.send_grown(&mut to, &mut |_| Ok(())).unwrap());
        write("pages-1.img", b"second");
        std::fs::write(dir.path().join("core-1.img"), "whole").unwrap();
        images.send_rest(&mut to, &mut |_| Ok(())).unwrap();
        let mut receiver = Receiver::new(&stream[..]);
        let (mut names, mut contents) = (BTreeMap::new(), BTreeMap::<u32, Vec<u8>>::new());
        while let Some(frame) = receiver.next().unwrap() {
            match frame {
                Frame::Message(Message::Entry {
                    path,
                    what: What::File(id),
                    ..
                }) => {
                    names.insert(id, String::from_utf8(path).unwrap());
                }
                Frame::Data { id, offset, bytes } => {
                    let content = contents.entry(id).or_default();
                    assert_eq!(offset, content.len() as u64);
                    content.extend(bytes);
                }
                _ => {}
            }
        }
        let of = |name: &str| {
            let id = names.iter().find(|(_, other)| *other == name).unwrap().0;
            contents[id].clone()
        };
        assert_eq!(
            (of("pages-1.img"), of("core-1.img")),
            (b"first second".to_vec(), b"whole".to_vec())
        );
    }
}
