//! How many pages are still to come: from CRIU's own account of them.

use std::path::Path;

/// Pages of this size are counted: the smallest of every machine that CRIU runs on but 64-bit Arm with
/// large pages, where the count is too low by a constant factor.
pub(crate) const PAGE: u64 = 4096;
/// Two magic numbers (criu, `image.c`).
const MAGIC: usize = 8;
/// The flag of a page that is not in the images (criu, `include/pagemap.h`: `PE_LAZY`).
const LAZY: u64 = 1 << 1;

/// Pages of all processes that the images leave out.
pub(crate) fn lazy_pages(images: &Path) -> u64 {
    let Ok(list) = std::fs::read_dir(images) else {
        return 0;
    };
    list.flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("pagemap-"))
        .filter_map(|entry| std::fs::read(entry.path()).ok())
        .map(|image| lazy(&image))
        .sum()
}

/// The same of one image: entries with their length before them; the first is of another kind.
fn lazy(image: &[u8]) -> u64 {
    let mut rest = image.get(MAGIC..).unwrap_or_default();
    let mut pages = 0;
    let mut first = true;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some(entry) = after.get(..length) else {
            break;
        };
        if !first {
            let (mut count, mut flags) = (0, 0);
            for (field, value) in Fields(entry) {
                match field {
                    // nr_pages: 2 is the older one with 32 bits (criu, `images/pagemap.proto`).
                    2 | 5 => count = count.max(value),
                    4 => flags = value,
                    _ => {}
                }
            }
            if flags & LAZY != 0 {
                pages += count;
            }
        }
        first = false;
        rest = &after[length..];
    }
    pages
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
}
