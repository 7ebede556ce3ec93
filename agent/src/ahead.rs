//! Memory that is sent before the freeze, while the container runs and changes it. Of what CRIU writes later, a page
//! that is the same is not sent a second time: the destination is told where it has it.
//!
//! No kernel has to tell which pages changed: what counts is what is in them, compared by BLAKE3. Whatever was
//! missed, or changed meanwhile, is sent as it would have been.

use crate::aside::Tick;
use crate::error::{AgentError, Result};
use crate::frame::{CHUNK, Message, Sender, What};
use crate::images;
use crate::job::IMAGES;
use crate::pagemap::PAGE;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

/// Name of the file with that memory, beside the images of the destination.
pub(crate) const NAME: &str = "ahead";
/// Number of that file; those of trees are counted from 0, those of images down from the last.
const ID: u32 = 1 << 31;
/// Pages that are looked at, and read, at once: with one more they fit into a frame.
const LOOK: usize = 4096;
const READ: usize = CHUNK / PAGE as usize - 1;
/// Larger mappings are hardly filled, and to look at each of their pages takes seconds.
const LARGEST: u64 = (1 << 40) / PAGE;
/// Pages that are compared at once where they lie as they were sent: BLAKE3 is three times as quick then.
const BLOCK: usize = 16;
/// So often a page is put between them that nobody needs: CRIU frees pages that it restored only where the next ones do
/// not follow on them, and until then they are in memory twice.
const GAP: usize = (64 << 20) / PAGE as usize;
/// So many pages are looked up before it is judged whether that is worth the time.
const TRIAL: u32 = 4096;
/// Worth it is one of so many.
const WORTH: u32 = 8;
/// Where it is not, one of so many is looked up all the same: what was written to may lie before what was not.
const NOW_AND_THEN: usize = 16;

/// Bits of an entry of `/proc/PID/pagemap` (Linux, `Documentation/admin-guide/mm/pagemap.rst`).
const PRESENT: u64 = 1 << 63;
const FILE_OR_SHARED: u64 = 1 << 61;

type Sum = [u8; 16];

/// What was sent, page by page.
#[derive(Default)]
pub(crate) struct Ahead {
    /// Of each page that was sent, in their order.
    sums: Vec<Sum>,
    /// Of each whole block of them.
    blocks: Vec<Sum>,
    /// The block that is not whole yet.
    block: blake3::Hasher,
    /// The sums of pages, sorted: the beginning of the sum, and which page.
    sorted: Vec<(u64, u32)>,
    /// The page after the one that was found last: memory is mostly written in the order in which it was sent.
    next: usize,
    /// The last that was looked for was found.
    hit: bool,
    asked: u32,
    found: u32,
    passed: usize,
}

fn sum(bytes: &[u8]) -> Sum {
    short(&blake3::hash(bytes))
}

fn short(hash: &blake3::Hash) -> Sum {
    let mut sum = Sum::default();
    sum.copy_from_slice(&hash.as_bytes()[..16]);
    sum
}

fn beginning(sum: &Sum) -> u64 {
    sum.first_chunk()
        .map_or(0, |head| u64::from_le_bytes(*head))
}

impl Ahead {
    /// Sends the memory of a process and all below it, so many bytes at most.
    ///
    /// # Errors
    /// It cannot be sent. What cannot be read is left out.
    pub fn send<W: Write>(
        first: u32,
        most: u64,
        to: &mut Sender<W>,
        tick: Tick<W>,
    ) -> Result<Self> {
        let mut ahead = Ahead::default();
        to.message(&Message::Entry {
            tree: IMAGES,
            path: NAME.into(),
            meta: images::meta(0o100_600),
            what: What::File(ID),
        })?;
        let most = usize::try_from(most / PAGE).unwrap_or(usize::MAX);
        let mut processes = i32::try_from(first).map_or_else(|_| Vec::new(), runtime::tree);
        if rustix::param::page_size() as u64 != PAGE {
            processes.clear();
        }
        for pid in processes {
            ahead.process(pid, most, to, tick)?;
        }
        let size = ahead.sums.len() as u64 * PAGE;
        to.message(&Message::Close { id: ID, size })?;
        ahead.sort();
        Ok(ahead)
    }

