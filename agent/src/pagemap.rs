//! CRIU's own account of pages: which of them a process has, and where they are.

use std::io::{BufRead, Error, Result, Write};
use std::path::Path;

/// Pages of this size are counted: the smallest of every machine that CRIU runs on but 64-bit Arm with
/// large pages, where the count is too low by a constant factor.
pub(crate) const PAGE: u64 = 4096;
/// Two magic numbers (criu, `image.c`).
const MAGIC: usize = 8;
/// The flags of an entry (criu, `include/pagemap.h`): its pages are in the images of the round before, they are to be
/// fetched, they are in the pages file.
const PARENT: u64 = 1 << 0;
const LAZY: u64 = 1 << 1;
const PRESENT: u64 = 1 << 2;
/// An entry has five numbers; one that is longer is none.
const LONGEST: usize = 256;

/// Pages of all processes that the images leave out.
pub(crate) fn lazy_pages(images: &Path) -> u64 {
    let names = names(images).into_iter();
    names
        .filter_map(|name| std::fs::read(images.join(name)).ok())
        .map(|image| lazy(&image))
        .sum()
}

fn lazy(image: &[u8]) -> u64 {
    let mut pages = 0;
    if let Ok(mut image) = Reader::new(image) {
        while let Ok(Some(entry)) = image.next() {
            if entry.flags & LAZY != 0 {
                pages += entry.count;
            }
        }
    }
    pages
}

/// The files with such accounts.
pub(crate) fn names(images: &Path) -> Vec<String> {
    let list = std::fs::read_dir(images).into_iter().flatten().flatten();
    list.filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("pagemap-"))
        .collect()
}

/// Name of the file with the pages themselves.
pub(crate) fn pages_name(number: u32) -> String {
    format!("pages-{number}.img")
}

/// The number in such a name.
pub(crate) fn pages_number(name: &[u8]) -> Option<u32> {
    let name = name.strip_prefix(b"pages-")?.strip_suffix(b".img")?;
    std::str::from_utf8(name).ok()?.parse().ok()
}

/// Some pages of a process, side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub address: u64,
    pub count: u64,
    flags: u64,
}

impl Entry {
    /// Pages that are in the pages file.
    pub fn in_file(address: u64, count: u64) -> Self {
        Entry {
            address,
            count,
            flags: PRESENT,
        }
    }

    /// Whether they are in the pages file.
    pub fn is_in_file(self) -> bool {
        self.flags & PRESENT != 0
    }

    /// The same pages, in the images of the round before.
    pub fn in_parent(self) -> Self {
        let flags = PARENT;
        Entry { flags, ..self }
    }
}

/// Reads such an account: messages with their length before them, of which the first names the pages file.
pub(crate) struct Reader<R> {
    from: R,
    magic: [u8; MAGIC],
    number: u32,
}

impl<R: BufRead> Reader<R> {
    pub fn new(mut from: R) -> Result<Self> {
        let mut magic = [0; MAGIC];
        from.read_exact(&mut magic)?;
        let head = message(&mut from)?.unwrap_or_default();
        let number = Fields(&head).find_map(|(field, value)| (field == 1).then_some(value));
        let number = number.and_then(|number| u32::try_from(number).ok());
        Ok(Reader {
            from,
            magic,
            number: number.ok_or_else(|| Error::other("it names no file with pages"))?,
        })
    }

    pub fn magic(&self) -> [u8; MAGIC] {
        self.magic
    }

    /// The number of its pages file.
    pub fn number(&self) -> u32 {
        self.number
    }

    pub fn next(&mut self) -> Result<Option<Entry>> {
        let Some(message) = message(&mut self.from)? else {
            return Ok(None);
        };
        let (mut address, mut count, mut flags, mut parent) = (0, 0, None, false);
        for (field, value) in Fields(&message) {
            match field {
                1 => address = value,
                // nr_pages: 2 is the older one with 32 bits (criu, `images/pagemap.proto`).
                2 | 5 => count = count.max(value),
                3 => parent = value != 0,
                4 => flags = Some(value),
                _ => {}
            }
        }
        // Before there were flags, the third field alone told.
        let older = if parent { PARENT } else { PRESENT };
        Ok(Some(Entry {
            address,
            count,
            flags: flags.unwrap_or(older),
        }))
    }
}

