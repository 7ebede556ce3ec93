//! Pages that were sent ahead stay where they are: to CRIU they are images of a round before, as those of pre-copy,
//! and it restores them from there. So a container's memory is in the destination's memory once, not twice, and no
//! page of it is copied while the container stands still.
//!
//! CRIU goes through the pages of a process in one direction only, and frees each that it restored. So a page is left
//! there once, in the order of the pages file; whatever does not fit in is copied.

use crate::ahead;
use crate::error::{AgentError, Result};
use crate::images;
use crate::pagemap::{self, PAGE};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::Path;

/// Name of the folder in that of the images, which a link of CRIU's own name leads to.
const FOLDER: &str = "before";
/// The pages file there: all processes share it.
const NUMBER: u32 = 1;
/// Fewer pages than that are copied as quickly as CRIU reads them for themselves.
const LEAST: u32 = 4;
/// So many pages may be leapt over for each page that is left: a few that are equal by chance to some far ahead must
/// not leave out all between.
const LEAP: u32 = 4096;

/// Pages that lie side by side in a pages file, and where they were sent ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first of them, as CRIU counts the pages of the file.
    pub at: u64,
    /// Which of those that were sent ahead that is.
    pub begin: u32,
    pub count: u32,
}

/// A pages file that comes.
#[derive(Default)]
struct Pages {
    number: u32,
    /// Bytes of it so far, and how many of them are left out.
    length: u64,
    left_out: u64,
    runs: Vec<Run>,
}

/// The pages that are left where they are.
#[derive(Default)]
pub(crate) struct Before {
    files: HashMap<u32, Pages>,
    /// Of each page that was sent ahead: whether it is one.
    left: Vec<bool>,
}

impl Before {
    /// A file of the images comes.
    pub fn open(&mut self, id: u32, name: &[u8]) {
        if let Some(number) = pagemap::pages_number(name) {
            let pages = Pages {
                number,
                ..Pages::default()
            };
            self.files.insert(id, pages);
        }
    }

    /// Where the next bytes of a file are written; of one that is not of pages, where it was said.
    pub fn place(&mut self, id: u32, offset: u64, length: usize) -> Result<u64> {
        let Some(pages) = self.files.get_mut(&id) else {
            return Ok(offset);
        };
        if offset != pages.length {
            return Err(AgentError::stream("pages out of order"));
        }
        pages.length += length as u64;
        Ok(offset - pages.left_out)
    }

    /// How long a file of this size has become.
    pub fn size(&self, id: u32, size: u64) -> Result<u64> {
        match self.files.get(&id) {
            Some(pages) if size != pages.length => Err(AgentError::stream("pages are missing")),
            Some(pages) => Ok(size - pages.left_out),
            None => Ok(size),
        }
    }

    /// The next pages of a file are these, of so many that were sent ahead: true where they are left there.
    pub fn leave(
        &mut self,
        id: u32,
        (offset, (begin, count)): (u64, (u32, u32)),
        of: u64,
    ) -> Result<bool> {
        let Some(pages) = self.files.get_mut(&id) else {
            return Ok(false);
        };
        if offset != pages.length {
            return Err(AgentError::stream("pages out of order"));
        }
        let next = pages.runs.last().map_or(0, |run| run.begin + run.count);
        let Some(end) = begin.checked_add(count).filter(|end| u64::from(*end) <= of) else {
            return Ok(false);
        };
        let fits = begin
            .checked_sub(next)
            .is_some_and(|leap| leap / LEAP <= count);
        let whole = pages.length.is_multiple_of(PAGE);
        let (from, to) = (begin as usize, end as usize);
        if self.left.len() < to {
            self.left.resize(to, false);
        }
        if count < LEAST || !fits || !whole || self.left[from..to].contains(&true) {
            return Ok(false);
        }
        self.left[from..to].fill(true);
        let at = pages.length / PAGE;
        match pages.runs.last_mut() {
            Some(last) if next == begin && last.at + u64::from(last.count) == at => {
                last.count += count;
            }
            _ => pages.runs.push(Run { at, begin, count }),
        }
        let bytes = u64::from(count) * PAGE;
        pages.length += bytes;
        pages.left_out += bytes;
        Ok(true)
    }