    fn sort(&mut self) {
        let sums = (0..).zip(&self.sums);
        self.sorted = sums.map(|(at, sum)| (beginning(sum), at)).collect();
        self.sorted.sort_unstable();
    }

    /// What a process has for itself. It may end at any time.
    fn process<W: Write>(
        &mut self,
        pid: i32,
        most: usize,
        to: &mut Sender<W>,
        tick: Tick<W>,
    ) -> Result<()> {
        let open = |name: &str| File::open(format!("/proc/{pid}/{name}"));
        let (Ok(maps), Ok(pagemap), Ok(memory)) = (
            std::fs::read_to_string(format!("/proc/{pid}/maps")),
            open("pagemap"),
            open("mem"),
        ) else {
            return Ok(());
        };
        let mut entries = vec![0; LOOK * 8];
        let mut bytes = vec![0; READ * PAGE as usize];
        for (begin, end) in maps.lines().filter_map(private) {
            for from in (begin..end).step_by(LOOK) {
                let entries = &mut entries[..LOOK.min((end - from) as usize) * 8];
                tick(to)?;
                if pagemap.read_exact_at(entries, from * 8).is_err() {
                    break;
                }
                for (at, count) in runs(entries) {
                    let count = count.min(most.saturating_sub(self.sums.len()));
                    let bytes = &mut bytes[..count * PAGE as usize];
                    if memory.read_exact_at(bytes, (from + at) * PAGE).is_ok() {
                        tick(to)?;
                        self.pages(bytes, to)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends some pages; of equal ones that lie side by side, which most often hold nothing, one.
    fn pages<W: Write>(&mut self, bytes: &[u8], to: &mut Sender<W>) -> Result<()> {
        let mut new = Vec::with_capacity(bytes.len() + PAGE as usize);
        let offset = self.sums.len() as u64 * PAGE;
        for page in bytes.chunks_exact(PAGE as usize) {
            if (self.sums.len() + 1).is_multiple_of(GAP) {
                let nothing = [0; PAGE as usize];
                self.keep(&nothing, sum(&nothing), &mut new);
            }
            let sum = sum(page);
            if self.sums.last() != Some(&sum) {
                self.keep(page, sum, &mut new);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        to.data(ID, offset, &new)
    }

    /// Keeps in mind a page that is sent with `new`.
    fn keep(&mut self, page: &[u8], sum: Sum, new: &mut Vec<u8>) {
        self.sums.push(sum);
        new.extend_from_slice(page);
        self.block.update(page);
        if self.sums.len().is_multiple_of(BLOCK) {
            self.blocks.push(short(&self.block.finalize()));
            self.block.reset();
        }
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Which of the pages that were sent these begin with, and how many of them.
    fn find(&mut self, bytes: &[u8]) -> Option<(u32, u32)> {
        let begin = self.next;
        let block = bytes.get(..BLOCK * PAGE as usize);
        if let Some(block) = block.filter(|_| self.hit && begin.is_multiple_of(BLOCK))
            && self.blocks.get(begin / BLOCK) == Some(&sum(block))
        {
            self.next += BLOCK;
            return Some((u32::try_from(begin).ok()?, BLOCK as u32));
        }
        let found = self.page(&bytes[..PAGE as usize]);
        self.hit = found.is_some();
        Some((found?, 1))
    }

    /// Which of the pages that were sent is this one.
    fn page(&mut self, page: &[u8]) -> Option<u32> {
        let worth = self.asked < TRIAL || self.found >= self.asked / WORTH;
        if !worth {
            self.passed += 1;
            if !self.passed.is_multiple_of(NOW_AND_THEN) {
                return None;
            }
        }
        self.asked = self.asked.saturating_add(1);
        let sum = sum(page);
        // As it was sent; or equal to the one before it, of which one was sent.
        let near = [self.next, self.next.wrapping_sub(1)];
        let near = near.into_iter().find(|at| self.sums.get(*at) == Some(&sum));
        let at = near.or_else(|| {
            let key = beginning(&sum);
            let from = self.sorted.partition_point(|(other, _)| *other < key);
            let equal = self.sorted[from..]
                .iter()
                .take_while(|(other, _)| *other == key);
            let mut equal = equal.map(|(_, at)| *at as usize);
            equal.find(|at| self.sums[*at] == sum)
        })?;
        self.next = at + 1;
        if !worth {
            (self.asked, self.found) = (0, 0);
        }
        self.found += 1;
        u32::try_from(at).ok()
    }

    /// Sends pages of an image, whole ones: as a word about where they are, or as they are.
    pub fn again<W: Write>(
        &mut self,
        id: u32,
        mut offset: u64,
        mut bytes: &[u8],
        to: &mut Sender<W>,
    ) -> Result<()> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        // So many pages from the beginning of `bytes` are in `runs`; and so many after them are not known.
        let (mut known, mut new) = (0, 0);
        while let Some(left @ [_, ..]) = bytes.get((known + new) * PAGE as usize..) {
            let Some((at, count)) = self.find(left) else {
                new += 1;
                continue;
            };
            if new > 0 {
                flush(id, &mut offset, &mut bytes, &runs, (known, new), to)?;
                runs.clear();
                (known, new) = (0, 0);
            }
            known += count as usize;
            match runs.last_mut() {
                Some((begin, more)) if *begin + *more == at => *more += count,
                _ => runs.push((at, count)),
            }
        }
        flush(id, &mut offset, &mut bytes, &runs, (known, new), to)
    }
}

/// Sends so many pages that are known, and so many after them that are not, and takes them off `bytes`.
fn flush<W: Write>(
    id: u32,
    offset: &mut u64,
    bytes: &mut &[u8],
    runs: &[(u32, u32)],
    (known, new): (usize, usize),
    to: &mut Sender<W>,
) -> Result<()> {
    let (known, new) = (known * PAGE as usize, new * PAGE as usize);
    if known > 0 {
        to.again(id, *offset, runs)?;
    }
    let (sent, rest) = bytes[known..].split_at(new);
    if new > 0 {
        to.data(id, *offset + known as u64, sent)?;
    }
    *offset += (known + new) as u64;
    *bytes = rest;
    Ok(())
}

/// The pages of a private mapping, of a line of `/proc/PID/maps`. What the kernel itself maps has no pages of its own.
fn private(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let kernels = words
        .clone()
        .last()
        .is_some_and(|name| name.starts_with("[v"));
    let is_private = words.next()?.ends_with('p') && !kernels;
    let page = |text| u64::from_str_radix(text, 16).ok().map(|at| at / PAGE);
    let (begin, end) = (page(begin)?, page(end)?);
    (is_private && end - begin <= LARGEST).then_some((begin, end))
}

/// Runs of pages that are in memory and the process's own: the first, and how many, which is what is read at once at
/// the most.
fn runs(entries: &[u8]) -> Vec<(u64, usize)> {
    let mut runs: Vec<(u64, usize)> = Vec::new();
    let (words, _) = entries.as_chunks::<8>();
    for (at, word) in (0..).zip(words) {
        if u64::from_ne_bytes(*word) & (PRESENT | FILE_OR_SHARED) != PRESENT {
            continue;
        }
        match runs.last_mut() {
            Some((begin, count)) if *begin + *count as u64 == at && *count < READ => *count += 1,
            _ => runs.push((at, 1)),
        }
    }
    runs
}

/// Reads so many of the pages that were sent ahead.
pub(crate) fn read(file: &File, (begin, count): (u32, u32), buffer: &mut Vec<u8>) -> Result<()> {
    let length = count as usize * PAGE as usize;
    if length > CHUNK {
        return Err(AgentError::stream(format!("a run of {count} pages")));
    }
    buffer.resize(length, 0);
    file.read_exact_at(buffer, u64::from(begin) * PAGE)
        .map_err(|error| AgentError::stream(format!("pages sent ahead: {error}")))
}

#[cfg(test)]
mod tests;