/// The next message, if there is one.
fn message(from: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    if from.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(Error::other(format!("an entry of {length} bytes")));
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message)?;
    Ok(Some(message))
}

/// Writes such an account.
pub(crate) struct Writer<W>(W);

impl<W: Write> Writer<W> {
    pub fn new(mut to: W, magic: [u8; MAGIC], number: u32) -> Result<Self> {
        to.write_all(&magic)?;
        let mut writer = Writer(to);
        writer.message(&[(1, u64::from(number))])?;
        Ok(writer)
    }

    pub fn entry(&mut self, entry: Entry) -> Result<()> {
        let both = [(1, entry.address), (2, entry.count), (4, entry.flags)];
        if u32::try_from(entry.count).is_ok() {
            return self.message(&both);
        }
        Err(Error::other("an entry with too many pages"))
    }

    /// So many pages of the file belong to nothing: they are said to lie before this address, so that CRIU, which
    /// looks for what lies there, goes past them.
    pub fn skip(&mut self, mut pages: u64, address: u64) -> Result<()> {
        let most = address / PAGE;
        if most == 0 && pages > 0 {
            return Err(Error::other("a page at address 0"));
        }
        while pages > 0 {
            let count = pages.min(most);
            self.entry(Entry::in_file(address - count * PAGE, count))?;
            pages -= count;
        }
        Ok(())
    }

    fn message(&mut self, fields: &[(u64, u64)]) -> Result<()> {
        let mut message = Vec::new();
        for (field, value) in fields {
            number(field << 3, &mut message);
            number(*value, &mut message);
        }
        let length = u32::try_from(message.len()).map_err(Error::other)?;
        self.0.write_all(&length.to_le_bytes())?;
        self.0.write_all(&message)
    }

    pub fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

fn number(mut value: u64, to: &mut Vec<u8>) {
    while value > 0x7f {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// The fields of a protocol buffers message that has whole numbers alone.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl Iterator for Fields<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let tag = self.number()?;
        // Only whole numbers are of kind 0.
        (tag & 7 == 0).then_some(())?;
        Some((tag >> 3, self.number()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lazy_entries_are_counted_in_both_forms() {
        let mut image = vec![0; MAGIC];
        let mut entry = |bytes: &[u8]| {
            image.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
            image.extend(bytes);
        };
        // pages_id, then address, count and flags: present, lazy, lazy with the wider count.
        entry(&[0x08, 0x01]);
        entry(&[0x08, 0x80, 0x20, 0x10, 0x07, 0x20, 0x04]);
        entry(&[0x08, 0x80, 0x40, 0x10, 0xac, 0x02, 0x20, 0x06]);
        entry(&[0x08, 0x80, 0x60, 0x10, 0x00, 0x20, 0x02, 0x28, 0x05]);
        assert_eq!(lazy(&image), 305);
        for end in 0..image.len() {
            lazy(&image[..end]);
        }
    }

    #[test]
    fn what_is_written_is_read_and_older_forms_too() {
        let mut image = Vec::new();
        let mut writer = Writer::new(&mut image, *b"magicmag", 300).unwrap();
        let entry = |address, count, flags| Entry {
            address,
            count,
            flags,
        };
        let first = entry(0x7fff_ffff_e000, 70_000, PRESENT);
        writer.entry(first).unwrap();
        writer.entry(first.in_parent()).unwrap();
        writer.skip(7, 3 * PAGE).unwrap();
        assert!(writer.skip(1, 0).is_err());
        let older: [(&[u8], u64); 2] = [
            (&[0x08, 0x00, 0x10, 0x02, 0x18, 0x01], PARENT),
            (&[0x08, 0x00, 0x10, 0x02], PRESENT),
        ];
        for (bytes, _) in older {
            image.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
            image.extend(bytes);
        }
        let mut reader = Reader::new(&image[..]).unwrap();
        assert_eq!((reader.magic(), reader.number()), (*b"magicmag", 300));
        let mut read = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            read.push(entry);
        }
        let skipped = [
            entry(0, 3, PRESENT),
            entry(0, 3, PRESENT),
            entry(2 * PAGE, 1, PRESENT),
        ];
        let mut all = vec![first, entry(first.address, first.count, PARENT)];
        all.extend(skipped);
        all.extend(older.map(|(_, flags)| entry(0, 2, flags)));
        assert_eq!(read, all);
    }
}