    /// Tells CRIU where they are, once all images have come. What was sent ahead in vain is removed.
    pub fn finish(&mut self, folder: &Path) -> Result<()> {
        let mut files: HashMap<u32, Vec<Run>> = self
            .files
            .drain()
            .filter(|(_, pages)| !pages.runs.is_empty())
            .map(|(_, pages)| (pages.number, pages.runs))
            .collect();
        let sent = folder.join(ahead::NAME);
        if files.is_empty() {
            return match std::fs::remove_file(&sent) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(AgentError::file(&sent, error))
                }
                _ => Ok(()),
            };
        }
        let before = folder.join(FOLDER);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&before)
            .and_then(|()| std::fs::rename(&sent, before.join(pagemap::pages_name(NUMBER))))
            .and_then(|()| symlink(FOLDER, folder.join(images::PARENT)))
            .map_err(|error| AgentError::file(&before, error))?;
        for name in pagemap::names(folder) {
            let path = folder.join(&name);
            let failed = |error| AgentError::file(&path, error);
            let file = File::open(&path).map_err(failed)?;
            let mut image = pagemap::Reader::new(BufReader::new(file)).map_err(failed)?;
            let Some(runs) = files.remove(&image.number()) else {
                continue;
            };
            let own = folder.join(format!("{name}.own"));
            split(&mut image, &runs, &own, &before.join(&name))
                .and_then(|()| std::fs::rename(&own, &path))
                .map_err(failed)?;
        }
        if files.is_empty() {
            return Ok(());
        }
        Err(AgentError::Other(format!(
            "CRIU's images of {} have pages that no process has",
            folder.display()
        )))
    }
}

fn create(path: &Path) -> std::io::Result<BufWriter<File>> {
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.map(BufWriter::new)
}

/// Writes what a process has in `own` and what it has in the round before, which `before` describes.
fn split(
    image: &mut pagemap::Reader<BufReader<File>>,
    runs: &[Run],
    own: &Path,
    before: &Path,
) -> std::io::Result<()> {
    let mut own = pagemap::Writer::new(create(own)?, image.magic(), image.number())?;
    let mut before = pagemap::Writer::new(create(before)?, image.magic(), NUMBER)?;
    let mut runs = runs.iter().copied();
    let mut run = runs.next();
    // How many pages of the file were described, and of those that were sent ahead.
    let (mut at, mut sent) = (0, 0);
    while let Some(entry) = image.next()? {
        if !entry.is_in_file() {
            own.entry(entry)?;
            continue;
        }
        let mut rest = entry;
        while rest.count > 0 {
            let until = run.map_or(u64::MAX, |run| run.at - at);
            let mut part = rest;
            if until > 0 {
                part.count = rest.count.min(until);
                own.entry(part)?;
            } else if let Some(left) = &mut run {
                part.count = rest.count.min(u64::from(left.count));
                before.skip(u64::from(left.begin) - sent, part.address)?;
                before.entry(part)?;
                own.entry(part.in_parent())?;
                sent = u64::from(left.begin) + part.count;
                left.at += part.count;
                left.begin = u32::try_from(sent).map_err(std::io::Error::other)?;
                left.count -= u32::try_from(part.count).map_err(std::io::Error::other)?;
                if left.count == 0 {
                    run = runs.next();
                }
            }
            at += part.count;
            rest.address += part.count * PAGE;
            rest.count -= part.count;
        }
    }
    if run.is_some() {
        return Err(std::io::Error::other("it describes fewer pages than came"));
    }
    for written in [&mut own, &mut before] {
        written.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
